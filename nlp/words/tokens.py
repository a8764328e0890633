"""Patterns for letters and words, and sets of words."""

import re

LETTER = r"[^\W\d_]"  # of any alphabet
LETTER_OR_DIGIT = r"[^\W_]"

HAS_LETTER_OR_DIGIT = re.compile(LETTER_OR_DIGIT)
# A number with its inner marks ("81", "1.5", "12/24"), or a word with apostrophes inside ("don't").
TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|\w+(?:['’]\w+)*")
WORD = re.compile(rf"{LETTER}+(?:['’]{LETTER}+)*")  # without digits
HAS_WORD = re.compile(LETTER + "{2}")  # a number or a single letter is not a word


def word_set(listing: str) -> frozenset[str]:
    """The set of the words of a string, which are separated by blanks."""
    return frozenset(listing.split())


def base_form(word: str) -> str:
    """The word in lower case and without the possessive: "smith" of "Smith's"."""
    return word.lower().replace("’", "'").removesuffix("'s")
