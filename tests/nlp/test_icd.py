"""Code tables: a code's system, its description, and whether it can be billed."""

import subprocess
import sys

import pytest

from rubricator.nlp.icd import RELEASE, code_system, code_warnings, describe, is_billable, is_valid


@pytest.mark.parametrize(
    ("code", "system", "description"),
    [
        ("E11.9", "ICD-10-CM", "Type 2 diabetes mellitus without complications"),
        ("e119", "ICD-10-CM", "Type 2 diabetes mellitus without complications"),
        (" I10 ", "ICD-10-CM", "Essential (primary) hypertension"),
        ("786.2", "ICD-9-CM", "Cough"),
        ("003.1", "ICD-9-CM", "Salmonella septicemia"),
        ("0031", "ICD-9-CM", "Salmonella septicemia"),
        ("386.00", "ICD-9-CM", "Ménière's disease, unspecified"),
        ("99.04", "ICD-9-CM procedures", "Transfusion of packed cells"),
        ("0DTJ4ZZ", "ICD-10-PCS", "Resection of Appendix, Percutaneous Endoscopic Approach"),
    ],
)
def test_a_code_is_known_however_it_is_written(code: str, system: str, description: str) -> None:
    assert code_system(code) == system
    assert describe(code) == description
    assert is_valid(code)
    assert is_billable(code)
    assert code_warnings(code) == []


@pytest.mark.parametrize(
    ("code", "system"),
    [
        ("V58.61", "ICD-9-CM"),  # long-term anticoagulants, not a passenger of a pick-up truck
        ("E850.0", "ICD-9-CM"),  # heroin poisoning, not amyloidosis E85.0
        ("E85.0", "ICD-10-CM"),
        ("V03.90XA", "ICD-10-CM"),
        ("S72001A", "ICD-10-CM"),  # seven characters, as those of ICD-10-PCS
        ("X00.0XXA", "ICD-10-CM"),
    ],
)
def test_a_code_that_looks_like_two_systems_is_of_the_one_that_bills_it(code: str, system: str) -> None:
    assert code_system(code) == system
    assert is_billable(code)


@pytest.mark.parametrize("code", ["E11", "S72.001", "250", "250.0", "99.0"])
def test_a_header_is_valid_but_cannot_be_billed(code: str) -> None:
    assert is_valid(code)
    assert is_billable(code) is False
    system = code_system(code)
    assert system is not None
    assert code_warnings(code) == [f"not a billable {system} code ({RELEASE[system]})"]


def test_an_unknown_code_is_told_from_a_label_that_is_no_code() -> None:
    assert (code_system("E11.99"), is_valid("E11.99"), is_billable("E11.99")) == ("ICD-10-CM", False, False)
    assert code_warnings("E11.99") == ["not in ICD-10-CM (April 2026)"]
    for label in ("plan", "A00-A09", "1", ""):
        assert (code_system(label), describe(label), is_valid(label), is_billable(label)) == (None,) * 4


def test_the_release_is_the_one_that_is_installed() -> None:
    from importlib import resources

    files = {file.name for file in resources.files("simple_icd_10_cm.data").iterdir()}
    assert f"code-list-{RELEASE['ICD-10-CM'].replace(' ', '-')}.txt" in files


def test_no_table_is_loaded_before_a_code_needs_it() -> None:
    probe = (
        "import rubricator.nlp.icd as i, sys; i.describe('786.2'); print('simple_icd_10_cm' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", probe], text=True) == "False\n"
