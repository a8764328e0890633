"""The lexicon: what it recognises, how a user extends it, and which mistakes in a file it names."""

import pickle
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from rubricator.nlp.lexicon.lexicon import Lexicon, LexiconError, normalise
from rubricator.nlp.sections import letter_sets
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.sections.heading_phrase import LETTERS
from rubricator.nlp.weak_labels import WeakLabelSettings, label_note


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
        ("Medications, continued", "medications", "dated"),
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


@pytest.mark.parametrize(
    ("category", "headings"),
    [
        ("plan", "Orders placed this encounter; New orders; Discharge planning; Plan for discharge; Tx plan"),
        ("assessment_and_plan", "Diagnoses and all orders for this visit; Assessment & Plan Notes; Dx/Tx"),
        ("recommendations", "I recommend; Recc; GI recs; Recommendations after discharge"),
        ("follow_up", "Transitional issues; Transitions of care; RTO; Next appt; Issues requiring follow-up"),
        ("medications", "Meds PTA; Inpt meds; Admitting medications; Continuous infusions; Gtts"),
        ("discharge_medications", "Hospital Discharge Medications; CONTINUE taking these medications"),
        ("procedure", "Major Surgical or Invasive Procedure; Major surgical/invasive procedures performed"),
        ("hospital_course", "Concise summary of hospital course; MICU course; Hosp course; Tx rendered"),
        ("hospital_course", "WHAT HAPPENED TO ME IN THE HOSPITAL?; What was done while you were here"),
        ("reason_for_visit", "WHY WAS I ADMITTED TO THE HOSPITAL?; Why were you here"),
        ("discharge_instructions", "WHAT SHOULD I DO AFTER I LEAVE THE HOSPITAL?; Diet on discharge"),
        ("past_medical_history", "History of Past Illness; History of chronic illness; MHx; Other PMH"),
        ("results", "Relevant Diagnostic Tests and/or Laboratory Data; Hospital Discharge Studies Summary"),
        ("physical_exam", "Hospital Discharge Physical Exam; PE on admission; Admit exam"),
        ("diagnosis", "Principle diagnosis; Hospital Admission Diagnosis; Diagnoses for this visit"),
        ("problem_list", "Patient Active Problem List; Principal problem; Active issues by problem"),
    ],
)
def test_a_family_of_headings_has_one_category(lexicon, category, headings):
    matches = {heading: lexicon.match(heading) for heading in headings.split("; ")}
    assert {heading: match and match.category for heading, match in matches.items()} == dict.fromkeys(
        matches, category
    )


@pytest.mark.parametrize("word", ["Recommend", "I recommend", "Events", "Tx", "Local anesthesia", "NV"])
def test_words_of_everyday_prose_are_headings_only_before_a_colon(lexicon, word):
    assert lexicon.match(word) is not None
    assert lexicon.needs_colon(word)


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
    listed = tomllib.loads((Path(__file__).parents[2] / "nlp/lexicon/headings.toml").read_text())[
        "categories"
    ]
    assert lexicon.categories.keys() == listed.keys() | {"unknown"} and len(listed) >= 46


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
            "[categories.goals]\nvariants = ['our way']\n[categories.plan]\nvariants = ['Our Way']",
            "categories.plan: variant 'our way' already belongs to 'goals' (",
        ),
        ("[categories.plan]\nvariants = ['P']", "categories.plan: variant 'P': the letters S, O, A and P"),
        (f"[categories.plan]\nvariants = ['{'very ' * 16}']", "at most 80 characters and 15 words"),
        (f"[categories.plan]\nvariants = ['{'v' * 81}']", "at most 80 characters and 15 words"),
        ("[categories.plan]\nvariants = 'game plan'", "categories.plan.variants: a list is expected"),
        ("[guards]\nreason = 'x'", "guards: write [[guards]], with two brackets"),
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[catgories.plan]", "catgories: there is no such table; did you mean 'categories'?"),
        ("[plan]\nvariants = ['x']", "plan: there is no such table; did you mean [categories.plan]?"),
        (
            "[colours]",
            "there is no such table; there are: categories, guards, lead_ins, qualifiers, topics, typos",
        ),
        (
            "[categories.plan]\nvarients = ['x']",
            "plan.varients: there is no such key; did you mean 'variants'?",
        ),
        (
            "[categories.plan]\ncolour = 'red'",
            "no such key; there are: loinc, role, weak_label, by_wording, place, joined, kinds, variants, with_colon",
        ),
        ("[categories.board]\nrole = 'Mixd'", "categories.board.role: it must be 'plan', 'mixed'"),
        ("[categories.board]\nrole = 'Mixd'", "; did you mean 'mixed'?"),
        ("[categories.goals]\nplace = 'after plan'", "; did you mean 'after_plan'?"),
        ("[categories.goals]\nweak_label = 'positiv'", "; did you mean 'positive'?"),
        ("[categories.goals]\nkinds = ['holds_item']", "; did you mean 'holds_items'?"),
        ("[categories.goals]\nkinds = 'advice'", "categories.goals.kinds: a list is expected"),
        (
            "[categories.folow_up]\nvariants = ['x y']",
            "role (plan, mixed, not-plan, neutral); did you mean 'follow_up'?",
        ),
        (
            "[[guards]]\nreason = 'x'\nhaeding = 'x'",
            "guards.0.haeding: there is no such key; did you mean 'heading'?",
        ),
        (
            "[[guards]]\nreson = 'x'\nheading = 'x'",
            "guards.0.reson: there is no such key; did you mean 'reason'?",
        ),
        (
            "[[guards]]\nreason = 'x'\nheading = 'x'\nbecomes = 'gaols'",
            "no category 'gaols'; did you mean 'goals'?",
        ),
        (
            "[[guards]]\nreason = 'x'\nheading = 'x'\ncategories = ['plam']",
            "no category 'plam'; did you mean 'plan'?",
        ),
        ("[qualifiers]\nbefor = ['x']", "qualifiers.befor: there is no such key; did you mean 'before'?"),
        ("[topics]\nword = ['x']", "topics.word: there is no such key; did you mean 'words'?"),
        ("[typos]\nrealwords = ['x']", "typos.realwords: there is no such key; did you mean 'real_words'?"),
    ],
)
def test_what_is_misspelt_is_asked_after(content: str, message: str):
    with pytest.raises(LexiconError) as error:
        Lexicon([("site.toml", content)])
    assert str(error.value).startswith("site.toml: ")
    assert message in str(error.value)


