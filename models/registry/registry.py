"""Models in MLflow's registry: log and register one, find one by name, load it after checking it.

MLflow is reached as the environment says (MLFLOW_TRACKING_URI, see flows/home.py). What is registered, and what is
checked before it runs, is in bundle.py.
"""

import hashlib
import json
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rubricator.models.registry import bundle
from rubricator.models.registry.errors import NoChampionError, RegistryError, UntrustedModelError
from rubricator.models.registry.model_folder import KINDS, fetched, local_path, model_in, named_folder
from rubricator.models.registry.store_errors import store_errors, store_name
from rubricator.models.scores.out_of_fold import OutOfFoldTable, read_out_of_fold, write_out_of_fold
from rubricator.models.trained_model import TrainedModel
from rubricator.nlp.contexts import Context
from rubricator.nlp.errors import did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models.model import ModelInfo

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous-champion"
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pydantic", "safetensors", "scikit-learn", "scipy")
_HELD_OUT = "held_out.parquet"  # an artifact of the run
_SUMS, _HELD_OUT_SUM = "rubricator.sha256", "rubricator.held_out.sha256"  # tags of a version


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """One version of one model, which an alias meant when it was looked up. Enough to load it in another process.

    uri: for people and MLflow. source: where its files are. sums: sha256 of each file by its path.
    A model in a folder has no run; its version is the start of the sha256 of its sums. held_out_sum: sha256 of its
    out-of-fold predictions; empty where it was not kept (a folder, or registered before version 0.3).
    """

    name: str
    version: str
    run_id: str | None
    uri: str
    source: str
    sums: Mapping[str, str] = field(repr=False, hash=False)
    held_out_sum: str = field(default="", repr=False)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder that somebody named, and not a version of the registry."""
        return not self.uri.startswith("models:/")


@store_errors()
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

    held_out: out-of-fold predictions of cross-validation, which promotion compares. requirements: packages that
    prediction needs, beside those that the classifier names in its `requirements`.
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
        held_out_file, made = Path(scratch) / _HELD_OUT, Path(scratch) / "bundle"
        write_out_of_fold(held_out, held_out_file)
        held_out_sum = _sum_of(held_out_file)
        client.log_artifact(run.info.run_id, str(held_out_file))
        bundle.write_bundle(model, made)
        logged = _log_bundle(made, model, name, needed)
        sums = _sums_of(logged.artifact_path, made, name)
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name)
    registered = client.create_model_version(
        name,
        source=logged.model_uri,
        model_id=logged.model_id,
        run_id=run.info.run_id,
        tags={**(tags or {}), _SUMS: json.dumps(sums), _HELD_OUT_SUM: held_out_sum},
        description=description,
    )
    if alias:
        client.set_registered_model_alias(name, alias, registered.version)
    return _resolved(client, registered)


def check_name(name: str) -> None:
    """Raises RegistryError where a model cannot have this name."""
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{name!r} cannot name a model; use letters, digits, '.', '_' and '-'")


@store_errors()
def resolve(model: str) -> ResolvedModel:
    """Find a model: NAME (its champion), NAME@ALIAS, NAME/VERSION, a models:/, runs:/ or file: URI, or a folder.

    An alias is looked up here and never again. Raises RegistryError that lists what there is, and StoreError.
    """
    if not isinstance(model, str):
        raise RegistryError(f"a model is named by a text ({KINDS}), not by {type(model).__name__}")
    if folder := named_folder(model):
        return _resolve_folder(folder)
    from mlflow import MlflowClient

    client = MlflowClient()
    if run := re.fullmatch(r"runs:/([0-9a-f]{32})(?:/.*)?", model):
        return _only(client, model, "run_id", run[1])
    if re.fullmatch(r"models:/m-[0-9a-f]{32}", model):
        return _only(client, model, "source", model)
    parts = _SPEC.fullmatch(model.removeprefix("models:/"))
    is_known = parts and client.search_registered_models(filter_string=f"name = '{parts['name']}'")
    if not is_known and model and Path(model).is_dir():
        return _resolve_folder(Path(model))
    if parts is None:
        raise RegistryError(f"{model!r} is no model; give {KINDS}\n{_listing(client)}")
    if not is_known:
        meant = did_you_mean(parts["name"], [each.name for each in client.search_registered_models()])
        raise RegistryError(f"no model is registered as {parts['name']!r}{meant}\n{_listing(client)}")
    if parts["version"]:
        return _resolve_version(client, parts["name"], parts["version"])
    return _resolve_alias(client, parts["name"], parts["alias"] or CHAMPION)


@store_errors()
def champion_of(name: str) -> ResolvedModel | None:
    """The champion of a registered name, if it has one."""
    client = _client()
    at = client.get_registered_model(name).aliases.get(CHAMPION)
    return _resolved(client, client.get_model_version(name, at)) if at else None


@store_errors()
def load(resolved: ResolvedModel) -> TrainedModel:
    """Load a model of the registry or a folder.

    A registered model runs the source that it was registered with. Where this differs from the source that runs now,
    the object has TrainedModel's methods under another class. Of a folder no code runs: it has no pinned sums, so its
    model is read by the source that runs now. Raises UntrustedModelError, before any code of the model runs, where
    files differ from the registered sums or MLmodel would load anything else.
    """
    with _checked(resolved) as (saved, source):
        is_of_now = source is None or source.name == bundle.snapshot()[0]
        if is_of_now or resolved.is_folder:
            if not is_of_now:
                _LOG.warning("%s was made by another version, and is read by this one", resolved.uri)
            return TrainedModel.load(saved)
        from rubricator.models.registry.pyfunc_entry import load_bundle

        model: TrainedModel = load_bundle(saved.parent)
        return model


@store_errors()
def load_by_this_source(resolved: ResolvedModel, texts: Sequence[str]) -> TrainedModel:
    """Load a model by the source that runs now, whatever it was registered with, to be part of another model.

    texts: predicted by both, to compare. Raises ModelFormatError where this source cannot read it, and RegistryError
    where it predicts otherwise than the registered one.
    """
    with _checked(resolved) as (saved, _):
        model = TrainedModel.load(saved)
    registered = load(resolved)
    if type(registered) is not TrainedModel:
        contexts = [Context()] * len(texts)
        ours, theirs = (each.predict_proba(texts, contexts=contexts) for each in (model, registered))
        if not np.allclose(ours, theirs, atol=1e-4):
            raise RegistryError(
                f"{resolved.uri} predicts otherwise with the source of this version than with its own; train it again"
            )
    return model


@store_errors()
def set_alias(name: str, alias: str, version: str) -> None:
    """Let name@alias mean this version from now on."""
    _client().set_registered_model_alias(name, alias, version)


@store_errors()
def set_tags(resolved: ResolvedModel, tags: Mapping[str, str]) -> None:
    """Add tags to a registered version."""
    client = _client()
    for key, value in tags.items():
        client.set_model_version_tag(resolved.name, resolved.version, key, value)


@store_errors()
def out_of_fold_of(resolved: ResolvedModel) -> OutOfFoldTable:
    """The out-of-fold predictions that were logged with a registered version.

    Raises RegistryError where they are gone, and UntrustedModelError where they are not those that were registered.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    gone = f"{resolved.uri}: run {resolved.run_id} has no {_HELD_OUT}; train the model again"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / _HELD_OUT
        try:
            artifacts = _client().get_run(resolved.run_id or "").info.artifact_uri
            if place := local_path(artifacts):  # MLflow would wait for a FIFO
                found = bundle.copy_file_with_sum(place / _HELD_OUT, path, name=resolved.uri)
            else:
                path = Path(download_artifacts(artifact_uri=f"{artifacts}/{_HELD_OUT}", dst_path=scratch))
                found = _sum_of(path)
        except (MlflowException, FileNotFoundError) as error:
            raise RegistryError(gone) from error
        if found != (resolved.held_out_sum or found):
            raise UntrustedModelError(
                f"{resolved.uri}: {_HELD_OUT} differs from the one registered; not used"
            )
        return read_out_of_fold(path)


