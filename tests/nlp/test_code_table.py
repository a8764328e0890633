"""Tables of codes as sites have them."""

import gzip
from pathlib import Path

import pytest

from rubricator.nlp.code_table import CodeTableError, read_code_table


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "code,description\nR51,Cefalea\n003.1,\nR51,Dolor de cabeza\n"),
        ("t.csv", "Codigo;Descripcion\nR51;Cefalea\n003.1;\nR51;Dolor de cabeza\n"),
        ("t.tsv", "name\tcode\nCefalea\tR51\n\t003.1\nDolor de cabeza\tR51\n"),
        (
            "t.jsonl",
            '{"code": "R51", "description": "Cefalea"}\n{"code": "003.1", "description": null}\n'
            '\n{"code": "R51", "description": "Dolor de cabeza"}\n',
        ),
    ],
)
def test_a_code_may_have_several_names_or_none(tmp_path: Path, name: str, content: str) -> None:
    expected = {"R51": ["Cefalea", "Dolor de cabeza"], "003.1": []}
    (tmp_path / name).write_text("\ufeff" + content)
    assert read_code_table(tmp_path / name) == expected
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    assert read_code_table(tmp_path / f"{name}.gz") == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n", "it has: a, b"),
        ("", "it has: none"),
        ("code,description\n,Secret words\n", "row 1: the code is missing"),
    ],
)
def test_what_is_missing_is_said_without_quoting_rows(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(CodeTableError, match=said) as raised:
        read_code_table(tmp_path / "t.csv")
    assert "Secret" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("[1, 2]\n")
    for path in (tmp_path / "t.jsonl", tmp_path / "none.csv"):
        with pytest.raises(CodeTableError, match=path.name):
            read_code_table(path)
