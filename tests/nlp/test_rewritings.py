"""What is found in a note must not depend on its typography: the same sections, the same sentences, however it is set.

Notes of known headings and invented bodies are rewritten (see rewritings.py); the categories and the letters of the
bodies must come out as in the plain note. Nothing here is random: each run tries the same notes.
"""

import sys
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.sentences.splitter import split_sentences

sys.path.insert(0, str(Path(__file__).parent))
from rewritings import (
    REWRITINGS,
    SIGNATURE,
    Part,
    Rewriting,
    Rewritten,
    compatible,
    render,
    rewrite,
    rewrite_parts,
)

# Notes are small already, and smaller ones take minutes to find when many tests fail at once.
SAME_EACH_RUN = settings(derandomize=True, deadline=None, database=None, phases=[Phase.generate])

# ---- notes -------------------------------------------------------------------------------------------------------

# In the order of a note. None may be a part of the one before it, whatever its type: whether "Medications" in small type
# below "PLAN" begins a section, nobody could tell.
SECTIONS: list[tuple[str, list[str], list[str]]] = [
    (
        "chief_complaint",
        ["CHIEF COMPLAINT", "CC"],
        ["Cough.", "Knee pain for two weeks.", "Here with her mother for fever & rash."],
    ),
    (
        "history_of_present_illness",
        ["HISTORY OF PRESENT ILLNESS", "HPI"],
        [
            "This is a 54-year-old woman who has had a dry cough since March. She has no fever, and she sleeps well.",
            "He fell from a ladder yesterday and landed on his left knee.\nHe can walk, but stairs hurt.",
        ],
    ),
    (
        "past_medical_history",
        ["PAST MEDICAL HISTORY", "PMH"],
        ["Hypertension.\nType 2 diabetes.\nGout.", "Asthma since childhood & eczema.", "Noncontributory."],
    ),
    (
        "past_surgical_history",
        ["PAST SURGICAL HISTORY", "SURGICAL HISTORY"],
        ["Appendectomy in 1998.", "None.", "Left knee arthroscopy.\nTonsillectomy."],
    ),
    (
        "family_history",
        ["FAMILY HISTORY"],
        ["Mother had breast cancer at 61.", "Father with gout. No strokes."],
    ),
    (
        "social_history",
        ["SOCIAL HISTORY"],
        [
            "She is married and works as a teacher. She has never smoked.",
            "Retired. Drinks a beer on weekends.",
        ],
    ),
    ("allergies", ["ALLERGIES"], ["Penicillin causes hives.", "No known drug allergies.", "Sulfa.\nLatex."]),
    (
        "review_of_systems",
        ["REVIEW OF SYSTEMS", "ROS"],
        ["No chest pain. No shortness of breath.", "Negative in ten points."],
    ),
    (
        "physical_exam",
        ["PHYSICAL EXAMINATION", "PHYSICAL EXAM"],
        [
            "She looks well. Lungs are clear on both sides.",
            "Blood pressure <130 systolic.\nHeart sounds are regular.\nThe left knee is swollen.",
        ],
    ),
]
JUDGEMENTS: list[list[tuple[str, list[str], list[str]]]] = [
    [
        (
            "assessment",
            ["ASSESSMENT"],
            ["Viral bronchitis.", "Sprain of the left knee.\nHypertension, at goal."],
        ),
        ("plan", ["PLAN", "TREATMENT PLAN", "PLAN OF CARE"], []),
    ],
    [("assessment_and_plan", ["ASSESSMENT AND PLAN", "ASSESSMENT & PLAN", "IMPRESSION AND PLAN"], [])],
    [("plan", ["PLAN", "PLANS"], [])],
]
PLANS = [
    "Continue lisinopril 10 mg daily.\nCheck potassium in one week.\nReturn in two weeks.",
    "Rest, ice & elevation.\nIbuprofen 400 mg three times a day with food.",
    "We will start albuterol as needed. She will call us if the cough gets worse. A chest film will be taken next week.",
    "Start metformin 500 mg twice a day.\nCheck A1c in three months; goal <7.\nEye examination this year.\nStop smoking.",
]


@st.composite
def notes(draw: st.DrawFn) -> list[Part]:
    """Four to seven sections in the order of a note, headings in capitals; one is a plan, and mostly stands last."""
    judgement = draw(st.sampled_from(JUDGEMENTS))
    count = draw(st.integers(4 - len(judgement), 7 - len(judgement)))
    chosen = sorted(
        draw(
            st.lists(st.sampled_from(range(len(SECTIONS))), min_size=count, max_size=count, unique=True),
        )
    )
    parts = [
        Part(draw(st.sampled_from(headings)), category, draw(st.sampled_from(bodies or PLANS)))
        for category, headings, bodies in [*(SECTIONS[number] for number in chosen), *judgement]
    ]
    if draw(st.booleans()):
        parts.insert(0, Part(None, "", "Jane Roe was seen in clinic today."))
    return parts


