"""The bundle of a registered model: the saved model, the source that it runs, and what is checked before it runs.

A bundle is code and plain files (pyfunc_entry.py): nothing is pickled. The sha256 of each file is pinned in a tag of
the model version when it is registered, and nothing is loaded whose files differ from these. Files are checked as they
are copied, and the copy is loaded: so what was checked is what is used.
"""

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from rubricator.models.registry.bundle_source import bundle_source
from rubricator.models.registry.errors import RegistryError, UntrustedModelError
from rubricator.models.trained_model import TrainedModel

# Raise it when flows call something on a model that models registered before do not have.
INTERFACE = 2
FILE_LIST = "sha256.json"


def write_bundle(model: TrainedModel, folder: Path) -> None:
    """Write what models/registry/pyfunc_entry.py loads: model/ and source/rubricator_<hash>/; and the list of files.

    The list shows whether a copy of the bundle is whole. It is no proof of where the bundle comes from.
    """
    model.save(folder / "model")
    package, sources = snapshot()
    for path, text in sources.items():
        target = folder / "source" / package / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    (folder / FILE_LIST).write_text(json.dumps(sha256_sums(folder), indent=1), encoding="utf-8")


@cache
def snapshot() -> tuple[str, Mapping[str, str]]:
    """The source that prediction needs, importable under a name made from its hash: (name, text by path).

    Raises BundleSourceError where it cannot be found as a whole.
    """
    name, sources = bundle_source(
        "rubricator.models.trained_model", "rubricator.models.decisions.ranking", "rubricator.nlp.contexts"
    )
    return name, MappingProxyType(sources)


def sha256_sums(folder: Path, *, name: str = "") -> dict[str, str]:
    """sha256 of each file of a folder by its path in it, without what Python and MLflow add on loading.

    name: of the model, for the message; by default its folder. Raises UntrustedModelError where the folder holds
    anything but regular files and folders, and OSError.
    """
    return {
        inside: _sha256(path, name or str(folder)) for inside, path in _files(folder, name or str(folder))
    }


