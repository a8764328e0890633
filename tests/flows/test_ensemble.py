"""An ensemble of two registered models: refused where it is not better, registered, loaded elsewhere, explained."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rubricator.flows.demo.synthetic import write_synthetic_notes
from rubricator.flows.parameters.flat import flat
from rubricator.flows.train import Trained, train
from rubricator.models.ensemble.classifier import EnsembleError
from rubricator.models.registry import registry

CHARACTERS = ("features.word_ngrams=1", "features.char_weight=2", "cost=0.1")
IN_ANOTHER_PROCESS = """
import json, sys
from rubricator.flows.home import open_home
from rubricator.models.registry import registry
open_home(sys.argv[1]).init_mlflow()
texts = json.load(sys.stdin)
print(json.dumps(registry.load(registry.resolve("icd-codes/3")).predict_proba(texts).tolist()))
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    corpus = write_synthetic_notes(tmp_path / "corpus", notes=80, seed=1)
    file = tmp_path / "notes.parquet"
    pl.read_ndjson(corpus.notes).write_parquet(file)
    return file


def trained(notes: Path, home: Path, *settings: str, model: str = "svm") -> Trained:
    return flat(train)(
        "codes",
        str(notes),
        model=model,
        setting=settings,
        top_labels=6,
        folds=2,
        bootstrap=50,
        home=str(home),
    )


def test_two_models_are_averaged_if_that_is_better_or_if_the_user_says_so(notes: Path, home: Path) -> None:
    words, characters = trained(notes, home), trained(notes, home, *CHARACTERS)
    members = f"members=icd-codes/{words.version},icd-codes@challenger"
    with pytest.raises(
        EnsembleError, match=r"not registered: micro-F1 0\.\d{3}, [+-]0\.\d{3} against icd-codes/[12]"
    ):
        trained(notes, home, members, model="ensemble")
    found = trained(notes, home, members, "must_win=false", model="ensemble")
    assert found.version == "3"
    [beside] = found.beside
    best = max(words, characters, key=lambda member: member.evaluation.values()["micro_f1"])
    assert beside == f"best member icd-codes/{best.version}"
    assert found.beside[beside] == pytest.approx(best.evaluation.values()["micro_f1"])

    model = registry.load(registry.resolve("icd-codes@challenger"))
    assert model.settings["classifier"]["members"] == ["icd-codes/1", "icd-codes/2"], "the alias is pinned"
    texts = pl.read_parquet(notes)["text"].head(5).to_list()
    probabilities = model.predict_proba(texts)
    elsewhere = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, home],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    np.testing.assert_allclose(json.loads(elsewhere.stdout), probabilities, atol=1e-6)

    decided = [np.flatnonzero(row != "reject").tolist() for row in model.decide(probabilities)]
    alone = [registry.load(registry.resolve(f"icd-codes/{n}")).evidence(texts, decided) for n in (1, 2)]
    for text, of_both, *of_one in zip(texts, model.evidence(texts, decided), *alone, strict=True):
        for spans, *parts in zip(of_both, *of_one, strict=True):
            marked = {at for part in parts for span in part for at in range(span.start, span.end)}
            assert spans and all(set(range(span.start, span.end)) <= marked for span in spans)
            assert all(0 <= span.start < span.end <= len(text) for span in spans)
            assert sum(span.weight for span in spans) <= 1 + 1e-6
