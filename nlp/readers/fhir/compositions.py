"""The text of a Composition, composed from the titles and narratives of its sections."""

from __future__ import annotations

import html

from rubricator.nlp.readers.fhir.attachments import has_words
from rubricator.nlp.readers.fhir.resources import Resource


def composed_text(sections: list[Resource]) -> str:
    """The sections in their order. A line of dashes separates the outer ones, so that each ends where it ends."""
    return "\n\n-----\n\n".join(filter(None, map(_section_text, sections)))


def display(concept: Resource) -> str | None:
    """The words of a concept."""
    displays = (coding.get("display") for coding in concept.get("coding", []))
    return concept.get("text") or next(filter(None, displays), None)


def _section_text(section: Resource) -> str:
    title = section.get("title") or display(section.get("code", {})) or ""
    title = html.escape(" ".join(title.split()).rstrip(": "), quote=False)
    narrative = section.get("text", {}).get("div", "")
    inner = map(_section_text, section.get("section", []))
    text = "\n\n".join(filter(None, (narrative if has_words(narrative) else "", *inner)))
    return f"<title>{title}</title>\n{text}" if title and text else text
