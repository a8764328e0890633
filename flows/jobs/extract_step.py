"""The work of `extract` on a shard: sections and labelled sentences."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from rubricator.flows.jobs.files import sha256_by_name
from rubricator.flows.jobs.step import ShardTables
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.sections.finder import SECTIONS_SCHEMA, SectionFinder
from rubricator.nlp.weak_labels import SENTENCES_SCHEMA, LabelledSentence, WeakLabelSettings, label_note


@dataclass(frozen=True, kw_only=True)
class ExtractStep:
    """The work of `extract`. lexicon: absolute paths."""

    positive: tuple[str, ...]
    lexicon: tuple[str, ...]

    name: ClassVar[str] = "extract"
    schemas: ClassVar[Mapping[str, pa.Schema]] = {"sections": SECTIONS_SCHEMA, "sentences": SENTENCES_SCHEMA}

    @property
    def settings(self) -> dict[str, Any]:
        return {"positive": list(self.positive), "lexicon": sha256_by_name(self.lexicon)}

    @property
    def made_by(self) -> dict[str, str]:
        return {"rubricator": version("rubricator")}

    def prepare(self) -> Callable[[pa.Table], ShardTables]:
        lexicon = Lexicon.load(*map(Path, self.lexicon))
        labels = WeakLabelSettings(positive=frozenset(self.positive))
        labels.labels(lexicon)
        return _Extraction(lexicon, labels)


class _Extraction:
    def __init__(self, lexicon: Lexicon, labels: WeakLabelSettings) -> None:
        self.lexicon = lexicon
        self.labels = labels
        self.finder = SectionFinder(lexicon)

    def __call__(self, notes: pa.Table) -> ShardTables:
        figures: Counter[str] = Counter()
        sections, section_counts = [], []
        sentences: list[LabelledSentence] = []
        sentence_counts = []
        for text in notes["text"].to_pylist():
            found, rejected = self.finder.find_with_rejected(text)
            labelled = label_note(text, found, self.labels, self.lexicon)
            sections += found
            section_counts.append(len(found))
            sentences += labelled
            sentence_counts.append(len(labelled))
            figures.update(f"notes_with/{category}" for category in {section.category for section in found})
            figures.update(f"rejected/{heading.reason}" for heading in rejected)
            figures["notes_without_headings"] += not found
        figures.update(f"sections/{section.category}" for section in sections)
        figures.update(f"sentences/{_LABELS[sentence.label]}" for sentence in sentences)
        tables = {
            "sections": _table(SECTIONS_SCHEMA, notes, section_counts, sections),
            "sentences": _table(SENTENCES_SCHEMA, notes, sentence_counts, sentences),
        }
        return ShardTables(tables, dict(figures))


_LABELS = {1: "positive", 0: "negative", None: "unlabelled"}


def _table(schema: pa.Schema, notes: pa.Table, counts: Sequence[int], rows: Sequence[object]) -> pa.Table:
    """Columns of the notes, each value repeated `counts` times, beside attributes of the rows."""
    of_note = pa.array(np.repeat(np.arange(len(counts)), counts))
    columns = [
        notes[field.name].take(of_note).combine_chunks()
        if field.name in ("note_id", "patient_id")
        else pa.array([getattr(row, field.name) for row in rows], field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
