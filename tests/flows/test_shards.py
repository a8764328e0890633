"""Jobs in shards: complete, resumable after kill -9 at any point, and never stopped by a note."""

import fcntl
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rubricator.flows.jobs.files import JobIsRunningError
from rubricator.flows.jobs.job import WorkerKilledError, read_manifest, run_job
from rubricator.flows.jobs.ledger import JobError, SettingsChangedError
from rubricator.flows.jobs.result import JobResult
from rubricator.flows.jobs.worker import LocalProcesses
from rubricator.flows.run import SafeError
from rubricator.nlp.readers.notes import NoteFormatError, NoteReader

HERE = Path(__file__).parent
RUN = """
import sys
from pathlib import Path
from rubricator.flows.jobs.job import run_job
from rubricator.flows.jobs.worker import LocalProcesses
from rubricator.nlp.readers.notes import NoteReader
from toy_steps import CountWords
if __name__ == "__main__":
    notes, out = sys.argv[1:]
    print(run_job(CountWords(seconds_per_note=0.01), lambda dead: NoteReader(notes, on_dead_letter=dead), Path(out),
                  engine=LocalProcesses(2), source=notes, shard_size=10))
"""


@pytest.fixture(autouse=True)
def _toy_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))  # worker processes inherit it


def write_notes(path: Path, texts: list[str], *, first: int = 0) -> Path:
    lines = [json.dumps({"note_id": f"n{first + row}", "text": text}) for row, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n")
    return path


def texts(count: int) -> list[str]:
    return [f"Synthetic note {row}. " + "word " * (row % 7) for row in range(count)]


def count(notes: Path, out: Path, *, workers: int = 1, shard_size: int | None = 10, **step: str) -> JobResult:
    from toy_steps import CountWords

    return run_job(
        CountWords(**step),
        lambda on_dead_letter: NoteReader(notes, on_dead_letter=on_dead_letter),
        out,
        engine=LocalProcesses(workers),
        source=str(notes),
        shard_size=shard_size,
    )


@pytest.mark.parametrize("place", ["taken", "taken/below", "/proc/none"])
def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path, place: str) -> None:
    (tmp_path / "taken").write_text("a file of the user's")
    with pytest.raises(JobError, match=r"cannot be the folder of the tables: .*; name another one"):
        count(write_notes(tmp_path / "notes.jsonl", texts(1)), tmp_path / place)


def rows(out: Path) -> list[dict[str, object]]:
    """The words table joined to the lengths table, in order of note id; both must hold the same notes."""
    words = pq.read_table(out / "words").sort_by("note_id")
    lengths = pq.read_table(out / "lengths").sort_by("note_id")
    assert words["note_id"].to_pylist() == lengths["note_id"].to_pylist()
    return words.append_column("characters", lengths["characters"]).to_pylist()


def expected(all_texts: list[str]) -> list[dict[str, object]]:
    table = [
        {"note_id": f"n{row}", "words": len(text.split()), "characters": len(text)}
        for row, text in enumerate(all_texts)
    ]
    return sorted(table, key=lambda row: str(row["note_id"]))


def dead_letters(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "dead_letters.jsonl").read_text().splitlines()]


def test_every_note_is_done_once_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", texts(57))
    result = count(notes, tmp_path / "out", workers=2)
    assert (result.notes, result.skipped, result.rows) == (57, 0, {"words": 57, "lengths": 57})
    assert rows(tmp_path / "out") == expected(texts(57))
    manifest = read_manifest(tmp_path / "out")
    assert manifest["status"] == "complete"
    assert manifest["notes"] == 57 and manifest["figures"]["notes"] == 57
    assert [shard["notes"] for shard in manifest["shards"]] == [10, 10, 10, 10, 10, 7]
    assert manifest["made_by"] == [{"version": "1", "notes": 57}]
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.parquet")}
    again = count(notes, tmp_path / "out")
    assert str(again) == "nothing to do: all 57 notes are done"
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*.parquet")} == files
    assert not (tmp_path / "out" / ".work").exists()


