"""Checkpoints: a classifier that trains for hours can resume where a killed training stopped."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

STEPS = "steps.json"  # beside the checkpoints of a network in training: [steps done, most steps]


@runtime_checkable
class KeepsCheckpoints(Protocol):
    """A classifier that writes checkpoints while it is fitted.

    checkpoints: the folder to write them to and to resume from, None to keep none. It is set before `fit`. It is not
    among the settings, because those become part of the model.
    """

    checkpoints: Path | None


def training_steps(checkpoints: Path) -> list[tuple[int, int]]:
    """(steps done, most steps) of each network that is in training with checkpoints below this folder."""
    found = []
    for folder, _, files in os.walk(checkpoints):  # os.walk skips folders that are removed meanwhile
        if STEPS not in files:
            continue
        with suppress(OSError, ValueError):  # the training has ended, or the file is being written
            done, most = json.loads(Path(folder, STEPS).read_bytes())
            found.append((done, most))
    return found
