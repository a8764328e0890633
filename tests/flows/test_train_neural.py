"""A network through all of `train`: resumed after kill -9, registered, and predicting with evidence."""

import json
import re
import signal
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from rubricator.flows.demo.synthetic import SyntheticCorpus, write_synthetic_notes
from rubricator.flows.parameters.flat import flat
from rubricator.flows.predict import predict
from rubricator.flows.train import train
from rubricator.flows.training.checkpoints import networks_in_training
from rubricator.models.neural.training_data import ShuffledRows
from rubricator.models.registry import registry

SMALL = [
    "width=16",
    "filters=8",
    "learning_rate=0.01",
    "batch_size=16",
    "epochs=6",
    "least_steps=0",
    "members=1",
    "patience=9",
    "max_tokens=200",
]
KILLED = """
import json, os, signal, sys
import transformers
from rubricator.flows.parameters.flat import flat
from rubricator.flows.train import train

trained = 0

class Kill(transformers.TrainerCallback):
    def on_train_begin(self, *_, **__):
        global trained
        trained += 1

    def on_epoch_begin(self, args, state, control, **_):
        if (trained, state.epoch) == (2, 3):
            os.kill(os.getpid(), signal.SIGKILL)

made = transformers.Trainer.__init__
transformers.Trainer.__init__ = lambda self, *a, callbacks, **k: made(self, *a, callbacks=[*callbacks, Kill()], **k)
flat(train)(**json.load(sys.stdin))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCorpus:
    return write_synthetic_notes(tmp_path_factory.mktemp("corpus"), notes=60, new_notes=10, seed=1)


def test_codes_by_a_cnn_go_on_after_kill_9_and_are_predicted_with_evidence(
    corpus: SyntheticCorpus, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "task": "codes",
        "notes": str(corpus.notes),
        "model": "cnn",
        "setting": SMALL,
        "top_labels": 4,
        "folds": 2,
        "bootstrap": 20,
        "home": str(home),
    }
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    [kept] = (home / "checkpoints").iterdir()
    assert re.fullmatch(r"network in training: step \d+ of at most \d+", networks_in_training(kept))
    asked: list[int] = []
    shuffle = ShuffledRows.set_epoch
    monkeypatch.setattr(
        ShuffledRows, "set_epoch", lambda self, epoch: (asked.append(epoch), shuffle(self, epoch))
    )
    trained = flat(train)(**given)
    epochs = [epoch for epoch, _ in groupby(asked)]
    whole = [0, 1, 2, 3, 4, 5]
    assert epochs == [0, 3, 4, 5, *whole * 3], "the first of five networks was done, the second half done"
    assert trained.version == "1"
    assert not kept.exists()

    rows, texts = predicted(corpus, "icd-codes", tmp_path / "out", home)
    assert {row["note_id"] for row in rows} == set(texts) and len(rows) == 4 * len(texts)
    assert {row["label"] for row in rows} == set(registry.load(registry.resolve("icd-codes/1")).labels)


def test_plan_sentences_by_a_cnn_are_predicted_with_evidence(
    corpus: SyntheticCorpus, home: Path, tmp_path: Path
) -> None:
    trained = flat(train)(
        "plan",
        str(corpus.notes),
        model="cnn",
        setting=[*SMALL, "hidden=16", "epochs=3"],
        folds=2,
        bootstrap=20,
        home=str(home),
    )
    assert trained.evaluation.values()["micro_f1"] > 0.5
    rows, texts = predicted(corpus, "plan-sentences", tmp_path / "out", home)
    assert {row["note_id"] for row in rows} == set(texts) and len(rows) > 5 * len(texts)
    said = {texts[row["note_id"]][row["start"] : row["end"]] for row in rows if row["decision"] != "reject"}
    assert any("follow" in sentence.lower() for sentence in said)


def predicted(
    corpus: SyntheticCorpus, model: str, out: Path, home: Path
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All rows for the unseen notes, each of them with evidence within its unit; and the texts by note id."""
    flat(predict)(
        str(corpus.new_notes),
        model=f"{model}@challenger",
        out=str(out),
        min_probability=0,
        workers=1,
        home=str(home),
    )
    rows = pq.read_table(out / "predictions").to_pylist()
    for row in rows:
        assert row["evidence"] or row["probability"] == 0
        assert all(row["start"] <= span["start"] < span["end"] <= row["end"] for span in row["evidence"])
    return rows, dict(pl.read_ndjson(corpus.new_notes).select("note_id", "text").iter_rows())
