"""Files that survive a crash: each is complete or absent; and locks: one process at a time uses a folder."""

import errno
import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rubricator.flows.jobs.ledger import JobError


class JobIsRunningError(JobError):
    """Another process uses the same folder."""


class StorageError(JobError):
    """The disk or the ledger of a job's folder cannot be written or read; says why and how to mend it."""


@contextmanager
def storage(folder: Path) -> Iterator[None]:
    """Raise StorageError in place of an error of the disk or of the ledger in the folder."""
    try:
        yield
    except sqlite3.Error as error:
        raise _of_ledger(folder, error) from None
    except OSError as error:
        mend = _MENDS.get(error.errno or 0)
        if mend is None or not (error.errno in _OF_WRITING or _is_in(folder, error.filename)):
            raise
        why = os.strerror(error.errno or 0)
        raise StorageError(f"{error.filename or folder}: {why}: {mend}; {_GOES_ON}") from None


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


def _is_in(folder: Path, file: object) -> bool:
    return isinstance(file, str | os.PathLike) and Path(file).is_relative_to(folder)


def _of_ledger(folder: Path, error: sqlite3.Error) -> StorageError:
    ledger, code = folder / "ledger.sqlite", (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    why, mend = _LEDGER_MENDS.get(
        code,
        (
            f"cannot be used ({getattr(error, 'sqlite_errorname', type(error).__name__)})",
            "look at the disk, or choose another folder",
        ),
    )
    return StorageError(f"{ledger} {why}: {mend}; {_GOES_ON}")


_GOES_ON = "then run the same command again: what is done stays done"
_OF_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # no reading of notes ends with these
_MENDS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or ask for more",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EROFS: "choose a folder that can be written, or have it mounted so",
    errno.EACCES: "give this user the right to write there, or choose another folder",
    errno.EPERM: "give this user the right to write there, or choose another folder",
    errno.EIO: "the disk fails; choose a folder on another one",
    errno.ENOLCK: "its file system has no locks; choose a folder on another one",
}
_DAMAGED = "move the folder away and do its notes anew, or bring the file back from a backup"
_LEDGER_MENDS = {  # by SQLite's primary result code
    sqlite3.SQLITE_BUSY: ("is locked by another program", "close what has it open"),
    sqlite3.SQLITE_LOCKED: ("is locked by another program", "close what has it open"),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "free some space"),
    sqlite3.SQLITE_READONLY: ("cannot be written", "give this user the right to write it"),
    sqlite3.SQLITE_PERM: ("cannot be written", "give this user the right to write it"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "give this user the right to write it and its folder"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", _DAMAGED),
    sqlite3.SQLITE_NOTADB: ("is damaged", _DAMAGED),
    sqlite3.SQLITE_IOERR: ("cannot be read or written: the disk fails or is full", "look at the disk"),
}
