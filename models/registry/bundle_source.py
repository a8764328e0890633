"""Collects the source code that prediction needs, by syntax trees and the import system.

A registered model carries this source (models/registry/bundle.py), so that a newer version of Rubricator does not
change its predictions.
"""

import ast
import hashlib
import importlib.util
import json
import re
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec
from itertools import accumulate
from pathlib import Path
from typing import NoReturn

from rubricator.nlp.errors import RubricatorError


class BundleSourceError(RubricatorError):
    """Source that a bundle cannot carry; says in which file and line, and why."""


def bundle_source(*modules: str) -> tuple[str, dict[str, str]]:
    """The source of these modules and of all that they reach, importable under a name made from its hash.

    Returns the name, and the text of each file by its path below the top-level package, sorted by path. In the text,
    imports from the top-level package are imports from the name.

    A module reaches the modules that it imports, also within functions. It also reaches the modules that a whole string
    gives as import path ("rubricator.models.linear.svm:SvmClassifier"). Left out are imports for type checkers only,
    which are never run, and modules of other top-level packages. With a module come the packages that it is in, the
    TOML file of its name, and the TOML files beside it that it names in strings.

    A package can provide names lazily, by `__getattr__` and relative paths. These paths are not followed. A module that
    imports such a name from the package is refused.

    No module is run. Raises BundleSourceError where a module cannot be found, or would not work in a bundle.
    """
    found: dict[str, _Module] = {}
    waiting = list(modules)
    while waiting:
        spec = _find(name := waiting.pop())
        if spec is None:
            raise BundleSourceError(f"the module {name} cannot be found")
        if name not in found and spec.origin:  # the top-level package may have no file
            found[name] = module = _Module(spec)
            waiting += module.reached
        if package := name.rpartition(".")[0]:
            waiting.append(package)
    plain = {file: text for module in found.values() for file, text in module.files().items()}
    plain = {path: plain[path] for path in sorted(plain)}
    bundle = f"{_top(modules[0])}_{hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:12]}"
    return bundle, plain | {module.path: module.renamed(bundle) for module in found.values()}


class _WhatRuns(ast.NodeVisitor):
    """Skips code that only type checkers read."""

    def visit_If(self, node: ast.If) -> None:
        checked = ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for child in node.orelse if checked else ast.iter_child_nodes(node):
            self.visit(child)


