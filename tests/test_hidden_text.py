"""No object that holds text of notes shows it when it is printed, and no error quotes it. Classes are found, not listed."""

import json
import re
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from labelled import examples_of
from scipy.sparse import csr_matrix

from rubricator.flows.demo.synthetic import synthetic_notes
from rubricator.flows.report.report import ReportData, mark_note, render
from rubricator.models.linear.stacked import StackedClassifier
from rubricator.models.neural.cnn import CnnSettings
from rubricator.models.prediction import MadeBy, Predictor
from rubricator.models.training import train_model
from rubricator.nlp.builders.annotations import annotated_examples
from rubricator.nlp.builders.codes import code_examples
from rubricator.nlp.builders.sections import section_examples
from rubricator.nlp.errors import RubricatorError
from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.readers.notes import NoteReader, NoteSettings
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.weak_labels import WeakLabelSettings

ROOT = Path(__file__).parent.parent
CANARY = "zyxcanaryword"
KEPT = 2000  # objects of a class that are looked at
CNN = CnnSettings(width=4, filters=2, hidden=4, epochs=1, context=1, batch_size=64)
# What the run below does not make, or made earlier and keeps, and what its strings are instead of text of a note.
NO_TEXT = {
    "flows": {
        "Benchmarked", "PredictStep", "ShardTables", "_Measured", "Demo", "GoldComparison", "DemoClassifier", "Choice", "Candidate", "Results", "Steps", "Done", "Evaluated", "ExtractStep",
        "Extracted", "HeadingReport", "FailedNote", "FileMark", "Shard", "ShardDone", "Predicted", "Promotion", "Part", "Plot",
        "Table", "JobResult", "_Job", "Trained", "_Condition", "_Grammar", "Command", "Explained", "_Found",
        "ListedSettings", "OneOf", "OnlyFor", "Metavar", "Panel", "Without", "Removed", "Training", "Fitting", "Validated",
        "ShardCutter", "Verdict", "_Common", "CheckStep", "Source", "Findings", "DateFindings", "CodeFindings",
        "SystemFindings", "Readiness", "TextFindings", "Run",
    },  # paths, commands, figures, ids of notes, names of models and exceptions; what made-up notes are made of
    "models": {"Member", "Bucket", "Evaluation", "LabelScore", "OutOfFoldTable", "CrossValidation", "ResolvedModel"},  # labels, figures
    "nlp": {
        "Category", "Guard", "_Series", "Release", "MimicSplits", "_SplitFiles", "DeadLetter", "_Rules", "Task",
        "LabelSource", "_OtherSet", "Named", "_Phrase", "_Trigger", "_Patterns",
    },  # of the lexicon and of assertions, patterns, names of columns, ids, codes and reasons
}  # fmt: skip


