"""Shortcuts for notebooks: the sections and sentences of one text, and notes as one table."""

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.files import DeadLetter
from rubricator.nlp.readers.frames import frame_batches
from rubricator.nlp.readers.notes import NOTES_SCHEMA, NoteReader, NoteSettings
from rubricator.nlp.sections.finder import Section, SectionFinder
from rubricator.nlp.units import units_of

if TYPE_CHECKING:
    from rubricator.nlp.readers.frames import NotesInMemory


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


def read_notes(notes: "str | Path | NotesInMemory", columns: NoteSettings = NoteSettings()) -> pa.Table:
    """Notes as one table of NOTES_SCHEMA: from files (path or glob), a polars or pandas data frame, or a list of texts.

    Notes that cannot be used are left out; a warning gives their number by reason. Raises NoteFormatError where the
    source as a whole cannot be used.
    """
    left_out: Counter[str] = Counter()

    def count(letter: DeadLetter) -> None:
        left_out[letter.reason] += 1

    batches = (
        NoteReader(notes, columns, on_dead_letter=count)
        if isinstance(notes, str | Path)
        else frame_batches(notes, columns, on_dead_letter=count)
    )
    table = pa.Table.from_batches(batches, NOTES_SCHEMA)
    if left_out:
        reasons = ", ".join(f"{number:,} ({reason})" for reason, number in left_out.items())
        warnings.warn(f"notes that cannot be used were left out: {reasons}", stacklevel=2)
    return table


def section_finder(lexicon: Sequence[str | Path]) -> SectionFinder:
    """The section finder with the built-in headings and those of these TOML files.

    The files are read at each call, because they may have been edited. Without files there is one finder for all calls.
    """
    return SectionFinder(Lexicon.load(*map(Path, lexicon))) if lexicon else _built_in_finder()


@cache
def _built_in_finder() -> SectionFinder:
    return SectionFinder()
