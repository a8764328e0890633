"""Networks that train in a second, and what they are trained on."""

from pathlib import Path

import numpy as np
from labelled import examples_of
from scipy.sparse import csr_matrix

from rubricator.models.neural.classifier import NeuralClassifier
from rubricator.models.neural.cnn import CnnClassifier
from rubricator.models.neural.settings import CnnSettings
from rubricator.nlp.contexts import Context, neighbours

# ---- a CNN on sentences with one finding each

FINDINGS = ["pneumonia of the left base", "dry cough", "knee pain"]
KINDS = np.random.default_rng(0).integers(3, size=90)
TEXTS = [f"patient {row} was seen with {FINDINGS[kind]} today, well" for row, kind in enumerate(KINDS)]
TRUTH = np.where(np.arange(90) % 9, KINDS, 1)  # some labels are wrong, so that no network is perfect at once
TARGETS = csr_matrix(np.eye(4, dtype=np.uint8)[TRUTH])  # the last label never occurs
LABELS = ["J18", "R05", "M25", "Z99"]
GROUPS = np.arange(90) // 2
CONTEXTS = neighbours(TEXTS)
SMALL = {
    "width": 16,
    "filters": 8,
    "hidden": 16,
    "learning_rate": 0.01,
    "batch_size": 4,
    "epochs": 12,
    "max_tokens": 60,
}
SENTENCES = CnnSettings(context=2, run=4, dropout=0.2, **{**SMALL, "epochs": 25})
FIVE_EPOCHS = SENTENCES.model_copy(update={"epochs": 5, "patience": 9})
NOTES = CnnSettings(codewise=True, dropout=0.2, **SMALL)


def fitted(chosen: CnnSettings, *, checkpoints: Path | None = None, **given) -> CnnClassifier:
    classifier = CnnClassifier(LABELS, chosen)
    classifier.checkpoints = checkpoints
    return classifier.fit(examples_of(TEXTS, TARGETS, LABELS, groups=GROUPS, contexts=CONTEXTS, **given))


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


# ---- transformers on notes of random words

PHRASE = "cough fever rash pain nausea seen today with no since monday mild patient reports knee left return"
WORDS = PHRASE.split()
QUICK_TRANSFORMER = {
    "epochs": 2,
    "batch_size": 8,
    "folds": 2,
    "dim": 16,
    "heads": 2,
    "feed_forward": 32,
    "layers": 1,
}


def notes(count: int, *, seed: int = 0, longest: int = 30) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(2, longest))) for _ in range(count)]


def batch_matters(classifier: NeuralClassifier) -> float:
    """The largest difference that the other texts of a batch, their order or their padding make to a probability."""
    texts = notes(12, seed=5, longest=90)
    context = [Context(("Mild pain.",), ("Seen today with rash.",))] * len(texts)
    together = classifier.predict_proba(texts, contexts=context)
    alone = np.concatenate([classifier.predict_proba([text], contexts=context[:1]) for text in texts])
    turned = classifier.predict_proba(texts[::-1], contexts=context)[::-1]
    return float(max(abs(together - alone).max(), abs(together - turned).max()))
