"""What models/neural/trainer_adapter.py relies on inside the Trainer: an upgrade that changes it fails here."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import tiny_networks
from transformers import Trainer, TrainingArguments, logging

from rubricator.models.neural.trainer_adapter import Checkpoint, quiet, use_one_gpu
from rubricator.models.neural.training_data import ShuffledRows

TESTED_VERSIONS = {"transformers": "5.23.0", "torch": "2.13.0", "accelerate": "1.15.0"}
STOPS = tiny_networks.SENTENCES.model_copy(update={"patience": 1, "learning_rate": 0.03})


@pytest.fixture(autouse=True)
def versions() -> None:
    """Shown where a test fails."""
    for name, seen in TESTED_VERSIONS.items():
        print(f"{name}: all of this was seen with {seen}, here is {version(name)}")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that stopped early and was killed before it took back its best weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Trainer, "_load_best_model", tiny_networks.interrupt)
        tiny_networks.fitted(STOPS, checkpoints=folder)
    [state, *_] = folder.rglob("trainer_state.json")
    return state.parent.parent


def test_a_checkpoint_says_how_far_training_was_and_which_was_best(stopped: Path) -> None:
    found = Checkpoint.newest(stopped)
    assert found is not None
    assert found.folder.name == f"checkpoint-{found.step}" and found.step > 0
    assert found.waited == STOPS.patience
    assert found.best.is_file() and found.best.parent != found.folder


def test_the_state_is_the_last_file_of_a_checkpoint(stopped: Path) -> None:
    for checkpoint in stopped.glob("checkpoint-*"):
        written = {path.name: path.stat().st_mtime_ns for path in checkpoint.iterdir()}
        assert max(written, key=lambda name: written[name]) == "trainer_state.json"


def test_a_checkpoint_without_its_whole_state_is_removed(stopped: Path, tmp_path: Path) -> None:
    for name, state in (("checkpoint-1", None), ("checkpoint-2", '{"global_step": 2, "st')):
        (tmp_path / name).mkdir()
        if state:
            (tmp_path / name / "trainer_state.json").write_text(state)
    assert Checkpoint.newest(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_steps_are_written_while_it_trains(stopped: Path) -> None:
    done, most = json.loads((stopped / "steps.json").read_text())
    assert 0 < done < most


def test_each_epoch_has_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Trainer, through accelerate, calls `set_epoch` of the data set before each epoch."""
    epochs: list[int] = []
    shuffle = ShuffledRows.set_epoch
    monkeypatch.setattr(
        ShuffledRows, "set_epoch", lambda self, epoch: (epochs.append(epoch), shuffle(self, epoch))
    )
    tiny_networks.fitted(tiny_networks.SENTENCES.model_copy(update={"epochs": 3}))
    assert list(dict.fromkeys(epochs)) == [0, 1, 2]


def test_many_gpus_are_one_to_the_trainer(tmp_path: Path) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    arguments._n_gpu = 4
    assert arguments.n_gpu == 4
    use_one_gpu(arguments)
    assert arguments.n_gpu == 1


def test_the_verbosity_of_the_process_comes_back() -> None:
    before = logging.get_verbosity()
    with pytest.raises(KeyboardInterrupt), quiet():
        logging.set_verbosity_debug()
        tiny_networks.interrupt()
    assert logging.get_verbosity() == before


def test_a_checkpoint_is_found_by_its_number(stopped: Path) -> None:
    found = Checkpoint.newest(stopped)
    assert found is not None
    steps = [int(path.name.partition("-")[2]) for path in stopped.glob("checkpoint-*")]
    assert found.step == np.max(steps) and len(steps) == 2, "the best and the last are kept"
