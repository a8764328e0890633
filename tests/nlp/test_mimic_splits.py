"""Public parts of MIMIC-III and MIMIC-IV from small made-up tables of the documented shape, gzipped as PhysioNet ships them."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from rubricator.nlp.builders.codes import code_examples
from rubricator.nlp.readers.files import NoteFormatError
from rubricator.nlp.readers.mimic_splits import PARTS, MimicSplits, mimic_splits

NOTEEVENTS = "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT"
DISCHARGE = "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text"
SICK = ["pneumonia", "sepsis", "asthma", "anemia", "gout", "migraine", "psoriasis", "scabies"]


def write(folder: Path, tables: dict[str, Sequence[str]]) -> None:
    for name, lines in tables.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def note(stay: int) -> str:
    return f"Admitted {stay} with {SICK[stay % 8]} and {SICK[stay // 8 % 8]} of the {stay * 7919} kind."


@pytest.fixture
def mimic3(tmp_path: Path) -> Path:
    """60 stays of 30 patients: 401.9 in all but stay 100057, 428.0 in two of three, 99.15 twice in each tenth."""
    stays = range(60)
    notes = [
        f'{stay},{stay // 2},{100000 + stay},2101-01-01,,,Discharge summary,Report,,,"{note(stay)}"'
        for stay in stays
    ]
    notes += [
        "90,0,100000,2101-01-02,,,Discharge summary,Addendum,,,Seen again.",
        "91,0,100000,2101-01-02,,,Nursing,Report,,,Slept well.",
        "92,0,100001,2101-01-02,,,Discharge summary,Report,,1,Wrong chart.",
        "93,40,,2101-01-02,,,Discharge summary,Report,,,A stay without a number.",
    ]
    diagnoses = [f"1,{stay // 2},{100000 + stay},1,4019" for stay in stays if stay != 57]
    diagnoses += [f"1,{stay // 2},{100000 + stay},2,4280" for stay in stays if stay % 3]
    procedures = [
        f"1,{stay // 2},{100000 + stay},{place},9915" for stay in stays if stay % 10 == 0 for place in (1, 2)
    ]
    folder = tmp_path / "mimic"
    write(folder, {
        "NOTEEVENTS.csv.gz": [NOTEEVENTS, *notes],
        "DIAGNOSES_ICD.csv.gz": ["ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE", *diagnoses],
        "PROCEDURES_ICD.csv.gz": ["ROW_ID,SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE", *procedures],
    })  # fmt: skip
    return folder


@pytest.fixture
def mimic4(tmp_path: Path) -> Path:
    """80 stays of 40 patients, 40 stays coded in each version: I10 and 401.9 in all, F41.9 in nine, N17.9 in twelve."""
    stays = range(80)
    notes = [
        f'{stay // 2}-DS-{stay},{stay // 2},{2000 + stay},DS,1,2180-01-01,,"{note(stay)}"' for stay in stays
    ]
    codes = [f"{stay // 2},{2000 + stay},1,{'I10,10' if stay % 2 else '4019,9'}" for stay in stays]
    codes += [f"{stay // 2},{2000 + stay},2,F419,10" for stay in range(1, 19, 2)]
    codes += [f"{stay // 2},{2000 + stay},3,N179,10" for stay in range(1, 25, 2)]
    folder = tmp_path / "mimic"
    write(folder, {
        "note/discharge.csv.gz": [DISCHARGE, *notes],
        "hosp/diagnoses_icd.csv.gz": ["subject_id,hadm_id,seq_num,icd_code,icd_version", *codes],
        "hosp/procedures_icd.csv.gz": ["subject_id,hadm_id,seq_num,chartdate,icd_code,icd_version"],
    })  # fmt: skip
    return folder


def rows(found: MimicSplits, part: str) -> dict[str, dict[str, object]]:
    return {row["note_id"]: row for batch in found.batches(part) for row in batch.to_pylist()}


def test_a_stay_is_its_summary_with_addenda_and_all_its_codes(mimic3: Path) -> None:
    found = mimic_splits(mimic3, release="MIMIC-III")
    assert found.name == "MIMIC-III, all codes"
    assert found.labels == ["401.9", "428.0", "99.15"]
    everything = {key: row for part in PARTS for key, row in rows(found, part).items()}
    assert len(everything) == 59
    first = everything["100000"]
    assert first["text"] == f"{note(0)} Seen again."
    assert (first["patient_id"], first["codes"]) == ("0", ["401.9", "99.15"])
    assert everything["100001"]["text"] == note(1)
    assert found.counts == {
        "stays": 60,
        "stays without these codes": 1,
        "stays in no part": 0,
        "notes that cannot be used": 1,
    }


def test_drawn_parts_keep_patients_whole_and_say_that_they_are_not_the_public_ones(mimic3: Path) -> None:
    found = mimic_splits(mimic3, release="MIMIC-III", top=2)
    patients = [{row["patient_id"] for row in rows(found, part).values()} for part in PARTS]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 30
    assert all(patients)
    assert "not the public ones" in found.rule
    assert found.note_ids == mimic_splits(mimic3, release="MIMIC-III", top=2).note_ids
    assert found.note_ids != mimic_splits(mimic3, release="MIMIC-III", top=2, seed=1).note_ids


def test_the_most_frequent_codes_are_those_billed_most_often(mimic3: Path) -> None:
    found = mimic_splits(mimic3, release="MIMIC-III", top=1)
    assert found.labels == ["401.9"]
    assert found.name == "MIMIC-III, top 1"
    assert {code for part in PARTS for row in rows(found, part).values() for code in row["codes"]} == {
        "401.9"
    }  # type: ignore[attr-defined]


def test_public_lists_of_stays_are_taken_as_they_are(mimic3: Path, tmp_path: Path) -> None:
    public = {"train": ["100004", "100000", "100057", "199999"], "dev": ["100001"], "test": ["100002"]}
    write(tmp_path / "splits" / "mimic3", {f"{part}_50_hadm_ids.csv": public[part] for part in PARTS})
    found = mimic_splits(mimic3, release="MIMIC-III", splits=tmp_path / "splits", top=50)
    assert found.note_ids == {"train": ["100004", "100000"], "dev": ["100001"], "test": ["100002"]}
    assert list(rows(found, "train")) == ["100004", "100000"]
    assert "train_50_hadm_ids.csv" in found.rule
    write(tmp_path / "splits" / "mimic3", {"TOP_50_CODES.csv": ["4280"]})
    assert mimic_splits(mimic3, release="MIMIC-III", splits=tmp_path / "splits", top=50).labels == ["428.0"]
    with pytest.raises(NoteFormatError, match=r"train_full_hadm_ids.csv.* mimiciii_full_splits.feather"):
        mimic_splits(mimic3, release="MIMIC-III", splits=tmp_path / "splits")
    write(tmp_path / "splits" / "mimic3", {"dev_50_hadm_ids.csv": ["7"]})
    with pytest.raises(NoteFormatError, match="none of the stays of dev"):
        mimic_splits(mimic3, release="MIMIC-III", splits=tmp_path / "splits", top=50)


def test_mimic_iv_keeps_versions_apart_and_codes_of_ten_stays(mimic4: Path) -> None:
    ten = mimic_splits(mimic4, release="MIMIC-IV", icd=10)
    assert (ten.name, ten.labels) == ("MIMIC-IV, ICD-10, all codes", ["I10", "N17.9"])
    sizes = [len(ten.note_ids[part]) for part in PARTS]
    assert sizes == [30, 4, 6]
    assert [sum("N17.9" in row["codes"] for row in rows(ten, part).values()) for part in PARTS] == [9, 1, 2]  # type: ignore[operator]
    nine = mimic_splits(mimic4, release="MIMIC-IV", icd=9)
    assert nine.labels == ["401.9"]
    assert not set(nine.codes) & set(ten.codes)


def test_split_tables_of_mimic_iv(mimic4: Path, tmp_path: Path) -> None:
    stays = np.arange(2001, 2013, 2)
    table = pa.table({"_id": stays, "split": ["train", "train", "val", "val", "test", "test"]})
    (tmp_path / "splits").mkdir()
    feather.write_feather(table, str(tmp_path / "splits" / "mimiciv_icd10_split.feather"))
    found = mimic_splits(mimic4, release="MIMIC-IV", icd=10, splits=tmp_path / "splits")
    assert found.note_ids == {"train": ["2001", "2003"], "dev": ["2005", "2007"], "test": ["2009", "2011"]}
    assert found.labels == ["I10", "N17.9"]
    assert found.counts["stays in no part"] == 34


def test_tables_may_be_in_linked_folders(mimic4: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    for name in ("note", "hosp"):
        (tmp_path / "links" / name).symlink_to(mimic4 / name)
    found = mimic_splits(tmp_path / "links", release="MIMIC-IV", icd=10)
    assert found.note_ids == mimic_splits(mimic4, release="MIMIC-IV", icd=10).note_ids


def test_the_parts_are_examples(mimic4: Path) -> None:
    found = mimic_splits(mimic4, release="MIMIC-IV", icd=10)
    train = code_examples(found.batches("train"))
    assert (len(train), train.labels) == (30, found.labels)
    assert train.ids[0] in found.note_ids["train"]


def test_a_folder_of_another_release_or_without_codes_is_refused(mimic3: Path, tmp_path: Path) -> None:
    with pytest.raises(NoteFormatError, match="MIMIC-III is there, not MIMIC-IV"):
        mimic_splits(mimic3, release="MIMIC-IV")
    with pytest.raises(NoteFormatError, match="no table of MIMIC"):
        mimic_splits(tmp_path / "nowhere", release="MIMIC-III")
    for name in ("DIAGNOSES_ICD.csv.gz", "PROCEDURES_ICD.csv.gz"):
        (mimic3 / name).unlink()
    with pytest.raises(NoteFormatError, match="no table diagnoses_icd"):
        mimic_splits(mimic3, release="MIMIC-III")
