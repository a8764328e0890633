"""Plots are PNG files, also where there is nothing to see."""

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from rubricator.models.scores.plots import write_plots


@pytest.mark.parametrize("share", [0.3, 0.0, 1.0])
def test_three_png_files(share: float, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    targets = csr_matrix((random.random((50, 3)) < share).astype(np.uint8))
    probabilities = random.random((50, 3)).astype(np.float32)
    paths = write_plots(tmp_path / "plots", targets, probabilities, probabilities > 0.5)
    assert [path.name for path in paths] == ["precision_recall.png", "reliability.png", "thresholds.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
