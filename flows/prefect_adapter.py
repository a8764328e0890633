"""All uses of Prefect's internals, in one place: its embedded server, its settings and its run context.

All other code uses only the public names of Prefect: flows, tasks, task runners, deployments. TESTED_VERSIONS lists the
versions that this file was tried with. `tests/flows/test_prefect_adapter.py` checks that what it needs still exists.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from rubricator.models.processes import with_parent

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
