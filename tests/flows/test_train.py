"""Training and evaluation on a synthetic corpus, into a real MLflow store: what is logged, registered and said."""

import base64
import gzip
import io
import json
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest
from rich.console import Console

from rubricator.flows.demo.synthetic import SyntheticCorpus, write_synthetic_notes
from rubricator.flows.evaluate import NoUnitsError, evaluate
from rubricator.flows.explain import NoSuchNoteError, NoteFailedError, explain
from rubricator.flows.figures import ReportError, check_report
from rubricator.flows.home import open_home
from rubricator.flows.jobs.files import JobIsRunningError
from rubricator.flows.parameters.flat import flat
from rubricator.flows.settings import classifier_settings
from rubricator.flows.train import Trained, train
from rubricator.flows.training.challenger import TooLittleError
from rubricator.flows.training.checkpoints import resumable
from rubricator.models.classifier import UnknownClassifierError
from rubricator.models.classifier_settings import SettingError
from rubricator.models.registry import registry
from rubricator.models.registry.errors import RegistryError
from rubricator.nlp.examples import ExampleError
from rubricator.nlp.plain_text.plain import PlainText
from rubricator.nlp.sections.finder import Section
from rubricator.nlp.tasks import UnknownTaskError
from rubricator.nlp.weak_labels import NoteSentence, note_sentences

CANARY = "zyxcanaryword"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCorpus:
    return write_synthetic_notes(tmp_path_factory.mktemp("corpus"), notes=200, seed=1)


