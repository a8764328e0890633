"""Notes from a database: SQLite, and a real PostgreSQL server where one is installed."""

import datetime
import decimal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rubricator.nlp import read_notes as read_anything
from rubricator.nlp.readers.database import _value
from rubricator.nlp.readers.notes import DeadLetter, NoteFormatError, NoteReader, NoteSettings

CANARY = "canary-7f3a"
NOTE = "CREATE TABLE note (note_id bigint, person_id bigint, note_date date, note_title varchar(250), note_text text)"
ROWS = [(1, 77, "2020-03-04", "Visit", f"PLAN: rest {CANARY}"), (2, 78, "2020-03-05", None, "100% fine :x ?")]


@pytest.fixture
def omop(tmp_path: Path) -> Path:
    path = tmp_path / "omop.db"
    with sqlite3.connect(path) as database:
        database.execute(NOTE)
        database.executemany("INSERT INTO note VALUES (?, ?, ?, ?, ?)", ROWS)
    return path


def read(url: str, query: str, **settings: Any) -> tuple[list[dict[str, Any]], list[DeadLetter], NoteReader]:
    letters: list[DeadLetter] = []
    reader = NoteReader(None, NoteSettings(notes_sql=(url, query), **settings), on_dead_letter=letters.append)
    return [row for batch in reader for row in batch.to_pylist()], letters, reader


def refusal(url: str, query: str) -> str:
    with pytest.raises(NoteFormatError) as caught:
        read(url, query)
    assert caught.value.__context__ is None
    assert CANARY not in str(caught.value)
    assert "secret" not in str(caught.value)
    return str(caught.value)


def test_the_note_table_of_omop_in_sqlite(omop: Path) -> None:
    notes, letters, reader = read(
        f"sqlite:///{omop}", "SELECT * FROM note WHERE note_text LIKE '%e%' ORDER BY 1"
    )
    assert [(n["note_id"], n["patient_id"], n["written_on"], n["text"]) for n in notes] == [
        ("1", "77", datetime.date(2020, 3, 4), ROWS[0][4]),
        ("2", "78", datetime.date(2020, 3, 5), ROWS[1][4]),
    ]
    assert (letters, reader.notices, reader.fraction_read) == ([], [], 1.0)
    table = read_anything(columns=NoteSettings(notes_sql=(f"sqlite:///{omop}", "SELECT * FROM note")))
    assert table.num_rows == 2


def test_bytes_that_are_not_utf8_spoil_their_note_only(omop: Path) -> None:
    with sqlite3.connect(omop) as database:
        database.execute(
            "INSERT INTO note VALUES (3, 1, NULL, NULL, CAST(x'ff' AS TEXT)), (4, 1, NULL, NULL, x'41')"
        )
    notes, [letter], _ = read(f"sqlite:///{omop}", "SELECT * FROM note")
    assert [note["note_id"] for note in notes] == ["1", "2", "4"]
    assert (letter.file, letter.row, letter.note_id) == ("the database", 3, "3")