def test_a_new_category_like_none_has_no_question_after_it():
    with pytest.raises(LexiconError, match=r"needs a role \(plan, mixed, not-plan, neutral\)$"):
        Lexicon([("site.toml", "[categories.tumour_board]\nvariants = ['tumour board']")])


# ---- what a user's file says of a category

BOARD = "[categories.board]\nrole = 'neutral'\nvariants = ['tumour board']\n"
NOTE = "HPI: Cough.\n\nPlan:\nRest at home.\n\nTumour board:\nRadiation will be offered."


def board_labels(more: str) -> list[tuple[int | None, int | None]]:
    """The label by heading and by wording of what stands under the user's heading."""
    lexicon = Lexicon([("site.toml", BOARD + more)])
    sections = SectionFinder(lexicon).find(NOTE)
    units = label_note(NOTE, sections, WeakLabelSettings(), lexicon)
    return [(unit.label, unit.worded) for unit in units if unit.category == "board"]


@pytest.mark.parametrize(
    ("more", "labels"),
    [
        ("", (None, None)),
        ("weak_label = 'positive'", (1, None)),
        ("weak_label = 'negative'", (0, None)),
        ("by_wording = 'plan'", (None, 1)),
        ("by_wording = 'next_place'", (None, None)),
    ],
)
def test_a_category_of_the_user_has_the_weak_label_of_its_file(
    more: str, labels: tuple[int | None, int | None]
):
    assert board_labels(more) == [labels]


def test_braces_of_too_many_spellings_are_refused_before_they_are_expanded():
    many = "a" + "{,b}" * 40
    with pytest.raises(LexiconError, match=r"site\.toml.*write several variants"):
        Lexicon([("site.toml", f"[categories.plan]\nvariants = ['{many}']")])


def test_positive_categories_that_were_chosen_are_all_there_are():
    lexicon = Lexicon([("site.toml", BOARD + "weak_label = 'positive'")])
    assert "board" in WeakLabelSettings().positives(lexicon)
    assert WeakLabelSettings(positive=frozenset({"plan"})).positives(lexicon) == {"plan"}
    as_built_in = WeakLabelSettings(positive=WeakLabelSettings().positives(Lexicon.load()))
    assert "board" not in as_built_in.positives(lexicon)


def test_the_chosen_settings_name_what_the_lexicon_chose():
    lexicon = Lexicon([("site.toml", BOARD + "weak_label = 'positive'")])
    chosen = WeakLabelSettings().chosen_by(lexicon)
    assert {"plan", "board"} <= chosen.positive
    assert chosen.labels(lexicon) == WeakLabelSettings().labels(lexicon)
    assert chosen.wordings(lexicon) == WeakLabelSettings().wordings(lexicon)
    assert WeakLabelSettings.model_validate_json(chosen.model_dump_json()) == chosen


def test_what_a_file_leaves_out_of_a_category_stays_as_it_is():
    built_in = Lexicon.load().categories["plan"]
    category = Lexicon([("site.toml", "[categories.plan]\nkinds = ['no_topics']")]).categories["plan"]
    assert category == replace(built_in, kinds=frozenset({"no_topics"}))


def test_a_category_of_the_user_joins_a_plan_as_its_file_says():
    heading = "Tumour board and plan"
    assert Lexicon([("site.toml", BOARD)]).match(heading) == ("board", "joined")
    for joined, category in (("companion", "plan"), ("judgement", "assessment_and_plan")):
        lexicon = Lexicon([("site.toml", f"{BOARD}joined = '{joined}'")])
        assert lexicon.match(heading) == (category, "joined")


