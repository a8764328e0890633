"""Models in MLflow's registry: log and register one, find one by name, load it after checking it.

MLflow is reached as the environment says (MLFLOW_TRACKING_URI, see flows/home.py). A registered model is a
pyfunc of code and plain files (models/registry/pyfunc_entry.py): nothing is pickled, and nothing is loaded whose files
differ from the sha256 sums that were pinned in a tag of the model version when it was registered.
"""

import hashlib
import json
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version as installed_version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from rubricator.models.registry.bundle_source import bundle_source
from rubricator.models.scores.out_of_fold import OutOfFoldTable, read_out_of_fold, write_out_of_fold
from rubricator.models.trained_model import TrainedModel
from rubricator.nlp.contexts import Context
from rubricator.nlp.errors import RubricatorError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous-champion"
# Raised when flows call something on a model that models registered before do not have.
INTERFACE = 2
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pydantic", "safetensors", "scikit-learn", "scipy")
_SUMS, _HELD_OUT = "rubricator.sha256", "held_out.parquet"


class RegistryError(RubricatorError):
    """A model that is not there; says which are."""


class UntrustedModelError(RegistryError):
    """A model whose files are not those that were registered, or that would run other code."""


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """One version of one model: what an alias meant when asked. Enough to load it in another process.

    uri: for people and MLflow. source: where its files are. sums: sha256 by path, of all of them.
    A folder has no run, and as version the start of the sha256 of its sums.
    """

    name: str
    version: str
    run_id: str | None
    uri: str
    source: str
    sums: Mapping[str, str] = field(repr=False, hash=False)


def log_and_register(
    model: TrainedModel,
    *,
    name: str,
    held_out: OutOfFoldTable,
    alias: str | None = CHALLENGER,
    tags: Mapping[str, str] | None = None,
    description: str = "",
    requirements: Sequence[str] = REQUIREMENTS,
) -> ResolvedModel:
    """Log the model to the active MLflow run and register it as the next version of `name`.

    held_out: the decisions of cross-validation, for `promote`. requirements: packages that prediction needs, beside
    those that the classifier names in its `requirements`.
    Raises RegistryError where no run is active or the name cannot be one.
    """
    import mlflow

    run = mlflow.active_run()
    if run is None:
        raise RegistryError("no MLflow run is active; call this within `with mlflow.start_run():`")
    check_name(name)
    client = mlflow.MlflowClient()
    needed = (*requirements, *getattr(model.classifier, "requirements", ()))
    with tempfile.TemporaryDirectory() as scratch:
        write_out_of_fold(held_out, Path(scratch) / _HELD_OUT)
        client.log_artifact(run.info.run_id, str(Path(scratch) / _HELD_OUT))
        write_bundle(model, Path(scratch) / "bundle")
        with warnings.catch_warnings():  # it asks for an input example, which would store text
            warnings.filterwarnings("ignore", message=".*input example")
            logged = mlflow.pyfunc.log_model(
                name=name,
                python_model=str(Path(__file__).with_name("pyfunc_entry.py")),
                artifacts={"bundle": str(Path(scratch) / "bundle")},
                signature=_signature(),
                pip_requirements=[f"{package}=={installed_version(package)}" for package in needed],
                metadata={"task": model.task, "classifier": model.classifier_name, "interface": INTERFACE},
            )
    with _local_copy(logged.artifact_path) as folder:
        sums = sha256_sums(folder)
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name)
    registered = client.create_model_version(
        name,
        source=logged.model_uri,
        model_id=logged.model_id,
        run_id=run.info.run_id,
        tags={**(tags or {}), _SUMS: json.dumps(sums)},
        description=description,
    )
    if alias:
        client.set_registered_model_alias(name, alias, registered.version)
    return _resolved(client, registered)


def check_name(name: str) -> None:
    """Raises RegistryError where a model cannot have this name."""
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name!r} cannot name a model; use letters, digits, '.', '_' and '-'")


def resolve(model: str) -> ResolvedModel:
    """Find a model: NAME (its champion), NAME@ALIAS, NAME/VERSION, a models:/ or runs:/ URI, or a folder.

    An alias is looked up here and never again. Raises RegistryError that lists what there is.
    """
    if model.startswith((".", "/", "~")):
        return _resolve_folder(Path(model).expanduser())
    from mlflow import MlflowClient

    client = MlflowClient()
    if run := re.fullmatch(r"runs:/([0-9a-f]{32})(?:/.*)?", model):
        return _only(client, model, "run_id", run[1])
    if re.fullmatch(r"models:/m-[0-9a-f]{32}", model):
        return _only(client, model, "source", model)
    parts = _SPEC.fullmatch(model.removeprefix("models:/"))
    if parts is None:
        raise RegistryError(
            f"{model!r} is no model; give NAME, NAME@ALIAS, NAME/VERSION, an MLflow URI or ./FOLDER\n"
            + _listing(client)
        )
    name, number = parts["name"], parts["version"]
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        if Path(model).is_dir():
            return _resolve_folder(Path(model))
        raise RegistryError(f"no model is registered as {name!r}\n{_listing(client)}")
    if number:
        found = client.search_model_versions(f"name = '{name}' and version_number = {number}")
        if not found:
            raise RegistryError(f"{name!r} has no version {number}\n{_listing(client)}")
        return _resolved(client, found[0])
    alias = parts["alias"] or CHAMPION
    at = client.get_registered_model(name).aliases.get(alias)
    if at is None:
        mend = (
            f"; promote a version with `rubricator promote {name} --version N`, or use {name}@{CHALLENGER}"
            if alias == CHAMPION
            else ""
        )
        raise RegistryError(f"{name!r} has no {alias}{mend}\n{_listing(client)}")
    return _resolved(client, client.get_model_version(name, at))


