"""The spaCy components "headed_sections" and "clinical_sentences".

spaCy finds their factories by the entry points of the package. No other module of this package imports spaCy.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.sentences.splitter import split_sentences


@Language.factory("headed_sections", default_config={"lexicons": []})
def make_headed_sections(nlp: Language, name: str, lexicons: list[str]) -> HeadedSections:  # noqa: ARG001
    """`lexicons`: paths of the user's TOML files. Raises LexiconError where one is wrong."""
    return HeadedSections(Lexicon.load(*map(Path, lexicons)))


@Language.factory("clinical_sentences", assigns=["token.is_sent_start"])
def make_clinical_sentences(nlp: Language, name: str) -> ClinicalSentences:  # noqa: ARG001
    """The component has no settings."""
    return ClinicalSentences()


class HeadedSections:
    """spaCy component: `nlp.add_pipe("headed_sections", config={"lexicons": ["site.toml"]})`.

    A span of doc.spans["sections"] runs from a heading to the end of its body; doc.spans["headings"] has the headings
    alone. The label of a span is the category, its kb_id the LOINC code. A span that ends inside a token includes the
    whole token.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self.finder = SectionFinder(lexicon)

    def __call__(self, doc: Doc) -> Doc:
        spans: dict[str, list[Span]] = {"sections": [], "headings": []}
        for section in self.finder.find(doc.text):
            start, end = section.heading_start, section.heading_end
            for group, stop in (("sections", max(end, section.body_end)), ("headings", end)):
                span = doc.char_span(
                    start, stop, section.category, kb_id=section.loinc or "", alignment_mode="expand"
                )
                if span is not None:
                    spans[group].append(span)
        doc.spans.update(spans)
        return doc

    def to_bytes(self, **_: Any) -> bytes:
        return json.dumps(self.finder.lexicon.extra_sources).encode()

    def from_bytes(self, data: bytes, **_: Any) -> HeadedSections:
        self.finder = SectionFinder(Lexicon((name, text) for name, text in json.loads(data)))
        return self

    def to_disk(self, path: str | Path, **_: Any) -> None:
        Path(path).write_bytes(self.to_bytes())

    def from_disk(self, path: str | Path, **_: Any) -> HeadedSections:
        return self.from_bytes(Path(path).read_bytes())


class ClinicalSentences:
    """spaCy component: doc.sents with the sentences of split_sentences. A bullet belongs to the sentence after it."""

    def __call__(self, doc: Doc) -> Doc:
        ends = [end for _, end in split_sentences(doc.text)]
        passed, upcoming = True, iter(ends)
        end = next(upcoming, None)
        for token in doc:
            token.is_sent_start = passed and (token.i == 0 or not token.is_space)
            passed = passed and not token.is_sent_start
            while end is not None and token.idx + len(token) >= end:
                passed, end = True, next(upcoming, None)
        return doc

    def to_bytes(self, **_: Any) -> bytes:
        return b""

    def from_bytes(self, _: bytes, **__: Any) -> ClinicalSentences:
        return self

    def to_disk(self, *_: Any, **__: Any) -> None:
        """Writes nothing: the component has no settings."""

    def from_disk(self, *_: Any, **__: Any) -> ClinicalSentences:
        return self
