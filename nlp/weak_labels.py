"""Weak labels: the heading of a section labels the sentences of its body (Poddar et al., arXiv 1906.11930).

Rules against leakage: no sentence holds a word of a heading; negatives come only from notes that have a
positive section, and there only from sections that are confidently something else; all other sentences stay
unlabelled. Sections that mix plans with reasoning, and ends of procedures, are labelled sentence by sentence from
their wording: to learn from, never to score on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, NamedTuple, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_serializer

from rubricator.nlp.errors import RubricatorError, did_you_mean
from rubricator.nlp.lexicon.categories import UNKNOWN, ByWording
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.plain_text.plain import PlainText, read_plain
from rubricator.nlp.sections.lines import first_words, is_page_line, is_signature
from rubricator.nlp.sentences.splitter import split_plain_parts
from rubricator.nlp.wording import is_boilerplate, says_where_next, worded_as_plan
from rubricator.nlp.words.tokens import HAS_WORD

if TYPE_CHECKING:
    from rubricator.nlp.sections.finder import Section

SENTENCES_SCHEMA = pa.schema(
    [
        pa.field("note_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("category", pa.string()),
        pa.field("label", pa.int8()),
    ]
)


class WeakLabelSettings(BaseModel):
    """Which categories make a sentence positive (1) and which negative (0); all others leave it unlabelled.

    A set that is None is chosen by the lexicon, to which a user's lexicon may add. positive: the categories with
    `weak_label = "positive"`. negative: where `plan` is positive, the categories that are never plans; else all other
    known categories but mixed ones. by_wording: unlabelled categories whose sentences are labelled by what they say,
    where `plan` is positive; for training only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    positive: Annotated[frozenset[str], Field(min_length=1)] | None = None
    negative: frozenset[str] | None = None
    by_wording: frozenset[str] | None = None

    @field_serializer("positive", "negative", "by_wording", when_used="json-unless-none")
    def _in_order(self, names: frozenset[str]) -> list[str]:
        return sorted(names)  # a set has another order in each process

    @property
    def name(self) -> str:
        """What a positive sentence is called: plan, where plans are among the positive categories."""
        return "plan" if self._with_plans else "+".join(sorted(self.positive or ()))

    @property
    def _with_plans(self) -> bool:
        return self.positive is None or "plan" in self.positive

    def labels(self, lexicon: Lexicon) -> dict[str, int]:
        """Category → 1 or 0. Raises LabelError for a category that the lexicon lacks or that is on both sides."""
        positive, negative = self.positives(lexicon), self.negative
        if negative is None and self._with_plans:
            negative = _negative(lexicon) - positive
        elif negative is None:
            negative = self._others(lexicon)
        if missing := (positive | negative) - lexicon.categories.keys():
            known = ", ".join(sorted(lexicon.categories))
            meant = did_you_mean(min(missing), lexicon.categories)
            raise LabelError(
                f"no category {', '.join(sorted(missing))} in the lexicon; there are: {known}{meant}"
            )
        if both := positive & negative:
            raise LabelError(f"{', '.join(sorted(both))} cannot be positive and negative at once")
        return dict.fromkeys(negative, 0) | dict.fromkeys(positive, 1)

    def positives(self, lexicon: Lexicon) -> frozenset[str]:
        """The positive categories."""
        return _positive(lexicon) if self.positive is None else self.positive

    def wordings(self, lexicon: Lexicon) -> dict[str, ByWording | None]:
        """The categories whose sentences are labelled by their wording, and what the wording must say."""
        if not self._with_plans:
            return {}
        known = _by_wording(lexicon)
        names = known.keys() if self.by_wording is None else self.by_wording
        return {name: known.get(name) for name in names - self.positives(lexicon) - (self.negative or set())}

    def chosen_by(self, lexicon: Lexicon) -> Self:
        """The same settings with the positive and the worded categories of the lexicon written out."""
        return self.model_copy(
            update={"positive": self.positives(lexicon), "by_wording": frozenset(self.wordings(lexicon))}
        )

    def against_all_others(self, lexicon: Lexicon) -> WeakLabelSettings:
        """The same positives against every other known category but mixed ones: for evaluation on clean notes."""
        return self.model_copy(update={"negative": self._others(lexicon), "by_wording": frozenset()})

    def _others(self, lexicon: Lexicon) -> frozenset[str]:
        known = {name for name, category in lexicon.categories.items() if category.role != "mixed"}
        return frozenset(known - {UNKNOWN}) - self.positives(lexicon)


def _positive(lexicon: Lexicon) -> frozenset[str]:
    return frozenset(
        name for name, category in lexicon.categories.items() if category.weak_label == "positive"
    )


def _negative(lexicon: Lexicon) -> frozenset[str]:
    return frozenset(
        name
        for name, category in lexicon.categories.items()
        if category.role == "not-plan" or category.weak_label == "negative"
    )


def _by_wording(lexicon: Lexicon) -> dict[str, ByWording]:
    return {name: category.by_wording for name, category in lexicon.categories.items() if category.by_wording}


class LabelError(RubricatorError):
    """Settings that name categories wrongly."""


@dataclass(frozen=True, slots=True)
class LabelledSentence:
    """A sentence of a note; category is None outside sections, label None where its heading gives it none.

    worded: label by wording, where the category is one that mixes, or of procedures: there only 1 or None.
    """

    start: int
    end: int
    category: str | None
    label: int | None
    worded: int | None = None