def champion_of(name: str) -> ResolvedModel | None:
    """The champion of a registered name, if it has one."""
    client = _client()
    at = client.get_registered_model(name).aliases.get(CHAMPION)
    return _resolved(client, client.get_model_version(name, at)) if at else None


def load(resolved: ResolvedModel) -> TrainedModel:
    """Load a model of the registry or a folder.

    A registered model runs the source that it was registered with where this differs from what runs now: the
    object then has TrainedModel's methods under another class. Raises UntrustedModelError, before any of its
    code runs, where files differ from the registered sums or MLmodel would load anything else.
    """
    with _local_copy(resolved.source) as folder:
        _check_sums(folder, resolved)
        if "MLmodel" not in resolved.sums:
            return TrainedModel.load(folder)
        bundle = folder / _check_mlmodel(folder, resolved)
        [source] = (bundle / "source").iterdir()
        if source.name == snapshot()[0]:
            return TrainedModel.load(bundle / "model")
        from rubricator.models.registry.pyfunc_entry import load_bundle

        model: TrainedModel = load_bundle(bundle)
        return model


def load_by_this_source(resolved: ResolvedModel, texts: Sequence[str]) -> TrainedModel:
    """Load a model by the source that runs now, whatever it was registered with: to be part of another model.

    texts: to predict by both. Raises ModelFormatError where this source cannot read it, and RegistryError where it
    predicts otherwise than the registered one.
    """
    with _local_copy(resolved.source) as folder:
        _check_sums(folder, resolved)
        bundle = folder / _check_mlmodel(folder, resolved) if "MLmodel" in resolved.sums else None
        model = TrainedModel.load(bundle / "model" if bundle else folder)
    registered = load(resolved)
    if type(registered) is not TrainedModel:
        contexts = [Context()] * len(texts)
        ours, theirs = (each.predict_proba(texts, contexts=contexts) for each in (model, registered))
        if not np.allclose(ours, theirs, atol=1e-4):
            raise RegistryError(
                f"{resolved.uri} predicts otherwise with the source of this version than with its own; train it again"
            )
    return model


def set_alias(name: str, alias: str, version: str) -> None:
    """Let name@alias mean this version from now on."""
    _client().set_registered_model_alias(name, alias, version)


def set_tags(resolved: ResolvedModel, tags: Mapping[str, str]) -> None:
    """Add tags to a registered version."""
    client = _client()
    for key, value in tags.items():
        client.set_model_version_tag(resolved.name, resolved.version, key, value)


def out_of_fold_of(resolved: ResolvedModel) -> OutOfFoldTable:
    """The decisions of cross-validation that were logged with a registered version.

    Raises RegistryError where they are gone.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as scratch:
        try:
            path = download_artifacts(run_id=resolved.run_id, artifact_path=_HELD_OUT, dst_path=scratch)
        except (MlflowException, OSError) as error:
            raise RegistryError(
                f"{resolved.uri}: run {resolved.run_id} has no {_HELD_OUT}; train the model again"
            ) from error
        return read_out_of_fold(Path(path))


def listing() -> str:
    """The registered models as text: one line each, with versions and aliases."""
    return _listing(_client())


def write_bundle(model: TrainedModel, folder: Path) -> None:
    """Write what models/registry/pyfunc_entry.py loads: model/ and source/rubricator_<hash>/."""
    model.save(folder / "model")
    package, sources = snapshot()
    for path, text in sources.items():
        target = folder / "source" / package / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


@cache
def snapshot() -> tuple[str, Mapping[str, str]]:
    """The source that prediction needs, importable under a name made from its hash: (name, text by path).

    Raises BundleSourceError where it cannot be found as a whole.
    """
    return bundle_source(
        "rubricator.models.trained_model", "rubricator.models.decisions.ranking", "rubricator.nlp.contexts"
    )


def sha256_sums(folder: Path) -> dict[str, str]:
    """sha256 of each file of a folder by its path in it, without what Python and MLflow add on loading."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and not _is_added_on_loading(inside):
            with path.open("rb") as file:
                sums[inside.as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SPEC = re.compile(rf"(?P<name>{_NAME.pattern})(?:@(?P<alias>[A-Za-z][\w-]*)|/(?P<version>[0-9]+))?")


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    strings = Array(DataType.string)
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(DataType.string, "text"),
                ColSpec(strings, "before", required=False),
                ColSpec(strings, "after", required=False),
            ]
        ),
        outputs=Schema(
            [
                ColSpec(strings, "labels"),
                ColSpec(Array(DataType.double), "probabilities"),
                ColSpec(strings, "decisions"),
                ColSpec(strings, "evidence"),
            ]
        ),
        params=ParamSchema(
            [ParamSpec("top_k", DataType.long, 0), ParamSpec("min_probability", DataType.double, -1.0)]
        ),
    )


