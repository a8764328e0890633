"""Small texts after public bug reports and export formats, where ../shared/data has them: sections, sentences, labels."""

import json
from pathlib import Path
from typing import Any

import pytest

from rubricator.nlp.lexicon.lexicon import UNKNOWN, Lexicon, normalise
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.sentences.splitter import split_sentences
from rubricator.nlp.weak_labels import WeakLabelSettings, label_note

CASES = Path(__file__).parents[3] / "shared" / "data" / "field_sections.jsonl"
LEXICON = Lexicon.load()
FINDER = SectionFinder(LEXICON)

if not CASES.exists():
    pytest.skip(f"{CASES} is not here", allow_module_level=True)

ROWS = [json.loads(line) for line in CASES.read_text("utf-8").splitlines()]


def one_line(text: str) -> str:
    return " ".join(text.split())


def squashed(heading: str) -> str:
    return normalise(heading).replace(" ", "")


def fits(expected: dict[str, Any], heading: str, category: str, body: str) -> bool:
    categories = expected["category"] if isinstance(expected["category"], list) else [expected["category"]]
    return (
        category in categories
        and squashed(heading).startswith(squashed(expected["heading"]))
        and one_line(expected.get("body", body)) == body
        and all(one_line(part) in body for part in expected.get("body_has", []))
        and not any(one_line(part) in body for part in expected.get("body_has_not", []))
    )


def agree(expected: list[dict[str, Any]], found: list[tuple[str, str, str]]) -> bool:
    """In order; optional sections may be missing, and unknown ones may be found beside those expected."""
    if not found:
        return all(section.get("optional") for section in expected)
    if expected and fits(expected[0], *found[0]) and agree(expected[1:], found[1:]):
        return True
    if expected and expected[0].get("optional") and agree(expected[1:], found):
        return True
    return found[0][1] == UNKNOWN and agree(expected, found[1:])


def rows(check: str) -> Any:
    chosen = [row for row in ROWS if row["check"] == check]
    return pytest.mark.parametrize("row", chosen, ids=[f"{row['id']} {row['kind']}" for row in chosen])


@rows("sections")
def test_sections(row: dict[str, Any]) -> None:
    text = row["text"]
    found = [
        (section.heading, section.category, one_line(text[section.body_start : section.body_end]))
        for section in FINDER.find(text)
    ]
    assert agree(row["expect"], found), found


@rows("sentences")
def test_sentences(row: dict[str, Any]) -> None:
    text = row["text"]
    assert [one_line(text[start:end]) for start, end in split_sentences(text)] == list(
        map(one_line, row["expect"])
    )


@rows("labels")
def test_labels(row: dict[str, Any]) -> None:
    text, expected = row["text"], row["expect"]
    units = label_note(text, FINDER.find(text), WeakLabelSettings(), LEXICON)
    plans = [one_line(text[unit.start : unit.end]) for unit in units if unit.label == 1]
    assert all(any(part in plan for plan in plans) for part in expected["plan_sentences_include"])
    assert not [plan for plan in plans for part in expected["in_no_plan_sentence"] if part in plan]
