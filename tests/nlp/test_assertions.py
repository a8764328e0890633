"""What is negated or uncertain, and how far."""

import time

import pytest

from rubricator.nlp.words.negation import NEGATED, UNCERTAIN, assertion_scopes, negates


@pytest.mark.parametrize(
    ("text", "scopes"),
    [
        ("No fever or chills, however he coughs.", [(NEGATED, " fever or chills, ")]),
        ("He denies pain; has a rash.", [(NEGATED, " pain")]),
        ("Lungs free of crackles\nbut tender", [(NEGATED, " crackles")]),
        ("Possible pneumonia.", [(UNCERTAIN, " pneumonia")]),
        ("Not likely an abscess", [(UNCERTAIN, " an abscess"), (NEGATED, " likely an abscess")]),
        ("R/O sepsis vs. flu", [(UNCERTAIN, " sepsis vs"), (UNCERTAIN, "")]),
        ("Nothing notable, Nora.", []),
    ],
)
def test_a_scope_goes_to_the_end_of_its_clause(text: str, scopes: list[tuple[str, str]]) -> None:
    assert [(mark, text[start:end]) for start, end, mark in assertion_scopes(text)] == scopes


def test_single_words_that_negate_in_english_and_spanish() -> None:
    assert all(
        map(
            negates,
            [
                "no",
                "NOT",
                "without",
                "denies",
                "denied",
                "absent",
                "absence",
                "negative",
                "sin",
                "niega",
                "negativos",
            ],
        )
    )
    assert not any(
        map(negates, ["nose", "note", "never", "deny", "lack", "negativity", "single", "descartar"])
    )


def test_the_time_grows_with_the_length() -> None:
    def seconds(times: int) -> float:
        start = time.process_time()
        for text in ("no " * times, "negative " * times, " " * times, "r/" * times, "possibl" * times):
            list(assertion_scopes(f"{text}."))
            negates(text)
        return time.process_time() - start

    assert any(
        seconds(20_000) < 8 * max(seconds(5000), 0.005) for _ in range(3)
    )  # a busy machine may be slow
