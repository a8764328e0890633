"""The normal form, in which headings are compared."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from functools import lru_cache

from rubricator.nlp.words.accents import without_accents


@lru_cache(maxsize=50_000)
def normalise(phrase: str, *, keep_the: bool = False) -> str:
    """The same as normal_form, with a cache for the phrases of notes."""
    return normal_form(phrase, keep_the=keep_the)


def normal_form(phrase: str, *, keep_the: bool = False) -> str:
    """The phrase in lower case without accents and punctuation, with "and" for "&" "+" "/" "\\" ",".

    "and" is removed at both ends. "the" is removed after the first word, unless `keep_the` is true.
    """
    phrase = phrase.lower()
    if not phrase.replace(" ", "").isalpha():
        phrase = _without_marks(phrase)
    if not phrase.isascii():  # without accents, as in capitals
        phrase = _NOT_WORD.sub(" ", without_accents(phrase))
    words = phrase.split()
    if not keep_the and "the" in words and "the" in words[1:]:
        words = words[:1] + [word for word in words[1:] if word != "the"]
    key = " ".join(words)
    if "and" in words and ("and and" in key or words[0] == "and" or words[-1] == "and"):
        return _with_single_joiners(words)
    return key


def umlaut_forms(phrases: Iterable[str]) -> Iterable[str]:
    """The phrases. A phrase with umlauts is given a second time with two letters for each: "ae" for "ä"."""
    for phrase in phrases:
        yield phrase
        if not phrase.isascii():
            yield phrase.translate(_UMLAUTS)


def _without_marks(phrase: str) -> str:
    if "." in phrase:
        phrase = _INITIALS.sub(r"\1", phrase)
    if "/" in phrase:
        phrase = phrase.replace("and/or", "and").replace("w/", "with ")
    if "s)" in phrase:  # "Recommendation(s)"
        phrase = _PLURAL.sub(r"\1", phrase)
    return phrase.translate(_PUNCTUATION)


def _with_single_joiners(words: list[str]) -> str:
    """The words, without "and" at both ends, and with a single "and" for several in a row."""
    while words and words[-1] == "and":
        words.pop()
    while words and words[0] == "and":
        words.pop(0)
    return " ".join(word for n, word in enumerate(words) if word != "and" or words[n - 1] != "and")


# The marks of "A/P" and "S&P" join words. Every other mark becomes a blank.
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, " ") | dict.fromkeys("&+/\\,", " and "))
_INITIALS = re.compile(r"\b([a-z])\.(?=[a-z]?\b|\s|$)")
_PLURAL = re.compile(r"(?<=[a-z])\((e?s)\)")
_NOT_WORD = re.compile(r"[\W_]+")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
