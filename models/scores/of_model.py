"""The figures of a model on examples that it was not trained on."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.entries import on_labels
from rubricator.models.scores.evaluation import Evaluation, evaluate

if TYPE_CHECKING:
    from rubricator.models.trained_model import TrainedModel
    from rubricator.nlp.examples import Examples


def score_model(
    model: "TrainedModel", examples: "Examples", probabilities: NDArray[np.float32], *, bootstrap: int
) -> Evaluation:
    """Score a model on its labels and those of the examples. A label that the model does not know is always missed.

    probabilities: of the examples, (n, labels of the model), calibrated. bootstrap: number of resamples.
    """
    labels = sorted({*model.labels, *examples.labels})
    decisions = csr_matrix(model.positive(probabilities))
    return evaluate(
        on_labels(examples.targets, examples.labels, labels),
        on_labels(probabilities, model.labels, labels),
        on_labels(decisions, model.labels, labels),
        examples.groups,
        labels,
        training_positives=on_labels(np.array([model.training_positives]), model.labels, labels)[0],
        bootstrap=bootstrap,
    )
