"""The structure of the house in figures: python tests/structure.py [FOLDER OF ANOTHER VERSION].

A room is a file or a folder that stands directly in a layer. An arrow is an import of one room of a layer by another,
whatever the number of names. The floor of a room is the longest way of arrows under it. What only type checkers read
is no import.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LAYERS = ("nlp", "models", "flows")
LONGEST_FUNCTION, MOST_PARAMETERS = 50, 8


class Import(NamedTuple):
    """One name that a module imports: `name` is dotted and whole, of a relative import too."""

    name: str
    line: int


def modules(root: Path, *layers: str) -> list[Path]:
    """The Python files of these layers, of all where none is named."""
    return sorted(path for layer in layers or LAYERS for path in (root / layer).rglob("*.py"))


def imports(path: Path, root: Path) -> Iterator[Import]:
    """Everything that a module imports when it runs, at its top or inside functions."""
    package = ("rubricator", *path.relative_to(root).parent.parts)
    for node in _what_runs(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (Import(f"{module}.{alias.name}", node.lineno) for alias in node.names)


def arrows(root: Path, layer: str) -> dict[str, set[str]]:
    """The rooms of a layer, each with the rooms of the layer that it imports."""
    rooms: dict[str, set[str]] = {}
    for path in modules(root, layer):
        inside = path.relative_to(root / layer).parts
        room = inside[0].removesuffix(".py")
        if room == "__init__":
            continue
        reached = rooms.setdefault(room, set())
        for name, _ in imports(path, root):
            parts = name.split(".")
            if parts[:2] == ["rubricator", layer] and len(parts) > 2 and parts[2] != room:
                reached.add(parts[2])
    return {room: reached & rooms.keys() for room, reached in rooms.items()}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The sets of rooms that reach each other."""
    below = {room: _reachable(graph, room) for room in graph}
    found: list[set[str]] = []
    for room in graph:
        circle = {other for other in below[room] if room in below[other]}
        if circle and circle not in found:
            found.append(circle)
    return found


def floors(graph: dict[str, set[str]]) -> int:
    """The number of floors, 0 where there is a circle."""
    if circles(graph):
        return 0
    known: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in known:
            known[room] = 1 + max(map(floor, graph[room]), default=0)
        return known[room]

    return max(map(floor, graph), default=0)


def functions(root: Path) -> Iterator[tuple[str, int, int]]:
    """Each function of the house: where it stands, its lines with its docstring, its parameters without self."""
    for path in modules(root):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = sum(argument.arg not in {"self", "cls"} for argument in arguments)
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{path.relative_to(root)}:{node.lineno} {node.name}", lines, count


def exemptions(root: Path) -> int:
    """How many `noqa` there are."""
    return sum(len(re.findall(r"#\s*noqa\b", path.read_text(encoding="utf-8"))) for path in modules(root))


def _what_runs(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.orelse:
                yield child
                yield from _what_runs(child)
        else:
            yield node
            yield from _what_runs(node)


def _reachable(graph: dict[str, set[str]], room: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[room])
    while waiting:
        if (other := waiting.pop()) not in found:
            found.add(other)
            waiting += graph[other]
    return found


def main() -> None:
    """Print the figures."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent)
    print("layer    files  rooms  arrows  floors  circles")
    for layer in LAYERS:
        graph = arrows(root, layer)
        number = sum(map(len, graph.values()))
        files = len([path for path in modules(root, layer) if path.stat().st_size > 0])
        print(f"{layer:8} {files:5}  {len(graph):5}  {number:6}  {floors(graph):6}  {len(circles(graph)):7}")
    every = list(functions(root))
    long = [each for each in every if each[1] > LONGEST_FUNCTION]
    wide = [each for each in every if each[2] > MOST_PARAMETERS]
    print(
        f"functions: {len(every)}; over {LONGEST_FUNCTION} lines: {len(long)}; over {MOST_PARAMETERS} parameters: {len(wide)}"
    )
    print(f"noqa: {exemptions(root)}")
    for where, lines, count in sorted(long + [each for each in wide if each not in long]):
        print(f"  {where}: {lines} lines, {count} parameters")


if __name__ == "__main__":
    main()
