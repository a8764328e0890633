"""The house: flows → models → nlp, no circle between rooms, and each heavy library where it may be named."""

import ast
from pathlib import Path

import pytest
from structure import LAYERS, arrows, circles, imports, modules

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "flows": {"rubricator.flows", "rubricator.models", "rubricator.nlp"},
    "models": {"rubricator.models", "rubricator.nlp"},
    "nlp": {"rubricator.nlp"},
}
MLFLOW, TORCH = "models/registry/", ("models/neural/", "models/ablations/")


@pytest.mark.parametrize("path", modules(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    inside = path.relative_to(ROOT).as_posix()
    layer = inside.partition("/")[0]
    relative = [node.lineno for node in ast.walk(ast.parse(path.read_text())) if getattr(node, "level", 0)]
    assert not relative, f"{inside}:{relative}: relative import; write rubricator.{layer}…"
    for name, line in imports(path, ROOT):
        where, top = f"{inside}:{line}", name.split(".")[0]
        if top == "rubricator" and name.count("."):
            assert ".".join(name.split(".")[:2]) in MAY_IMPORT[layer], (
                f"{where}: {layer} may not import {name}"
            )
        assert top not in {"flows", "models", "nlp"}, f"{where}: import it as rubricator.{name}"
        assert not top.startswith("prefect") or layer == "flows", f"{where}: Prefect is named only in flows"
        assert top != "mlflow" or layer == "flows" or inside.startswith(MLFLOW), (
            f"{where}: MLflow is named only in flows and {MLFLOW}"
        )
        assert top != "torch" or inside.startswith(TORCH), (
            f"{where}: torch is named only in {' and '.join(TORCH)}"
        )


@pytest.mark.parametrize("layer", LAYERS)
def test_no_rooms_of_a_layer_import_each_other_in_a_circle(layer: str) -> None:
    assert circles(arrows(ROOT, layer)) == []
