"""Training by the transformers Trainer: early stopping, checkpoints, and the same result for the same seed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainingArguments

from rubricator.models.checkpoints import STEPS
from rubricator.models.neural.corpus import Int
from rubricator.models.neural.network import Network, best_device
from rubricator.models.neural.objective import Objective
from rubricator.models.neural.settings import NeuralSettings
from rubricator.models.neural.trainer_adapter import Checkpoint, StepsFile, quiet, use_one_gpu
from rubricator.models.neural.training_data import ShuffledRows, TrainingData


@dataclass(frozen=True, eq=False)
class Split:
    """Numbers of the rows that a network learns from, and of those in the fold that decides when training stops."""

    train: Int
    held_out: Int


def train_network(
    objective: Objective,
    data: TrainingData,
    split: Split,
    settings: NeuralSettings,
    *,
    seed: int,
    checkpoints: Path | None,
) -> None:
    """Train until average precision on the held-out fold no longer improves; ends with the best weights.

    checkpoints: the folder to resume from and to write the finished weights into; None keeps nothing.
    """
    finished = checkpoints / "finished.safetensors" if checkpoints else None
    if finished and finished.exists():
        objective.load_state_dict(load_file(finished))
        objective.to(best_device())
        return
    with _folder(checkpoints) as folder, quiet():
        arguments = _arguments(
            settings, len(split.train), folder=folder, seed=seed, resumable=checkpoints is not None
        )
        trainer = _trainer(objective, data, split, settings, arguments)
        newest = Checkpoint.newest(folder)
        if newest and newest.waited >= settings.patience:  # stopped already; a resumed Trainer would train on
            objective.load_state_dict(load_file(newest.best))
        else:
            trainer.train(resume_from_checkpoint=str(newest.folder) if newest else None)
        if finished:
            _save_whole(objective, finished)


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Use a seed and deterministic algorithms; restore the caller's random states afterwards."""
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


def _trainer(
    objective: Objective,
    data: TrainingData,
    split: Split,
    settings: NeuralSettings,
    arguments: TrainingArguments,
) -> Trainer:
    lengths = data.corpus.take(split.train).lengths
    held_out_by_length = split.held_out[data.corpus.take(split.held_out).order]
    trainer = Trainer(
        model=objective,
        args=arguments,
        data_collator=data,
        train_dataset=ShuffledRows(split.train, data.groups[split.train], lengths, settings),
        eval_dataset=held_out_by_length.tolist(),
        compute_metrics=_average_precision,
        callbacks=[EarlyStoppingCallback(settings.patience), StepsFile()],
        optimizers=(_optimizer(objective.network, settings), None),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(
    settings: NeuralSettings, texts: int, *, folder: Path, seed: int, resumable: bool
) -> TrainingArguments:
    """texts: number of training texts. resumable: whether checkpoints hold the state of training besides weights."""
    epochs_of_least_steps = -(-settings.least_steps * settings.batch_size // texts)
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size * 4 if settings.context else settings.batch_size,
        warmup_steps=settings.warmup,
        num_train_epochs=max(settings.epochs, epochs_of_least_steps),
        max_grad_norm=settings.max_gradient_norm,
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        seed=seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        save_only_model=not resumable,
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
    use_one_gpu(arguments)
    return arguments


def _optimizer(network: Network, settings: NeuralSettings) -> torch.optim.Optimizer:
    """AdamW, each parameter with its own learning rate; biases and layer norms have no weight decay."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            kind = network.learning_rate_factor(name), parameter.ndim > 1
            groups.setdefault(kind, []).append(parameter)
    return torch.optim.AdamW(
        {
            "params": parameters,
            "lr": rate * settings.learning_rate,
            "weight_decay": settings.weight_decay * decays,
        }
        for (rate, decays), parameters in groups.items()
    )


def _average_precision(prediction: Any) -> dict[str, float]:
    """Average precision over all entries (texts × labels)."""
    from sklearn.metrics import average_precision_score

    truth = prediction.label_ids.ravel() > 0
    score = average_precision_score(truth, prediction.predictions.ravel()) if truth.any() else 0.0
    return {"average_precision": float(score)}


@contextmanager
def _folder(path: Path | None) -> Iterator[Path]:
    """Make the folder, and remove its checkpoints at the end; None gives a temporary folder."""
    if path is None:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
        return
    path.mkdir(parents=True, exist_ok=True)
    yield path
    (path / STEPS).unlink(missing_ok=True)
    for checkpoint in path.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def _save_whole(objective: Objective, path: Path) -> None:
    """Write a partial file and rename it, so that a crash never leaves an incomplete file under this name."""
    part = path.with_suffix(".part")
    save_file({name: tensor.contiguous() for name, tensor in objective.state_dict().items()}, part)
    part.replace(path)
