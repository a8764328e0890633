"""Rules that are data: the TOML file next to a module, with the same name."""

import sys
import tomllib
from pathlib import Path
from typing import Any


def toml_of(module: str) -> dict[str, Any]:
    """The content of the TOML file of a module. module: its `__name__`.

    The loader of the module reads the file. A registered model carries its own source, whose folder may be gone.
    """
    found = sys.modules[module]
    assert found.__file__ is not None
    loader: Any = found.__loader__
    return tomllib.loads(loader.get_data(str(Path(found.__file__).with_suffix(".toml"))).decode("utf-8"))
