"""JSON files of saved models."""

import json
from pathlib import Path
from typing import Any

from rubricator.nlp.errors import RubricatorError


class ModelFormatError(RubricatorError):
    """A folder that does not hold a model that this version can read."""


def write_json(path: Path, content: Any) -> None:
    """Write as JSON. Raises ValueError for NaN and infinity, which JSON does not have."""
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file of a saved model. Raises ModelFormatError that names the file."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = type(error).__name__
    raise ModelFormatError(
        f"{path} cannot be read ({reason}); the folder is not a saved model, or not a whole one"
    )
