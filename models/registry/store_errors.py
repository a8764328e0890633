"""What MLflow raises where its store cannot be used, as one line: what is wrong, where, and how to mend it."""

import errno
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from rubricator.models.registry.errors import StoreError
from rubricator.nlp.errors import RubricatorError

# By the name of the SQLite error without what follows a second "_" (https://www.sqlite.org/rescode.html).
_SQLITE = {
    "SQLITE_BUSY": "another process holds a lock on it: wait until that is done, or end it",
    "SQLITE_LOCKED": "another process holds a lock on it: wait until that is done, or end it",
    "SQLITE_CORRUPT": "the file is damaged: restore it from a backup, or try `sqlite3 FILE .recover`",
    "SQLITE_NOTADB": "the file is no SQLite database: restore it from a backup, or move it away to begin anew",
    "SQLITE_FULL": "the disk is full: make room, and run the same command again",
    "SQLITE_READONLY": "it is read-only: make the file and its folder writable for you",
    "SQLITE_CANTOPEN": "it cannot be opened: make the file and its folder readable and writable for you",
    "SQLITE_PERM": "it cannot be opened: make the file and its folder readable and writable for you",
    "SQLITE_IOERR": "the disk gives errors when it is read or written: look at the disk",
}
_OS = {
    errno.ENOSPC: "make room, and run the same command again",
    errno.EDQUOT: "make room, and run the same command again",
    errno.EROFS: "name another home, or make it writable",
    errno.EACCES: "make it readable and writable for you",
    errno.EPERM: "make it readable and writable for you",
    errno.EIO: "look at the disk",
}
_SCHEMA = re.compile(r"out-of-date database schema|Can't locate revision|no such (?:table|column)")


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise StoreError in place of what MLflow, its database and the disk raise where the store cannot be used.

    Other exceptions pass. MLflow's own log of such errors, with a traceback, is silenced. Also a decorator.
    """
    log = logging.getLogger("mlflow.store.db.utils")
    was = log.disabled
    log.disabled = True
    try:
        yield
    except RubricatorError:
        raise
    except Exception as error:
        problem = _problem(error)
        if problem is None:
            raise
    else:
        return
    finally:
        log.disabled = was
    raise StoreError(problem)  # outside the except block: so it has no context


def store_name(uri: str | None = None) -> str:
    """The store for a message: the file of SQLite, or the address without its password.

    uri: by default the one in use.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "of MLflow")
    if uri.startswith("sqlite:///"):
        return uri.removeprefix("sqlite:///")
    return re.sub(r"//[^/]*@", "//", uri.partition("?")[0]) + " (MLFLOW_TRACKING_URI)"


def _problem(error: BaseException) -> str | None:
    """What is wrong with the store; None for an exception of another kind."""
    for each in _chain(error):
        if isinstance(each, sqlite3.Error):
            name = "_".join(getattr(each, "sqlite_errorname", "").split("_")[:2])
            if name in _SQLITE:
                return f"the store {store_name()}: {_SQLITE[name]}"
        if isinstance(each, OSError) and each.errno in _OS:
            place = f"{each.filename}: " if each.filename else f"the store {store_name()}: "
            return f"{place}{os.strerror(each.errno)}; {_OS[each.errno]}"
    if any(_SCHEMA.search(str(each)) for each in _chain(error)):
        return (
            f"the store {store_name()} is of another version of MLflow. Copy it first. If it is older, run "
            "`mlflow db upgrade` with its address; if it is newer, install the version that wrote it"
        )
    if any(_is_unreachable(each) for each in _chain(error)):
        return f"the store {store_name()} does not answer: start it, or correct the address"
    return None


def _is_unreachable(error: BaseException) -> bool:
    """Whether a server was not reached: of requests (which MLflow wraps in its own exception), or of a database."""
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    if "psycopg2.OperationalError" in kinds or "requests.exceptions.ConnectionError" in kinds:
        return True
    is_http = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", "")).scheme in {"http", "https"}
    return is_http and "API request to" in str(error)


def _chain(error: BaseException) -> list[BaseException]:
    """The exception, those that it comes from, and those that SQLAlchemy wraps."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in found:
            found.append(each)
            waiting += [each.__cause__, each.__context__, getattr(each, "orig", None)]
    return found
