"""Figures that are made of sums over rows. The sums are made once by group, so that a resample is a matrix product."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from rubricator.models.entries import blocks
from rubricator.models.scores.bootstrap import Figures, first_order
from rubricator.models.scores.reliability import bin_sums, calibration_error, decided_bin_sums
from rubricator.models.scores.sums import Array, Ints, group_sums, ones, ratio, row_numbers, sums

Floats = NDArray[np.float32]
BUCKET_FIGURES = ("micro_f1", "macro_f1", "recall_at_15")
_CUTS = (1, 5, 8, 15)  # of P@k
_AT_HALF = ("micro_f1", "micro_precision", "micro_recall", "macro_f1")


def summed_figures(
    truth: csr_matrix,
    probabilities: Floats,
    decided: csr_matrix,
    group: Ints,
    buckets: dict[str, Ints],
) -> Figures:
    """All these figures. truth, probabilities, decided: (rows, labels). group: (rows,), numbers from 0.

    buckets: label numbers by the name of the bucket; its figures are called BUCKET/FIGURE.
    """
    ranks = _ranks(truth, probabilities)
    half = vstack([ones(probabilities[block] >= 0.5) for block in blocks(*probabilities.shape)], format="csr")
    at_half = _f1_figures(truth, half, group)
    parts: list[Figures] = [
        _f1_figures(truth, decided, group),
        lambda weights: {f"{name}_at_half": at_half(weights)[name] for name in _AT_HALF},
        _row_figures(truth, decided, ranks, group),
        _calibration_figures(truth, decided, probabilities, group),
        *(
            _bucket_figures(bucket, members, truth, decided, ranks, group)
            for bucket, members in buckets.items()
            if truth[:, members].nnz
        ),
    ]
    return lambda weights: {name: figure for part in parts for name, figure in part(weights).items()}


def _f1_figures(truth: csr_matrix, decided: csr_matrix, group: Ints) -> Figures:
    """Micro and macro precision, recall and F1."""
    hits = truth.multiply(decided)
    of_name = {"f1": (2 * hits, decided + truth), "precision": (hits, decided), "recall": (hits, truth)}
    totals, means = {}, dict[str, tuple[float, Array]]()
    for name, (part, whole) in of_name.items():
        totals[name] = [group_sums(group, sums(entries, 1)) for entries in (part, whole)]
        there = sums(whole, 0)
        scores, share = ratio(sums(part, 0), there), ratio(np.ones(len(there)), there * len(there))
        means[name] = float(scores.mean()), group_sums(group, part @ share - whole @ (share * scores))

    def figures(weights: Array) -> dict[str, Array]:
        micro = {
            f"micro_{name}": ratio(weights @ part, weights @ whole) for name, (part, whole) in totals.items()
        }
        macro = {f"macro_{name}": first_order(weights, *mean) for name, mean in means.items()}
        precision, recall = macro["macro_precision"], macro["macro_recall"]
        return micro | macro | {"macro_f1_of_means": ratio(2 * precision * recall, precision + recall)}

    return figures


def _row_figures(truth: csr_matrix, decided: csr_matrix, ranks: Ints, group: Ints) -> Figures:
    """Means over rows: exact match, MAP and P@k. ranks: of the true entries."""
    rows, labels = truth.shape
    row = row_numbers(truth)
    hits, present = sums(truth.multiply(decided), 1), sums(truth, 1)
    exact = (hits == present) & (sums(decided, 1) == present)
    cuts = [cut for cut in _CUTS if cut < labels]
    of_rows = [np.ones(rows), exact, present > 0, _average_precision(row, ranks, present)]
    of_rows += [np.bincount(row, ranks <= cut, rows) / cut for cut in cuts]
    totals = group_sums(group, np.stack(of_rows, axis=1).astype(np.float64))

    def figures(weights: Array) -> dict[str, Array]:
        all_rows, exact_rows, with_labels, precision, *precise = totals.T @ weights.T
        return {
            "exact_match": ratio(exact_rows, all_rows),
            "map": ratio(precision, with_labels),
            **{f"p_at_{cut}": ratio(hits, all_rows) for cut, hits in zip(cuts, precise, strict=True)},
        }

    return figures


def _calibration_figures(
    truth: csr_matrix, decided: csr_matrix, probabilities: Floats, group: Ints
) -> Figures:
    of_all = group_sums(group, bin_sums(truth, probabilities))
    of_decided = group_sums(group, decided_bin_sums(decided, truth, probabilities))
    return lambda weights: {
        "ece": calibration_error(of_all, weights),
        "ece_predicted": calibration_error(of_decided, weights),
    }


def _bucket_figures(
    bucket: str, members: Ints, truth: csr_matrix, decided: csr_matrix, ranks: Ints, group: Ints
) -> Figures:
    """BUCKET_FIGURES of the labels of a bucket; recall_at_15 only where there are more than 15 labels."""
    labels = truth.shape[1]
    best = csr_matrix(((ranks <= _CUTS[-1]).astype(np.float64), truth.indices, truth.indptr), truth.shape)
    f1 = _f1_figures(truth[:, members], decided[:, members], group)
    among_best, there = (group_sums(group, sums(entries[:, members], 1)) for entries in (best, truth))

    def figures(weights: Array) -> dict[str, Array]:
        own = f1(weights)
        found = {f"{bucket}/{name}": own[name] for name in ("micro_f1", "macro_f1")}
        if labels > _CUTS[-1]:
            found[f"{bucket}/recall_at_15"] = ratio(weights @ among_best, weights @ there)
        return found

    return figures


def _ranks(truth: csr_matrix, probabilities: Floats) -> Ints:
    """Rank, from 1, of the label of each true entry in its row."""
    row, column = row_numbers(truth), truth.indices[:, None]
    own, place = probabilities[row, truth.indices][:, None], np.arange(truth.shape[1])
    ranks = np.empty(truth.nnz, np.int64)
    for some in blocks(truth.nnz, truth.shape[1]):
        others = probabilities[row[some]]
        ties = (others == own[some]) & (place < column[some])
        ranks[some] = 1 + (others > own[some]).sum(axis=1) + ties.sum(axis=1)
    return ranks


def _average_precision(row: Ints, ranks: Ints, present: Array) -> Array:
    """Average precision of each row's ranked labels, from the ranks of the true ones; 0 where the row has none."""
    order = np.lexsort((ranks, row))
    nth = np.arange(len(row)) - np.searchsorted(row, row) + 1
    return ratio(np.bincount(row, nth / ranks[order], len(present)).astype(np.float64), present)
