"""The Prefect server of a schedule: the one that PREFECT_API_URL names, or one of its own on this machine."""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rubricator.flows.home import Home
from rubricator.flows.schedule.config import ScheduleError
from rubricator.flows.servers import check_server
from rubricator.models.processes import with_parent

SERVER_STARTS_IN = 180  # seconds: a first start makes the database
ENDS_IN = 10


@contextmanager
def server_for(home: Home) -> Iterator[str]:
    """The URL of the server in PREFECT_API_URL. Else start one for this machine only, and end it at the end."""
    if url := os.environ.get("PREFECT_API_URL"):
        check_server("PREFECT_API_URL", url)
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
    # a session of its own: Ctrl-C in a terminal would end it before the runs could report to it
    return subprocess.Popen(
        with_parent(command), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(ENDS_IN)
    except subprocess.TimeoutExpired:
        server.kill()
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
