"""What is found in notes, what is learnt from mentions, and what must not be kept."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from labelled import examples_of
from scipy.sparse import csr_matrix

from rubricator.models.mentions.classifier import MentionClassifier, MentionSettings
from rubricator.models.mentions.features import FEATURES, entries
from rubricator.models.mentions.found import match
from rubricator.models.mentions.matching import NameIndex, name_of, read_words, word_key, word_keys
from rubricator.nlp.contexts import LabelSpan

LABELS = ["J18.9", "R05.9", "R10.9", "S72.00", "R07.0"]  # nobody has the last
SAID = {
    "J18.9": ["lobar pneumonia", "pneumonia"],
    "R05.9": ["dry cough", "coughing"],
    "R10.9": ["belly ache", "pain in the belly"],
    "S72.00": ["broken hip", "hip fracture"],
}


def notes(many: int = 60) -> tuple[list[str], csr_matrix, list[list[LabelSpan]]]:
    random = np.random.default_rng(0)
    texts, truth, evidence = [], np.zeros((many, len(LABELS)), np.uint8), []
    for row in range(many):
        text, spans = f"Seen in room {row % 7}. ", []
        for label in random.permutation(4)[: 1 + row % 3]:
            said = SAID[LABELS[label]][random.integers(2)]
            text += "There is "
            spans.append(LabelSpan(int(label), len(text), len(text) + len(said)))
            text += f"{said}, treated at home. "
            truth[row, label] = 1
        texts.append(text + f"Dr Quillfeather{chr(97 + row % 26)}{row}, lives near the station.")
        evidence.append(spans)
    return texts, csr_matrix(truth), evidence


def fitted(*, marked: bool = True) -> MentionClassifier:
    texts, truth, evidence = notes()
    return MentionClassifier(LABELS, MentionSettings(inner_folds=4)).fit(
        examples_of(texts, truth, LABELS, evidence=evidence if marked else None)
    )


MENTIONS = fitted()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("hipertensión", "Hypertension"),
        ("psicosis", "psychosis"),
        ("linfoma", "lymphoma"),
        ("neumonía", "PNEUMONIA"),
        ("crónica", "chronic"),
        ("edemas", "oedema"),
        ("fracture", "fractures"),
    ],
)
def test_spellings_of_one_word_have_one_key(one: str, other: str) -> None:
    assert word_key(one) == word_key(other)


def test_other_words_and_small_numbers_keep_apart() -> None:
    assert len(set(word_keys("hepatitis hepatic pain pan type 1 2"))) == 7
    assert word_keys("12 345") == word_keys("98 761")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A fracture of the left hip.", "fracture of the left hip"),
        ("Hip, old fractures", "Hip, old fractures"),
        ("The hip is well. There was a fracture.", None),
        ("hip and many words that tell of other things than the fracture", None),
    ],
)
def test_a_name_is_found_in_any_order_within_a_sentence(text: str, found: str | None) -> None:
    index = NameIndex([name_of(word_keys("hip fracture"), without=frozenset())], {}, 1.0)
    note = read_words(text)
    spans = [text[note.starts[first] : note.ends[last]] for _, first, last in index.whole(note)]
    assert spans == ([found] if found else [])


def test_a_part_of_a_name_and_a_misspelt_word_count_by_their_share() -> None:
    name = name_of(word_keys("thrombocytopenia severe"), without=frozenset())
    index = NameIndex([name], {word_key("thrombocytopenia"): 3.0, "sever": 1.0}, 1.0)
    texts = ["Thrombocytopenia.", "severe thrombocytopemia", "a severe cold"]
    notes_read = [read_words(text) for text in texts]
    row, _, share, _ = index.parts(notes_read, 0.3, misspelt=True)
    assert row.tolist() == [0, 1]
    assert share[0] == pytest.approx(0.75)
    assert 0.75 < share[1] < 1
    assert index.parts(notes_read, 0.3, misspelt=False)[0].tolist() == [0]


def test_mentions_tell_labels_apart_and_evidence_is_the_mention() -> None:
    text = "Now a dry cough since monday, and the hip has a fracture."
    found = MENTIONS.predict_proba([text])[0]
    assert found[[1, 3]].min() > 0.6
    assert found[[0, 2]].max() < 0.2
    (cough, hip) = MENTIONS.evidence([text], [[1, 3]])[0]
    assert text[cough[0].start : cough[0].end] == "dry cough"
    assert text[hip[0].start : hip[0].end] == "hip has a fracture"


def test_a_label_that_no_note_has_is_found_by_its_name_only() -> None:
    named, other = MENTIONS.predict_proba(["She has pain in the throat.", "She has a dry cough."])[:, 4]
    assert named > 0
    assert other == 0


def test_spans_lie_in_the_text_apart_and_weigh_1_together() -> None:
    texts, *_ = notes(20)
    for spans in (each for row in MENTIONS.evidence(texts, [[0, 1, 2, 3, 4]] * 20) for each in row if each):
        assert sum(span.weight for span in spans) == pytest.approx(1)
        ordered = sorted(spans, key=lambda span: span.start)
        assert all(left.end <= right.start for left, right in pairwise(ordered))


def test_held_in_predictions_are_of_models_that_did_not_see_the_note() -> None:
    texts, truth, evidence = notes(30)
    texts[0] += " Zebraform malady."
    evidence[0].append(LabelSpan(0, texts[0].index("Zebraform"), len(texts[0]) - 1))
    texts[0] = texts[0].replace("pneumonia", "illness")
    model = MentionClassifier(LABELS, MentionSettings(min_groups=1, inner_folds=4))
    model.fit(examples_of(texts, truth, LABELS, evidence=evidence))
    assert model.out_of_fold is not None
    assert model.out_of_fold.probabilities[0, 0] < model.predict_proba(texts[:1])[0, 0]


def test_a_word_of_one_patient_is_not_kept(tmp_path: Path) -> None:
    texts, truth, evidence = notes()
    texts[0] += " Snodgrass syndrome."
    evidence[0].append(LabelSpan(0, texts[0].index("Snodgrass"), len(texts[0]) - 1))
    model = MentionClassifier(LABELS, MentionSettings(inner_folds=4))
    model.fit(examples_of(texts, truth, LABELS, evidence=evidence)).save(tmp_path)
    stored = (tmp_path / "names.json").read_text().lower()
    assert word_key("cough") in stored
    assert not any(word_key(name) in stored for name in ("Snodgrass", "Quillfeathera0"))


def test_words_that_stand_together_in_notes_of_one_patient_only_are_no_mention(tmp_path: Path) -> None:
    texts, truth, _ = notes(40)
    texts = [text + (" zelda quixote called." if row < 2 else "") for row, text in enumerate(texts)]
    texts[2] += " zelda came."
    texts[3] += " quixote came."
    groups = np.maximum(np.arange(40), 1)  # the first two notes are of one patient
    truth = truth.tolil()
    truth[:4, 4] = 1
    MentionClassifier(LABELS, MentionSettings(inner_folds=4)).fit(
        examples_of(texts, truth.tocsr(), LABELS, groups=groups)
    ).save(tmp_path)
    mentions = json.loads((tmp_path / "names.json").read_text())["mentions"]
    assert word_key("zelda") in mentions, "it is of three patients, who have the code"
    assert " ".join(sorted(map(word_key, ("zelda", "quixote")))) not in mentions


@pytest.mark.parametrize("folds", [2, 3])
def test_few_inner_folds_still_tell_true_from_false(folds: int) -> None:
    texts, truth, evidence = notes()
    out_of_fold = (
        MentionClassifier(LABELS, MentionSettings(inner_folds=folds))
        .fit(examples_of(texts, truth, LABELS, evidence=evidence))
        .out_of_fold
    )
    assert out_of_fold is not None
    true = truth.toarray() > 0
    assert out_of_fold.probabilities[true].mean() > 0.8
    assert out_of_fold.probabilities[~true].mean() < 0.1


def test_a_loaded_model_predicts_the_same(tmp_path: Path) -> None:
    texts, *_ = notes(20)
    MENTIONS.save(tmp_path)
    again = MentionClassifier.load(tmp_path)
    assert (again.predict_proba(texts) == MENTIONS.predict_proba(texts)).all()
    assert again.evidence(texts[:3], [[0, 1]] * 3) == MENTIONS.evidence(texts[:3], [[0, 1]] * 3)


def test_without_marked_evidence_names_of_codes_still_count() -> None:
    texts = ["Pain in the throat.", "Nothing to tell."]
    assert fitted(marked=False).predict_proba(texts)[0, 4] > 0


def test_every_column_of_the_features_has_a_name() -> None:
    texts, *_ = notes(20)
    found = match(MENTIONS.dictionary, [read_words(text) for text in texts])
    key, features = entries(MENTIONS.dictionary, MENTIONS.counts, found, np.ones(20, bool))
    assert features.shape == (len(key), len(FEATURES))
    assert len(set(FEATURES)) == len(FEATURES)
    columns = dict(zip(FEATURES, features.T, strict=True))
    codes = len(MENTIONS.dictionary.codes)
    assert columns["label.length"].tolist() == [len(LABELS[label]) for label in key % codes]
    assert np.nanmax(columns["mention.outside"]) == 1


def test_how_often_a_mention_was_found_and_denied_is_a_feature() -> None:
    text = "She has no dry cough. The dry cough is gone."
    found = match(MENTIONS.dictionary, [read_words(text)])
    key, features = entries(MENTIONS.dictionary, MENTIONS.counts, found, np.ones(1, bool))
    columns = dict(zip(FEATURES, features[list(key).index(LABELS.index("R05.9"))], strict=True))
    assert columns["mention.times"] == 2
    assert columns["mention.denied"] == 0.5
