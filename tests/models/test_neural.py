"""What every neural classifier must hold, shown on the CNN: batches, offsets, resuming, determinism, files."""

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import examples_of
from scipy.sparse import csr_matrix
from tiny_networks import (
    CONTEXTS,
    FIVE_EPOCHS,
    GROUPS,
    KINDS,
    LABELS,
    NOTES,
    SENTENCES,
    TARGETS,
    TEXTS,
    fitted,
    interrupt,
)

from rubricator.models.checkpoints import training_steps
from rubricator.models.neural.cnn import CnnClassifier
from rubricator.models.neural.training_data import ShuffledRows
from rubricator.models.registry.bundle import write_bundle
from rubricator.models.registry.pyfunc_entry import load_bundle
from rubricator.models.training import train_model
from rubricator.nlp.contexts import LabelSpan, neighbours
from rubricator.nlp.examples import Examples

WORDS = [
    "Pneumonia",
    "cough,",
    "knee",
    "no",
    "39.2",
    "Überweisung",
    "İ",
    "😀",
    "e\u0301",
    "\xa0",
    "\ud800",
    "zq",
    "\n",
]


@pytest.fixture(scope="module")
def notes() -> CnnClassifier:
    return fitted(NOTES)


@pytest.fixture(scope="module")
def sentences() -> CnnClassifier:
    return fitted(SENTENCES)


BOTH = pytest.mark.parametrize("kind", ["notes", "sentences"])


@BOTH
def test_it_learns_and_a_label_without_positives_has_probability_0(kind: str, request) -> None:
    model = request.getfixturevalue(kind)
    found = model.predict_proba(TEXTS, contexts=CONTEXTS)
    assert found.dtype == np.float32
    assert (found.argmax(axis=1) == KINDS).mean() > 0.8
    assert (found[:, 3] == 0).all()
    assert (found[:, :3] > 0).all()
    out_of_fold = model.out_of_fold
    assert len(out_of_fold.rows) == len(out_of_fold.probabilities) > 5
    assert not set(GROUPS[out_of_fold.rows]) & set(np.delete(GROUPS, out_of_fold.rows))


@BOTH
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_output_for_a_text_depends_on_neither_batch_nor_order_nor_padding(
    kind: str, request, data
) -> None:
    model = request.getfixturevalue(kind)
    made_up = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=40).map(" ".join)
    texts = data.draw(st.lists(made_up, min_size=1, max_size=8))
    contexts = neighbours(texts)
    order = data.draw(st.permutations(range(len(texts))))
    together = model.predict_proba([texts[row] for row in order], contexts=[contexts[row] for row in order])
    for place, row in enumerate(order):
        alone = model.predict_proba([texts[row]], contexts=[contexts[row]])
        np.testing.assert_allclose(together[place], alone[0], atol=1e-5)


@BOTH
@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=30).map(" ".join))
def test_evidence_is_whole_words_of_the_original_text(kind: str, request, text: str) -> None:
    for spans in request.getfixturevalue(kind).evidence([text], [[0, 2]])[0]:
        assert all(0 <= span.start < span.end <= len(text) and span.weight > 0 for span in spans)
        assert sum(span.weight for span in spans) <= 1 + 1e-6
        for span in spans:
            assert text[span.start : span.end] == text[span.start : span.end].strip()
            before, after = text[: span.start][-1:], text[span.end :][:1]
            assert not (before.isalpha() and text[span.start].isalpha())
            assert not (after.isalpha() and text[span.end - 1].isalpha())


@BOTH
def test_the_strongest_evidence_names_the_finding(kind: str, request) -> None:
    texts = [
        "Patient 7 was seen\xa0with\n\n\tKnee   pain today, well",
        "patient was seen with dry cough today, well",
    ]
    found = request.getfixturevalue(kind).evidence(texts, [[2], [1]])
    strongest = [text[spans[0].start : spans[0].end] for text, (spans,) in zip(texts, found, strict=True)]
    assert "Knee" in strongest[0] or "pain" in strongest[0]
    assert "dry" in strongest[1] or "cough" in strongest[1]


