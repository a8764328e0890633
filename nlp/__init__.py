"""From notes to labelled examples: readers, sections, sentences, weak labels. Imports no torch, Prefect or MLflow."""

from typing import TYPE_CHECKING, Any

from rubricator.nlp.public_names import public

if TYPE_CHECKING:
    from rubricator.nlp.errors import RubricatorError as RubricatorError
    from rubricator.nlp.examples import Examples as Examples
    from rubricator.nlp.lexicon.lexicon import Lexicon as Lexicon
    from rubricator.nlp.readers.notes import NoteReader as NoteReader
    from rubricator.nlp.readers.notes import NoteSettings as NoteSettings
    from rubricator.nlp.sections.finder import Section as Section
    from rubricator.nlp.sections.finder import SectionFinder as SectionFinder
    from rubricator.nlp.shortcuts import find_sections as find_sections
    from rubricator.nlp.shortcuts import read_notes as read_notes
    from rubricator.nlp.shortcuts import split_sentences as split_sentences
    from rubricator.nlp.tasks import TASKS as TASKS
    from rubricator.nlp.weak_labels import WeakLabelSettings as WeakLabelSettings

_WHERE = {
    "Examples": ".examples",
    "Lexicon": ".lexicon.lexicon",
    "NoteReader": ".readers.notes",
    "NoteSettings": ".readers.notes",
    "RubricatorError": ".errors",
    "Section": ".sections.finder",
    "SectionFinder": ".sections.finder",
    "TASKS": ".tasks",
    "WeakLabelSettings": ".weak_labels",
    "find_sections": ".shortcuts",
    "read_notes": ".shortcuts",
    "split_sentences": ".shortcuts",
}
__all__ = [
    "TASKS",
    "Examples",
    "Lexicon",
    "NoteReader",
    "NoteSettings",
    "RubricatorError",
    "Section",
    "SectionFinder",
    "WeakLabelSettings",
    "find_sections",
    "read_notes",
    "split_sentences",
]


def __getattr__(name: str) -> Any:
    return public(__name__, name, _WHERE)


def __dir__() -> list[str]:
    return __all__
