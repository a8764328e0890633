"""Calibration and thresholds on made-up scores whose true probabilities are known."""

import json
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.decisions.calibration import Calibration, CalibrationSettings

SETTINGS = CalibrationSettings()


def made_up(
    rows: int, offsets: list[float], seed: int = 0
) -> tuple[NDArray[np.float32], csr_matrix, NDArray[np.float64]]:
    """Raw probabilities, targets and the true probabilities: sigmoid(2 · logit(raw) + offset of the label)."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 1.5, (rows, len(offsets)))
    true = 1 / (1 + np.exp(-(2 * scores + offsets)))
    return (
        (1 / (1 + np.exp(-scores))).astype(np.float32),
        csr_matrix((random.random(true.shape) < true).astype(np.uint8)),
        true,
    )


def test_it_finds_the_true_probabilities() -> None:
    raw, targets, true = made_up(5000, [-1.0, -2.0, 0.5])
    fitted = Calibration.fit(targets, raw, SETTINGS)
    assert np.abs(fitted.apply(raw) - true).mean() < 0.01


def test_a_label_with_two_positives_leans_on_the_others() -> None:
    raw, targets, _ = made_up(300, [-1.0] * 20)
    truth, scores = targets.toarray(), np.log(raw / (1 - raw))
    scores[:, 0] -= 4
    truth[:, 0] = 0
    truth[np.argsort(-scores[:, 0])[[0, 5]], 0] = 1
    fitted = Calibration.fit(csr_matrix(truth), 1 / (1 + np.exp(-scores)), SETTINGS)
    assert 1 < fitted.slope[0] < 3  # alone it would be anything
    assert 0.05 < fitted.decision[0] < 0.9


def test_a_label_without_positives_is_never_predicted() -> None:
    raw, targets, _ = made_up(200, [-1.0, -1.0])
    truth = targets.toarray()
    truth[:, 1] = 0
    raw[:, 1] = 0
    fitted = Calibration.fit(csr_matrix(truth), raw, SETTINGS)
    probabilities = fitted.apply(raw)
    assert (probabilities[:, 1] == 0).all()
    assert (fitted.decide(probabilities)[:, 1] == "reject").all()
    assert np.isfinite(fitted.decision).all()


def test_positives_that_no_held_in_model_could_know_do_not_distort() -> None:
    # 0 means: the label had no positives in the part that the out-of-fold model was trained on
    raw, targets, true = made_up(2000, [-1.0, -1.0])
    raw[:200, 0] = 0
    fitted = Calibration.fit(targets, raw, SETTINGS)
    assert np.abs(fitted.apply(raw)[200:] - true[200:]).mean() < 0.02


def test_a_label_without_positives_that_has_probabilities_leans_on_the_others() -> None:
    raw, targets, _ = made_up(500, [-1.0] * 20)
    truth = targets.toarray()
    truth[:, 0] = 0
    fitted = Calibration.fit(csr_matrix(truth), raw, SETTINGS)
    assert fitted.slope[0] == pytest.approx(2, abs=0.4)
    assert fitted.offset[0] == pytest.approx(-1, abs=0.4)
    assert fitted.apply(raw)[:, 0].max() > 0.9
    assert fitted.decision[0] == pytest.approx(np.median(fitted.decision), abs=0.15)


def symptoms_and_diseases(seed: int) -> tuple[NDArray[np.float32], csr_matrix]:
    """Probabilities of a symptom, of a disease that explains it, and of something else. The symptom is seen more
    often than it is coded: never beside the disease. Every text has a code."""
    random = np.random.default_rng(seed)
    disease, other = random.random(2000) < 0.3, random.random(2000) < 0.3
    symptom = ~disease & ((random.random(2000) < 0.5) | ~other)
    seen = np.stack([symptom | (disease & (random.random(2000) < 0.9)), disease, other], axis=1)
    scores = np.where(seen, 1.5, -1.5) + random.normal(0, 0.7, seen.shape)
    truth = np.stack([symptom, disease, other], axis=1)
    return (1 / (1 + np.exp(-scores))).astype(np.float32), csr_matrix(truth.astype(np.uint8))


def test_a_symptom_is_not_coded_beside_the_disease_that_explains_it() -> None:
    raw, targets = symptoms_and_diseases(seed=0)
    fresh, fresh_targets = symptoms_and_diseases(seed=1)
    truth = fresh_targets.toarray() > 0
    wrong = {}
    for dependence in (False, True):
        fitted = Calibration.fit(targets, raw, CalibrationSettings(dependence=dependence))
        wrong[dependence] = (fitted.positive(fitted.apply(fresh)) != truth)[:, 0].mean()
    assert wrong[True] < 0.6 * wrong[False]


def test_labels_that_are_independent_change_little() -> None:
    raw, targets, true = made_up(5000, [-1.0, -2.0, 0.5])
    fitted = Calibration.fit(targets, raw, SETTINGS)
    assert fitted.dependence and np.abs(fitted.apply(raw) - true).mean() < 0.015


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_only_is_finite(value: int) -> None:
    raw = np.full((10, 1), 0.7, np.float32)
    fitted = Calibration.fit(csr_matrix(np.full((10, 1), value, np.uint8)), raw, SETTINGS)
    assert np.isfinite(fitted.apply(raw)).all()
    assert np.isfinite([fitted.slope, fitted.offset, fitted.decision]).all()


def test_acceptance_reaches_its_precision_or_never_happens() -> None:
    raw, targets, _ = made_up(20_000, [-1.0, -3.0])
    fitted = Calibration.fit(targets, raw, SETTINGS)
    fresh, fresh_targets, _ = made_up(20_000, [-1.0, -3.0], seed=1)
    accepted = fitted.decide(fitted.apply(fresh)) == "accept"
    assert accepted.sum() > 500
    assert fresh_targets.toarray()[accepted].mean() == pytest.approx(0.95, abs=0.01)

    noise = csr_matrix((np.random.default_rng(0).random((2000, 2)) < 0.3).astype(np.uint8))
    hopeless = Calibration.fit(noise, raw[:2000], SETTINGS)
    assert np.isinf(hopeless.accept).all()
    assert (hopeless.decide(np.ones((1, 2), np.float32)) == "review").all()


def test_a_label_that_no_text_had_is_never_accepted_without_review() -> None:
    raw, targets, _ = made_up(20_000, [-1.0, -3.0])
    unseen = csr_matrix(targets.toarray() * np.array([1, 0], np.uint8))
    fitted = Calibration.fit(unseen, raw, SETTINGS)
    assert fitted.decide(np.ones((1, 2), np.float32)).tolist() == [["accept", "review"]]


def test_too_few_predictions_cannot_show_a_precision() -> None:
    raw = np.linspace(0.01, 0.99, 19, dtype=np.float32)[:, None]
    fitted = Calibration.fit(csr_matrix((raw > 0.5).astype(np.uint8)), raw, SETTINGS)
    assert np.isinf(fitted.accept).all()


def test_json_keeps_every_bit() -> None:
    raw, targets, _ = made_up(100, [-1.0, -2.0])
    fitted = Calibration.fit(targets, raw, SETTINGS)
    assert fitted.dependence
    again = Calibration.from_json(fitted.to_json(), json.loads(json.dumps(fitted.dependence.to_json())))
    assert (again.apply(raw) == fitted.apply(raw)).all()
    assert (again.decision == fitted.decision).all()
    assert (again.accept == fitted.accept).all()


def test_the_threshold_is_the_best_one_for_f1() -> None:
    raw, targets, _ = made_up(3000, [-1.0])
    fitted = Calibration.fit(targets, raw, CalibrationSettings(shared_threshold_weight=0))
    probabilities, truth = fitted.apply(raw), targets.toarray().astype(bool)

    def f1(threshold: float) -> float:
        decided = probabilities >= threshold
        return float(2 * (decided & truth).sum() / (decided.sum() + truth.sum()))

    assert f1(fitted.decision[0]) == pytest.approx(
        max(f1(threshold) for threshold in np.linspace(0.01, 0.99, 99)), abs=0.005
    )


def test_memory_stays_near_that_of_the_given_probabilities() -> None:
    rows, labels = 2000, 2000  # 16 MB; a copy of all as float64 has 32 MB
    random = np.random.default_rng(0)
    truth = random.random((rows, labels), np.float32) < 1 / (1 + np.arange(labels))
    raw = np.where(truth, np.float32(0.3), np.float32(0.01)) * random.random((rows, labels), np.float32)
    targets = csr_matrix(truth.astype(np.uint8))
    tracemalloc.start()
    Calibration.fit(targets, raw, CalibrationSettings(dependence=False))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * raw.nbytes


@pytest.mark.parametrize("known", [0, 1, 2, 12])
def test_a_text_gets_the_same_alone_whatever_labels_are_known_beside_it(known: int) -> None:
    raw, targets, _ = made_up(400, [-1.0] * 12)
    fitted = Calibration.fit(targets, raw, SETTINGS)
    raw[0, known:] = 0
    together, alone = fitted.apply(raw), fitted.apply(raw[:1])
    assert fitted.dependence
    assert ((alone > 0) == (raw[:1] > 0)).all()
    assert together[0] == pytest.approx(alone[0], abs=1e-6)
