"""Every way to tamper with a registered model, or to hand over a bad folder: refused, and no code of it runs."""

import importlib.util
import os
import pickle
import py_compile
import shutil
import socket
import stat
import struct
import threading
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from rubricator.models.model_files import ModelFormatError
from rubricator.models.registry import bundle, registry
from rubricator.models.registry.errors import RegistryError, UntrustedModelError
from rubricator.models.registry.registry import ResolvedModel
from rubricator.models.scores.out_of_fold import OutOfFoldTable
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.examples import Examples

OLDER = "rubricator_0123456789ab"  # its own source runs, as it is not that of now
SAVED, SOURCE = "artifacts/bundle/model", f"artifacts/bundle/source/{OLDER}"
MODULE, WEIGHTS, LABELS = (
    f"{SOURCE}/models/trained_model.py",
    f"{SAVED}/weights.safetensors",
    f"{SAVED}/labels.json",
)
CONFIG = f"{SAVED}/config.json"


class Runs:
    """A pickle of it writes the canary."""

    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (exec, (payload(self.canary),))


def payload(canary: object) -> str:
    return f"open({str(canary)!r}, 'w').close()\n"


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResolvedModel]:
    """A registered model of an older source, in a store of its own."""
    folder = tmp_path_factory.mktemp("store")
    texts = ["Start aspirin today.", "Lungs are clear.", "Walks daily."] * 30
    examples = Examples(
        ids=[f"note{i}:0:9" for i in range(90)],
        groups=np.arange(90) // 2,
        texts=texts,
        contexts=None,
        targets=csr_matrix([[int(i % 3 == 0)] for i in range(90)]),
        labels=["plan"],
        counts={},
    )
    model = train_model(examples, task="codes", classifier="svm")
    held_out = OutOfFoldTable(["plan"], examples.ids, examples.groups, examples.targets, examples.targets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "test")
        name, sources = bundle.snapshot()
        older = {path: text.replace(name, OLDER) for path, text in sources.items()}
        patch.setattr(bundle, "snapshot", lambda: (OLDER, older))
        mlflow.MlflowClient().create_experiment("test", artifact_location=str(folder / "artifacts"))
        with mlflow.start_run():
            found = registry.log_and_register(model, name="plan", held_out=held_out)
        patch.setattr(bundle, "snapshot", lambda: (name, sources))
        yield found


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def copied(registered: ResolvedModel, tmp_path: Path) -> ResolvedModel:
    """The same registered model, with files that may be changed."""
    shutil.copytree(registered.source, tmp_path / "files")
    return replace(registered, source=str(tmp_path / "files"))


def append(path: str, text: str | bytes = "\n") -> Callable[[Path, Path], str]:
    def tamper(folder: Path, canary: Path) -> str:
        added = text.encode() if isinstance(text, str) else text
        (folder / path).write_bytes(
            (folder / path).read_bytes() + added.replace(b"PAYLOAD", payload(canary).encode())
        )
        return path

    return tamper


def put(path: str, content: Callable[[Path], bytes] | str = "PAYLOAD") -> Callable[[Path, Path], str]:
    """Write a file anew, or add it."""

    def tamper(folder: Path, canary: Path) -> str:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        made = (
            content.replace("PAYLOAD", payload(canary)).encode()
            if isinstance(content, str)
            else content(canary)
        )
        (folder / path).write_bytes(made)
        return path

    return tamper


def change(path: str, old: str, new: str) -> Callable[[Path, Path], str]:
    def tamper(folder: Path, _canary: Path) -> str:
        text = (folder / path).read_text(encoding="utf-8")
        assert old in text
        (folder / path).write_text(text.replace(old, new, 1), encoding="utf-8")
        return path

    return tamper


def remove(path: str) -> Callable[[Path, Path], str]:
    def tamper(folder: Path, _canary: Path) -> str:
        (folder / path).unlink()
        return path

    return tamper