Found = list[tuple[str, str, str]]  # category, heading as it is written, letters of the body


def expected_sections(note: Rewritten, parts: list[Part]) -> Found:
    return [
        (part.category, note.text[slice(*note.heading_span(number))], note.letters(*note.body_span(number)))
        for number, part in enumerate(parts)
        if part.heading is not None
    ]


def found_sections(finder: SectionFinder, note: Rewritten, parts: list[Part]) -> Found:
    """Without sections that begin in what a rewriting put below the note: whether a signature is one is not asked."""
    added = {2 * number + 1 for number, part in enumerate(parts) if part.category == SIGNATURE}
    return [
        (section.category, section.heading, note.letters(section.body_start, section.body_end))
        for section in finder.find(note.text)
        if note.owners[section.heading_start] not in added
    ]


def assert_same_sections(
    finder: SectionFinder, parts: list[Part], rewritings: list[Rewriting], seed: int
) -> None:
    note = rewrite(parts, rewritings, seed)
    parts = rewrite_parts(parts, rewritings, seed)
    assert found_sections(finder, note, parts) == expected_sections(note, parts), note.text


@pytest.fixture(scope="module")
def finder() -> SectionFinder:
    return SectionFinder()


# ---- the account that a rewriting keeps --------------------------------------------------------------------------


@settings(SAME_EACH_RUN, max_examples=3)
@given(parts=notes(), seed=st.integers(0, 99))
@pytest.mark.parametrize("rewriting", REWRITINGS.values(), ids=REWRITINGS)
def test_a_rewriting_loses_nothing(rewriting: Rewriting, parts: list[Part], seed: int):
    note = rewrite(parts, [rewriting], seed)
    rewritten = rewrite_parts(parts, [rewriting], seed)
    assert len(note.text) == len(note.source) == len(note.owners)
    kept = [part for part in rewritten if part.category != SIGNATURE]
    assert sorted(part.body for part in kept) == sorted(part.body for part in parts)
    for number, part in enumerate(rewritten):
        assert note.letters(*note.body_span(number)) == "".join(part.body.split())
        if part.heading is not None:
            assert note.letters(*note.heading_span(number)) == "".join(part.heading.split())


# ---- sections ----------------------------------------------------------------------------------------------------


@settings(SAME_EACH_RUN, max_examples=15)
@given(parts=notes())
def test_the_plain_note_is_read_as_it_was_made(finder: SectionFinder, parts: list[Part]):
    assert_same_sections(finder, parts, [], 0)


@settings(SAME_EACH_RUN, max_examples=12)
@given(parts=notes(), seed=st.integers(0, 99))
@pytest.mark.parametrize("rewriting", REWRITINGS.values(), ids=REWRITINGS)
def test_rewritten_the_sections_are_the_same(
    finder: SectionFinder, rewriting: Rewriting, parts: list[Part], seed: int
):
    assert_same_sections(finder, parts, [rewriting], seed)


ALWAYS = [  # where a plan first in the note has taken the rest of it for its own, or a plan its end
    ("plan_first", "case_plan_in_capitals"),
    ("plan_first", "case_plan_in_capitals", "newline_escaped"),
    ("plan_first", "case_plan_in_capitals", "newline_each_a_blank"),
    ("plan_first", "case_plan_in_capitals", "page_rule_and_number"),
    ("plan_first", "case_title", "document_html_one_line"),
    ("plan_first", "case_rest_in_capitals", "separator_alone"),
    ("plan_first", "document_rtf"),
    ("plan_first", "document_ccda_list"),
    ("plan_first", "page_patient_line", "newline_cr"),
    ("end_electronic_signature", "newline_each_a_blank"),
    ("end_disclaimer", "newline_escaped"),
]


def compositions(count: int) -> list[tuple[Rewriting, ...]]:
    """Those of ALWAYS, and a fixed choice of the other pairs and triples that go together."""
    choose = Random(0)
    always = [tuple(REWRITINGS[name] for name in names) for names in ALWAYS]
    pairs = [pair for pair in combinations(REWRITINGS.values(), 2) if compatible(pair)]
    triples: list[tuple[Rewriting, ...]] = []
    while len(triples) < count // 2:
        triple = tuple(choose.sample(list(REWRITINGS.values()), 3))
        if compatible(triple) and triple not in triples:
            triples.append(triple)
    return [*always, *choose.sample(pairs, count - len(triples)), *triples]


