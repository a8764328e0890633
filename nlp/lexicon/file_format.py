"""The format of lexicon files, and messages for files that are wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rubricator.nlp.errors import RubricatorError, did_you_mean, what_is_wrong
from rubricator.nlp.lexicon.categories import ByWording, Joined, Kind, Place, Role, WeakLabel

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class LexiconError(RubricatorError):
    """A lexicon file cannot be used. The message says which file, which key, and what to change."""


def parse_lexicon(name: str, text: str, categories: Iterable[str]) -> LexiconFile:
    """The content of a TOML file. `name`: for messages. `categories`: the known ones. Raises LexiconError."""
    try:
        return LexiconFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise LexiconError(f"{name}: not valid TOML: {error}") from None
    except ValidationError as error:
        errors = error.errors()
    # a misspelt key also causes an error for a missing key: the message about the misspelling helps more
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    key = ".".join(str(part) for part in first["loc"])
    raise LexiconError(f"{name}: {key}: {_mistake(first, categories)}")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CategoryEntry(_Model):
    """A category in a file. Keys that a file leaves out keep their values from earlier files."""

    loinc: str | None = Field(None, pattern=r"^\d{1,7}-\d$")
    role: Role | None = None
    weak_label: WeakLabel | None = None
    by_wording: ByWording | None = None
    place: Place | None = None
    joined: Joined | None = None
    kinds: frozenset[Kind] | None = None
    variants: list[str] = []
    with_colon: list[str] = []  # variants that need a colon, capitals or markup to be a heading

    def attributes(self) -> dict[str, Any]:
        """The attributes of `Category` that the file gives."""
        return self.model_dump(exclude={"variants", "with_colon"}, exclude_none=True)


class GuardEntry(_Model):
    reason: str = Field(pattern=r"^\w+$")
    categories: list[str] = []
    heading: str | None = None
    body: str | None = None
    before: str | None = None
    becomes: str | None = None
    alone: bool | None = None

    @model_validator(mode="after")
    def _says_when(self) -> GuardEntry:
        if self.heading is None and self.body is None and self.before is None:
            raise ValueError("a guard needs at least one of heading, body, before")
        return self

    @field_validator("heading", "body", "before")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        # with the flags of the later compilation, so that Python's cache is used
        return None if pattern is None else _regular_expression(pattern, re.IGNORECASE)


class LeadInEntry(_Model):
    category: str
    sentence: str

    @field_validator("sentence")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return _regular_expression(pattern)


class _Qualifiers(_Model):
    before: list[str] = []
    after: list[str] = []
    prepositions: list[str] = []


class _Topics(_Model):
    words: list[str] = []
    problem_nouns: list[str] = []


class _Typos(_Model):
    real_words: list[str] = []


class LexiconFile(_Model):
    categories: dict[str, CategoryEntry] = {}
    guards: list[GuardEntry] = []
    lead_ins: list[LeadInEntry] = []
    qualifiers: _Qualifiers = _Qualifiers()
    topics: _Topics = _Topics()
    typos: _Typos = _Typos()


def _regular_expression(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> str:
    try:
        re.compile(pattern, flags)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


def _mistake(error: ErrorDetails, categories: Iterable[str]) -> str:
    """The message for a wrong key or value, with a suggestion."""
    kind, where = error["type"], error["loc"]
    if kind == "extra_forbidden":
        *above, key = map(str, where)
        if not above and key in categories:
            return f"there is no such table; did you mean [categories.{key}]?"
        known = list(_KEYS[above[0]].model_fields if above else LexiconFile.model_fields)
        what = "key" if above else "table"
        return (
            f"there is no such {what}{did_you_mean(key.lower(), known) or '; there are: ' + ', '.join(known)}"
        )
    if kind == "literal_error":
        key = next(str(part) for part in reversed(where) if part in _CHOICES)
        return f"{what_is_wrong(error)}{did_you_mean(str(error['input']).lower(), get_args(_CHOICES[key]))}"
    if where == ("guards",):
        return "write [[guards]], with two brackets, above each of them"
    return (
        'a list is expected: ["…", "…"]' if kind in ("list_type", "frozen_set_type") else what_is_wrong(error)
    )


_KEYS: dict[str, type[BaseModel]] = {
    "categories": CategoryEntry,
    "guards": GuardEntry,
    "lead_ins": LeadInEntry,
    "qualifiers": _Qualifiers,
    "topics": _Topics,
    "typos": _Typos,
}
_CHOICES: dict[object, Any] = {
    "role": Role,
    "weak_label": WeakLabel,
    "by_wording": ByWording,
    "place": Place,
    "joined": Joined,
    "kinds": Kind,
}