def test_a_category_of_the_user_is_never_a_part_of_a_plan_where_its_file_says_so():
    text = "PLAN:\n1. Chest: stable.\n\nTumour board: seen.\n"
    for more, categories in (("", ["plan"]), ("place = 'outside_plan'", ["plan", "board"])):
        finder = SectionFinder(Lexicon([("site.toml", BOARD + more)]))
        assert [section.category for section in finder.find(text)] == categories


def test_letters_of_sets_stand_for_categories_of_the_lexicon(lexicon):
    tables = tomllib.loads(Path(letter_sets.__file__).with_suffix(".toml").read_text())
    named = [*tables["letters"].values(), *tables["headings"]]
    for entry in tables["sets"]:
        named += entry.get("categories", {}).values()
        assert set(entry.get("categories", {})) <= set(entry["letters"]) <= LETTERS
    assert set(named) <= lexicon.categories.keys()


# ---- what the user names wins

OURS = "[categories.plan]\nvariants = ['proposed management', 'what happens next']\n"


def found(text: str, *sources: str) -> list[tuple[str, str]]:
    lexicon = Lexicon((f"site-{number}.toml", source) for number, source in enumerate(sources))
    return [(section.category, section.heading) for section in SectionFinder(lexicon).find(text)]


@pytest.mark.parametrize(
    "heading",
    [
        "What happens next:\n",
        "WHAT HAPPENS NEXT\n",
        "What happens next\n",
        "**What happens next**\n",
        "## What happens next\n",
        "What happens next: ",
        "what happens next: ",
        "1. What happens next: ",
        "What happens next - ",
        "WHAT HAPPENS NEXT - ",
        "What happens next (continued): ",
        "What happens next 4/12/2020: ",
        "What hapens next: ",
    ],
)
@pytest.mark.parametrize("before", ["", "HPI: Cough for three days.\n\n"])
def test_no_guard_of_ours_refuses_what_the_user_names(heading: str, before: str):
    [*_, (category, _)] = found(f"{before}{heading}Rest at home.", OURS)
    assert category == "plan"


def test_a_heading_that_the_user_names_is_found_inside_a_line():
    text = "She was seen with her son today. What happens next: rest at home."
    assert found(text, OURS) == [("plan", "What happens next")]


def test_other_phrases_are_guarded_as_before():
    ours = OURS.replace("proposed management", "the plan for you', 'meal plan")
    assert found("The plan: he would like to go home.", ours) == []
    assert found("Birth plan: at home.", ours) == []
    assert found("MEAL PLAN: soft food.", ours) == [("plan", "MEAL PLAN")]
    assert found("She was seen with her son today. MEAL PLAN: soft food.", ours) == [("plan", "MEAL PLAN")]


@pytest.mark.parametrize("in_one_file", [True, False])
def test_a_user_s_own_guard_refuses_what_the_user_names(in_one_file: bool):
    guard = "[[guards]]\nreason = 'question'\nheading = 'what happens next'\nbody = 'unknown'\n"
    sources = [OURS + guard] if in_one_file else [OURS, guard]
    assert found("What happens next:\nUnknown as yet.", *sources)[0][0] != "plan"
    assert found("What happens next:\nRest at home.", *sources)[0][0] == "plan"


def test_a_variant_of_ours_moves_to_the_category_that_the_user_gives_it():
    text = "HPI: Cough.\n\nPlan of care:\nRest at home.\n\nPlan:\nRest at home."
    [_, moved, kept] = found(text, "[categories.goals]\nvariants = ['plan of care']")
    assert (moved[0], kept[0]) == ("goals", "plan")
    assert Lexicon.load().match("plan of care").category == "plan"


def test_two_files_of_the_user_that_disagree_are_both_named():
    with pytest.raises(LexiconError, match=r"b\.toml: .* already belongs to 'plan' \(a\.toml\)"):
        Lexicon([("a.toml", OURS), ("b.toml", "[categories.goals]\nvariants = ['What Happens Next']")])
    agreed = Lexicon([("a.toml", OURS), ("b.toml", OURS)])
    assert agreed.match("what happens next").category == "plan"


def test_a_user_s_file_may_be_called_as_ours_is():
    lexicon = Lexicon([("headings.toml", OURS)])
    assert lexicon.is_named("What happens next") and not lexicon.is_named("Plan")


def test_a_word_that_needs_a_colon_or_is_a_topic_does_not_where_the_user_names_it():
    alone = "HPI: Cough.\n\nThoughts\nRest at home."
    assert found(alone) == [("history_of_present_illness", "HPI")]
    assert found(alone, "[categories.plan]\nvariants = ['thoughts']")[-1] == ("plan", "Thoughts")
    kept = found(alone, "[categories.plan]\nwith_colon = ['thoughts']")
    assert kept == [("history_of_present_illness", "HPI")]
    topic = "ASSESSMENT AND PLAN:\nDoing well.\n\nSLEEP\nGood."
    assert len(found(topic)) == 1
    assert found(topic, "[categories.social_history]\nvariants = ['sleep']")[-1] == (
        "social_history",
        "SLEEP",
    )
