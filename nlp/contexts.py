"""The sentences around a text in its note, and the evidence spans of its labels."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from rubricator.nlp.hidden_text import hides_text

SENTENCES_AROUND = 5  # on either side


@hides_text()
class Context(NamedTuple):
    """The sentences before a text and after it, both in the order of the note."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def nearest(self, sentences: int) -> "Context":
        """At most this number of sentences on either side."""
        return Context(self.before[max(0, len(self.before) - sentences) :], self.after[:sentences])

    @property
    def text(self) -> str:
        """All of them in order, joined by blanks."""
        return " ".join(self.before + self.after)


def whole_sentence(text: str, context: Context) -> tuple[str, Context]:
    """The whole sentence that a fragment ("b.i.d.", "and transferred to the ward.") belongs to, and its context.

    A text continues the one before it where it begins in lower case, and either the one before ends with a comma, a
    semicolon or an abbreviation ("p.o."), or it begins with "and" or "or". Other texts in lower case stay apart: they
    may be items of a list.
    """
    texts = (*context.before, text, *context.after)
    first = last = len(context.before)
    while first > 0 and _continues(texts[first - 1], texts[first]):
        first -= 1
    while last + 1 < len(texts) and _continues(texts[last], texts[last + 1]):
        last += 1
    return " ".join(texts[first : last + 1]), Context(texts[:first], texts[last + 1 :])


_BREAKS_OFF = re.compile(r"(?:\b\w{1,2}\.|[,;])\s*$")
_JOINS = re.compile(r"\s*(?:and|or)\b")


def _continues(before: str, text: str) -> bool:
    return text.lstrip()[:1].islower() and bool(_BREAKS_OFF.search(before) or _JOINS.match(text))


class LabelSpan(NamedTuple):
    """text[start:end] is evidence for label number `label`."""

    label: int
    start: int
    end: int


def neighbours(sentences: Sequence[str]) -> list[Context]:
    """The context of each sentence. sentences: all of one note, in order."""
    texts = tuple(sentences)
    return [
        Context(
            texts[max(0, index - SENTENCES_AROUND) : index], texts[index + 1 : index + 1 + SENTENCES_AROUND]
        )
        for index in range(len(texts))
    ]
