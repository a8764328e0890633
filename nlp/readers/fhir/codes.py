"""The ICD codes of Conditions and Procedures: which count, which code systems are ICD."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rubricator.nlp.readers.code_cells import SystemCode, is_changed_number
from rubricator.nlp.readers.fhir.index import UNRANKED, ExportIndex
from rubricator.nlp.readers.fhir.references import identifiers, listed, reference_key
from rubricator.nlp.readers.fhir.resources import Resource
from rubricator.nlp.readers.files import Notices

# https://hl7.org/fhir/R4/valueset-condition-ver-status.html. Inpatient rules code what is provisional or unconfirmed
NOT_A_DIAGNOSIS = {"refuted", "entered-in-error", "differential"}
# https://hl7.org/fhir/R4/valueset-event-status.html; suspended is of STU3. What was stopped had begun
NOT_DONE = {"preparation", "not-done", "on-hold", "suspended", "entered-in-error"}
OTHER_CATEGORIES = {"problem-list-item", "health-concern"}

SYSTEMS = {  # in the form of `_plain`; names with ICD and a number are read by _NAMED
    "www.cms.gov/medicare/coding/icd10": "ICD-10-PCS",
    "www.cms.gov/medicare/coding/icd9": "ICD-9-CM procedures",
    "2.16.840.1.113883.6.90": "ICD-10-CM",
    "2.16.840.1.113883.6.4": "ICD-10-PCS",
    "2.16.840.1.113883.6.103": "ICD-9-CM",
    "2.16.840.1.113883.6.104": "ICD-9-CM procedures",
    "2.16.840.1.113883.6.2": "ICD-9-CM",
    "2.16.840.1.113883.6.42": "ICD-9",
    "2.16.840.1.113883.6.3": "ICD-10",
    "2.16.840.1.113883.6.3.1": "ICD-10-AM",
    "2.16.840.1.113883.6.3.2": "ICD-10-NL",
    "2.16.840.1.113883.6.94": "ICD-10-CA",
    "2.16.840.1.113883.6.135": "ICD-10-AM",
    "1.2.276.0.76.5.409": "ICD-10-GM",
    "i10": "ICD-10",  # the names of HL7 v2, table 0396
    "i10c": "ICD-10-CM",
    "i10p": "ICD-10-PCS",
    "i9": "ICD-9",
    "i9c": "ICD-9-CM",
    "i9cdx": "ICD-9-CM",
    "i9cp": "ICD-9-CM procedures",
}
# a part of a name or URL: icd-10-cm, icd9cm, ICD-10-GM-2024, cim-10, BRCID10; the suffix is CM, PCS, WHO or a country
_NAMED = re.compile(
    r"(?:br)?(?:icd|cim|cie|cid)[-_ .]?(?P<version>9|10)(?:[-_ .]?(?P<suffix>pcs|who|int|[a-z]{2}))?(?:[-_ .]?\d{4})?"
)
_PROCEDURES = re.compile(r"procedures?|volume-?3|vol-?3")
_CODE = re.compile(r"[^\W_][\w.+*†!#/-]{1,15}")
_SHOWN = re.compile(
    r"(?=.*[\d:/A-Z])[\w.:/#%~+-]{1,120}"
)  # of a system: a URI, an OID or a short name, never a phrase
_MOST_SYSTEMS = 100


def remember_codes(
    resource: Resource, name: str, names: Mapping[str, str], index: ExportIndex, notices: Notices
) -> None:
    """Put the encounter, diagnoses or codes of an Encounter, Condition or Procedure into the index.

    name: "Type/id". names: those of the resource's Bundle. notices: what is left out.
    """
    kind = resource["resourceType"]
    if kind == "Encounter":
        index.add_identifiers(name, identifiers(resource, "Encounter"))
        for diagnosis in listed(resource.get("diagnosis")):
            for condition in listed(diagnosis.get("condition")):
                # in R5 a CodeableReference
                given = condition["reference"] if isinstance(condition.get("reference"), dict) else condition
                key = reference_key(given, "Condition", resource, names)
                index.add_diagnosis(name, key, _rank(diagnosis.get("rank")))
        return
    if why := _left_out(resource):
        notices.add(f"{kind} resources left out, {why}")
        return
    encounter = reference_key(
        resource.get("encounter") or _stu3_encounter(resource), "Encounter", resource, names
    )
    categories = {code for category in listed(resource.get("category")) for code in _codings(category)}
    index.add_codes(
        name,
        encounter,
        icd_codes(resource, notices),
        of_visit=not categories or not categories <= OTHER_CATEGORIES,
        procedure=kind == "Procedure",
    )


def icd_codes(resource: Resource, notices: Notices) -> list[SystemCode]:
    """The ICD codes of a Condition or Procedure, of one system.

    A resource is one diagnosis or procedure: of its codes in several systems, those of the newest
    ICD version are taken.
    """
    by_system: dict[str, list[SystemCode]] = {}
    for coding in listed((resource.get("code") or {}).get("coding")):
        code, given = coding.get("code"), coding.get("system")
        if not code:
            continue
        system = icd_system(given) if isinstance(given, str) else None
        if system is None:
            _name_system(given, notices)
        elif not isinstance(code, str) or not _CODE.fullmatch(code.strip()):
            notices.add(f"codes of {system} left out, not in the form of a code")
        elif is_changed_number(code.strip()):
            notices.add(f"codes of {system} left out, made numbers (4019.0)")
        else:
            is_procedure = resource["resourceType"] == "Procedure"
            table = _table_of(system, is_procedure=is_procedure)
            by_system.setdefault(system, []).append(SystemCode(code.strip(), (table,)))
    taken = min(by_system, key=_preference, default="")
    for system, codes in by_system.items():
        if system != taken:
            notices.add(
                f"codes of {system} left out, beside {taken} in one Condition or Procedure", len(codes)
            )
    return by_system.get(taken, [])


def icd_system(given: str) -> str | None:
    """The ICD version and modification of a code system, such as "ICD-10-CM"; None where it is not ICD-9 or ICD-10.

    given: a URL, an OID or a name, in any case, with or without a version after a bar.

    >>> icd_system("HTTPS://hl7.org/fhir/sid/ICD-10-CM/|2024"), icd_system("http://snomed.info/sct")
    ('ICD-10-CM', None)
    """
    plain = _plain(given)
    if plain in SYSTEMS:
        return SYSTEMS[plain]
    parts = re.split(r"[/:#?=]", plain)
    for part in parts:
        if named := _NAMED.fullmatch(part):
            suffix = (named["suffix"] or "").upper()
            if named["version"] == "9":
                return "ICD-9-CM procedures" if _is_of_procedures(parts, suffix) else "ICD-9-CM"
            suffix = {"US": "CM", "DE": "GM", "WHO": "", "INT": ""}.get(suffix, suffix)
            return f"ICD-10-{suffix}" if suffix else "ICD-10"
    return None


def _plain(system: str) -> str:
    plain = system.partition("|")[0].strip().lower()
    plain = re.sub(r"^(?:https?://|(?:urn:)?oid:)", "", plain)
    return re.sub(r"[/#]+$", "", plain)


def _is_of_procedures(parts: list[str], suffix: str) -> bool:
    return suffix == "PCS" or any(map(_PROCEDURES.fullmatch, parts))


def _preference(system: str) -> tuple[bool, bool, str]:
    """The newer version first, of one version a modification before the original."""
    return not system.startswith("ICD-10"), system == "ICD-10", system


def _table_of(system: str, *, is_procedure: bool) -> str:
    """The code table whose spelling the codes of a system have. Modifications of ICD-10 have their dot as ICD-10-CM."""
    if system.startswith("ICD-10"):
        return "ICD-10-PCS" if is_procedure or system == "ICD-10-PCS" else "ICD-10-CM"
    return "ICD-9-CM procedures" if is_procedure or system.endswith("procedures") else "ICD-9-CM"


def _name_system(system: Any, notices: Notices) -> None:
    """Count a code of a system that is not ICD."""
    if not system:
        named = "no system"
    elif isinstance(system, str) and _SHOWN.fullmatch(system):
        named = system
    else:
        named = "a system whose name is not shown, as it may quote a note"
    kind = f"codes of {named} left out, not ICD"
    notices.add(
        kind
        if kind in notices or len(notices) < _MOST_SYSTEMS
        else "codes of other systems left out, not ICD"
    )


def _left_out(resource: Resource) -> str:
    """Why the codes of a Condition or Procedure do not count; "" where they do."""
    status = resource.get("status")
    if resource["resourceType"] == "Procedure":
        if resource.get("notDone") is True:  # STU3
            return "not-done"
        return status if status in NOT_DONE else ""
    found = NOT_A_DIAGNOSIS & {*_codings(resource.get("verificationStatus")), status}
    return min(found, default="")


def _codings(concept: Any) -> set[str]:
    """The codes of a concept. Versions before R4 have a code alone."""
    if isinstance(concept, str):
        return {concept}
    return {coding.get("code") or "" for coding in listed((concept or {}).get("coding"))}


def _rank(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < UNRANKED else UNRANKED


def _stu3_encounter(resource: Resource) -> Any:
    """In STU3 `context` is an Encounter or an EpisodeOfCare."""
    return resource.get("context")
