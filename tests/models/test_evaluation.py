"""Figures against scikit-learn on random data; intervals that cover; labels without positives break nothing."""

import json
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn import metrics

from rubricator.models.scores.evaluation import evaluate

LABELS = [f"label-{number}" for number in range(6)]


def random_case(rows: int, seed: int = 0, labels: int = 6) -> tuple[csr_matrix, NDArray[np.float32]]:
    """Targets of varied frequency with scores that know something of them; many scores are tied."""
    random = np.random.default_rng(seed)
    truth = random.random((rows, labels)) < np.linspace(0.4, 0.05, labels)
    scores = np.clip(random.normal(0.35 + 0.3 * truth, 0.2), 0, 1).round(2)
    return csr_matrix(truth.astype(np.uint8)), scores.astype(np.float32)


def test_figures_are_those_of_scikit_learn() -> None:
    targets, scores = random_case(400)
    truth, decisions = targets.toarray(), scores >= 0.5
    found = evaluate(targets, scores, decisions, np.arange(400), LABELS, bootstrap=0).values()
    for average in ("micro", "macro"):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            truth, decisions, average=average, zero_division=0
        )
        assert found[f"{average}_precision"] == pytest.approx(precision)
        assert found[f"{average}_recall"] == pytest.approx(recall)
        assert found[f"{average}_f1"] == pytest.approx(f1)
        assert found[f"{average}_auroc"] == pytest.approx(
            metrics.roc_auc_score(truth, scores, average=average)
        )
        assert found[f"{average}_auprc"] == pytest.approx(
            metrics.average_precision_score(truth, scores, average=average)
        )
    assert found["exact_match"] == pytest.approx(metrics.accuracy_score(truth, decisions))
    means = found["macro_precision"], found["macro_recall"]
    assert found["macro_f1_of_means"] == pytest.approx(2 * means[0] * means[1] / sum(means))


