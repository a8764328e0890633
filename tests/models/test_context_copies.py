"""Plan sentences whose neighbours say something else, and plans in the style of a telegram: synthetic notes."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.context_copies import with_context_copies
from rubricator.models.linear.svm import ContextBound, SvmClassifier
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.contexts import Context, neighbours
from rubricator.nlp.examples import Examples

PLANS = [
    "We will continue lisinopril.",
    "Follow up in two weeks.",
    "He should return for a film.",
    "I recommend a cardiology consult.",
    "Continue aspirin as needed.",
]
FINDINGS = [
    "The lungs are clear to auscultation.",
    "He denies chest pain.",
    "Blood pressure was high.",
    "She has a history of asthma.",
    "The knee began to hurt.",
]


def sorted_notes(count: int, seed: int = 0) -> Examples:
    """All findings, then all plans, as under headings."""
    random = np.random.default_rng(seed)
    notes = [
        [*map(str, random.permutation(FINDINGS)), *map(str, random.permutation(PLANS))] for _ in range(count)
    ]
    texts = [sentence for note in notes for sentence in note]
    return Examples(
        ids=[str(row) for row in range(len(texts))],
        groups=np.repeat(np.arange(count), 10),
        texts=texts,
        targets=csr_matrix(np.array([text in PLANS for text in texts], np.uint8).reshape(-1, 1)),
        labels=["plan"],
        contexts=[context for note in notes for context in neighbours(note)],
    )


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return train_model(sorted_notes(60), task="plan", classifier="svm")


def probability(model: TrainedModel, text: str, around: list[str]) -> float:
    return float(model.predict_proba([text], contexts=[Context(tuple(around), tuple(around))])[0, 0])


def test_copies_stand_after_the_examples_in_contexts_of_the_other_label_or_none() -> None:
    examples = sorted_notes(30)
    copied = with_context_copies(examples)
    count = len(examples)
    assert (copied.texts[:count], copied.contexts[:count]) == (examples.texts, examples.contexts)
    assert len(copied) > count
    assert copied.contexts is not None
    assert any(context == Context() for context in copied.contexts[count:])
    plan_contexts = {c for c, text in zip(examples.contexts, examples.texts, strict=True) if text in PLANS}
    for text, context in zip(copied.texts[count:], copied.contexts[count:], strict=True):
        assert context == Context() or (context in plan_contexts) == (text not in PLANS)
    of_group = set(zip(examples.groups.tolist(), examples.contexts, strict=True))
    added = zip(copied.groups[count:].tolist(), copied.contexts[count:], strict=True)
    assert {
        pair for pair in added if pair[1] != Context()
    } <= of_group  # no word of one patient becomes one of two
    assert (with_context_copies(examples).targets != copied.targets).nnz == 0


def test_nothing_is_copied_for_other_labels_or_without_contexts() -> None:
    examples = sorted_notes(5)
    for other in (replace(examples, labels=["medications"]), replace(examples, contexts=None)):
        assert with_context_copies(other) is other


def test_a_plan_among_findings_is_found_better_than_without_copies_and_bound(model: TrainedModel) -> None:
    unbound = SvmClassifier.default_settings("sentence").model_copy(update={"context_bound": None})
    without = train_model(
        sorted_notes(60), task="plan", classifier="svm", settings=unbound, context_copies=False
    )
    text = "We will continue aspirin."
    assert probability(model, text, FINDINGS) > probability(without, text, FINDINGS)
    assert probability(model, text, FINDINGS) > 0.5
    assert probability(model, "He denies chest pain.", PLANS) < 0.5
    assert model.settings["context_copies"] > 0
    assert without.settings["context_copies"] == 0


@given(arrays(np.float32, (5, 2), elements=st.floats(-9, 9, width=32)))
def test_a_clear_decision_keeps_its_side_whatever_the_context_says(own: NDArray[np.float32]) -> None:
    bound = ContextBound(most=1.2, yielding=2.5)
    for context in (-100, 0, 100):
        decisions = bound(own, np.full_like(own, context))
        clear = np.abs(own) > 1.2 / 2.5
        assert (np.sign(decisions) == np.sign(own))[clear].all()


@given(arrays(np.float32, (5,), elements=st.floats(-9, 9, width=16)), st.floats(-3, 3, width=16))
def test_of_two_texts_in_one_context_the_clearer_one_stays_so(
    own: NDArray[np.float32], context: float
) -> None:
    own = np.unique(own)
    assert (np.diff(ContextBound()(own, own + np.float32(context))) > 0).all()


def test_calibration_and_fingerprint_are_of_the_examples_alone(model: TrainedModel) -> None:
    assert model.fingerprint == sorted_notes(60).fingerprint()
    assert model.training_positives == [300]


def test_a_terse_plan_is_found_and_its_evidence_points_into_the_text(model: TrainedModel) -> None:
    text = "cont ASA prn, f/u 2 wks"
    assert probability(model, text, []) > 0.5
    [[spans]] = model.evidence([text], [[0]])
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    ordered = sorted(spans, key=lambda span: span.start)
    assert all(left.end <= right.start for left, right in pairwise(ordered))
    assert any(text[span.start : span.end].startswith(("cont", "f/u", "prn")) for span in spans)


def test_boilerplate_is_never_a_plan(model: TrainedModel) -> None:
    for text in ("Total time spent was 35 minutes.", "Electronically signed by A. Moss, MD"):
        assert probability(model, text, PLANS) == 0


def test_a_model_saved_before_abbreviations_were_read_says_the_same(tmp_path: Path) -> None:
    before = SvmClassifier.default_settings("sentence")
    kinds = ("features", "context", "adjoining")
    before = before.model_copy(
        update={kind: getattr(before, kind).model_copy(update={"abbreviations": False}) for kind in kinds}
    )
    model = train_model(sorted_notes(10), task="plan", classifier="svm", settings=before)
    model.save(tmp_path / "model")
    config = tmp_path / "model" / "classifier.json"
    config.write_text(config.read_text().replace('"abbreviations": false', '"assertions": false'))
    loaded = TrainedModel.load(tmp_path / "model")
    assert probability(loaded, "cont ASA", PLANS) == probability(model, "cont ASA", PLANS)