@BOTH
def test_a_saved_model_is_plain_files_and_predicts_the_same(kind: str, request, tmp_path: Path) -> None:
    model = request.getfixturevalue(kind)
    model.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "classifier.json",
        "tokenizer.json",
        "weights.safetensors",
    }
    loaded = CnnClassifier.load(tmp_path)
    np.testing.assert_array_equal(
        loaded.predict_proba(TEXTS, contexts=CONTEXTS), model.predict_proba(TEXTS, contexts=CONTEXTS)
    )
    assert loaded.evidence(TEXTS[:2], [[0], [1]]) == model.evidence(TEXTS[:2], [[0], [1]])


def test_the_same_data_and_seed_give_the_same_model_and_leave_the_random_state_alone() -> None:
    quick = SENTENCES.model_copy(update={"epochs": 2, "members": 2})
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = fitted(quick)
    assert torch.rand(1) == expected
    second = fitted(quick)
    other = fitted(quick.model_copy(update={"seed": 1}))
    found = [model.predict_proba(TEXTS, contexts=CONTEXTS) for model in (first, second, other)]
    np.testing.assert_array_equal(found[0], found[1])
    assert abs(found[0] - found[2]).max() > 1e-3
    assert len(first.networks) == 2
    assert len(first.out_of_fold.rows) > len(TEXTS) / 4, "each member holds in another fold"


def test_attention_is_pulled_onto_marked_evidence() -> None:
    """`patient` says nothing of the label; only the marks can draw attention to it."""
    marked = [
        [LabelSpan(int(kind), text.index("patient"), text.index("patient") + 7)]
        for kind, text in zip(KINDS, TEXTS, strict=True)
    ]
    shares = []
    for evidence in (None, marked):
        model = fitted(NOTES.model_copy(update={"evidence_weight": 3.0}), evidence=evidence)
        corpus = model.corpus_of(TEXTS[:3], None)
        batch = corpus.batch([0, 1, 2])
        network = model.networks[0]
        attention = network.attention(
            network.encode(network.embed(batch.input_ids), batch.mask), batch.mask, torch.arange(3)
        )
        at = model.tokenizer.encode(TEXTS[0]).tokens.index("patient")
        shares.append(attention[0, at].item())
    assert shares[1] > max(0.1, 1.5 * shares[0])


def test_convolutions_find_the_word_that_counts_in_long_notes() -> None:
    """Attention that starts flat over 200 words never learns to look at one."""
    random = np.random.default_rng(0)
    words = [f"word{first}{second}" for first in "abcdefghijklmnopqrst" for second in "abcdefghijklmnopqrst"]
    texts, truth = [], random.random((200, 3)) < 0.3
    for labels in truth:
        text = random.choice(words, 200)
        for label in np.flatnonzero(labels):
            text[random.integers(200)] = f"find{'abc'[label]}"
        texts.append(" ".join(text))
    settings = CnnClassifier.default_settings("note").model_copy(update={"epochs": 10})
    model = CnnClassifier(["a", "b", "c"], settings)
    model.fit(examples_of(texts[:120], csr_matrix(truth[:120].astype(float)), model.labels))
    found = model.predict_proba(texts[120:])
    assert found[truth[120:]].mean() > 2 * found[~truth[120:]].mean()


def test_a_bundle_works_with_the_source_that_it_was_registered_with(tmp_path: Path) -> None:
    examples = Examples(
        ids=[str(row) for row in range(90)],
        groups=GROUPS,
        texts=TEXTS,
        contexts=CONTEXTS,
        targets=TARGETS,
        labels=LABELS,
    )
    model = train_model(examples, task="plan", classifier="cnn", settings=SENTENCES)
    write_bundle(model, tmp_path)
    loaded = load_bundle(tmp_path)
    assert type(loaded.classifier).__module__.startswith("rubricator_")
    np.testing.assert_array_equal(
        loaded.predict_proba(TEXTS, contexts=CONTEXTS), model.predict_proba(TEXTS, contexts=CONTEXTS)
    )
    assert (loaded.predict_proba(TEXTS, contexts=CONTEXTS)[:, 3] == 0).all()
    assert set(model.classifier.requirements) >= {"torch", "tokenizers"}