@pytest.fixture(scope="module")
def notes(corpus: SyntheticCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training notes with a canary in one of them, and a row that is no note."""
    with gzip.open(corpus.notes, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    rows[0]["text"] += f"\n\nPLAN:\nAsk {CANARY} about {CANARY}."
    file = tmp_path_factory.mktemp("notes") / "notes.jsonl"
    file.write_text(
        "\n".join(json.dumps(row) for row in [*rows, {**rows[1], "note_id": "empty", "text": " "}])
    )
    return file


@pytest.fixture(scope="module")
def home(module_home: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUBRICATOR_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        open_home(module_home).init_mlflow()
        for name in ("RUBRICATOR_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.setenv(name, os.environ[name])
        yield module_home


@pytest.fixture(scope="module")
def plan(notes: Path, home: Path) -> Trained:
    report = home / "plan.json"
    return flat(train)("plan", str(notes), folds=3, bootstrap=50, report=str(report), home=str(home))


@pytest.fixture(scope="module")
def codes(notes: Path, home: Path) -> Trained:
    return flat(train)("codes", str(notes), folds=2, bootstrap=50, home=str(home))


def test_the_challenger_is_registered_with_figures_folds_plots_and_card(plan: Trained, home: Path) -> None:
    client = mlflow.MlflowClient()
    assert registry.resolve("plan-sentences@challenger").version == plan.version == "1"
    run = client.get_run(plan.run_id)
    assert run.data.params["task"] == "plan"
    assert run.data.metrics["micro_f1"] == pytest.approx(plan.evaluation.values()["micro_f1"])
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{plan.run_id}'")
    assert sorted(child.info.run_name for child in children) == ["fold 0", "fold 1", "fold 2"]
    assert all("micro_f1" in child.data.metrics for child in children)
    plots = {artifact.path for artifact in client.list_artifacts(plan.run_id, "plots")}
    assert plots == {f"plots/{name}.png" for name in ("precision_recall", "reliability", "thresholds")}
    card = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/model_card.md")
    assert run.data.params["data_sha256"] in card
    [data] = run.inputs.dataset_inputs
    assert run.data.params["data_sha256"].startswith(data.dataset.digest)


def test_the_random_split_and_the_even_sample_stand_beside_the_grouped_figure(
    plan: Trained, home: Path
) -> None:
    assert set(plan.beside) == {"random split", "1-1 sample by group"}
    written = json.loads((home / "plan.json").read_text())
    assert written["beside"] == plan.beside
    assert written["metrics"]["micro_f1"]["low"] <= written["metrics"]["micro_f1"]["high"]
    assert plan.dead_letters and sum(plan.dead_letters.values()) == 1


def test_no_note_text_is_in_the_home(
    plan: Trained, codes: Trained, home: Path, files_with: Callable[..., list[Path]]
) -> None:
    assert "vocabulary.json" in {path.name for path in files_with("aspirin", home)}, (
        "what was learnt is searched"
    )
    assert files_with(CANARY, home) == []


def test_evaluation_says_how_many_notes_the_model_was_trained_on(
    codes: Trained, notes: Path, home: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in notes.read_text().splitlines()]
    mixed = tmp_path / "mixed.jsonl"
    lines = [{**row, "note_id": f"new-{at}"} if at < 30 else row for at, row in enumerate(rows[:80])]
    mixed.write_text("\n".join(map(json.dumps, lines)))
    report = tmp_path / "report.json"
    model = f"{codes.name}/{codes.version}"
    scored = flat(evaluate)(model, str(mixed), bootstrap=0, report=str(report), home=str(home))
    assert json.loads(report.read_text())["trained_on"] == scored.trained_on == 50
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(scored)
    assert "50 of these 80 notes have the ids of notes that the model was trained on" in console.export_text()
    assert flat(evaluate)(model, str(mixed), bootstrap=0, home=str(home)).notices == scored.notices


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (["I10", "E11.9", "J18.9"], "3 notes with labels are too few"),
        (["I10"] * 12, "all 12 examples have the same labels"),
    ],
)
def test_next_to_nothing_is_learnt_only_by_force(
    tmp_path: Path, home: Path, codes: list[str], said: str
) -> None:
    file = tmp_path / "n.csv"
    texts = [" ".join(f"word{number}of{at}" for number in range(20)) for at in range(len(codes))]
    pl.DataFrame({"id": [f"few-{at}" for at in range(len(codes))], "text": texts, "codes": codes}).write_csv(
        file
    )
    options: dict[str, Any] = {"model": "majority", "folds": 2, "bootstrap": 0, "home": str(home)}
    with pytest.raises(TooLittleError, match=said):
        flat(train)("codes", str(file), name="few", **options)
    assert flat(train)("codes", str(file), name="few", force=True, **options).name == "few"


def test_codes_are_learnt_with_descriptions_and_rare_ones_break_nothing(codes: Trained) -> None:
    model = registry.load(registry.resolve(f"icd-codes/{codes.version}"))
    assert model.descriptions[model.labels.index("I10")] == "Essential (primary) hypertension"
    assert model.code_system is not None and "ICD-10-CM" in model.code_system
    assert codes.to_json()["code_system"] == model.code_system
    assert 0 < codes.evaluation.values()["micro_f1"] <= 1
    assert min(score.support for score in codes.evaluation.per_label) < 6


def test_a_model_is_evaluated_on_codes_it_does_not_know(
    codes: Trained, corpus: SyntheticCorpus, home: Path, tmp_path: Path
) -> None:
    known = pl.read_ndjson(corpus.new_notes).head(60)
    strange = known.with_columns(codes=pl.col("codes").list.concat(pl.lit(["Z99.89"])))
    scores = {}
    for name, frame in {"known": known, "strange": strange}.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
        found = flat(evaluate)(
            "icd-codes@challenger", str(tmp_path / f"{name}.parquet"), bootstrap=0, home=str(home)
        )
        scores[name] = found.evaluation.values()
    assert scores["strange"]["micro_recall"] < scores["known"]["micro_recall"]
    assert scores["strange"]["micro_precision"] == pytest.approx(scores["known"]["micro_precision"])


def test_an_evaluation_predicts_in_portions_that_are_shown(
    plan: Trained,
    corpus: SyntheticCorpus,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("rubricator.flows.progress.LINE_EVERY", 0.0)
    found = []
    for portion in (10_000, 100):
        monkeypatch.setattr("rubricator.flows.evaluate.PORTION", portion)
        found.append(flat(evaluate)("plan-sentences/1", str(corpus.new_notes), bootstrap=0, home=str(home)))
    whole, portions = (each.evaluation.values() for each in found)
    assert portions == pytest.approx(whole)
    count = found[0].counts["sentences"]
    shown = [line for line in capsys.readouterr().err.splitlines() if "predicted" in line]
    assert shown[0] == f"evaluate plan-sentences/1: 100%, {count:,} of {count:,} predicted"
    assert shown[1].endswith(f", 100 of {count:,} predicted") and shown[-1] == shown[0]


def test_plan_sentences_are_evaluated_by_headings_and_by_annotated_units(
    plan: Trained, corpus: SyntheticCorpus, home: Path, tmp_path: Path
) -> None:
    new = str(corpus.new_notes)
    by_headings = flat(evaluate)("plan-sentences/1", new, bootstrap=0, home=str(home))
    assert by_headings.evaluation.values()["micro_f1"] > 0.5
    note = pl.read_ndjson(corpus.new_notes).row(0, named=True)
    gold = tmp_path / "gold.jsonl"
    unit = [0, len(note["text"]), 0]
    gold.write_text(json.dumps({"note_id": note["note_id"], "kind": "whole", "units": [unit]}))
    by_units = flat(evaluate)("plan-sentences/1", new, annotations=str(gold), bootstrap=0, home=str(home))
    assert list(by_units.strata) == ["whole"]
    assert by_units.counts["sentences"] == 1


def test_annotated_units_are_for_models_of_sentences_only(
    codes: Trained, corpus: SyntheticCorpus, home: Path, tmp_path: Path
) -> None:
    gold = str(tmp_path / "gold.jsonl")
    with pytest.raises(NoUnitsError, match=r"icd-codes/1 gives labels to whole notes"):
        flat(evaluate)("icd-codes/1", str(corpus.new_notes), annotations=gold, home=str(home))


def test_a_note_is_explained_by_both_models_on_one_private_page(
    plan: Trained, codes: Trained, corpus: SyntheticCorpus, home: Path, tmp_path: Path
) -> None:
    coded = pl.read_ndjson(corpus.new_notes).filter(pl.col("codes").list.contains("I10"))
    note_id, page = coded["note_id"][0], tmp_path / "note.html"
    models = ["plan-sentences@challenger", "icd-codes@challenger"]
    said = flat(explain)(str(corpus.new_notes), note_id=note_id, model=models, out=str(page), home=str(home))
    assert str(page) in str(said)
    assert page.stat().st_mode & 0o077 == 0
    assert "Essential (primary) hypertension" in page.read_text()
    with pytest.raises(NoSuchNoteError, match="no note 'nobody'"):
        flat(explain)(str(corpus.new_notes), note_id="nobody", model=models, out=str(page), home=str(home))


def test_a_document_of_fhir_is_found_by_its_id_with_and_without_its_type(
    plan: Trained, home: Path, tmp_path: Path
) -> None:
    data = base64.b64encode(b"PLAN:\nReturn in two weeks.").decode()
    content = [{"attachment": {"contentType": "text/plain", "data": data}}]
    resource = {"resourceType": "DocumentReference", "id": "enc-1", "content": content}
    (tmp_path / "DocumentReference.ndjson").write_text(json.dumps(resource))
    for note_id in ("enc-1", "DocumentReference/enc-1"):
        page = tmp_path / "note.html"
        flat(explain)(
            str(tmp_path / "*.ndjson"),
            note_id=note_id,
            model=["plan-sentences/1"],
            out=str(page),
            home=str(home),
        )
        assert "Note DocumentReference/enc-1" in page.read_text()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, corpus: SyntheticCorpus, tmp_path: Path) -> Path:
    """Notes, one of them, `bad`, with a canary on which sentence splitting panics as a library in Rust does."""

    class PanicException(BaseException):
        pass

    def split(plain: PlainText, sections: Sequence[Section]) -> list[NoteSentence]:
        if CANARY in plain.text:
            raise PanicException(f"byte index 12 is not a char boundary of `{plain.text}`")
        return note_sentences(plain, sections)

    for module in ("weak_labels", "units"):
        monkeypatch.setattr(f"rubricator.nlp.{module}.note_sentences", split)
    rows = pl.read_ndjson(corpus.new_notes).rows(named=True)
    rows[3] = {**rows[3], "note_id": "bad", "text": rows[3]["text"] + f"\n\nPLAN:\nAsk {CANARY}."}
    file = tmp_path / "failing.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_notes_that_fail_are_left_out_of_training_and_evaluation_and_named(
    plan: Trained, failing: Path, home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "figures.json"
    name = "plan-of-failing"
    trained = flat(train)(
        "plan", str(failing), name=name, folds=2, bootstrap=0, report=str(report), home=str(home)
    )
    written = [json.loads(report.read_text())]
    evaluated = flat(evaluate)(
        "plan-sentences/1", str(failing), bootstrap=0, report=str(report), home=str(home)
    )
    written.append(json.loads(report.read_text()))
    for figures in written:
        assert figures["dead_letters"] == {"failed: PanicException": 1}
        assert figures["failed_notes"] == {"bad": "PanicException"}
    console = Console(width=400)
    for said in (trained, evaluated):
        with console.capture() as capture:
            console.print(said)
        assert "not used: 1 (failed: PanicException); failed: bad" in capture.get()
    captured = capfd.readouterr()
    assert CANARY not in captured.out + captured.err + json.dumps(written)


def test_a_note_that_fails_is_not_explained_but_named(
    plan: Trained, codes: Trained, failing: Path, home: Path, tmp_path: Path
) -> None:
    page = tmp_path / "note.html"
    with pytest.raises(NoteFailedError, match="note 'bad' cannot be worked on: PanicException") as error:
        flat(explain)(str(failing), note_id="bad", model=["plan-sentences/1"], out=str(page), home=str(home))
    assert CANARY not in "".join(traceback.format_exception(error.value))
    assert not page.exists()


def test_wrong_settings_say_what_there_is(corpus: SyntheticCorpus, home: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownTaskError, match="plan, codes"):
        flat(train)("mood", str(corpus.notes), home=str(home))
    ablation = "rubricator.models.ablations.transicd:PublishedTransicd"  # its bundle would lack the class
    with pytest.raises(UnknownClassifierError, match="there is no classifier"):
        flat(train)("codes", str(corpus.notes), model=ablation, home=str(home))
    with pytest.raises(Exception, match="no category plans in the lexicon"):
        flat(train)("plan", str(corpus.notes), positive=["plans"], home=str(home))
    with pytest.raises(RegistryError, match="'my model' cannot name a model"):
        flat(train)("plan", str(tmp_path / "no-notes-were-read"), name="my model", home=str(home))
    uncoded = tmp_path / "uncoded.jsonl"
    uncoded.write_text('{"note_id": "1", "text": "Seen today."}\n')
    with pytest.raises(ExampleError, match=r"none of \d+ notes has codes"):
        flat(train)("codes", str(uncoded), home=str(home))


@pytest.mark.parametrize(
    ("report", "why"),
    [
        ("file/x.json", r"its folder cannot be made \(File exists\)"),
        (".", "it is a folder; give a file in it"),
    ],
)
def test_a_report_that_cannot_be_written_is_an_error_before_any_work(
    home: Path, tmp_path: Path, report: str, why: str
) -> None:
    file = str(tmp_path / report)
    (tmp_path / "file").touch()
    for step in (partial(flat(train), "plan"), partial(flat(evaluate), "icd-codes")):
        with pytest.raises(ReportError, match=f"the file {file}: {why}"):
            step("nowhere.jsonl", report=file, home=str(home))
    with pytest.raises(ReportError, match=f"the file {file}: {why}"):
        flat(explain)("nowhere.jsonl", note_id="1", model=["icd-codes"], out=file, home=str(home))


def test_the_folder_of_a_report_is_made(tmp_path: Path) -> None:
    check_report(str(tmp_path / "new" / "folder" / "x.json"))
    assert (tmp_path / "new" / "folder").is_dir()


def test_settings_of_the_classifier_are_given_as_key_and_value() -> None:
    chosen = classifier_settings("svm", "codes", ["cost=2", "features.char_ngrams=[3, 4]"])
    assert chosen.model_dump()["cost"] == 2
    assert chosen.model_dump()["features"]["char_ngrams"] == (3, 4)
    assert chosen.model_dump()["features"]["assertions"], "what is not named keeps the default of the task"
    for wrong in ("cost=cheap", "cost=-1"):
        with pytest.raises(SettingError, match=r"svm cannot take these settings: cost: it must be "):
            classifier_settings("svm", "codes", [wrong])
    for wrong in ("costs=2", "features.charm=1", "feature.char_ngrams=1", "cost.x=1"):
        with pytest.raises(SettingError, match=r"(?s)svm.*\n  features.char_weight=1.0"):
            classifier_settings("svm", "codes", [wrong])
    with pytest.raises(SettingError, match="KEY=VALUE"):
        classifier_settings("svm", "codes", ["cost"])


def test_checkpoints_are_kept_until_the_model_is_registered(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_small() -> Trained:
        settings = ["width=4", "filters=4", "epochs=1"]
        return flat(train)(
            "codes", str(notes), model="cnn", setting=settings, name="coughs", folds=2, home=str(home)
        )

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    notes = tmp_path / "notes.jsonl"
    words = ["cough", "fever", "rash", "pain", "knee", "hip", "foot", "hand", "eye", "ear", "nose", "skin"]
    rows = [
        {"note_id": word, "text": f"{word} " * 9, "codes": [f"R0{row % 2}"]} for row, word in enumerate(words)
    ]
    notes.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr("rubricator.flows.training.challenger.log_challenger", no_space)
        train_small()
    assert list(home.glob("checkpoints/*/*/*/finished.safetensors"))
    assert train_small().version == "1"
    assert not list((home / "checkpoints").iterdir())


def test_the_same_training_twice_at_once_is_refused(tmp_path: Path) -> None:
    with (
        resumable(tmp_path / "cmc"),
        pytest.raises(JobIsRunningError, match="another process trains the same"),
        resumable(tmp_path / "cmc"),
    ):
        pass
    assert not (tmp_path / "cmc").exists()


def test_checkpoints_have_a_folder_until_training_has_ended_well(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    kept = tmp_path / "checkpoints" / "cmc"
    with pytest.raises(KeyboardInterrupt), resumable(kept):
        (kept / "finished").touch()
        stop()
    with resumable(kept):
        assert (kept / "finished").exists(), "the same training goes on"
    assert not kept.exists()
