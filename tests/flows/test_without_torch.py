"""The base install has no PyTorch: what the linear models need works, and a network says what it lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rubricator.flows.demo.synthetic import write_synthetic_notes
from rubricator.models.classifier import NEURAL_LIBRARIES

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
# Python reads a sitecustomize.py of its path at each start, in worker processes too
WITHOUT = f"""
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_spec(cls, name, *where):
    return None if name.partition(".")[0] in {NEURAL_LIBRARIES!r} else find(name, *where)
PathFinder.find_spec = classmethod(find_spec)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("without")
    (folder / "sitecustomize.py").write_text(WITHOUT)
    return {**os.environ, "PYTHONPATH": str(folder)}


def ran(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def rubricator(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return ran(environment, "-m", "rubricator.flows.cli", *arguments)


def test_the_libraries_are_not_there(environment: dict[str, str]) -> None:
    for library in NEURAL_LIBRARIES:
        assert f"No module named '{library}'" in ran(environment, "-c", f"import {library}").stderr


def test_every_test_is_collected(environment: dict[str, str]) -> None:
    collected = ran(
        environment,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        str(ROOT / "tests"),
    )
    assert collected.returncode == 0, collected.stdout[-2000:]
    assert "test_without_torch.py" in collected.stdout and "test_neural.py" not in collected.stdout


def test_the_svm_is_trained_predicts_explains_and_is_evaluated(
    environment: dict[str, str], home: Path, tmp_path: Path
) -> None:
    corpus = write_synthetic_notes(tmp_path, notes=60, new_notes=30)
    notes, new_notes, where = str(corpus.notes), str(corpus.new_notes), ("--home", str(home))
    model = ("--model", "codes/1")
    for command in (
        ("extract", notes, "--out", str(tmp_path / "extracted"), *where, "--no-prefect"),
        (
            "train",
            "codes",
            notes,
            "--name",
            "codes",
            "--folds",
            "2",
            "--bootstrap",
            "20",
            *where,
            "--no-prefect",
        ),
        ("predict", new_notes, *model, "--out", str(tmp_path / "predicted"), *where, "--no-prefect"),
        ("evaluate", "codes/1", new_notes, "--bootstrap", "20", *where),
        (
            "explain",
            new_notes,
            *model,
            "--note-id",
            "synthetic-000060",
            "--out",
            str(tmp_path / "note.html"),
            *where,
        ),
    ):
        done = rubricator(environment, *command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_a_network_names_the_extra_that_it_needs(environment: dict[str, str], tmp_path: Path) -> None:
    corpus = write_synthetic_notes(tmp_path, notes=30, new_notes=0)
    typed = (
        "train",
        "codes",
        str(corpus.notes),
        "--model",
        "cnn",
        "--home",
        str(tmp_path / "home"),
        "--no-prefect",
    )
    for command in (typed, ("demo", "--models", "svm,cnn", "--home", str(tmp_path / "home"), "--no-prefect")):
        done = rubricator(environment, *command)
        assert done.returncode == 2, done.stderr
        assert "needs torch" in done.stderr or "needs tokenizers" in done.stderr
        assert "pip install '.[neural]'" in done.stderr and "make install" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_demo_leaves_networks_out_and_says_so(environment: dict[str, str]) -> None:
    code = "from rubricator.flows.demo.classifiers import choose; print(choose([]))"
    chosen = ran(environment, "-c", code).stdout
    assert "name='svm'" in chosen and "name='cnn'" not in chosen
    assert "'CNN': " in chosen and "'Transformer': " in chosen and "[neural]" in chosen
