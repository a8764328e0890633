"""MLflow's database in the home: checked before MLflow opens it, and mended where the home was moved or copied.

MLflow keeps the places of artifacts as absolute paths. In a home that was moved they would point to nothing, and in a
copy to the original. So these paths are rewritten when the home is opened. Experiments whose artifacts are in the home
have a tag; other experiments, and all that is in them, are left as they are.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rubricator.models.registry.errors import StoreError
from rubricator.models.registry.store_errors import store_errors

IN_HOME = "rubricator.artifacts"  # tag of an experiment; its value says no more
LOCK_SECONDS = 10  # waited for a lock
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
