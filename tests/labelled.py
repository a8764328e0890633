"""Examples for tests, from texts and their labels."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from rubricator.nlp.contexts import Context, LabelSpan
from rubricator.nlp.examples import Examples


def examples_of(
    texts: Sequence[str],
    targets: csr_matrix,
    labels: Sequence[str],
    *,
    groups: np.ndarray | None = None,
    contexts: Sequence[Context] | None = None,
    evidence: Sequence[Sequence[LabelSpan]] | None = None,
    descriptions: Sequence[str | None] | None = None,
) -> Examples:
    """Examples with these texts and labels, each a group of its own where no groups are given."""
    return Examples(
        ids=[str(row) for row in range(len(texts))],
        groups=np.arange(len(texts)) if groups is None else groups,
        texts=list(texts),
        targets=targets,
        labels=list(labels),
        contexts=None if contexts is None else list(contexts),
        evidence=None if evidence is None else [list(spans) for spans in evidence],
        descriptions=None if descriptions is None else list(descriptions),
    )
