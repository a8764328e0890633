"""The whole pipeline on a synthetic corpus: the commands of a user, one after the other, then a report.

The gold of synthetic notes is known: the demo also says how much of it was found.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rubricator.flows.demo.classifiers import TASKS, Choice, choose
from rubricator.flows.demo.gold import GoldComparison, Row, by_note, compare_with_gold
from rubricator.flows.demo.page import Shown, demo_page, marked_notes
from rubricator.flows.demo.pipeline import Results, model_name, run_pipeline
from rubricator.flows.demo.steps import Steps, command, short
from rubricator.flows.demo.synthetic import SyntheticCorpus, read_gold, write_synthetic_notes
from rubricator.flows.home import open_home
from rubricator.flows.parameters.options import Home, Name
from rubricator.flows.report.report import MarkedNote, write_report

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Demo:
    """The results of a demo, and where they are. commands: (what it shows, the command)."""

    report: Path
    results: Results
    choice: Choice
    comparison: GoldComparison
    seconds: float
    commands: list[tuple[str, str]]

    def __rich__(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        lines = [
            f"Done in {self.seconds:.0f} s.", "", *self._classifiers(), "", *self._unseen(), "", "Where to look:",
            f"  {'report':14} {short(self.report)}", *(f"  {what:14} {typed}" for what, typed in self.commands),
        ]  # fmt: skip
        # commands stay whole, to be copied; a Text that is printed alone loses no_wrap
        return Group(Text("\n".join(lines), no_wrap=True, overflow="ignore"))

    def _classifiers(self) -> list[str]:
        lines = ["Cross-validated on synthetic notes with small settings, micro-F1 with its 95 % interval:"]
        for task, candidates in self.results.candidates.items():
            lines.append(f"  {TASKS[task]}")
            for candidate in candidates:
                f1 = candidate.trained.evaluation.metrics["micro_f1"]
                is_champion = candidate.trained.version == self.results.champions[task]
                gate = "accepted" if candidate.is_accepted else "refused"
                lines.append(
                    f"    {candidate.classifier.title:12} {f1.value:.3f} [{f1.low:.3f}, {f1.high:.3f}]  "
                    f"{candidate.seconds:5.1f} s  {candidate.size / 1e6:5.1f} MB  "
                    f"{gate} by the gate{', champion' if is_champion else ''}"
                )
        return lines + [f"  {title} is left out: {why}" for title, why in self.choice.left_out.items()]

    def _unseen(self) -> list[str]:
        gold = self.comparison
        lines = ["The champions on unseen synthetic notes, against their gold:"]
        lines += [
            f"  {what:40} P {score.precision:.2f}  R {score.recall:.2f}  F1 {score.f1:.2f}"
            for what, score in gold.scores().items()
        ]
        lines.append(f"  {'strongest evidence names the condition':40} {gold.evidence.precision:.2f}")
        lines += [
            f"  {f'{why} mentions that were coded':40} {coded} of {mentioned}"
            for why, (mentioned, coded) in gold.not_to_be_coded.items()
        ]
        return lines


def demo(
    *,
    notes: Annotated[int, Field(ge=100, description="Synthetic notes to train on.")] = 200,
    models: Annotated[
        Name | None,
        Field(
            description="Classifiers, with commas: svm,cnn,transformer. By default all whose libraries are installed."
        ),
    ] = None,
    seed: Annotated[int, Field(description="Random seed of the corpus and of training.")] = 0,
    home: Home = None,
) -> Demo:
    """Generate notes, extract, train and promote each classifier, predict, and write a report.

    All files are in the folder `demo` of the home. notes: size of the synthetic corpus to train on; a quarter as many,
    at least 30, are unseen. The folder of an earlier demo is replaced; its models stay in the registry. Raises
    ChoiceError, and MissingLibraryError where a classifier is named whose libraries are not installed.
    """
    opened = open_home(home)
    choice = choose([name.strip() for name in (models or "").split(",") if name.strip()])
    folder = opened.path / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    steps = Steps(str(opened.path), ["--home", short(opened.path)] if home else [])
    for title, why in choice.left_out.items():
        steps.say(f"The {title} is left out: {why}")
    unseen = max(30, notes // 4)
    corpus = steps.take(
        f"Write {notes:,} synthetic notes to train on, {unseen:,} of other patients to predict",
        lambda: write_synthetic_notes(folder, notes=notes, new_notes=unseen, seed=seed),
    )
    results = run_pipeline(steps, corpus, folder, choice.classifiers, seed)
    return _reported(steps, corpus, folder / "report.html", choice, results)


def _reported(steps: Steps, corpus: SyntheticCorpus, report: Path, choice: Choice, results: Results) -> Demo:
    """Compare with the gold, and write the report."""
    seen_notes, new_notes = _read(corpus.notes), _read(corpus.new_notes)
    gold = read_gold(corpus.gold)
    predicted = {task: by_note(_rows(job.out / "predictions")) for task, job in results.predicted.items()}
    comparison = compare_with_gold(
        [gold[row["note_id"]] for row in new_notes], predicted["plan"], predicted["codes"]
    )
    marked = marked_notes(new_notes, gold, predicted)
    done = Demo(report, results, choice, comparison, steps.seconds, _commands(steps, corpus, results, marked))
    shown = Shown(
        steps=steps,
        results=results,
        choice=choice,
        corpora={"to train on": seen_notes, "unseen": new_notes},
        gold=gold,
        predicted=predicted,
        comparison=comparison,
        seconds=done.seconds,
    )
    write_report(report, demo_page(shown, marked, done.commands))
    return done


def _commands(
    steps: Steps, corpus: SyntheticCorpus, results: Results, marked: Sequence[MarkedNote]
) -> list[tuple[str, str]]:
    """What to run next, as (what it shows, a command to copy)."""
    tracking = os.environ["MLFLOW_TRACKING_URI"]
    server = tracking if tracking.startswith("http") else ""
    commands = [("MLflow UI", server or command("mlflow", "ui", "--backend-store-uri", tracking))]
    models = [f"{model_name(task)}/{version}" for task, version in results.champions.items()]
    for note in marked[:1]:
        typed = ["explain", short(corpus.new_notes), "--note-id", note.note_id]
        typed += [word for model in models for word in ("--model", model)]
        typed += ["--out", short(corpus.new_notes.with_name("note.html")), *steps.typed_home]
        commands.append(("one note", command("rubricator", *typed)))
    return commands


def _rows(table: Path) -> list[Row]:
    import pyarrow.parquet as pq

    rows: list[Row] = pq.read_table(table).to_pylist()
    return rows


def _read(notes: Path) -> list[Row]:
    from rubricator.nlp.readers.notes import NoteReader

    return [
        row for batch in NoteReader(str(notes), on_dead_letter=lambda _: None) for row in batch.to_pylist()
    ]
