"""All that training needs of the transformers Trainer beyond its public interface.

tests/models/test_trainer_adapter.py tests each point and names the versions that it was tested with.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from transformers import EarlyStoppingCallback, TrainerCallback, TrainingArguments, logging

from rubricator.models.checkpoints import STEPS
from rubricator.models.model_files import write_json

_STATE = "trainer_state.json"  # the Trainer writes this file of a checkpoint last
_WEIGHTS = "model.safetensors"  # of a checkpoint


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    step: number of the batch after which it was written. best: weights file of the best checkpoint so far. waited:
    number of epochs since the best one.
    """

    folder: Path
    step: int
    best: Path
    waited: int

    @classmethod
    def newest(cls, folder: Path) -> Self | None:
        """The newest complete checkpoint in this folder, None where there is none. Incomplete ones are removed."""
        whole = []
        for path in folder.glob("checkpoint-*"):
            try:
                whole.append(cls._read(path))
            except (OSError, ValueError):
                shutil.rmtree(path)
        return max(whole, key=lambda found: found.step, default=None)

    @classmethod
    def _read(cls, folder: Path) -> Self:
        state = json.loads((folder / _STATE).read_bytes())
        best = Path(state["best_model_checkpoint"] or folder).name
        stopping = state["stateful_callbacks"][EarlyStoppingCallback.__name__]["attributes"]
        return cls(
            folder=folder,
            step=state["global_step"],
            best=folder.parent / best / _WEIGHTS,
            waited=stopping["early_stopping_patience_counter"],
        )


class StepsFile(TrainerCallback):
    """Writes, at most once a second, how many batches are done and how many there will be at most."""

    written = 0.0

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> Any:
        if time.monotonic() - self.written > 1:
            self.written = time.monotonic()
            write_json(Path(str(args.output_dir)) / STEPS, [state.global_step, state.max_steps])
        return control


def use_one_gpu(arguments: TrainingArguments) -> None:
    """Keep the Trainer from DataParallel, which would split the strings of a batch; `accelerate launch` does not."""
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1


@contextmanager
def quiet() -> Iterator[None]:
    """Restore the verbosity of transformers afterwards: a Trainer sets it for the whole process."""
    verbosity = logging.get_verbosity()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
