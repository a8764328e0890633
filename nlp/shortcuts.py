"""Shortcuts for notebooks: the sections and sentences of one text, and notes as one table."""

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.files import DeadLetter, NoteFormatError
from rubricator.nlp.readers.frames import frame_batches
from rubricator.nlp.readers.notes import NOTES_SCHEMA, NoteReader, NoteSettings, matching, warn_of
from rubricator.nlp.sections.finder import Section, SectionFinder
from rubricator.nlp.units import units_of

if TYPE_CHECKING:
    from rubricator.nlp.readers.frames import NotesInMemory

_LONGEST_NAME = 255  # characters of a file name


def find_sections(text: str, *, lexicon: Sequence[str | Path] = ()) -> list[Section]:
    """The headed sections of a note in order. Offsets are half-open Python string offsets into the text.

    lexicon: TOML files with more headings. Raises LexiconError where such a file is wrong, but never because of the
    text.

    >>> [section.category for section in find_sections("Plan:\\nStart aspirin.")]
    ['plan']
    """
    return section_finder(lexicon).find(text)


def split_sentences(text: str, *, lexicon: Sequence[str | Path] = ()) -> list[tuple[int, int]]:
    """The sentences of a note in order, without headings, as half-open offsets (start, end) into the text.

    lexicon: TOML files with more headings. Raises LexiconError where such a file is wrong.

    >>> text = "Plan:\\nStart aspirin. Return in two weeks."
    >>> [text[start:end] for start, end in split_sentences(text)]
    ['Start aspirin.', 'Return in two weeks.']
    """
    return [(unit.start, unit.end) for unit in units_of("sentence", "", text, section_finder(lexicon).find)]


def read_notes(
    notes: "str | Path | NotesInMemory | None" = None, columns: NoteSettings | None = NoteSettings()
) -> pa.Table:
    """Notes as one table of NOTES_SCHEMA: from files (path or glob), a polars or pandas data frame, or a list of texts.

    Without `notes`, they are read from the database that `notes_sql` of the settings names. Notes that cannot be used
    are left out; a warning gives their number by reason. Another one says what the reader decided and left out, such as
    dates. Raises NoteFormatError where the source as a whole cannot be used.
    """
    if isinstance(notes, str) and _is_no_path(notes):
        raise NoteFormatError(
            "there is no such file, folder or match; to use texts, give a list of them: [text]"
        )
    left_out: Counter[str] = Counter()

    def count(letter: DeadLetter) -> None:
        left_out[letter.reason] += 1

    notices: list[str] = []
    if notes is None or isinstance(notes, str | Path):
        reader = NoteReader(notes, columns, on_dead_letter=count)
        table = pa.Table.from_batches(reader, NOTES_SCHEMA)
        notices = reader.notices
    else:
        batches = frame_batches(notes, columns, on_dead_letter=count, on_notice=notices.append)
        table = pa.Table.from_batches(batches, NOTES_SCHEMA)
    if left_out:
        reasons = ", ".join(f"{number:,} ({reason})" for reason, number in left_out.items())
        warnings.warn(f"notes that cannot be used were left out: {reasons}", stacklevel=2)
    warn_of(notices)
    return table


def _is_no_path(source: str) -> bool:
    """Whether a string may be the text of a note, given in place of a path. An error must not quote it."""
    if not source or "\n" in source or max(map(len, source.split("/"))) > _LONGEST_NAME:
        return True
    return " " in source and not matching(source)


def section_finder(lexicon: str | Path | Sequence[str | Path]) -> SectionFinder:
    """The section finder with the built-in headings and those of these TOML files, or of one file.

    The files are read at each call, because they may have been edited. Without files there is one finder for all calls.
    """
    files = [lexicon] if isinstance(lexicon, str | Path) else lexicon
    return SectionFinder(Lexicon.load(*map(Path, files))) if files else _built_in_finder()


@cache
def _built_in_finder() -> SectionFinder:
    return SectionFinder()
