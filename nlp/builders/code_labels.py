"""Which codes of the notes become labels, how these are spelt, and what to say of them before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rubricator.nlp.errors import counted
from rubricator.nlp.icd import code_system, code_version, is_valid, normal_code
from rubricator.nlp.readers.code_cells import may_lack_zeros

SHOWN = 5  # codes in a message
FEWEST_NOTES = 5  # with a label of no code system: one of fewer may be free text, and is not shown
_DIAGNOSES = ("ICD-9-CM", "ICD-10-CM")


def note_version(codes: Sequence[str]) -> int | None:
    """9 or 10, the version of ICD of most diagnoses of a note, or of most procedures where it has no diagnosis.

    Ties are 10. None where no table knows a code of the note.
    """
    known = [code for code in codes if is_valid(code)]
    diagnoses = [code for code in known if code_system(code) in _DIAGNOSES]
    versions = Counter(map(code_version, diagnoses or known))
    return max(versions, key=lambda version: (versions[version], version or 0)) if versions else None


def corpus_version(versions: Counter[int | None]) -> int | None:
    """The version of most notes; ties are 10. None where no note has one. versions: how many notes have each."""
    known = [version for version in (10, 9) if versions[version]]
    return max(known, key=lambda version: versions[version]) if known else None


def version_of_labels(labels: Iterable[str]) -> int | None:
    """The version of ICD of labels; None where they are of both, or no table knows any."""
    versions = {code_version(normal_code(label)) for label in labels if is_valid(label)}
    return versions.pop() if len(versions) == 1 else None


def of_version(codes: Sequence[str], version: int | None) -> list[str]:
    """The codes without those that the tables of the other version have."""
    return [
        code
        for code in codes
        if version is None or code_version(code) in (None, version) or not is_valid(code)
    ]


def said_of_versions(version: int, used: int, notes: int, codes: int) -> str:
    """What was left out because it is coded in the other version. used, notes: numbers of notes. codes: of others."""
    other = 19 - version
    return (
        f"the notes are coded in two versions of ICD: {counted(used, 'note')} of ICD-{version} are used; "
        f"{notes:,} of ICD-{other} and {counted(codes, 'code')} of ICD-{other} in other notes are left out"
    )


class Spellings:
    """The spellings of each code in the notes and in the site's own table.

    notes, table: the spelling of each code there, by its normal one.
    """

    def __init__(self, notes: Iterable[Mapping[str, str]], table: Mapping[str, str]) -> None:
        self._found: dict[str, dict[str, None]] = {}
        for written in (*notes, table):
            for code, spelling in written.items():
                self._found.setdefault(code, {})[spelling] = None
        self._several = {code: found for code, found in self._found.items() if len(found) > 1}

    def labels(self) -> dict[str, str]:
        """The label of each code: the user's own spelling if every code has only one, else the normal spelling."""
        return {code: code if self._several else next(iter(found)) for code, found in self._found.items()}

    def said(self) -> list[str]:
        """How many spellings were merged, with examples."""
        if not self._several:
            return []
        known = [(code, found) for code, found in self._several.items() if code_system(code)]
        examples = [f"{', '.join(found)}: {code}" for code, found in known[:SHOWN]]
        several = counted(len(self._several), "code")
        return [f"{several} written in several ways became one label each ({'; '.join(examples)})"]


def said_of_labels(labels: Sequence[str], notes: Counter[str], *, own: Mapping[str, object]) -> list[str]:
    """What a user has to know of the labels before training.

    notes: how many notes have each label. own: the labels that the site's own table has.
    """
    if not any(map(code_system, labels)):
        none = [label for label in labels if label not in own]
        shown = [label for label in none if notes[label] >= FEWEST_NOTES] or ["none of many notes"]
        return (
            [f"no label has the form of an ICD code: they are taken as labels of your own ({listed(shown)})"]
            if none
            else []
        )
    said = []
    if unknown := [label for label in labels if not is_valid(label) and label not in own]:
        shown = [label for label in unknown if code_system(label) or notes[label] >= FEWEST_NOTES]
        said.append(
            f"{len(unknown):,} of {counted(len(labels), 'label')}: in no table of codes ({listed(shown)}); "
            "predictions of them are never accepted, only for review; a table of your own (code_table) makes them known"
        )
    if short := [label for label in labels if may_lack_zeros(label) and label not in own]:
        said.append(
            "codes may have lost leading zeros when they were read as numbers, as 042 became 42: "
            f"{counted(len(short), 'label')} ({listed(short)}), {sum(notes[label] for label in short):,} times in the "
            "notes; read codes as text"
        )
    return said


def listed(codes: Sequence[str]) -> str:
    """The first codes, for a message."""
    return ", ".join(codes[:SHOWN]) + (", …" if len(codes) > SHOWN else "")


def respelt(labels: Sequence[str], like: Sequence[str]) -> list[str]:
    """Each label as it is spelt in `like`, if the same code is there."""
    spelt = {normal_code(label): label for label in reversed(like)}
    return [label if label in like else spelt.get(normal_code(label), label) for label in labels]