def rename(path: str, to: str) -> Callable[[Path, Path], str]:
    def tamper(folder: Path, _canary: Path) -> str:
        (folder / path).rename(folder / to)
        return min(path, to)

    return tamper


def link(path: str) -> Callable[[Path, Path], str]:
    """The same content by a link."""

    def tamper(folder: Path, _canary: Path) -> str:
        elsewhere = folder.parent / "elsewhere"
        (folder / path).rename(elsewhere)
        (folder / path).symlink_to(elsewhere)
        return path

    return tamper


def fifo(path: str) -> Callable[[Path, Path], str]:
    """A FIFO that gives the registered content first, and a payload afterwards."""

    def tamper(folder: Path, canary: Path) -> str:
        content = (folder / path).read_bytes() if (folder / path).exists() else b""
        (folder / path).unlink(missing_ok=True)
        os.mkfifo(folder / path)

        def write() -> None:
            for given in (content, payload(canary).encode()):
                (folder / path).write_bytes(given)

        threading.Thread(target=write, daemon=True).start()
        return path

    return tamper


def local_socket(folder: Path, _canary: Path) -> str:
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(folder)  # a path of a socket has at most 107 characters
    try:
        server.bind("at")
    finally:
        os.chdir(here)
    (folder / "at").rename(folder / SOURCE / "at.py")
    return f"{SOURCE}/at.py"


