"""Headed sections in Spanish, French, Dutch and German notes, and English notes that stay as they were."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rubricator.nlp.lexicon import lexicon as headings
from rubricator.nlp.sections.finder import SectionFinder

GOLD = Path(__file__).parent / "gold"
sys.path.insert(0, str(GOLD))
from marked_notes import MarkedNote, read_marked_notes  # noqa: E402

ENGLISH = [
    note for half in ("open", "blind", "fresh") for note in read_marked_notes(GOLD / f"headings_{half}.txt")
]


@pytest.fixture(scope="module")
def finder() -> SectionFinder:
    return SectionFinder()


@pytest.fixture(scope="module")
def english() -> Iterator[SectionFinder]:
    """A finder that knows no other language."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(headings, "_OTHER_LANGUAGES", [])
        yield SectionFinder(headings.Lexicon())


@pytest.mark.parametrize("note", ENGLISH, ids=lambda note: note.name)
def test_english_notes_stay_as_they_were(finder: SectionFinder, english: SectionFinder, note: MarkedNote):
    assert finder.find(note.text) == english.find(note.text)


@pytest.mark.parametrize(
    "text",
    [
        "EF: 55% by echocardiogram",
        "AF: rate controlled on metoprolol",
        "TAC: 5 mg twice daily",
        "IQ: 100",
        "CAT: normal head scan",
        "AO: 3.2 cm",
        "ADL: independent",
        "Labor: spontaneous onset, six hours",
        "HD: three times weekly",
        "Diagnostic: stress test tomorrow",
        "Control: good",
        "Planes: axial and coronal",
    ],
)
def test_words_of_english_notes_are_no_headings_of_other_languages(
    finder: SectionFinder, english: SectionFinder, text: str
):
    text = f"HPI: stable\n{text}\nPlan: no change"
    assert finder.find(text) == english.find(text)


@pytest.mark.parametrize(
    ("text", "heading", "reason"),
    [
        ("Obra social: OSDE\nPlan: 210\n", "Plan", "insurance_plan"),
        ("Plan: Sanitas Más Salud\n", "Plan", "insurance_plan"),
        ("Ideación suicida: sí\nPlan: no\n", "Plan", "suicide_plan"),
        ("Plan para las vacaciones: descansar\n", "Plan para las vacaciones", "other_plan"),
        ("Idées noires : oui\nPlan : nie\n", "Plan", "suicide_plan"),
        ("Suïcidale gedachten: ja\nPlan: ontkent\n", "Plan", "suicide_plan"),
        ("Suizidgedanken: ja\nPlan: verneint\n", "Plan", "suicide_plan"),
        ("AC: rítmica\nAP: murmullo vesicular conservado\n", "AP", "part_of_examination"),
    ],
)
def test_a_false_friend_is_refused_with_its_reason(
    finder: SectionFinder, text: str, heading: str, reason: str
):
    _, rejected = finder.find_with_rejected(text)
    assert (heading, reason) in [(text[refused.start : refused.end], refused.reason) for refused in rejected]


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("AP: HTA, DM tipo 2, sin alergias", "past_medical_history"),
        ("AP: asthma, continue albuterol", "assessment_and_plan"),
        ("Tto: enalapril 20 mg cada 12 horas", "medications"),
        ("TTO: paracetamol 1 g QDS", "discharge_medications"),
    ],
)
def test_what_follows_an_abbreviation_tells_its_language(finder: SectionFinder, text: str, category: str):
    assert [section.category for section in finder.find(text)] == [category]
