"""What must be known of a whole export before its notes are read, in a temporary SQLite file: memory does not grow.

SQLite deletes the file when the index is closed. It holds ids, codes, and places of Binary resources in the export.
Only Binary resources that cannot be sought, as in a compressed file, are copied into a temporary file beside it.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rubricator.nlp.readers.code_cells import SystemCode
from rubricator.nlp.readers.fhir.attachments import is_readable
from rubricator.nlp.readers.fhir.resources import Resource, Version

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
CREATE TABLE version (name TEXT PRIMARY KEY, updated REAL, number INTEGER, deleted INTEGER) WITHOUT ROWID;
CREATE TABLE identifier (encounter TEXT, identifier TEXT);
CREATE INDEX identifier_encounter ON identifier (encounter);
CREATE INDEX identifier_identifier ON identifier (identifier);
CREATE TABLE diagnosis (encounter TEXT, condition TEXT, rank INTEGER);
CREATE INDEX diagnosis_encounter ON diagnosis (encounter);
CREATE TABLE code (resource TEXT, encounter TEXT, of_visit INTEGER, procedure INTEGER, code TEXT, table_ TEXT);
CREATE INDEX code_resource ON code (resource);
CREATE INDEX code_encounter ON code (encounter);
CREATE TABLE replaced (target TEXT, source TEXT);
CREATE INDEX replaced_target ON replaced (target);
CREATE INDEX replaced_source ON replaced (source);
CREATE TABLE attached (digest BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE binary (name TEXT PRIMARY KEY, file TEXT, at INTEGER) WITHOUT ROWID;
BEGIN;
"""
_FACTS = {"identifier": "encounter", "diagnosis": "encounter", "code": "resource", "replaced": "source"}
_CODES = """
SELECT code, table_ FROM (
    SELECT code.code, table_, min(coalesce(rank, :unranked)) AS rank, procedure, code.rowid AS place
    FROM code LEFT JOIN diagnosis ON condition = resource AND diagnosis.encounter IN ({keys})
    WHERE (code.encounter IN ({keys}) AND (of_visit OR condition IS NOT NULL))
    GROUP BY code.rowid
    UNION
    SELECT code.code, table_, min(rank), procedure, code.rowid
    FROM diagnosis JOIN code ON resource = condition
    WHERE diagnosis.encounter IN ({keys})
    GROUP BY code.rowid
) ORDER BY rank, procedure, place
"""
UNRANKED = 1 << 15
MOST_KEYS = 1000  # of a query: SQLite allows 32,766 parameters


