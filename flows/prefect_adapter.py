"""All uses of Prefect's internals, in one place: its embedded server, its settings and its run context.

All other code uses only the public names of Prefect: flows, tasks, task runners, deployments. TESTED_VERSIONS lists the
versions that this file was tried with. `tests/flows/test_prefect_adapter.py` checks that what it needs still exists.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rubricator.models.processes import with_parent

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

TESTED_VERSIONS = ("3.8.8",)


def version() -> str:
    """The version of the installed Prefect."""
    import prefect

    return str(prefect.__version__)


def server_url() -> str | None:
    """The API URL in Prefect's settings; None means the embedded server."""
    from prefect.settings import PREFECT_API_URL

    url: str | None = PREFECT_API_URL.value()
    return url


def database_url() -> str:
    """The connection URL of the embedded server's database."""
    from prefect.settings import get_current_settings

    database = get_current_settings().server.database.connection_url
    return database.get_secret_value() if database else ""


def start_embedded_server() -> None:
    """Start the embedded server for the flows of this process. The server creates its database, or migrates it.

    The server has a process group of its own. Otherwise Ctrl-C in a terminal would also end the server, and the flow
    could not report to it that it was interrupted. The server ends with this process, even if this process is killed.
    A second call does nothing.
    """
    from prefect.server.api import server

    def process(args: list[str], env: dict[str, str]) -> Any:
        return subprocess.Popen(with_parent(args), env=env, process_group=0)

    of_server = vars(server)
    of_server["subprocess"] = SimpleNamespace(Popen=process)
    try:
        server.SubprocessASGIServer().start()
    finally:
        of_server["subprocess"] = subprocess


@contextmanager
def flow_settings() -> Iterator[None]:
    """Prefect's settings for a flow that runs in this process."""
    from prefect import settings

    # the heartbeat thread costs a second at the end of each flow, and no other process waits for its signs of life
    updates: dict[Any, Any] = {settings.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    if not settings.PREFECT_API_URL.value():
        # Prefect may have been imported before open_home set the environment
        updates |= {
            settings.PREFECT_HOME: os.environ["PREFECT_HOME"],
            settings.PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: True,
        }
    with settings.temporary_settings(updates):
        yield


@contextmanager
def server_at(url: str) -> Iterator[None]:
    """Use the Prefect server of this URL."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        yield


def in_flow() -> bool:
    """Whether this code runs in a Prefect flow. Does not import Prefect."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def url_in_flow() -> str:
    """The API URL of the server of the current flow run, also of an embedded server."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return str(client.api_url)


@dataclass(frozen=True)
class Run:
    """A run of a deployment, by the ids of both. job: name of the deployment. started: when, as text."""

    id: str
    deployment: str
    job: str
    started: str = ""


def is_process_of_run() -> bool:
    """Whether a schedule or a worker started this process for a run. Does not import Prefect."""
    return "PREFECT__FLOW_RUN_ID" in os.environ


def current_run() -> Run | None:
    """The run that this process works on; None if it is not one of a deployment."""
    from prefect.runtime import deployment, flow_run

    return Run(str(flow_run.id), str(deployment.id), str(deployment.name)) if deployment.id else None


def run_of(flow_run: Any) -> Run:
    """A run, as Prefect's hooks get it."""
    with _client() as client:
        return _run(flow_run, client.read_deployment(flow_run.deployment_id).name)


def open_runs(deployment: str) -> list[Run]:
    """The other runs of a deployment that were begun and have not ended, for all that the server knows."""
    from prefect.client.schemas.objects import StateType
    from prefect.runtime import flow_run

    states = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    with _client() as client:
        name = client.read_deployment(deployment).name
        found = client.read_flow_runs(**_filters(deployment, states))
        return [_run(each, name) for each in found if str(each.id) != flow_run.id]


def mark_crashed(run: Run, message: str) -> None:
    """End a run that no process works on."""
    from prefect.states import Crashed

    with _client() as client:
        client.set_flow_run_state(run.id, Crashed(message=message), force=True)


def cancel_missed_runs(deployment: str) -> None:
    """Of the runs that were due while nothing served the deployment, keep the last."""
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    with _client() as client:
        waiting = client.read_flow_runs(**_filters(deployment, [StateType.SCHEDULED]))
        now = datetime.now(UTC)
        missed = [run for run in waiting if run.expected_start_time and run.expected_start_time < now]
        for run in missed[:-1]:
            client.set_flow_run_state(run.id, Cancelled(message="missed: nothing served it"), force=True)


def next_run(deployment: str) -> datetime | None:
    """When the deployment is due next; None if it has no cron expression."""
    with _client() as client:
        schedules = [each.schedule for each in client.read_deployment(deployment).schedules if each.active]
    due = [next_due(each.cron, each.timezone or "UTC") for each in schedules if hasattr(each, "cron")]
    return min((time for time in due if time), default=None)


def next_due(cron: str, timezone: str = "UTC") -> datetime | None:
    """The next time of a cron expression; None if it never comes."""
    from prefect._vendor.croniter.croniter import CroniterBadDateError
    from prefect.server.schemas.schedules import CronSchedule

    try:
        times = asyncio.run(CronSchedule(cron=cron, timezone=timezone).get_dates(1))
    except CroniterBadDateError:
        return None
    return times[0] if times else None


def serve(
    deployments: "Sequence[RunnerDeployment]", *, limit: int, on_deployed: Callable[[list[str]], None]
) -> None:
    """Serve deployments until SIGTERM or Ctrl-C, which end their runs in order; the second time, at once.

    limit: how many runs there may be at a time. on_deployed: called with the ids of the deployments before the first
    run. Prefect's own `serve` drops what ends its runs: they stay Running for ever.
    """
    from prefect.runner import Runner
    from prefect.runner import runner as of_runner
    from prefect.runner._starter_engine import EngineCommandStarter

    class OrderlyRunner(Runner):
        def handle_sigterm(self, *_: object) -> None:
            if self.stopping:
                os._exit(1)  # the processes of its runs, and the server, end with it
            if not self.started:
                sys.exit(0)
            self.execute_in_background(self.end)

        async def end(self) -> None:
            await self.astop()
            while True:  # a run may have been on its way to a process of its own
                await asyncio.sleep(0.5)
                await self.cancel_all()

    # a run gets a process group of its own: Ctrl-C in a terminal does not reach it, and its workers end with it
    vars(of_runner)["EngineCommandStarter"] = partial(EngineCommandStarter, isolate_process_group=True)
    runner = OrderlyRunner(pause_on_shutdown=False, limit=limit)
    on_deployed([str(runner.add_deployment(deployment)) for deployment in deployments])
    signal.signal(signal.SIGINT, runner.handle_sigterm)
    try:
        asyncio.run(runner.start())
    finally:
        vars(of_runner)["EngineCommandStarter"] = EngineCommandStarter


def _client() -> Any:
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True)


def _filters(deployment: str, states: list[Any]) -> dict[str, Any]:
    """Arguments of `read_flow_runs`: the runs of a deployment in these states, the first due first."""
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    return {
        "flow_run_filter": FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states))),
        "deployment_filter": DeploymentFilter(id=DeploymentFilterId(any_=[UUID(deployment)])),
        "sort": FlowRunSort.EXPECTED_START_TIME_ASC,
    }


def _run(flow_run: Any, job: str) -> Run:
    began = flow_run.start_time or flow_run.expected_start_time
    started = began.isoformat(timespec="minutes") if began else ""
    return Run(str(flow_run.id), str(flow_run.deployment_id), job, started)
