"""Abbreviations and where they stand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rubricator.nlp.words.abbreviations import abbreviations


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("cont PPI gtt, f/u cx", "continue PPI drip, follow up culture"),
        ("Aspirin 81 mg p.o. q.d.", "Aspirin 81 mg by mouth. daily."),
        ("Turn q2h, oxycodone q4-6h PRN", "Turn every 0 hours, oxycodone every 0 to 0 hours as needed"),
        ("c/o to floor; c/o CP", "call out to floor; complains of chest pain"),
        ("d/c home, d/c foley", "discharge home, discontinue foley"),
        ("pt w/ HTN w/o sx", "patient with hypertension without symptoms"),
        ("PT for knee", "PT for knee"),
        ("BP 120/80, either/or, A1c 7.5", "blood pressure 120/80, either/or, A1c 7.5"),
    ],
)
def test_abbreviations_are_read_as_the_words_they_stand_for(text: str, read: str) -> None:
    for start, end, meaning in reversed(list(abbreviations(text))):
        text = text[:start] + meaning + text[end:]
    assert text == read


@given(st.text(alphabet="cont f/u.w&o2'’-p.r ", max_size=40))
def test_spans_are_in_order_and_begin_and_end_with_what_is_written(text: str) -> None:
    last = 0
    for start, end, _ in abbreviations(text):
        assert last <= start < end <= len(text)
        assert re.fullmatch(r"\S(?:.*\S)?", text[start:end])
        last = end
