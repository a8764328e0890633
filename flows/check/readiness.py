"""What each task can be trained on, how long it would take here, and what forbids it."""

from collections.abc import Iterator
from dataclasses import dataclass

from rubricator.flows.check.findings import FEWEST_NOTES_OF_CODE, CodeFindings, Findings
from rubricator.flows.train import TrainSettings
from rubricator.nlp.errors import counted

FOLDS: int = TrainSettings.model_fields["folds"].default
FEW_SENTENCES = 500  # plan sentences; fewer train a poor model
# seconds of training the SVM with its folds, in seconds that finding sections and sentences of a note takes
PER_PLAN_SENTENCE, PER_CODED_NOTE_AND_CODE = 1.0, 0.1


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Whether a task can be trained. material: what on. forbidden: the problems that forbid it. advice: what to look
    at first. minutes: of training the SVM here, as estimated; None where it cannot be trained.
    """

    task: str
    material: str
    forbidden: list[str]
    advice: list[str]
    minutes: float | None

    @property
    def is_ready(self) -> bool:
        return not self.forbidden


def readiness_of(findings: Findings) -> list[Readiness]:
    """What each task can be trained on."""
    return [_plan(findings), _codes(findings)]


def _plan(findings: Findings) -> Readiness:
    found = findings.headings
    if found is None:
        why = (
            "no note fell into the sample; give a larger --sample" if findings.notes else "there are no notes"
        )
        return _nothing("plan", why)
    scale = findings.notes / found.notes
    positives, others = found.plan_sentences * scale, found.other_sentences * scale
    forbidden = []
    if not found.with_plan:
        forbidden.append(
            "no note has a heading that holds plans: name the headings of your site in a lexicon file (--stub writes "
            "one to fill in)"
        )
    elif not found.plan_sentences or not found.other_sentences:
        forbidden.append(
            f"the headings give {found.plan_sentences} plan sentences and {found.other_sentences} others; both are "
            "needed"
        )
    forbidden += _forbidden(findings)
    advice = list(_advice(findings))
    if not forbidden and positives < FEW_SENTENCES:
        advice.append(f"few plan sentences: about {positives:,.0f}; some {FEW_SENTENCES} make a useful model")
    reading = found.seconds / found.notes * findings.notes
    training = found.seconds / found.notes * PER_PLAN_SENTENCE * (positives + others)
    return Readiness(
        task="plan",
        material=f"about {positives:,.0f} plan sentences and {others:,.0f} others, under headings of "
        f"{found.with_plan * scale:,.0f} notes",
        forbidden=forbidden,
        advice=advice,
        minutes=None if forbidden else (reading + training) / 60,
    )


def _codes(findings: Findings) -> Readiness:
    codes, headings = findings.codes, findings.headings
    if codes is None or not codes.notes:
        return _nothing("codes", "no note has codes; name their column (--codes-column)")
    forbidden = []
    if codes.codes < 2:
        forbidden.append("all notes have the same code")
    forbidden += _forbidden(findings)
    advice = [*_advice(findings), *_advice_on_codes(codes)]
    of_note = headings.seconds / headings.notes if headings else None
    training = of_note and of_note * PER_CODED_NOTE_AND_CODE * codes.notes * codes.codes
    return Readiness(
        task="codes",
        material=f"{codes.notes:,} notes with {codes.codes:,} codes, {codes.frequent:,} of them in "
        f"{FEWEST_NOTES_OF_CODE} notes or more",
        forbidden=forbidden,
        advice=advice,
        minutes=None if forbidden or training is None else training / 60,
    )


def _forbidden(findings: Findings) -> Iterator[str]:
    """What forbids a cross-validation of any task."""
    patients = findings.patients
    if patients and patients.patients == 1:
        yield "all notes are of one patient: nothing can be measured"
    elif patients and patients.patients < FOLDS:
        yield (
            f"{patients.patients} patients are too few for {FOLDS} folds; --folds {patients.patients} is the most that "
            "they allow"
        )


def _advice(findings: Findings) -> Iterator[str]:
    """What to look at before a training of any task."""
    patients, texts = findings.patients, findings.texts
    if patients and not patients.given:
        yield (
            "no patient ids: folds are by note, so that notes of one patient can be on both sides, and names may enter "
            "the vocabulary; name their column (--patient-column)"
        )
    if texts and texts.cut_at:
        yield f"many notes have exactly {texts.cut_at:,} characters: an export may have cut them off"
    if texts and texts.damaged:
        yield f"{texts.damaged:,} notes hold characters of a wrong encoding; export them again, or give --encoding"


def _advice_on_codes(codes: CodeFindings) -> Iterator[str]:
    if len(codes.notes_by_version) > 1:
        counts = ", ".join(f"{notes:,} in {version}" for version, notes in codes.notes_by_version.items())
        yield f"the notes are coded in several versions ({counts}); a model learns one of them"
    for system, found in codes.systems.items():
        if system == "none":
            yield f"{counted(found.codes, 'code')} in the form of no ICD system, such as {_such(found.unknown)}"
        elif found.unknown:
            yield f"{counted(len(found.unknown), 'code')} not in {system}, such as {_such(found.unknown)}"
        if found.not_billable:
            yield (
                f"{counted(len(found.not_billable), 'code')} of {system} not complete enough to bill, such as "
                + _such(found.not_billable)
            )
    if codes.may_lack_zeros:
        yield (
            f"{counted(len(codes.may_lack_zeros), 'code')} may have lost leading zeros, such as "
            f"{', '.join(codes.may_lack_zeros[:5])}: read codes as text"
        )
    if codes.respelt:
        yield f"{counted(len(codes.respelt), 'code')} in several spellings, which are read as one"
    if codes.codes > codes.frequent:
        yield (
            f"{counted(codes.codes - codes.frequent, 'code')} in fewer than {FEWEST_NOTES_OF_CODE} notes, too few to "
            "learn from"
        )


def _such(codes: dict[str, int]) -> str:
    return ", ".join(list(codes)[:5])


def _nothing(task: str, why: str) -> Readiness:
    return Readiness(task=task, material="nothing", forbidden=[why], advice=[], minutes=None)
