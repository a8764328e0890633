"""Disks, ledgers, notes and settings that fail: one clear line, nothing lost, and the same tables however a job runs."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rubricator.flows.cli import ExitCode
from rubricator.flows.extract import extract
from rubricator.flows.jobs.files import StorageError
from rubricator.flows.jobs.job import LATE, OutFolderError, read_manifest, run_job
from rubricator.flows.jobs.ledger import SettingsChangedError
from rubricator.flows.jobs.result import DeadLettersError, JobResult, most_dead_letters
from rubricator.flows.jobs.worker import LocalProcesses, ThisProcess
from rubricator.flows.parameters.flat import ParameterError, flat
from rubricator.flows.train import train
from rubricator.nlp.readers.notes import NoteReader

HERE = Path(__file__).parent
NOTES = [
    f"HPI:\nCough for {day} days. No fever.\n\nASESSMENT: Cold.\n\nPLAN: Retrun in {day} weeks. Stop warfarin."
    for day in range(60)
]


@pytest.fixture(autouse=True)
def _toy_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))  # worker processes inherit it


def write_notes(path: Path, texts: list[str]) -> Path:
    lines = [json.dumps({"note_id": f"n{row}", "text": text}) for row, text in enumerate(texts)]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def count(notes: Path, out: Path, *, here: bool = True, **step: str) -> JobResult:
    from toy_steps import CountWords

    return run_job(
        CountWords(**step),
        lambda on_dead_letter: NoteReader(notes, on_dead_letter=on_dead_letter),
        out,
        engine=LocalProcesses(2, always=not here),
        source=str(notes),
        shard_size=4,
    )


def files_of(out: Path) -> dict[str, str]:
    return {
        str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(out.rglob("part-*.parquet"))
    }


# ---- few notes


def test_few_notes_are_done_in_this_process_with_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = NOTES.copy()
    texts[7], texts[11] = "[fail]", "[panic]"
    notes = write_notes(tmp_path / "notes.jsonl", texts)
    count(notes, tmp_path / "by-workers", here=False)
    monkeypatch.setattr(LocalProcesses, "start", lambda _: pytest.fail("workers were started for few notes"))
    result = count(notes, tmp_path / "here")
    assert (result.notes, result.dead_letters) == (58, 2)
    assert files_of(tmp_path / "here") == files_of(tmp_path / "by-workers") != {}
    assert ThisProcess().for_few_notes == ThisProcess()


def test_many_notes_and_those_of_a_killed_run_are_done_by_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ThisProcess, "start", lambda _: pytest.fail("a note may end this process"))
    many = write_notes(tmp_path / "many.jsonl", ["x" * 30_000] * 40)
    assert count(many, tmp_path / "many").notes == 40
    killed = tmp_path / "killed"
    (killed / ".work" / "run").mkdir(parents=True)  # as a job leaves it that was killed
    texts = NOTES[:9]
    texts[3] = "[kill]"
    result = count(write_notes(tmp_path / "notes.jsonl", texts), killed)
    assert (result.notes, result.dead_letters) == (8, 1)


# ---- notes


def test_a_note_that_takes_too_long_is_a_dead_letter(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    texts = [*NOTES[:5], "[hang] Canary", NOTES[6]]
    result = count(
        write_notes(tmp_path / "notes.jsonl", texts), tmp_path / "out", here=False, setting="hurried"
    )
    assert (result.notes, result.dead_letters) == (6, 1)
    assert read_manifest(tmp_path / "out")["dead_letters"] == {LATE: 1}
    assert "Canary" not in "".join(capfd.readouterr())


# ---- disks


def test_a_shard_whose_bytes_rotted_is_done_again(tmp_path: Path) -> None:
    notes, out = write_notes(tmp_path / "notes.jsonl", NOTES[:12]), tmp_path / "out"
    count(notes, out)
    before = files_of(out)
    rotten = out / "words" / "part-00001.parquet"
    content = bytearray(rotten.read_bytes())
    content[len(content) // 2] ^= 1
    rotten.write_bytes(content)
    result = count(notes, out)
    assert (result.notes, result.skipped) == (4, 8)
    assert sorted(files_of(out).values()) == sorted(before.values())


def test_a_ledger_of_an_earlier_version_knows_its_files_by_size(tmp_path: Path) -> None:
    notes, out = write_notes(tmp_path / "notes.jsonl", NOTES[:8]), tmp_path / "out"
    count(notes, out)
    ledger = sqlite3.connect(out / "ledger.sqlite")
    for number, marks in ledger.execute("SELECT number, bytes FROM shards").fetchall():
        sizes = {table: mark[0] for table, mark in json.loads(marks).items()}
        ledger.execute("UPDATE shards SET bytes = ? WHERE number = ?", (json.dumps(sizes), number))
    ledger.commit()
    ledger.close()
    assert str(count(notes, out)) == "nothing to do: all 8 notes are done"
    (out / "words" / "part-00001.parquet").write_bytes(b"cut off")
    assert count(notes, out).notes == 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("here", [True, False])
def test_a_full_disk_is_one_line_and_the_job_goes_on_when_there_is_space(
    small_disk: Path, tmp_path: Path, here: bool
) -> None:
    notes, out = write_notes(tmp_path / "notes.jsonl", NOTES), small_disk / "out"
    filler = small_disk / "filler"
    filler.write_bytes(bytes(450_000))
    with pytest.raises(StorageError, match=r"free some space.*what is done stays done") as error:
        count(notes, out, here=here)
    assert str(small_disk) in str(error.value)
    filler.unlink()
    result = count(notes, out, here=here)
    assert result.notes + result.skipped == 60 and result.dead_letters == 0
    assert pq.read_table(out / "words").num_rows == 60


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda ledger: ledger.write_bytes(b"x" * 5000), "is damaged: move the folder away"),
        (lambda ledger: (ledger.unlink(), ledger.mkdir()), "cannot be opened"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_one_line(tmp_path: Path, spoil, said: str) -> None:
    notes, out = write_notes(tmp_path / "notes.jsonl", NOTES[:4]), tmp_path / "out"
    count(notes, out)
    spoil(out / "ledger.sqlite")
    with pytest.raises(StorageError, match=said) as error:
        count(notes, out)
    assert str(out / "ledger.sqlite") in str(error.value)


def test_a_ledger_that_another_program_has_open_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rubricator.flows.jobs.ledger.LOCKED_FOR", 0.1)
    notes, out = write_notes(tmp_path / "notes.jsonl", NOTES[:4]), tmp_path / "out"
    count(notes, out)
    other = sqlite3.connect(out / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="is locked by another program: close what has it open"):
        count(notes, out)
    other.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_one_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="give this user the right"):
        count(write_notes(tmp_path / "notes.jsonl", NOTES[:4]), out)


# ---- settings


def test_a_job_that_did_no_note_does_not_claim_its_folder(tmp_path: Path) -> None:
    notes, out = write_notes(tmp_path / "notes.jsonl", ["[fail]", "[fail]"]), tmp_path / "out"
    count(notes, out)
    assert count(notes, out, setting="b", name="other").dead_letters == 2
    write_notes(notes, NOTES[:2])
    assert count(notes, out, setting="c").notes == 2
    assert pq.read_table(out / "words").num_rows == 2
    with pytest.raises(SettingsChangedError):
        count(notes, out, setting="d")


# ---- dead letters


@pytest.mark.parametrize(
    ("empty", "of", "most", "fails"),
    [(0, 0, None, True), (3, 3, None, True), (3, 4, None, True), (2, 4, None, False), (1, 9, "0", True), (1, 9, "1", False),
     (1, 9, "10%", True), (1, 10, "10%", False), (1, 9, "0.2", False), (3, 3, "100%", False), (0, 0, "100%", False),
     (2, 9, 1, True), (2, 9, 0.5, False)],
)  # fmt: skip
def test_too_many_dead_letters_are_an_error_after_all_else_is_done(
    tmp_path: Path, empty: int, of: int, most: object, fails: bool
) -> None:
    notes = tmp_path / "notes.csv"
    rows = [f'n{row},"{"" if row < empty else NOTES[row]}"\n' for row in range(of)]
    notes.write_text("".join(["note_id,text\n", *rows]))
    options = {} if most is None else {"max_dead_letters": most}
    asked = {"out": str(tmp_path / "out"), "home": str(tmp_path / "home"), **options}
    for _ in range(2):  # also where the rest was done before
        if fails:
            with pytest.raises(DeadLettersError) as error:
                flat(extract)(str(notes), **asked)
            assert error.value.result.job.unusable == empty
        else:
            assert flat(extract)(str(notes), **asked).job.unusable == empty
        assert read_manifest(tmp_path / "out")["status"] == "complete"
        assert pq.read_table(tmp_path / "out" / "sentences").num_rows if of > empty else True
        assert (tmp_path / "out" / "report.json").exists()


def test_a_training_on_few_of_many_notes_is_refused_before_it_starts(tmp_path: Path) -> None:
    notes = tmp_path / "notes.csv"
    notes.write_text("note_id,text\n1,\n2,\n3,Cough.\n")
    with pytest.raises(
        DeadLettersError, match=r"2 of 3 notes could not be used, and 50% may fail: 2 \(the text is empty"
    ):
        flat(train)("plan", str(notes), home=str(tmp_path / "home"))


@pytest.mark.parametrize("wrong", ["", "half", "-1", "101%", "1.5", "5 %", "%"])
def test_a_limit_that_is_none_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ParameterError, match="max_dead_letters"):
        flat(extract)("notes.csv", out=str(tmp_path), max_dead_letters=wrong)
    assert most_dead_letters("12.5%", 80) == 10


def test_the_exit_code_says_that_no_note_could_be_used(tmp_path: Path) -> None:
    notes = tmp_path / "notes.csv"
    notes.write_text("note_id,text\n1,\n2,\n")
    done = subprocess.run(
        [sys.executable, "-m", "rubricator.flows.cli", "extract", notes, "--out", tmp_path / "out", "--no-prefect",
         "--home", tmp_path / "home", "--json"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == ExitCode.UNUSABLE
    assert json.loads(done.stdout)["job"]["unusable"] == 2
    assert "none of 2 notes could be used" in done.stderr and "--max-dead-letters" in done.stderr


# ---- the same tables always

SAME = """
import hashlib, sys
from pathlib import Path
import polars as pl
from rubricator.flows.extract import extract
from rubricator.flows.parameters.flat import flat
from rubricator.models import fit_model, predict_notes

