"""Models in a real MLflow store on SQLite: registered, found, checked, loaded; text stays out."""

import contextlib
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.registry import bundle, registry
from rubricator.models.registry.errors import RegistryError, UntrustedModelError
from rubricator.models.registry.registry import ResolvedModel
from rubricator.models.scores.out_of_fold import OutOfFoldTable
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.contexts import Context
from rubricator.nlp.examples import Examples

PLANS = ["Follow up in two weeks.", "Start aspirin 81 mg daily.", "Will repeat the chest film."]
OTHERS = ["Had a cough for three days.", "Lungs are clear.", "Denies fever and chills.", "Walks daily."]
TEXTS = [(PLANS if i % 3 == 0 else OTHERS)[i % 7 % 3] for i in range(90)]
TARGETS = csr_matrix([[int(i % 3 == 0)] for i in range(90)])
GROUPS = np.arange(90) // 2
CANARY = "zyxcanaryword"


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    # in both notes of one patient, and so in a context too
    texts = [*TEXTS[:-2], *(f"{text} {CANARY} came to see us." for text in TEXTS[-2:])]
    examples = Examples(
        ids=[f"note{i}:0:9" for i in range(90)],
        groups=GROUPS,
        texts=texts,
        contexts=[Context(), *(Context(before=(text,)) for text in texts[:-1])],
        targets=TARGETS,
        labels=["plan"],
        counts={},
    )
    return train_model(examples, task="plan", classifier="svm")


def probabilities(model: TrainedModel, texts: list[str]) -> NDArray[np.float32]:
    return model.predict_proba(texts, contexts=[Context()] * len(texts))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised, empty database: making one takes seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a store, 100%"
    folder.mkdir()
    shutil.copy(template, folder / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "test")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.MlflowClient().create_experiment("test", artifact_location=str(folder / "artifacts"))
    return folder


def register(model: TrainedModel, name: str = "plan-svm") -> ResolvedModel:
    held_out = OutOfFoldTable(["plan"], [f"note{i}:0:9" for i in range(90)], GROUPS, TARGETS, TARGETS)
    with mlflow.start_run():
        return registry.log_and_register(model, name=name, held_out=held_out)


def files_of(resolved: ResolvedModel) -> Path:
    return Path(resolved.source)


def test_a_registered_model_predicts_as_it_did_before(store: Path, model: TrainedModel) -> None:
    resolved = register(model)
    loaded = registry.load(resolved)
    assert (resolved.name, resolved.version, resolved.uri) == ("plan-svm", "1", "models:/plan-svm/1")
    assert loaded.labels == ["plan"]
    np.testing.assert_array_equal(probabilities(loaded, TEXTS), probabilities(model, TEXTS))
    assert loaded.evidence(PLANS, [[0]] * 3) == model.evidence(PLANS, [[0]] * 3)


