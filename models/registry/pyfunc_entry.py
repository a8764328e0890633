"""What MLflow runs to serve a registered model, whatever its classifier. Each model holds a copy of this file.

A bundle holds the saved model and a snapshot of the source that it was trained with. So a newer Rubricator does
not change an older model's predictions, and Rubricator need not be installed. The snapshot is imported under a
name made from its hash (`rubricator_<hash>`), so that versions with different source work side by side.

`predict` takes a table with one row per unit (a sentence, or a note) and a column `text`. For sentences it also
takes columns `before` and `after`: the sentences around it, in order, as arrays of strings; without them, none.
It gives, per row, the labels at or above `min_probability` (default: each label's own threshold), best first and
at most `top_k` (0: all), in columns `labels`, `probabilities`, `decisions` ("accept", "review", "reject") and
`evidence`: per label a JSON list of `{"start", "end", "weight"}` with offsets into the text.
"""

import importlib
import importlib.machinery
import importlib.util
import json
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


def load_bundle(folder: Path) -> Any:
    """The TrainedModel of a bundle, loaded by the source of the bundle."""
    [source] = (folder / "source").iterdir()
    # until version 0.1 TrainedModel was in models/classifier.py
    of_now = (source / "models" / "trained_model.py").exists()
    module = _module(folder, "models.trained_model" if of_now else "models.classifier")
    return module.TrainedModel.load(folder / "model")


def _module(bundle: Path, name: str) -> ModuleType:
    """A module of the source of a bundle."""
    [source] = (bundle / "source").iterdir()
    if source.name not in sys.modules:
        sys.meta_path.insert(0, Snapshot(source))
    return importlib.import_module(f"{source.name}.{name}")


class Snapshot(MetaPathFinder, InspectLoader):
    """Imports the modules of one folder as a package of the folder's name.

    The source and its data are read once, here, and never from bytecode. So the code that runs is the code that was
    checked, also after the folder is gone, and nothing is written beside the source.
    """

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, Path] = {}
        self.packages: set[str] = set()
        for path in folder.rglob("*.py"):
            parts = (folder.name, *path.relative_to(folder).parent.parts)
            # a folder without __init__.py is a package too: in bundles of version 0.1.0 all are
            self.packages |= {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
            self.files[".".join(parts if path.stem == "__init__" else (*parts, path.stem))] = path
        self.sources = {name: path.read_text("utf-8") for name, path in self.files.items()}
        self.data = {str(path): path.read_bytes() for path in folder.rglob("*.toml")}

    def find_spec(
        self,
        fullname: str,
        _path: Sequence[str] | None = None,
        _target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.sources and fullname not in self.packages:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in self.packages)
        if fullname in self.files:
            spec.origin, spec.has_location = str(self.files[fullname]), True
        return spec

    def get_source(self, fullname: str) -> str:
        return self.sources.get(fullname, "")

    def get_data(self, path: str) -> bytes:
        """The content of a data file beside a module."""
        return self.data[path]


class RubricatorModel(PythonModel):
    def load_context(self, context: PythonModelContext) -> None:
        bundle = Path(context.artifacts["bundle"])
        self.model, contexts = load_bundle(bundle), _module(bundle, "nlp.contexts")
        self.context, self.package = contexts.Context, contexts.__name__.partition(".")[0]

    def predict(  # type: ignore[override]
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        params = params or {}
        top_k, least = int(params.get("top_k", 0)), float(params.get("min_probability", -1.0))
        texts = model_input["text"].tolist()
        contexts = [
            self.context(before, after)
            for before, after in zip(
                *(_sentences(model_input, side) for side in ("before", "after")), strict=True
            )
        ]
        probabilities = self.model.predict_proba(texts, contexts=contexts)
        decisions = np.asarray(self.model.decide(probabilities))
        kept = (decisions != "reject") if least < 0 else (probabilities >= least)
        ranking = importlib.import_module(f"{self.package}.models.decisions.ranking")
        rows, columns, _ = ranking.best_first(probabilities, kept, top_k or None)
        ends = np.cumsum(np.bincount(rows, minlength=len(texts)))
        chosen = [labels.tolist() for labels in np.split(columns, ends[:-1])] if texts else []
        evidence = self.model.evidence(texts, chosen)
        names = self.model.labels
        return pd.DataFrame(
            {
                "labels": [[names[j] for j in columns] for columns in chosen],
                "probabilities": [
                    probabilities[i, columns].astype(float).tolist() for i, columns in enumerate(chosen)
                ],
                "decisions": [decisions[i, columns].tolist() for i, columns in enumerate(chosen)],
                "evidence": [[_json(spans) for spans in of_labels] for of_labels in evidence],
            }
        )


def _sentences(table: pd.DataFrame, column: str) -> list[tuple[str, ...]]:
    if column not in table:
        return [()] * len(table)
    return [() if value is None or isinstance(value, float) else tuple(value) for value in table[column]]


def _json(spans: Sequence[Any]) -> str:
    return json.dumps([{"start": s.start, "end": s.end, "weight": float(s.weight)} for s in spans])


set_model(RubricatorModel())
