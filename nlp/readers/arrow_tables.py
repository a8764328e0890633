"""Notes of parquet files and of Arrow tables in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rubricator.nlp.readers.files import NoteFormatError, RawNote, ReadPosition, open_seekable
from rubricator.nlp.readers.tables import CODES_AS_NUMBERS, Columns, TableFiles, is_id_name

if TYPE_CHECKING:
    import pyarrow as pa


def parquet_notes(path: Path, table: TableFiles, progress: ReadPosition) -> Iterator[RawNote]:
    """The notes of a parquet file."""
    import pyarrow.parquet as pq

    size = path.stat().st_size
    # buffered: a column chunk is read page by page, so that a huge row group does not fill the memory
    with (
        open_seekable(path, b"PAR1") as plain,
        pq.ParquetFile(plain, buffer_size=1 << 20, pre_buffer=False) as file,
    ):
        fields = _fields(path, file.schema_arrow, table)
        number, total = 0, max(1, file.metadata.num_rows)
        progress.position = lambda: size * number / total
        for batch in file.iter_batches(500, columns=list(filter(None, dict.fromkeys(fields)))):
            for row in _rows(batch, fields):
                number += 1
                yield RawNote(number, *row)


def frame_notes(frame: pa.Table, table: TableFiles, path: Path) -> Iterator[RawNote]:
    """The notes of a table in memory. Row numbers are the note ids where there is no id column. path: for errors."""
    names = set(frame.column_names)
    if table.settings.id_column is None and not any(map(is_id_name, names)):
        ids = next(
            name for name in (f"note_id{'_' * at}" for at in range(len(names) + 1)) if name not in names
        )
        frame = frame.append_column(ids, [list(map(str, range(frame.num_rows)))])
        table.settings = table.settings.model_copy(update={"id_column": ids})
    if not frame.num_rows:  # its columns may have any type
        table.choose(path, frame.column_names)
        return
    fields = _fields(path, frame.schema, table)
    number = 0
    for batch in frame.select(list(filter(None, dict.fromkeys(fields)))).to_batches(500):
        for row in _rows(batch, fields):
            number += 1
            yield RawNote(number, *row)


def _fields(path: Path, schema: pa.Schema, table: TableFiles) -> Sequence[str | None]:
    """The columns in the order of the fields of RawNote."""
    columns = table.choose(path, schema.names)
    _check_types(path, schema, columns)
    return columns.in_order()


def _rows(batch: pa.RecordBatch, fields: Sequence[str | None]) -> Iterator[tuple[Any, ...]]:
    absent = [None] * batch.num_rows
    yield from zip(*(_values(batch.column(name)) if name else absent for name in fields), strict=True)


def _values(column: Any) -> list[object]:
    """A column as Python values. Bytes that are not UTF-8 become lone surrogates instead of raising."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not _is_text(kind):
        values: list[object] = column.to_pylist()
        return values
    return [
        None if v is None else v.decode("utf-8", "surrogateescape")
        for v in column.cast(kind).cast(pa.large_binary()).to_pylist()
    ]


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    checks: list[Callable[[Any], bool]] = [
        pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
        pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view,
    ]  # fmt: skip
    return any(check(kind) for check in checks)


def _check_types(path: Path, schema: Any, columns: Columns) -> None:
    """Raises NoteFormatError for a column whose type has lost information, such as codes that became numbers."""
    import pyarrow as pa

    def kind(name: str) -> Any:
        kind = schema.field(name).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    if not (_is_text(kind(columns.text)) or pa.types.is_null(kind(columns.text))):
        raise NoteFormatError(f"{path}: the text column {columns.text!r} is {kind(columns.text)}, not string")
    for name in filter(None, (columns.note_id, columns.patient_id)):
        if not (_is_text(kind(name)) or pa.types.is_integer(kind(name)) or pa.types.is_null(kind(name))):
            raise NoteFormatError(
                f"{path}: the id column {name!r} is {kind(name)}; write it as string or integer"
            )
    if columns.codes:
        codes = kind(columns.codes)
        inner = codes.value_type if pa.types.is_list(codes) or pa.types.is_large_list(codes) else codes
        if pa.types.is_dictionary(inner):
            inner = inner.value_type
        if not (_is_text(inner) or pa.types.is_null(inner)):
            raise NoteFormatError(
                f"{path}: the codes column {columns.codes!r} is {codes}; {CODES_AS_NUMBERS}"
            )
