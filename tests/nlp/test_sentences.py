"""split_sentences on marked-up notes, and what must hold of any text.

In the two case files each expected sentence or item stands in [[ ]]; "=== name" opens a case. The blind file was
written before the rules were tuned on the other one.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from rubricator.nlp.sentences import split_sentences

Span = tuple[int, int]


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    expected: list[Span]


def load_cases(file: str) -> list[Case]:
    marked = (Path(__file__).parent / file).read_bytes().decode()
    return [parse_case(*part.split("\n", 1)) for part in re.split(r"^=== ", marked, flags=re.MULTILINE)[1:]]


def parse_case(name: str, marked: str) -> Case:
    text, spans, start = "", [], 0
    for piece in re.split(r"(\[\[|\]\])", marked):
        if piece == "[[":
            start = len(text)
        elif piece == "]]":
            spans.append((start, len(text)))
        else:
            text += piece
    return Case(name, text, spans)


def tally(case: Case, found: list[Span]) -> Counter[str]:
    """Counts per case: list items, unbulleted lines and hard wraps, each beside how many came out right or wrong."""
    counts: Counter[str] = Counter()
    starts = {start for start, _ in found}

    def apart(before: Span, span: Span) -> bool:
        return span[0] in starts and not any(start < before[1] and end > span[0] for start, end in found)

    for before, span in zip([(0, 0), *case.expected], case.expected, strict=False):
        line_start = case.text.rfind("\n", 0, span[0]) + 1
        lead = case.text[max(line_start, before[1]) : span[0]]
        if lead.strip():
            counts["items"] += 1
            counts["items apart"] += apart(before, span)
        elif before[1] and re.fullmatch(r"[^\S\n]*\r?\n[^\S\n]*", case.text[before[1] : span[0]]):
            counts["lines"] += 1
            counts["lines apart"] += apart(before, span)
        for wrap in re.finditer("\n", case.text[span[0] : span[1]]):
            at = span[0] + wrap.start()
            counts["wraps"] += 1
            counts["wraps split"] += not any(start < at < end for start, end in found)
        counts["sentences"] += 1
        counts["sentences exact"] += span in found
    return counts


CASES = load_cases("sentences_development.txt") + load_cases("sentences_blind.txt")


@pytest.mark.parametrize("file", ["sentences_development.txt", "sentences_blind.txt"])
def test_items_and_lines_are_kept_apart_and_wraps_joined(file: str) -> None:
    counts: Counter[str] = Counter()
    for case in load_cases(file):
        counts += tally(case, split_sentences(case.text))
    assert counts["items apart"] >= 0.98 * counts["items"]
    assert counts["lines apart"] >= 0.95 * counts["lines"]
    assert counts["wraps split"] <= 0.02 * counts["wraps"]
    assert counts["sentences exact"] >= 0.95 * counts["sentences"]
