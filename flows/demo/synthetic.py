"""A synthetic corpus: made-up notes with known plan sentences, code evidence and mentions not to be coded.

Every sentence comes from the grammar in synthetic.toml. No person in it is real; the ids and the first line
of each note say so. A seed gives the same notes on every machine and Python version: the generator draws from
`random.Random(text).random()` only, the part of the random module that Python promises to keep.
"""

import gzip
import io
import json
import random
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, TypeVar

from rubricator.nlp.hidden_text import hides_text

T = TypeVar("T")

LETTERHEAD = "Synthetic General Hospital. Made-up note about nobody.\n\n"


@dataclass(frozen=True, slots=True)
class GoldMention:
    """A condition named at text[start:end]. why_not: why it must not be coded; None if it must be coded."""

    code: str
    start: int
    end: int
    why_not: Literal["negated", "family", "hypothetical"] | None = None


@dataclass(frozen=True, slots=True)
class Gold:
    """The gold of a synthetic note: its plan sentences as (start, end), and every condition that it names."""

    note_id: str
    style: str  # of its headings; "unheaded" has none
    plan: list[tuple[int, int]]
    mentions: list[GoldMention]

    @property
    def codes(self) -> list[str]:
        """ICD-10-CM codes of the note, sorted."""
        return sorted({mention.code for mention in self.mentions if mention.why_not is None})


@hides_text("note_id")
@dataclass(frozen=True, slots=True)
class SyntheticNote:
    """One made-up note; every span of its gold is a half-open range of `text`."""

    note_id: str
    patient_id: str
    written_on: date
    note_type: str
    text: str
    gold: Gold


@dataclass(frozen=True)
class SyntheticCorpus:
    """Paths of a written corpus: `notes` to train on, `new_notes` of other patients, `gold` for both."""

    notes: Path
    new_notes: Path
    gold: Path


def write_synthetic_notes(
    folder: Path, *, notes: int = 600, new_notes: int = 150, seed: int = 0
) -> SyntheticCorpus:
    """Write notes.jsonl.gz, new_notes.jsonl.gz (other patients, most unheaded), synthetic_gold.jsonl.gz."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = SyntheticCorpus(
        notes=folder / "notes.jsonl.gz",
        new_notes=folder / "new_notes.jsonl.gz",
        gold=folder / "synthetic_gold.jsonl.gz",
    )
    with (
        _gzipped_text(corpus.notes) as seen,
        _gzipped_text(corpus.new_notes) as unseen,
        _gzipped_text(corpus.gold) as gold,
    ):
        for number, note in enumerate(synthetic_notes(notes=notes, new_notes=new_notes, seed=seed)):
            row = {
                "note_id": note.note_id,
                "patient_id": note.patient_id,
                "written_on": note.written_on.isoformat(),
                "note_type": note.note_type,
                "text": note.text,
                "codes": note.gold.codes,
            }
            (seen if number < notes else unseen).write(json.dumps(row) + "\n")
            gold.write(json.dumps(asdict(note.gold)) + "\n")
    return corpus


def _gzipped_text(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(gzip.GzipFile(path, "wb", compresslevel=6, mtime=0), encoding="utf-8")


def read_gold(path: Path) -> dict[str, Gold]:
    """The gold of each note, by note_id, from the file of `write_synthetic_notes`."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {
        row["note_id"]: Gold(
            note_id=row["note_id"],
            style=row["style"],
            plan=[(start, end) for start, end in row["plan"]],
            mentions=[GoldMention(**mention) for mention in row["mentions"]],
        )
        for row in rows
    }


def synthetic_notes(*, notes: int = 600, new_notes: int = 0, seed: int = 0) -> Iterator[SyntheticNote]:
    """`notes` notes, then `new_notes` of patients not seen before; deterministic in the seed."""
    patient_number = note_number = 0
    for wanted, unheaded_share in ((notes, 0.3), (new_notes, 0.6)):
        left = wanted
        for patient_in_part in range(wanted):
            if left == 0:
                break
            draw = _Draw(f"rubricator synthetic {seed} {patient_number}")
            patient = _make_patient(draw, _rare_condition(patient_in_part))
            for draft in _patient_notes(draw, patient, unheaded_share)[:left]:
                yield _finish(draft, draw, note_number, patient_number)
                note_number += 1
                left -= 1
            patient_number += 1


