"""Declarations for the parameters of steps: marks in `Annotated` types, and parameters that several steps have.

The command line, the schedule and Prefect read the types, descriptions and marks from the steps and their settings.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

T = TypeVar("T")


class IsPath:
    """Marks a file or folder. In a schedule it is relative to the schedule's file."""


class Commas:
    """Marks several values that may be given with commas between them."""


@dataclass(frozen=True)
class OneOf:
    """The values that are allowed."""

    names: Sequence[str]


@dataclass(frozen=True)
class Metavar:
    """The placeholder of the value in the help of the command line."""

    name: str


@dataclass(frozen=True)
class Panel:
    """The title under which the help of the command line shows the parameter."""

    title: str


@dataclass(frozen=True)
class OnlyFor:
    """The parameter is for tasks that have this option (`Task.options`); other tasks ignore it."""

    option: str


@dataclass(frozen=True)
class Without:
    """Fields of a settings class that are not parameters of the step."""

    fields: tuple[str, ...]


def marks(annotation: Any, kind: type[T]) -> list[T]:
    """All marks of a kind anywhere in an annotation."""
    if isinstance(annotation, kind):
        return [annotation]
    return [mark for part in get_args(annotation) for mark in marks(part, kind)]


Name = Annotated[str, Field(pattern=r"\S")]  # not blank
PathName = Annotated[Name, IsPath()]

Notes = Annotated[
    PathName | None,
    Field(
        description="File, folder or glob of .parquet .csv .tsv .jsonl .json .xlsx (also .gz .zst), a folder of .txt "
        "or .rtf, a FHIR R4 bulk export, or a MIMIC-III or MIMIC-IV folder; - is standard input. Not with --notes-sql."
    ),
]
Model = Annotated[
    Name, Field(description="NAME (its champion), NAME@ALIAS, NAME/VERSION, an MLflow URI or ./FOLDER.")
]
Out = Annotated[
    PathName,
    Field(description="Folder for the tables. The same command, run again, goes on where it stopped."),
]
Home = Annotated[
    PathName | None,
    Field(
        description="Folder of the state: databases, models. By default RUBRICATOR_HOME, else ./.rubricator."
    ),
]


class StepSettings(BaseModel):
    """Settings of a step: frozen; an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


LexiconFiles = Annotated[
    tuple[PathName, ...],
    Field(description="TOML file with headings of your site; may be given several times."),
]
Positive = Annotated[
    tuple[Name, ...] | None,
    Field(
        description="Section category whose sentences are positive; may be given several times. By default all that "
        "hold plans."
    ),
]
Bootstrap = Annotated[int, Field(ge=0, description="Bootstrap resamples of each interval; 0 makes none.")]
Report = Annotated[PathName | None, Field(description="JSON file for every figure.")]


def _limit(value: Any) -> Any:
    """A number or a share as text."""
    text = str(value) if type(value) in (int, float) else value
    if isinstance(text, str) and not _LIMIT.fullmatch(text):
        raise PydanticCustomError("limit", "give a number of notes, or a share of them such as 0.05 or 5%")
    return text


_LIMIT = re.compile(r"\d+|0?\.\d+|1\.0+|\d{1,2}(?:\.\d+)?%|100%")

MaxDeadLetters = Annotated[
    str,
    BeforeValidator(_limit),
    Field(
        description="How many notes may be unusable: a number, or a share such as 0.05 or 5%. If there are more, or if "
        "no note can be used, the exit code is 4; what could be done is kept. 100% allows everything."
    ),
]


class JobSettings(StepSettings):
    """How a job is spread over workers."""

    workers: int | None = Field(
        default=None, ge=1, description="Worker processes; by default one per core, and none for few notes."
    )
    shard_size: int | None = Field(
        default=None, ge=1, description="Notes per shard; by default as many as take 15 seconds."
    )
    max_dead_letters: MaxDeadLetters = "50%"
    engine: Literal["local", "dask"] = Field(
        default="local",
        description="Where shards are done: in processes of this machine, or on a Dask cluster.",
    )
