"""What the neural classifiers share: tokens with offsets, training by the transformers Trainer, prediction, evidence.

A subclass gives a tokenizer and a network; see `Network` and the hooks of `NeuralClassifier`.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer
from torch import Tensor, nn

from rubricator.models.classifier import (
    STEPS,
    ContextError,
    EvidenceSpan,
    OutOfFold,
    classifier_class,
    read_json,
    write_json,
)
from rubricator.models.evidence import evidence_spans
from rubricator.models.neural.losses import Loss, loss_named
from rubricator.nlp.contexts import SENTENCES_AROUND, Context, LabelSpan
from rubricator.nlp.folds import assign_folds
from rubricator.nlp.hidden_text import hides_text

if TYPE_CHECKING:
    from rubricator.nlp.examples import Examples

Int = NDArray[np.int64]
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_BATCH_TOKENS = 2**15  # with padding, in prediction
_MOST_ROWS = 1024  # of a batch in prediction
_LEAST = 1e-7  # 0 says that a label is not known
_BUCKET = 32  # batches that are sorted by length together


class NeuralSettings(BaseModel):
    """How a network is trained, and what it reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: str = "bce"  # a name of losses.LOSSES
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)  # part of all steps; then down to 0 in a straight line
    batch_size: int = Field(default=32, gt=0)
    run: int = Field(default=1, gt=0)  # so many rows that follow each other in a group go into the same batch
    epochs: int = Field(default=30, gt=0)  # at most
    least_steps: int = Field(
        default=0, ge=0
    )  # few texts are read for more epochs, so that there are so many steps
    patience: int = Field(default=5, gt=0)  # epochs without a better average precision on what is held in
    max_gradient_norm: float = Field(default=1.0, gt=0)
    members: int = Field(default=1, gt=0)  # networks, each holding in another fold
    folds: int = Field(default=5, ge=2)  # of the groups: one is held in
    context: int = Field(default=0, ge=0, le=SENTENCES_AROUND)  # sentences on either side that are read
    max_tokens: int = Field(default=2500, gt=0)  # of a text; the rest is not read
    evidence_weight: float = Field(default=0.1, ge=0)  # of attention on marked evidence, in the loss
    seed: int = 0


