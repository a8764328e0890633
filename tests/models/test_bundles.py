"""Bundles in a process without the project: one of each classifier, and one that version 0.1.0 registered."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.classifier import CLASSIFIERS, classifier_class
from rubricator.models.ensemble.classifier import EnsembleSettings, Member
from rubricator.models.ensemble.training import train_ensemble
from rubricator.models.registry import pyfunc_entry, registry
from rubricator.models.registry.bundle import write_bundle
from rubricator.models.registry.registry import ResolvedModel
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import cross_validate, train_model
from rubricator.nlp.contexts import Context, neighbours
from rubricator.nlp.examples import Examples

DATA = Path(__file__).with_name("data")

ORDERS = ["Continue lisinopril.", "Return in two weeks.", "We will repeat the film.", "Start metformin."]
FINDINGS = ["The lungs are clear.", "The abdomen is soft.", "Blood pressure was high.", "He denies pain."]
CODES = {"J18.9": "lobar pneumonia", "R05.9": "dry cough", "R50.9": "fever since monday"}
SENTENCES = [(ORDERS, FINDINGS)[row // 3 % 2][row % 4] for row in range(60)]
NOTES = [
    f"Seen in room {row % 7}. " + "".join(f"There is {said}. " for said in said_of)
    for row, said_of in enumerate(
        [[said for place, said in enumerate(CODES.values()) if (row + 1) >> place & 1] for row in range(60)]
    )
]
PLAN = Examples(
    ids=[f"note{row // 6}:{row}" for row in range(60)],
    groups=np.arange(60) // 6,
    texts=SENTENCES,
    contexts=neighbours(SENTENCES),
    targets=csr_matrix([[int(sentence in ORDERS)] for sentence in SENTENCES]),
    labels=["plan"],
)
ICD = Examples(
    ids=[f"note{row}" for row in range(60)],
    groups=np.arange(60),
    texts=NOTES,
    targets=csr_matrix([[int(said in note) for said in CODES.values()] for note in NOTES]),
    labels=list(CODES),
)
TRAINING = {"epochs": 1, "batch_size": 16, "folds": 2, "members": 1, "least_steps": 0}
CNN = TRAINING | {"width": 8, "filters": 4, "hidden": 8}
TRANSFORMER = TRAINING | {"dim": 16, "heads": 2, "feed_forward": 32, "layers": 1}


def trained(examples: Examples, classifier: str, **settings: object) -> TrainedModel:
    task = "codes" if examples is ICD else "plan"
    chosen = classifier_class(classifier).default_settings("note" if task == "codes" else "sentence")
    chosen = type(chosen).model_validate(chosen.model_dump() | settings)
    return train_model(examples, task=task, classifier=classifier, settings=chosen)


def ensemble() -> TrainedModel:
    members = []
    for name, cost in (("icd/1", 0.5), ("icd/2", 0.05)):
        model = trained(ICD, "svm", cost=cost, label_features=None)
        found = cross_validate(
            ICD, task="codes", classifier="svm", settings=model.classifier.settings, folds=3
        )
        members.append(Member(name, model, found.held_out(ICD)))
    return train_ensemble(members, ICD, task="codes", settings=EnsembleSettings())


MADE: dict[str, tuple[Examples, Callable[[], TrainedModel]]] = {
    "cnn": (PLAN, lambda: trained(PLAN, "cnn", **CNN)),
    "ensemble": (ICD, ensemble),
    "keywords": (PLAN, lambda: trained(PLAN, "keywords")),
    "majority": (PLAN, lambda: trained(PLAN, "majority")),
    "mentions": (ICD, lambda: trained(ICD, "mentions", inner_folds=2)),
    "stacked": (PLAN, lambda: trained(PLAN, "stacked")),
    "svm": (PLAN, lambda: trained(PLAN, "svm")),
    "transformer": (ICD, lambda: trained(ICD, "transformer", **TRANSFORMER)),
}

# Runs the present loader as MLflow runs it: from its file. What it prints: modules of the project, which none may be.
ELSEWHERE = """
import importlib.metadata, importlib.util, json, pathlib, sys, types
import numpy as np

sys.modules["rubricator"] = None  # importing it fails
installed = importlib.metadata.Distribution.from_name

def from_name(name):
    if name == "rubricator":
        raise importlib.metadata.PackageNotFoundError(name)
    return installed(name)

