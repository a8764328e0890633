"""Schedule: serve extract, train and predict on the cron expressions of a TOML file, from one process."""

import fcntl
import inspect
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal
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
from rubricator.flows.home import Home, open_home
from rubricator.flows.parameters import options
from rubricator.flows.parameters.flat import ParameterError, checked, flat, removed_from, warn_of_removed
from rubricator.flows.parameters.options import IsPath, PathName, marks
from rubricator.flows.predict import predict
from rubricator.flows.train import train
from rubricator.models.processes import with_parent
from rubricator.nlp.errors import RubricatorError

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

STEPS: dict[str, Callable[..., Any]] = {"extract": extract, "train": train, "predict": predict}
TEMPLATE = Path(__file__).with_name("schedule.toml")
SERVER_STARTS_IN = 180  # seconds: a first start makes the database


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


def schedule(
    *,
    config: Annotated[PathName, Field(description="TOML file: what runs when.")] = "schedule.toml",
    home: options.Home = None,
) -> None:
    """Serve the jobs of a TOML file until this process is stopped.

    Where PREFECT_API_URL names no server, one is started on this machine, for this process only, with its database
    in the home. Raises ScheduleError.
    """
    jobs = read_schedule(Path(config))
    opened = open_home(home)
    opened.init_mlflow()
    with _server(opened) as url:
        from prefect import serve

        with prefect_adapter.server_at(url):
            sys.stderr.write(
                f"{len(jobs.jobs)} jobs are served; see {url.removesuffix('/api')}. Ctrl-C ends it.\n"
            )
            serve(*deployments(jobs, opened), print_starting_message=False, pause_on_shutdown=False)


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
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
    else:
        folder = path.absolute().parent
        jobs = [
            job.model_copy(update={"parameters": _absolute(STEPS[job.step], job.parameters, folder)})
            for job in read.jobs
        ]
        return read.model_copy(update={"jobs": jobs})
    raise ScheduleError(f"{path}: {problem}")


def deployments(schedule: Schedule, home: Home) -> "list[RunnerDeployment]":
    """A Prefect deployment for each job. A run is cancelled if the previous run of its job has not ended."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    from rubricator.flows import deployments as flows

    one = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    return [
        getattr(flows, f"{job.step}_flow").to_deployment(
            job.name,
            schedule=Cron(job.cron, timezone=schedule.timezone),
            parameters={**job.parameters, "home": str(home.path)},
            concurrency_limit=one,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for job in schedule.jobs
    ]


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


@contextmanager
def _server(home: Home) -> Iterator[str]:
    """The URL of the server in PREFECT_API_URL. Else start one for this machine only, and end it at the end."""
    if url := os.environ.get("PREFECT_API_URL"):
        yield url
        return
    with (home.path / "prefect-server.log").open("wb") as log:
        with _one_start_at_a_time():
            port = _free_port()
            url = f"http://127.0.0.1:{port}/api"
            server = _started_server(port, log)
            try:
                _wait_for(f"{url}/health", server, home)
            except BaseException:
                _end(server)
                raise
        try:
            os.environ["PREFECT_API_URL"] = url  # for the processes of the runs
            yield url
        finally:
            os.environ.pop("PREFECT_API_URL", None)
            _end(server)


@contextmanager
def _one_start_at_a_time() -> Iterator[None]:
    """Let one schedule at a time look for a port and start a server: two at once could choose the same free port."""
    with (Path(tempfile.gettempdir()) / f"rubricator-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _started_server(port: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    prefect = shutil.which("prefect", path=Path(sys.executable).parent) or "prefect"
    command = [prefect, *f"server start --host 127.0.0.1 --port {port}".split()]
    return subprocess.Popen(with_parent(command), stdout=log, stderr=subprocess.STDOUT)


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    server.wait()


def _wait_for(health: str, server: "subprocess.Popen[bytes]", home: Home) -> None:
    deadline = time.monotonic() + SERVER_STARTS_IN
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(health, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise ScheduleError(f"the Prefect server did not start; see {home.path / 'prefect-server.log'}")


def _free_port(usual: int = 4200) -> int:
    for port in (usual, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ScheduleError("no free port on this machine")
