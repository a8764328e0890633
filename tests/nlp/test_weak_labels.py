"""Weak labels as FACTS.md §4 asks, on marked-up notes.

Each expected sentence stands in [[ ]]; a sign before it gives its label: + for 1, - for 0, none for unlabelled.
"""

import re
import sys
from pathlib import Path

import pytest

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.weak_labels import LabelError, LabelledSentence, WeakLabelSettings, label_note

GOLD = Path(__file__).parent / "gold"
sys.path.insert(0, str(GOLD))
from marked_notes import MarkedNote, read_marked_notes  # noqa: E402

LEXICON = Lexicon.load()
FINDER = SectionFinder(LEXICON)
PLAN_ONLY = WeakLabelSettings(positive=frozenset({"plan"}))


def labelled(text: str, settings: WeakLabelSettings = PLAN_ONLY) -> list[LabelledSentence]:
    return label_note(text, FINDER.find(text), settings, LEXICON)


def check(marked: str, settings: WeakLabelSettings = PLAN_ONLY) -> None:
    text = re.sub(r"[+-]?\[\[|\]\]", "", marked)
    expected = [
        (sentence, {"+": 1, "-": 0, "": None}[sign])
        for sign, sentence in re.findall(r"([+-]?)\[\[(.*?)\]\]", marked, re.DOTALL)
    ]
    assert [(text[unit.start : unit.end], unit.label) for unit in labelled(text, settings)] == expected


def test_plan_sentences_are_positive_and_other_sections_negative() -> None:
    check(
        "CHIEF COMPLAINT:  -[[Cough.]]\n\n"
        "HISTORY OF PRESENT ILLNESS:  -[[She has coughed for 2 weeks.]]  -[[No fever.]]\n\n"
        "PLAN:\n1.  +[[Chest x-ray.]]\n2.  +[[Azithromycin 250 mg p.o. daily.]]  +[[Call if worse.]]\n"
    )


def test_without_a_positive_section_nothing_is_labelled() -> None:
    check("CHIEF COMPLAINT:  [[Cough.]]\n\nALLERGIES:  [[No known drug allergies.]]\n")
    check("[[She coughs.]] [[We will get a chest x-ray.]]\n\n- [[Return in a week]]\n")


def test_mixed_neutral_and_unknown_sections_and_text_before_the_first_heading_are_unlabelled() -> None:
    check(
        "[[Seen with her son.]]\n\n"
        "HOSPITAL COURSE:  [[She did well.]]\n\n"
        "ASSESSMENT AND PLAN:  [[Pneumonia, will treat.]]\n\n"
        "QUUX REMARKS:  [[Nothing of note.]]\n\n"
        "PHYSICAL EXAMINATION:  -[[Lungs are clear.]]\n\n"
        "PLAN:  +[[Rest.]]\n"
    )


def test_no_word_of_a_heading_or_its_markup_is_in_a_sentence() -> None:
    check(
        "<b>Chief Complaint:</b> -[[Cough.]]\n\n## Social History\n\n-[[She does not smoke.]]\n\n**PLAN**\n\n* +[[Chest x-ray]]\n"
    )
    check("SUBJECTIVE:\n\nALLERGIES: -[[Penicillin.]]\n\nPLAN:\n+[[Rest.]]\n")


def test_units_without_a_word_are_not_labelled() -> None:
    check("VITAL SIGNS:\n[[98.6]]\n-[[Pulse 80]]\n\nPLAN:\n1.\n2. +[[Rest.]]\n")


def test_by_default_follow_up_and_recommendations_count_as_plan_and_home_medications_do_not() -> None:
    check(
        "MEDICATIONS:  -[[Aspirin 81 mg daily.]]\n\nIMPRESSION:  [[Stable.]]\n\n"
        "RECOMMENDATIONS:\n1. +[[Repeat CT in 6 months.]]\n\nFOLLOW-UP:  +[[See me in 2 weeks.]]\n",
        WeakLabelSettings(),
    )


def test_another_label_has_all_other_known_sections_as_negatives() -> None:
    check(
        "ALLERGIES:  +[[Penicillin causes a rash.]]\n\nIMPRESSION:  -[[Otitis.]]\n\nQUUX REMARKS:  [[None today.]]\n\n"
        "ASSESSMENT AND PLAN:  [[Otitis, will treat.]]\n\nPLAN:  -[[Amoxicillin.]]\n",
        WeakLabelSettings(positive=frozenset({"allergies"})),
    )


def test_every_sentence_is_given_with_the_category_of_its_section() -> None:
    text = "Seen today.\n\nALLERGIES:  None known.\n\nPLAN:  Rest.\n"
    assert [unit.category for unit in labelled(text)] == [None, "allergies", "plan"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positive": frozenset({"plans"})}, "no category plans in the lexicon"),
        ({"positive": frozenset({"plan"}), "negative": frozenset({"plan", "allergies"})}, "plan cannot be"),
    ],
)
def test_wrong_categories_are_refused_by_name(settings: dict[str, frozenset[str]], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        labelled("PLAN: Rest.", WeakLabelSettings(**settings))


@pytest.mark.parametrize("note", read_marked_notes(GOLD / "plans_exports.txt"), ids=lambda note: note.name)
def test_plan_sentences_of_exported_notes(note: MarkedNote) -> None:
    found = {(unit.start, unit.end) for unit in labelled(note.text, WeakLabelSettings()) if unit.label == 1}
    assert {note.text[slice(*span)] for span in found} == {note.text[slice(*span)] for span in note.headings}
    assert found == note.headings.keys()
