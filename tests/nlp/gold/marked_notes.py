"""Reads gold notes: "@@ name" begins a case, [[category: heading]] marks a heading, [[category?: heading]] an optional one."""

import re
from dataclasses import dataclass
from pathlib import Path

MARKED = re.compile(r"\[\[(?P<category>[a-z_]+)(?P<optional>\??): (?P<heading>[^\[\]]+)\]\]")


@dataclass(frozen=True)
class MarkedNote:
    name: str
    text: str
    headings: dict[tuple[int, int], str]  # (start, end) -> category
    optional: frozenset[tuple[int, int]]


def read_marked_notes(path: Path) -> list[MarkedNote]:
    cases = re.split(r"^@@ (.+)\n", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return [read_marked_note(name, marked) for name, marked in zip(cases[::2], cases[1::2], strict=True)]


def read_marked_note(name: str, marked: str) -> MarkedNote:
    marked = marked.replace("⍽", "\xa0").replace("␍", "\r")
    text, headings, optional, last = "", {}, set(), 0
    for mark in MARKED.finditer(marked):
        text += marked[last : mark.start()]
        span = len(text), len(text) + len(mark["heading"])
        text, last = text + mark["heading"], mark.end()
        headings[span] = mark["category"]
        if mark["optional"]:
            optional.add(span)
    return MarkedNote(name, text + marked[last:], headings, frozenset(optional))
