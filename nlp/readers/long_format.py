"""Valid notes from raw ones. Rows of one note, one for each code, are joined, so that it is learnt with all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from rubricator.nlp.readers.dates import DateReader
from rubricator.nlp.readers.files import LONGEST_NOTE, DeadLetter, NoteFormatError, NoteSource, RawNote
from rubricator.nlp.readers.validation import SeenIds, ValidNote, validated

JOINED = "rows that were joined to the one before, which has the same note id and text (one row per code)"
_BETWEEN = "\x1f"  # the codes of a note


class SeenNotes(SeenIds):
    """The note ids seen so far, and for notes with codes a digest of the text and the codes, on disk too."""

    is_repeated = False  # whether the note id that was added last was there before
    takes_all = False  # whether every id counts as new, for the further rows of a note

    def __enter__(self) -> SeenNotes:
        super().__enter__()
        self._table.execute(
            "CREATE TABLE coded (note_id TEXT PRIMARY KEY, text BLOB, codes TEXT) WITHOUT ROWID"
        )
        return self

    def add(self, note_id: str) -> bool:
        is_new = self.takes_all or super().add(note_id)
        self.is_repeated = not is_new
        return is_new

    def validated_again(self, path: Path, raw: RawNote) -> ValidNote | DeadLetter:
        """Another row of a note that was there before, without the check of its id."""
        self.takes_all = True
        try:
            return validated(path, raw, self)
        finally:
            self.takes_all = False

    def keep_codes(self, note: ValidNote) -> None:
        """Remember a note that has codes."""
        if note.codes:
            row = (note.note_id, _digest(note.text), _BETWEEN.join(note.codes))
            self._table.execute("INSERT OR REPLACE INTO coded VALUES (?, ?, ?)", row)

    def has_other_codes(self, note: ValidNote) -> bool:
        """Whether an earlier note has the same id and text, but not all of its codes."""
        query = "SELECT codes FROM coded WHERE note_id = ? AND text = ?"
        found = self._table.execute(query, (note.note_id, _digest(note.text))).fetchone()
        return found is not None and not set(note.codes or ()) <= set(found[0].split(_BETWEEN))


def valid_notes(
    items: Iterable[tuple[Path, RawNote | DeadLetter]],
    source: NoteSource,
    seen: SeenNotes,
    date_format: str | None = None,
) -> Iterator[ValidNote | DeadLetter]:
    """The notes as rows of NOTES_SCHEMA, or as dead letters. source: its notices are added to.

    Consecutive rows with the same note id, patient and text are one note with the codes of all. If one of these rows
    cannot be used, the note is a dead letter. Raises NoteFormatError where such rows do not follow each other: the
    notes before have been used already. Raises as `validated`.
    """
    dates = DateReader(date_format, source.notices)
    last: _Rows | None = None
    for path, item in items:
        if isinstance(item, DeadLetter):
            yield item
        elif last is not None and last.takes(item):
            last.add(path, item, seen)
            source.notices[JOINED] += 1
        else:
            if last is not None:
                yield last.note(seen)
            first = _first_row(path, item, seen, dates, _date_column(source))
            # further rows of a note that cannot be used are not a note without its first code
            is_kept = isinstance(first, ValidNote) or (bool(item.codes) and not seen.is_repeated)
            last = _Rows(item, first) if is_kept else None
            if last is None and isinstance(first, DeadLetter):
                yield first
    if last is not None:
        yield last.note(seen)


def _date_column(source: NoteSource) -> str:
    columns = getattr(source, "columns", None)
    return columns.written_on or "" if columns else ""


def _first_row(
    path: Path, raw: RawNote, seen: SeenNotes, dates: DateReader, date_column: str
) -> ValidNote | DeadLetter:
    if isinstance(raw.text, str) and len(raw.text) > LONGEST_NOTE:
        known = str(raw.note_id) if isinstance(raw.note_id, str | int) else None
        return DeadLetter(str(path), raw.row, known, f"the text has more than {LONGEST_NOTE:,} characters")
    seen.is_repeated = False
    raw = raw._replace(written_on=dates.read(raw.written_on, date_column))
    found = validated(path, raw, seen)
    if isinstance(found, DeadLetter) and seen.is_repeated and raw.codes:
        again = seen.validated_again(path, raw)
        if isinstance(again, ValidNote) and seen.has_other_codes(again):
            raise NoteFormatError(
                f"{path}, row {raw.row}: the note {again.note_id!r} was there before, with other codes. Rows of "
                "one note are joined where they follow each other: sort the table by the note id"
            )
    return found


class _Rows:
    """The rows of one note so far."""

    def __init__(self, raw: RawNote, found: ValidNote | DeadLetter) -> None:
        self._raw = raw
        self._found = found

    def takes(self, raw: RawNote) -> bool:
        """Whether it is another row of the same note."""
        first = self._raw
        return (
            first.note_id == raw.note_id
            and bool(first.codes or raw.codes)
            and first.patient_id == raw.patient_id
            and first.text == raw.text
        )

    def add(self, path: Path, raw: RawNote, seen: SeenNotes) -> None:
        """Add the codes and the evidence of a further row."""
        before = self._found
        if isinstance(before, DeadLetter):
            return
        found = seen.validated_again(path, raw._replace(written_on=None))
        if isinstance(found, DeadLetter):
            self._found = DeadLetter(
                found.file,
                found.row,
                found.note_id,
                f"one of its rows, one per code, cannot be used: {found.reason}",
            )
            return
        spellings = _spellings(found) | _spellings(before)
        codes = [*dict.fromkeys([*(before.codes or ()), *(found.codes or ())])]
        written = [spellings[code] for code in codes]
        both = before.evidence or found.evidence
        self._found = before._replace(
            codes=None if before.codes is None and found.codes is None else codes,
            codes_as_written=written if written != codes else None,
            evidence=[*(before.evidence or ()), *(found.evidence or ())] if both else before.evidence,
        )

    def note(self, seen: SeenNotes) -> ValidNote | DeadLetter:
        """The note with all codes."""
        if isinstance(self._found, ValidNote):
            seen.keep_codes(self._found)
        return self._found


def _spellings(note: ValidNote) -> dict[str, str]:
    """How the codes of a note are written."""
    codes = note.codes or []
    return dict(zip(codes, note.codes_as_written or codes, strict=True))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
