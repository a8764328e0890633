"""Headed sections: the marked-up gold notes case by case, bodies, rejected headings, odd input, the spaCy component."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.sections.finder import CONFIDENCE, SECTIONS_SCHEMA, Section, SectionFinder

GOLD = Path(__file__).parent / "gold"
sys.path.insert(0, str(GOLD))
from marked_notes import MarkedNote, read_marked_notes  # noqa: E402

ENGLISH = ("open", "blind", "fresh", "exports", "redacted")
OTHER_LANGUAGES = ("es", "fr", "nl", "de")
NOTES = {name: read_marked_notes(GOLD / f"headings_{name}.txt") for name in (*ENGLISH, *OTHER_LANGUAGES)}


@pytest.fixture(scope="module")
def finder() -> SectionFinder:
    return SectionFinder()


def found_in(finder: SectionFinder, note: MarkedNote) -> dict[tuple[int, int], str]:
    found = {
        (section.heading_start, section.heading_end): section.category for section in finder.find(note.text)
    }
    return {span: category for span, category in found.items() if span not in note.optional}


def wanted_in(note: MarkedNote) -> dict[tuple[int, int], str]:
    return {span: category for span, category in note.headings.items() if span not in note.optional}


@pytest.mark.parametrize(
    "note", [note for notes in NOTES.values() for note in notes], ids=lambda note: note.name
)
def test_gold_note(finder: SectionFinder, note: MarkedNote):
    found, wanted = found_in(finder, note), wanted_in(note)
    assert {(note.text[slice(*span)], category) for span, category in found.items()} == {
        (note.text[slice(*span)], category) for span, category in wanted.items()
    }
    assert found == wanted


def bodies(finder: SectionFinder, text: str) -> list[tuple[str, str]]:
    return [(section.category, text[section.body_start : section.body_end]) for section in finder.find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PLAN:\n\n 1. Rest.\n 2. Fluids. \n\n", [("plan", "1. Rest.\n 2. Fluids.")]),
        ("**Plan:** rest\n\n**Follow-up:** one week", [("plan", "rest"), ("follow_up", "one week")]),
        ("<b>Plan:</b> rest<br><b>Allergies:</b> none", [("plan", "rest"), ("allergies", "none")]),
        ("III. ASSESSMENT: Cold.\nIV. PLAN: Rest.", [("assessment", "Cold."), ("plan", "Rest.")]),
        ("PLAN: Rest.\n\nElectronically signed by J. Roe", [("plan", "Rest.")]),
        ("PLAN: Rest.\n__________\nJ. Roe, MD", [("plan", "Rest.")]),
        ("Plan: Rest.\n\nYours sincerely,\nJ. Roe", [("plan", "Rest.")]),
        ("PLAN: Rest.\n\nJane Q. Roe, MD", [("plan", "Rest.")]),
        ("Plan: Rest.\n\ncc: Dr. Brown", [("plan", "Rest."), ("unknown", "Dr. Brown")]),
        ("PLAN: SEEN WITH J. ROE, MD\nHOME", [("plan", "SEEN WITH J. ROE, MD\nHOME")]),
        ("PLAN:- Rest.", [("plan", "Rest.")]),
        ("PLAN: Rest.\n\nADDENDUM: Called.", [("plan", "Rest."), ("addendum", "Called.")]),
        ("PLAN\n----\nRest.", [("plan", "Rest.")]),
        ("SUBJECTIVE:\nOBJECTIVE:\nClear.", [("subjective", ""), ("objective", "Clear.")]),
        (
            "ASSESSMENT AND PLAN\nGout.\n- Medical Treatment: Rest.\n\nAsthma.\n- Medical Treatment: Inhaler.",
            [("assessment_and_plan", "Gout."), ("plan", "Rest."), ("plan", "Inhaler.")],
        ),
    ],
)
def test_a_body_runs_from_its_first_to_its_last_character(finder: SectionFinder, text: str, expected):
    assert bodies(finder, text) == expected


@pytest.mark.parametrize(
    ("text", "heading", "reason"),
    [
        ("Suicidal ideation: yes\nPlan: denies\n", "Plan", "suicide_plan"),
        ("Plan: Horizon HMO\n", "Plan", "insurance_plan"),
        ("The plan: he would like to go home.", "The plan", "prose"),
        ("PLAN:\n- Medications: aspirin\n", "Medications", "part_of_plan"),
        ("PHYSICAL EXAMINATION:\nVITAL SIGNS: Stable.\n", "VITAL SIGNS", "part_of_physical_exam"),
    ],
)
def test_a_refused_heading_comes_with_its_reason(finder: SectionFinder, text: str, heading: str, reason: str):
    _, rejected = finder.find_with_rejected(text)
    assert (heading, reason) in [(text[refused.start : refused.end], refused.reason) for refused in rejected]


def test_in_a_note_typed_in_capitals_they_set_nothing_off(finder: SectionFinder):
    text = "ALLERGIES\nPENICILLIN\n\nPLAN\n\nCONTINUE LISINOPRIL\n\nFOLLOW UP IN 2 WEEKS\nDISCUSSED THE PLAN: REST"
    assert bodies(finder, text) == [
        ("allergies", "PENICILLIN"),
        ("plan", "CONTINUE LISINOPRIL\n\nFOLLOW UP IN 2 WEEKS\nDISCUSSED THE PLAN: REST"),
    ]


def test_a_section_says_how_its_heading_was_found(finder: SectionFinder):
    text = "PLAN: rest\n\nASSESMENT: cold\n\nPREFERRED PHARMACY: Main Street\n"
    rules = {section.heading: section.rule for section in finder.find(text)}
    assert rules == {"PLAN": "line_colon", "ASSESMENT": "typo", "PREFERRED PHARMACY": "unknown"}
    assert all(0 < confidence <= 1 for confidence in CONFIDENCE.values())
    assert CONFIDENCE["line_colon"] > CONFIDENCE["typo"] > CONFIDENCE["unknown"]


def test_in_clinical_document_architecture_titles_name_the_sections_and_outer_sections_end_them(
    finder: SectionFinder,
):
    text = (
        "<component><section><title>Plan of Treatment</title><text><list><item>Start colchicine.</item></list></text>"
        "<entry><observation><code/></observation></entry>"
        "<component><section><title>When to call</title><text>A fever.</text></section></component></section></component>"
        "<component><section><title>care teams</title><text>Ward 7.</text></section></component>"
    )
    found = [(s.heading, s.category, text[s.body_start : s.body_end]) for s in finder.find(text)]
    assert [heading for heading, *_ in found] == ["Plan of Treatment", "When to call"]
    assert "Ward 7" not in found[-1][-1]


def test_sections_fit_their_table(finder: SectionFinder):
    assert SECTIONS_SCHEMA.names == ["note_id", *Section._fields]


def test_a_user_lexicon_changes_what_is_found(tmp_path: Path):
    site = tmp_path / "site.toml"
    site.write_text('[categories.plan]\nvariants = ["ways forward"]\n')
    text = "Ways forward: more sleep"
    assert [section.category for section in SectionFinder(Lexicon.load(site)).find(text)] == ["plan"]


@pytest.mark.parametrize("heading", ["to do", "To Do", "план лечения", "ПЛАН ЛЕЧЕНИЯ", "治療方針"])
def test_what_the_user_names_is_a_heading_in_any_script_and_case(tmp_path: Path, heading: str):
    site = tmp_path / "site.toml"
    variants = '[categories.plan]\nvariants = ["to do", "план лечения", "治療方針"]\n'
    site.write_text(variants, encoding="utf-8-sig")  # as some editors do
    found = SectionFinder(Lexicon.load(site)).find(f"Exam: pale\n{heading}\nmore sleep\n")
    assert [section.category for section in found] == ["physical_exam", "plan"]


def test_guards_of_the_user_keep_their_flags_and_groups(tmp_path: Path):
    site = tmp_path / "site.toml"
    guard = '[[guards]]\nreason = "{}"\ncategories = ["plan"]\nbody = \'{}\'\n'
    patterns = {
        "flags": "(?i)zz",
        "group": "x(y)z|w",
        "again": r"(a)b\1",
        "named": "(?P<q>k)",
        "twice": "(?P<q>m)",
    }
    site.write_text("".join(guard.format(*pair) for pair in patterns.items()))
    finder = SectionFinder(Lexicon.load(site))
    for body in ("zz", "xyz", "aba", "k", "m"):
        assert not any(section.category == "plan" for section in finder.find(f"PLAN: {body}"))
    assert [section.category for section in finder.find("PLAN: abb")] == ["plan"]


def test_a_finder_travels_to_another_process(finder: SectionFinder):
    text = NOTES["open"][0].text
    assert pickle.loads(pickle.dumps(finder)).find(text) == finder.find(text)
    assert len(pickle.dumps(finder)) < 1000


def assert_well_formed(text: str, sections: list[Section]) -> None:
    last = 0
    for section in sections:
        assert (
            last
            <= section.heading_start
            < section.heading_end
            <= section.body_start
            <= section.body_end
            <= len(text)
        )
        assert section.heading == text[section.heading_start : section.heading_end]
        assert section.heading == section.heading.strip()
        body = text[section.body_start : section.body_end]
        assert body == body.strip()
        last = section.body_end


PIECES = [
    "PLAN", "Plan", "plan:", "ASSESSMENT AND PLAN:", "A/P", "S:", "O:", "A:", "P:", "HPI", "\n", "\n\n", " ", "  ", "\t", "\r\n",
    "**", "## ", "<b>", "</b>", "<h3>", "</h3>", "<Plan>", "- ", "• ", "1. ", "IV. ", ": ", "....", "----", "====", "(", ")", "[", "]",
    "denies", "12:30", "4/12/2020", "\xa0", "ß", "é", "İ", "ﬁ", "word", "The patient is well.", "Electronically signed by",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(PIECES), max_size=40).map("".join)))
def test_any_text_gives_ordered_sections_inside_it(text: str):
    finder = SectionFinder()
    sections, rejected = finder.find_with_rejected(text)
    assert_well_formed(text, sections)
    assert all(0 <= refused.start < refused.end <= len(text) for refused in rejected)


@pytest.mark.parametrize(
    "text",
    [
        "A:" * 50_000,
        "A: " * 33_000,
        "PLAN: " * 16_000,
        "PLAN PLAN " * 10_000,
        "=" * 100_000,
        "-=" * 50_000,
        " " * 100_000,
        "\n" * 100_000,
        " \n" * 50_000,
        "\t" * 100_000,
        "." * 100_000,
        ". " * 50_000,
        "(" * 100_000,
        "<b" * 50_000,
        "<b>" * 33_000,
        "<" * 100_000,
        "**" * 50_000,
        "A" * 100_000,
        "A " * 50_000,
        "A B" * 33_000 + ":",
        "P L A N " * 12_000,
        "a and " * 16_000 + ":",
        "and/" * 25_000,
        "1." * 50_000,
        "Plan 1/1/2020 " * 7_000,
        "word " * 20_000,
        "Plan: denies. " * 7_000,
        "PLAN:\n----\n" * 9_000,
        "ASSESSMENT AND PLAN\n- Medical Treatment: x\n" * 2_300,
        "•" * 100_000,
        "<b>" + "<a " * 33_000,
        "<b>" + "<a href='" * 11_000,
        "<b>" + "<!--" * 25_000,
        "<b>" + "<![CDATA[" * 11_000,
        "<b>" + "<?" * 50_000,
        "<p>x</p>" + "aged <a years, BP <b mmHg, " * 3_700,
        "C:\\a\\b.txt \\n " * 7_000,
        "PLAN:\nx\n- Labs\n- TTE\nprose\n" + "- Labs\nprose and prose\n" * 4_000,
        "## Plan\nrest\n" + "**Rest well**\nprose\n" * 5_000,
        "[" * 50_000 + "]" * 50_000,
    ],
    ids=lambda text: repr(text[:12]),
)
@pytest.mark.slow
def test_the_time_of_anything_grows_with_its_length(
    finder: SectionFinder, takes_even_time: Callable[..., bool], text: str
):
    assert takes_even_time(lambda part: assert_well_formed(part, finder.find(part)), text)


class TestComponent:
    TEXT = "SUBJECTIVE: Cough.\n\nPLAN: Rest and fluids."

    @pytest.fixture(scope="class")
    def spacy(self):
        return pytest.importorskip("spacy")

    def test_sections_become_spans(self, spacy):
        nlp = spacy.blank("en")
        nlp.add_pipe("headed_sections")
        doc = nlp(self.TEXT)
        assert [(span.text, span.label_, span.kb_id_) for span in doc.spans["sections"]] == [
            ("SUBJECTIVE: Cough.", "subjective", "61150-9"),
            ("PLAN: Rest and fluids.", "plan", "18776-5"),
        ]
        assert [span.text for span in doc.spans["headings"]] == ["SUBJECTIVE", "PLAN"]

    def test_several_processes_find_the_same(self, spacy):
        nlp = spacy.blank("en")
        nlp.add_pipe("headed_sections")
        labels = [
            [span.label_ for span in doc.spans["sections"]]
            for doc in nlp.pipe([self.TEXT] * 6, n_process=2, batch_size=2)
        ]
        assert labels == [["subjective", "plan"]] * 6

    def test_a_saved_pipeline_keeps_the_user_lexicon(self, spacy, tmp_path: Path):
        site = tmp_path / "site.toml"
        site.write_text('[categories.plan]\nvariants = ["ways forward"]\n')
        nlp = spacy.blank("en")
        nlp.add_pipe("headed_sections", config={"lexicons": [str(site)]})
        nlp.to_disk(tmp_path / "pipeline")
        other = spacy.blank("en")
        other.add_pipe("headed_sections")
        other.from_bytes(nlp.to_bytes(), exclude=["vocab"])
        for loaded in (other, spacy.load(tmp_path / "pipeline")):
            doc = loaded("Ways forward: more sleep")
            assert [span.label_ for span in doc.spans["sections"]] == ["plan"]
