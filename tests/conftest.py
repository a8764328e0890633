"""A home whose databases are made, once for all tests; and which files are begun first where two run at a time."""

import fcntl
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

NETWORKS = re.compile(
    r"^(?:from|import) (?:torch|tokenizers|transformers|tiny_networks|rubricator\.models\.(?:neural|ablations))\b",
    re.M,
)
# Files of tests that train networks, start servers, run whole commands or take seconds: `make quick` leaves them out.
SLOW = {
    "tests": "hidden_text",
    "flows": "benchmark check cli demo ensemble extract home job_faults moved_home predict prefect_adapter promote report run schedule shards train train_neural",
    "models": "ablations asserted_codes bundle bundles calibration codewise_attention ensemble evaluation losses mentions names_left_out neural neural_settings "
    "plots processes registry stacked svm tampering trainer_adapter training transformer",
    "nlp": "headings rewritings",
}
# Coverage makes work in pure Python take twice its time: what these files run is covered by others.
NOT_COVERED = {"models": "calibration evaluation", "nlp": "field_cases headings languages notes rewritings"}
# In this order. The second needs no home: making the first one takes half a minute.
LONGEST = "docs neural demo benchmark train shards headings extract registry predict schedule"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Slow files are not even imported where none is wanted; nor is what imports networks, where their libraries are not."""
    if collection_path.suffix != ".py":
        return None
    if config.option.markexpr == "not slow" and is_one_of(SLOW, collection_path):
        return True
    if find_spec("torch"):
        return None
    return bool(NETWORKS.search(collection_path.read_text(encoding="utf-8"))) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files are marked; those that take longest come first, so that none of them is what a last process is left with."""
    for item in items:
        if is_one_of(SLOW, item.path):
            item.add_marker(pytest.mark.slow)
        if is_one_of(NOT_COVERED, item.path):
            item.add_marker(pytest.mark.no_cover)
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST.split())}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def is_one_of(files: dict[str, str], path: Path) -> bool:
    return path.stem.removeprefix("test_") in files.get(path.parent.name, "").split()


@pytest.fixture(scope="session")
def takes_even_time() -> Callable[[Callable[[str], object], str], bool]:
    """Whether work on a text takes time that grows with its length."""

    def is_even(work: Callable[[str], object], text: str) -> bool:
        """Four times the text takes four times as long, and not sixteen times; of too little time nothing is said."""

        def seconds(size: int) -> float:
            begun = time.process_time()
            work(text[:size])
            return time.process_time() - begun

        return seconds(len(text)) < 8 * max(seconds(len(text) // 4), 0.02)

    return lambda work, text: any(is_even(work, text) for _ in range(3))  # a busy machine may be slow once


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Initialised, for `home` to copy: making the databases takes half a minute. All processes of a run share it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    path, done = root / "made-home", root / "made-home.done"
    script = "import sys; from rubricator.flows.home import open_home; home = open_home(sys.argv[1]); "
    script += "home.init_mlflow(); home.init_prefect()"
    own = ("PREFECT", "MLFLOW", "RUBRICATOR")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    with (root / "made-home.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            subprocess.run([sys.executable, "-c", script, path], check=True, env=environment)
            done.touch()
    return path


@pytest.fixture(scope="module")
def module_home(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of the file's own, initialised."""
    return copied(made_home, tmp_path_factory.mktemp("module") / "home")


@pytest.fixture
def home(made_home: Path, tmp_path: Path) -> Path:
    """A home of the test's own, initialised."""
    return copied(made_home, tmp_path / "home")


def copied(home: Path, to: Path) -> Path:
    """The copy keeps its artifacts in itself."""
    shutil.copytree(home, to)
    with sqlite3.connect(to / "mlflow.db") as database:
        where = str(home / "artifacts"), str(to / "artifacts")
        database.execute("UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)", where)
    return to


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of an empty database of a server of its own, which is gone afterwards."""
    initdb = shutil.which("initdb") or next(Path("/usr/lib/postgresql").glob("*/bin/initdb"), None)
    if initdb is None:
        pytest.skip("no PostgreSQL server here (apt install postgresql)")
    programs = Path(initdb).resolve().parent
    data = Path(tempfile.mkdtemp(dir="/tmp", prefix="postgresql-"))  # a socket's path: at most 107 characters
    # the server refuses to run as root
    as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(data, "nobody", "nogroup")

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs / program), *arguments]
        subprocess.run(command, cwd="/", check=True, capture_output=True, timeout=60)

    try:
        run("initdb", "-D", f"{data}/db", "-U", "rubricator", "--auth=trust", "--no-sync")
        run("pg_ctl", "-D", f"{data}/db", "-w", "-o", f"-k {data} -h '' -F", "-l", f"{data}/log", "start")
        yield f"postgresql+psycopg2://rubricator@/postgres?host={data}"
        run("pg_ctl", "-D", f"{data}/db", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(data)