def test_every_way_to_name_a_model_finds_it(
    store: Path, model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = register(model), register(model)
    registry.set_alias("plan-svm", "champion", "1")
    assert registry.resolve("plan-svm") == first
    assert registry.resolve("plan-svm@champion") == first
    assert registry.resolve("plan-svm@challenger") == second
    for way in ("plan-svm/2", "models:/plan-svm/2", "models:/plan-svm@challenger", f"runs:/{second.run_id}"):
        assert registry.resolve(way) == second
    [logged] = mlflow.search_logged_models(
        filter_string=f"source_run_id = '{second.run_id}'", output_format="list"
    )
    assert registry.resolve(logged.model_uri) == second

    monkeypatch.chdir(tmp_path)
    for folder in ("plan-svm", "other"):
        model.save(tmp_path / folder)
    assert registry.resolve("plan-svm") == first, "a folder of the same name does not hide a registered model"
    for way in ("./plan-svm", "other", str(tmp_path / "other")):
        found = registry.resolve(way)
        assert (found.run_id, found.name) == (None, Path(way).name)
        np.testing.assert_array_equal(probabilities(registry.load(found), TEXTS), probabilities(model, TEXTS))


def test_a_folder_that_mlflow_gave_is_read(store: Path, model: TrainedModel, tmp_path: Path) -> None:
    resolved = register(model)
    given = tmp_path / "a copy, 100%"
    shutil.copytree(mlflow.artifacts.download_artifacts("models:/plan-svm/1"), given / "fetched" / "model")
    mlflow_folder, saved = given / "fetched" / "model", given / "fetched/model/artifacts/bundle/model"
    ways = [given, f"{given}/", mlflow_folder, f"{mlflow_folder}/", saved.parent, saved]
    ways += [given.as_uri(), f"file://{given}", f"file:{given}", f"file://localhost{mlflow_folder}/"]
    for way in ways:
        found = registry.resolve(str(way))
        assert found.run_id is None
        np.testing.assert_array_equal(probabilities(registry.load(found), TEXTS), probabilities(model, TEXTS))
    assert registry.resolve(f"runs:/{resolved.run_id}/model") == resolved
    shutil.copytree(mlflow_folder, given / "other")
    with pytest.raises(
        RegistryError, match=rf"holds 2 models; name one of them:\n  {given}/fetched/model\n  {given}/other"
    ):
        registry.resolve(str(given))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s3://key:secret@bucket/model", "s3: is no address that models are read from; give NAME"),
        ("mlflow-artifacts:/1/model", "Fetch others into a folder first: mlflow artifacts download"),
        ("file://host/model", "three slashes"),
        ("file:///nowhere/model", "/nowhere/model is no folder"),
        (".\\model", "write a folder with '/'"),
        ("C:\\model", "write a folder with '/'"),
        ("~nobody-of-this-name/model", "there is no such user"),
        ("", "is no model; give NAME"),
        (None, "a model is named by a text"),
    ],
)
def test_what_names_no_model_is_told_what_does(store: Path, name: str, message: str) -> None:
    with pytest.raises(RegistryError) as raised:
        registry.resolve(name)
    assert message in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_alias_is_looked_up_once(store: Path, model: TrainedModel) -> None:
    register(model)
    asked = registry.resolve("plan-svm@challenger")
    register(model)
    assert asked.version == "1"
    assert registry.resolve("plan-svm@challenger").version == "2"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plan-svm", "'plan-svm' has no champion; promote a version, or use plan-svm@challenger"),
        ("plan-svm@night", "'plan-svm' has no night"),
        ("plan-svm/7", "'plan-svm' has no version 7"),
        ("icd", "no model is registered as 'icd'"),
        ("models:/m-" + "0" * 32, "has 0 registered versions"),
        ("what is this", "is no model; give NAME, NAME@ALIAS, NAME/VERSION"),
    ],
)
def test_a_missing_model_is_told_with_what_there_is(
    store: Path, model: TrainedModel, name: str, message: str
) -> None:
    register(model)
    register(model)
    with pytest.raises(RegistryError) as caught:
        registry.resolve(name)
    assert message in str(caught.value)
    assert "plan-svm: version 1, 2 (challenger)" in str(caught.value)


def test_an_empty_registry_says_to_train_first(store: Path) -> None:
    with pytest.raises(RegistryError, match="train one first"):
        registry.resolve("icd-codes")


def test_mlflow_serves_the_same_predictions(store: Path, model: TrainedModel) -> None:
    served = mlflow.pyfunc.load_model(register(model).uri)
    table = pd.DataFrame({"text": [PLANS[0], OTHERS[0]]})
    first, second = served.predict(table).to_dict("records")
    assert (first["labels"], second["labels"]) == (["plan"], [])
    assert first["probabilities"] == pytest.approx(probabilities(model, PLANS[:1])[0].tolist())
    spans = json.loads(first["evidence"][0])
    assert all(0 <= span["start"] < span["end"] <= len(PLANS[0]) for span in spans)
    everything = {"min_probability": 0.0}
    assert served.predict(table, everything)["labels"].tolist() == [["plan"], ["plan"]]
    # its own words leave it open, so that what stands around it counts
    around = pd.DataFrame({"text": [OTHERS[3]] * 2, "before": [[OTHERS[1]], []], "after": [PLANS[1:], None]})
    expected = model.predict_proba(
        around["text"].tolist(), contexts=[Context((OTHERS[1],), tuple(PLANS[1:])), Context()]
    )
    found = served.predict(around, everything)["probabilities"].tolist()
    assert found == [pytest.approx(row.tolist()) for row in expected]
    assert found[0] != pytest.approx(found[1])


def test_a_model_works_in_another_process_without_rubricator_installed(
    store: Path, model: TrainedModel
) -> None:
    resolved = register(model)
    script = f"""
import sys, json
sys.modules["rubricator"] = None  # importing it fails
import mlflow, pandas
model = mlflow.pyfunc.load_model({resolved.uri!r})
print(json.dumps(model.predict(pandas.DataFrame({{"text": {PLANS!r}}})).probabilities.tolist()))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd="/", capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(done.stdout), probabilities(model, PLANS), rtol=1e-6)


def test_versions_with_different_source_work_side_by_side(
    store: Path, model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = register(model)
    package, sources = bundle.snapshot()
    halved = """
