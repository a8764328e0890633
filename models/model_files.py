"""Files of saved models: JSON and tensors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rubricator.nlp.errors import RubricatorError

T = TypeVar("T")


class ModelFormatError(RubricatorError):
    """A folder that does not hold a model that this version can read."""


def write_json(path: Path, content: Any) -> None:
    """Write as JSON. Raises ValueError for NaN and infinity, which JSON does not have."""
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file of a saved model. Raises ModelFormatError that names the file."""
    return _read(path, lambda path: json.loads(path.read_bytes()))


def read_tensors(path: Path, load: Callable[[Path], dict[str, T]]) -> dict[str, T]:
    """Read a safetensors file of a saved model. Raises ModelFormatError that names the file.

    load: `load_file` of safetensors, for arrays of numpy or tensors of torch.
    """
    return _read(path, load)


def _read(path: Path, load: Callable[[Path], T]) -> T:
    from safetensors import SafetensorError

    try:
        return load(path)
    except (OSError, ValueError, SafetensorError) as error:
        reason = type(error).__name__
    raise ModelFormatError(
        f"{path} cannot be read ({reason}); the folder is not a saved model, or a file of it is missing or damaged"
    )
