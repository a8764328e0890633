"""What a data scientist uses from a notebook: a line each, without a server, and without showing text by accident."""

import ast
import doctest
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

import rubricator
from rubricator.flows import load_model, show_note
from rubricator.flows.demo.synthetic import synthetic_notes
from rubricator.models import evaluate_model, fit_model, predict_notes
from rubricator.models.classifier_settings import SettingError
from rubricator.nlp import RubricatorError, find_sections, read_notes, split_sentences
from rubricator.nlp.readers.files import NoteFormatError

ROOT = Path(__file__).parent.parent
LAYERS = ("nlp", "models", "flows")
HEAVY = ("joblib", "matplotlib", "mlflow", "numpy", "pandas", "polars", "prefect", "pyarrow", "scipy", "sklearn", "spacy", "torch", "transformers", "typer")  # fmt: skip


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """Synthetic notes with their codes."""
    notes = list(synthetic_notes(notes=120, seed=5))
    return pl.DataFrame(
        {
            "note_id": [note.note_id for note in notes],
            "patient_id": [note.patient_id for note in notes],
            "text": [note.text for note in notes],
            "codes": [note.gold.codes for note in notes],
        }
    )


def test_sections_and_sentences_of_a_text() -> None:
    text = "HISTORY:\nCough for two days.\n\nPLAN:\nStart aspirin. Return in two weeks."
    sections = find_sections(text)
    assert [section.heading for section in sections] == ["HISTORY", "PLAN"]
    assert text[sections[1].body_start : sections[1].body_end].startswith("Start aspirin")
    assert [text[start:end] for start, end in split_sentences(text)][-1] == "Return in two weeks."


def test_codes_from_a_data_frame(frame: pl.DataFrame) -> None:
    train, new = frame.head(90), frame.tail(30)
    model = fit_model("codes", train, top_labels=5)
    found = predict_notes(model, new)
    assert set(found["note_id"]) <= set(new["note_id"]) and set(found["label"]) <= set(model.labels)
    of_pandas = predict_notes(model, pd.DataFrame(new.to_dicts()))
    assert of_pandas.equals(found)
    figures = evaluate_model(model, new, bootstrap=10)
    assert 0 < figures.values()["micro_f1"] <= 1


def test_a_model_in_a_notebook_is_one_line_and_a_wrong_value_names_its_setting(frame: pl.DataFrame) -> None:
    model = fit_model("plan", frame.head(60), settings={"cost": 0.1})
    assert repr(model).startswith("<TrainedModel plan: svm, ['plan'], data ") and len(repr(model)) < 100
    with pytest.raises(SettingError, match=r"these settings: cost: [^;]*greater than 0") as raised:
        fit_model("plan", frame, settings={"cost": -1})
    assert "constrained" not in str(raised.value)


SECRET = "XYZZYSECRET"


@pytest.mark.parametrize(
    "slip",
    [
        lambda: read_notes(f"{SECRET} note"),
        lambda: read_notes(f"PLAN: {SECRET} 1.5 mg daily"),
        lambda: read_notes(f"PLAN:\n{SECRET}.txt"),
        lambda: read_notes(SECRET * 1000),
        lambda: read_notes(f"{SECRET} " + "rest and fluids " * 30),
        lambda: read_notes("rest-and-fluids-" * 30 + SECRET),
        lambda: read_notes(f"Rest, {SECRET}? [y] Return in * weeks.Fine"),
        lambda: read_notes(pl.Series([SECRET])),
        lambda: read_notes(pd.Series([SECRET])),
        lambda: read_notes([SECRET, None]),
        lambda: show_note(pd.Series([SECRET])),
        lambda: show_note(pl.Series([SECRET])),
        lambda: show_note([SECRET]),
        lambda: show_note(f"PLAN: {SECRET} \ud800"),
    ],
)
def test_a_text_in_the_wrong_place_is_an_error_that_does_not_show_it(slip: Callable[[], object]) -> None:
    with pytest.raises(NoteFormatError) as raised:
        slip()
    error = raised.value
    assert SECRET not in f"{error!r} {error} {error.args} {error.__cause__!r} {error.__context__!r}"


def test_a_path_may_have_blanks_and_be_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "notes of monday"
    folder.mkdir()
    (folder / "a.txt").write_text("Plan:\nRest.")
    for source in (folder, f"{folder}", f"{folder}/*", f"{tmp_path}/**/*.txt"):
        assert len(read_notes(source)) == 1


def test_a_text_that_is_not_unicode_is_left_out() -> None:
    with pytest.warns(UserWarning, match="left out: 1"):
        notes = read_notes(["Plan:\nRest.", f"Plan:\n{SECRET} \ud800."])
    assert notes["text"].to_pylist() == ["Plan:\nRest."]


