"""The public train, dev and test parts of MIMIC-III and MIMIC-IV. An example is the discharge summary of a stay.

MIMIC-III, after Mullenbach et al. 2018 (CAML), which TransICD and most others use:
- The text is the discharge summary with its addenda, joined by blanks. Codes are those of diagnoses and procedures.
- Top 50: the codes that were billed most often over all stays with a summary; repetitions within a stay count. Stays
  with none of these codes are left out.
- The parts are lists of hadm_ids (`{part}_{50|full}_hadm_ids.csv`), split by patient. The files are needed, because the
  lists cannot be rebuilt: the random draw was not published, and the top-50 lists hold only some of the stays with such
  a code.

MIMIC-IV, for ICD-9 or ICD-10 separately, in the two published ways:
- Edin et al. 2023: codes of at least ten stays; 75 % of the patients train, 10 % dev, 15 % test, by iterative
  stratification (`mimiciv_icd{9|10}_split.feather`). The rule is published, but another run of it draws other patients.
- Nguyen et al. 2023 (MIMIC-IV-ICD): all codes. The files are named as those of CAML, with `TOP_50_CODES.csv`.

Without files the parts are drawn anew: patients in the published shares, stratified by code. Figures on such parts
cannot be compared with published ones, and `rule` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from rubricator.nlp.folds import label_counts, stratified_parts
from rubricator.nlp.readers.files import NoteFormatError, ReadPosition, files_under
from rubricator.nlp.readers.mimic import MimicFiles, find_mimic, whole_number
from rubricator.nlp.readers.notes import NOTES_SCHEMA

PARTS = ("train", "dev", "test")
FEWEST_STAYS = 10  # a code of MIMIC-IV with fewer stays is left out (Edin et al.)
# Shares of the parts: the sizes of Mullenbach et al., and the percentages of Edin et al.
FULL, TOP = (47_724, 1_632, 3_372), (8_067, 1_574, 1_730)
MIMIC_IV = (75, 10, 15)
SPLIT_FILES = ("*_hadm_ids.csv", "TOP_*_CODES.csv", "*_split*.feather")  # patterns of their names
BATCH = 500


@dataclass(frozen=True, kw_only=True)
class MimicSplits:
    """The stays of each part, and the codes that are labels.

    name: name of the corpus. rule: how parts and codes were chosen, for a report. labels: the codes to predict, sorted.
    note_ids: hadm_ids by part. codes: the labels of each stay. counts: the number of stays, and of those left out by
    reason.
    """

    name: str
    rule: str
    labels: list[str]
    note_ids: dict[str, list[str]]
    codes: Mapping[str, list[str]] = field(repr=False)
    counts: dict[str, int]
    source: MimicFiles = field(repr=False)

    def batches(self, part: str) -> Iterator[pa.RecordBatch]:
        """The stays of a part as notes (NOTES_SCHEMA). Note ids are hadm_ids, patient ids are subject_ids.

        All texts of the part are read into memory first, because an addendum may be anywhere in the table.
        """
        texts: dict[str, list[str]] = {stay: [] for stay in self.note_ids[part]}
        patients = {}
        for note in self.source.discharge_notes(ReadPosition()):
            if note and note[0] in texts:
                stay, patients[stay], text = note
                texts[stay].append(text)
        stays = list(texts)
        for start in range(0, len(stays), BATCH):
            rows = [
                {
                    "note_id": stay,
                    "patient_id": patients[stay],
                    "text": " ".join(texts.pop(stay)),
                    "note_type": "Discharge summary",
                    "codes": self.codes[stay],
                }
                for stay in stays[start : start + BATCH]
            ]
            yield pa.RecordBatch.from_pylist(rows, NOTES_SCHEMA)


def mimic_splits(
    folder: Path,
    *,
    release: Literal["MIMIC-III", "MIMIC-IV"],
    icd: int = 9,
    splits: Path | None = None,
    top: int | None = None,
    seed: int = 0,
) -> MimicSplits:
    """The parts of a release. folder: the tables of PhysioNet, also in folders below it.

    icd: version of the codes, 9 or 10; MIMIC-III has 9 only. splits: folder with the public split files, or with
    folders as their repositories name them (mimic3, mimic4_icd9, mimiciv_icd10, …). top: keep only the N most frequent
    codes, and use the split files for this N. seed: for parts that are drawn.
    Raises NoteFormatError where tables are missing or not as documented, or where split files are missing or hold
    other stays.
    """
    source = _read_codes(folder, release, icd)
    patients, unusable = _patients(source)
    everything = source.billed()
    billed = {stay: everything.get(stay, []) for stay in patients}
    files = _SplitFiles.find(splits, release, icd, top) if splits else None
    labels, codes_rule = _labels(billed.values(), release, top, files)
    coded = _coded(billed, set(labels))
    if not coded:
        raise NoteFormatError(f"{folder}: no stay with a discharge summary has codes of ICD-{icd}")
    if files:
        parts, parts_rule = files.parts(coded)
    else:
        shares = MIMIC_IV if release == "MIMIC-IV" else FULL if top is None else TOP
        parts, parts_rule = _drawn(coded, patients, labels, shares, seed), _drawn_rule(shares, seed)
    which = f"top {top}" if top else "all codes"
    return MimicSplits(
        name=f"MIMIC-III, {which}" if release == "MIMIC-III" else f"MIMIC-IV, ICD-{icd}, {which}",
        rule=f"{codes_rule}; {parts_rule}",
        labels=labels,
        note_ids=parts,
        codes=coded,
        counts={
            "stays": len(billed),
            "stays without these codes": len(billed) - len(coded),
            "stays in no part": len(coded) - sum(map(len, parts.values())),
            "notes that cannot be used": unusable,
        },
        source=source,
    )


def _read_codes(folder: Path, release: str, icd: int) -> MimicFiles:
    """The tables, after their codes were read."""
    found = find_mimic(files_under(folder))
    if found is None or found.name != release:
        there = found.name if found else "no table of MIMIC"
        raise NoteFormatError(
            f"{folder}: {there} is there, not {release}; give the folder that PhysioNet's tables are in"
        )
    if len(found.files) < 2:
        raise NoteFormatError(f"{folder}: no table diagnoses_icd or procedures_icd; codes come from there")
    source = MimicFiles(found.release, found.files, icd=str(icd))
    for path in source.files[:-1]:
        for _ in source.read(path, ReadPosition()):
            pass  # a broken row of a code table loses one code
    return source


def _patients(source: MimicFiles) -> tuple[dict[str, str], int]:
    """The patient of each stay with a discharge summary, and how many notes cannot be used."""
    patients: dict[str, str] = {}
    unusable = 0
    for note in source.discharge_notes(ReadPosition()):
        if note is None:
            unusable += 1
        else:
            patients[note[0]] = note[1]
    return patients, unusable


def _coded(billed: Mapping[str, Sequence[str]], labels: set[str]) -> dict[str, list[str]]:
    """The labels of each stay, without repetitions; stays without labels are left out."""
    return {
        stay: list(dict.fromkeys(filter(labels.__contains__, codes)))
        for stay, codes in billed.items()
        if not labels.isdisjoint(codes)
    }


def _labels(
    billed: Iterable[Sequence[str]], release: str, top: int | None, files: _SplitFiles | None
) -> tuple[list[str], str]:
    """The codes that are labels, and how they were chosen."""
    times = Counter(code for codes in billed for code in codes)
    if top and files and files.top_codes:
        listed = {code.replace(".", "").upper() for code in files.top_codes}
        return sorted(
            code for code in times if code.replace(".", "") in listed
        ), f"codes of TOP_{top}_CODES.csv"
    if top:
        most = sorted(times, key=lambda code: (-times[code], code))[:top]
        return sorted(most), f"the {top} codes billed most often over all stays with a discharge summary"
    if release == "MIMIC-IV" and (files is None or files.by_edin):
        stays = Counter(code for codes in billed for code in set(codes))
        enough = sorted(code for code, count in stays.items() if count >= FEWEST_STAYS)
        return enough, f"codes of at least {FEWEST_STAYS} stays"
    return sorted(times), "all codes"


@dataclass(frozen=True)
class _SplitFiles:
    """The published lists of hadm_ids by part."""

    name: str
    stays: Mapping[str, Sequence[str]]
    top_codes: Sequence[str] = ()
    by_edin: bool = False

    @classmethod
    def find(cls, splits: Path, release: str, icd: int, top: int | None) -> _SplitFiles:
        """The files of one corpus. Raises NoteFormatError, which lists the expected names, where there are none."""
        kind = str(top) if top else "full"
        if release == "MIMIC-III":
            folders, feather = ("mimic3", f"mimiciii_{kind}"), f"mimiciii_{kind}_splits.feather"
        else:
            folders, feather = (f"mimic4_icd{icd}", f"mimiciv_icd{icd}"), f"mimiciv_icd{icd}_split.feather"
        lists = [f"{part}_{kind}_hadm_ids.csv" for part in PARTS]
        for folder in (*(splits / name for name in folders), splits):
            if all((folder / name).is_file() for name in lists):
                stays = {
                    part: list(map(whole_number, _lines(folder / name)))
                    for part, name in zip(PARTS, lists, strict=True)
                }
                codes = folder / f"TOP_{top}_CODES.csv"
                return cls(", ".join(lists), stays, _lines(codes) if codes.is_file() else ())
            if (folder / feather).is_file():
                return cls(feather, _feather_parts(folder / feather), by_edin=True)
        raise NoteFormatError(
            f"{splits}: no split files of {release}; looked for {', '.join(lists)} and {feather}, there and in "
            f"{' and '.join(folders)}; without split files the parts are drawn anew"
        )

    def parts(self, coded: Mapping[str, object]) -> tuple[dict[str, list[str]], str]:
        """The stays of each part that have codes, and a sentence on their source for a report.

        Raises NoteFormatError where a part has no such stay.
        """
        parts = {part: [stay for stay in self.stays[part] if stay in coded] for part in PARTS}
        if empty := [part for part in PARTS if not parts[part]]:
            raise NoteFormatError(
                f"{self.name}: none of the stays of {', '.join(empty)} has a discharge summary and such codes in the "
                "tables; are these the split files of this release and code version?"
            )
        there = ", ".join(f"{len(parts[part]):,} of {len(self.stays[part]):,} {part}" for part in PARTS)
        return parts, f"parts from {self.name}: {there} stays have a discharge summary and such codes"


def _lines(path: Path) -> list[str]:
    """The first field of each line, without repetitions."""
    lines = (line.split(",")[0].strip().strip('"') for line in path.read_text(encoding="utf-8").splitlines())
    return list(dict.fromkeys(filter(None, lines)))


def _feather_parts(path: Path) -> dict[str, list[str]]:
    from pyarrow import feather

    table = feather.read_table(path)
    if missing := {"_id", "split"} - set(table.column_names):
        raise NoteFormatError(
            f"{path}: no column {', '.join(sorted(missing))}; columns are {', '.join(table.column_names)}"
        )
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    names = {"val": "dev"}
    for stay, part in zip(table["_id"].to_pylist(), table["split"].to_pylist(), strict=True):
        parts.setdefault(names.get(part, part), []).append(whole_number(str(stay)))
    return parts


def _drawn(
    coded: Mapping[str, Sequence[str]],
    patients: Mapping[str, str],
    labels: Sequence[str],
    shares: Sequence[float],
    seed: int,
) -> dict[str, list[str]]:
    """Parts of whole patients in these shares, stratified by code (`stratified_parts`)."""
    column = {label: number for number, label in enumerate(labels)}
    codes: dict[str, list[int]] = {}  # of each patient; patients are in random order
    for stay in np.random.default_rng(seed).permutation(list(coded)).tolist():
        codes.setdefault(patients[stay], []).extend(column[code] for code in coded[stay])
    counts = label_counts(list(codes.values()), len(labels))
    parts = stratified_parts(counts, np.array(shares, np.float64) / sum(shares))
    part_of = dict(zip(codes, parts.tolist(), strict=True))
    return {
        name: [stay for stay in coded if part_of[patients[stay]] == part] for part, name in enumerate(PARTS)
    }


def _drawn_rule(shares: Sequence[int], seed: int) -> str:
    """How parts were drawn, for a report."""
    sizes = " : ".join(f"{share:,}" for share in shares)
    return (
        f"parts drawn anew, not the public ones: patients {sizes}, stratified by code, seed {seed}; figures "
        "cannot be compared with published ones"
    )