def test_new_notes_are_added_by_another_version_of_the_step(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    write_notes(folder / "monday.jsonl", texts(12))
    count(folder, tmp_path / "out")
    write_notes(folder / "tuesday.jsonl", texts(15)[12:], first=12)
    result = count(folder, tmp_path / "out", version="2")
    assert (result.notes, result.skipped) == (3, 12)
    assert rows(tmp_path / "out") == expected(texts(15))
    assert read_manifest(tmp_path / "out")["made_by"] == [
        {"version": "1", "notes": 12},
        {"version": "2", "notes": 3},
    ]


def test_other_settings_need_another_folder(tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", texts(3))
    count(notes, tmp_path / "out")
    with pytest.raises(SettingsChangedError, match=r'setting: "a" → "b".*another folder'):
        count(notes, tmp_path / "out", setting="b")
    with pytest.raises(SettingsChangedError, match="tables of 'count'"):
        count(notes, tmp_path / "out", name="other")
    assert rows(tmp_path / "out") == expected(texts(3))


def test_a_folder_has_one_job_at_a_time(tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", texts(3))
    count(notes, tmp_path / "out")
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(JobIsRunningError, match="another job"):
            count(notes, tmp_path / "out")


def test_a_note_that_fails_is_a_dead_letter_until_it_is_mended(tmp_path: Path) -> None:
    good = texts(25)
    bad = good.copy()
    bad[3], bad[14] = "[fail] Canary Smith", "[fail] Canary Miller"
    bad[20] = ""
    notes = write_notes(tmp_path / "notes.jsonl", bad)
    result = count(notes, tmp_path / "out")
    assert (result.notes, result.dead_letters) == (22, 3)
    assert len(rows(tmp_path / "out")) == 22
    assert read_manifest(tmp_path / "out")["dead_letters"] == {
        "failed: ValueError": 2,
        "the text is empty": 1,
    }
    assert {letter["note_id"] for letter in dead_letters(tmp_path / "out")} == {"n3", "n14", "n20"}
    again = count(notes, tmp_path / "out")
    assert (again.notes, again.skipped, again.dead_letters) == (0, 22, 3)
    assert len(dead_letters(tmp_path / "out")) == 3
    assert "Canary" not in "".join(
        file.read_text(errors="replace") for file in (tmp_path / "out").rglob("*") if file.is_file()
    )
    write_notes(notes, good)
    mended = count(notes, tmp_path / "out")
    assert (mended.notes, mended.skipped, mended.dead_letters) == (3, 22, 0)
    assert rows(tmp_path / "out") == expected(good)
    assert dead_letters(tmp_path / "out") == []


def test_whatever_a_note_raises_is_its_dead_letter_and_stops_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    bad = texts(25)
    kinds = {
        "fail": "ValueError",
        "panic": "PanicException",
        "local error": "LocalError",
        "recursion": "RecursionError",
        "memory": "MemoryError",
    }
    for row, kind in zip((3, 4, 11, 18, 24), kinds, strict=True):
        bad[row] = f"[{kind}] Canary Smith"
    notes = write_notes(tmp_path / "notes.jsonl", bad)
    out = tmp_path / "out"
    result = count(notes, out, workers=2)
    assert (result.notes, result.dead_letters) == (20, 5)
    assert rows(out) == [
        row for row in expected(bad) if not bad[int(str(row["note_id"])[1:])].startswith("[")
    ]
    assert read_manifest(out)["dead_letters"] == dict.fromkeys(
        sorted(f"failed: {name}" for name in kinds.values()), 1
    )
    again = count(notes, out)
    assert (again.notes, again.skipped, again.dead_letters) == (0, 20, 5)
    assert read_manifest(out)["status"] == "complete"
    said = capfd.readouterr()
    assert "Canary" not in said.out + said.err + caplog.text + str(again)
    assert not [file for file in out.rglob("*") if file.is_file() and b"Canary" in file.read_bytes()]
    write_notes(notes, texts(25))
    assert str(count(notes, out)).startswith("5 notes in")
    assert rows(out) == expected(texts(25))


def test_a_worker_that_cannot_start_ends_the_job_with_an_error_that_holds_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_NOTE", "Canary Smith")
    notes = write_notes(tmp_path / "notes.jsonl", texts(5))
    with pytest.raises(SafeError, match=r"toy_steps.py:\d+\): PanicException$") as error:
        count(notes, tmp_path / "out", setting="panic")
    said = capfd.readouterr()
    assert "Canary" not in "".join(traceback.format_exception(error.value)) + said.out + said.err


def test_a_note_id_with_another_text_is_a_dead_letter(tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", texts(5))
    count(notes, tmp_path / "out")
    write_notes(notes, [*texts(4), "The note was amended."])
    result = count(notes, tmp_path / "out")
    assert (result.notes, result.skipped, result.dead_letters) == (0, 4, 1)
    [letter] = dead_letters(tmp_path / "out")
    assert letter["note_id"] == "n4" and "another text" in letter["reason"]
    assert rows(tmp_path / "out") == expected(texts(5))


@pytest.mark.parametrize("end", ["[kill]", "[exit]"])
def test_a_note_that_ends_its_worker_is_found_and_left_out(tmp_path: Path, end: str) -> None:
    bad = texts(30)
    bad[17] = end
    notes = write_notes(tmp_path / "notes.jsonl", bad)
    result = count(notes, tmp_path / "out", workers=2, shard_size=8)
    assert (result.notes, result.dead_letters) == (29, 1)
    assert rows(tmp_path / "out") == [row for row in expected(bad) if row["note_id"] != "n17"]
    [letter] = dead_letters(tmp_path / "out")
    assert letter["note_id"] == "n17" and "killed" in letter["reason"]


def test_workers_that_are_always_killed_end_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rubricator.flows.jobs.job.KILLS_UNTIL_GIVING_UP", 2)
    notes = write_notes(tmp_path / "notes.jsonl", ["[kill]"] * 16)
    with pytest.raises(WorkerKilledError, match="fewer workers or smaller shards") as error:
        count(notes, tmp_path / "out", shard_size=8)
    assert re.search(r"on shard \d+, the notes 'n\d+' to 'n\d+'\.", str(error.value))
    assert read_manifest(tmp_path / "out")["status"] == "stopped"
    assert not (tmp_path / "out" / ".work").exists()


def test_several_notes_that_kill_their_workers_do_not_stop_the_job_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rubricator.flows.jobs.job.KILLS_UNTIL_GIVING_UP", 2)
    bad = texts(8)
    bad[0] = bad[4] = "[kill]"
    notes, out = write_notes(tmp_path / "notes.jsonl", bad), tmp_path / "out"
    result = count(notes, out, shard_size=4)
    assert (result.notes, result.dead_letters) == (6, 2)
    files = {file: file.stat().st_mtime_ns for file in out.rglob("*.parquet")}
    bad.append(texts(9)[8])
    again = count(write_notes(notes, bad), out, shard_size=2)  # only killers are left, and a new note
    assert (again.notes, again.skipped, again.dead_letters) == (1, 6, 2)
    assert {file: file.stat().st_mtime_ns for file in files} == files, "what was done is not done again"
    assert rows(out) == [row for row in expected(bad) if row["note_id"] not in ("n0", "n4")]


def test_a_job_that_an_error_stops_leaves_no_note_text_and_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    table = [f"n{row},{text}\n" for row, text in enumerate(texts(4500))]
    notes = tmp_path / "notes.csv"
    notes.write_text("".join(["note_id,text\n", *table[:4400], '"never closed\n', *table[4400:]]))
    with pytest.raises(NoteFormatError, match="row 4401"):
        count(notes, tmp_path / "out", shard_size=700)
    assert read_manifest(tmp_path / "out")["status"] == "stopped"
    assert not (tmp_path / "out" / ".work").exists()
    notes.write_text("".join(["note_id,text\n", *table]))
    result = count(notes, tmp_path / "out", shard_size=700)
    assert result.skipped >= 1400 and result.skipped + result.notes == 4500
    assert rows(tmp_path / "out") == expected(texts(4500))


def test_a_shard_that_lost_a_file_is_done_again(tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", texts(30))
    count(notes, tmp_path / "out")
    (tmp_path / "out" / "words" / "part-00001.parquet").unlink()
    (tmp_path / "out" / "lengths" / "part-00002.parquet").write_bytes(b"cut off")
    result = count(notes, tmp_path / "out")
    assert (result.notes, result.skipped) == (20, 10)
    assert rows(tmp_path / "out") == expected(texts(30))


def write_compositions(folder: Path, bodies: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "resourceType": "Composition",
            "id": f"c{row}",
            "section": [{"title": "Plan", "text": {"div": f"<div>{body}</div>"}}],
        }
        for row, body in enumerate(bodies)
    ]
    (folder / "Composition.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_composed_texts_are_as_safe_as_the_tables(tmp_path: Path) -> None:
    bodies = texts(30)
    bodies[4] = "[fail] Canary Smith"
    notes, out = write_compositions(tmp_path / "fhir", bodies), tmp_path / "out"
    count(notes, out)
    kept = out / "composed_notes"
    before = pq.read_table(kept)
    assert before["note_id"].to_pylist() == [f"Composition/c{row}" for row in range(30) if row != 4]
    assert "Canary" not in str(before.to_pylist()), "a note that failed is not kept"
    (kept / "part-00001.parquet").unlink()
    (kept / "part-00002.parquet").write_bytes(b"cut off")
    (kept / "part-00009.parquet").write_bytes(b"of a shard that was never recorded")
    result = count(notes, out)
    assert (result.notes, result.skipped) == (20, 9)
    assert result.composed == 20 and result.rows == {"words": 20, "lengths": 20}
    assert pq.read_table(kept).sort_by("note_id").equals(before.sort_by("note_id"))
    assert len(rows(out)) == 29


def test_shards_grow_by_default(tmp_path: Path) -> None:
    long_texts = [text + "x" * 10_000 for text in texts(1500)]
    notes = write_notes(tmp_path / "notes.jsonl", long_texts)
    count(notes, tmp_path / "out", workers=1, shard_size=None)
    sizes = [shard["notes"] for shard in read_manifest(tmp_path / "out")["shards"]]
    assert sizes[0] == pytest.approx(25, abs=1)
    # a shard has a sixteenth of what was cut before it, so that one to four workers cut the same shards
    for place, size in enumerate(sizes[:-1]):
        assert size == pytest.approx(max(25, sum(sizes[:place]) / 16), abs=2)
    assert len(sizes) < 40
    assert rows(tmp_path / "out") == expected(long_texts)


# ---- kill -9


def start(notes: Path, out: Path) -> subprocess.Popen[str]:
    script = out.parent / "job.py"
    script.write_text(RUN)
    return subprocess.Popen(
        [sys.executable, str(script), str(notes), str(out)],
        env={"PYTHONPATH": str(HERE), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(what: str, holds, job: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert job.poll() is None, f"the job ended before {what}: {job.communicate()}"
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)


def parts(out: Path, table: str = "words") -> int:
    return len(list((out / table).glob("*.parquet")))


def test_kill_9_loses_and_doubles_no_composed_text(tmp_path: Path) -> None:
    notes, out = write_compositions(tmp_path / "fhir", texts(100)), tmp_path / "out"
    job = start(notes, out)
    wait_for("two shards", lambda: parts(out, "composed_notes") >= 2, job)
    job.send_signal(signal.SIGKILL)
    job.wait()
    count(notes, out, workers=2)
    kept = pq.read_table(out / "composed_notes")
    assert sorted(kept["note_id"].to_pylist()) == sorted(f"Composition/c{row}" for row in range(100))
    assert len(rows(out)) == 100


@pytest.mark.parametrize("shards_done", [0, 1, 4, 9])
def test_kill_9_loses_and_doubles_nothing(tmp_path: Path, shards_done: int) -> None:
    notes = write_notes(tmp_path / "notes.jsonl", texts(100))
    out = tmp_path / "out"
    job = start(notes, out)
    if shards_done:
        wait_for(f"{shards_done} shards", lambda: parts(out) >= shards_done, job)
    else:
        wait_for("the first shard in flight", lambda: any(out.glob(".work/*/*.arrow")), job)
    job.send_signal(signal.SIGKILL)
    job.wait()
    result = count(notes, out, workers=2)
    assert result.notes + result.skipped == 100
    assert result.skipped >= 10 * (shards_done - 1)
    assert rows(out) == expected(texts(100))
    assert str(count(notes, out)) == "nothing to do: all 100 notes are done"


def test_kill_9_between_files_and_record(tmp_path: Path) -> None:
    """The ledger is locked from outside, so that the job stands between moving files and recording them."""
    notes = write_notes(tmp_path / "notes.jsonl", texts(60))
    out = tmp_path / "out"
    job = start(notes, out)
    wait_for("two shards", lambda: parts(out, "lengths") >= 2, job)
    ledger = sqlite3.connect(out / "ledger.sqlite", timeout=30, isolation_level=None)
    ledger.execute("BEGIN IMMEDIATE")
    recorded = ledger.execute("SELECT count(*) FROM shards").fetchone()[0]
    wait_for("files without record", lambda: parts(out, "lengths") > recorded, job)
    job.send_signal(signal.SIGKILL)
    job.wait()
    ledger.execute("ROLLBACK")
    ledger.close()
    assert parts(out) > recorded
    result = count(notes, out)
    assert result.skipped == 10 * recorded
    assert rows(out) == expected(texts(60))


def test_workers_end_with_a_killed_job(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    notes = write_notes(tmp_path / "notes.jsonl", texts(100))
    job = start(notes, tmp_path / "out")
    wait_for("the first shard", lambda: parts(tmp_path / "out") >= 1, job)
    workers = psutil.Process(job.pid).children(recursive=True)
    assert len(workers) >= 2
    job.send_signal(signal.SIGKILL)
    job.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
