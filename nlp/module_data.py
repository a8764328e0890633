"""Rules that are data: the TOML file that stands beside a module and has its name."""

import sys
import tomllib
from pathlib import Path
from typing import Any


def toml_of(module: str) -> dict[str, Any]:
    """The content of the TOML file of a module, given by its `__name__`.

    Read by the loader of the module: a registered model brings its source along, and its folder may be gone.
    """
    found = sys.modules[module]
    assert found.__file__ is not None
    loader: Any = found.__loader__
    return tomllib.loads(loader.get_data(str(Path(found.__file__).with_suffix(".toml"))).decode("utf-8"))
