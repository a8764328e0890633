"""MLflow's database in the home: checked before MLflow opens it, and mended where the home was moved or copied.

MLflow keeps the places of artifacts as absolute paths. In a home that was moved they would point to nothing, and in a
copy to the original. So these paths are rewritten when the home is opened. Experiments whose artifacts are in the home
have a tag; other experiments, and all that is in them, are left as they are.
"""

import socket
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from rubricator.models.registry.errors import StoreError
from rubricator.models.registry.store_errors import store_errors, store_name

IN_HOME = "rubricator.artifacts"  # tag of an experiment; its value says no more
LOCK_SECONDS, ANSWER_SECONDS = 10, 8  # waited for a lock, and for a server
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def mend_database(file: Path, artifacts: Path, *, experiment: str) -> None:
    """Let all places in the home point into it as it lies now.

    artifacts: the folder in the home. experiment: the one that every home has; before version 0.3 it had no tag. Raises
    StoreError where the file cannot be used.
    """
    location = str(artifacts)
    with _opened(file) as database:
        if not _has_experiments(database) or not _to_mend(database, artifacts, experiment):
            return
        database.execute("BEGIN IMMEDIATE")  # another process may have mended it in the meantime
        for before in _to_mend(database, artifacts, experiment) - {location}:
            for table, columns in _PLACES.items():
                for column in columns:
                    database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # names of ours
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (location, len(before) + 1, before, len(before) + 1, before + "/"),
                    )
        database.execute(
            "INSERT OR IGNORE INTO experiment_tags (key, value, experiment_id) "
            "SELECT ?, 'home', experiment_id FROM experiments WHERE artifact_location = ?",
            (IN_HOME, location),
        )
        database.execute("COMMIT")


def check_not_empty(file: Path) -> None:
    """Raises StoreError where a database that was made before holds nothing: MLflow would begin anew without a word."""
    with _opened(file) as database:
        if not _has_experiments(database):
            raise StoreError(
                f"the store {file} is empty: restore it from a backup, or remove it to begin anew"
            )


def check_answers(uri: str) -> None:
    """Raises StoreError, within seconds, where no server answers at the address."""
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if not parts.hostname or scheme not in _PORTS:
        return  # a file, a socket, or an address that MLflow has to judge
    try:
        if scheme.startswith("http"):
            address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
            urlopen(f"{address.rstrip('/')}/health", timeout=ANSWER_SECONDS).close()
        else:
            place = parts.hostname, parts.port or _PORTS[scheme]
            socket.create_connection(place, timeout=ANSWER_SECONDS).close()
    except HTTPError:
        return  # it answers
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return  # MLflow has settings of its own for certificates
        why = getattr(reason, "strerror", None) or type(reason).__name__
    else:
        return
    raise StoreError(f"nothing answers at {store_name(uri)}: {why}; start the server, or correct the address")


def _to_mend(database: sqlite3.Connection, artifacts: Path, experiment: str) -> set[str]:
    """The locations of experiments in the home that are to be rewritten, or to be tagged."""
    here = str(artifacts)
    tagged = (
        "SELECT artifact_location FROM experiments JOIN experiment_tags USING (experiment_id) WHERE key = ?"
    )
    found = {place for (place,) in database.execute(tagged, (IN_HOME,))}
    untagged = (
        "SELECT artifact_location FROM experiments WHERE name = ? AND experiment_id NOT IN "
        "(SELECT experiment_id FROM experiment_tags WHERE key = ?)"
    )
    for (place,) in database.execute(untagged, (experiment, IN_HOME)):
        # of an older version, unless the user made it for another folder
        is_ours = artifacts.is_dir() or not Path(place).exists()
        if place == here or (is_ours and place.startswith("/") and place.endswith("/artifacts")):
            return (found - {here}) | {place}
    return found - {here}


def _has_experiments(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchall())


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """The database; each statement is a transaction of its own unless one is begun. Raises StoreError."""
    with (
        store_errors(),
        closing(sqlite3.connect(file, timeout=LOCK_SECONDS, isolation_level=None)) as database,
    ):
        yield database