if __name__ == "__main__":
    notes, out, workers = sys.argv[1:]
    flat(extract)(notes, out=out, home=out + "-home", workers=int(workers) or None, shard_size=9)
    table = pl.read_ndjson(notes)
    coded = table.with_columns(codes=pl.Series([["I10"] if row % 2 else ["E11.9", "J18.9"] for row in range(len(table))]))
    models = (("plan", "svm"), ("codes", "svm"), ("codes", "mentions"))
    for task, model in models if workers in "03" else ():
        trained = fit_model(task, coded, model=model)
        folder = Path(out, f"{task}-{model}")
        trained.save(folder)
        predict_notes(trained, coded, min_probability=0.0).write_parquet(folder / "part-rows.parquet")
    for file in sorted(Path(out).rglob("*")):
        if file.is_file() and (file.name.startswith("part-") or "-svm" in str(file.parent) or "-mentions" in str(file.parent)):
            print(file.relative_to(out), hashlib.sha256(file.read_bytes()).hexdigest())
"""


def test_tables_models_and_predictions_do_not_depend_on_hash_seed_or_workers(tmp_path: Path) -> None:
    notes = write_notes(
        tmp_path / "notes.jsonl", [f"{note} Hypertension {row % 5}." for row, note in enumerate(NOTES)]
    )
    script = tmp_path / "same.py"
    script.write_text(SAME)
    found: list[dict[str, str]] = []
    for seed in range(5):  # also the number of workers; 0: few notes, in one process
        out = tmp_path / "out"
        done = subprocess.run(
            [sys.executable, script, notes, out, str(seed)],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "OMP_NUM_THREADS": "1"},
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        found.append(dict(line.split(" ") for line in done.stdout.splitlines()))
        shutil.rmtree(out)
    tables = [{name: sum_ for name, sum_ in files.items() if "/part-0" in name} for files in found]
    assert len(tables[0]) == 14 and all(each == tables[0] for each in tables)
    assert found[0] == found[3] and "plan-svm/part-rows.parquet" in found[0]


def test_a_signal_to_the_process_that_does_few_notes_loses_nothing(tmp_path: Path) -> None:
    notes, out = write_notes(tmp_path / "notes.jsonl", [*NOTES[:9], "[kill]"]), tmp_path / "out"
    script = tmp_path / "few.py"
    script.write_text(
        "import sys; from pathlib import Path; from test_job_faults import count\n"
        "if __name__ == '__main__': count(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, script, notes, out]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    assert subprocess.run(command, check=False, env=environment).returncode == -signal.SIGKILL
    assert subprocess.run(command, check=False, env=environment).returncode == 0
    assert read_manifest(out)["notes"] == 9 and len(read_manifest(out)["dead_letters"]) == 1


def test_tables_of_others_notes_and_a_home_are_no_folder_for_tables(tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", NOTES)
    foreign = tmp_path / "foreign" / "words" / "part-00000.parquet"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("precious")
    with pytest.raises(OutFolderError, match="has a folder words that is of no job"):
        count(notes, tmp_path / "foreign")
    assert foreign.read_text() == "precious"
    with pytest.raises(OutFolderError, match="holds the notes"):
        count(notes, tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mlflow.db").touch()
    for place in ("home", "home/artifacts"):
        with pytest.raises(OutFolderError, match="is of a home"):
            count(notes, tmp_path / place)
