"""What was measured and rejected still is what it was when it was measured."""

import numpy as np
import pytest
from labelled import examples_of
from scipy.sparse import csr_matrix
from tiny_networks import QUICK_TRANSFORMER, batch_matters, notes

from rubricator.models.ablations.losses import LOSSES
from rubricator.models.classifier import CLASSIFIERS, UnknownClassifierError, classifier_class
from rubricator.models.neural.transformer import TransformerClassifier

LABELS = ["786.2", "780.6"]
ABLATIONS = "rubricator.models.ablations.transicd:"


def fitted(name: str, **settings: object) -> TransformerClassifier:
    kind = classifier_class(ABLATIONS + name)
    chosen = kind.default_settings("note")
    texts = notes(32)
    targets = csr_matrix(np.array([["cough" in text, "fever" in text] for text in texts], np.uint8))
    classifier = kind(
        LABELS, type(chosen).model_validate({**chosen.model_dump(), **QUICK_TRANSFORMER, **settings})
    )
    return classifier.fit(examples_of(texts, targets, LABELS))


def test_they_have_no_name_in_the_product() -> None:
    assert not any("ablations" in path for path in CLASSIFIERS.values())
    for name in (
        "os:system",
        "rubricator:models",
        "rubricator.models.ablations.transicd",
        "PublishedTransicd",
    ):
        with pytest.raises(UnknownClassifierError, match="there is: cnn, ensemble"):
            classifier_class(name)


def test_the_published_positions_make_a_text_depend_on_its_batch() -> None:
    """TransICD's published program: what the corrected one is compared with."""
    assert batch_matters(fitted("PublishedTransicd")) > 1e-3


def test_the_published_positions_know_no_word_order() -> None:
    text = "patient reports cough since monday no fever"
    turned = " ".join(reversed(text.split()))
    classifier = fitted("PublishedTransicd")
    forward, backward = (classifier.predict_proba([words]) for words in (text, turned))
    assert abs(forward - backward).max() < 1e-4


def test_another_loss_gives_another_model() -> None:
    found = [fitted("OtherLossTransicd", loss=loss).predict_proba(notes(9, seed=3)) for loss in LOSSES]
    assert all(
        abs(one - other).max() > 1e-4 for one, other in zip(found, [*found[1:], found[0]], strict=True)
    )