def test_limits_of_rows_are_checked_and_one_lexicon_needs_no_list(
    frame: pl.DataFrame, tmp_path: Path
) -> None:
    model = fit_model("plan", frame.head(60), settings={"cost": 0.1})
    for wrong in ({"top_k": 0}, {"min_probability": float("nan")}, {"min_probability": 2.0}):
        with pytest.raises(ValueError, match="it must be"):
            predict_notes(model, ["Plan:\nRest."], **wrong)
    (tmp_path / "site.toml").write_text("[categories.plan]\nvariants = ['way ahead']")
    assert find_sections("Way ahead:\nRest.", lexicon=tmp_path / "site.toml")[0].category == "plan"


def test_plans_from_a_file_and_a_folder(frame: pl.DataFrame, tmp_path: Path) -> None:
    frame.write_ndjson(tmp_path / "notes.jsonl")
    model = fit_model("plan", tmp_path / "notes.jsonl", settings={"cost": 0.1})
    assert model.settings["classifier"]["cost"] == 0.1
    assert "0 positive" not in model.card and "trained without cross-validation" in model.card
    model.save(str(tmp_path / "plan-model"))
    assert (tmp_path / "plan-model").stat().st_mode & 0o077 == 0, "its vocabulary is of words of notes"
    loaded = load_model(tmp_path / "plan-model")
    assert not (tmp_path / ".rubricator").exists()
    texts = frame["text"].to_list()[:5]
    assert predict_notes(loaded, texts).equals(predict_notes(model, texts))


def test_a_note_is_shown_in_a_notebook_and_in_no_repr(frame: pl.DataFrame) -> None:
    model = fit_model("codes", frame.head(90), top_labels=5)
    text = frame["text"][100]
    shown = show_note(text, model)
    assert text.split()[3] in shown._repr_html_()
    assert text[:30] not in repr(shown) + str(shown)


def test_notes_without_ids_are_numbered_and_those_without_text_are_counted() -> None:
    with pytest.warns(UserWarning, match=r"left out: 1 \(the text is empty\)"):
        notes = read_notes(pd.DataFrame({"text": ["Plan: rest.", "", "Plan: walk."]}))
    assert notes["note_id"].to_pylist() == ["0", "2"]


def test_wrong_settings_say_what_was_meant(frame: pl.DataFrame) -> None:
    with pytest.raises(RubricatorError, match="did you mean 'cost'"):
        fit_model("codes", frame, settings={"cots": 1})
    with pytest.raises(RubricatorError, match="at least one label"):
        fit_model("codes", frame, top_labels=0)


def test_a_column_of_several_types_is_refused_without_its_text() -> None:
    mixed = pd.DataFrame({"note_id": ["1", "2"], "text": [7, "Plan: zyxcanaryword"]})
    with pytest.raises(RubricatorError, match="several types") as caught:
        read_notes(mixed)
    told = "".join(traceback.format_exception(caught.value))
    assert "zyxcanaryword" not in told and "columns of objects are note_id, text" in told


def test_an_edited_lexicon_is_read_anew(tmp_path: Path) -> None:
    own, text = tmp_path / "own.toml", "Zorp notes:\nStart aspirin."
    for category in ("plan", "medications"):
        own.write_text(f'[categories.{category}]\nvariants = ["zorp notes"]\n')
        assert [section.category for section in find_sections(text, lexicon=[own])] == [category]


@pytest.mark.parametrize("wrong", [3, [1, 2], {"text": "Plan"}])
def test_what_holds_no_notes_is_an_error_of_ours(wrong: object) -> None:
    with pytest.raises(RubricatorError, match="data frame"):
        read_notes(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", LAYERS)
def test_every_public_name_is_there_with_its_type_and_a_docstring(layer: str) -> None:
    package = import_module(f"rubricator.{layer}")
    tree = ast.parse((ROOT / layer / "__init__.py").read_text())
    typed = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        for line in node.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
    assert typed == set(package.__all__) == set(package._WHERE)
    for name in package.__all__:
        found = getattr(package, name)
        assert not callable(found) or found.__doc__, name


def test_importing_the_layers_imports_nothing_heavy() -> None:
    script = "import sys, rubricator.nlp, rubricator.models, rubricator.flows; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(HEAVY)


def test_the_version_is_that_of_the_package() -> None:
    assert rubricator.__version__.count(".") == 2


@pytest.mark.parametrize("module", ["nlp.shortcuts", "nlp.errors", "models.shortcuts"])
def test_the_examples_of_docstrings_hold(module: str) -> None:
    done = doctest.testmod(import_module(f"rubricator.{module}"))
    assert done.attempted and not done.failed
