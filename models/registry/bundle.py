"""The bundle of a registered model: the saved model, the source that it runs, and what is checked before it runs.

A bundle is code and plain files (pyfunc_entry.py): nothing is pickled. The sha256 of each file is pinned in a tag of
the model version when it is registered, and nothing is loaded whose files differ from these.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from rubricator.models.registry.bundle_source import bundle_source
from rubricator.models.registry.errors import RegistryError, UntrustedModelError
from rubricator.models.trained_model import TrainedModel

# Raise it when flows call something on a model that models registered before do not have.
INTERFACE = 2


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
    name, sources = bundle_source(
        "rubricator.models.trained_model", "rubricator.models.decisions.ranking", "rubricator.nlp.contexts"
    )
    return name, MappingProxyType(sources)


def sha256_sums(folder: Path) -> dict[str, str]:
    """sha256 of each file of a folder by its path in it, without what Python and MLflow add on loading."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and not _is_added_on_loading(inside):
            with path.open("rb") as file:
                sums[inside.as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def check_sums(folder: Path, pinned: Mapping[str, str], *, name: str) -> None:
    """Raises UntrustedModelError where files of a folder differ from the pinned sums, or there are none.

    pinned: sha256 by path, of all files. name: of the model, for the message.
    """
    if not pinned:
        raise UntrustedModelError(
            f"{name} has no pinned sha256 sums: it was not registered by Rubricator; not loaded"
        )
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    found = sha256_sums(folder)
    differing = sorted(path for path in found.keys() | pinned.keys() if found.get(path) != pinned.get(path))
    if links or differing:
        first = links[0].relative_to(folder) if links else differing[0]
        raise UntrustedModelError(
            f"{name}: {len(links) + len(differing)} files differ from those registered, first {first}; not loaded"
        )


def bundle_of_mlmodel(folder: Path, *, name: str) -> Path:
    """The bundle in a folder that MLflow wrote.

    This function alone reads MLflow's file MLmodel; the versions that it was seen in are named in
    tests/models/test_bundle.py. name: of the model, for the message. Raises UntrustedModelError where MLflow would load
    more than code and plain files of this folder, and RegistryError for another interface.
    """
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
        raise UntrustedModelError(f"{name}: its MLmodel asks for another loader or other files; not loaded")
    interface = (content.get("metadata") or {}).get("interface")
    if interface != INTERFACE:
        raise RegistryError(
            f"{name} was registered for interface {interface}, this version has {INTERFACE}; train it again"
        )
    return folder / bundle


def _is_added_on_loading(path: Path) -> bool:
    bytecode = path.parent.name == "__pycache__" and path.suffix == ".pyc"
    return bytecode or path == Path("registered_model_meta")
