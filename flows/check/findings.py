"""What the facts of all notes say: counts, without note text."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rubricator.flows.check.step import FACTS, UNKNOWN_HEADINGS
from rubricator.flows.heading_report import FEWEST_PATIENTS, UnknownHeading
from rubricator.nlp.duplicates import are_near_duplicates

if TYPE_CHECKING:
    import polars as pl

CUT_SHARE, CUT_NOTES, CUT_LENGTH = 0.01, 5, 200  # so many notes of the greatest length: cut off by an export
FEWEST_NOTES_OF_CODE = 10  # a code in fewer notes is hardly learnt
RARE_LABELS = f"labels of fewer than {FEWEST_PATIENTS} notes"
MOST_LISTED = 20
MOST_BARS = 30  # of lengths


@dataclass(frozen=True, kw_only=True)
class TextFindings:
    """Lengths in characters. cut_at: the greatest length, where many notes have just it. copies: equal to an earlier
    note. near_copies: nearly so, without copies. damaged: notes with characters that a wrong encoding leaves.
    by_length: notes by thousands of characters.
    """

    shortest: int
    median: int
    longest: int
    cut_at: int | None
    copies: int
    near_copies: int
    damaged: int
    by_length: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class PatientFindings:
    """given: whether the source names patients. most_notes: of one patient."""

    given: bool
    patients: int
    most_notes: int


@dataclass(frozen=True, kw_only=True)
class DateFindings:
    """The first and the last date, in ISO 8601, the notes without one, and the notes of each month."""

    first: str | None
    last: str | None
    missing: int
    by_month: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class SystemFindings:
    """The codes of a code system. unknown: not in its table, with the number of notes. Uses count once a note."""

    codes: int
    uses: int
    not_billable: dict[str, int]
    unknown: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class CodeFindings:
    """notes: with codes. frequent: codes that FEWEST_NOTES_OF_CODE notes have. most_used: codes with their notes.
    may_lack_zeros: codes that may have lost them. systems: by name, "none" for codes that have the form of no system.
    respelt: the spellings of a code, where there are several. notes_by_version: notes by the version of most of their
    diagnosis codes.
    """

    notes: int
    notes_known_to_have_none: int
    codes: int
    frequent: int
    mean_per_note: float
    most_used: dict[str, int]
    systems: dict[str, SystemFindings]
    respelt: dict[str, list[str]]
    may_lack_zeros: list[str]
    notes_by_version: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class HeadingFindings:
    """Of a sample of the notes. with_plan: notes with a section that holds plans. seconds: what the work took.

    unknown: headings that the lexicon lacks and that notes of FEWEST_PATIENTS patients have, the most frequent first.
    """

    notes: int
    without_headings: int
    with_plan: int
    plan_sentences: int
    other_sentences: int
    seconds: float
    unknown: list[UnknownHeading] = field(default_factory=list, repr=False)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that was counted. Each part is None where there are no notes, or no codes."""

    notes: int
    note_types: dict[str, int]
    texts: TextFindings | None
    patients: PatientFindings | None
    dates: DateFindings | None
    codes: CodeFindings | None
    headings: HeadingFindings | None


def findings_of(folder: Path) -> Findings:
    """The findings in the tables of a check."""
    import polars as pl

    facts = pl.read_parquet(folder / FACTS / "*.parquet") if any((folder / FACTS).glob("*.parquet")) else None
    if facts is None or not len(facts):
        return Findings(
            notes=0, note_types={}, texts=None, patients=None, dates=None, codes=None, headings=None
        )
    return Findings(
        notes=len(facts),
        note_types=_note_types(facts),
        texts=_texts(facts),
        patients=_patients(facts),
        dates=_dates(facts),
        codes=_codes(facts),
        headings=_headings(facts, pl.read_parquet(folder / UNKNOWN_HEADINGS / "*.parquet")),
    )


def _note_types(facts: "pl.DataFrame") -> dict[str, int]:
    """The most frequent types with their counts. One of few patients may be free text: it is not named."""
    import polars as pl

    types = (
        facts.filter(pl.col("note_type").is_not_null())
        .group_by("note_type")
        .agg(notes=pl.len(), patients=pl.col("patient_id").n_unique())
        .sort("notes", "note_type", descending=[True, False])
    )
    shown = types.filter(pl.col("patients") >= FEWEST_PATIENTS).head(MOST_LISTED)
    named = dict(shown.select("note_type", "notes").iter_rows())
    others = int(types["notes"].sum()) - sum(named.values())
    return named | ({f"others, or of fewer than {FEWEST_PATIENTS} patients": others} if others else {})


def _texts(facts: "pl.DataFrame") -> TextFindings:
    lengths = facts["characters"].to_numpy()
    longest = int(lengths.max())
    same = int((lengths == longest).sum())
    is_cut = longest >= CUT_LENGTH and same >= max(CUT_NOTES, CUT_SHARE * len(facts))
    is_copy = (~facts["digest"].is_first_distinct()).to_numpy()
    is_cut &= same - int(is_copy[lengths == longest].sum()) >= CUT_NOTES
    first = facts.filter(~facts["digest"].is_duplicated() | facts["digest"].is_first_distinct())
    sketches = np.frombuffer(b"".join(first["sketch"].to_list()), np.uint32).reshape(len(first), -1)
    return TextFindings(
        shortest=int(lengths.min()),
        median=int(np.median(lengths)),
        longest=longest,
        cut_at=longest if is_cut else None,
        copies=int(is_copy.sum()),
        near_copies=int(are_near_duplicates(sketches).sum()),
        damaged=int(facts["damaged"].sum()),
        by_length=_by_length(lengths),
    )