@settings(SAME_EACH_RUN, max_examples=6)
@given(parts=notes(), seed=st.integers(0, 99))
@pytest.mark.parametrize(
    "rewritings", compositions(100), ids=lambda chosen: "+".join(rewriting.name for rewriting in chosen)
)
def test_rewritten_in_several_ways_the_sections_are_the_same(
    finder: SectionFinder, rewritings: tuple[Rewriting, ...], parts: list[Part], seed: int
):
    assert_same_sections(finder, parts, list(rewritings), seed)


# ---- sentences ---------------------------------------------------------------------------------------------------

ITEMS = [
    "Continue lisinopril 10 mg daily",
    "Check potassium in one week",
    "Physical therapy twice a week",
    "Low salt diet",
    "Chest film today",
    "Ibuprofen 400 mg three times a day with food, for no longer than ten days, and then only as needed for pain",
    "Return to the clinic in two weeks, or sooner if the fever comes back or the breathing gets worse than it is today",
]
SENTENCES = [
    "She will continue lisinopril 10 mg once daily.",
    "We will check her potassium in one week.",
    "I have asked her to call us if the cough gets worse, or if she notes any blood.",
    "A chest film will be taken next week at the hospital, and we will discuss it with her at the visit after that.",
    "She was seen together with Dr. Lowe, who agrees.",
    "The knee is to be rested for ten days.",
]


def body(text: str) -> list[Part]:
    return [Part("PLAN", "plan", text, separator=":\n")]


def units(note: Rewritten) -> list[str]:
    """The letters of the sentences and items of the body, without what a rewriting added."""
    found = [note.letters(start, end) for start, end in split_sentences(note.text, *note.body_span(0))]
    return [letters for letters in found if letters]


def letters(text: str) -> str:
    return "".join(text.split())


LINES = [
    "indent_bodies",
    "newline_cr",
    "newline_crlf",
    "newline_doubled",
    "newline_escaped",
    "newline_escaped_crlf",
    "newline_hl7",
    "newline_line_separator",
    "newline_vertical_tab",
    "blank_no_break",
    "document_rtf",
    "document_html_paragraphs",
    "document_ccda_list",
]
some_items = st.lists(st.sampled_from(ITEMS), min_size=2, max_size=5, unique=True)
some_sentences = st.lists(st.sampled_from(SENTENCES), min_size=2, max_size=5, unique=True)
OF_ITEMS = [
    *([name] for name in LINES),
    ["lines_bulleted"],
    ["lines_numbered"],
    ["lines_bulleted", "wrap_80"],
    ["lines_numbered", "wrap_80"],
    ["lines_bulleted", "newline_cr"],
    ["lines_numbered", "newline_escaped"],
    ["lines_numbered", "newline_crlf"],
    ["lines_bulleted", "wrap_80", "newline_crlf"],
]
OF_SENTENCES = [
    *([name] for name in LINES),
    ["wrap_80"],
    ["wrap_80", "newline_crlf"],
    ["wrap_80", "newline_cr"],
    ["wrap_80", "newline_line_separator"],
    ["lines_numbered", "wrap_80"],
]


@settings(SAME_EACH_RUN, max_examples=12)
@given(items=some_items, full_stops=st.booleans(), seed=st.integers(0, 99))
@pytest.mark.parametrize("names", [[], *OF_ITEMS], ids="+".join)
def test_items_of_a_list_stay_the_same(names: list[str], items: list[str], full_stops: bool, seed: int):
    items = [item + "." * full_stops for item in items]
    note = rewrite(body("\n".join(items)), [REWRITINGS[name] for name in names], seed)
    assert units(note) == [letters(item) for item in items], note.text


@settings(SAME_EACH_RUN, max_examples=12)
@given(sentences=some_sentences, blanks=st.sampled_from([" ", "  "]), seed=st.integers(0, 99))
@pytest.mark.parametrize("names", [[], *OF_SENTENCES], ids="+".join)
def test_sentences_of_prose_stay_the_same(names: list[str], sentences: list[str], blanks: str, seed: int):
    note = rewrite(body(blanks.join(sentences)), [REWRITINGS[name] for name in names], seed)
    assert units(note) == [letters(sentence) for sentence in sentences], note.text


@settings(SAME_EACH_RUN, max_examples=12)
@given(sentences=some_sentences)
def test_a_sentence_on_each_line_or_all_on_one_are_the_same(sentences: list[str]):
    one_line, lines = (render(body(between.join(sentences))) for between in (" ", "\n"))
    assert units(lines) == units(one_line)
