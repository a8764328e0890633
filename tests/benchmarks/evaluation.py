"""Time and peak memory of `evaluate` with 1,000 resamples, on made-up probabilities. Prints figures.

python tests/benchmarks/evaluation.py [ROWS LABELS]      default: 8000 2557, then 10000 8900, each in its own process
"""

import resource
import subprocess
import sys
import time

import numpy as np
from scipy.sparse import csr_matrix

from rubricator.models.scores.evaluation import evaluate

CODES_OF_A_NOTE = 16  # as in MIMIC-III


def main(rows: int, labels: int) -> None:
    random = np.random.default_rng(0)
    share = 1 / np.arange(1, labels + 1)  # a few frequent codes, many rare ones
    share *= CODES_OF_A_NOTE / share.sum()
    probabilities = random.random((rows, labels), np.float32)
    truth = csr_matrix(probabilities < share.clip(0, 0.5))
    probabilities = probabilities ** np.float32(6)  # most are near 0
    row, column = truth.nonzero()
    probabilities[row, column] = random.random(len(row), np.float32)
    decisions = probabilities > np.quantile(probabilities[:100], 1 - CODES_OF_A_NOTE / labels)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = evaluate(
        truth,
        probabilities,
        decisions,
        np.arange(rows) // 2,
        [str(label) for label in range(labels)],
        training_positives=np.asarray(truth.sum(axis=0)).ravel(),
    )
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{rows:,} x {labels:,}, {truth.nnz:,} positives: {took:.1f} s, peak {peak / 1e6:.2f} GB "
        f"({before / 1e6:.2f} GB of it before: the probabilities)"
    )
    print("  " + ", ".join(f"{name} {value} ({interval})" for name, value, interval in found.rows()))


if __name__ == "__main__":
    if sys.argv[1:]:
        main(*map(int, sys.argv[1:]))
    else:
        for size in (("8000", "2557"), ("10000", "8900")):
            subprocess.run([sys.executable, __file__, *size], check=True)
