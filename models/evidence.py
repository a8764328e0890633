"""Evidence: turns the contribution of each word to a decision into spans of the text."""

import numpy as np
from numpy.typing import NDArray

from rubricator.models.classifier import EvidenceSpan

_MOST_SPANS = 10
# A word needs this share of the strongest word's contribution. Weaker words would join separate spans.
_LEAST_SHARE = 0.2


def evidence_spans(offsets: NDArray[np.int64], contributions: NDArray[np.floating]) -> list[EvidenceSpan]:
    """Spans of neighbouring words that support a label, strongest first, at most ten.

    The weight of a span is its share of the sum of all positive contributions.

    offsets: start and end of each word in the text (words, 2), in order. contributions: (words,).
    """
    total = contributions[contributions > 0].sum()
    speaks = contributions > _LEAST_SHARE * contributions.max(initial=0)
    starts = np.flatnonzero(speaks & ~np.append(False, speaks[:-1]))
    ends = np.flatnonzero(speaks & ~np.append(speaks[1:], False))
    spans = [
        EvidenceSpan(
            int(offsets[first, 0]),
            int(offsets[last, 1]),
            float(contributions[first : last + 1].sum() / total),
        )
        for first, last in zip(starts, ends, strict=True)
    ]
    return sorted(spans, key=lambda span: (-span.weight, span.start))[:_MOST_SPANS]
