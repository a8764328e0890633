"""Averages of made-up predictions, and an ensemble of two real models with different labels."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from rubricator.models.classifier import EvidenceSpan
from rubricator.models.ensemble.classifier import (
    EnsembleClassifier,
    EnsembleError,
    EnsembleSettings,
    Member,
    NoGainError,
    average,
    fit_weights,
)
from rubricator.models.ensemble.training import cross_validate_ensemble, require_win, train_ensemble
from rubricator.models.linear.ngrams import NgramSettings
from rubricator.models.linear.svm import SvmSettings
from rubricator.models.scores.out_of_fold import OutOfFoldTable, read_out_of_fold, write_out_of_fold
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import cross_validate, train_model
from rubricator.nlp.examples import Examples

COUGH, FEVER, ASTHMA = ["Dry cough at night.", "Fever since Monday.", "Asthma, wheezing in spring."]
NAMES = ["786.2", "780.6", "493.90"]
WORDS = SvmSettings(features=NgramSettings(char_weight=0))
CHARACTERS = SvmSettings(features=NgramSettings(word_ngrams=1, char_weight=3), cost=0.1)


@pytest.fixture(scope="module")
def examples() -> Examples:
    random = np.random.default_rng(0)
    truth = random.random((120, 3)) < 0.4
    texts = [
        " ".join([sentence for sentence, there in zip((COUGH, FEVER, ASTHMA), row, strict=True) if there])
        + f" Seen in room {number % 7}."
        for number, row in enumerate(truth)
    ]
    return Examples(
        ids=[f"note{row}" for row in range(120)],
        groups=np.arange(120) // 2,
        texts=texts,
        targets=csr_matrix(truth.astype(np.uint8)),
        labels=NAMES,
    )


def member(name: str, examples: Examples, settings: SvmSettings) -> Member:
    found = cross_validate(examples, task="codes", classifier="svm", settings=settings, folds=3)
    held_out = OutOfFoldTable(
        examples.labels,
        examples.ids,
        examples.groups,
        examples.targets,
        csr_matrix(found.decisions),
        found.probabilities,
        examples.inputs_fingerprint(),
    )
    return Member(name, train_model(examples, task="codes", classifier="svm", settings=settings), held_out)


@pytest.fixture(scope="module")
def words(examples: Examples) -> Member:
    return member("icd/1", examples, WORDS)


@pytest.fixture(scope="module")
def characters(examples: Examples) -> Member:
    """Knows two of the three codes."""
    two = Examples(**{**vars(examples), "labels": NAMES[:2], "targets": examples.targets[:, :2]})
    return member("icd/2", two, CHARACTERS)


def odds(*probabilities: float) -> NDArray[np.float32]:
    return np.array([probabilities], np.float32)


def test_log_odds_are_averaged_and_zero_is_no_vote() -> None:
    found = average([odds(0.9, 0.2, 0, 0), odds(0.5, 0.2, 0.7, 0)], [0.5, 0.5])
    np.testing.assert_allclose(found, odds(0.75, 0.2, 0.7, 0), rtol=1e-5)  # odds 9 and 1: their root is 3
    assert average([odds(1e-12), odds(0.999)], [0.5, 0.5])[0, 0] > 0.1, "no member forbids a label alone"


def test_a_member_that_knows_nothing_weighs_nothing() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(0, 2, (500, 2))
    good, empty = (
        (1 / (1 + np.exp(-each))).astype(np.float32) for each in (scores, random.normal(0, 2, scores.shape))
    )
    truth = csr_matrix((random.random(scores.shape) < good).astype(np.uint8))
    weights = fit_weights(truth, [good, empty, good], np.arange(len(good)))
    assert sum(weights) == pytest.approx(1)
    assert weights[1] < 0.05
    assert weights[0] == pytest.approx(weights[2], abs=0.01), "two that say the same share"


def test_a_label_that_one_member_knows_is_left_to_it(
    examples: Examples, words: Member, characters: Member, tmp_path: Path
) -> None:
    members = [words, characters]
    model = train_ensemble(members, examples, task="codes", settings=EnsembleSettings())
    raw = model.classifier.predict_proba(examples.texts)
    np.testing.assert_allclose(raw[:, 2], words.model.predict_proba(examples.texts)[:, 2], atol=1e-3)
    assert ((model.predict_proba(examples.texts) > 0.5) == (examples.targets.toarray() > 0)).mean() > 0.95

    model.save(tmp_path / "model")
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.suffix not in {".json", ".safetensors", ".md"} and path.is_file()
    ]
    loaded = TrainedModel.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(examples.texts), model.predict_proba(examples.texts))
    assert loaded.evidence([COUGH], [[0]]) == model.evidence([COUGH], [[0]])


def test_evidence_is_where_the_members_have_theirs(
    examples: Examples, words: Member, characters: Member
) -> None:
    model = train_ensemble([words, characters], examples, task="codes", settings=EnsembleSettings())
    text = f"{FEVER} {COUGH}"
    [[spans, alone]] = model.evidence([text], [[0, 2]])
    assert "cough" in text[spans[0].start : spans[0].end]
    assert [span.weight for span in spans] == sorted((span.weight for span in spans), reverse=True)
    assert sum(span.weight for span in spans) == pytest.approx(1, abs=1e-6)
    [[of_one]] = words.model.evidence([text], [[2]])
    assert {(span.start, span.end) for span in alone} == {(span.start, span.end) for span in of_one}


def test_overlapping_spans_share_their_weight() -> None:
    class Fixed:
        def __init__(self, *spans: EvidenceSpan) -> None:
            self.labels, self.spans = ["a"], list(spans)

        def evidence(self, _texts: object, _labels: object) -> list[list[list[EvidenceSpan]]]:
            return [[self.spans]]

    pair = [Fixed(EvidenceSpan(0, 10, 1.0)), Fixed(EvidenceSpan(8, 10, 0.5), EvidenceSpan(20, 25, 0.5))]
    [[spans]] = EnsembleClassifier(["a"], EnsembleSettings(), members=pair, weights=[0.5, 0.5]).evidence(
        ["x" * 30], [[0]]
    )  # type: ignore[arg-type]
    assert [(span.start, span.end) for span in spans] == [(0, 10), (20, 25)]
    assert [span.weight for span in spans] == pytest.approx([0.75, 0.25])


def test_held_out_predictions_are_kept_without_text(words: Member, tmp_path: Path) -> None:
    write_out_of_fold(words.held_out, tmp_path / "held_out.parquet")
    again = read_out_of_fold(tmp_path / "held_out.parquet")
    np.testing.assert_array_equal(again.probabilities, words.held_out.probabilities)
    assert again.inputs_sha256 == words.held_out.inputs_sha256
    assert b"cough" not in (tmp_path / "held_out.parquet").read_bytes()


def test_an_ensemble_that_is_no_better_is_refused(
    examples: Examples, words: Member, characters: Member
) -> None:
    members = [words, characters]
    found = cross_validate_ensemble(members, examples, task="codes", folds=3)
    with pytest.raises(NoGainError, match=r"against icd/1 alone .* the setting must_win=false"):
        require_win(members, examples, found, EnsembleSettings())
    best, score = require_win(members, examples, found, EnsembleSettings(must_win=False))
    assert (best, score) == (
        "icd/1",
        pytest.approx(found.evaluate(examples, bootstrap=0).values()["micro_f1"], abs=0.05),
    )


def test_what_nobody_held_out_is_not_averaged(examples: Examples, words: Member, characters: Member) -> None:
    older = characters._replace(
        held_out=OutOfFoldTable(
            *list(vars(characters.held_out).values())[:5], None, characters.held_out.inputs_sha256
        )
    )
    changed = examples.targets.toarray()
    changed[0] = 1 - changed[0]
    relabelled = Examples(**{**vars(examples), "targets": csr_matrix(changed)})
    for members, given, message in (
        ([words], examples, "at least two different members"),
        ([words, words], examples, "at least two different members"),
        (
            [words, characters],
            examples.take(range(100)),
            "cross-validated on 120 examples that are not the same as these 100",
        ),
        ([words, characters], relabelled, "true labels of 1 examples changed since icd/1"),
        ([words, older], examples, "icd/2 was registered without its out-of-fold probabilities"),
    ):
        with pytest.raises(EnsembleError, match=message):
            cross_validate_ensemble(members, given, task="codes")
    with pytest.raises(EnsembleError, match="icd/1 was trained for codes, not for plan"):
        cross_validate_ensemble([words, characters], examples, task="plan")