def _by_length(lengths: NDArray[np.int32]) -> dict[str, int]:
    """Notes by thousands of characters; the last bar holds all longer ones."""
    thousands = np.minimum(lengths // 1000, MOST_BARS - 1)
    counts = np.bincount(thousands).tolist()
    return {f"{place}{'+' if place == MOST_BARS - 1 else ''}": count for place, count in enumerate(counts)}


def _patients(facts: "pl.DataFrame") -> PatientFindings:
    by_patient = facts["patient_id"].value_counts(name="notes")["notes"]
    return PatientFindings(
        given=not (facts["patient_id"] == facts["note_id"]).all(),
        patients=len(by_patient),
        most_notes=int(np.max(by_patient.to_numpy())),
    )


def _dates(facts: "pl.DataFrame") -> DateFindings:
    dates = facts["written_on"]
    first, last = dates.min(), dates.max()
    return DateFindings(
        first=str(first) if first else None,
        last=str(last) if last else None,
        missing=dates.null_count(),
        by_month=dict(sorted(Counter(date.strftime("%Y-%m") for date in dates.drop_nulls()).items())),
    )


def _codes(facts: "pl.DataFrame") -> CodeFindings | None:
    coded = facts.filter(facts["codes"].is_not_null())
    if not len(coded):
        return None
    notes_of: Counter[str] = Counter(code for codes in coded["codes"].to_list() for code in set(codes))
    from rubricator.nlp.readers.code_cells import may_lack_zeros

    ranked = sorted(notes_of.items(), key=lambda item: (-item[1], item[0]))
    return CodeFindings(
        notes=int((coded["codes"].list.len() > 0).sum()),
        notes_known_to_have_none=int((coded["codes"].list.len() == 0).sum()),
        codes=len(notes_of),
        frequent=sum(count >= FEWEST_NOTES_OF_CODE for count in notes_of.values()),
        mean_per_note=sum(notes_of.values()) / len(coded),
        most_used=_shown(dict(ranked[:MOST_LISTED])),
        systems=_systems(dict(ranked)),
        respelt=_respelt(coded),
        may_lack_zeros=[code for code, _ in ranked if may_lack_zeros(code)],
        notes_by_version=_notes_by_version(coded),
    )


def _shown(notes_of: Mapping[str, int]) -> dict[str, int]:
    """The codes, with labels of no code system that few notes have as one: such a label may be free text."""
    from rubricator.nlp.icd import code_system

    shown: Counter[str] = Counter()
    for code, notes in notes_of.items():
        is_named = notes >= FEWEST_PATIENTS or code_system(code) is not None
        shown[code if is_named else RARE_LABELS] += notes
    return dict(shown)


def _systems(notes_of: Mapping[str, int]) -> dict[str, SystemFindings]:
    from rubricator.nlp.icd import code_system, is_billable, is_valid

    members: dict[str, dict[str, int]] = {}
    for code, notes in notes_of.items():
        members.setdefault(code_system(code) or "none", {})[code] = notes
    return {
        system: SystemFindings(
            codes=len(codes),
            uses=sum(codes.values()),
            not_billable={
                code: notes for code, notes in codes.items() if is_valid(code) and not is_billable(code)
            },
            unknown=_shown({code: notes for code, notes in codes.items() if not is_valid(code)}),
        )
        for system, codes in sorted(members.items(), key=lambda item: -sum(item[1].values()))
    }


def _respelt(coded: "pl.DataFrame") -> dict[str, list[str]]:
    """The spellings of each code that has several."""
    from rubricator.nlp.icd import code_system

    spellings: dict[str, set[str]] = {}
    for codes, written in zip(coded["codes"].to_list(), coded["codes_as_written"].to_list(), strict=True):
        for code, spelling in zip(codes, written or codes, strict=True):
            spellings.setdefault(code, set()).add(spelling)
    known = {code: found for code, found in spellings.items() if len(found) > 1 and code_system(code)}
    return {code: sorted(found) for code, found in sorted(known.items())}


def _notes_by_version(coded: "pl.DataFrame") -> dict[str, int]:
    from rubricator.nlp.builders.code_labels import note_version

    versions = Counter(note_version(codes) for codes in coded["codes"].to_list())
    return {f"ICD-{version}": notes for version, notes in versions.most_common() if version}


def _headings(facts: "pl.DataFrame", unknown: "pl.DataFrame") -> HeadingFindings | None:
    sample = facts.filter(facts["sections"].is_not_null())
    if not len(sample):
        return None
    return HeadingFindings(
        notes=len(sample),
        without_headings=int((sample["sections"] == 0).sum()),
        with_plan=int(sample["has_positive_section"].sum()),
        plan_sentences=int(sample["positive_sentences"].sum()),
        other_sentences=int(sample["negative_sentences"].sum()),
        seconds=math.fsum(sample["seconds"].to_list()),
        unknown=_unknown(unknown),
    )


def _unknown(unknown: "pl.DataFrame") -> list[UnknownHeading]:
    import polars as pl

    rows = (
        unknown.group_by("heading")
        .agg(sections=pl.len(), patients=pl.col("patient_id").n_unique())
        .filter(pl.col("patients") >= FEWEST_PATIENTS)
        .sort("sections", "heading", descending=[True, False])
    )
    return [
        UnknownHeading(heading=heading, sections=sections, patients=patients)
        for heading, sections, patients in rows.iter_rows()
    ]