importlib.metadata.Distribution.from_name = from_name
asked = json.load(sys.stdin)
spec = importlib.util.spec_from_file_location("pyfunc_entry", asked["loader"])
loader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loader)
for name, given in asked["bundles"].items():
    served = loader.RubricatorModel()
    served.load_context(types.SimpleNamespace(artifacts={"bundle": given["folder"]}))
    contexts = [served.context(tuple(before), tuple(after)) for before, after in given["around"]]
    np.save(name + ".npy", served.model.predict_proba(given["texts"], contexts=contexts))
    evidence = served.model.evidence(given["texts"], [[0]] * len(contexts))
    spans = [[[span.start, span.end, span.weight] for span in of_label] for [of_label] in evidence]
    pathlib.Path(name + ".json").write_text(json.dumps(spans))
print([name for name in sys.modules if name.partition(".")[0] == "rubricator" and sys.modules[name]])
"""


def asked_of(name: str) -> Examples:
    """A few of the examples that this classifier was trained on."""
    examples, _ = MADE[name]
    return examples.take(range(12))


def contexts_of(examples: Examples) -> list[Context]:
    return examples.contexts or [Context()] * len(examples)


def evidence_of(model: TrainedModel, texts: list[str]) -> list[list[list[float]]]:
    found = model.evidence(texts, [[0]] * len(texts))
    return [[[span.start, span.end, span.weight] for span in of_label] for [of_label] in found]


@pytest.fixture(scope="module")
def models() -> dict[str, TrainedModel]:
    return {name: make() for name, (_, make) in MADE.items()}


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the model that version 0.1.0 registered (data/make_registered_model.py)."""
    folder = tmp_path_factory.mktemp("registered")
    shutil.unpack_archive(DATA / "plan_svm_0_1_0.tar.xz", folder)
    return folder


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """What it said then."""
    found: dict[str, Any] = json.loads((DATA / "plan_svm_0_1_0.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def elsewhere(
    models: dict[str, TrainedModel],
    registered: Path,
    said: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Probabilities and evidence by each bundle, all loaded in one process that cannot import the project."""
    folder = tmp_path_factory.mktemp("elsewhere")
    bundles = {
        "registered": {
            "folder": str(registered / "artifacts" / "bundle"),
            "texts": said["texts"],
            "around": list(zip(said["before"], said["after"], strict=True)),
        }
    }
    for name, model in models.items():
        examples = asked_of(name)
        write_bundle(model, folder / name)
        around = [(context.before, context.after) for context in contexts_of(examples)]
        bundles[name] = {"folder": str(folder / name), "texts": examples.texts, "around": around}
    asked = {"loader": pyfunc_entry.__file__, "bundles": bundles}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=json.dumps(asked),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    return folder


def test_each_classifier_is_among_them() -> None:
    assert MADE.keys() == CLASSIFIERS.keys()


@pytest.mark.parametrize("name", MADE)
def test_a_bundle_says_the_same_bits_without_the_project(
    models: dict[str, TrainedModel], elsewhere: Path, name: str
) -> None:
    model, examples = models[name], asked_of(name)
    expected = model.predict_proba(examples.texts, contexts=contexts_of(examples))
    assert expected.max() > 0
    np.testing.assert_array_equal(np.load(elsewhere / f"{name}.npy"), expected)
    assert json.loads((elsewhere / f"{name}.json").read_text()) == evidence_of(model, examples.texts)


def test_a_bundle_of_version_0_1_0_says_the_same_bits_without_the_project(
    said: dict[str, Any], elsewhere: Path
) -> None:
    np.testing.assert_array_equal(np.load(elsewhere / "registered.npy"), expected_of(said))
    assert json.loads((elsewhere / "registered.json").read_text()) == said["evidence"]


def test_a_model_that_version_0_1_0_registered_is_loaded_as_it_was(
    registered: Path, said: dict[str, Any]
) -> None:
    resolved = ResolvedModel("plan-svm", "1", None, "models:/plan-svm/1", str(registered), said["sums"])
    model = registry.load(resolved)
    assert type(model).__module__ == "rubricator_678506da87bb.models.classifier"
    contexts = [Context(tuple(b), tuple(a)) for b, a in zip(said["before"], said["after"], strict=True)]
    np.testing.assert_array_equal(model.predict_proba(said["texts"], contexts=contexts), expected_of(said))
    assert evidence_of(model, said["texts"]) == said["evidence"]


def test_mlflow_serves_a_model_that_version_0_1_0_registered(registered: Path, said: dict[str, Any]) -> None:
    table = pd.DataFrame({"text": said["texts"], "before": said["before"], "after": said["after"]})
    found = mlflow.pyfunc.load_model(str(registered)).predict(table, {"min_probability": 0.0})
    assert found["probabilities"].tolist() == said["probabilities"]


def expected_of(said: dict[str, Any]) -> NDArray[np.float32]:
    return np.array(said["probabilities"], np.float32)
