"""Models in folders: which folder a name means, where in it the model is, and a private copy to load."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from rubricator.models.model_files import ModelFormatError
from rubricator.models.registry.bundle import copy_with_sums, sha256_sums
from rubricator.models.registry.errors import RegistryError

KINDS = (
    "NAME, NAME@ALIAS, NAME/VERSION, models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID, runs:/RUN_ID/model, "
    "file:///FOLDER or ./FOLDER"
)
_DEPTH = 4  # levels of folders that are looked through


def named_folder(model: str) -> Path | None:
    """The folder that a name of a model means by its form: a path, or a file: URI. None for a name in the registry.

    Raises RegistryError for URIs that are not read.
    """
    if "\\" in model and not Path(model).exists():
        raise RegistryError(f"{model!r}: write a folder with '/', such as ./my-model")
    if model.startswith((".", "/", "~")):
        return _path(model)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", model)
    if scheme is None or scheme[1] in {"models", "runs"}:
        return None
    if scheme[1].lower() != "file":
        raise RegistryError(
            f"{scheme[0]} is no address that models are read from; give {KINDS}. Fetch others into a folder first: "
            "mlflow artifacts download --artifact-uri URI --dst-path FOLDER"
        )
    rest = model[scheme.end() :]
    if rest.startswith("//"):
        host, _, rest = rest[2:].partition("/")
        if host not in {"", "localhost"}:
            raise RegistryError(f"{model!r} names a host; write three slashes: file:///FOLDER")
        rest = "/" + rest
    return Path(rest) if Path(rest).exists() else Path(unquote(rest))


def model_in(folder: Path) -> Path:
    """The one model in a folder: the folder itself, or one a few levels down. Absolute.

    A model is what `TrainedModel.save` wrote (config.json), a bundle of it, or what MLflow wrote (MLmodel). Raises
    RegistryError where there is none, or several, which it lists.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        problem = "is a file; give the folder of the model" if folder.exists() else "is no folder"
        raise RegistryError(f"{folder} {problem}")
    if _is_model(folder):
        return folder
    within = {path for depth in range(1, _DEPTH + 1) for path in folder.glob("*/" * depth) if _is_model(path)}
    found = sorted(path for path in within if not within & {*path.parents})
    if not found:
        raise RegistryError(f"{folder} does not hold a saved model (no config.json, and no MLmodel)")
    if len(found) > 1:
        names = "\n".join(f"  {path}" for path in found)
        raise RegistryError(f"{folder} holds {len(found)} models; name one of them:\n{names}")
    return found[0]


@contextmanager
def fetched(
    source: str, *, name: str, pinned: Mapping[str, str] | None = None
) -> Iterator[tuple[Path, dict[str, str]]]:
    """A private copy of the files of a model, and their sums, for as long as the body runs.

    source: a path or a URI of MLflow. name: of the model, for messages. pinned: the sums that the files must have, if
    known. Raises UntrustedModelError for anything but regular files and folders, and RegistryError where the folder is
    gone. A ModelFormatError of the body names the source in place of the copy.
    """
    place = local_path(source)
    if place and not place.is_dir():
        raise RegistryError(f"{name}: its folder {place} is missing; restore it from a backup")
    with tempfile.TemporaryDirectory(prefix="rubricator-model-") as scratch:
        if place:
            copy = Path(scratch) / "model"
            copy.mkdir()
            sums = copy_with_sums(place, copy, name=name, pinned=pinned)
        else:
            from mlflow.artifacts import download_artifacts

            copy = Path(download_artifacts(artifact_uri=source, dst_path=scratch))
            sums = sha256_sums(copy, name=name)
        try:
            yield copy, sums
        except ModelFormatError as error:
            raise ModelFormatError(str(error).replace(str(copy), str(place or source))) from None


def local_path(source: str) -> Path | None:
    """The path of a local source; None for a URI of another kind."""
    parts = urlsplit(source)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return None if parts.scheme and not source.startswith("/") else Path(source)


def _path(model: str) -> Path:
    try:
        return Path(model).expanduser()
    except RuntimeError:
        raise RegistryError(f"{model!r}: there is no such user") from None


def _is_model(folder: Path) -> bool:
    is_bundle = (folder / "model" / "config.json").is_file() and (folder / "source").is_dir()
    return is_bundle or any((folder / file).is_file() for file in ("config.json", "MLmodel"))
