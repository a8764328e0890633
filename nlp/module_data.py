"""Rules that are data: the TOML file next to a module, with the same name, and others that it names."""

import sys
import tomllib
from pathlib import Path
from typing import Any


def toml_of(module: str) -> dict[str, Any]:
    """The content of the TOML file of a module. module: its `__name__`.

    The loader of the module reads the file. A registered model carries its own source, whose folder may be gone.
    """
    return tomllib.loads(text_beside(module, f"{module.rpartition('.')[2]}.toml"))


def text_beside(module: str, name: str) -> str:
    """The text of a file beside a module. name: written in the module as a string, so that a model carries the file."""
    found = sys.modules[module]
    assert found.__file__ is not None
    loader: Any = found.__loader__
    data: bytes = loader.get_data(str(Path(found.__file__).with_name(name)))
    return data.decode("utf-8")
