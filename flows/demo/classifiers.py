"""The classifiers that the demo trains, with small settings, so that it takes minutes on two cores."""

from collections.abc import Sequence
from dataclasses import dataclass

from rubricator.nlp.errors import RubricatorError

FOLDS = 2  # one per core
TASKS = {"plan": "plan sentences", "codes": "ICD-10-CM codes"}


class ChoiceError(RubricatorError):
    """The demo has no such classifier; says which ones it has."""


@dataclass(frozen=True, slots=True)
class DemoClassifier:
    """A classifier. plan, codes: its settings for the task that are not defaults, each KEY=VALUE."""

    name: str
    title: str
    plan: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()

    def settings(self, task: str) -> tuple[str, ...]:
        return {"plan": self.plan, "codes": self.codes}[task]


CLASSIFIERS = (
    DemoClassifier("svm", "SVM"),
    DemoClassifier(
        "cnn",
        "CNN",
        plan=(
            "context=1", "width=50", "filters=32", "dropout=0.2", "batch_size=32", "learning_rate=0.01", "epochs=3",
            "least_steps=0", "members=1", "folds=5",
        ),
        codes=(
            "width=64", "filters=64", "kernels=[1,3]", "dropout=0.1", "batch_size=4", "learning_rate=0.005", "epochs=8",
        ),
    ),
    DemoClassifier(
        "transformer",
        "Transformer",
        plan=(
            "context=1", "dim=64", "layers=1", "heads=4", "feed_forward=128", "learning_rate=0.003", "epochs=2",
        ),
        codes=(
            "dim=64", "layers=1", "heads=2", "feed_forward=64", "loss=bce", "batch_size=4", "learning_rate=0.005",
            "epochs=8",
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """The classifiers to train, in this order. left_out: the reason for each one that is left out, by title."""

    classifiers: tuple[DemoClassifier, ...]
    left_out: dict[str, str]


def choose(names: Sequence[str]) -> Choice:
    """The classifiers of these names; without names, all whose libraries are installed.

    Raises ChoiceError, and MissingLibraryError for one that is named and whose libraries are not installed.
    """
    from rubricator.models.classifier import MissingLibraryError, classifier_class

    known = {classifier.name: classifier for classifier in CLASSIFIERS}
    if unknown := [name for name in names if name not in known]:
        raise ChoiceError(f"the demo has no classifier {unknown[0]!r}; it has {', '.join(known)}")
    chosen, left_out = [], {}
    for classifier in CLASSIFIERS:
        if names and classifier.name not in names:
            continue
        try:
            classifier_class(classifier.name)
        except MissingLibraryError as missing:
            if names:
                raise
            left_out[classifier.title] = str(missing)
        else:
            chosen.append(classifier)
    return Choice(tuple(chosen), left_out)
