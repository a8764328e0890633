"""Load a model, or show one note with its predictions, in one line each; for notebooks, for example."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rubricator.flows.home import open_home
from rubricator.flows.report.report import MarkedNote, ReportData, mark_note, render
from rubricator.models.prediction import MadeBy, Predictor
from rubricator.models.registry import registry
from rubricator.models.registry.model_folder import named_folder
from rubricator.nlp.readers.files import NoteFormatError, is_unicode
from rubricator.nlp.shortcuts import section_finder

if TYPE_CHECKING:
    from rubricator.models.trained_model import TrainedModel

_HEIGHT = 480  # pixels of the frame in a notebook


def load_model(model: str | Path, *, home: str | Path | None = None) -> "TrainedModel":
    """Load a registered model, or a model from a folder.

    model: NAME (its champion), NAME@ALIAS, NAME/VERSION, an MLflow URI or a folder ("./plan-model", or a Path).
    home: the state folder, for a registered model. Raises RegistryError, which lists the models there are, and
    UntrustedModelError.
    """
    named = str(model.absolute()) if isinstance(model, Path) else model
    if isinstance(named, str) and named_folder(named) is None:
        open_home(home).init_mlflow()
    return registry.load(registry.resolve(named))


@dataclass(frozen=True)
class ShownNote:
    """A note with its sections and predictions. A notebook shows the marked text; `repr` shows no text."""

    note: MarkedNote

    def to_html(self) -> str:
        """A whole page; it holds the text of the note."""
        return render(ReportData(title="Note", notes=[self.note]))

    def _repr_html_(self) -> str:
        page = html.escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:{_HEIGHT}px;border:0"></iframe>'


def show_note(text: str, *models: "TrainedModel", lexicon: Sequence[str | Path] = ()) -> ShownNote:
    """Mark the sections of a note, and the predictions of each model with their evidence.

    models: models of sentences or of whole notes. lexicon: TOML files with further headings. Raises NoteFormatError
    where `text` is not the text of one note.
    """
    if not isinstance(text, str) or not is_unicode(text):
        raise NoteFormatError("show_note takes the text of one note: a str without lone surrogates")
    finder = section_finder(lexicon)
    notes = pa.table({"note_id": ["note"], "text": [text]})
    found: dict[str, list[dict[str, Any]]] = {}
    for model in models:
        predictor = Predictor(model, finder, made_by=MadeBy(model.classifier_name, ""))
        found.setdefault(predictor.task.unit, []).extend(predictor.predict(notes)[0].to_pylist())
    return ShownNote(
        mark_note(
            note_id="note",
            text=text,
            sections=[section._asdict() for section in finder.find(text)],
            sentences=found.get("sentence", ()),
            codes=found.get("note"),
        )
    )
