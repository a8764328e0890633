"""A challenger becomes champion only if it is not worse on what is out-of-fold for both, and says why not."""

import json
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from rubricator.flows.gate import judge
from rubricator.flows.home import open_home
from rubricator.flows.promote import PromotionRefusedError, promote
from rubricator.models.registry import registry
from rubricator.models.registry.errors import RegistryError
from rubricator.models.scores.out_of_fold import OutOfFoldTable
from rubricator.models.trained_model import TrainedModel
from rubricator.models.training import train_model
from rubricator.nlp.examples import Examples

LABELS = ["A01", "B02", "C03"]
ROWS = 600
TRUTH = (np.random.default_rng(0).random((ROWS, len(LABELS))) < [0.3, 0.2, 0.1]).astype(np.int8)


def held_out(
    errors: float, *, seed: int = 1, prefix: str = "note", rows: slice = slice(None)
) -> OutOfFoldTable:
    """Decisions of which this share of cells is wrong; three notes to a patient."""
    wrong = np.random.default_rng(seed).random(TRUTH.shape) < errors
    return OutOfFoldTable(
        labels=LABELS,
        example_ids=[f"{prefix}{i}" for i in range(ROWS)][rows],
        groups=(np.arange(ROWS) // 3)[rows],
        targets=csr_matrix(TRUTH[rows]),
        decisions=csr_matrix(np.where(wrong, 1 - TRUTH, TRUTH)[rows]),
    )


def test_the_first_champion_must_beat_what_needs_no_text() -> None:
    good = held_out(0.05)
    assert judge(good, None)[0]
    for decisions in (np.zeros_like(TRUTH), np.ones_like(TRUTH), np.ones_like(TRUTH) * [1, 0, 0]):
        accepted, reason = judge(replace(good, decisions=csr_matrix(decisions)), None)
        assert not accepted
        assert "does not beat" in reason


@pytest.mark.parametrize(
    ("challenger", "champion", "accepted"),
    [(0.05, 0.15, True), (0.15, 0.05, False), (0.05, 0.05, True), (0.09, 0.05, False)],
)
def test_a_worse_challenger_is_refused(challenger: float, champion: float, accepted: bool) -> None:
    found, reason = judge(held_out(challenger), held_out(champion))
    assert found is accepted
    assert "on 600 examples of 200 groups held out in both" in reason


def test_a_loss_within_the_margin_is_no_loss() -> None:
    champion = held_out(0.05)
    decisions = champion.decisions.toarray()
    decisions[0] = 0  # one note out of 600
    challenger = replace(champion, decisions=csr_matrix(decisions))
    assert judge(challenger, champion)[0]
    accepted, reason = judge(challenger, champion, margin=0.0)
    assert not accepted, reason


def test_only_what_both_were_held_out_from_counts() -> None:
    champion = held_out(0.0, rows=slice(0, 300))
    challenger = held_out(0.2, rows=slice(240, 600))
    accepted, reason = judge(challenger, champion)
    assert not accepted
    assert "on 60 examples of 20 groups" in reason


def test_a_label_that_only_one_model_knows_counts_as_missed_by_the_other() -> None:
    full = held_out(0.05)
    without_c03 = OutOfFoldTable(
        LABELS[:2], full.example_ids, full.groups, full.targets[:, :2], full.decisions[:, :2]
    )
    assert judge(full, without_c03)[0]
    assert not judge(without_c03, full)[0]


def test_models_that_cannot_be_compared_are_refused_with_the_reason() -> None:
    champion = held_out(0.1)
    cases = {
        "no held-out example or no label in common": held_out(0.0, prefix="other"),
        "no held-out example or no label": replace(held_out(0.0), labels=["X1", "X2", "X3"]),
        "only 10 groups": held_out(0.0, rows=slice(0, 30)),
        "changed since the champion was trained": OutOfFoldTable(
            LABELS,
            champion.example_ids,
            champion.groups,
            csr_matrix(TRUTH[:, ::-1]),
            csr_matrix(TRUTH[:, ::-1]),
        ),
    }
    for expected, challenger in cases.items():
        accepted, reason = judge(challenger, champion)
        assert not accepted
        assert expected in reason


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, no_home_in_module: None) -> str:
    opened = open_home(tmp_path_factory.mktemp("home"))
    opened.init_mlflow()
    return str(opened.path)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    examples = Examples(
        ids=[f"note{i}" for i in range(60)],
        groups=np.arange(60),
        texts=["start aspirin", "walks daily", "lungs clear"] * 20,
        contexts=None,
        targets=csr_matrix(np.tile(np.eye(3, dtype=np.int8), (20, 1))),
        labels=LABELS,
        counts={},
    )
    return train_model(examples, task="codes", classifier="svm")


def register(model: TrainedModel, name: str, held: OutOfFoldTable) -> None:
    with mlflow.start_run():
        registry.log_and_register(model, name=name, held_out=held)


def test_the_alias_moves_and_the_old_champion_stays_at_hand(home: str, model: TrainedModel) -> None:
    register(model, "moves", held_out(0.2))
    first = promote("moves", version=1, home=home)
    assert (first.version, first.champion) == ("1", None)
    register(model, "moves", held_out(0.05))
    assert registry.resolve("moves").version == "1", "registering alone changes nothing for predictions"
    second = promote("moves", version=2, home=home)
    assert (second.version, second.champion) == ("2", "1")
    assert registry.resolve("moves").version == "2"
    assert registry.resolve("moves@previous-champion").version == "1"
    tags = mlflow.MlflowClient().get_model_version("moves", "2").tags
    assert json.loads(tags["rubricator.promotion"])["reason"] == second.reason


def test_a_refusal_changes_no_alias_and_is_written_down(home: str, model: TrainedModel) -> None:
    register(model, "stays", held_out(0.05))
    promote("stays", version=1, home=home)
    register(model, "stays", held_out(0.3))
    with pytest.raises(
        PromotionRefusedError, match=r"stays version 2 is not promoted: micro-F1 -0\.\d+ against"
    ):
        promote("stays", version=2, home=home)
    assert registry.resolve("stays").version == "1"
    tags = mlflow.MlflowClient().get_model_version("stays", "2").tags
    decision = json.loads(tags["rubricator.promotion"])
    assert (decision["accepted"], decision["champion"]) == (False, "1")
    with pytest.raises(PromotionRefusedError, match="the champion already"):
        promote("stays", version=1, home=home)


def test_without_held_out_decisions_nothing_is_promoted(home: str, model: TrainedModel) -> None:
    register(model, "bare", held_out(0.05))
    client = mlflow.MlflowClient()
    run = client.get_run(client.get_model_version("bare", "1").run_id)
    (Path(run.info.artifact_uri) / "held_out.parquet").unlink()
    with pytest.raises(RegistryError, match=r"models:/bare/1: run \w+ has no held_out\.parquet"):
        promote("bare", version=1, home=home)


def test_promoting_what_is_not_there_lists_what_is(home: str, model: TrainedModel) -> None:
    register(model, "there", held_out(0.05))
    with pytest.raises(RegistryError, match=r"(?s)'there' has no version 9.*there: version 1 \(challenger\)"):
        promote("there", version=9, home=home)
