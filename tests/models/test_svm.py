"""What the SVM reads from a text, and whether its evidence is exactly what carried the decision."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import examples_of
from pydantic import ValidationError
from scipy.sparse import csr_matrix

from rubricator.models.linear.ngrams import NgramFeatures, NgramSettings
from rubricator.models.linear.svm import SvmClassifier, SvmSettings
from rubricator.models.linear.tokens import tokenize
from rubricator.models.neural.cnn import CnnSettings

TEXTS = [
    "No evidence of pneumonia. Cough.",
    "Lobar pneumonia of the left base, 39.2 C",
    "Cough and fever for 3 days; pneumonia is possible",
    "Possible pneumonia, but no cough",
    "Knee pain after a fall. Not swollen.",
    "Fever, cough, fever",
] * 4
WORDS = [
    "pneumonia",
    "Cough",
    "FEVER",
    "no",
    "possible",
    "3",
    "39.2",
    "knee",
    "don’t",
    "Überweisung",
    "İ",
    "zq",
    "\n",
    ". ",
]
FEATURES = NgramSettings(assertions=True, evenness=0.5, word_ngrams=3)


def fitted(features: NgramSettings = FEATURES) -> SvmClassifier:
    targets = csr_matrix(
        np.array(
            [["pneumonia" in text, "cough" in text.lower(), "knee" in text.lower()] for text in TEXTS],
            np.uint8,
        )
    )
    svm = SvmClassifier(["J18", "R05", "M25"], SvmSettings(features=features))
    return svm.fit(examples_of(TEXTS, targets, svm.labels))


SVM = fitted()


def decisions(svm: SvmClassifier, texts: Sequence[str]) -> np.ndarray:
    return (svm.features.transform(texts) @ svm.model.weights).toarray()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=30).map(" ".join))
def test_the_parts_of_the_tokens_sum_up_to_the_decision(text: str) -> None:
    ((offsets, parts),) = SVM.features.contributions([text], [SVM.model.weights.toarray()])
    assert parts.sum(axis=0) == pytest.approx(decisions(SVM, [text])[0], abs=1e-4)
    assert all(re.fullmatch(r"\w.*\w|\w", text[start:end]) for start, end in offsets)
    assert (offsets[1:, 0] >= offsets[:-1, 1]).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=30).map(" ".join))
def test_spans_lie_in_the_text_apart_and_weigh_at_most_1_together(text: str) -> None:
    for spans in SVM.evidence([text], [[0, 1, 2]])[0]:
        assert all(0 <= span.start < span.end <= len(text) and span.weight > 0 for span in spans)
        assert sum(span.weight for span in spans) <= 1 + 1e-6
        assert [span.weight for span in spans] == sorted((span.weight for span in spans), reverse=True)
        ordered = sorted(spans, key=lambda span: span.start)
        assert all(left.end <= right.start for left, right in pairwise(ordered))


def test_the_strongest_span_names_the_finding_whatever_stands_around_it() -> None:
    texts = ["Seen today – ünïcode first.\n\n\tKnee   pain after a fall", "x " * 50 + "dry cough"]
    found = SVM.evidence(texts, [[2], [1]])
    strongest = [text[spans[0].start : spans[0].end] for text, (spans,) in zip(texts, found, strict=True)]
    assert "Knee" in strongest[0]
    assert "cough" in strongest[1]


def test_blanking_the_evidence_takes_the_decision_away() -> None:
    text = "Lobar pneumonia of the left base"
    before = SVM.predict_proba([text])[0, 0]
    for span in SVM.evidence([text], [[0]])[0][0]:
        text = text[: span.start] + "#" * (span.end - span.start) + text[span.end :]
    assert SVM.predict_proba([text])[0, 0] < before - 0.1


def test_texts_asked_together_get_the_evidence_they_get_alone() -> None:
    asked = [[0], [1, 2], [], [2, 1, 0], [0], [1]]
    assert SVM.evidence(TEXTS[:6], asked) == [
        SVM.evidence([text], [labels])[0] for text, labels in zip(TEXTS[:6], asked, strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("No evidence of pneumonia. Cough.", "¬evidence ¬of ¬pneumonia"),
        ("Denies fever, but has cough", "¬fever"),
        ("possible pneumonia\ncough", "?pneumonia"),
        ("Suspected UTI without fever", "?uti ?without ¬fever"),
        ("Pneumonia: absent. Mother had asthma.", "¬pneumonia @asthma"),
        ("Cough and fever", ""),
    ],
)
def test_what_is_not_asserted_of_the_patient_is_another_word(text: str, marked: str) -> None:
    forms = tokenize([text], assertions=True).forms
    assert " ".join(form for form in forms if form[0] in "¬?@") == marked


def test_digits_are_read_as_their_shape_and_case_is_not_read() -> None:
    assert tokenize(["Temp 39.2 on 12/03 H1N1 don’t"]).forms == [
        "temp",
        "00.0",
        "on",
        "00/00",
        "h0n0",
        "don’t",
    ]


def test_a_word_of_one_patient_is_no_feature() -> None:
    features = NgramFeatures(NgramSettings(word_ngrams=1))
    features.fit_transform(["Smithson has fever", "Smithson coughs", "fever"], np.array([0, 0, 1]))
    assert set(features.words) == {"fever"}
    assert not any("mith" in gram for gram in features.chars)


def test_a_word_that_is_left_out_gives_no_character_n_grams() -> None:
    features = NgramFeatures(NgramSettings(assertions=True, char_ngrams=(3, 5)))
    texts = ["Smithson's fever, no Smithson", "SMITHSON has fever, no smithy"]
    fit = features.fit_transform(texts, np.arange(2), names=["smithy"], without=frozenset({"smithson"}))
    assert not [word for word in features.words if "smithson" in word]
    assert {"smith", "smit"} <= set(features.chars), "of the name of a label"
    assert not [gram for gram in features.chars if "thso" in gram]
    assert abs(fit - features.transform(texts)).max() == 0


def test_features_of_fitted_texts_are_the_same_when_read_again() -> None:
    features = NgramFeatures(FEATURES)
    fit = features.fit_transform(TEXTS, np.arange(len(TEXTS)))
    assert abs(fit - features.transform(TEXTS)).max() == 0
    assert features.transform([]).shape == (0, fit.shape[1])
    assert features.transform(["", "?!"]).nnz == 0


def test_only_the_largest_weights_are_kept() -> None:
    small = SvmClassifier(["J18"], SvmSettings(most_weights=20))
    targets = csr_matrix(np.array([["pneumonia" in text] for text in TEXTS], np.uint8))
    small.fit(examples_of(TEXTS, targets, small.labels))
    assert small.model.weights.nnz == 20
    assert ((small.predict_proba(TEXTS) > 0.5) == targets.toarray()).all()


def test_a_word_of_one_patient_is_a_feature_where_a_code_is_called_so() -> None:
    features = NgramFeatures(NgramSettings(char_ngrams=(4, 4)))
    texts, groups = ["Wiskott syndrome, Smithson", "syndrome"], np.array([0, 1])
    fit = features.fit_transform(texts, groups, names=["Wiskott syndrome", ""])
    assert set(features.words) == {"wiskott", "syndrome"}
    assert len(features.runs[0]) == 1
    assert "wisk" in features.chars
    assert "smit" not in features.chars
    assert abs(fit - features.transform(texts)).max() == 0


_MADE_UP = np.random.default_rng(0).choice(list("bdfglmnprst"), (12, 7))
NAMES = {f"C{number:02}": "".join(letters) for number, letters in enumerate(_MADE_UP)}
NAMED_TEXTS = [f"patient number {row} seen today with {[*NAMES.values()][row % 12]}" for row in range(36)]
NAMED_TRUTH = np.arange(36)[:, None] % 12 == np.arange(12)
DESCRIPTIONS = [f"Disease of {name}" for name in NAMES.values()]


def test_a_label_is_learnt_again_from_as_many_features_as_rank_best_on_what_it_held_in() -> None:
    random = np.random.default_rng(0)
    letters = list("bdfglmnprst")
    noise = ["".join(random.choice(letters, 5)) for _ in range(400)]
    truth = random.random(80) < 0.5
    texts = [" ".join([*random.choice(noise, 60), "wheeze" if true else "murmur"]) for true in truth]
    targets = csr_matrix(truth[:, None].astype(np.uint8))

    def fit(label_features: int | tuple[int, ...] | None) -> SvmClassifier:
        chosen = SvmSettings(label_features=label_features)
        return SvmClassifier(["R06"], chosen).fit(examples_of(texts, targets, ["R06"]))

    few, all_of_them, either = fit(10), fit(None), fit((10, 100_000))
    assert few.model.weights.nnz == 10
    assert all_of_them.model.weights.nnz > 1000
    assert (either.predict_proba(texts) == few.predict_proba(texts)).all()


def test_a_description_helps_a_code_with_few_notes() -> None:
    texts, truth = NAMED_TEXTS, NAMED_TRUTH
    apart = []
    for descriptions in (None, DESCRIPTIONS):
        svm = SvmClassifier(list(NAMES), SvmSettings())
        out_of_fold = svm.fit(
            examples_of(texts, csr_matrix(truth.astype(np.uint8)), svm.labels, descriptions=descriptions)
        ).out_of_fold
        assert out_of_fold is not None
        apart.append(out_of_fold.probabilities[truth].mean() - out_of_fold.probabilities[~truth].mean())
    assert apart[1] > apart[0]


def test_a_code_without_notes_is_found_by_its_name() -> None:
    unseen = 11
    rows = np.flatnonzero(~NAMED_TRUTH[:, unseen])
    targets = csr_matrix(NAMED_TRUTH[rows].astype(np.uint8))
    texts = [NAMED_TEXTS[row] for row in rows]
    svm = SvmClassifier(list(NAMES), SvmSettings())
    svm.fit(examples_of(texts, targets, svm.labels, groups=rows, descriptions=DESCRIPTIONS))
    note = f"Brought in by her mother with {NAMES['C11']} since Monday"
    found = svm.predict_proba([note, *texts])[:, unseen]
    assert found[0] > 0.5
    assert found[1:].max() < 0.1
    (span, *_), *_ = svm.evidence([note], [[unseen]])[0]
    assert note[span.start : span.end] == NAMES["C11"]


def test_settings_that_would_have_no_effect_are_refused() -> None:
    for lengths in ((5, 3), (0, 3)):
        with pytest.raises(ValidationError, match="char_ngrams"):
            NgramSettings(char_ngrams=lengths)
    with pytest.raises(ValidationError, match="less than or equal to 5"):
        SvmSettings(sentences_around=6)
    with pytest.raises(ValidationError, match="less than or equal to 5"):
        CnnSettings(context=6)
    with pytest.raises(ValidationError, match="context=0"):
        CnnSettings(codewise=True, context=5)


def test_logistic_regression_takes_the_cost_that_ranks_best_on_what_it_held_in() -> None:
    targets = csr_matrix(
        np.array([["pneumonia" in text, "knee" in text.lower()] for text in TEXTS], np.uint8)
    )

    def fit(cost: float | tuple[float, ...]) -> SvmClassifier:
        chosen = SvmSettings(features=FEATURES, loss="logistic", cost=cost)
        return SvmClassifier(["J18", "M25"], chosen).fit(examples_of(TEXTS, targets, ["J18", "M25"]))

    several = fit((1e-6, 10.0))
    assert (several.predict_proba(TEXTS) == fit(10.0).predict_proba(TEXTS)).all()
    assert (several.predict_proba(TEXTS) != fit(1e-6).predict_proba(TEXTS)).any()
