"""Codes that are never reported together."""

import pytest

from rubricator.nlp.edits import excludes1_warnings


@pytest.mark.parametrize(
    ("codes", "warned"),
    [
        (["E11.9", "E10.9"], "E10 and E11"),
        (["e119", "E1065"], "E10 and E11"),  # without dots, in lower case
        (["E11.9", "O24.410"], "E11 and O24.4"),  # a code under "O24.4-"
        (["J18.9", "J70.3"], "J18 and J70.2-J70.4"),  # a range
        (["I10", "O14.00"], "I10 and O13-O16"),  # the second range of a list
        (["R73.9", "E11.65"], "E08-E13 and R73"),  # a note at the category, a range of categories
    ],
)
def test_two_codes_that_exclude_each_other_are_both_warned_of(codes: list[str], warned: str) -> None:
    first, second = codes
    assert excludes1_warnings([first, "I48.91", second]) == [
        [f"{warned} exclude each other (Excludes1): see {second}"],
        [],
        [f"{warned} exclude each other (Excludes1): see {first}"],
    ]


@pytest.mark.parametrize(
    "codes",
    [
        [],
        ["E11.9"],
        ["E11.9", "E11.65", "I10", "J45.909", "N17.9", "I50.9"],
        ["S72.001A", "W01.0XXA"],
        ["250.00", "401.9", "0DTJ4ZZ", "no code", "E11.9"],  # other systems
        ["I10", "O12.00"],  # between two ranges
    ],
)
def test_other_codes_stand_together(codes: list[str]) -> None:
    assert not any(excludes1_warnings(codes))
