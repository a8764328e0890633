"""Names that a package gives on demand, so that importing it imports nothing heavy."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def public(package: str, name: str, where: Mapping[str, str]) -> Any:
    """What a package's `__getattr__` returns: the object of this name, from the module that holds it.

    where: by public name, the module relative to the package (".sections.finder"), and after a colon the name it has
    there, if that is another. Raises AttributeError for a name that is not in it.
    """
    if name not in where:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, inside = where[name].partition(":")
    found = getattr(import_module(module, package), inside or name)
    setattr(sys.modules[package], name, found)
    return found
