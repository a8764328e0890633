"""Units of text, which get labels: the sentences of a note, or the note as a whole."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from rubricator.nlp.contexts import Context
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.plain_text.plain import PlainText, read_plain
from rubricator.nlp.sections.finder import Section
from rubricator.nlp.sentences.splitter import sentence_contexts
from rubricator.nlp.weak_labels import note_sentences

UnitName = Literal["sentence", "note"]


@hides_text("note_id")
class TextUnit(NamedTuple):
    """A unit of text. start, end: half-open offsets into the note as given. text: the plain text of that span.

    plain: the plain text of the whole note. plain_start: where the unit starts in it. context: the sentences around
    the unit.
    """

    note_id: str
    start: int
    end: int
    plain: PlainText
    plain_start: int
    text: str
    context: Context

    def given(self, start: int, end: int) -> tuple[int, int]:
        """A span of the unit's text as offsets into the note as given."""
        return self.plain.span_given(self.plain_start + start, self.plain_start + end)


def units_of(
    unit: UnitName, note_id: str, text: str, find: Callable[[str], Sequence[Section]]
) -> list[TextUnit]:
    """The units of a note in order. find: finds the sections of the note; sentences do not include their headings."""
    plain = read_plain(text)
    if unit == "note":
        return [TextUnit(note_id, 0, len(text), plain, 0, plain.text, Context())]
    spans = [plain.span_given(sentence.start, sentence.end) for sentence in note_sentences(plain, find(text))]
    return [
        TextUnit(note_id, start, end, plain, plain.span_plain(start, end)[0], plain.of(start, end), context)
        for (start, end), context in zip(spans, sentence_contexts(text, spans), strict=True)
    ]
