"""The house: flows → models → nlp, and each heavy library in the rooms that may name it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for layer in ("flows", "models", "nlp") for path in (ROOT / layer).glob("**/*.py"))

MAY_IMPORT = {
    "flows": {"rubricator.flows", "rubricator.models", "rubricator.nlp"},
    "models": {"rubricator.models", "rubricator.nlp"},
    "nlp": {"rubricator.nlp"},
}
NEURAL = {"cnn.py", "transformer.py", "codewise_attention.py", "losses.py", "neural.py"}


def imports(path: Path) -> set[str]:
    """Dotted names of everything that a module imports, at its top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write rubricator.{path.parent.name}…"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        top = name.split(".")[0]
        if top == "rubricator":
            assert ".".join(name.split(".")[:2]) in MAY_IMPORT[layer], f"{layer} may not import {name}"
        assert top not in {"flows", "models", "nlp"}, f"{name}: import it as rubricator.{name}"
        assert not top.startswith("prefect") or layer == "flows", "Prefect is named only in flows"
        assert top != "mlflow" or layer == "flows" or path.name in {"registry.py", "pyfunc_entry.py"}, (
            "MLflow is named only in flows and models/registry.py"
        )
        assert top != "torch" or path.name in NEURAL, "torch is named only in the neural files of models"
