"""From the part that each word carried of a decision to spans of the text."""

import numpy as np
from numpy.typing import NDArray

from rubricator.models.classifier import EvidenceSpan

_MOST_SPANS = 10
_LEAST_SHARE = (
    0.2  # of the strongest word's part: words of less carried little, and join spans that are apart
)


def evidence_spans(offsets: NDArray[np.int64], parts: NDArray[np.floating]) -> list[EvidenceSpan]:
    """Neighbouring words that carried a label become one span, strongest first; weights are shares of all over 0.

    offsets: of the words (words, 2), in order. parts: (words,).
    """
    total = parts[parts > 0].sum()
    speaks = parts > _LEAST_SHARE * parts.max(initial=0)
    starts = np.flatnonzero(speaks & ~np.append(False, speaks[:-1]))
    ends = np.flatnonzero(speaks & ~np.append(speaks[1:], False))
    spans = [
        EvidenceSpan(
            int(offsets[first, 0]), int(offsets[last, 1]), float(parts[first : last + 1].sum() / total)
        )
        for first, last in zip(starts, ends, strict=True)
    ]
    return sorted(spans, key=lambda span: (-span.weight, span.start))[:_MOST_SPANS]
