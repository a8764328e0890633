"""What is checked of a step's parameters in a moment, before Prefect starts: notes are there, folders can be used."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from rubricator.nlp.errors import RubricatorError


class MissingFileError(RubricatorError):
    """A file that a parameter names is not there."""


def check_notes(notes: str | None) -> None:
    """Raise NoteFormatError if there is no such file or folder; a glob, standard input and None pass."""
    if notes and notes != "-" and not any(sign in notes for sign in "*?[") and not Path(notes).exists():
        from rubricator.nlp.readers.notes import NoteReader

        NoteReader(notes, on_dead_letter=lambda _: None)  # it says what it looked for


def check_files(**files: str | None) -> None:
    """Raise MissingFileError if a parameter names a file that is not there."""
    for parameter, file in files.items():
        if file and not Path(file).is_file():
            raise MissingFileError(f"{parameter}: there is no file {file}")


def check_out(out: str | None, step: str) -> None:
    """Raise OutFolderError, SettingsChangedError or JobIsRunningError if a job of the step cannot write there."""
    if not out:
        return
    from rubricator.flows.jobs.files import locked
    from rubricator.flows.jobs.job import OutFolderError
    from rubricator.flows.jobs.ledger import SettingsChangedError

    folder = Path(out).absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise OutFolderError(f"{out} cannot be the folder of the tables: {there} is a file; name another one")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutFolderError(
            f"{out} cannot be the folder of the tables: {there} is not writable; name another one"
        )
    made_by = _step_of(folder / "ledger.sqlite")
    if made_by not in (None, step):
        raise SettingsChangedError(f"{out} holds the tables of '{made_by}': choose another folder")
    if (folder / ".lock").exists():
        with locked(folder):
            pass


def _step_of(ledger: Path) -> str | None:
    """The step that did notes in a folder; None where none did, or where the job itself says what is wrong with it."""
    if not ledger.is_file():
        return None
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as database,
    ):
        row = database.execute("SELECT step FROM job WHERE EXISTS (SELECT 1 FROM notes)").fetchone()
        return str(row[0]) if row else None
    return None