class Network(nn.Module):
    """Texts as padded token numbers in, one logit per label out.

    Nothing in it may mix texts (no batch normalisation): the output for a text depends on that text alone.
    mask: bool (strings, tokens), False at the padding on the right; a string has at least one token. rows: (texts, 1 +
    2·context), the strings of the batch that are the text itself, the sentences before it and those after it, nearest
    first; -1 where there is none.
    """

    def described(self) -> Tensor | None:
        """Which labels (labels,) may speak without positives, by their descriptions."""
        return None

    def embed(self, input_ids: Tensor) -> Tensor:
        """(strings, tokens) → (strings, tokens, width): what evidence takes gradients of."""
        raise NotImplementedError

    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """(strings, tokens, width) → what `classify` and `attention` take, say token vectors (strings, tokens, dim)."""
        raise NotImplementedError

    def classify(self, hidden: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """What encode gave → logits (texts, labels)."""
        raise NotImplementedError

    def attention(self, hidden: Tensor, mask: Tensor, labels: Tensor) -> Tensor | None:  # noqa: ARG002
        """How label labels[i] attends to the tokens of string i: (strings, tokens); None where nothing attends."""
        return None

    def rate(self, parameter: str) -> float:  # noqa: ARG002
        """The part of the learning rate that the parameter of this name is trained with."""
        return 1.0

    def forward(self, input_ids: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        return self.classify(self.encode(self.embed(input_ids), mask), mask, rows)


class NeuralClassifier:
    """One or several networks. Probability = mean of their sigmoid(logit), not yet calibrated.

    A label without positives has probability exactly 0, unless its description may speak for it (Network.described).
    """

    settings_class: ClassVar[type[NeuralSettings]] = NeuralSettings
    requirements: ClassVar[tuple[str, ...]] = ("tokenizers", "torch", "transformers")  # of prediction

    def __init__(
        self,
        labels: Sequence[str],
        settings: Any,
    ) -> None:
        self.labels = list(labels)
        self.descriptions: list[str] = []  # of the labels, while it is fitted
        self.settings = settings
        self.tokenizer: Tokenizer
        self.networks: list[Network] = []
        self.known = torch.zeros(0, len(self.labels), dtype=torch.bool)  # (networks, labels)
        self.out_of_fold: OutOfFold | None = None
        self.checkpoints: Path | None = None

    def prepare(self, texts: Sequence[str], groups: Int) -> None:
        """Set self.tokenizer, where need be from the texts and context sentences of training and their groups."""
        raise NotImplementedError

    def network(self, *, trained: bool) -> Network:
        """A new network; trained: its weights will be replaced by saved ones."""
        raise NotImplementedError

    def configuration(self) -> dict[str, Any]:
        """JSON that `network` needs when the model is loaded."""
        return {}

    def configure(self, configuration: dict[str, Any]) -> None:
        """Take back what configuration() gave."""

    def fit(self, examples: "Examples") -> Self:
        """Train each network on all folds of the groups but one, which decides when to stop and is predicted then.

        Raises FoldError where there are under two groups.
        """
        settings, texts, groups, contexts = self.settings, examples.texts, examples.groups, examples.contexts
        targets = examples.targets.tocsr().astype(np.float32)
        self.descriptions = examples.label_texts()
        folds = assign_folds(targets, groups, settings.folds, seed=settings.seed)
        members = range(min(settings.members, folds.max() + 1))
        around = (
            [[*context.before, *context.after] for context in contexts] if contexts else [[]] * len(texts)
        )
        self.prepare(
            [*texts, *(sentence for sentences in around for sentence in sentences)],
            np.concatenate([groups, np.repeat(groups, [len(sentences) for sentences in around])]),
        )
        corpus = self._read(texts, contexts)
        spans = None
        if examples.evidence and settings.evidence_weight:
            spans = self._evidence_tokens(texts, examples.evidence)
        fingerprint = self._fingerprint(corpus, targets, groups, spans)
        out_of_fold = np.zeros(targets.shape, np.float32)
        self.networks, known = [], []
        for member in members:
            train, test = np.flatnonzero(folds != member), np.flatnonzero(folds == member)
            positives = np.asarray(targets[train].sum(axis=0)).ravel()
            with _reproducible(settings.seed + member):
                network = self.network(trained=False)
                objective = Objective(
                    network, loss_named(settings.loss, torch.tensor(positives)), settings.evidence_weight
                )
                data = TrainingData(corpus, targets, spans)
                train_network(
                    objective,
                    data,
                    train,
                    groups[train],
                    test,
                    settings,
                    settings.seed + member,
                    self.checkpoints and self.checkpoints / fingerprint[:16] / str(member),
                )
            self.networks.append(network.eval())
            speaks = network.described()
            known.append((torch.tensor(positives) > 0) | (False if speaks is None else speaks.cpu()))
            out_of_fold[test] = _probabilities(network, corpus.take(test)) * known[-1].numpy()
        self.known = torch.stack(known)
        rows = np.flatnonzero(np.isin(folds, members))
        self.out_of_fold = OutOfFold(rows, out_of_fold[rows])
        return self

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities (n, labels): the mean over the networks that know the label, 0 where none does."""
        corpus = self._read(texts, contexts)
        found = np.zeros((len(texts), len(self.labels)), np.float32)
        for network, known in zip(self.networks, self.known.numpy(), strict=True):
            found += _probabilities(network, corpus) * known
        mean: NDArray[np.float32] = found / np.maximum(self.known.numpy().sum(axis=0), 1).astype(np.float32)
        return mean

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and asked label: runs of words that spoke for it, strongest first.

        A word's part is its attention times the norm of input times gradient (AttInGrad, Edin et al. 2024), averaged
        over the networks.
        """
        found: list[list[list[EvidenceSpan]]] = []
        for text, asked in zip(texts, labels, strict=True):
            encoding = self.tokenizer.encode(_encodable(text))
            size = min(len(encoding), self.settings.max_tokens)
            words, offsets = _words(encoding, size)
            if not asked or not len(offsets):
                found.append([[] for _ in asked])
                continue
            ids = torch.tensor([encoding.ids[:size]])
            parts = sum(self._parts(network, ids, asked) for network in self.networks)
            of_words = np.zeros((len(asked), len(offsets)))
            inside = words >= 0
            np.add.at(of_words.T, words[inside], np.asarray(parts).T[inside])
            found.append([evidence_spans(offsets, part) for part in of_words])
        return found

    def save(self, folder: Path) -> None:
        """weights.safetensors, tokenizer.json, and the settings in classifier.json."""
        tensors = {"known": self.known}
        for member, network in enumerate(self.networks):
            tensors |= {f"{member}.{name}": tensor for name, tensor in network.state_dict().items()}
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "weights.safetensors"
        )
        (folder / "tokenizer.json").write_text(self.tokenizer.to_str(), encoding="utf-8")
        write_json(
            folder / "classifier.json",
            {
                "labels": self.labels,
                "settings": self.settings.model_dump(mode="json"),
                "configuration": self.configuration(),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What save wrote."""
        config = read_json(folder / "classifier.json")
        loaded = cls(config["labels"], cls.settings_class.model_validate(config["settings"]))
        loaded.tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        loaded.configure(config["configuration"])
        tensors = load_file(folder / "weights.safetensors")
        loaded.known = tensors.pop("known")
        for member in range(len(loaded.known)):
            network = loaded.network(trained=True)
            prefix = f"{member}."
            network.load_state_dict(
                {
                    name.removeprefix(prefix): tensor
                    for name, tensor in tensors.items()
                    if name.startswith(prefix)
                }
            )
            loaded.networks.append(network.to(_device()).eval())
        return loaded

    def _read(self, texts: Sequence[str], contexts: Sequence[Context] | None) -> "Corpus":
        """The tokens of each distinct string, and which strings each text is read with."""
        width = self.settings.context
        if width and contexts is None:
            raise ContextError
        numbers: dict[str, int] = {}
        rows = np.full((len(texts), 1 + 2 * width), -1, np.int64)
        for row, text in enumerate(texts):
            rows[row, 0] = numbers.setdefault(text, len(numbers))
            if width and contexts is not None:
                context = contexts[row]
                for column, sentence in enumerate(context.before[::-1][:width], 1):
                    rows[row, column] = numbers.setdefault(sentence, len(numbers))
                for column, sentence in enumerate(context.after[:width], 1 + width):
                    rows[row, column] = numbers.setdefault(sentence, len(numbers))
        encodings = self.tokenizer.encode_batch_fast([_encodable(text) for text in numbers])
        unknown = np.array([1])
        return Corpus(
            [
                np.array(encoding.ids[: self.settings.max_tokens], np.int64) if len(encoding) else unknown
                for encoding in encodings
            ],
            rows,
        )

    def _evidence_tokens(
        self, texts: Sequence[str], evidence: Sequence[Sequence[LabelSpan]]
    ) -> list[list[tuple[int, Int]]]:
        """For each text: (label, its evidence tokens) for each label with marked evidence."""
        found = []
        for text, spans in zip(texts, evidence, strict=True):
            tokens: dict[int, set[int]] = {}
            if spans:
                offsets = np.array(
                    self.tokenizer.encode(_encodable(text)).offsets[: self.settings.max_tokens]
                )
                for label, start, end in spans:
                    touched = (offsets[:, 0] < end) & (offsets[:, 1] > start)
                    tokens.setdefault(label, set()).update(np.flatnonzero(touched).tolist())
            found.append([(label, np.array(sorted(at))) for label, at in tokens.items() if at])
        return found

    def _parts(self, network: Network, ids: Tensor, labels: Sequence[int]) -> NDArray[np.float32]:
        """What each token of one text, read without context, adds to each label (labels, tokens); sums are 1."""
        found = []
        device = next(network.parameters()).device
        size = max(1, _BATCH_TOKENS // ids.numel())
        for first in range(0, len(labels), size):
            asked = torch.tensor(list(labels[first : first + size]), device=device)
            many = torch.arange(len(asked), device=device)
            rows = torch.full((len(asked), 1 + 2 * self.settings.context), -1, device=device)
            rows[:, 0] = many
            embedded = network.embed(ids.to(device).expand(len(asked), -1)).detach().requires_grad_()
            mask = torch.ones(embedded.shape[:2], dtype=torch.bool, device=device)
            hidden = network.encode(embedded, mask)
            logits = network.classify(hidden, mask, rows)
            [gradient] = torch.autograd.grad(logits[many, asked].sum(), embedded)
            with torch.no_grad():
                parts = (embedded * gradient).norm(dim=2)  # (asked, tokens)
                attention = network.attention(hidden, mask, asked)
                parts = parts if attention is None else parts * attention
                found.append((parts / parts.sum(dim=1, keepdim=True).clamp(min=1e-30)).cpu().numpy())
        return np.concatenate(found)

    def _fingerprint(
        self, corpus: "Corpus", targets: csr_matrix, groups: Int, spans: list[list[tuple[int, Int]]] | None
    ) -> str:
        """Of all that training depends on."""
        digest = hashlib.sha256(
            json.dumps(
                [
                    type(self).__name__,
                    self.labels,
                    self.descriptions,
                    self.settings.model_dump(mode="json"),
                    self.configuration(),
                    [[(label, at.tolist()) for label, at in here] for here in spans or []],
                    torch.__version__,
                ]
            ).encode()
        )
        digest.update(self.tokenizer.to_str().encode())
        for array in (*corpus.strings, corpus.rows, groups, targets.indptr, targets.indices):
            digest.update(np.ascontiguousarray(array, np.int64).tobytes())
        return digest.hexdigest()


def untrained_forward(classifier: str, settings: BaseModel, *, labels: int, texts: Sequence[str]) -> float:
    """Seconds of one forward pass over all texts in one batch, by a new network for so many labels."""
    made = classifier_class(classifier)([str(label) for label in range(labels)], settings)
    if not isinstance(made, NeuralClassifier):
        raise TypeError(f"{classifier} has no network")
    made.prepare(texts, np.arange(len(texts)))
    network = made.network(trained=False).eval()
    batch = made._read(texts, None).batch(range(len(texts)))
    start = time.monotonic()
    with torch.inference_mode():
        network(*batch)
    return time.monotonic() - start


@hides_text()
class Batch(NamedTuple):
    """What a Network takes."""

    input_ids: Tensor  # (strings, tokens)
    mask: Tensor  # (strings, tokens)
    rows: Tensor  # (texts, 1 + 2·context)


@hides_text()
class Corpus(NamedTuple):
    """Token numbers of distinct strings, and for each text its strings (texts, 1 + 2·context), -1 for none."""

    strings: list[Int]
    rows: Int

    @property
    def lengths(self) -> Int:
        """Tokens of each text itself."""
        return np.array([len(self.strings[string]) for string in self.rows[:, 0]], np.int64)

    @property
    def order(self) -> Int:
        """By length; texts that are read with their neighbours as they follow each other."""
        return (
            np.arange(len(self.rows)) if self.rows.shape[1] > 1 else np.argsort(self.lengths, kind="stable")
        )

    def take(self, rows: Int) -> "Corpus":
        return Corpus(self.strings, self.rows[rows])

    def batch(self, rows: Sequence[int] | Int) -> Batch:
        """These texts, each string that they need once, padded to the longest of them."""
        strings, at = np.unique(self.rows[rows], return_inverse=True)
        at = at.reshape(len(rows), -1)
        if strings[0] < 0:
            strings, at = strings[1:], at - 1
        tokens = [self.strings[string] for string in strings]
        longest = max(map(len, tokens))
        input_ids = np.zeros((len(tokens), longest), np.int64)
        for row, ids in enumerate(tokens):
            input_ids[row, : len(ids)] = ids
        lengths = np.array([len(ids) for ids in tokens])
        mask = np.arange(longest) < lengths[:, None]
        return Batch(torch.from_numpy(input_ids), torch.from_numpy(mask), torch.from_numpy(at))

    def batches(self) -> Iterator[Int]:
        """All texts in this order, in batches of few enough tokens, neighbours and padding too."""
        order = self.order
        lengths = np.array([*map(len, self.strings), 0])  # the last is that of no string, -1
        first, longest = 0, 0
        strings: set[int] = set()
        for end, row in enumerate(order):
            here = self.rows[row]
            longest = max(longest, lengths[here].max())
            strings.update(here.tolist())
            if end > first and (end - first == _MOST_ROWS or len(strings) * longest > _BATCH_TOKENS):
                yield order[first:end]
                first, longest, strings = end, lengths[here].max(), set(here.tolist())
        if first < len(order):
            yield order[first:]


class TrainingData:
    """Collates row numbers into what Objective takes."""

    def __init__(
        self, corpus: Corpus, targets: csr_matrix, spans: list[list[tuple[int, Int]]] | None
    ) -> None:
        self.corpus, self.targets, self.spans = corpus, targets, spans

    def __call__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        batch = self.corpus.batch(rows)
        inputs = batch._asdict() | {"labels": torch.from_numpy(self.targets[rows].toarray())}
        if self.spans is not None:
            marked = [(text, *one) for text, row in enumerate(rows) for one in self.spans[row]]
            tokens = torch.zeros(len(marked), batch.mask.shape[1], dtype=torch.bool)
            for number, (*_, at) in enumerate(marked):
                tokens[number, at] = True
            inputs["marked"] = torch.tensor([[text, label] for text, label, _ in marked]).reshape(-1, 2)
            inputs["marked_tokens"] = tokens
        return inputs


class Objective(nn.Module):
    """A network and what it is trained for."""

    def __init__(self, network: Network, loss: Loss, evidence_weight: float) -> None:
        super().__init__()
        self.network, self.loss, self.evidence_weight = network, loss, evidence_weight

    def forward(
        self,
        input_ids: Tensor,
        mask: Tensor,
        rows: Tensor,
        labels: Tensor,
        marked: Tensor | None = None,
        marked_tokens: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """marked: (pairs, 2), text and label; marked_tokens: bool (pairs, tokens), the evidence of each pair."""
        hidden = self.network.encode(self.network.embed(input_ids), mask)
        logits = self.network.classify(hidden, mask, rows)
        loss = self.loss(logits, labels)
        if marked is not None and marked_tokens is not None and len(marked):
            strings = rows[marked[:, 0], 0]
            attention = self.network.attention(hidden[strings], mask[strings], marked[:, 1])
            if attention is not None:  # minus log of the attention that stands on the evidence
                on_evidence = (attention * marked_tokens).sum(dim=1)
                loss = loss - self.evidence_weight * on_evidence.clamp(min=1e-6).log().mean()
        return {"loss": loss, "logits": logits}


def train_network(
    objective: Objective,
    data: TrainingData,
    train: Int,
    groups: Int,
    test: Int,
    settings: NeuralSettings,
    seed: int,
    checkpoints: Path | None,
) -> None:
    """Train by the transformers Trainer until average precision on the rows `test` is no longer getting better.

    groups: of the rows `train`. checkpoints: the folder to go on from and to leave the finished weights in; None keeps
    nothing. The objective ends with its best weights.
    """
    from transformers import (
        EarlyStoppingCallback,
        PrinterCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        logging,
    )

    class Steps(TrainerCallback):
        """Says, once a second, how far it is."""

        said = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if time.monotonic() - self.said > 1:
                self.said = time.monotonic()
                write_json(Path(args.output_dir) / STEPS, [state.global_step, state.max_steps])

    done = checkpoints / "finished.safetensors" if checkpoints else None
    if done and done.exists():
        objective.load_state_dict(load_file(done))
        objective.to(_device())
        return
    verbosity = logging.get_verbosity()
    with _folder(checkpoints) as folder:
        arguments = TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=settings.batch_size * 4 if settings.context else settings.batch_size,
            warmup_steps=settings.warmup,
            num_train_epochs=max(
                settings.epochs, -(-settings.least_steps * settings.batch_size // len(train))
            ),
            max_grad_norm=settings.max_gradient_norm,
            bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
            seed=seed,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=1,
            save_only_model=checkpoints is None,
            load_best_model_at_end=True,
            metric_for_best_model="average_precision",
            greater_is_better=True,
            restore_callback_states_from_checkpoint=True,
            train_sampling_strategy="sequential",  # the data set changes its order each epoch
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            logging_strategy="no",
            log_level="error",
            disable_tqdm=True,
            report_to="none",
        )
        if arguments.n_gpu > 1:
            arguments._n_gpu = (
                1  # DataParallel would cut a batch's strings apart; `accelerate launch` does not
            )
        trainer = Trainer(
            model=objective,
            args=arguments,
            data_collator=data,
            train_dataset=ShuffledRows(train, groups, data.corpus.take(train).lengths, settings),
            eval_dataset=test[data.corpus.take(test).order].tolist(),
            compute_metrics=_average_precision,
            callbacks=[EarlyStoppingCallback(settings.patience), Steps()],
            optimizers=(_optimizer(objective.network, settings), None),
        )
        trainer.remove_callback(PrinterCallback)
        last = _last_whole_checkpoint(folder)
        best = _best_of_stopped(last, settings.patience)
        if best is None:
            trainer.train(resume_from_checkpoint=last)
        else:
            objective.load_state_dict(load_file(best / "model.safetensors"))
        logging.set_verbosity(verbosity)
        if done:
            part = done.with_suffix(".part")
            save_file({name: tensor.contiguous() for name, tensor in objective.state_dict().items()}, part)
            part.replace(done)


def _optimizer(network: Network, settings: NeuralSettings) -> torch.optim.Optimizer:
    """AdamW, each parameter at its own rate; biases and norms do not decay."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((network.rate(name), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        {
            "params": parameters,
            "lr": rate * settings.learning_rate,
            "weight_decay": settings.weight_decay * decays,
        }
        for (rate, decays), parameters in groups.items()
    )


class ShuffledRows:
    """Row numbers in another order each epoch, such that each batch holds texts of nearly the same length.

    Rows that follow each other in a group stay together in runs: their contexts are the same sentences.
    """

    def __init__(self, rows: Int, groups: Int, lengths: Int, settings: NeuralSettings) -> None:
        self.rows, self.lengths, self.settings = rows, lengths, settings
        starts = [0, *(np.flatnonzero(np.diff(groups)) + 1), len(rows)]
        runs = [
            np.arange(first, min(first + settings.run, end))
            for begin, end in pairwise(starts)
            for first in range(begin, end, settings.run)
        ]
        self.runs = runs
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Shuffle; the same epoch gives the same order."""
        random = np.random.default_rng([self.settings.seed, epoch])
        size = self.settings.batch_size
        shuffled = [self.runs[number] for number in random.permutation(len(self.runs))]
        order = np.concatenate(shuffled)
        if self.settings.run == 1:
            order = np.concatenate(
                [
                    bucket[np.argsort(self.lengths[bucket], kind="stable")]
                    for bucket in np.split(order, range(size * _BUCKET, len(order), size * _BUCKET))
                ]
            )
        whole = len(order) // size * size
        batches = random.permutation(order[:whole].reshape(-1, size))
        chosen = np.concatenate([batches.ravel(), order[whole:]])
        self.order: list[int] = self.rows[chosen].tolist()

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, at: int) -> int:
        return self.order[at]


def _probabilities(network: Network, corpus: Corpus) -> NDArray[np.float32]:
    device = next(network.parameters()).device
    found: NDArray[np.float32] | None = None
    with torch.inference_mode():
        for rows in corpus.batches():
            logits = network(*(tensor.to(device) for tensor in corpus.batch(rows)))
            if found is None:
                found = np.zeros((len(corpus.rows), logits.shape[1]), np.float32)
            found[rows] = logits.float().sigmoid().clamp(_LEAST, 1 - _LEAST).cpu().numpy()
    return np.zeros((0, 1), np.float32) if found is None else found


def _words(encoding: Any, size: int) -> tuple[Int, Int]:
    """The word of each token, -1 for special tokens (tokens,), and the offsets of the words (words, 2)."""
    offsets = np.array(encoding.offsets[:size], np.int64).reshape(-1, 2)
    words = np.array([-1 if word is None else word for word in encoding.word_ids[:size]], np.int64)
    numbers, number = np.unique(words[words >= 0], return_inverse=True)
    found = np.full((len(numbers), 2), -1, np.int64)
    inside = offsets[words >= 0]
    found[number[::-1], 0] = inside[::-1, 0]
    found[number, 1] = inside[:, 1]
    words[words >= 0] = number
    return words, found


def _average_precision(prediction: Any) -> dict[str, float]:
    """Over all cells of text and label."""
    from sklearn.metrics import average_precision_score

    truth = prediction.label_ids.ravel() > 0
    score = average_precision_score(truth, prediction.predictions.ravel()) if truth.any() else 0.0
    return {"average_precision": float(score)}


def _encodable(text: str) -> str:
    """The same text, as long, that UTF-8 can hold."""
    return _LONE_SURROGATE.sub("\ufffd", text)


def _device() -> torch.device:
    found = torch.accelerator.current_accelerator(check_available=True)
    return found or torch.device("cpu")


@contextmanager
def _folder(path: Path | None) -> Iterator[Path]:
    """The folder, made; without one a scratch folder for as long as the body runs. Its checkpoints go at the end."""
    if path is None:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
        return
    path.mkdir(parents=True, exist_ok=True)
    yield path
    (path / STEPS).unlink(missing_ok=True)
    for checkpoint in path.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def _last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; others are removed."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        try:  # the Trainer writes this file last
            whole.append((json.loads((path / "trainer_state.json").read_text())["global_step"], str(path)))
        except (OSError, ValueError):
            shutil.rmtree(path)
    return max(whole)[1] if whole else None


def _best_of_stopped(checkpoint: str | None, patience: int) -> Path | None:
    """The best checkpoint where training had stopped early at this one: the Trainer itself would train on."""
    if checkpoint is None:
        return None
    state = read_json(Path(checkpoint) / "trainer_state.json")
    waited = state["stateful_callbacks"]["EarlyStoppingCallback"]["attributes"]
    stopped = waited["early_stopping_patience_counter"] >= patience
    return Path(checkpoint).parent / Path(state["best_model_checkpoint"]).name if stopped else None


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seeded, deterministic algorithms; the random states of the caller come back afterwards."""
    import random

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic = torch.are_deterministic_algorithms_enabled()
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.use_deterministic_algorithms(True, warn_only=torch.accelerator.is_available())
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
            random.setstate(states[0])
            np.random.set_state(states[1])
