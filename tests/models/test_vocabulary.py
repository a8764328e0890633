"""Which words a network knows, how numbers are read, and what must not be kept."""

import numpy as np
import pytest

from rubricator.models.neural.vocabulary import UNKNOWN, word_tokenizer


def words(text: str) -> list[str]:
    """The words as a network reads them that learnt from two patients' notes of this text."""
    return list(word_tokenizer([text] * 2, np.arange(2)).encode(text).tokens)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Diabetes type 1, not TYPE 2.", ["diabetes", "type", "1", ",", "not", "type", "2", "."]),
        ("Stage 3: day 10, 250 mg", ["stage", "3", ":", "day", "00", ",", "000", "mg"]),
        ("1.5 mg at 8:30, 3/4 and 1,2", ["0.0", "mg", "at", "0:00", ",", "0/0", "and", "0,0"]),
        ("vertebra L4, room b12", ["vertebra", "l0", ",", "room", "b00"]),
        ("1. Cough\n2. Fever", ["1", ".", "cough", "2", ".", "fever"]),
    ],
)
def test_single_digits_keep_apart_and_longer_numbers_keep_their_shape(text: str, read: list[str]) -> None:
    assert words(text) == read


def test_all_digits_may_be_read_by_their_shape() -> None:
    text = "Type 2, day 10, L4"
    tokenizer = word_tokenizer([text] * 2, np.arange(2), single_digits=False)
    assert tokenizer.encode(text).tokens == ["type", "0", ",", "day", "00", ",", "l0"]


def test_a_word_of_one_patient_is_unknown() -> None:
    texts = ["Mr Snodgrass, type 7", "Mr Snodgrass again, type 7", "another Mr, type 2"]
    tokenizer = word_tokenizer(texts, np.array([0, 0, 1]))
    assert {"snodgrass", "7", "2", "again"}.isdisjoint(tokenizer.get_vocab())
    assert tokenizer.encode("Mr Snodgrass, type 7").tokens == ["mr", UNKNOWN, ",", "type", UNKNOWN]


def test_a_word_that_is_left_out_is_unknown_in_all_its_forms() -> None:
    texts = ["Snodgrass’s type, Snodgrass said", "SNODGRASS: type"]
    tokenizer = word_tokenizer(texts, np.arange(2), without=frozenset({"snodgrass"}))
    assert not [word for word in tokenizer.get_vocab() if "snod" in word]
    assert tokenizer.encode("Snodgrass type").tokens == [UNKNOWN, "type"]


def test_offsets_are_those_of_the_text() -> None:
    text = "Type 1 since 1999, 2.5 mg"
    encoding = word_tokenizer([text] * 2, np.arange(2)).encode(text)
    assert [text[start:end] for start, end in encoding.offsets] == [
        "Type",
        "1",
        "since",
        "1999",
        ",",
        "2.5",
        "mg",
    ]
