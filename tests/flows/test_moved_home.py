"""A home that was moved, copied, restored or damaged: models load from where it lies now, or one line says what to do."""

import shutil
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from rubricator.flows import store
from rubricator.flows.home import HomeError, open_home
from rubricator.models.registry import registry
from rubricator.models.registry.errors import RegistryError, StoreError
from rubricator.models.registry.store_errors import store_errors
from rubricator.models.scores.out_of_fold import OutOfFoldTable
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.examples import Examples

TEXTS = ["start aspirin", "walks daily", "lungs clear"] * 20
LABELS = ["A01", "B02", "C03"]
TARGETS = csr_matrix(np.tile(np.eye(3, dtype=np.int8), (20, 1)))
OPEN_AND_LOAD = """
import sys
from rubricator.flows.home import open_home
from rubricator.models.registry import registry
open_home(sys.argv[1]).init_mlflow()
print(registry.load(registry.resolve("icd-codes")).labels, registry.resolve("icd-codes").source)
"""


pytestmark = pytest.mark.usefixtures("no_home_in_module")


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    examples = Examples(
        ids=[f"n{i}" for i in range(60)],
        groups=np.arange(60),
        texts=TEXTS,
        contexts=None,
        targets=TARGETS,
        labels=LABELS,
        counts={},
    )
    return train_model(examples, task="codes", classifier="svm")