def test_ranking_figures_by_hand() -> None:
    targets = csr_matrix([[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    scores = np.array([[0.9, 0.8, 0.1], [0.3, 0.2, 0.1], [0.5, 0.4, 0.3]], np.float32)
    found = evaluate(targets, scores, scores > 0.25, np.arange(3), ["a", "b", "c"], bootstrap=0).values()
    assert found["map"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)  # the row without labels is left out
    assert found["p_at_1"] == pytest.approx(1 / 3)
    assert "p_at_5" not in found  # of three labels
    assert found["exact_match"] == 0


def test_calibration_error_of_a_calibrated_and_of_an_overconfident_model() -> None:
    random = np.random.default_rng(0)
    scores = random.random((20_000, 1)).astype(np.float32)
    targets = csr_matrix((random.random((20_000, 1)) < scores).astype(np.uint8))
    groups = np.arange(20_000)
    assert evaluate(targets, scores, scores > 0.5, groups, ["x"], bootstrap=0).values()["ece"] < 0.01
    overconfident = np.where(scores > 0.5, 0.99, 0.01).astype(np.float32)
    assert evaluate(targets, overconfident, scores > 0.5, groups, ["x"], bootstrap=0).values()[
        "ece"
    ] == pytest.approx(0.24, abs=0.01)


def test_labels_and_rows_that_have_nothing() -> None:
    targets = csr_matrix(np.zeros((4, 2), np.uint8))
    scores = np.zeros((4, 2), np.float32)
    found = evaluate(targets, scores, scores > 0.5, np.arange(4), ["a", "b"], bootstrap=50)
    assert found.values()["micro_f1"] == found.values()["macro_f1"] == 0
    assert found.values()["exact_match"] == 1
    assert not {"micro_auroc", "macro_auroc", "micro_auprc", "macro_auprc"} & set(found.values())
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["counts"]["positives"] == 0


def test_macro_f1_counts_an_absent_label_as_0() -> None:
    targets = csr_matrix([[1, 0], [0, 0]])
    decisions = np.array([[True, False], [False, False]])
    found = evaluate(targets, decisions.astype(np.float32), decisions, np.arange(2), ["a", "b"], bootstrap=0)
    assert found.values()["macro_f1"] == 0.5
    assert [(score.label, score.support, score.f1) for score in found.per_label] == [
        ("a", 1, 1.0),
        ("b", 0, 0.0),
    ]


def test_the_fixed_threshold_stands_beside_the_others() -> None:
    targets, scores = random_case(200)
    groups = np.arange(200)
    found = evaluate(targets, scores, scores >= 0.3, groups, LABELS, bootstrap=0).values()
    at_half = evaluate(targets, scores, scores >= 0.5, groups, LABELS, bootstrap=0).values()
    for name in ("micro_f1", "micro_precision", "micro_recall", "macro_f1"):
        assert found[f"{name}_at_half"] == at_half[name] != found[name]


def test_labels_are_put_in_buckets_by_their_positives_in_training() -> None:
    targets, scores = random_case(300, labels=40)
    labels, groups = [str(number) for number in range(40)], np.arange(300)
    positives = np.repeat([0, 1, 10, 11, 50, 51, 900, 2], 5)
    found = evaluate(
        targets, scores, scores >= 0.5, groups, labels, training_positives=positives, bootstrap=100
    ).buckets
    assert {name: bucket.labels for name, bucket in found.items()} == {
        "0": 5,
        "1-10": 15,
        "11-50": 10,
        ">50": 10,
    }
    few = np.flatnonzero((positives > 0) & (positives < 11))
    alone = evaluate(
        targets[:, few], scores[:, few], scores[:, few] >= 0.5, groups, labels[:15], bootstrap=100
    )
    bucket = found["1-10"]
    assert bucket.positives == alone.counts["positives"]
    for name in ("micro_f1", "macro_f1"):
        assert bucket.metrics[name] == alone.metrics[name]
    best = np.argsort(-scores, axis=1, kind="stable")[:, :15]
    among = sum(int(targets[row, column]) for row in range(300) for column in set(few) & set(best[row]))
    assert bucket.metrics["recall_at_15"].value == pytest.approx(among / bucket.positives)


def test_a_bucket_without_true_entries_has_no_figures() -> None:
    targets = csr_matrix([[1, 0], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.2, 0.1]], np.float32)
    found = evaluate(
        targets, scores, scores > 0.5, np.arange(2), ["a", "b"], training_positives=np.array([7, 0])
    )
    assert found.buckets["0"].labels == 1 and not found.buckets["0"].metrics
    assert found.buckets["1-10"].metrics["micro_f1"].value == 1
    assert not found.buckets[">50"].labels
    assert json.loads(json.dumps(found.to_json()))["buckets"]["1-10"]["positives"] == 1


def test_intervals_of_areas_are_those_of_scoring_each_resample() -> None:
    rows = 150
    targets, scores = random_case(rows)
    truth = targets.toarray()
    found = evaluate(targets, scores, scores > 0.5, np.arange(rows), LABELS)
    random = np.random.default_rng(1)
    picks = [random.integers(rows, size=rows) for _ in range(200)]
    for name, score in (("auroc", metrics.roc_auc_score), ("auprc", metrics.average_precision_score)):
        drawn = [score(truth[pick], scores[pick], average="micro") for pick in picks]
        interval = found.metrics[f"micro_{name}"]
        assert interval.high - interval.low == pytest.approx(3.92 * np.std(drawn), rel=0.25)
        assert interval.low < interval.value < interval.high
    drawn = [
        metrics.roc_auc_score(truth[pick][:, there], scores[pick][:, there])
        for pick in picks
        if (there := truth[pick].any(axis=0)).any()
    ]
    interval = found.metrics["macro_auroc"]
    assert interval.high - interval.low == pytest.approx(3.92 * np.std(drawn), rel=0.25)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    population, scores = random_case(60_000, seed=1)
    truth = evaluate(population, scores, scores >= 0.5, np.arange(60_000), LABELS, bootstrap=0).values()
    covered = dict.fromkeys(("micro_f1", "macro_f1", "macro_auroc", "micro_auprc", "macro_auprc", "map"), 0)
    for draw in range(60):
        rows = np.arange(draw * 200, (draw + 1) * 200)
        sample = evaluate(
            population[rows],
            scores[rows],
            scores[rows] >= 0.5,
            np.arange(200),
            LABELS,
            bootstrap=200,
            seed=draw,
        )
        for name in covered:
            covered[name] += sample.metrics[name].low <= truth[name] <= sample.metrics[name].high
    assert all(count >= 51 for count in covered.values()), covered  # 85 % of 60, expected 95 %


def test_macro_intervals_of_rare_labels_hold_the_value_on_the_sample() -> None:
    random = np.random.default_rng(0)
    truth = random.random((120, 400)) < 0.006
    scores = random.normal(0.3 + 0.3 * truth, 0.2).clip(0, 1).astype(np.float32)
    found = evaluate(
        csr_matrix(truth), scores, scores > 0.6, np.arange(120), list(map(str, range(400)))
    ).metrics
    for name in ("macro_f1", "macro_auroc", "macro_auprc"):
        assert found[name].low < found[name].value < found[name].high


def test_rows_of_one_group_widen_the_interval() -> None:
    targets, scores = random_case(100)
    copied = csr_matrix(np.repeat(targets.toarray(), 5, axis=0)), np.repeat(scores, 5, axis=0)
    alone = evaluate(*copied, copied[1] >= 0.5, np.arange(500), LABELS, bootstrap=300).metrics["micro_f1"]
    grouped = evaluate(*copied, copied[1] >= 0.5, np.repeat(np.arange(100), 5), LABELS, bootstrap=300)
    width = grouped.metrics["micro_f1"].high - grouped.metrics["micro_f1"].low
    assert width > 1.6 * (alone.high - alone.low)  # sqrt(5) in expectation


def test_the_same_seed_gives_the_same_intervals() -> None:
    targets, scores = random_case(80)
    first, again = (
        evaluate(targets, scores, scores > 0.5, np.arange(80), LABELS, seed=7, bootstrap=50) for _ in "12"
    )
    assert first == again


@pytest.mark.parametrize(("rows", "labels"), [(10_000, 45), (40_000, 1)])
def test_the_time_of_resamples_grows_with_the_rows(rows: int, labels: int) -> None:
    names = [str(number) for number in range(labels)]

    def seconds(rows: int) -> float:
        targets, scores = random_case(rows, labels=labels)
        start = time.process_time()
        found = evaluate(targets, scores, scores > 0.5, np.arange(rows) // 2, names, bootstrap=100)
        assert found.metrics["micro_f1"].resamples == found.metrics["macro_auroc"].resamples == 100
        return time.process_time() - start

    assert any(
        seconds(rows) < 8 * max(seconds(rows // 4), 0.02) for _ in range(3)
    )  # a busy machine may be slow


def test_a_figure_has_a_thousand_resamples_by_default() -> None:
    targets, scores = random_case(40)
    found = evaluate(targets, scores, scores > 0.5, np.arange(40), LABELS)
    assert found.metrics["micro_f1"].resamples == found.metrics["macro_auroc"].resamples == 1000
