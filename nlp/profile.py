"""Facts about notes, without their text: what `rubricator check` counts."""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from rubricator.nlp.duplicates import SKETCH_BYTES, sketch
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.categories import UNKNOWN
from rubricator.nlp.lexicon.lexicon import Lexicon, normalise
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.weak_labels import WeakLabelSettings, label_note

_GIVEN = [  # as in NOTES_SCHEMA
    pa.field("note_id", pa.string(), nullable=False),
    pa.field("patient_id", pa.string(), nullable=False),
    pa.field("written_on", pa.date32()),
    pa.field("note_type", pa.string()),
    pa.field("codes", pa.list_(pa.string())),
    pa.field("codes_as_written", pa.list_(pa.string())),
]
_TEXT_FACTS = [
    pa.field("characters", pa.int32(), nullable=False),
    pa.field("digest", pa.binary(8), nullable=False),  # equal for equal texts
    pa.field("sketch", pa.binary(SKETCH_BYTES), nullable=False),  # alike for near duplicates
    pa.field("damaged", pa.bool_(), nullable=False),  # characters that a wrong encoding leaves
    # null where the note is not in the sample whose headings are looked at
    pa.field("sections", pa.int32()),
    pa.field("has_positive_section", pa.bool_()),
    pa.field("positive_sentences", pa.int32()),
    pa.field("negative_sentences", pa.int32()),
    pa.field("seconds", pa.float32()),
]
FACTS_SCHEMA = pa.schema([*_GIVEN, *_TEXT_FACTS])
UNKNOWN_HEADINGS_SCHEMA = pa.schema(
    [pa.field("patient_id", pa.string(), nullable=False), pa.field("heading", pa.string(), nullable=False)]
)
# U+FFFD, and UTF-8 that was read as Windows-1252 or Latin-1
_DAMAGED = re.compile("\ufffd|[ÃÂ][\u0080-\u00bf]|â€|Ã[ƒ‚„…†‡ˆ‰Š‹Œ]")


class HeadingFacts(NamedTuple):
    """Counts over the headings and sentences of one note. seconds: what finding them took."""

    sections: int
    has_positive_section: bool
    positive_sentences: int
    negative_sentences: int
    seconds: float


@hides_text("share")
@dataclass(frozen=True)
class NoteProfiler:
    """Makes the facts of notes. share: the share of the notes whose headings are looked at, chosen by their ids."""

    lexicon: Lexicon
    labels: WeakLabelSettings
    share: float

    def __call__(self, notes: pa.Table) -> tuple[pa.Table, pa.Table]:
        """One row of FACTS_SCHEMA for each note, and one of UNKNOWN_HEADINGS_SCHEMA for each unknown section."""
        finder = SectionFinder(self.lexicon)
        facts, unknown = [], []
        texts = notes["text"].to_pylist()
        for note_id, patient_id, text in zip(
            notes["note_id"].to_pylist(), notes["patient_id"].to_pylist(), texts, strict=True
        ):
            headings = None
            if is_sampled(note_id, self.share):
                headings, names = self._headings(text, finder)
                unknown += [{"patient_id": patient_id, "heading": name} for name in names]
            facts.append(_text_facts(text) + (headings or (None,) * len(HeadingFacts._fields)))
        table = pa.table(
            [
                *(notes[field.name].combine_chunks() for field in _GIVEN),
                *(
                    pa.array([row[place] for row in facts], field.type)
                    for place, field in enumerate(_TEXT_FACTS)
                ),
            ],
            schema=FACTS_SCHEMA,
        )
        return table, pa.Table.from_pylist(unknown, UNKNOWN_HEADINGS_SCHEMA)

    def _headings(self, text: str, finder: SectionFinder) -> tuple[HeadingFacts, list[str]]:
        """The facts, and the unknown headings in their normal form."""
        started = time.perf_counter()
        sections = finder.find(text)
        sentences = label_note(text, sections, self.labels, self.lexicon)
        positive = self.labels.positives(self.lexicon)
        given = [sentence.label for sentence in sentences]
        facts = HeadingFacts(
            len(sections),
            any(section.category in positive for section in sections),
            given.count(1),
            given.count(0),
            time.perf_counter() - started,
        )
        unknown = [section.heading for section in sections if section.category == UNKNOWN]
        return facts, list(_named(unknown, self.lexicon))


def is_sampled(note_id: str, share: float) -> bool:
    """Whether a note is in a sample of this share of all notes. The same notes are in it each time."""
    return zlib.crc32(note_id.encode()) < share * 2**32


def _named(headings: Sequence[str], lexicon: Lexicon) -> Iterator[str]:
    """The normal forms of headings that the lexicon does not name."""
    yield from filter(None, (normalise(heading) for heading in headings if not lexicon.is_named(heading)))


def _text_facts(text: str) -> tuple[int, bytes, bytes, bool]:
    """The facts of FACTS_SCHEMA that every note has, from `characters` to `damaged`."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return len(text), digest, sketch(text).tobytes(), _DAMAGED.search(text) is not None
