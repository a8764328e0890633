"""References between resources: relative, absolute, versioned, contained, within a Bundle, or by an identifier."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rubricator.nlp.readers.fhir.resources import Resource

_LITERAL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+/[A-Za-z0-9._-]+)(?:/_history/[^/]+)?/?$")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?identifier=([^|&]*)\|([^&]+)$")


def reference_key(reference: Any, kind: str, owner: Resource, names: Mapping[str, str]) -> str:
    """What a reference points at; "" where it points at nothing.

    "Patient/1" of "https://server/fhir/Patient/1/_history/2" and of a full URL of the Bundle; what
    `identifier_key` gives of a reference by identifier; the reference itself where it is neither.
    kind: the type that a logical reference means. owner: the resource with the reference, for its contained ones.
    """
    if reference is None:
        return ""
    value = reference.get("reference") or ""
    if not isinstance(value, str):
        raise TypeError
    if value.startswith("#"):
        return _contained_key(value, kind, owner)
    if value in names:
        return names[value]
    if literal := _LITERAL.search(value):
        return literal[1]
    if by_query := _CONDITIONAL.search(value):
        return f"{by_query[1]}?{by_query[2]}|{by_query[3]}"
    return value or identifier_key(reference.get("identifier"), reference.get("type") or kind)


def identifier_key(identifier: Any, kind: str) -> str:
    """ "Encounter?system|value"; "" where there is no value."""
    if identifier is None or not identifier.get("value"):
        return ""
    return f"{kind}?{identifier.get('system') or ''}|{identifier['value']}"


def identifiers(resource: Resource, kind: str) -> list[str]:
    """The keys of the identifiers of a resource."""
    given = [*listed(resource.get("identifier")), *listed(resource.get("masterIdentifier"))]
    return [key for key in (identifier_key(each, kind) for each in given) if key]


def contained(resource: Resource, reference: str) -> Resource | None:
    """The contained resource that "#id" names."""
    name = reference.removeprefix("#")
    return next(
        (each for each in listed(resource.get("contained")) if each.get("id") in (name, f"#{name}")), None
    )


def _contained_key(reference: str, kind: str, owner: Resource) -> str:
    """The identifier of the contained resource, else a key that no other resource has."""
    inner = contained(owner, reference)
    keys = identifiers(inner, kind) if inner else []
    return keys[0] if keys else f"{owner.get('resourceType')}/{owner.get('id')}{reference}"


def listed(value: Any) -> list[Any]:
    """The value as a list: FHIR versions differ in what may repeat."""
    return value if isinstance(value, list) else [] if value is None else [value]