class ExportIndex:
    """The versions, encounters, codes, replaced documents and Binary resources of an export."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_TABLES)
        self._copies = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the index)

    def close(self) -> None:
        self._db.close()
        self._copies.close()

    def is_latest(self, name: str, version: Version, *, deleted: bool = False) -> bool:
        """Record a version of a resource. False where the same or a later one is known; else older facts are
        dropped.
        """
        row = (name, *version, int(deleted))
        if self._db.execute("INSERT OR IGNORE INTO version VALUES (?, ?, ?, ?)", row).rowcount == 1:
            return True
        newer = self._db.execute(
            "UPDATE version SET updated = ?2, number = ?3, deleted = ?4"
            " WHERE name = ?1 AND (?2, ?3) > (updated, number)",
            row,
        )
        if newer.rowcount != 1:
            return False
        for table, column in _FACTS.items():
            self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))
        self._db.execute("DELETE FROM binary WHERE name = ?", (name,))
        return True

    def standing(self, name: str, version: Version) -> str:
        """ "latest", "earlier" or "deleted": what this version of a resource is."""
        found = self._db.execute("SELECT updated, number, deleted FROM version WHERE name = ?", (name,))
        updated, number, deleted = found.fetchone() or (*version, 0)
        return "deleted" if deleted else "earlier" if version < (updated, number) else "latest"

    def add_identifiers(self, encounter: str, keys: Iterable[str]) -> None:
        self._db.executemany("INSERT INTO identifier VALUES (?, ?)", [(encounter, key) for key in keys])

    def add_diagnosis(self, encounter: str, condition: str, rank: int) -> None:
        self._db.execute("INSERT INTO diagnosis VALUES (?, ?, ?)", (encounter, condition, rank))

    def add_codes(
        self, resource: str, encounter: str, codes: Iterable[SystemCode], *, of_visit: bool, procedure: bool
    ) -> None:
        """Codes of a Condition or Procedure. of_visit: they count for its encounter even if that does not name it."""
        rows = [(resource, encounter, of_visit, procedure, code.text, code.systems[0]) for code in codes]
        self._db.executemany("INSERT INTO code VALUES (?, ?, ?, ?, ?, ?)", rows)

    def codes(self, encounters: Iterable[str]) -> list[SystemCode]:
        """The codes of encounters: by the rank of Encounter.diagnosis, diagnoses before procedures, as in the files."""
        keys = [key for encounter in encounters if encounter for key in self._all_keys(encounter)][:MOST_KEYS]
        if not keys:
            return []
        places = ", ".join(f":key{index}" for index in range(len(keys)))
        values = {f"key{index}": key for index, key in enumerate(keys)}
        rows = self._db.execute(_CODES.format(keys=places), {**values, "unranked": UNRANKED})
        return [SystemCode(code, (table,)) for code, table in dict.fromkeys(rows)]

    def _all_keys(self, encounter: str) -> list[str]:
        """The key of an encounter, its id and its identifiers. What several encounters have identifies none."""
        by_identifier = self._db.execute(
            "SELECT DISTINCT encounter FROM identifier WHERE identifier = ?", (encounter,)
        )
        known = [name for (name,) in by_identifier.fetchmany(2)]
        names = [encounter, *known] if len(known) == 1 else [encounter]
        keys = self._db.execute(
            f"SELECT identifier FROM identifier WHERE encounter IN ({', '.join('?' * len(names))})", names
        )
        return list(dict.fromkeys([*names, *(key for (key,) in keys)]))

    def without_encounter(self) -> int:
        """The number of codes that belong to no encounter, so that no note has them."""
        rows = self._db.execute(
            "SELECT count(*) FROM code WHERE encounter = '' AND resource NOT IN (SELECT condition FROM diagnosis)"
        )
        return int(rows.fetchone()[0])

    def add_replaced(self, target: str, source: str) -> None:
        self._db.execute("INSERT INTO replaced VALUES (?, ?)", (target, source))

    def is_replaced(self, keys: list[str], name: str) -> bool:
        """Whether another document of the export replaces the one with these keys. name: its own."""
        keys = keys[:MOST_KEYS]
        places = ", ".join("?" * len(keys))
        query = f"SELECT 1 FROM replaced WHERE target IN ({places}) AND source <> ? LIMIT 1"
        return self._db.execute(query, [*keys, name]).fetchone() is not None

    def add_attached(self, digest: bytes) -> None:
        self._db.execute("INSERT OR IGNORE INTO attached VALUES (?)", (digest,))

    def is_attached(self, digest: bytes) -> bool:
        return self._db.execute("SELECT 1 FROM attached WHERE digest = ?", (digest,)).fetchone() is not None

    def add_binary(self, name: str, resource: Resource, path: Path, offset: int | None) -> None:
        """Record where a Binary is. offset: of its line in the file; None where it must be copied."""
        file = "" if offset is None else str(path)
        if offset is None:
            kept = resource if is_readable(resource) else {**resource, "data": None}
            offset = self._copies.seek(0, 2)
            self._copies.write(json.dumps(kept).encode() + b"\n")
        self._db.execute("INSERT OR REPLACE INTO binary VALUES (?, ?, ?)", (name, file, offset))

    def binary(self, name: str) -> Resource | None:
        """The Binary of this name, such as "Binary/1"."""
        found = self._db.execute("SELECT file, at FROM binary WHERE name = ?", (name,)).fetchone()
        if found is None:
            return None
        file, offset = found
        if not file:
            self._copies.seek(offset)
            line = self._copies.readline()
        else:
            with Path(file).open("rb") as stream:
                stream.seek(offset)
                line = stream.readline()
        resource: Resource = json.loads(line)
        return resource
