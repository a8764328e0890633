"""Files that survive a crash: whole or not there at all, and one process at a time in a folder."""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rubricator.flows.jobs.ledger import JobError


class JobIsRunningError(JobError):
    """Another process writes into the same folder."""


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is the new one or the old one, whole, whatever happens."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


@contextmanager
def locked(
    folder: Path, *, what: str = "job is writing into", instead: str = ", or choose another folder"
) -> Iterator[None]:
    """Hold the folder for this process alone. Raises JobIsRunningError where another one does."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobIsRunningError(f"another {what} {folder}: wait for it{instead}") from None
        yield


def sync_folder(folder: Path) -> None:
    """New names in the folder survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_by_name(files: Sequence[str]) -> dict[str, str]:
    """sha256 of each file by its name: tables of an edited lexicon are tables of another one."""
    return {Path(file).name: hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files}
