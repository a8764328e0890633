"""The lexicon: what it recognises, how a user extends it, and which mistakes in a file it names."""

import pickle
from pathlib import Path

import pytest

from rubricator.nlp.headings import Lexicon, LexiconError, normalise


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon.load()


@pytest.mark.parametrize(
    ("phrase", "category", "how"),
    [
        ("Plan", "plan", "exact"),
        ("PLAN OF CARE", "plan", "exact"),
        ("A/P", "assessment_and_plan", "exact"),
        ("Impression & Plan", "assessment_and_plan", "exact"),
        ("P L A N", "plan", "exact"),
        ("Past the Medical History", "past_medical_history", "exact"),
        ("Plan 4/12/2020", "plan", "dated"),
        ("Assessment and Plan (with cardiology)", "assessment_and_plan", "dated"),
        ("Plan for tonight", "plan", "qualified"),
        ("Neurosurgery plan", "plan", "qualified"),
        ("Medications, continued", "medications", "qualified"),
        ("Recommendations - plan of treatment", "plan", "joined"),
        ("Impression, plan and follow-up", "assessment_and_plan", "joined"),
        ("SHx/FHx", "social_history", "exact"),
        ("ASSESMENT AND PLAN", "assessment_and_plan", "typo"),
        ("RECCOMENDATIONS", "recommendations", "typo"),
        ("Paln", "plan", "typo"),
    ],
)
def test_a_phrase_is_recognised_in_its_many_spellings(lexicon, phrase, category, how):
    assert lexicon.match(phrase) == (category, how)


@pytest.mark.parametrize(
    "phrase",
    [
        "TRANSPLANT",
        "IMPLANTS",
        "Plantar fascia",
        "Induction",
        "Planet",
        "Surgeon's remark",
        "Employer",
        "Plane",
        "",
    ],
)
def test_other_words_are_no_headings_of_the_lexicon(lexicon, phrase):
    match = lexicon.match(phrase)
    assert match is None or match.category == "unknown"


def test_every_category_of_the_section_table_is_there_with_its_code_and_role(lexicon):
    table = {
        "plan": ("18776-5", "plan"),
        "assessment_and_plan": ("51847-2", "mixed"),
        "assessment": ("51848-0", "neutral"),
        "history_of_present_illness": ("10164-2", "not-plan"),
        "discharge_instructions": ("8653-8", "neutral"),
        "postoperative_diagnosis": ("10218-6", "not-plan"),
        "follow_up": (None, "neutral"),
        "unknown": (None, "neutral"),
    }
    found = {name: (lexicon.categories[name].loinc, lexicon.categories[name].role) for name in table}
    assert found == table
    assert len(lexicon.categories) == 46


def test_normalised_forms_are_the_same_for_all_ways_to_write_one_heading():
    forms = ["Assessment and Plan", "ASSESSMENT & PLAN", "assessment/plan", "Assessment  +  Plan"]
    assert {normalise(form) for form in forms} == {"assessment and plan"}


def test_a_user_file_adds_variants_categories_and_guards(tmp_path: Path):
    file = tmp_path / "site.toml"
    file.write_text(
        """
        [categories.plan]
        variants = ["game plan{,s}"]
        [categories.tumour_board]
        role = "neutral"
        variants = ["tumour board"]
        [[guards]]
        reason = "fire_drill"
        categories = ["plan"]
        heading = "action plan"
        """
    )
    lexicon = Lexicon.load(file)
    assert lexicon.match("GAME PLANS").category == "plan"
    assert lexicon.match("Tumour board").category == "tumour_board"
    assert lexicon.categories["plan"].loinc == "18776-5"
    assert lexicon.guards[-1].reason == "fire_drill"
    assert Lexicon.load().match("GAME PLANS") is None
    again = pickle.loads(pickle.dumps(lexicon))
    assert again.match("game plan").category == "plan"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[categories", "not valid TOML"),
        ("[categories.plan]\ncolour = 'red'", "categories.plan.colour"),
        ("[categories.board]\nrole = 'planny'\nvariants = ['board']", "categories.board.role"),
        ("[categories.board]\nvariants = ['board']", "categories.board: a new category needs a role"),
        ("[categories.plan]\nloinc = '18776'", "categories.plan.loinc"),
        (
            "[categories.goals]\nvariants = ['plan of care']",
            "'plan of care' already belongs to 'plan' (headings.toml)",
        ),
        ("[categories.plan]\nvariants = ['next {step']", "unbalanced braces"),
        ("[categories.plan]\nvariants = ['...']", "empty variant"),
        ("[[guards]]\nreason = 'x'\nheading = '('", "guards.0.heading"),
        ("[[guards]]\nreason = 'x'\ncategories = ['plam']\nheading = 'x'", "no category"),
        ("[[guards]]\nreason = 'x'", "guards.0"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_file_and_key(tmp_path: Path, content: str, message: str):
    file = tmp_path / "site.toml"
    file.write_text(content)
    with pytest.raises(LexiconError) as error:
        Lexicon.load(file)
    assert str(file) in str(error.value)
    assert message in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(LexiconError, match=r"missing\.toml"):
        Lexicon.load(tmp_path / "missing.toml")