def test_what_cannot_be_read_is_an_error_without_text_and_password(
    omop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = f"sqlite:///{omop}"
    assert "no such table: nix" in refusal(here, "SELECT * FROM nix")
    assert "the query failed (" in refusal(here, "SELEKT")
    assert "it is only read: give a query that writes nothing" in refusal(here, "DELETE FROM note")
    assert len(read(here, "SELECT * FROM note")[0]) == 2, "nothing is written"
    assert "no column looks like the text" in refusal(here, "SELECT note_id, note_title FROM note")
    assert "the query failed (SQLITE_ERROR)" in refusal(
        here, f"SELECT 1 AS id, '{CANARY}' AS text UNION ALL SELECT abs(-9223372036854775808), 'x'"
    )
    assert "there is no file" in refusal(f"sqlite:///{omop}.nix", "SELECT 1")
    assert not Path(f"{omop}.nix").exists()
    assert "its URL cannot be read" in refusal("omop", "SELECT 1")
    assert "no variable OMOP_NIX" in refusal("$OMOP_NIX", "SELECT 1")
    monkeypatch.setenv("OMOP_URL", "postgresql://bob:secret@127.0.0.1:1/omop")
    assert "there is no connection (OperationalError)" in refusal("$OMOP_URL", "SELECT 1")
    monkeypatch.setenv("OMOP_URL", here)
    assert len(read("${OMOP_URL}", "SELECT * FROM note")[0]) == 2
    monkeypatch.setenv("OMOP_URL", "nix+secret://x")
    refusal("$OMOP_URL", "SELECT 1")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bob:secret@db/omop",
        "postgresql://db/omop?user=bob&password=secret",
        "mssql://b:secret@h",
    ],
)
def test_a_password_in_the_url_is_refused_before_a_job_keeps_it(url: str) -> None:
    with pytest.raises(ValidationError, match="put the URL into an environment variable"):
        NoteSettings(notes_sql=(url, "SELECT 1"))


@pytest.mark.slow
def test_notes_are_streamed_from_postgresql(postgresql: str) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    from sqlalchemy import make_url

    url = make_url(postgresql)
    connection = psycopg2.connect(host=url.query["host"], user=url.username, dbname=url.database)
    with connection, connection.cursor() as cursor:
        cursor.execute(NOTE)
        cursor.execute("ALTER TABLE note ADD COLUMN codes text[]")
        cursor.execute(
            "INSERT INTO note SELECT n, n % 7, date '2020-01-01' + n, 'Visit', repeat('rest ', 20000), '{E11.9,I10}'"
            " FROM generate_series(1, 3000) AS n"
        )
    connection.close()
    seen = 0
    query = (
        "SELECT note_id::numeric, person_id, note_date, note_text, codes FROM note WHERE note_title LIKE 'V%'"
    )
    reader = NoteReader(None, NoteSettings(notes_sql=(postgresql, query)), on_dead_letter=pytest.fail)
    for batch in reader:
        seen += batch.num_rows
        first = batch.slice(0, 1).to_pylist()[0]
        assert first["codes"] == ["E11.9", "I10"]
        assert first["note_id"].isdigit()
    assert seen == 3000
    assert "UndefinedTable" in refusal(postgresql, "SELECT * FROM nix")
    assert "InvalidTextRepresentation" in refusal(
        postgresql, f"SELECT '{CANARY}'::text::int AS id, 'x' AS text"
    )
    assert "the query failed" in refusal(
        postgresql, "INSERT INTO note (note_id) VALUES (1) RETURNING note_id, ''"
    )


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE note",
        "DELETE FROM note RETURNING note_id, note_text",
        "WITH x AS (SELECT 1) DELETE FROM note RETURNING note_id, note_text",
        "WITH x AS (SELECT 1) INSERT INTO note SELECT * FROM note",
        "CREATE TABLE other AS SELECT * FROM note",
        "ATTACH 'other.db' AS other",
    ],
)
def test_a_query_that_writes_is_refused_and_writes_nothing(
    omop: Path, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(omop.parent)
    assert "it is only read" in refusal(f"sqlite:///{omop}", query)
    with sqlite3.connect(omop) as database:
        assert database.execute("SELECT count(*) FROM note").fetchone() == (2,)
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
    assert [path.name for path in omop.parent.iterdir()] == ["omop.db"]


def test_no_error_of_the_settings_has_the_password() -> None:
    with pytest.raises(ValidationError) as caught:
        NoteSettings(notes_sql=("postgresql://me:secret-7f3a@host/db", "SELECT 1"))
    assert "secret-7f3a" not in str(caught.value) + repr(caught.value)


def test_a_number_that_is_none_spoils_its_note_only() -> None:
    assert str(_value(decimal.Decimal("Infinity"))) == "inf"
    assert (_value(decimal.Decimal("7.0")), _value(decimal.Decimal("7.5"))) == (7, 7.5)
