"""What counts as a letter and as a word, and lists of words."""

import re

LETTER = r"[^\W\d_]"  # of any alphabet
LETTER_OR_DIGIT = r"[^\W_]"

HAS_LETTER_OR_DIGIT = re.compile(LETTER_OR_DIGIT)
# A number with its inner marks ("81", "1.5", "12/24"), or a word with apostrophes inside ("don't").
TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|\w+(?:['’]\w+)*")
HAS_WORD = re.compile(LETTER + "{2}")  # a word of two letters: a number or a lone letter says nothing


def word_set(listing: str) -> frozenset[str]:
    """The words of a list that is written with blanks between them."""
    return frozenset(listing.split())
