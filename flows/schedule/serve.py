"""The command: check the jobs of a schedule, then serve them until this process is stopped; or run one job now."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rubricator.flows import prefect_adapter
from rubricator.flows.home import Home, open_home
from rubricator.flows.jobs.files import JobIsRunningError
from rubricator.flows.parameters import options
from rubricator.flows.parameters.flat import check
from rubricator.flows.parameters.options import Name, PathName
from rubricator.flows.run import guarded, run
from rubricator.flows.runs.deployed import SERVED_BY, logged
from rubricator.flows.runs.locks import end_dead_runs, held
from rubricator.flows.runs.log import report, set_up_log
from rubricator.flows.schedule.config import STEPS, Job, Schedule, ScheduleError, read_schedule
from rubricator.flows.schedule.server import server_for
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.tasks import task_named

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


def schedule(
    *,
    config: Annotated[PathName, Field(description="TOML file: what runs when.")] = "schedule.toml",
    once: Annotated[
        Name | None, Field(description="Run the job of this name now, and end with its exit status.")
    ] = None,
    log_json: Annotated[bool, Field(description="Write the log as JSON, one object a line.")] = False,
    home: options.Home = None,
) -> Any:
    """Serve the jobs of a TOML file until this process is stopped, or run one of them now.

    Where PREFECT_API_URL names no server, one is started on this machine, for this process only, with its database
    in the home. Gives the result of the job that is run now. Raises ScheduleError, ServerError, and what that job
    raises.
    """
    opened = open_home(home)  # before Prefect is imported: else it makes a folder in the user's own
    jobs = read_schedule(Path(config))
    set_up_log(as_json=log_json)
    if once is not None:
        return _run_now(once, jobs, opened)
    opened.init_mlflow()
    _check(jobs)
    is_own = not os.environ.get("PREFECT_API_URL")
    with _ends_when_told(), _alone(jobs, opened), server_for(opened) as url, prefect_adapter.server_at(url):
        _serve(jobs, opened, url, only_here=is_own)
    return None


def deployments(schedule: Schedule, home: Home) -> "list[RunnerDeployment]":
    """A Prefect deployment for each job."""
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    from rubricator.flows import deployments as flows

    return [
        getattr(flows, f"{job.step}_flow").to_deployment(
            job.name,
            schedule=Cron(job.cron, timezone=schedule.timezone),
            parameters={**job.parameters, "home": str(home.path)},
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for job in schedule.jobs
    ]


def _serve(jobs: Schedule, home: Home, url: str, *, only_here: bool) -> None:
    os.environ[SERVED_BY] = str(os.getpid())
    # the console need not show exceptions: the log has a line for each, and the server keeps its own
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    page = url.removesuffix("/api")
    message = f"{len(jobs.jobs)} jobs are served; see {page}. Ctrl-C ends it."
    try:
        prefect_adapter.serve(
            deployments(jobs, home),
            # a run that finds the one before still on needs a process too, for a moment
            limit=len(jobs.jobs) + 1,
            on_deployed=partial(_begin, home, jobs, message, only_here=only_here),
        )
    finally:
        os.environ.pop(SERVED_BY, None)


def _begin(home: Home, jobs: Schedule, message: str, deployed: list[str], *, only_here: bool) -> None:
    """Tidy up what a process before left. deployed: the ids of the deployments."""
    for job, deployment in zip(jobs.jobs, deployed, strict=True):
        end_dead_runs(home, deployment, only_here=only_here)
        prefect_adapter.cancel_missed_runs(deployment)
        due = prefect_adapter.next_due(job.cron, jobs.timezone)
        report("waiting", job=job.name, next_run=due and due.isoformat(timespec="minutes"))
    report("serving", message=message)


def _run_now(name: str, jobs: Schedule, home: Home) -> Any:
    found = {job.name: job for job in jobs.jobs}
    if name not in found:
        raise ScheduleError(f"there is no job {name!r}; the jobs are {', '.join(found)}")
    job = found[name]
    return logged(
        name,
        partial(run, STEPS[job.step], home=str(home.path), **job.parameters),
        partial(prefect_adapter.next_due, job.cron, jobs.timezone),
    )


def _check(jobs: Schedule) -> None:
    """Refuse a job that cannot succeed. Its notes may come later; its model may come from another job."""
    made = {_model_made_by(job) for job in jobs.jobs if job.step == "train"}
    for job in jobs.jobs:
        base = (
            str(job.parameters.get("model", "")).removeprefix("models:/").partition("@")[0].partition("/")[0]
        )
        later = {"notes", "model"} if base in made else {"notes"}
        try:
            guarded(check)(STEPS[job.step], job.parameters, later=later)
        except JobIsRunningError:  # by a person, or a run that is about to end
            continue
        except RubricatorError as error:
            problem = str(error)
        else:
            continue
        raise ScheduleError(f"the job {job.name!r} cannot run: {problem}")


def _model_made_by(job: Job) -> str:
    return str(job.parameters.get("name") or task_named(job.parameters["task"]).model_name)


@contextmanager
def _alone(jobs: Schedule, home: Home) -> Iterator[None]:
    """Only one schedule of a home serves a job: so it may end the runs that another one left."""
    with ExitStack() as locks:
        for job in jobs.jobs:
            if not locks.enter_context(held(home.path / "runs" / f"{job.step}-{job.name}.schedule")):
                raise ScheduleError(f"another process serves the job {job.name!r} of the home {home.path}")
        yield


@contextmanager
def _ends_when_told() -> Iterator[None]:
    """SIGTERM and Ctrl-C end this process in order, with status 0, also while it starts."""

    def end(*_: object) -> None:
        sys.exit(0)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
