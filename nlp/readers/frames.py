"""Notes in memory: polars or pandas data frames, Arrow tables, lists of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rubricator.nlp.readers.arrow_tables import frame_notes
from rubricator.nlp.readers.files import DeadLetter, NoteFormatError, listed
from rubricator.nlp.readers.long_format import SeenNotes, valid_notes
from rubricator.nlp.readers.tables import NoteSettings, TableFiles
from rubricator.nlp.readers.validation import CodeCells, note_batch

if TYPE_CHECKING:
    from typing import TypeAlias

    import pandas as pd
    import polars as pl

    NotesInMemory: TypeAlias = pl.DataFrame | pd.DataFrame | pa.Table | Sequence[str]

_BATCH = 2000  # notes
_NAME = Path("the data frame")  # in error messages, instead of a file name


def frame_batches(
    notes: NotesInMemory,
    settings: NoteSettings | None,
    *,
    on_dead_letter: Callable[[DeadLetter], None],
    on_notice: Callable[[str], None] = lambda _: None,
) -> Iterator[pa.RecordBatch]:
    """Validated batches of NOTES_SCHEMA, like those of NoteReader.

    Columns are chosen as in files. Without a column of note ids, as in a list of texts, row numbers are the note ids.
    Raises NoteFormatError where there is no text column, or `notes` has another type.
    """
    frame = _as_arrow(notes)
    table = TableFiles("data frame", [], settings or NoteSettings(), lambda *_: iter(()))
    with SeenNotes(CodeCells(table.notices, table.settings.codes_column)) as seen:
        rows = []
        items = ((_NAME, raw) for raw in frame_notes(frame, table, _NAME))
        for note in valid_notes(items, table, seen, table.settings.date_format):
            if isinstance(note, DeadLetter):
                on_dead_letter(note)
                continue
            rows.append(note)
            if len(rows) == _BATCH:
                yield note_batch(rows)
                rows = []
        if rows:
            yield note_batch(rows)
    for kind, count in table.notices.items():
        on_notice(f"{kind}: {count:,}")


def _as_arrow(notes: Any) -> pa.Table:
    if isinstance(notes, pa.Table):
        return notes
    if isinstance(notes, list | tuple) and all(isinstance(text, str) for text in notes):
        # a note with a lone surrogate is not valid UTF-8, and is left out as one of a file would be
        return pa.table(
            {"text": pa.array([text.encode("utf-8", "surrogatepass") for text in notes], pa.binary())}
        )
    if hasattr(notes, "to_arrow") and hasattr(notes, "columns"):  # polars
        frame: pa.Table = notes.to_arrow()
        return frame
    if hasattr(notes, "iloc") and hasattr(notes, "columns"):  # pandas
        names = list(map(str, notes.columns))
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise NoteFormatError(
                f"{_NAME}: columns are there more than once: {listed(twice)}; keep one of each"
            )
        named = [name for name in notes.index.names if name is not None and name not in names]
        if named:  # an index with a name is a column, such as the note id
            notes = notes.reset_index(level=named)
        try:
            return pa.Table.from_pandas(notes, preserve_index=False)
        except (pa.ArrowException, TypeError, ValueError) as error:  # its message may quote a note
            reason = type(error).__name__
        mixed = [str(name) for name, kind in notes.dtypes.items() if kind.kind == "O"]
        raise NoteFormatError(
            f"{_NAME}: a column has values of several types ({reason}); give it one type; columns of objects are "
            f"{listed(mixed)}"
        )
    raise NoteFormatError(
        "notes must be a path, a polars or pandas data frame, an Arrow table or a list of texts, each a str, not "
        f"{type(notes).__name__}"
    )
