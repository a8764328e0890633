"""Checkpoints, from which a killed training goes on: their folder, its lock, and the progress of networks."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rubricator.flows.jobs.files import locked


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Make and lock the checkpoint folder of a training, and remove it when the body succeeds.

    Raises JobIsRunningError where another process runs the same training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, what="process trains the same on the same data, in", instead=""):
        yield
        shutil.rmtree(folder)


def checkpoint_folder(checkpoints: Path, *training: str) -> Path:
    """The checkpoint folder of one training. training: strings that identify it."""
    return checkpoints / hashlib.sha256("\n".join(training).encode()).hexdigest()[:16]


def networks_in_training(checkpoints: Path) -> str:
    """The progress of the networks in training, as text; empty if there are none."""
    from rubricator.models.checkpoints import training_steps

    steps = [f"step {done:,} of at most {most:,}" for done, most in training_steps(checkpoints)]
    return f"network in training: {', '.join(steps)}" if steps else ""