KILLED = """
import os, signal, sys
from pathlib import Path
import transformers
sys.path[:0] = {folders!r}
import tiny_networks

class Kill(transformers.TrainerCallback):
    def on_epoch_begin(self, args, state, control, **_):
        if state.epoch >= 3:
            os.kill(os.getpid(), signal.SIGKILL)

made = transformers.Trainer.__init__
transformers.Trainer.__init__ = lambda self, *a, callbacks, **k: made(self, *a, callbacks=[*callbacks, Kill()], **k)
tiny_networks.fitted(tiny_networks.FIVE_EPOCHS, checkpoints=Path({checkpoints!r}))
"""


def test_training_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = fitted(FIVE_EPOCHS).predict_proba(TEXTS, contexts=CONTEXTS)
    script = KILLED.format(folders=[str(Path(__file__).parents[1])], checkpoints=str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    [(done, most)] = training_steps(tmp_path)
    assert 0 < done < most
    epochs = []
    shuffle = ShuffledRows.set_epoch
    monkeypatch.setattr(
        ShuffledRows, "set_epoch", lambda self, epoch: (epochs.append(epoch), shuffle(self, epoch))
    )
    resumed = fitted(FIVE_EPOCHS, checkpoints=tmp_path).predict_proba(TEXTS, contexts=CONTEXTS)
    assert set(epochs) == {0, 3, 4}
    np.testing.assert_allclose(resumed, undisturbed, atol=1e-4)

    epochs.clear()
    again = fitted(FIVE_EPOCHS, checkpoints=tmp_path).predict_proba(TEXTS, contexts=CONTEXTS)
    assert not epochs, "a network that was finished is not trained again"
    np.testing.assert_array_equal(again, resumed)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["finished.safetensors"]


def test_training_that_had_stopped_early_when_it_was_killed_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops = SENTENCES.model_copy(update={"patience": 1, "learning_rate": 0.03})
    undisturbed = fitted(stops).predict_proba(TEXTS, contexts=CONTEXTS)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("transformers.Trainer._load_best_model", interrupt)
        fitted(stops, checkpoints=tmp_path)
    [(done, most)] = training_steps(tmp_path)
    assert 0 < done < most
    resumed = fitted(stops, checkpoints=tmp_path).predict_proba(TEXTS, contexts=CONTEXTS)
    np.testing.assert_array_equal(resumed, undisturbed)


def test_batches_have_room_for_the_longest_neighbour() -> None:
    one_is_long = ["a short one"] * 50 + ["word " * 500] + [f"short {number}" for number in range(50)]
    classifier = fitted(SENTENCES.model_copy(update={"epochs": 1, "max_tokens": 500}))
    corpus = classifier.corpus_of(one_is_long, neighbours(one_is_long))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rubricator.models.neural.corpus.MOST_TOKENS", 4000)
        batches = list(corpus.batches())
    assert np.concatenate(batches).tolist() == list(range(101))
    assert max(corpus.batch(rows).input_ids.numel() for rows in batches) <= 4000


def test_steps_are_read_while_checkpoints_come_and_go(tmp_path: Path) -> None:
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for number in range(20):
                (tmp_path / "member" / f"checkpoint-{number}").mkdir(parents=True)
            shutil.rmtree(tmp_path / "member")

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        assert all(training_steps(tmp_path) == [] for _ in range(2000))
    finally:
        ended.set()
        other.join()


def test_training_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    fitted(NOTES.model_copy(update={"epochs": 1}))
    assert capfd.readouterr() == ("", "")
