"""Names of sections in tags, attributes and table cells."""

from __future__ import annotations

from functools import lru_cache

from rubricator.nlp.lexicon.lexicon import UNKNOWN, Lexicon
from rubricator.nlp.plain_text.tags import HTML_TAGS


@lru_cache(maxsize=4096)
def is_section_name(phrase: str) -> bool:
    """Whether a phrase from a tag, an attribute or a table cell is the name of a section. HTML tags never are."""
    if not 1 < len(phrase) < _LONGEST or phrase in HTML_TAGS:
        return False
    lexicon = Lexicon.load()
    match = lexicon.match(phrase, loose=False)
    return match is not None and match.category != UNKNOWN and not lexicon.needs_colon(phrase)


_LONGEST = 60
