"""A site's own table of codes: the codes that may be assigned, and their names in the language of the notes."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

from rubricator.nlp.code_spelling import ICD_9, ICD_10, bare_code
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.icd import normal_code
from rubricator.nlp.null_words import is_missing

_CODE = ("code", "codigo", "código", "icd", "icd10", "icd_code", "icd10_code", "icd9_code", "icd9")
_SYSTEMS = {"9": ICD_9, "10": ICD_10}
_NAME = ("description", "descripcion", "descripción", "name", "term", "title", "long_title")


class CodeTableError(RubricatorError):
    """A table of codes cannot be read; the message says what is wrong."""


def read_code_table(path: Path) -> dict[str, list[str]]:
    """The names of each code, in the order of the file.

    path: .csv, .tsv or .jsonl (also .gz) with columns `code` and `description`; other usual names of the two columns
    are known. A code may have several rows (synonyms), or an empty description. Rows with other spellings of a code are
    rows of that code.

    Raises CodeTableError for a missing column, a row without a code, or a file that cannot be read.
    """
    plain = path.name.removesuffix(".gz")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = content.decode("utf-8-sig")
        rows = list(_json_rows(text) if plain.endswith("l") else _csv_rows(text, tab=plain.endswith(".tsv")))
    except (OSError, ValueError, EOFError, csv.Error) as error:
        reason = type(error).__name__
    else:
        return _names(path, rows)
    raise CodeTableError(
        f"{path} cannot be read as a table of codes ({reason}); write it as .csv, .tsv or .jsonl in UTF-8"
    )


def _names(path: Path, rows: list[dict[str, object]]) -> dict[str, list[str]]:
    columns = {column.strip().lower(): column for row in rows[:1] for column in row}
    code, name, version = (
        next((columns[each] for each in wanted if each in columns), None)
        for wanted in (_CODE, _NAME, ("icd_version",))
    )
    if code is None or name is None:
        raise CodeTableError(
            f"{path} needs a column 'code' and a column 'description'; it has: {', '.join(columns) or 'none'}"
        )
    names: dict[str, list[str]] = {}
    spelt: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        value = row.get(code)
        if not isinstance(value, str) or not value.strip() or is_missing(value):
            raise CodeTableError(f"{path}, row {number}: the code is missing or is not a string")
        systems = _SYSTEMS.get(str(row.get(version or "")))
        normal = normal_code(value, systems)
        known = names.setdefault(spelt.setdefault(normal, normal if systems else bare_code(value).code), [])
        called = str(row.get(name) or "").strip()
        if called and called not in known:
            known.append(called)
    return names


def _csv_rows(text: str, *, tab: bool) -> Iterator[dict[str, object]]:
    first = text.partition("\n")[0]
    yield from csv.DictReader(io.StringIO(text), delimiter="\t" if tab else ";" if first.count(";") else ",")


def _json_rows(text: str) -> Iterator[dict[str, object]]:
    for line in text.splitlines():
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError
            yield row
