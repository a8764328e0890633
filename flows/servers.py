"""Whether the servers that the environment names answer: asked before Prefect or MLflow try it for minutes."""

import http.client
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from rubricator.nlp.errors import RubricatorError

ANSWERS_IN = 8.0  # seconds
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


class ServerError(RubricatorError):
    """A server that an environment variable names does not answer, or is another one."""


def check_server(variable: str, url: str) -> None:
    """Raise ServerError within ANSWERS_IN seconds if the server of this URL does not answer.

    variable: what named the URL, for the message. A web server is asked for its health, without credentials: it may
    refuse that, but has to be neither broken nor a web site. Of a database only the port is tried. A URL without a host
    is a file, and passes.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    if not parts.hostname or scheme not in _PORTS:
        return
    place = f"{parts.scheme}://{_address(parts)}{parts.path}"
    problem = _within(ANSWERS_IN, lambda: _problem(parts, _PORTS[scheme]))
    if problem:
        raise ServerError(f"{variable} names {place}, but {problem}; start that server, or unset {variable}")


def _within(seconds: float, ask: Callable[[], str]) -> str:
    """The answer of `ask`, which may hang: a look-up of a name has no time limit of its own."""
    answers = [f"nothing answers there within {seconds:.0f} s"]

    def run() -> None:
        answers.append(ask())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[-1]


def _problem(parts: SplitResult, port: int) -> str:
    """What is wrong with the server; empty if nothing is."""
    try:
        if not parts.scheme.startswith("http"):
            socket.create_connection((parts.hostname or "", parts.port or port), ANSWERS_IN).close()
            return ""
        status, body = _health(parts)
    except http.client.HTTPException:
        return "what answers there is no web server"
    except ValueError:
        return "its port is no number"
    except OSError as error:
        cause = getattr(error, "reason", error)
        return f"it cannot be reached ({getattr(cause, 'strerror', None) or type(cause).__name__})"
    if status >= 500:
        return f"it answers with status {status}"
    if status not in (301, 302, 303, 307, 308, 401, 403) and body.lstrip().startswith(b"<"):
        return "a web page answers there and not that server"
    return ""


def _health(parts: SplitResult) -> tuple[int, bytes]:
    """Status and body of the page `health`, which the servers of Prefect and MLflow have. Proxies are used."""
    # nothing secret is sent or believed here: whether the certificate is trusted, the client decides
    https = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    url = f"{parts.scheme}://{_address(parts)}{parts.path.rstrip('/')}/health"
    with urllib.request.build_opener(https, _AnyStatus).open(url, timeout=ANSWERS_IN) as answer:
        return answer.status, answer.read(1000)


def _address(parts: SplitResult) -> str:
    """Host and port, without credentials."""
    return parts.netloc.rpartition("@")[2]


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Gives answers of any status as they are, and follows no redirection."""

    def http_response(self, request: Any, response: Any) -> Any:  # noqa: ARG002
        return response

    https_response = http_response