# --- the grammar ---


@dataclass(frozen=True)
class _Condition:
    code: str
    names: list[str]
    says: list[str]
    results: list[str]
    meds: list[str]
    plans: list[str]
    weight: int = 0
    acute: bool = False
    rare: bool = False
    group: str | None = None  # conditions of one group exclude each other in a patient
    sex: str | None = None
    operation: str | None = None
    study: str | None = None
    seen: str | None = None

    @property
    def excludes(self) -> str:
        return self.group or self.code[:3]


@dataclass(frozen=True)
class _Grammar:
    conditions: list[_Condition]
    phrases: dict[str, list[str]]
    sentences: dict[str, list[str]]
    headings: dict[str, list[str]]
    note_types: dict[str, dict[str, Any]]


@cache
def _grammar() -> _Grammar:
    table = tomllib.loads((Path(__file__).with_name("synthetic.toml")).read_text(encoding="utf-8"))
    table["conditions"] = [_Condition(**row) for row in table["conditions"]]
    return _Grammar(**table)


class _Draw:
    """Random choices, all made from `Random.random()`, whose sequence never changes."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def between(self, low: int, high: int) -> int:
        return low + int(self.random() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.random() * len(items))]

    def some(self, items: Sequence[T], low: int, high: int) -> list[T]:
        """Between `low` and `high` different items, in random order."""
        pool = list(items)
        wanted = min(self.between(low, high), len(pool))
        return [pool.pop(int(self.random() * len(pool))) for _ in range(wanted)]

    def weighted(self, items: Sequence[T], weights: Sequence[float]) -> T:
        sums = list(accumulate(weights))
        place = self.random() * sums[-1]
        return next(item for item, reached in zip(items, sums, strict=True) if place < reached)


# --- patients ---


@dataclass(frozen=True)
class _Patient:
    sex: str
    age: int
    chronic: list[_Condition]
    acute: list[_Condition]
    absent: list[_Condition]  # may be named as negated, in the family or as a worry
    rare: bool


def _rare_condition(patient_in_part: int) -> _Condition | None:
    """Each rare code goes to one or two patients of a part of the corpus, however large."""
    rare = [condition for condition in _grammar().conditions if condition.rare]
    turn, place = divmod(patient_in_part, 5)
    return rare[turn] if turn < len(rare) and (place == 3 or (place == 4 and turn % 2)) else None


def _make_patient(draw: _Draw, rare: _Condition | None) -> _Patient:
    sex = draw.pick("FM")
    common = [c for c in _grammar().conditions if not c.rare and c.sex in (None, sex)]
    chronic = [rare] if rare else []
    acute: list[_Condition] = []
    for chosen, pool, wanted in (
        (chronic, [c for c in common if not c.acute], draw.between(1, 4)),
        (acute, [c for c in common if c.acute], draw.between(1, 2)),
    ):
        for _ in range(wanted):
            taken = {c.excludes for c in (*chronic, *acute)}
            left = [c for c in pool if c.excludes not in taken]
            chosen.append(draw.weighted(left, [c.weight for c in left]))
    taken = {c.excludes for c in (*chronic, *acute)}
    absent = [c for c in _grammar().conditions if c.excludes not in taken and not c.rare]
    return _Patient(sex, draw.between(24, 88), chronic, acute, absent, rare is not None)


def _patient_notes(draw: _Draw, patient: _Patient, unheaded_share: float) -> list["_Draft"]:
    types = _grammar().note_types
    written_on = date(2024, 1, 2) + timedelta(days=draw.between(0, 500))
    previous: dict[str, dict[str, str]] = {}
    drafts = []
    for _ in range(draw.between(1, 2) if patient.rare else draw.between(1, 5)):
        written_on += timedelta(days=draw.between(1, 40))
        unheaded = draw.chance(unheaded_share)
        note_type = (
            "progress" if unheaded else draw.weighted(list(types), [t["share"] for t in types.values()])
        )
        writer = _Writer(draw, patient, written_on, needs_acute=note_type in {"radiology", "operative note"})
        if unheaded:
            drafts.append(writer.unheaded())
            continue
        earlier = previous.get(note_type, {}) if draw.chance(0.6) else {}
        bodies = writer.bodies(note_type, earlier)
        previous[note_type] = bodies
        drafts.append(writer.headed(note_type, bodies))
    return drafts


# --- one note ---

# Marks set while a note is written and taken out by _finish: OPEN kind[:code] STOP text CLOSE. They may nest.
_OPEN, _STOP, _CLOSE = "\x02", "\x1f", "\x03"
_MARK = re.compile(f"{_OPEN}([^{_STOP}]*){_STOP}|{_CLOSE}")
_SLOT = re.compile(r"\{(\w+)\}")
_FIRST_LETTER = re.compile(f"^(?:{_OPEN}[^{_STOP}]*{_STOP})*[a-z](?![A-Z])")


@hides_text()
@dataclass(frozen=True)
class _Draft:
    note_type: str
    style: str
    written_on: date
    marked_text: str


def _marked(kind: str, text: str) -> str:
    return f"{_OPEN}{kind}{_STOP}{text}{_CLOSE}"


def _capital(text: str) -> str:
    return _FIRST_LETTER.sub(lambda match: match[0][:-1] + match[0][-1].upper(), text)


def _finish(draft: _Draft, draw: _Draw, note_number: int, patient_number: int) -> SyntheticNote:
    """Take the marks out of a draft, as offsets, and put a few typing errors in."""
    pieces: list[str] = []
    plan: list[tuple[int, int]] = []
    mentions: list[GoldMention] = []
    opened: list[tuple[str, int]] = []
    length = last = 0
    for mark in _MARK.finditer(draft.marked_text):
        piece = draft.marked_text[last : mark.start()]
        pieces.append(piece)
        length += len(piece)
        last = mark.end()
        if mark[1] is not None:
            opened.append((mark[1], length))
            continue
        kind, start = opened.pop()
        name, _, code = kind.partition(":")
        if name == "plan":
            plan.append((start, length))
        else:
            why_not: Any = None if name == "code" else name
            mentions.append(GoldMention(code=code, start=start, end=length, why_not=why_not))
    pieces.append(draft.marked_text[last:])
    note_id = f"synthetic-{note_number:06d}"
    return SyntheticNote(
        note_id=note_id,
        patient_id=f"synthetic-patient-{patient_number:06d}",
        written_on=draft.written_on,
        note_type=draft.note_type,
        text=_with_typos("".join(pieces), draw),
        gold=Gold(note_id, draft.style, plan, sorted(mentions, key=lambda mention: mention.start)),
    )


def _with_typos(text: str, draw: _Draw) -> str:
    """Swap neighbouring letters inside a few words; the length stays."""
    for _ in range(draw.between(0, 4)):
        at = draw.between(len(LETTERHEAD), len(text) - 5)
        if text[at : at + 4].isalpha() and text[at : at + 4].islower():
            text = text[: at + 1] + text[at + 2] + text[at + 1] + text[at + 3 :]
    return text


@dataclass
class _Writer:
    """Writes one note of a patient."""

    draw: _Draw
    patient: _Patient
    written_on: date
    needs_acute: bool
    present: list[_Condition] = field(init=False)

    def __post_init__(self) -> None:
        patient, draw = self.patient, self.draw
        acute = [draw.pick(patient.acute)] if self.needs_acute or draw.chance(0.45) else []
        chronic = [c for c in patient.chronic if c.rare or draw.chance(0.8)]
        self.present = (acute + chronic) or patient.chronic[:1]

    # -- sentences --

    def say(self, template: str, condition: _Condition | None = None, kind: str = "code") -> str:
        """A template with its slots filled; a mention of the condition is marked as `kind`."""

        def slot(match: re.Match[str]) -> str:
            key = match[1]
            text = self._slot(key.lower(), condition, kind)
            return _capital(text) if key[0].isupper() else text

        return _capital(_SLOT.sub(slot, template))

    def _slot(self, key: str, condition: _Condition | None, kind: str) -> str:
        female = self.patient.sex == "F"
        if key.startswith("number_"):
            low, high = key.split("_")[1:]
            return str(self.draw.between(int(low), int(high)))
        match key:
            case "m":
                assert condition is not None
                return _marked(f"{kind}:{condition.code}", self.draw.pick(condition.names))
            case "med":
                return self.draw.pick((condition or self.draw.pick(self.present)).meds)
            case "plan":
                return _SLOT.sub(
                    lambda match: self._slot(match[1].lower(), condition, kind),
                    self.draw.pick((condition or self.present[0]).plans),
                )
            case "he" | "she":
                return "she" if female else "he"
            case "his":
                return "her" if female else "his"
            case "him":
                return "her" if female else "him"
            case "man":
                return "woman" if female else "man"
            case "patient":
                return self.draw.pick(("the patient", "pt", "patient", "this patient"))
            case "age":
                return str(self.patient.age)
        grammar = _grammar()
        template = self.draw.pick(grammar.phrases.get(key) or grammar.sentences[key])
        return _SLOT.sub(lambda match: self._slot(match[1].lower(), condition, kind), template)

    def any_of(self, *names: str, condition: _Condition | None = None, kind: str = "code") -> str:
        return self.say(self.draw.pick(_grammar().sentences[self.draw.pick(names)]), condition, kind)

    def several(self, name: str, low: int, high: int) -> list[str]:
        return [self.say(t) for t in self.draw.some(_grammar().sentences[name], low, high)]

    def absent(self, low: int, high: int, name: str = "negated") -> list[str]:
        """Mentions that must not be coded: negated, in the family, or a worry."""
        chosen = self.draw.some(self.patient.absent, low, high)
        return [self.any_of(name, condition=condition, kind=name) for condition in chosen]

    def plans(self, low: int, high: int, *names: str) -> list[str]:
        """Plan sentences, marked as such: general ones, and some for a condition."""
        about = self.draw.some(self.present, 1, 3)
        told = [
            self.say(self.draw.pick(c.plans), c)
            if self.draw.chance(0.4)
            else self.any_of(f"{name}_for", condition=c)
            for c in about
            for name in [self.draw.pick(names)]
        ]
        told += [self.any_of(*names) for _ in range(self.draw.between(low, high))]
        end = self.draw.pick((".", ".", ""))
        return [_marked("plan", s if s.endswith(".") else s + end) for s in dict.fromkeys(told)]

    # -- layout --

    def prose(self, sentences: list[str]) -> str:
        """Sentences in one paragraph, hard-wrapped in about half of the cases."""
        ended = [s if _MARK.sub("", s).endswith((".", "?")) else _ended(s) for s in sentences]
        text = " ".join(ended)
        return _wrapped(text, self.draw.between(64, 90)) if self.draw.chance(0.5) else text

    def lines(self, items: list[str]) -> str:
        bullet = self.draw.pick(("- ", "* ", "", "", "• ", "#"))
        return "\n".join(
            f"{number}. {item}" if bullet == "#" else f"{bullet}{item}"
            for number, item in enumerate(items, start=1)
        )

    def either(self, sentences: list[str], lines_share: float = 0.5) -> str:
        return self.lines(sentences) if self.draw.chance(lines_share) else self.prose(sentences)

    # -- sections --

    def bodies(self, note_type: str, earlier: dict[str, str]) -> dict[str, str]:
        """Body of each section, by category. earlier: bodies of an earlier note; most of them are copied."""
        told: dict[str, str] = {}
        for name in _grammar().note_types[note_type]["sections"]:
            category = name.removesuffix("?")
            if name != category and self.draw.chance(0.5):
                continue
            if category in earlier and self.draw.chance(0.8):
                told[category] = earlier[category]
            elif category == "assessment" and self.draw.chance(0.25):
                told["assessment_and_plan"] = self.body("assessment_and_plan")
            elif category != "plan" or "assessment_and_plan" not in told:
                told[category] = self.body(category)
        return told

    def body(self, category: str) -> str:
        draw, present = self.draw, self.present
        any_of, several, absent = self.any_of, self.several, self.absent
        match category:
            case "chief_complaint" | "indication":
                first = present[0]
                if category == "indication" and draw.chance(0.5):
                    return self.say("{M}.", first)
                return any_of("complaint").capitalize() + "."
            case "history_of_present_illness" | "interval_history":
                return self.prose(self.story())
            case "past_medical_history" | "problem_list":
                named = [self.say("{M}", c) for c in present if draw.chance(0.85)]
                return self.either(named + (absent(0, 1) if draw.chance(0.4) else []) or ["None"], 0.7)
            case "family_history":
                return self.prose(absent(1, 2, "family") + several("family_plain", 0, 1))
            case "medications" | "discharge_medications":
                return self.either(
                    [self.draw.pick(c.meds) for c in present for _ in range(draw.between(1, 2))], 0.8
                )
            case "physical_exam":
                return self.either(several("exam", 4, 8))
            case "review_of_systems":
                return self.prose(several("review", 3, 6) + (absent(0, 1) if draw.chance(0.5) else []))
            case "results":
                seen = [self.say(draw.pick(c.results), c) for c in present]
                return self.prose(seen + several("results", 1, 4))
            case "hospital_course":
                told = [any_of("acute_story", condition=c) for c in present[:2]] + several("course", 3, 5)
                return self.prose([*told, any_of("looks_like_plan"), *absent(0, 2)])
            case "discharge_diagnosis" | "postoperative_diagnosis" | "preoperative_diagnosis":
                stated = present if category == "discharge_diagnosis" else present[:1]
                return self.lines([self.say("{M}", c) for c in stated])
            case "assessment" | "impression":
                told = [any_of("assess", condition=c) for c in draw.some(present, 1, 3)]
                return self.either(told + absent(0, 2), 0.4)
            case "plan" | "recommendations" | "follow_up" | "discharge_instructions":
                plans = self.plans(1, 2 if category == "follow_up" else 5, "plan")
                if draw.chance(0.15):
                    plans.insert(draw.between(0, len(plans)), any_of("says", "looks_like_plan"))
                return self.either(plans, 0.65)
            case "assessment_and_plan":
                told = [
                    f"{any_of('assess', condition=c)} {self.prose(self.plans(0, 1, 'plan'))}"
                    for c in present[:3]
                ]
                return self.lines(told + self.plans(0, 2, "plan"))
            case "findings":
                seen = [self.say(c.seen + ".") for c in present if c.seen] + absent(0, 2)
                return self.prose(seen + several("findings", 2, 5))
            case "procedure":
                return next((c.operation for c in present if c.operation), "Exploration and repair") + "."
        names = {
            "past_surgical_history": "surgery", "social_history": "social", "allergies": "allergy",
            "vital_signs": "vitals", "estimated_blood_loss": "blood_loss",
        }  # fmt: skip
        wordy = {"social_history": 3, "operation_text": 6}
        return self.prose(several(names.get(category, category), 1, wordy.get(category, 1)))

    def story(self) -> list[str]:
        """What happened: sentences that name conditions, and distractors."""
        draw, present = self.draw, self.present
        told = [
            self.any_of("opening", condition=present[0]) if draw.chance(0.7) else self.any_of("opening_plain")
        ]
        for condition in present:
            if draw.chance(0.6):
                told.append(self.any_of("acute_story" if condition.acute else "also", condition=condition))
            told += [self.say(s) for s in draw.some(condition.says, 0, 2)]
        told += self.several("says", 2, 4)
        for name, share in (("looks_like_plan", 0.6), ("hypothetical", 0.15)):
            if draw.chance(share):
                extra = self.absent(1, 1, name) if name == "hypothetical" else [self.any_of(name)]
                told.insert(draw.between(1, len(told)), extra[0])
        return told + self.absent(0, 2)

    # -- whole notes --

    def headed(self, note_type: str, bodies: dict[str, str]) -> _Draft:
        draw = self.draw
        soap = note_type in {"progress", "emergency department"} and draw.chance(0.18)
        style = "letters" if soap else draw.weighted(list(_STYLES), [share for share, _ in _STYLES.values()])
        if soap:
            text = self.letters(bodies)
        else:
            show = _STYLES[style][1]
            blocks = []
            for number, (category, body) in enumerate(bodies.items(), start=1):
                title = draw.pick(_grammar().headings[category])
                if style == "dated" and category in {"plan", "assessment_and_plan", "interval_history"}:
                    title += draw.pick(
                        (f" for {self.written_on:%m/%d/%Y}", " (discussed with family)", " as of today")
                    )
                blocks.append(show(title, body, number))
            text = draw.pick(("\n", "\n\n", "\n\n")).join(blocks)
        if style in {"caps colon", "inline", "letters"} and draw.chance(0.2):
            style += ", line breaks lost"
            text = re.sub(r"\s*\n\s*", " ", text)
        return _Draft(note_type, style, self.written_on, LETTERHEAD + text + "\n")

    def letters(self, bodies: dict[str, str]) -> str:
        """The sections merged into S, O, A and P."""
        homes = {"vital_signs": "O", "physical_exam": "O", "results": "O", "assessment": "A", "plan": "P"}
        folded: dict[str, list[str]] = {letter: [] for letter in "SOAP"}
        for category, body in bodies.items():
            if category == "assessment_and_plan":
                folded["A"].append(self.body("assessment"))
                folded["P"].append(self.body("plan"))
            else:
                folded[homes.get(category, "S")].append(body)
        return "\n".join(f"{letter}: " + "\n".join(parts) for letter, parts in folded.items() if parts)

    def unheaded(self) -> _Draft:
        """A letter or a progress note in plain prose, whose plan sentences no heading announces."""
        draw = self.draw
        letter = draw.chance(0.45)
        middle = self.several("results_prose", 1, 2) + [
            self.say(draw.pick(c.results)) for c in self.present[:2]
        ]
        judged = [self.any_of("assess", condition=c) for c in draw.some(self.present, 1, 2)]
        plans = self.plans(1, 4, "plan_prose", "plan_prose" if letter else "plan")
        story = self.story() + (self.absent(1, 1, "family") if draw.chance(0.4) else [])
        if len(plans) > 2 and draw.chance(0.4):
            middle.insert(draw.between(0, len(middle)), plans.pop())
        if draw.chance(0.35):
            paragraphs = [self.prose(story + middle + judged + plans)]
        else:
            paragraphs = [self.prose(story), self.prose(middle), self.prose(judged + plans)]
        if letter:
            opening = self.any_of("thanks") + " "
            paragraphs = [
                self.any_of("greeting"),
                opening + paragraphs[0],
                *paragraphs[1:],
                self.any_of("closing"),
            ]
        text = "\n\n".join(paragraphs)
        return _Draft(
            "letter" if letter else "progress", "unheaded", self.written_on, LETTERHEAD + text + "\n"
        )


def _ended(sentence: str) -> str:
    """The sentence with a full stop, which belongs to a plan sentence but not to a mention."""
    in_plan = sentence.startswith(_OPEN + "plan") and sentence.endswith(_CLOSE)
    return f"{sentence[:-1]}.{_CLOSE}" if in_plan else sentence + "."


def _wrapped(text: str, width: int) -> str:
    """Hard line breaks in place of spaces, so that no offset moves."""
    room = width
    words: list[str] = []
    for word in text.split(" "):
        size = len(_MARK.sub("", word)) + 1
        if words:
            words.append("\n" if size > room else " ")
        room = (width if size > room else room) - size
        words.append(word)
    return "".join(words)


_ROMAN = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"]
# style: (share of headed notes, how a heading and its body are written)
_STYLES: dict[str, tuple[int, Callable[[str, str, int], str]]] = {
    "caps colon": (24, lambda title, body, _: f"{title.upper()}:\n{body}"),
    "inline": (16, lambda title, body, _: f"{title.upper()}: {body}"),
    "title colon": (16, lambda title, body, _: f"{title}:\n{body}"),
    "title": (8, lambda title, body, _: f"{title}\n{body}\n"),
    "capitals": (7, lambda title, body, _: f"{title.upper()}\n{body}\n"),
    "markdown": (6, lambda title, body, _: f"## {title}\n{body}\n"),
    "bold": (5, lambda title, body, _: f"**{title}**\n{body}\n"),
    "html": (5, lambda title, body, _: f"<b>{title}</b><br>\n{body}"),
    "dash": (5, lambda title, body, _: f"{title} -\n{body}" if body[0] in "-*•1" else f"{title} - {body}"),
    "numbered": (4, lambda title, body, number: f"{_ROMAN[number - 1]}. {title.upper()}\n{body}\n"),
    "spaced": (
        3,
        lambda title, body, _: "   ".join(" ".join(w) for w in title.upper().split()) + f"\n{body}\n",
    ),
    "dated": (8, lambda title, body, _: f"{title}:\n{body}"),
}
