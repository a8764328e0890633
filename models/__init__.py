"""Examples in, probabilities and evidence out: classifiers, calibration, scores, registry. No Prefect."""

from typing import TYPE_CHECKING, Any

from rubricator.nlp.public_names import public

if TYPE_CHECKING:
    from rubricator.models.classifier import CLASSIFIERS as CLASSIFIERS
    from rubricator.models.classifier import EvidenceSpan as EvidenceSpan
    from rubricator.models.classifier import TextClassifier as TextClassifier
    from rubricator.models.scores.evaluation import Evaluation as Evaluation
    from rubricator.models.shortcuts import evaluate_model as evaluate_model
    from rubricator.models.shortcuts import fit_model as fit_model
    from rubricator.models.shortcuts import predict_notes as predict_notes
    from rubricator.models.trained_model import TrainedModel as TrainedModel
    from rubricator.models.training import cross_validate as cross_validate
    from rubricator.models.training import train_model as train_model

_WHERE = {
    "CLASSIFIERS": ".classifier",
    "Evaluation": ".scores.evaluation",
    "EvidenceSpan": ".classifier",
    "TextClassifier": ".classifier",
    "TrainedModel": ".trained_model",
    "cross_validate": ".training",
    "evaluate_model": ".shortcuts",
    "fit_model": ".shortcuts",
    "predict_notes": ".shortcuts",
    "train_model": ".training",
}
__all__ = [
    "CLASSIFIERS",
    "Evaluation",
    "EvidenceSpan",
    "TextClassifier",
    "TrainedModel",
    "cross_validate",
    "evaluate_model",
    "fit_model",
    "predict_notes",
    "train_model",
]


def __getattr__(name: str) -> Any:
    return public(__name__, name, _WHERE)


def __dir__() -> list[str]:
    return __all__
