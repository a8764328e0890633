"""The state folder: private, initialised once, also by several processes at a time and on PostgreSQL."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rubricator.flows.home import HomeError, open_home

OPEN_AND_LIST = """
import sys
from rubricator.flows.home import HomeError, open_home
open_home(sys.argv[1]).init_mlflow()
import mlflow
print([e.artifact_location for e in mlflow.MlflowClient().search_experiments() if e.name == "rubricator"])
"""


pytestmark = pytest.mark.usefixtures("no_home")


def test_the_folder_and_new_files_are_private(tmp_path: Path) -> None:
    home = open_home(tmp_path / "deep" / "home")
    (home.path / "new").touch()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((home.path / "new").stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_used_is_an_error_that_says_how_to_name_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    mend = "name another one, also by RUBRICATOR_HOME"
    for path, why in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "home", "Not a directory")):
        with pytest.raises(HomeError) as raised:
            open_home(path)
        assert str(raised.value) == f"{path} cannot be the state folder ({why}); {mend}"
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(HomeError, match="Permission denied"):
        open_home(tmp_path)


def test_nothing_is_sent_home_and_no_pickle_is_read(tmp_path: Path) -> None:
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true"
    open_home(tmp_path)
    expected = {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_SCHEMA_DETAILS": "true",
    }
    assert {name: os.environ[name] for name in expected} == expected


def test_it_is_found_by_argument_then_environment_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_home().path == tmp_path / ".rubricator"
    os.environ["RUBRICATOR_HOME"] = str(tmp_path / "b")
    assert open_home().path == tmp_path / "b"
    assert open_home("c").path == tmp_path / "c"
    assert os.environ["RUBRICATOR_HOME"] == str(tmp_path / "c"), "child processes use the same"


def test_a_second_home_does_not_keep_the_databases_of_the_first(tmp_path: Path) -> None:
    open_home(tmp_path / "a")
    open_home(tmp_path / "b")
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/b/mlflow.db"
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "b" / "prefect")


def test_servers_of_the_user_are_kept(tmp_path: Path) -> None:
    servers = {"MLFLOW_TRACKING_URI": "http://mlflow:5000", "PREFECT_API_URL": "http://prefect:4200/api"}
    os.environ.update(servers)
    for folder in ("a", "b"):
        open_home(tmp_path / folder)
        assert {name: os.environ[name] for name in servers} == servers
        assert "PREFECT_HOME" not in os.environ, "the login to a server is in the user's own Prefect profile"


def test_opening_imports_neither_mlflow_nor_prefect(tmp_path: Path) -> None:
    script = "import sys\nfrom rubricator.flows.home import HomeError, open_home\nopen_home(sys.argv[1])\n"
    script += "print({'mlflow', 'prefect', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_several_processes_may_initialise_at_once(tmp_path: Path) -> None:
    home = tmp_path / "a home, 100% öffentlich"

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", OPEN_AND_LIST, home], stdout=subprocess.PIPE, text=True
        )

    expected = f"[{str(home / 'artifacts')!r}]\n"
    assert [process.communicate()[0] for process in (start(), start())] == [expected] * 2
    (home / "mlflow.db").unlink()
    assert start().communicate()[0] == expected, "a database that was deleted is made again"


def test_initialising_again_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = open_home(tmp_path)
    home.init_mlflow()
    monkeypatch.setattr("mlflow.MlflowClient", pytest.fail)
    home.init_mlflow()


def test_mlflow_may_live_in_postgresql(tmp_path: Path, postgresql: str) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": postgresql}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", OPEN_AND_LIST, tmp_path],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"[{str(tmp_path / 'artifacts')!r}]\n"
    assert not (tmp_path / "mlflow.db").exists()


def test_a_password_of_a_database_is_not_written_down(
    tmp_path: Path, postgresql: str, files_with: Callable[..., list[Path]]
) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = postgresql.replace("rubricator@", "rubricator:s3cret@")
    open_home(tmp_path).init_mlflow()
    assert files_with("s3cret", tmp_path) == []