_full = TrainedModel.predict_proba
TrainedModel.predict_proba = lambda self, texts, **contexts: 0.5 * _full(self, texts, **contexts)
"""
    changed = {**sources, "models/trained_model.py": sources["models/trained_model.py"] + halved}
    monkeypatch.setattr(bundle, "snapshot", lambda: ("rubricator_0123456789ab", changed))
    old = register(model)
    monkeypatch.setattr(bundle, "snapshot", lambda: (package, sources))

    expected = probabilities(model, TEXTS)
    table = pd.DataFrame({"text": PLANS})
    by_mlflow = {resolved.version: mlflow.pyfunc.load_model(resolved.uri) for resolved in (new, old)}
    for resolved, factor in ((new, 1.0), (old, 0.5), (new, 1.0)):
        np.testing.assert_allclose(
            probabilities(registry.load(resolved), TEXTS), factor * expected, rtol=1e-6
        )
        served = by_mlflow[resolved.version].predict(table, {"min_probability": 0.0})
        assert served.probabilities.map(lambda found: found[0]).tolist() == pytest.approx(
            (factor * probabilities(model, PLANS)[:, 0]).tolist()
        )


def test_loading_an_older_source_survives_its_folder_and_writes_nothing_into_it(
    store: Path, model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, sources = bundle.snapshot()
    older = "rubricator_aaaaaaaaaaaa"
    marked = {path: text.replace(name, older) + "\n# older\n" for path, text in sources.items()}
    with monkeypatch.context() as patch:
        patch.setattr(bundle, "snapshot", lambda: (older, marked))
        patch.setattr(sys, "dont_write_bytecode", False)
        resolved = register(model)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    loaded = registry.load(resolved)
    assert type(loaded).__module__ == "rubricator_aaaaaaaaaaaa.models.trained_model"
    assert not list((files_of(resolved) / "artifacts").rglob("__pycache__"))
    shutil.rmtree(files_of(resolved))
    np.testing.assert_array_equal(probabilities(loaded, TEXTS), probabilities(model, TEXTS))


def test_a_model_that_others_registered_is_refused(store: Path) -> None:
    mlflow.MlflowClient().create_registered_model("foreign")
    mlflow.MlflowClient().create_model_version("foreign", source=str(store))
    with pytest.raises(UntrustedModelError, match="not registered by Rubricator"):
        registry.load(registry.resolve("foreign/1"))


def test_registering_needs_a_run_and_a_plain_name(store: Path, model: TrainedModel) -> None:
    held_out = OutOfFoldTable(["plan"], [], GROUPS[:0], TARGETS[:0], TARGETS[:0])
    with pytest.raises(RegistryError, match="no MLflow run is active"):
        registry.log_and_register(model, name="plan-svm", held_out=held_out)
    with mlflow.start_run(), pytest.raises(RegistryError, match="cannot name a model"):
        registry.log_and_register(model, name="plan' or '1'='1", held_out=held_out)


def test_held_out_decisions_come_back(store: Path, model: TrainedModel) -> None:
    targets, decisions = csr_matrix([[1, 0], [0, 0], [1, 1]]), csr_matrix([[0, 0], [0, 1], [1, 1]])
    given = OutOfFoldTable(["A01", "B02"], ["n1", "n2:0:5", "n3"], np.array([7, 7, 9]), targets, decisions)
    with mlflow.start_run():
        resolved = registry.log_and_register(model, name="plan-svm", held_out=given)
    found = registry.out_of_fold_of(resolved)
    assert (found.labels, found.example_ids) == (given.labels, given.example_ids)
    assert found.groups[0] == found.groups[1] != found.groups[2]
    np.testing.assert_array_equal(found.targets.toarray(), targets.toarray())
    np.testing.assert_array_equal(found.decisions.toarray(), decisions.toarray())


def test_a_word_of_one_patient_is_nowhere_in_the_store(store: Path, model: TrainedModel) -> None:
    register(model)
    mlflow.pyfunc.load_model(registry.resolve("plan-svm/1").uri)
    found = subprocess.run(["grep", "-rlaF", CANARY, str(store)], check=False, capture_output=True, text=True)
    assert found.stdout == ""
    assert len(list(store.rglob("*.json"))) > 2, "nothing was stored, so nothing was searched"


def test_loading_in_a_worker_needs_neither_mlflow_nor_the_database(store: Path, model: TrainedModel) -> None:
    resolved = register(model)
    script = """
import pickle, sys
from rubricator.models.registry import registry
model = registry.load(pickle.loads(sys.stdin.buffer.read()))
print(len(model.labels), "mlflow" in sys.modules)
"""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        input=pickle.dumps(resolved),
        capture_output=True,
        env=environment,
    )
    assert done.stdout.decode() == "1 False\n", done.stderr.decode()


@pytest.fixture
def server(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An MLflow server that keeps the artifacts itself."""
    shutil.copy(template, tmp_path / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--workers", "1"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setenv(
        "MLFLOW_EXPERIMENT_NAME", "served"
    )  # the template's own keeps its artifacts in ./mlruns
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def test_a_server_of_mlflow_serves_as_well(server: None, model: TrainedModel) -> None:
    registered = register(model)
    assert (
        registry.resolve("plan-svm@challenger")
        == registry.resolve(f"runs:/{registered.run_id}")
        == registered
    )
    np.testing.assert_array_equal(
        probabilities(registry.load(registered), TEXTS), probabilities(model, TEXTS)
    )
    assert registry.out_of_fold_of(registered).example_ids[:2] == ["note0:0:9", "note1:0:9"]
