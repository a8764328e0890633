"""What is not asserted of the patient: the words after a mark (¬ negated, ? uncertain, @ of another person)."""

import time

import pytest

from rubricator.nlp.assertions import assertion_scopes
from rubricator.nlp.words.tokens import TOKEN


def marked(text: str) -> str:
    """The words of a text, each with its mark. A new line is shown as /."""
    scopes = assertion_scopes(text)
    words = []
    for match in TOKEN.finditer(text):
        marks = [mark for start, end, mark in scopes if start <= match.start() < end]
        words.append(("".join(marks[-1:])) + match.group())
    return " ".join(words)


@pytest.mark.parametrize(
    "expected",
    [
        "No ¬fever ¬or ¬chills however he coughs",
        "He denies ¬pain ¬and ¬asthma",
        "Lungs free of ¬crackles",
        "He does not ¬have ¬asthma",
        "Neither ¬asthma ¬nor ¬COPD",
        "No ¬longer ¬has ¬asthma",
        "Sin ¬fiebre ¬ni ¬tos",
    ],
)
def test_a_negation_is_of_the_words_after_it(expected: str) -> None:
    assert marked(without_marks(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No pneumonia, asthma or COPD. Has GERD.", "No ¬pneumonia ¬asthma ¬or ¬COPD Has GERD"),
        ("Denies: fever, chills.", "Denies ¬fever ¬chills"),
        ("He denies pain; has a rash.", "He denies ¬pain has a rash"),
        ("No rash\nAsthma", "No ¬rash Asthma"),
        ("No rash, 1.5 cm scar, asthma", "No ¬rash ¬1.5 ¬cm ¬scar ¬asthma"),
        (
            "He has told us that he has never had any\nasthma or a cough at home.",
            "He has told us that he has never ¬had ¬any asthma or a cough at home",
        ),
        (
            "He has told us again and again that he never had any\nasthma or cough.",
            "He has told us again and again that he never ¬had ¬any ¬asthma ¬or ¬cough",
        ),
        ("No symptoms this week, asthma controlled.", "No ¬symptoms ¬this ¬week asthma controlled"),
        ("No fever, he has asthma.", "No ¬fever he has asthma"),
        ("No fever and her asthma is stable", "No ¬fever and her asthma is stable"),
        ("Non-compliant patient with asthma", "Non ¬compliant patient with asthma"),
        ("Never smoker with asthma", "Never ¬smoker with asthma"),
        ("No abnormality other than asthma", "No ¬abnormality other than asthma"),
        ("No complications, infection or asthma", "No ¬complications ¬infection ¬or ¬asthma"),
    ],
)
def test_a_scope_ends_with_its_clause_or_its_list(text: str, expected: str) -> None:
    assert marked(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pneumonia: absent. UTI: negative.", "¬Pneumonia absent ¬UTI negative"),
        ("Asthma has been excluded.", "¬Asthma has been excluded"),
        ("Asthma? No.", "¬Asthma No"),
        ("Asthma (no), COPD - none", "¬Asthma ¬no ¬COPD none"),
        ("Asthma and COPD were ruled out.", "¬Asthma ¬and ¬COPD were ruled out"),
        ("Has asthma, and COPD was ruled out.", "Has asthma and ¬COPD was ruled out"),
        ("Asthma cannot be excluded.", "?Asthma cannot be excluded"),
        ("Asthma is possible.", "?Asthma is possible"),
        ("COPD vs. asthma", "?COPD vs ?asthma"),
        ("Asthma?", "?Asthma"),
        ("Asthma screening today", "?Asthma screening today"),
        ("Free fluid, symptom-free", "Free fluid ¬symptom free"),
    ],
)
def test_what_is_said_after_a_word_counts_too(text: str, expected: str) -> None:
    assert marked(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No change in asthma.", "No ¬change ¬in asthma"),
        ("No doubt asthma.", "No doubt asthma"),
        ("Not only asthma but also COPD", "Not only asthma but also COPD"),
        ("No further work-up of asthma", "No ¬further ¬work ¬up ¬of asthma"),
        ("Asthma is not well controlled.", "Asthma is not ¬well ¬controlled"),
        ("Gram negative pneumonia", "Gram negative pneumonia"),
        ("Asthma, not otherwise specified", "Asthma not otherwise specified"),
    ],
)
def test_what_only_looks_like_a_negation(text: str, expected: str) -> None:
    assert marked(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CT to rule out asthma.", "CT to rule out ?asthma"),
        ("Possible pneumonia or UTI", "Possible ?pneumonia ?or ?UTI"),
        ("If asthma develops return", "If ?asthma ?develops ?return"),
        ("Vaccination against pneumonia", "Vaccination against ?pneumonia"),
        ("Not certain whether asthma", "Not certain whether ?asthma"),
        ("?asthma", "?asthma"),
        ("Not likely an abscess", "Not ¬likely ¬an ¬abscess"),
    ],
)
def test_what_is_uncertain_or_only_thought_of(text: str, expected: str) -> None:
    assert marked(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Father died of asthma; sister has COPD. Has GERD.",
            "Father died @of @asthma sister has @COPD Has GERD",
        ),
        ("Asthma in his brother", "@Asthma in his brother"),
        ("Asthma runs in the family", "@Asthma runs in the family"),
        ("Mother: asthma", "Mother @asthma"),
        ("No family history of asthma", "No ¬family ¬history ¬of @asthma"),
        ("FH: asthma", "FH @asthma"),
        (
            "FAMILY HISTORY:\nAsthma. COPD.\nPLAN: treat UTI",
            "FAMILY HISTORY @Asthma @COPD PLAN treat UTI",
        ),
        ("His wife has asthma but he has COPD", "His wife has @asthma but he has COPD"),
        ("Lives with mother, has asthma", "Lives with mother has asthma"),
        ("Informed the family of his asthma", "Informed the family of his asthma"),
        ("Mother reports that he has asthma", "Mother reports that he has asthma"),
        ("38-year-old mother with asthma", "38 year old mother with asthma"),
        ("Nothing notable, Nora.", "Nothing notable Nora"),
        ("History of asthma", "History of asthma"),
    ],
)
def test_what_is_true_of_somebody_else(text: str, expected: str) -> None:
    assert marked(text) == expected


def test_offsets_hold_where_lower_case_is_longer() -> None:
    text = "İİİİ no asthma, İ"
    assert [text[start:end] for start, end, _ in assertion_scopes(text)] == [" asthma, İ"]


def test_the_time_grows_with_the_length() -> None:
    parts = (
        "no ",
        "negative ",
        " ",
        "r/",
        "possibl",
        "mother and ",
        "a, and has ",
        "not seen ",
        "x vs ",
        "his family\n",
        ":?(",
        "no a b ",
    )

    def seconds(times: int) -> float:
        start = time.process_time()
        for part in parts:
            assertion_scopes(f"{part * times}.")
        return time.process_time() - start

    seconds(10)
    assert any(seconds(4000) < 8 * max(seconds(1000), 0.005) for _ in range(3))  # a busy machine may be slow


def without_marks(text: str) -> str:
    return text.translate({ord(mark): "" for mark in "¬?@"})
