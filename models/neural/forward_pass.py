"""The time of one forward pass at full size, without training."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from pydantic import BaseModel

from rubricator.models.classifier import classifier_class
from rubricator.models.neural.classifier import NeuralClassifier


def untrained_forward(classifier: str, settings: BaseModel, *, labels: int, texts: Sequence[str]) -> float:
    """Seconds of one forward pass over all texts in one batch, by a new network. labels: number of labels.

    Raises TypeError for a classifier that has no network.
    """
    made = classifier_class(classifier)([str(label) for label in range(labels)], settings)
    if not isinstance(made, NeuralClassifier):
        raise TypeError(f"{classifier} is no neural classifier: it has no network to time")
    made.prepare(texts, np.arange(len(texts)))
    network = made.network().eval()
    batch = made.corpus_of(texts, None).batch(range(len(texts)))
    start = time.monotonic()
    with torch.inference_mode():
        network(*batch)
    return time.monotonic() - start
