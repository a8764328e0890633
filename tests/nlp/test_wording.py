"""What the wording of a sentence says of it, whatever its heading."""

import pytest

from rubricator.nlp.wording import is_boilerplate, says_where_next, worded_as_plan


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


@pytest.mark.parametrize(
    "text",
    [
        "Total time spent on this visit: 35 minutes, over half of it in counseling.",
        "This note was made with voice recognition software and may contain errors.",
        "Electronically signed by Pat Lee, MD",
        "I have reviewed the PDMP.",
        "Portions of this record may have been copied from prior notes.",
        "Thank you for allowing me to take part in her care.",
        "The patient voiced understanding and all questions were answered.",
    ],
)
def test_what_is_about_the_note_or_the_visit_is_boilerplate(text: str) -> None:
    assert is_boilerplate(text)


@pytest.mark.parametrize(
    "text",
    [
        "Walk 30 minutes a day.",
        "We will check the PDMP before each refill.",
        "Thank you for the referral, I will see him again in May.",
        "She was told to call if worse and verbalized understanding.",
        "The skin was copied with a transfer film.",
    ],
)
def test_a_plan_or_a_finding_is_no_boilerplate(text: str) -> None:
    assert not is_boilerplate(text)
