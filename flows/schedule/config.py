"""The TOML file of a schedule: which step runs when, and with which parameters."""

import inspect
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from rubricator.flows import prefect_adapter
from rubricator.flows.extract import extract
from rubricator.flows.parameters.flat import ParameterError, checked, flat, removed_from, warn_of_removed
from rubricator.flows.parameters.options import IsPath, marks
from rubricator.flows.predict import predict
from rubricator.flows.train import train
from rubricator.nlp.errors import RubricatorError, what_is_wrong

STEPS: dict[str, Callable[..., Any]] = {"extract": extract, "train": train, "predict": predict}
TEMPLATE = Path(__file__).parent.with_name("schedule.toml")


class ScheduleError(RubricatorError):
    """A schedule that cannot be served: names the file, the key and what is wrong with it."""


class Job(BaseModel):
    """A step with its parameters, at the times of a cron expression."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]+$")
    step: Literal["extract", "train", "predict"]
    cron: str
    parameters: dict[str, Any]

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        from prefect.client.schemas.schedules import CronSchedule

        try:
            CronSchedule(cron=cron)
        except ValidationError:
            valid = False
        else:
            valid = len(cron.split()) == 5
        if not valid:
            raise ValueError(
                f"{cron!r} is no cron expression; write minute, hour, day of month, month and day of week, such as "
                "'0 1 * * *' for every night at one"
            )
        if prefect_adapter.next_due(cron) is None:
            raise ValueError(f"{cron!r} is never due: there is no such day in any year")
        return cron

    @field_validator("parameters")
    @classmethod
    def _fit_the_step(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "step" in info.data:
            step = STEPS[info.data["step"]]
            signature = inspect.signature(flat(step))
            try:
                signature.bind(**parameters)
            except TypeError as error:
                known = ", ".join(
                    name for name in signature.parameters if name not in {"home", *removed_from(step)}
                )
                raise ValueError(f"{error}; the parameters are {known}") from None
            if "home" in parameters:
                raise ValueError("a job has no home of its own: give it to `rubricator schedule --home`")
            try:
                for name, value in parameters.items():
                    checked(name, value, signature.parameters[name].annotation, as_json=True)
                warn_of_removed(step, parameters)
            except ParameterError as error:
                raise ValueError(str(error)) from None
        return parameters


class Schedule(BaseModel):
    """What runs when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: str = "UTC"
    jobs: list[Job] = Field(min_length=1)

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError, OSError):
            known = False
        else:
            known = True
        if not known:
            raise ValueError(f"there is no time zone {timezone!r}; write one such as 'Europe/Zurich'")
        return timezone

    @field_validator("jobs")
    @classmethod
    def _names_differ(cls, jobs: list[Job]) -> list[Job]:
        if twice := [name for name, count in Counter(job.name for job in jobs).items() if count > 1]:
            raise ValueError(f"two jobs have the name {twice[0]!r}; give each job its own name")
        return jobs


def read_schedule(path: Path) -> Schedule:
    """The schedule of a TOML file, its paths made absolute. Raises ScheduleError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        read = Schedule.model_validate(content)
    except FileNotFoundError:
        problem = f"there is no such file; copy {TEMPLATE} and name your folders in it"
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read: {type(error).__name__}"
    except tomllib.TOMLDecodeError as error:
        problem = f"is not TOML: {error}"
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {what_is_wrong(first)}"
    else:
        folder = path.absolute().parent
        jobs = [
            job.model_copy(update={"parameters": _absolute(STEPS[job.step], job.parameters, folder)})
            for job in read.jobs
        ]
        return read.model_copy(update={"jobs": jobs})
    raise ScheduleError(f"{path}: {problem}")


def _absolute(step: Callable[..., Any], parameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The parameters with all their paths absolute."""
    signature = inspect.signature(flat(step)).parameters

    def absolute(path: str) -> str:
        return str(folder / Path(path).expanduser())

    def resolved(name: str, value: Any) -> Any:
        if name == "setting":  # encoder=./folder
            return [re.sub(r"(?<==)\.\.?/.*", lambda path: absolute(path[0]), each) for each in value]
        if not marks(signature[name].annotation, IsPath) and not (name == "model" and value.startswith(".")):
            return value
        return [absolute(each) for each in value] if isinstance(value, list) else absolute(value)

    return {name: resolved(name, value) for name, value in parameters.items()}
