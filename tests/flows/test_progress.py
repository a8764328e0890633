"""Progress where there is no terminal: a line now and then."""

import time

import pytest

from rubricator.flows import progress


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