@store_errors()
def listing() -> str:
    """The registered models as text: one line each, with versions and aliases."""
    return _listing(_client())


_LOG = logging.getLogger(__name__)
_ENTRY = Path(__file__).with_name("pyfunc_entry.py")
_OF_MLFLOW = {
    "MLmodel",
    "conda.yaml",
    "python_env.yaml",
    "requirements.txt",
}  # what it writes beside a bundle
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SPEC = re.compile(rf"(?P<name>{_NAME.pattern})(?:@(?P<alias>[A-Za-z][\w-]*)|/(?P<version>[0-9]+))?")


def _log_bundle(folder: Path, model: TrainedModel, name: str, needed: Sequence[str]) -> "ModelInfo":
    """Log a bundle as a model of MLflow. needed: packages that prediction needs."""
    import mlflow

    with warnings.catch_warnings():  # MLflow asks for an input example, which would store text
        warnings.filterwarnings("ignore", message=".*input example")
        logged: ModelInfo = mlflow.pyfunc.log_model(
            name=name,
            python_model=str(_ENTRY),
            artifacts={"bundle": str(folder)},
            signature=_signature(),
            pip_requirements=[f"{package}=={installed_version(package)}" for package in needed],
            metadata={
                "task": model.task,
                "classifier": model.classifier_name,
                "interface": bundle.INTERFACE,
            },
        )
    return logged


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
        sums=_pinned(found),
        held_out_sum=found.tags.get(_HELD_OUT_SUM, ""),
    )