def _client() -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient()


def _resolved(client: "MlflowClient", found: "ModelVersion") -> ResolvedModel:
    return ResolvedModel(
        name=found.name,
        version=str(found.version),
        run_id=found.run_id,
        uri=f"models:/{found.name}/{found.version}",
        source=client.get_model_version_download_uri(found.name, found.version),
        sums=json.loads(found.tags.get(_SUMS, "{}")),
    )


def _resolve_folder(folder: Path) -> ResolvedModel:
    folder = folder.resolve()
    if not (folder / "config.json").is_file():
        raise RegistryError(f"{folder} does not hold a saved model (no config.json)")
    sums = sha256_sums(folder)
    version = hashlib.sha256(json.dumps(sums).encode()).hexdigest()[:12]
    return ResolvedModel(
        name=folder.name, version=version, run_id=None, uri=str(folder), source=str(folder), sums=sums
    )


def _only(client: "MlflowClient", model: str, attribute: str, value: str) -> ResolvedModel:
    """The one registered version of a run or logged model: only registered versions have pinned sums."""
    found = [version for version in client.search_model_versions() if getattr(version, attribute) == value]
    if len(found) != 1:
        raise RegistryError(
            f"{model} has {len(found)} registered versions; name one as NAME/VERSION\n{_listing(client)}"
        )
    return _resolved(client, found[0])


def _listing(client: "MlflowClient") -> str:
    lines = []
    for model in client.search_registered_models():
        aliases: dict[str, list[str]] = {}
        for alias, at in model.aliases.items():
            aliases.setdefault(str(at), []).append(alias)
        numbers = sorted(int(v.version) for v in client.search_model_versions(f"name = '{model.name}'"))
        shown = (f"{n} ({', '.join(aliases[str(n)])})" if str(n) in aliases else str(n) for n in numbers)
        lines.append(f"  {model.name}: version {', '.join(shown)}")
    return "\n".join(["registered are:", *lines]) if lines else "no model is registered yet; train one first"


@contextmanager
def _local_copy(source: str) -> Iterator[Path]:
    """The files of a model: in place where they are local, else downloaded for as long as the body runs."""
    parts = urlsplit(source)
    if parts.scheme in {"", "file"}:
        yield Path(url2pathname(parts.path) if parts.scheme else source)
        return
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory() as scratch:
        yield Path(download_artifacts(artifact_uri=source, dst_path=scratch))


def _check_sums(folder: Path, resolved: ResolvedModel) -> None:
    if not resolved.sums:
        raise UntrustedModelError(
            f"{resolved.uri} has no tag {_SUMS}: it was not registered by Rubricator; not loaded"
        )
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    found = sha256_sums(folder)
    differing = sorted(
        path for path in found.keys() | resolved.sums.keys() if found.get(path) != resolved.sums.get(path)
    )
    if links or differing:
        first = links[0].relative_to(folder) if links else differing[0]
        raise UntrustedModelError(
            f"{resolved.uri}: {len(links) + len(differing)} files differ from those registered, "
            f"first {first}; not loaded"
        )


def _check_mlmodel(folder: Path, resolved: ResolvedModel) -> str:
    """The bundle's path within the folder, if MLmodel loads code and plain files of its own folder only."""
    import yaml  # type: ignore[import-untyped]

    content = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    flavor = content["flavors"]["python_function"]
    bundle = PurePosixPath(str(flavor.get("artifacts", {}).get("bundle", {}).get("path", "..")))
    if (
        flavor.get("loader_module") != "mlflow.pyfunc.loaders.code_model"
        or flavor.get("python_model") is not None
        or flavor.get("code") is not None
        or bundle.is_absolute()
        or ".." in bundle.parts
    ):
        raise UntrustedModelError(
            f"{resolved.uri}: its MLmodel asks for another loader or other files; not loaded"
        )
    interface = (content.get("metadata") or {}).get("interface")
    if interface != INTERFACE:
        raise RegistryError(
            f"{resolved.uri} was registered for interface {interface}, this version has {INTERFACE}; "
            "train it again"
        )
    return str(bundle)


def _is_added_on_loading(path: Path) -> bool:
    bytecode = path.parent.name == "__pycache__" and path.suffix == ".pyc"
    return bytecode or path == Path("registered_model_meta")
