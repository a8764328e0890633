"""What the neural classifiers share: training of one or several networks, prediction, evidence, files.

A subclass gives a tokenizer and a network; see `Network` and the hooks of `NeuralClassifier`.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from rubricator.models.classifier import EvidenceSpan, OutOfFold
from rubricator.models.model_files import read_json, read_tensors, write_json
from rubricator.models.neural.corpus import Corpus, Int, encodable
from rubricator.models.neural.evidence import word_evidence
from rubricator.models.neural.losses import Loss, loss_named
from rubricator.models.neural.network import Network, best_device
from rubricator.models.neural.objective import Objective
from rubricator.models.neural.settings import NeuralSettings
from rubricator.models.neural.training_data import TrainingData, evidence_tokens
from rubricator.nlp.contexts import Context
from rubricator.nlp.folds import assign_folds

if TYPE_CHECKING:
    from rubricator.models.neural.training import Split
    from rubricator.nlp.examples import Examples

_LEAST = 1e-7  # smallest probability of a known label: exactly 0 means that a label is not known


class NeuralClassifier:
    """One or several networks. Probability = mean of their sigmoid(logit), not yet calibrated.

    A label without positives has probability exactly 0, unless its description makes it known (Network.described).
    """

    settings_class: ClassVar[type[NeuralSettings]] = NeuralSettings
    requirements: ClassVar[tuple[str, ...]] = ("tokenizers", "torch", "transformers")  # of prediction

    def __init__(self, labels: Sequence[str], settings: Any) -> None:
        self.labels = list(labels)
        self.descriptions: list[str] = []  # of the labels; only fit needs them
        self.person_names: frozenset[str] = frozenset()  # of the training notes; only fit needs them
        self.settings = settings
        self.tokenizer: Tokenizer
        self.networks: list[Network] = []
        self.known = torch.zeros(0, len(self.labels), dtype=torch.bool)  # (networks, labels)
        self.out_of_fold: OutOfFold | None = None
        self.checkpoints: Path | None = None

    # ---- hooks

    def prepare(self, texts: Sequence[str], groups: Int) -> None:
        """Set self.tokenizer. texts: training texts and their context sentences. groups: the group of each."""
        raise NotImplementedError

    def network(self) -> Network:
        """A new network, not trained."""
        raise NotImplementedError

    def network_of_saved_weights(self) -> Network:
        """A network into which saved weights will be loaded."""
        return self.network()

    def loss(self, positives: Tensor, /) -> Loss:
        """The loss to be minimised. positives: number of training positives of each label (labels,)."""
        return loss_named(self.settings.loss, positives)

    def configuration(self) -> dict[str, Any]:
        """JSON that `network_of_saved_weights` needs."""
        return {}

    def configure(self, configuration: dict[str, Any]) -> None:
        """Restore what configuration() gave."""

    # ---- training and prediction

    def fit(self, examples: "Examples") -> Self:
        """Train each network with one fold held out, and predict that fold.

        The held-out fold also decides when training stops. Raises FoldError where there are fewer than two groups.
        """
        from rubricator.models.neural.training import Split

        settings = self.settings
        folds = assign_folds(examples.targets, examples.groups, settings.folds, seed=settings.seed)
        members = np.arange(min(settings.members, folds.max() + 1))
        self.descriptions = examples.label_texts()
        self.person_names = examples.person_names
        self.prepare(*_all_strings(examples))
        data = self._training_data(examples)
        out_of_fold = np.zeros(data.targets.shape, np.float32)
        self.networks, known = [], []
        for member in members.tolist():
            split = Split(np.flatnonzero(folds != member), np.flatnonzero(folds == member))
            network = self._trained(member, data, split)
            known.append(_known_labels(network, data.positives(split.train)))
            found = _probabilities(network, data.corpus.take(split.held_out))
            out_of_fold[split.held_out] = found * known[-1].numpy()
            self.networks.append(network)
        self.known = torch.stack(known)
        rows = np.flatnonzero(np.isin(folds, members))
        self.out_of_fold = OutOfFold(rows, out_of_fold[rows])
        return self

    def predict_proba(
        self, texts: Sequence[str], *, contexts: Sequence[Context] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities (n, labels): the mean over the networks that know the label, 0 where none does."""
        corpus = self.corpus_of(texts, contexts)
        found = np.zeros((len(texts), len(self.labels)), np.float32)
        for network, known in zip(self.networks, self.known.numpy(), strict=True):
            found += _probabilities(network, corpus) * known
        mean: NDArray[np.float32] = found / np.maximum(self.known.numpy().sum(axis=0), 1).astype(np.float32)
        return mean

    def evidence(
        self, texts: Sequence[str], labels: Sequence[Sequence[int]]
    ) -> list[list[list[EvidenceSpan]]]:
        """For each text and requested label: spans of neighbouring words that support it, strongest first."""
        return [
            word_evidence(self.networks, self.tokenizer.encode(encodable(text)), asked, self.settings)
            for text, asked in zip(texts, labels, strict=True)
        ]

    def corpus_of(self, texts: Sequence[str], contexts: Sequence[Context] | None) -> Corpus:
        """The texts as tokens. Raises ContextError where the settings ask for contexts and there are none."""
        settings = self.settings
        return Corpus.read(
            self.tokenizer, texts, contexts, context=settings.context, max_tokens=settings.max_tokens
        )

    def _training_data(self, examples: "Examples") -> TrainingData:
        marked = None
        if examples.evidence and self.settings.evidence_weight:
            marked = evidence_tokens(
                self.tokenizer, examples.texts, examples.evidence, max_tokens=self.settings.max_tokens
            )
        return TrainingData(
            corpus=self.corpus_of(examples.texts, examples.contexts),
            targets=examples.targets.tocsr().astype(np.float32),
            groups=examples.groups,
            marked=marked,
        )

    def _trained(self, member: int, data: TrainingData, split: "Split") -> Network:
        """A new network, trained with one fold held out."""
        from rubricator.models.neural.training import reproducible, train_network

        seed = self.settings.seed + member
        with reproducible(seed):
            network = self.network()
            loss = self.loss(torch.tensor(data.positives(split.train)))
            train_network(
                Objective(network, loss, self.settings.evidence_weight),
                data,
                split,
                self.settings,
                seed=seed,
                checkpoints=self.checkpoints and self.checkpoints / self._fingerprint(data) / str(member),
            )
        return network.eval()

    def _fingerprint(self, data: TrainingData) -> str:
        """Hash of all that training depends on: only the same training resumes from a checkpoint."""
        parts = [
            type(self).__name__,
            self.labels,
            self.descriptions,
            self.settings.model_dump(mode="json"),
            self.configuration(),
            self.tokenizer.to_str(),
            data.sha256(),
            torch.__version__,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    # ---- files

    def save(self, folder: Path) -> None:
        """Write weights.safetensors, tokenizer.json, and classifier.json with the settings."""
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
        """Read what save wrote."""
        config = read_json(folder / "classifier.json")
        loaded = cls(config["labels"], cls.settings_class.model_validate(config["settings"]))
        loaded.tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        loaded.configure(config["configuration"])
        tensors = read_tensors(folder / "weights.safetensors", load_file)
        loaded.known = tensors.pop("known")
        for member in range(len(loaded.known)):
            network = loaded.network_of_saved_weights()
            prefix = f"{member}."
            network.load_state_dict(
                {
                    name.removeprefix(prefix): tensor
                    for name, tensor in tensors.items()
                    if name.startswith(prefix)
                }
            )
            loaded.networks.append(network.to(best_device()).eval())
        return loaded


def _all_strings(examples: "Examples") -> tuple[list[str], Int]:
    """The texts, then the sentences around each text; and the group of each of these strings."""
    around: Iterable[list[str]] = (
        [[*context.before, *context.after] for context in examples.contexts] if examples.contexts else []
    )
    strings, groups = list(examples.texts), [examples.groups]
    for group, sentences in zip(examples.groups, around, strict=False):
        strings += sentences
        groups.append(np.repeat(group, len(sentences)))
    return strings, np.concatenate(groups)


def _known_labels(network: Network, positives: NDArray[np.float32]) -> Tensor:
    """Which labels (labels,) the network can give a probability above 0."""
    known = torch.tensor(positives) > 0
    described = network.described()
    return known if described is None else known | described.cpu()


def _probabilities(network: Network, corpus: Corpus) -> NDArray[np.float32]:
    """Probabilities by one network (texts, labels); of shape (0, 1) where there is no text."""
    found: NDArray[np.float32] | None = None
    with torch.inference_mode():
        for rows in corpus.batches():
            logits = network(*(tensor.to(network.device) for tensor in corpus.batch(rows)))
            if found is None:
                found = np.zeros((len(corpus.rows), logits.shape[1]), np.float32)
            found[rows] = logits.float().sigmoid().clamp(_LEAST, 1 - _LEAST).cpu().numpy()
    return np.zeros((0, 1), np.float32) if found is None else found