def _pinned(found: "ModelVersion") -> dict[str, str]:
    """The sums in the tag of a version; none where it has no tag, or one that Rubricator did not write."""
    try:
        pinned = json.loads(found.tags.get(_SUMS, "{}"))
    except ValueError:
        return {}
    return pinned if isinstance(pinned, dict) else {}


def _sum_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sums_of(source: str, made: Path, name: str) -> dict[str, str]:
    """The sums of a logged model. Raises UntrustedModelError where its bundle is not the one that was made here."""
    pinned = {f"artifacts/bundle/{inside}": found for inside, found in bundle.sha256_sums(made).items()}
    pinned["pyfunc_entry.py"] = _sum_of(_ENTRY)
    with fetched(source, name=name) as (_, sums):
        stored = {inside: found for inside, found in sums.items() if inside not in _OF_MLFLOW}
        bundle.check_sums(stored, pinned, name=name)
        return sums


def _resolve_folder(given: Path) -> ResolvedModel:
    folder = model_in(given)
    with fetched(str(folder), name=str(folder)) as (copy, sums):
        found = bundle.bundle_of_mlmodel(copy, name=str(folder)) if "MLmodel" in sums else copy
        bundle.check_file_list(found, name=str(folder))
    version = hashlib.sha256(json.dumps(sums).encode()).hexdigest()[:12]
    name = given.resolve().name
    return ResolvedModel(name, version, run_id=None, uri=str(folder), source=str(folder), sums=sums)


def _resolve_version(client: "MlflowClient", name: str, number: str) -> ResolvedModel:
    found = client.search_model_versions(f"name = '{name}' and version_number = {number}")
    if not found:
        raise RegistryError(f"{name!r} has no version {number}\n{_listing(client)}")
    return _resolved(client, found[0])


def _resolve_alias(client: "MlflowClient", name: str, alias: str) -> ResolvedModel:
    at = client.get_registered_model(name).aliases.get(alias)
    if at is not None:
        return _resolved(client, client.get_model_version(name, at))
    if alias == CHAMPION:
        raise NoChampionError(
            f"{name!r} has no {CHAMPION}; promote a version, or use {name}@{CHALLENGER}\n{_listing(client)}",
            name,
        )
    raise RegistryError(f"{name!r} has no {alias}\n{_listing(client)}")


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
    store = store_name(client.tracking_uri)
    return (
        "\n".join([f"in {store} are registered:", *lines])
        if lines
        else f"no model is registered yet in {store}; train one first, or name the home that has one"
    )


@contextmanager
def _checked(resolved: ResolvedModel) -> Iterator[tuple[Path, Path | None]]:
    """A private copy of a model: its saved model, and the source that it brings. The second is None where it has none.

    Raises UntrustedModelError where files differ from the pinned sums, or MLmodel would load anything else.
    """
    with fetched(resolved.source, name=resolved.uri, pinned=resolved.sums) as (copy, sums):
        bundle.check_sums(sums, resolved.sums, name=resolved.uri)
        if "config.json" in sums:
            yield copy, None
            return
        found = bundle.bundle_of_mlmodel(copy, name=resolved.uri) if "MLmodel" in sums else copy
        yield found / "model", bundle.source_of(found, name=resolved.uri)
