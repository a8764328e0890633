"""Files that survive a crash: each is complete or absent; and locks: one process at a time uses a folder."""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rubricator.flows.jobs.ledger import JobError


class JobIsRunningError(JobError):
    """Another process uses the same folder."""


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: after a crash it is the complete new one or the complete old one."""
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
    """Lock the folder for this process. Raises JobIsRunningError if another process has locked it."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobIsRunningError(f"another {what} {folder}: wait for it{instead}") from None
        yield


def sync_folder(folder: Path) -> None:
    """Make new file names in the folder survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_by_name(files: Sequence[str]) -> dict[str, str]:
    """The sha256 of each file, by file name: an edited lexicon counts as another setting.

    Of files with the same name in several folders, the later ones have a number after it.
    """
    sums: dict[str, str] = {}
    for number, file in enumerate(files, 1):
        name = Path(file).name
        sums[f"{name} ({number})" if name in sums else name] = hashlib.sha256(
            Path(file).read_bytes()
        ).hexdigest()
    return sums
