"""Notes of a database: the rows of a query, streamed by SQLAlchemy. Nothing is written to the database."""

from __future__ import annotations

import contextlib
import decimal
import os
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rubricator.nlp.readers.files import NoteFormatError, Notices, RawNote, ReadPosition
from rubricator.nlp.readers.tables import Columns, NoteSettings, choose_columns

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, CursorResult

ROWS_AT_ONCE = 500
_NAME = Path("the database")  # in error messages, instead of a file name


class DatabaseNotes:
    """The rows of a query. Each needs a column of note ids and one of text, as a table of a file does.

    Values of the driver's exceptions are not shown: they may quote a note, or the password.
    """

    name = "database"

    def __init__(self, url: str, query: str, settings: NoteSettings) -> None:
        self.files = [_NAME]
        self.notices = Notices()
        self.columns: Columns | None = None  # once the query has run
        self._url = _url(url)
        self._query = query
        self._settings = settings

    def read(self, path: Path, progress: ReadPosition) -> Iterator[RawNote]:  # noqa: ARG002 (no size is known)
        from sqlalchemy.exc import SQLAlchemyError

        number, problem = 0, ""
        with _connected(self._url) as connection:
            try:
                for number, values in enumerate(self._rows(connection), 1):
                    yield RawNote(number, *values)
            except SQLAlchemyError as error:
                problem = _cause(error)
        if problem:
            after = f" after row {number}" if number else ""
            raise NoteFormatError(f"{_NAME}: the query failed{after} ({problem})", "notes_sql")
        if not number:
            self.notices["queries without rows"] += 1

    def _rows(self, connection: Connection) -> Iterator[list[Any]]:
        """The values of each row in the order of the fields of RawNote."""
        rows = self._execute(connection)
        names = list(rows.keys())
        self.columns = columns = choose_columns(_NAME, names, self._settings)
        places = [None if name is None else names.index(name) for name in columns.in_order()]
        for row in rows:
            yield [None if place is None else _value(row[place]) for place in places]

    def _execute(self, connection: Connection) -> CursorResult[Any]:
        """The rows, which the server sends as they are read. The query reaches the driver as it is written."""
        from sqlalchemy.exc import ResourceClosedError

        options = {"stream_results": True, "yield_per": ROWS_AT_ONCE, "no_parameters": True}
        if self._url.get_backend_name() == "postgresql":
            options["postgresql_readonly"] = True
        connection = connection.execution_options(**options)
        if self._url.get_backend_name() == "sqlite":  # bytes that are not UTF-8 spoil their note only
            driver: Any = connection.connection.driver_connection
            driver.text_factory = _decoded
            driver.set_authorizer(_only_reading)
        rows = connection.exec_driver_sql(self._query)
        if not rows.returns_rows:
            raise ResourceClosedError("no rows")
        return rows


def _url(given: str) -> URL:
    """The URL, from the environment where $NAME is given. Raises NoteFormatError."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    name = given.removeprefix("$").strip("{}") if given.startswith("$") else ""
    if name and not os.environ.get(name):
        raise NoteFormatError(
            f"{_NAME}: the environment has no variable {name}, which is to hold its URL", "notes_sql"
        )
    text = os.environ[name] if name else given
    url = None
    with contextlib.suppress(ArgumentError, ValueError):  # which may quote the URL
        url = make_url(text)
    if url is None:
        raise NoteFormatError(
            f"{_NAME}: its URL cannot be read; write DIALECT://USER@HOST/DATABASE, such as postgresql://omop@db/cdm or "
            "sqlite:////data/omop.db",
            "notes_sql",
        )
    is_file = url.get_backend_name() == "sqlite" and not (url.database or ":").startswith((":", "file:"))
    if is_file and not Path(str(url.database)).is_file():  # SQLite would make it
        raise NoteFormatError(f"{_NAME}: there is no file {url.database}", "notes_sql")
    return url


@contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    """A connection, which is rolled back at the end. Raises NoteFormatError."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    problem = ""
    try:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
        connection = engine.connect()
    except ModuleNotFoundError as error:
        problem = f"the driver {error.name} is not installed"
        if url.get_backend_name() == "postgresql":
            problem += " (pip install 'rubricator[postgresql]')"
    except (SQLAlchemyError, ValueError, TypeError) as error:
        problem = f"there is no connection ({_cause(error)})"
        reason = str(getattr(error, "orig", "")).strip().split("\n")[0]
        if reason and not (url.password and str(url.password) in reason):
            problem += f": {reason}"  # no row was read yet
    if problem:
        raise NoteFormatError(f"{_NAME}: {problem}", "notes_sql")
    with connection:
        yield connection


def _only_reading(action: int, *_: object) -> int:
    """Denies what is no reading, also ATTACH, which makes files. SQLite has no transaction that only reads."""
    reads = {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
    }
    return sqlite3.SQLITE_OK if action in reads else sqlite3.SQLITE_DENY


def _cause(error: Exception) -> str:
    """The kind of an exception of a driver, such as UndefinedTable, without its message."""
    cause = getattr(error, "orig", None) or error
    if str(cause).startswith(("not authorized", "cannot execute")):  # of SQLite, and of PostgreSQL
        return "it is only read: give a query that writes nothing"
    name = getattr(cause, "sqlite_errorname", None) or type(cause).__name__
    missing = re.match(
        r"no such (?:table|column): [\w.]{1,60}$", str(cause)
    )  # of SQLite: a name in the query
    return f"{name}: {missing[0]}" if missing else name


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _value(value: object) -> object:
    """A value of a driver as files have them."""
    if isinstance(value, decimal.Decimal):
        is_whole = value.is_finite() and value == value.to_integral_value()
        return int(value) if is_whole else float(value)
    if isinstance(value, bytes | memoryview):
        return _decoded(bytes(value))
    if isinstance(value, uuid.UUID):
        return str(value)
    return value