class _Module(_WhatRuns):
    """A module of ours: `reached` are the dotted names of the modules that it reaches."""

    def __init__(self, spec: ModuleSpec) -> None:
        assert spec.origin is not None
        self.file, self.top = Path(spec.origin), _top(spec.name)
        is_package = spec.submodule_search_locations is not None
        self.package = spec.name if is_package else spec.name.rpartition(".")[0]
        parts = [*spec.name.split(".")[1:], *["__init__"] * is_package]
        self.path = "/".join(parts) + ".py"
        self.text = self.file.read_text(encoding="utf-8")
        self.bytes = self.text.encode()  # syntax trees count in bytes
        self.lines = list(accumulate(map(len, self.bytes.splitlines(keepends=True)), initial=0))
        self.import_path = re.compile(rf"(?P<module>{self.top}(\.\w+)+)(:(?P<name>\w+))?(?P<more>\.?)")
        self.reached: list[str] = []
        self.renames: set[int] = set()  # where the top-level package is named
        self.visit(ast.parse(self.text))

    def files(self) -> dict[str, str]:
        """The text of the module and of its data, by path."""
        names = {self.file.with_suffix(".toml").name, *re.findall(r'"([\w-]+\.toml)"', self.text)}
        beside = [self.file.with_name(name) for name in sorted(names) if self.file.with_name(name).exists()]
        folder = self.path.rpartition("/")[0]
        texts = {f"{folder}/{data.name}".lstrip("/"): data.read_text("utf-8") for data in beside}
        return {self.path: self.text, **texts}

    def renamed(self, bundle: str) -> str:
        """The text with this name in place of the name of the top-level package."""
        text = self.bytes
        for start in sorted(self.renames, reverse=True):
            text = text[:start] + bundle.encode() + text[start + len(self.top) :]
        return text.decode()

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if _top(alias.name) != self.top:
                continue
            if alias.asname is None or alias.name == self.top:
                self._refuse(
                    node, f"`import {alias.name}` has another name in a bundle; write `from … import …`"
                )
            self._reach(node, alias.name)
            self._rename(alias, rb"")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level:
            try:
                module = importlib.util.resolve_name("." * node.level + module, self.package)
            except ImportError:
                self._refuse(node, "a relative import leaves the top-level package")
        elif _top(module) == self.top:
            self._rename(node, rb"from[\s\\]+")
        else:
            return
        for alias in node.names:
            self._reach(node, module, alias.name)

    def visit_Constant(self, node: ast.Constant) -> None:
        path = self.import_path.fullmatch(node.value) if isinstance(node.value, str) else None
        if path is None:
            return
        module, name = path["module"], path["name"]
        if not name and _find(".".join(module.split(".")[:2])) is None:
            return  # a name of another kind
        if path["more"]:
            self._refuse(node, f"the import path {node.value!r}… is put together; write it whole")
        if not name and _find(module) is None:  # a name in a module, given with a dot
            module, _, name = module.rpartition(".")
        self._reach(node, module, name)
        self._rename(node, rb"[rRuU]?(\"\"\"|'''|\"|')")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        for part in node.values:
            if not isinstance(part, ast.Constant):
                self.visit(part)
            elif self.import_path.fullmatch(str(part.value)):
                self._refuse(node, f"the import path {part.value!r}… is put together; write it whole")

    def visit_Name(self, node: ast.Name) -> None:
        if node.id == "__file__":
            self._refuse(
                node, "a bundle has no `__file__` to read beside; read the module's TOML file by `toml_of`"
            )

    def _reach(self, node: ast.AST, module: str, name: str | None = None) -> None:
        """Add a module; add also the name that is imported from it, where this is a module too."""
        spec = _find(module)
        if spec is None:
            self._refuse(node, f"the module {module} cannot be found")
        self.reached.append(module)
        if name is None or spec.submodule_search_locations is None:
            return
        if _find(f"{module}.{name}"):
            self.reached.append(f"{module}.{name}")
        elif name not in _Names(spec).names:
            self._refuse(
                node, f"{module}.{name} cannot be found: no module, and no name that {module} itself holds"
            )

    def _rename(self, node: ast.expr | ast.alias | ast.stmt, before: bytes) -> None:
        """Record where the top-level package is named: after `before`, a pattern that the node begins with."""
        start = self.lines[node.lineno - 1] + node.col_offset
        found = re.compile(before + self.top.encode() + rb"\b").match(self.bytes, start)
        if found is None:
            self._refuse(
                node, f"{self.top} is not written out at the start; write the import path in one piece"
            )
        self.renames.add(found.end() - len(self.top))

    def _refuse(self, node: ast.AST, why: str) -> NoReturn:
        raise BundleSourceError(f"{self.file}:{getattr(node, 'lineno', 1)}: {why}")


def _top(name: str) -> str:
    return name.partition(".")[0]


def _find(name: str) -> ModuleSpec | None:
    """As importlib.util.find_spec, but without running the packages that the module is in."""
    package = name.rpartition(".")[0]
    if not package:
        return importlib.util.find_spec(name)
    above = _find(package)
    if above is None or above.submodule_search_locations is None:
        return None
    for finder in sys.meta_path:
        with suppress(KeyError):  # of a folder without __init__.py in a package that was not imported
            if spec := finder.find_spec(name, above.submodule_search_locations):
                return spec if spec.has_location else None
    return None


class _Names(_WhatRuns):
    """The names that a module itself defines or imports."""

    def __init__(self, package: ModuleSpec) -> None:
        self.names: set[str] = set()
        if package.origin:
            self.visit(ast.parse(Path(package.origin).read_text(encoding="utf-8")))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.names.add(node.name)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.names.add(node.name)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.names.add(node.id)

    def visit_alias(self, node: ast.alias) -> None:
        self.names.add(node.asname or _top(node.name))
