"""Progress where there is no terminal: a line now and then."""

import json
import time
from pathlib import Path

import pytest

from rubricator.flows import progress
from rubricator.flows.figures import CountedNotes
from rubricator.nlp.builders.label_source import LabelSource
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NoteSettings
from rubricator.nlp.tasks import task_named
from rubricator.nlp.weak_labels import WeakLabelSettings


def test_what_goes_on_within_a_step_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    steps = iter(range(100))
    with progress.Progress("train codes") as shown:
        shown.show(0.25, "1 folds of 4")
        with shown.watching(lambda: f"network in training: step {next(steps)} of at most 1,000 steps of it"):
            time.sleep(2.5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "train codes: 25%, 1 folds of 4",
        "train codes: 25%, 1 folds of 4; network in training: step 0 of at most 1,000 steps of it",
        "train codes: 25%, 1 folds of 4; network in training: step 1 of at most 1,000 steps of it",
    ]


@pytest.mark.parametrize("task", ["plan", "codes"])
def test_the_search_for_near_duplicates_is_shown(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    text = "EXAM:\nLungs are clear.\n\nPLAN:\nReturn in two weeks."
    rows = [{"id": row, "text": f"{text} Visit {row}.", "codes": ["I10"]} for row in range(4)]
    (tmp_path / "notes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with progress.Progress(f"train {task}") as shown:
        notes = CountedNotes(str(tmp_path / "notes.jsonl"), NoteSettings(), shown, codes=True)
        source = LabelSource(
            weak_labels=WeakLabelSettings(),
            lexicon=Lexicon.load(),
            progress=notes.compared,
            failed=notes.failed,
        )
        task_named(task).examples(notes, source)
    assert capsys.readouterr().err.splitlines() == [
        f"train {task}: 100%, 4 notes read",
        *(f"train {task}: {row * 25}%, {row} of 4 notes compared for near duplicates" for row in range(1, 5)),
    ]


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    monkeypatch.setattr(progress.Progress, "is_shown", False)
    with progress.Progress("train codes") as shown:
        shown.show(0.25, "1 folds of 4")
    assert capsys.readouterr().err == ""
