"""Where Rubricator keeps its state: one private folder with the databases and the artifacts."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

from rubricator.flows.servers import check_server
from rubricator.nlp.errors import RubricatorError

EXPERIMENT = "rubricator"

# Nothing leaves the machine, nothing is unpickled, no error quotes a row. The user cannot change this.
_ALWAYS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_SCHEMA_DETAILS": "true",
}
_UNLESS_SET = {
    "MLFLOW_EXPERIMENT_NAME": EXPERIMENT,
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # a first start on a slow disk
    "GIT_PYTHON_REFRESH": "quiet",
}


class HomeError(RubricatorError):
    """A state folder that cannot be used."""


def open_home(path: Path | str | None = None) -> "Home":
    """Create the state folder, and make MLflow and Prefect use it, in this process and its children.

    path: the folder; None means the environment's RUBRICATOR_HOME, else ./.rubricator. A server that
    MLFLOW_TRACKING_URI or PREFECT_API_URL names is used instead of the embedded database. Takes milliseconds
    and may be called again. New files of this process are readable by their owner only (umask 077).
    Raises HomeError where the folder cannot be created or written into.
    """
    os.umask(0o077)
    before = os.environ.get("RUBRICATOR_HOME")
    home = Home(Path(path or before or ".rubricator").expanduser().resolve())
    if problem := _problem(home.path):
        raise HomeError(
            f"{home.path} cannot be the state folder ({problem}); name another one, also by RUBRICATOR_HOME"
        )
    os.environ.update(_ALWAYS)
    for name, value in _UNLESS_SET.items():
        os.environ.setdefault(name, value)
    # a value that an earlier home (of this process or its parent) set is not a choice of the user: it is replaced
    inherited = Home(Path(before)).variables() if before else {}
    for name, value in home.variables().items():
        if os.environ.get(name, inherited.get(name)) == inherited.get(name):
            os.environ[name] = value
    os.environ["RUBRICATOR_HOME"] = str(home.path)
    return home


def _problem(folder: Path) -> str | None:
    """Make the folder; why it cannot hold the state, None if it can."""
    if "?" in str(folder) or unquote(str(folder)) != str(folder):
        return "MLflow cannot use a path with a '?', or with a '%' before two digits or letters from a to f"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror
    return None if os.access(folder, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)


@dataclass(frozen=True, slots=True)
class Home:
    """The state folder; an absolute path."""

    path: Path

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    def variables(self) -> dict[str, str]:
        """The environment variables of the embedded databases; none of Prefect if PREFECT_API_URL names a server."""
        own = {"MLFLOW_TRACKING_URI": f"sqlite:///{self.path}/mlflow.db"}
        # with PREFECT_HOME set, Prefect would not find the login to the server in the user's own profile
        if not os.environ.get("PREFECT_API_URL"):
            own |= {"PREFECT_HOME": str(self.path / "prefect"), "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true"}
        return own

    def init_mlflow(self) -> None:
        """Create MLflow's database and the experiment, once. Call it before anything runs in parallel.

        Artifacts go to this home, or to an MLflow server (http) where one is named. Several machines that share a
        database should therefore use such a server. A home that was moved or copied is mended (`flows.store`). Raises
        StoreError where the store cannot be used.
        """
        from rubricator.flows import store
        from rubricator.models.registry.store_errors import store_errors

        uri = os.environ["MLFLOW_TRACKING_URI"]
        check_server("MLFLOW_TRACKING_URI", uri)
        experiment = os.environ["MLFLOW_EXPERIMENT_NAME"]
        own = self.path / "mlflow.db" if uri == self.variables()["MLFLOW_TRACKING_URI"] else None
        with store_errors(), self._once("mlflow", [version("mlflow"), experiment, uri], own) as first:
            if own and own.exists():
                if (self.path / "mlflow.ready").exists():
                    store.check_not_empty(own)
                store.mend_database(own, self.artifacts, experiment=EXPERIMENT)
            if first:
                import mlflow

                client = mlflow.MlflowClient(tracking_uri=uri)
                if client.get_experiment_by_name(experiment) is None:
                    is_server = uri.startswith("http")
                    place = None if is_server else str(self.artifacts)
                    tags = {} if is_server else {store.IN_HOME: "home"}
                    client.create_experiment(experiment, artifact_location=place, tags=tags)

    def init_prefect(self) -> None:
        """Start the embedded Prefect server, if no server is set. The first start creates its database (about 15 s)."""
        from rubricator.flows import prefect_adapter

        if url := prefect_adapter.server_url():
            check_server("PREFECT_API_URL", url)
            return
        uri = prefect_adapter.database_url()
        own = self.path / "prefect" / "prefect.db" if uri.endswith("/prefect/prefect.db") else None
        with self._once("prefect", [prefect_adapter.version(), uri], own) as first:
            if first:
                prefect_adapter.start_embedded_server()
        prefect_adapter.start_embedded_server()

    @contextmanager
    def _once(self, what: str, state: list[str], file: Path | None) -> Iterator[bool]:
        """Hold the lock of `what`. True: the body has never succeeded with this state, or the file is gone."""
        done = self.path / f"{what}.ready"
        digest = hashlib.sha256("\n".join(state).encode()).hexdigest()  # a URI may hold a password
        with (self.path / f"{what}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            first = not done.exists() or done.read_text() != digest or not (file is None or file.exists())
            yield first
            if first:
                done.write_text(digest)
