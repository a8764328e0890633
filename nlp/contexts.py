"""What stands around a text in its note, and which parts of a text its labels were given for."""

from collections.abc import Sequence
from typing import NamedTuple

SENTENCES_AROUND = 5  # on either side


class Context(NamedTuple):
    """The sentences around a text: those before it, nearest last, and those after it, nearest first."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def nearest(self, sentences: int) -> "Context":
        """Only so many on either side."""
        return Context(self.before[max(0, len(self.before) - sentences) :], self.after[:sentences])

    @property
    def text(self) -> str:
        """All of them in order, joined by blanks."""
        return " ".join(self.before + self.after)


def whole_sentence(text: str, context: Context) -> tuple[str, Context]:
    """A fragment ("b.i.d.", "and transferred to the ward.") together with the sentence that it continues, and what
    stands around both.

    A text is a fragment where it begins in lower case and a text before it does not: in a note without capitals
    nothing is joined.
    """
    first = len(context.before) if _begins_low(text) else -1
    while first > 0 and _begins_low(context.before[first - 1]):
        first -= 1
    if first == 0:
        return text, context
    before, head = (
        (context.before[: first - 1], context.before[first - 1 :]) if first > 0 else (context.before, ())
    )
    last = next((n for n, other in enumerate(context.after) if not _begins_low(other)), len(context.after))
    return " ".join((*head, text, *context.after[:last])), Context(before, context.after[last:])


def _begins_low(text: str) -> bool:
    return text.lstrip()[:1].islower()


class LabelSpan(NamedTuple):
    """text[start:end] is why label number `label` was given."""

    label: int
    start: int
    end: int


def sentence_contexts(text: str, spans: Sequence[tuple[int, int]]) -> list[Context]:
    """The context of each sentence, given as spans of one note in order.

    The window looks across section ends, so that it does not tell where a section begins; headings are no sentences
    and never in it.
    """
    return neighbours([text[start:end] for start, end in spans])


def neighbours(sentences: Sequence[str]) -> list[Context]:
    """The context of each sentence, all of one note in order."""
    texts = tuple(sentences)
    return [
        Context(
            texts[max(0, index - SENTENCES_AROUND) : index], texts[index + 1 : index + 1 + SENTENCES_AROUND]
        )
        for index in range(len(texts))
    ]