def device(folder: Path, _canary: Path) -> str:
    try:
        os.mknod(folder / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root may make a device")
    return "zero"


def directory(folder: Path, _canary: Path) -> str:
    (folder / LABELS).unlink()
    (folder / LABELS).mkdir()
    return LABELS


def large(folder: Path, _canary: Path) -> str:
    with (folder / "large").open("wb") as file:
        file.truncate(1 << 40)  # sparse: nobody must read it
    return "large"


def twin_name(folder: Path, canary: Path) -> str:
    name = unicodedata.normalize("NFD", "modèle.py")
    put(f"{SOURCE}/{name}")(folder, canary)
    return name


def no_utf8(folder: Path, _canary: Path) -> str:
    (folder / os.fsdecode(b"l\xe9.py")).write_bytes(b"")
    return r"l\udce9.py"


def new_line(folder: Path, canary: Path) -> str:
    put("two\nlines.py")(folder, canary)
    return r"two\nlines.py"


def pickled(canary: Path) -> bytes:
    return pickle.dumps(Runs(str(canary)))


def long_header(_canary: Path) -> bytes:
    return struct.pack("<Q", 1 << 62) + b"{}"


FILES: dict[str, Callable[[Path, Path], str]] = {
    "a byte of the weights": append(WEIGHTS, b"\x01"),
    "weights that are a pickle": put(WEIGHTS, pickled),
    "weights with a long header": put(WEIGHTS, long_header),
    "weights of zero bytes": put(WEIGHTS, lambda _: b""),
    "weights removed": remove(WEIGHTS),
    "a pickle beside the weights": put(f"{SAVED}/model.pkl", pickled),
    "another label": change(LABELS, '"plan"', '"plans"'),
    "labels removed": remove(LABELS),
    "labels in another case": rename(LABELS, f"{SAVED}/Labels.json"),
    "labels that are a folder": directory,
    "labels that are a link": link(LABELS),
    "labels that are a FIFO": fifo(LABELS),
    "another classifier": change(CONFIG, '"svm"', '"os:system"'),
    "a key twice": change(CONFIG, "{", '{"classifier": "majority",'),
    "white space": append(CONFIG),
    "a byte order mark": change(CONFIG, "{", "\ufeff{"),
    "a word more": append(f"{SAVED}/vocabulary.json"),
    "another card": append(f"{SAVED}/model_card.md", "Approved."),
    "the list of files": append("artifacts/bundle/sha256.json"),
    "code appended": append(MODULE, "PAYLOAD"),
    "code in a package": append(f"{SOURCE}/models/__init__.py", "PAYLOAD"),
    "code removed": remove(MODULE),
    "code renamed": rename(MODULE, f"{SOURCE}/models/Trained_model.py"),
    "code added": put(f"{SOURCE}/models/more.py"),
    "code that is a link": link(MODULE),
    "code that is a FIFO": fifo(MODULE),
    "a FIFO more": fifo(f"{SOURCE}/more.py"),
    "a socket": local_socket,
    "a device": device,
    "a folder that is a link": link(f"{SOURCE}/models"),
    "source that is a link": link("artifacts/bundle/source"),
    "a link to nothing": lambda folder, _: (folder / "nothing").symlink_to("/nowhere") or "nothing",
    "a link to the folder": lambda folder, _: (folder / "loop").symlink_to(".") or "loop",
    "a second source": put("artifacts/bundle/source/rubricator_ba9876543210/models/trained_model.py"),
    "another name of the source": rename(SOURCE, "artifacts/bundle/source/rubricator_ba9876543210"),
    "data of the source": append(f"{SOURCE}/nlp/wording.toml", "x = 1\n"),
    "sitecustomize": put(f"{SOURCE}/sitecustomize.py"),
    "usercustomize": put("usercustomize.py"),
    "conftest": put("conftest.py"),
    "a .pth file": put("artifacts/bundle/source/run.pth", "import os; PAYLOAD"),
    "an extension module": put(f"{SOURCE}/models/trained_model.abi3.so"),
    "a namesake of a library": put("artifacts/bundle/source/numpy.py"),
    "code in __pycache__": put(f"{SOURCE}/models/__pycache__/trained_model.py"),
    "bytecode beside the code": put(f"{SOURCE}/models/trained_model.pyc"),
    "a link in __pycache__": lambda folder, _: (
        (folder / SOURCE / "__pycache__").mkdir()
        or (folder / SOURCE / "__pycache__/a.pyc").symlink_to("/x")
        or "a.pyc"
    ),
    "a hidden file": put(".env"),
    "a large file": large,
    "a twin in Unicode": twin_name,
    "a name that is not UTF-8": no_utf8,
    "a name of two lines": new_line,
    "a name with two dots": put(f"{SAVED}/..\\..\\evil.py"),
    "the entry of MLflow": append("pyfunc_entry.py", "PAYLOAD"),
    "requirements": append("requirements.txt", "evil\n"),
    "conda": append("conda.yaml", "# evil\n"),
    "the environment": append("python_env.yaml", "- evil\n"),
    "MLmodel removed": remove("MLmodel"),
    "another loader in MLmodel": change("MLmodel", "mlflow.pyfunc.loaders.code_model", "evil"),
    "a key of MLmodel twice": append("MLmodel", "flavors: {python_function: {loader_module: evil}}\n"),
    "a tag of YAML in MLmodel": append("MLmodel", "evil: !!python/object/apply:os.system ['true']\n"),
    "anchors of YAML in MLmodel": append("MLmodel", "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_differ_are_refused_before_any_code_runs(
    copied: ResolvedModel, canary: Path, kind: str
) -> None:
    named = FILES[kind](Path(copied.source), canary)
    with pytest.raises(UntrustedModelError) as refused:
        registry.load(copied)
    assert Path(named).name in str(refused.value) or "files differ" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not canary.exists()


def test_the_payload_would_run_if_it_were_registered(copied: ResolvedModel, canary: Path) -> None:
    append(MODULE, "PAYLOAD")(Path(copied.source), canary)
    registry.load(replace(copied, sums=bundle.sha256_sums(Path(copied.source))))
    assert canary.exists()


def test_bytecode_is_neither_counted_nor_run(copied: ResolvedModel, canary: Path) -> None:
    module = Path(copied.source) / MODULE
    planted = canary.with_name("planted.py")
    planted.write_text(module.read_text() + "\n" + payload(canary))
    compiled = Path(importlib.util.cache_from_source(str(module)))
    compiled.parent.mkdir(exist_ok=True)
    py_compile.compile(
        str(planted), str(compiled), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    assert registry.load(copied).labels == ["plan"]
    assert not canary.exists()


def test_files_that_change_after_the_check_are_not_the_ones_that_are_used(
    copied: ResolvedModel, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = bundle.check_sums

    def check_then_change(*given: object, **named: object) -> None:
        check(*given, **named)  # type: ignore[arg-type]
        append(MODULE, "PAYLOAD")(Path(copied.source), canary)

    monkeypatch.setattr(bundle, "check_sums", check_then_change)
    assert registry.load(copied).labels == ["plan"]
    assert not canary.exists()


MLMODEL = {  # with sums of the changed file: whoever pinned them would make MLflow load something else
    "another loader": change("MLmodel", "mlflow.pyfunc.loaders.code_model", "mlflow.sklearn"),
    "an absolute path": change("MLmodel", "path: artifacts/bundle", "path: /etc"),
    "a path upwards": change("MLmodel", "path: artifacts/bundle", "path: artifacts/../../elsewhere"),
    "a folder of code": change("MLmodel", "    code: null", "    code: code"),
    "a pickle": change("MLmodel", "    code: null", "    code: null\n    python_model: python_model.pkl"),
    "another entry": change("MLmodel", "pyfunc_entry.py", "evil.py"),
    "another flavor": change("MLmodel", "flavors:", "flavors:\n  sklearn: {pickled_model: model.pkl}"),
    "no artifacts": change("MLmodel", "    artifacts:", "    others:"),
    "artifacts that are a list": append("MLmodel", "flavors: {python_function: {artifacts: [x]}}\n"),
    "flavors that are a list": append("MLmodel", "flavors: [python_function]\n"),
    "no flavors": put("MLmodel", "{}"),
    "metadata that are a text": append("MLmodel", "metadata: evil\n"),
    "a tag of YAML": append("MLmodel", "evil: !!python/object/apply:os.system ['true']\n"),
    "no YAML": put("MLmodel", "}{"),
    "no UTF-8": put("MLmodel", lambda _: b"\xff\xfe\xff"),
    "deep YAML": put("MLmodel", "[" * 5000),
}


@pytest.mark.parametrize("kind", MLMODEL)
def test_an_mlmodel_that_asks_for_anything_else_is_refused(
    copied: ResolvedModel, canary: Path, kind: str
) -> None:
    MLMODEL[kind](Path(copied.source), canary)
    with pytest.raises(UntrustedModelError, match=r"its MLmodel .* not loaded"):
        registry.load(replace(copied, sums=bundle.sha256_sums(Path(copied.source))))
    assert not canary.exists()


@pytest.mark.parametrize(
    "value", ["", "{}", "[]", "null", "no JSON", '{"MLmodel": "0"}', '{"../MLmodel": "0"}', "7"]
)
def test_a_tag_of_sums_that_was_changed_is_refused(registered: ResolvedModel, value: str) -> None:
    client = mlflow.MlflowClient()
    changed = (
        client.create_model_version("changed", source=registered.source, tags={"rubricator.sha256": value})
        if (client.search_registered_models("name = 'changed'") or client.create_registered_model("changed"))
        else None
    )
    client.set_registered_model_alias("changed", "champion", changed.version)
    with pytest.raises(UntrustedModelError, match="not loaded"):
        registry.load(registry.resolve("changed"))


def test_a_version_that_points_to_other_files_is_refused(registered: ResolvedModel, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("{}")
    with pytest.raises(UntrustedModelError, match="differ from those registered"):
        registry.load(replace(registered, source=str(tmp_path)))
    with pytest.raises(RegistryError, match="is missing; restore it from a backup"):
        registry.load(replace(registered, source=str(tmp_path / "gone")))


HELD_OUT = {
    "other bytes": append("held_out.parquet", b"\x00"),
    "a link": link("held_out.parquet"),
    "a FIFO": fifo("held_out.parquet"),
    "a pickle": put("held_out.parquet", pickled),
}


@pytest.mark.parametrize("kind", HELD_OUT)
def test_out_of_fold_predictions_that_differ_are_refused(
    registered: ResolvedModel, canary: Path, kind: str
) -> None:
    assert registry.out_of_fold_of(registered).labels == ["plan"]
    artifacts = Path(mlflow.MlflowClient().get_run(registered.run_id or "").info.artifact_uri)
    before = (artifacts / "held_out.parquet").read_bytes()
    HELD_OUT[kind](artifacts, canary)
    with pytest.raises(UntrustedModelError, match=r"held_out\.parquet"):
        registry.out_of_fold_of(registered)
    (artifacts / "held_out.parquet").unlink()
    (artifacts / "held_out.parquet").write_bytes(before)
    assert not canary.exists()


FOLDERS = {  # what somebody hands over as a folder: nothing of it is pinned
    "weights that are a pickle": (put(WEIGHTS, pickled), True),
    "weights with a long header": (put(WEIGHTS, long_header), True),
    "weights that end early": (put(WEIGHTS, lambda _: b"\x08"), True),
    "another classifier": (change(CONFIG, '"svm"', '"os:system"'), True),
    "no JSON": (put(LABELS, "[" * 100_000), True),
    "other labels": (put(LABELS, "[]"), True),
    "a FIFO": (fifo(MODULE), False),
    "a link": (link(WEIGHTS), False),
    "another loader": (change("MLmodel", "mlflow.pyfunc.loaders.code_model", "evil"), False),
    "a byte more": (append(WEIGHTS, b"\x01"), False),
    "a damaged list": (put("artifacts/bundle/sha256.json", "[1]"), False),
    "code added": (put(f"{SOURCE}/models/more.py"), False),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_bad_folder_is_an_error(copied: ResolvedModel, canary: Path, kind: str) -> None:
    tamper, without_list = FOLDERS[kind]
    folder = Path(copied.source)
    named = tamper(folder, canary)
    if without_list:
        (folder / "artifacts/bundle/sha256.json").unlink()
    with pytest.raises((UntrustedModelError, ModelFormatError)) as refused:
        registry.load(registry.resolve(str(folder)))
    assert str(folder) in str(refused.value)
    assert "rubricator-model-" not in str(refused.value), "it names the folder, not the copy"
    assert named
    assert not canary.exists()


def test_of_a_folder_no_code_runs(copied: ResolvedModel, canary: Path) -> None:
    folder = Path(copied.source)
    append(MODULE, "PAYLOAD")(folder, canary)
    append("pyfunc_entry.py", "PAYLOAD")(folder, canary)
    (folder / "artifacts/bundle/sha256.json").unlink()
    found = registry.load(registry.resolve(str(folder)))
    assert type(found) is TrainedModel
    assert not canary.exists()


def test_a_store_that_changes_what_is_registered_is_refused(
    registered: ResolvedModel, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = registry._log_bundle

    def log_and_change(*given: object) -> object:
        logged = log(*given)  # type: ignore[arg-type]
        [code] = Path(logged.artifact_path).rglob("trained_model.py")
        code.write_text(payload(canary))
        return logged

    monkeypatch.setattr(registry, "_log_bundle", log_and_change)
    model = TrainedModel.load(Path(registered.source) / SAVED)
    held_out = OutOfFoldTable(["plan"], ["note1"], np.zeros(1), csr_matrix([[1]]), csr_matrix([[1]]))
    with mlflow.start_run(), pytest.raises(UntrustedModelError, match=r"trained_model\.py"):
        registry.log_and_register(model, name="changed-later", held_out=held_out)
    assert "changed-later" not in registry.listing()
