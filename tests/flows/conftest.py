"""What several tests of flows need: small models in folders, trained once."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from rubricator.models.training import train_model
from rubricator.nlp.contexts import Context, neighbours
from rubricator.nlp.examples import Examples

OURS = ("RUBRICATOR_HOME", "MLFLOW_TRACKING_URI", "PREFECT_HOME", "PREFECT_API_URL", "MLFLOW_EXPERIMENT_NAME")
PLANS = ["Follow up in two weeks.", "Start aspirin 81 mg daily.", "Will repeat the chest film."]
OTHERS = ["Had a cough for three days.", "Lungs are clear.", "Denies fever and chills."]
CODED = [
    ("Essential hypertension, on lisinopril.", ["I10"]),
    ("Type 2 diabetes, on metformin.", ["E11.9"]),
    ("Hypertension and type 2 diabetes.", ["E11.9", "I10"]),
    ("Low back pain after lifting.", ["M54.5"]),  # not billable since October 2021
    ("Well child visit, no complaints.", []),
]


def examples(texts: list[str], labels: list[list[str]], *, contexts: list[Context] | None) -> Examples:
    names = sorted({label for found in labels for label in found})
    return Examples(
        ids=[f"example{row}" for row in range(len(texts))],
        groups=np.arange(len(texts)) // 2,
        texts=texts,
        contexts=contexts,
        targets=csr_matrix([[int(name in found) for name in names] for found in labels]),
        labels=names,
        counts={},
    )


@contextmanager
def _without_home() -> Iterator[None]:
    """No home is set in the environment, and what is set within is gone afterwards."""
    before, mask = dict(os.environ), os.umask(0o022)
    for name in OURS:
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)
    os.umask(mask)


@pytest.fixture
def no_home() -> Iterator[None]:
    with _without_home():
        yield


@pytest.fixture(scope="module")
def no_home_in_module() -> Iterator[None]:
    with _without_home():
        yield


@pytest.fixture(scope="session")
def plan_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that tells a few plan sentences from a few others."""
    texts = [(PLANS if row % 3 == 0 else OTHERS)[row % 7 % 3] for row in range(90)]
    labels = [["plan"] if row % 3 == 0 else [] for row in range(90)]
    folder = tmp_path_factory.mktemp("models") / "plan-model"
    data = examples(texts, labels, contexts=neighbours(texts))
    train_model(data, task="plan", classifier="svm").save(folder)
    return folder


@pytest.fixture(scope="session")
def code_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of three ICD-10-CM codes, one of them not billable."""
    texts = [f"{CODED[row % 5][0]} Seen on day {row}." for row in range(100)]
    labels = [CODED[row % 5][1] for row in range(100)]
    folder = tmp_path_factory.mktemp("models") / "code-model"
    train_model(examples(texts, labels, contexts=None), task="codes", classifier="svm").save(folder)
    return folder


@pytest.fixture(scope="session")
def files_with() -> Callable[..., list[Path]]:
    """Finds the files under folders that hold a word. One that goes away meanwhile, as those of a database do, is
    passed over."""

    def found(word: str, *folders: Path) -> list[Path]:
        done = subprocess.run(["grep", "-rlsaF", word, *folders], check=False, capture_output=True, text=True)
        return [Path(line) for line in done.stdout.splitlines()]

    return found