def own_classes() -> Iterator[type]:
    """Every class of the project that is no error, no settings that a person writes, and no mere interface."""
    for path in sorted(
        path for layer in ("nlp", "models", "flows") for path in (ROOT / layer).glob("**/*.py")
    ):
        name = ".".join(["rubricator", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(
            ".__init__"
        )
        for found in vars(import_module(name)).values():
            is_own = isinstance(found, type) and found.__module__ == name
            if is_own and not issubclass(found, BaseException) and not hasattr(found, "model_fields"):
                yield found


CLASSES = list(own_classes())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[type, list[object]]:
    """By class, the objects that the whole way of notes with a canary makes, from the file to the page."""
    objects: dict[type, list[object]] = defaultdict(list)
    with pytest.MonkeyPatch.context() as patch:
        for found in CLASSES:
            if issubclass(found, tuple):
                patch.setattr(found, "__new__", keeping(found.__new__, objects))
            elif "__init__" in vars(found):
                patch.setattr(found, "__init__", keeping(found.__init__, objects))
        from_file_to_page(tmp_path_factory.mktemp("notes"))
    return objects


def keeping(maker: Callable[..., Any], objects: dict[type, list[object]]) -> Callable[..., Any]:
    def keep(*args: Any, **given: Any) -> Any:
        result = maker(*args, **given)
        thing = args[0] if result is None else result
        if len(objects[type(thing)]) < KEPT:
            objects[type(thing)].append(thing)
        return result

    return keep


def write_notes(path: Path) -> None:
    """Synthetic notes with the canary in sentences, in headings, and as evidence of their codes."""
    with path.open("w") as file:
        for note in synthetic_notes(notes=40, seed=3):
            text = note.text.replace(". ", f" {CANARY}. ")
            text += (
                f"\n\n{CANARY.upper()} REMARKS:\nSaw {CANARY}.\n\nPLAN:\nAsk {CANARY} about it.\n- {CANARY}\n"
            )
            end = text.rindex(CANARY) + len(CANARY)
            evidence = [{"code": code, "start": end - len(CANARY), "end": end} for code in note.gold.codes]
            row = {"note_id": note.note_id, "patient_id": note.patient_id, "text": text}
            file.write(json.dumps({**row, "codes": note.gold.codes, "evidence": evidence}) + "\n")


def from_file_to_page(folder: Path) -> None:
    write_notes(folder / "notes.jsonl")
    settings, lexicon = NoteSettings(evidence_column="evidence"), Lexicon.load()
    batches = list(NoteReader(folder / "notes.jsonl", settings, on_dead_letter=pytest.fail))
    plan = section_examples(batches, settings=WeakLabelSettings(), lexicon=lexicon)
    codes = code_examples(batches, top_labels=4)
    notes = pa.Table.from_batches(batches).slice(0, 3)
    rows = {}
    for examples, classifier, given in (
        (plan, "svm", None),
        (plan.take(range(200)), "cnn", CNN),
        (codes, "mentions", None),
        (codes, "svm", None),
    ):
        task = "codes" if examples is codes else "plan"
        model = train_model(examples, task=task, classifier=classifier, settings=given)
        predictor = Predictor(
            model, SectionFinder(lexicon), made_by=MadeBy(task, "1"), top_k=3, min_probability=0
        )
        rows[task] = predictor.predict(notes)[0].to_pylist()
    note = notes.to_pylist()[0]
    sections = [section._asdict() for section in SectionFinder(lexicon).find(note["text"])]
    of_note = {
        task: [row for row in found if row["note_id"] == note["note_id"]] for task, found in rows.items()
    }
    marked = mark_note(
        note_id=note["note_id"],
        text=note["text"],
        sections=sections,
        sentences=[{**row, "decision": "accept"} for row in of_note["plan"]],
        codes=[{**row, "decision": "accept"} for row in of_note["codes"]],
    )
    assert CANARY in render(ReportData(title="Note", notes=[marked]))


def place(kind: type) -> str:
    return f"{kind.__module__.split('.')[1]}.{kind.__name__}"


def shows_text(thing: object) -> bool:
    return any(CANARY in shown.lower() for shown in (repr(thing), str(thing), f"{thing}", repr([thing])))


def test_no_object_on_the_way_of_a_note_shows_its_text(made: dict[type, list[object]]) -> None:
    names = {found.__name__ for found in made}
    assert {"Examples", "RawNote", "ValidNote", "Section", "HeadingPhrase", "Context", "PlainText"} <= names
    assert {"Tokens", "NoteWords", "Links", "Corpus", "MarkedNote", "_Piece", "_Card", "TextUnit"} <= names
    shown = {found for found, objects in made.items() if any(map(shows_text, objects))}
    assert not set(map(place, shown))


def filled(kind: type) -> object:
    """An object whose every field is the canary, made without its own code."""
    if issubclass(kind, tuple):
        return tuple.__new__(kind, [CANARY] * len(kind._fields))  # type: ignore[attr-defined]
    thing = object.__new__(kind)
    for field in fields(kind):  # type: ignore[arg-type]
        object.__setattr__(thing, field.name, CANARY)
    return thing


def may_hold_text(kind: type) -> bool:
    types = (
        [str(field.type) for field in fields(kind)]
        if is_dataclass(kind)
        else list(map(str, kind.__annotations__.values()))
    )
    return any(re.search(r"\b(?:str|object|Table)\b|\bAny\b(?!, \.\.\.)", each) for each in types)


def test_a_class_that_is_not_met_on_the_way_hides_its_strings_or_holds_no_text(
    made: dict[type, list[object]],
) -> None:
    showing = {
        place(kind)
        for kind in CLASSES
        if (is_dataclass(kind) or issubclass(kind, tuple)) and kind not in made and may_hold_text(kind)
        if CANARY in repr(filled(kind))
    }
    listed = {f"{layer}.{name}" for layer, names in NO_TEXT.items() for name in names}
    assert showing <= listed, "hide its text with nlp.hidden_text.hides_text, or say above what it holds"
    assert listed <= set(map(place, CLASSES))


PLAN = f"PLAN:\nAsk {CANARY} about it."


@pytest.fixture
def batches(tmp_path: Path) -> list[pa.RecordBatch]:
    (tmp_path / "note.jsonl").write_text(json.dumps({"note_id": "n1", "text": PLAN}))
    return list(NoteReader(tmp_path / "note.jsonl", on_dead_letter=pytest.fail))


def outside(batches: list[pa.RecordBatch], folder: Path, annotation: str) -> object:
    (folder / "annotations.jsonl").write_text(annotation)
    return annotated_examples(batches, folder / "annotations.jsonl", lexicon=Lexicon.load())


@pytest.mark.parametrize(
    "work",
    [
        lambda batches, _: section_examples(batches, settings=WeakLabelSettings(), lexicon=Lexicon.load()),
        lambda batches, _: code_examples(batches),
        lambda batches, folder: outside(batches, folder, '{"note_id": "n1", "units": [[0, 9999, 1]]}'),
        lambda batches, folder: outside(batches, folder, f'{{"note_id": "n1", "units": "{PLAN!r}"}}'),
        lambda batches, folder: outside(batches, folder, f'{{"text": "{CANARY}"}}'),
        lambda batches, folder: outside(batches, folder, f'{{"text": {CANARY}'),
        lambda *_: StackedClassifier(["plan"], StackedClassifier.default_settings("sentence")).fit(
            examples_of([PLAN], csr_matrix([[1]]), ["plan"])
        ),
    ],
)
def test_an_error_quotes_no_text(
    batches: list[pa.RecordBatch], tmp_path: Path, work: Callable[[list[pa.RecordBatch], Path], object]
) -> None:
    with pytest.raises(RubricatorError) as caught:
        work(batches, tmp_path)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert CANARY not in told.lower()


def test_what_cannot_be_read_is_told_without_its_text(tmp_path: Path) -> None:
    rows = (
        {"note_id": "n1", "text": [PLAN]},
        {"note_id": PLAN * 50, "text": PLAN},
        {"note_id": "n3", "text": PLAN},
    )
    lines = [*map(json.dumps, rows), f'{{"note_id": "n4", "text": {CANARY}']
    (tmp_path / "notes.jsonl").write_text("\n".join(lines))
    left: list[object] = []
    assert sum(len(batch) for batch in NoteReader(tmp_path / "notes.jsonl", on_dead_letter=left.append)) == 1
    assert len(left) == 3 and not any(map(shows_text, left))
