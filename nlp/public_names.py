"""Public names that a package imports on demand, so that importing the package itself is fast."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def public(package: str, name: str, where: Mapping[str, str]) -> Any:
    """The object of this public name, imported from its module. A package's `__getattr__` returns it.

    where: public name → module relative to the package (".sections.finder"). If the object has another name in its
    module, that name follows after a colon. Raises AttributeError for a name that is not in `where`.
    """
    if name not in where:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, inside = where[name].partition(":")
    found = getattr(import_module(module, package), inside or name)
    setattr(sys.modules[package], name, found)
    return found
