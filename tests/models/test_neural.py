"""What every neural classifier must hold, shown on the CNN: batches, offsets, resuming, determinism, files."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from rubricator.models.cnn import CnnClassifier, CnnSettings
from rubricator.models.neural import CHECKPOINTS
from rubricator.nlp.contexts import LabelSpan, neighbours

FINDINGS = ["pneumonia of the left base", "a dry cough", "knee pain"]
WORDS = [
    "Pneumonia",
    "cough,",
    "knee",
    "no",
    "39.2",
    "Überweisung",
    "İ",
    "😀",
    "e\u0301",
    "\xa0",
    "\ud800",
    "zq",
    "\n",
]
TEXTS = [f"patient {row} was seen with {FINDINGS[row % 3]} today, well" for row in range(60)]
TARGETS = csr_matrix(np.eye(4, dtype=np.uint8)[np.arange(60) % 3])  # the last label never occurs
LABELS = ["J18", "R05", "M25", "Z99"]
GROUPS = np.arange(60) // 2
CONTEXTS = neighbours(TEXTS)
SMALL = {
    "width": 16,
    "filters": 8,
    "hidden": 16,
    "learning_rate": 0.01,
    "batch_size": 4,
    "epochs": 12,
    "max_tokens": 60,
}
SENTENCES = CnnSettings(context=2, run=4, **SMALL)
NOTES = CnnSettings(codewise=True, dropout=0.1, **SMALL)


def fitted(chosen: CnnSettings, **given) -> CnnClassifier:
    return CnnClassifier(LABELS, chosen).fit(TEXTS, TARGETS, groups=GROUPS, contexts=CONTEXTS, **given)


@pytest.fixture(scope="module")
def notes() -> CnnClassifier:
    return fitted(NOTES)


@pytest.fixture(scope="module")
def sentences() -> CnnClassifier:
    return fitted(SENTENCES)


BOTH = pytest.mark.parametrize("kind", ["notes", "sentences"])


@BOTH
def test_it_learns_and_a_label_without_positives_has_probability_0(kind: str, request) -> None:
    model = request.getfixturevalue(kind)
    found = model.predict_proba(TEXTS, contexts=CONTEXTS)
    assert found.dtype == np.float32
    assert (found.argmax(axis=1) == np.arange(60) % 3).mean() > 0.9
    assert (found[:, 3] == 0).all()
    assert (found[:, :3] > 0).all()
    held_in = model.held_in
    assert len(held_in.rows) == len(held_in.probabilities) > 5
    assert not set(GROUPS[held_in.rows]) & set(np.delete(GROUPS, held_in.rows))