class NoteSentence(NamedTuple):
    """A sentence of a note, with the category of the section it stands in, None outside sections.

    start, end: offsets into the plain text of the note.
    """

    start: int
    end: int
    category: str | None


def note_sentences(plain: PlainText, sections: Sequence[Section]) -> list[NoteSentence]:
    """All sentences of a note in order, without headings; the sections are those of the note as given."""
    parts, categories = _parts(plain, sections)
    return [
        NoteSentence(*span, category)
        for category, spans in zip(categories, split_plain_parts(plain, parts), strict=True)
        for span in spans
    ]


def label_note(
    text: str, sections: Sequence[Section], settings: WeakLabelSettings, lexicon: Lexicon
) -> list[LabelledSentence]:
    """All sentences of a note in order, labelled by the section they stand in; offsets into the note as given.

    Units without a word of two letters ("1.", "98.6", "x 3") and heads of pages inside a section are never labelled,
    and neither boilerplate ("Total time spent: 40 minutes.") nor a signature ("J. Doe MD.") is ever a positive.
    """
    labels, wordings = _labels(settings, lexicon)
    if not any(labels.get(section.category) == 1 for section in sections):
        labels = {}
    plain = read_plain(text)
    return [
        LabelledSentence(
            *plain.span_given(sentence.start, sentence.end),
            sentence.category,
            *_label(plain.text, sentence, labels, wordings),
        )
        for sentence in note_sentences(plain, sections)
    ]


def _label(
    text: str,
    sentence: NoteSentence,
    labels: Mapping[str, int],
    wordings: Mapping[str, ByWording | None],
) -> tuple[int | None, int | None]:
    """The label by heading, and the label by wording."""
    start, end, category = sentence
    label = None if category is None else labels.get(category)
    if (
        HAS_WORD.search(text, start, end) is None
        or (category is not None and _heads_page(text, start, end))
        or (label == 1 and _is_about_note(text, start, end))
    ):
        return None, None
    if label is not None or category is None or category not in wordings:
        return label, None
    if wordings[category] == "plan":
        return None, worded_as_plan(text[start:end])
    return None, int(says_where_next(text[start:end])) or None


@lru_cache(maxsize=8)
def _labels(
    settings: WeakLabelSettings, lexicon: Lexicon
) -> tuple[dict[str, int], dict[str, ByWording | None]]:
    return settings.labels(lexicon), settings.wordings(lexicon)


_LONGEST_MARK = 6
_ITEM_MARK = re.compile(r"(?:[-–*•>]|\d[.)])[ \t]*\Z")
_TITLE = re.compile(r"^## .*$", re.MULTILINE)  # as nlp/plain_text writes a tag that sets a title
_FIRST_WORD = re.compile(r"[^A-Za-z]*([A-Za-z]+)")
# Separator and closing markup of a heading without a body. Bullets, "##" and "**" are dropped by the sentence splitter.
_AFTER_HEADING = re.compile(r"(?:\s|[^\w\s])*")


def _is_about_note(text: str, start: int, end: int) -> bool:
    """Is the sentence boilerplate, or a signature? A doctor's name that is an item of a list is none."""
    sentence = text[start:end]
    return is_boilerplate(sentence) or (
        is_signature(sentence) and _ITEM_MARK.search(text, max(0, start - _LONGEST_MARK), start) is None
    )


def _heads_page(text: str, start: int, end: int) -> bool:
    word = _FIRST_WORD.match(text, start, end)
    return (
        word is not None
        and (word[1] in first_words()[1] or text[end - 1].isdigit())
        and is_page_line(text[start:end], word.start(1) - start)
    )


def _parts(plain: PlainText, sections: Sequence[Section]) -> tuple[list[tuple[int, int]], list[str | None]]:
    """Section bodies and the text between them, in order, as spans of the plain text; headings left out."""
    text = plain.text
    parts: list[tuple[int, int]] = []
    categories: list[str | None] = []
    at = 0
    for section in sections:
        heading_start, heading_end = plain.span_plain(section.heading_start, section.heading_end)
        body_start, body_end = plain.span_plain(section.body_start, section.body_end)
        if text[at:heading_start].strip():
            parts.append((at, heading_start))
            categories.append(None)
        if body_start < body_end:
            parts.append((body_start, body_end))
            categories.append(section.category)
            at = body_end
        elif after := _AFTER_HEADING.match(text, heading_end):
            at = after.end()
    parts.append((at, len(text)))
    categories.append(None)
    return (parts, categories) if plain.is_given else _without_titles(plain, parts, categories)


def _without_titles(
    plain: PlainText, parts: list[tuple[int, int]], categories: list[str | None]
) -> tuple[list[tuple[int, int]], list[str | None]]:
    """The parts without the titles of inner sections ("<title>Diet</title>"), which are in them but no sentences."""
    kept: list[tuple[int, int]] = []
    kept_categories: list[str | None] = []
    for (start, end), category in zip(parts, categories, strict=True):
        titles = [
            title.span()
            for title in _TITLE.finditer(plain.text, start, end)
            if plain.given[plain.span_given(*title.span())[0]] == "<"
        ]
        starts = [start, *(after for _, after in titles)]
        ends = [*(before for before, _ in titles), end]
        kept += zip(starts, ends, strict=True)
        kept_categories += [category] * len(starts)
    return kept, kept_categories