@pytest.fixture(scope="module")
def original(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a champion. Tests copy it, and leave it as it is."""
    home = tmp_path_factory.mktemp("original") / "home"
    register(home, model)
    registry.set_alias("icd-codes", "champion", "1")
    return home


def register(home: Path, model: TrainedModel) -> None:
    open_home(home).init_mlflow()
    held_out = OutOfFoldTable(
        LABELS, [f"n{i}" for i in range(60)], np.arange(60), TARGETS.copy(), TARGETS.copy()
    )
    with mlflow.start_run():
        registry.log_and_register(model, name="icd-codes", held_out=held_out)


def check(home: Path) -> None:
    """All that is in the home is read from it: the model, its held-out predictions, and MLflow's own way to it."""
    open_home(home).init_mlflow()
    champion = registry.resolve("icd-codes")
    assert registry.load(champion).labels == LABELS
    assert registry.out_of_fold_of(champion).labels == LABELS
    served = mlflow.pyfunc.load_model("models:/icd-codes@champion")
    assert len(served.predict(pd.DataFrame({"text": TEXTS[:2]}))) == 2
    places = [champion.source, mlflow.MlflowClient().get_run(champion.run_id or "").info.artifact_uri]
    assert all(Path(place).is_relative_to(home.resolve()) for place in places)


def names_in(database: Path, text: str) -> list[str]:
    """The columns with this text in their values."""
    with sqlite3.connect(database) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [
            (table, row[1]) for table in tables for row in opened.execute(f"PRAGMA table_info({table})")
        ]
        return [
            f"{table}.{column}"
            for table, column in columns
            if opened.execute(f"SELECT 1 FROM {table} WHERE instr({column}, ?)", (text,)).fetchall()
        ]


@pytest.mark.parametrize("name", ["b", "a home, 100% öffentlich", "x#y", "it's"])
def test_a_copy_uses_nothing_of_the_original(
    original: Path, model: TrainedModel, tmp_path: Path, name: str
) -> None:
    first, home = shutil.copytree(original, tmp_path / "first"), tmp_path / name
    check(first)
    shutil.copytree(first, home)
    shutil.rmtree(first / "artifacts")
    check(home)
    register(home, model)
    assert registry.load(registry.resolve("icd-codes/2")).labels == LABELS
    assert not (first / "artifacts").exists(), "training writes into the copy"
    assert names_in(home / "mlflow.db", f"{first}/") == []
    check(shutil.move(home, tmp_path / "again"))


def test_a_home_restored_from_tar_is_read_by_any_path(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "home.tar", "w") as tar:
        tar.add(original, "restored")
    with tarfile.open(tmp_path / "home.tar") as tar:
        tar.extractall(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("elsewhere/restored")
    for way in ("elsewhere/restored", "./link", str(tmp_path / "link")):
        check(Path(way))


def test_a_home_of_an_older_version_is_mended_too(original: Path, tmp_path: Path) -> None:
    home = shutil.copytree(original, tmp_path / "home")
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("DELETE FROM experiment_tags")
    check(home)
    check(shutil.copytree(home, tmp_path / "copy"))


def test_experiments_elsewhere_stay_where_they_are(original: Path, tmp_path: Path) -> None:
    home = shutil.copytree(original, tmp_path / "home")
    with sqlite3.connect(home / "mlflow.db") as database:
        for number, place in enumerate(
            ("/data/artifacts", "s3://bucket/artifacts", f"{original}/artifacts-2"), 50
        ):
            values = (number, f"own{number}", place)
            database.execute(
                "INSERT INTO experiments (experiment_id, name, artifact_location) VALUES (?, ?, ?)", values
            )
        query = "SELECT experiment_id, artifact_location FROM experiments WHERE experiment_id >= 50"
        before = database.execute(query).fetchall()
    check(home)
    with sqlite3.connect(home / "mlflow.db") as database:
        assert database.execute(query).fetchall() == before


def test_two_processes_may_open_a_copy_at_once(original: Path, tmp_path: Path) -> None:
    home = shutil.copytree(original, tmp_path / "copy")
    command = [sys.executable, "-c", OPEN_AND_LOAD, home]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        out, _ = process.communicate()
        assert out.startswith(f"{LABELS} {home}/artifacts/"), out


@pytest.mark.parametrize("name", ["a?b", "a%41b"])
def test_a_path_that_mlflow_cannot_use_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HomeError, match=r"MLflow cannot use a path with a '\?'.*name another one"):
        open_home(tmp_path / name)
    assert not list(tmp_path.iterdir())


def write(content: bytes) -> "object":
    return lambda home: (home / "mlflow.db").write_bytes(content)


def damage(home: Path) -> None:
    file = home / "mlflow.db"
    file.write_bytes(file.read_bytes()[:8192] + b"\x55" * (file.stat().st_size - 8192))


def older(home: Path) -> None:
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'bd07f7e963c5'")


def newer(home: Path) -> None:
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        database.execute("ALTER TABLE runs RENAME TO runs_of_later")


def without_artifacts(home: Path) -> None:
    shutil.rmtree(home / "artifacts")


BROKEN = {
    "no database": (write(b"this is no database\n" * 100), r"no SQLite database: restore it from a backup"),
    "an empty file": (write(b""), r"is empty: restore it from a backup"),
    "pages overwritten": (damage, r"the file is damaged: restore it from a backup"),
    "an older schema": (older, r"another version of MLflow.*mlflow db upgrade"),
    "a newer schema": (newer, r"another version of MLflow.*install the version that wrote it"),
    "no artifacts": (without_artifacts, r"models:/icd-codes/1: its folder .* is missing; restore it"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_store_that_cannot_be_used_says_what_and_where(original: Path, tmp_path: Path, how: str) -> None:
    break_it, message = BROKEN[how]
    home = shutil.copytree(original, tmp_path / "home")
    break_it(home)  # type: ignore[operator]
    with pytest.raises(RegistryError, match=message) as raised:
        open_home(home).init_mlflow()
        registry.load(registry.resolve("icd-codes"))
    assert str(home) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_locked_store_is_waited_for_and_then_named(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_SECONDS", 0.2)
    home = shutil.copytree(original, tmp_path / "home")
    with sqlite3.connect(home / "mlflow.db", isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"home/mlflow\.db: another process holds a lock on it: wait"):
            open_home(home).init_mlflow()
        database.execute("ROLLBACK")
    check(home)


def test_a_full_disk_is_named() -> None:
    message = "No space left on device; make room, and run the same command again"
    with pytest.raises(StoreError, match=message), store_errors(), Path("/dev/full").open("w") as file:
        file.write("x")
