"""A server that does not answer, or is another one, is one error within seconds: real sockets, silent and talking."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rubricator.flows import servers
from rubricator.flows.servers import ServerError, check_server

ANSWERS = {
    "broken": (500, b"oops"),
    "page": (200, b"\n<!doctype html><title>Welcome</title>"),
    "no-such-page": (404, b"<html>not here</html>"),
    "prefect": (200, b"true"),
    "mlflow": (200, b"OK"),
    "login": (401, b"<html>log in</html>"),
    "moved": (302, b"<html>elsewhere</html>"),
}


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path.split("/")[1]]
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """Host and port of a web server with all answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.mark.parametrize("answer", ["prefect", "mlflow", "login", "moved"])
def test_a_server_that_answers_is_taken(web: str, answer: str) -> None:
    check_server("PREFECT_API_URL", f"http://me:secret@{web}/{answer}")


@pytest.mark.parametrize(
    "url", ["", "sqlite:////home/me/mlflow.db", "/folder", "file:///folder", "databricks"]
)
def test_what_is_no_server_is_not_asked(url: str) -> None:
    check_server("MLFLOW_TRACKING_URI", url)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("broken", "it answers with status 500"),
        ("page", "a web page answers there"),
        ("no-such-page", "a web page answers there"),
    ],
)
def test_another_server_is_an_error(web: str, answer: str, problem: str) -> None:
    with pytest.raises(
        ServerError, match=f"^PREFECT_API_URL names http://{re.escape(web)}/{answer}, but {problem}"
    ):
        check_server("PREFECT_API_URL", f"http://me:secret@{web}/{answer}")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://me:secret@127.0.0.1:1/api", "it cannot be reached"),
        ("https://me:secret@127.0.0.1:1/api", "it cannot be reached"),
        ("http://[::1]:1/api", "it cannot be reached"),
        ("postgresql+asyncpg://me:secret@127.0.0.1:1/mlflow", "it cannot be reached"),
        ("http://me:secret@127.0.0.1:port/api", ""),
    ],
)
def test_a_port_that_is_closed_is_an_error_without_credentials(url: str, problem: str) -> None:
    with pytest.raises(ServerError, match=f"MLFLOW_TRACKING_URI names .* but .*{problem}") as caught:
        check_server("MLFLOW_TRACKING_URI", url)
    assert "secret" not in str(caught.value)


def test_a_server_that_says_nothing_is_an_error_in_time(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "ANSWERS_IN", 0.5)
    began = time.monotonic()
    with pytest.raises(ServerError, match=r"nothing answers there|cannot be reached"):
        check_server("PREFECT_API_URL", f"http://127.0.0.1:{listening.getsockname()[1]}/api")
    assert time.monotonic() - began < 5


def test_a_server_of_another_kind_is_an_error(listening: socket.socket) -> None:
    def talk() -> None:
        with listening.accept()[0] as connection:
            connection.sendall(b"SSH-2.0-server\r\n")

    threading.Thread(target=talk, daemon=True).start()
    with pytest.raises(ServerError, match="no web server"):
        check_server("PREFECT_API_URL", f"http://127.0.0.1:{listening.getsockname()[1]}/api")
