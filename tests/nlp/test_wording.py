"""What the wording of a sentence says of it, whatever its heading."""

import pytest

from rubricator.nlp.wording import says_where_next, worded_as_plan


@pytest.mark.parametrize(
    "text",
    [
        "Continue lisinopril 10 mg daily.",
        "I will order a chest film.",
        "She'll try a lower dose.",
        "We recommend physical therapy.",
        "Follow up with neurology.",
        "Return to clinic in two weeks.",
        "He should be seen by cardiology.",
        "Call if the fever comes back.",
    ],
)
def test_what_is_to_be_done_is_a_plan(text: str) -> None:
    assert worded_as_plan(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "The lungs are clear to auscultation.",
        "He denies chest pain.",
        "Hypertension.",
        "The wound was closed in layers.",
        "I suspect a viral illness.",
        "The risks, benefits and alternatives were explained.",
        "Temperature 98.6, pulse 72.",
    ],
)
def test_findings_history_and_reasoning_are_none(text: str) -> None:
    assert worded_as_plan(text) == 0


@pytest.mark.parametrize(
    "text", ["The film was normal and we will repeat it.", "Aspirin 81 mg.", "Mrs. Doe."]
)
def test_both_or_neither_is_left_open(text: str) -> None:
    assert worded_as_plan(text) is None


def test_the_end_of_a_procedure_says_where_the_patient_goes() -> None:
    assert says_where_next("She tolerated it well and was taken to the recovery room in stable condition.")
    assert not says_where_next("The wound was taken down in layers.")
