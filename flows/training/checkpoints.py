"""Checkpoints of a training that is killed and started again: their folder, its lock, and how far networks are."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rubricator.flows.jobs.files import locked


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """The folder for the checkpoints of one training, until the body has ended well.

    Raises JobIsRunningError where another process is at the same training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, what="process trains the same on the same data, in", instead=""):
        yield
        shutil.rmtree(folder)


def checkpoint_folder(checkpoints: Path, *training: str) -> Path:
    """The folder of this training."""
    return checkpoints / hashlib.sha256("\n".join(training).encode()).hexdigest()[:16]


def networks_in_training(checkpoints: Path) -> str:
    """How far they are, in words; nothing where there is none."""
    from rubricator.models.checkpoints import training_steps

    steps = [f"step {done:,} of at most {most:,}" for done, most in training_steps(checkpoints)]
    return f"network in training: {', '.join(steps)}" if steps else ""
