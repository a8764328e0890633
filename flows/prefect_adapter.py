"""What Rubricator takes from inside Prefect, in one place: its embedded server, its settings and its context.

Everything else that is used of Prefect is public: flows, tasks, task runners, deployments. SEEN_WITH names the versions
that this file was written beside; `tests/flows/test_prefect_adapter.py` looks whether what it needs is still there.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from rubricator.models.processes import with_parent

SEEN_WITH = ("3.8.8",)


def version() -> str:
    """Of the Prefect that is installed."""
    import prefect

    return str(prefect.__version__)


def server_url() -> str | None:
    """The server that Prefect's settings name, None for the embedded one."""
    from prefect.settings import PREFECT_API_URL

    url: str | None = PREFECT_API_URL.value()
    return url


def database_url() -> str:
    """The database of the embedded server."""
    from prefect.settings import get_current_settings

    database = get_current_settings().server.database.connection_url
    return database.get_secret_value() if database else ""


def start_embedded_server() -> None:
    """Start it, which makes its database or brings it up to date; flows of this process then use it.

    It is a process group of its own: Ctrl-C in a terminal goes to the whole group, and the flow has to tell the server
    that it was interrupted. It ends with this process, also where that is killed. Called again it does nothing.
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
def settings_of_a_run() -> Iterator[None]:
    """The settings of a flow that this process runs itself."""
    from prefect import settings

    # the heartbeat thread costs a second at the end of each flow, and nobody watches this one from outside
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
    """Prefect talks to the server of this URL."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        yield


def in_flow() -> bool:
    """Is this code part of a flow run? Does not import Prefect."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def url_in_flow() -> str:
    """The server that the flow run at hand talks to, also where it is the embedded one."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return str(client.api_url)