def copy_with_sums(
    folder: Path, to: Path, *, name: str, pinned: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Copy the files of a folder, and give the sums of what was copied. As sha256_sums.

    pinned: as for check_sums, which is to follow; a folder that holds other files is refused before any is read.
    """
    files = _files(folder, name)
    if pinned and (others := pinned.keys() ^ {inside for inside, _ in files}):
        raise _differs(name, others)
    sums = {}
    for inside, path in files:
        (to / inside).parent.mkdir(parents=True, exist_ok=True)
        sums[inside] = _sha256(path, name, to / inside)
    return sums


def copy_file_with_sum(file: Path, to: Path, *, name: str) -> str:
    """Copy one regular file, and give the sum of what was copied. As sha256_sums."""
    return _sha256(file, name, to)


def check_sums(found: Mapping[str, str], pinned: Mapping[str, str], *, name: str) -> None:
    """Raises UntrustedModelError where the sums of files differ from the pinned ones, or none are pinned.

    found, pinned: sha256 by path, of all files. name: of the model, for the message.
    """
    if not pinned:
        raise UntrustedModelError(
            f"{name} has no pinned sha256 sums: it was not registered by Rubricator; not loaded"
        )
    if differing := {path for path in found.keys() | pinned.keys() if found.get(path) != pinned.get(path)}:
        raise _differs(name, differing)


def check_file_list(bundle: Path, *, name: str) -> None:
    """Raises UntrustedModelError where files of a bundle differ from its own list; older bundles have none."""
    file = bundle / FILE_LIST
    if not file.is_file():
        return
    try:
        listed = dict(json.loads(file.read_bytes()))
    except (ValueError, TypeError):
        raise UntrustedModelError(f"{name}: {FILE_LIST} is damaged; copy the model again") from None
    found = sha256_sums(bundle, name=name)
    found.pop(FILE_LIST)
    differing = sorted(path for path in found.keys() | listed.keys() if found.get(path) != listed.get(path))
    if differing:
        raise UntrustedModelError(
            f"{name}: {len(differing)} files differ from its list {FILE_LIST}, first {_shown(differing[0])}; "
            "copy the model again"
        )


def bundle_of_mlmodel(folder: Path, *, name: str) -> Path:
    """The bundle in a folder that MLflow wrote.

    This function alone reads MLflow's file MLmodel; the versions that it was seen in are named in
    tests/models/test_bundle.py. name: of the model, for the message. Raises UntrustedModelError where MLflow would load
    more than code and plain files of this folder, and RegistryError for another interface.
    """
    content = _mlmodel(folder / "MLmodel", name)
    flavor = content["flavors"]["python_function"]
    bundle = PurePosixPath(str(flavor.get("artifacts", {}).get("bundle", {}).get("path", "..")))
    code = PurePosixPath(str(flavor.get("model_code_path"))).name
    if (
        content["flavors"].keys() != {"python_function"}
        or flavor.get("loader_module") != "mlflow.pyfunc.loaders.code_model"
        or flavor.get("python_model") is not None
        or flavor.get("code") is not None
        or code != "pyfunc_entry.py"
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


def source_of(bundle: Path, *, name: str) -> Path:
    """The folder of the source of a bundle. Raises UntrustedModelError where there is not exactly one."""
    folder = bundle / "source"
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    if [
        re.fullmatch(r"rubricator_[0-9a-f]{12}", path.name) is not None and path.is_dir() for path in found
    ] != [True]:
        raise UntrustedModelError(f"{name}: its bundle does not hold the source of one version; not loaded")
    return found[0]


def _mlmodel(file: Path, name: str) -> dict[str, Any]:
    """The content of a file MLmodel. Raises UntrustedModelError where it has not the shape that MLflow writes."""
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        flavor = content["flavors"]["python_function"]
        mappings = flavor, flavor.get("artifacts", {}), flavor.get("artifacts", {}).get("bundle", {})
        if all(
            isinstance(each, dict) for each in (content["flavors"], content.get("metadata") or {}, *mappings)
        ):
            return dict(content)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise UntrustedModelError(f"{name}: its MLmodel is not one that MLflow writes; not loaded")


def _files(folder: Path, name: str) -> list[tuple[str, Path]]:
    """Each file by its path in the folder, sorted. Raises UntrustedModelError for what is neither file nor folder."""
    found = []
    for path in sorted(folder.rglob("*")):
        mode, inside = path.lstat().st_mode, path.relative_to(folder)
        if stat.S_ISREG(mode):
            if not _is_added_on_loading(inside):
                found.append((inside.as_posix(), path))
        elif not stat.S_ISDIR(mode):
            raise _no_file(name, inside.as_posix())
    return found


def _sha256(path: Path, name: str, to: Path | None = None) -> str:
    """sha256 of a file, read once; `to` gets the same bytes."""
    # it may have become a link or a FIFO since it was listed: neither is followed, nor waited for
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _no_file(name, path.name) from None
    with os.fdopen(descriptor, "rb") as file, Path(to or os.devnull).open("wb") as copy:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _no_file(name, path.name)
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
            copy.write(block)
    return digest.hexdigest()


def _differs(name: str, paths: Collection[str]) -> UntrustedModelError:
    first = _shown(min(paths))
    return UntrustedModelError(
        f"{name}: {len(paths)} files differ from those registered, first {first}; not loaded"
    )


def _no_file(name: str, inside: str) -> UntrustedModelError:
    return UntrustedModelError(
        f"{name} holds {_shown(inside)}, which is neither a file nor a folder and cannot be checked; not loaded"
    )


def _shown(path: str) -> str:
    """A path in a message of one line."""
    return path if path.isprintable() else ascii(path)


def _is_added_on_loading(path: Path) -> bool:
    bytecode = path.parent.name == "__pycache__" and path.suffix == ".pyc"
    return bytecode or path == Path("registered_model_meta")
