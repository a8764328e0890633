"""The whole pipeline on a synthetic corpus: what a user would type, one command after the other, then a report.

As the corpus is synthetic, everything that should be found is known: the demo also says how much of it was.
"""

import os
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rubricator.flows.demo.synthetic import Gold, SyntheticCorpus, read_gold, write_synthetic_notes
from rubricator.flows.home import open_home
from rubricator.flows.report.report import (
    Cell,
    Interval,
    MarkedNote,
    Part,
    Plot,
    ReportData,
    Table,
    mark_note,
    write_report,
)

if TYPE_CHECKING:
    from rich.text import Text

    from rubricator.flows.extract import Extracted
    from rubricator.flows.jobs.shards import JobResult
    from rubricator.flows.train import Trained

R = TypeVar("R")
Row = Mapping[str, Any]

_FOLDS = 2  # one a core: the demo is to take a minute and a half at most
_TASKS = {"plan": "plan sentences", "codes": "ICD-10-CM codes"}

_FIGURES = {
    "micro_precision": "precision, micro",
    "micro_recall": "recall, micro",
    "micro_f1": "F1, micro",
    "macro_f1": "F1, mean over labels",
    "macro_f1_of_means": "F1 of mean precision and recall",
    "micro_auroc": "AUROC, micro",
    "macro_auroc": "AUROC, mean over labels",
    "micro_auprc": "AUPRC, micro",
    "macro_auprc": "AUPRC, mean over labels",
    "p_at_5": "precision of the best 5",
    "map": "MAP",
    "exact_match": "all labels right",
    "ece": "calibration error",
}


@dataclass(frozen=True, slots=True)
class Score:
    """How many of the known things were found, and how many of the found ones are known."""

    found: int  # predicted
    right: int  # of these, known
    known: int
    recalled: int  # known ones that were found

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        return self.recalled / self.known if self.known else 0.0

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True)
class GoldComparison:
    """Predictions on unseen synthetic notes against what is known of them."""

    plan_unheaded: Score
    plan_headed: Score
    codes: Score
    evidence: Score  # of rightly predicted codes: is the strongest span a mention of the condition?
    not_to_be_coded: dict[str, tuple[int, int]]  # negated, family, hypothetical: (mentioned, yet predicted)


@dataclass(frozen=True)
class Demo:
    """Where the results of a demo are, and what to say about them."""

    report: Path
    comparison: GoldComparison
    seconds: float
    commands: list[tuple[str, str]]

    def __rich__(self) -> "Text":
        from rich.text import Text

        gold = self.comparison
        lines = [f"Done in {self.seconds:.0f} s. Unseen synthetic notes, against what is known of them:"]
        for what, score in (
            ("plan sentences, notes without headings", gold.plan_unheaded),
            ("plan sentences, notes with headings", gold.plan_headed),
            ("ICD-10-CM codes", gold.codes),
        ):
            lines.append(f"  {what:40} P {score.precision:.2f}  R {score.recall:.2f}  F1 {score.f1:.2f}")
        lines.append(f"  {'strongest evidence names the condition':40} {gold.evidence.precision:.2f}")
        for why, (mentioned, coded) in gold.not_to_be_coded.items():
            lines.append(f"  {f'{why} mentions that were coded':40} {coded} of {mentioned}")
        lines += ["", "Where to look:", f"  {'report':10} {_short(self.report)}"]
        lines += [f"  {what:10} {command}" for what, command in self.commands]
        return Text("\n".join(lines), no_wrap=True, overflow="ignore")  # commands stay whole, to be copied


def demo(*, notes: int = 600, seed: int = 0, home: str | None = None) -> Demo:
    """Generate, extract, train, promote, predict, report; everything lies in `demo` under the home.

    notes: size of the synthetic corpus to train on; a quarter as many are unseen. An earlier demo's folder is
    replaced, its models stay in the registry.
    """
    opened = open_home(home)
    folder = opened.path / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    steps = _Steps(str(opened.path), ["--home", _short(opened.path)] if home else [])
    unseen = max(30, notes // 4)
    corpus = steps.take(
        f"Write {notes:,} synthetic notes to train on, {unseen:,} of other patients to predict",
        lambda: write_synthetic_notes(folder, notes=notes, new_notes=unseen, seed=seed),
    )
    results = _pipeline(steps, corpus, folder, seed)
    seen_notes, new_notes = _read(corpus.notes), _read(corpus.new_notes)
    gold = read_gold(corpus.gold)
    predicted = {task: _by_note(_rows(job.out / "predictions")) for task, job in results.predicted.items()}
    comparison = compare_with_gold(
        [gold[row["note_id"]] for row in new_notes], predicted["plan"], predicted["codes"]
    )
    marked = _marked(new_notes, gold, predicted)
    report = folder / "report.html"
    done = Demo(report, comparison, steps.seconds, _commands(corpus, results, marked, opened.path))
    corpora = {"to train on": seen_notes, "unseen": new_notes}
    write_report(
        report,
        ReportData(
            title="Rubricator on a synthetic corpus",
            subtitle="Every note is made up by a seeded generator and is about nobody. What should be found is "
            "known, so this page also shows how much of it was.",
            facts=_facts(results, done),
            notes=marked,
            notes_text="The first unseen notes with headings, without, and with lost line breaks. The models have "
            "seen no note of these patients.",
            parts=[
                _run_part(steps, [_corpus_row(name, rows, gold) for name, rows in corpora.items()], results),
                _section_part(results),
                _gold_part(comparison),
                _evaluation_part(results),
            ],
            commands=done.commands,
        ),
    )
    return done


def compare_with_gold(
    gold: Iterable[Gold], sentences_of: Mapping[str, Sequence[Row]], codes_of: Mapping[str, Sequence[Row]]
) -> GoldComparison:
    """Score the positive rows of two predictions tables, by note_id, on the notes of `gold`.

    A sentence is right where over half of it is known to be plan, and a known one is found in the same way.
    """
    plan: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    coded: Counter[str] = Counter()
    mentioned: Counter[str] = Counter()
    wrongly: Counter[str] = Counter()
    for note in gold:
        spans = [(row["start"], row["end"]) for row in sentences_of.get(note.note_id, ())]
        score = plan[note.style == "unheaded"]
        score["found"] += len(spans)
        score["right"] += sum(_covered(span, note.plan) for span in spans)
        score["known"] += len(note.plan)
        score["recalled"] += sum(_covered(span, spans) for span in note.plan)
        predicted = {row["label"]: row for row in codes_of.get(note.note_id, ())}
        right = predicted.keys() & set(note.codes)
        coded["found"] += len(predicted)
        coded["right"] += len(right)
        coded["known"] += len(note.codes)
        for code in right:
            strongest = max(predicted[code]["evidence"], key=lambda span: span["weight"], default=None)
            coded["evidence"] += strongest is not None and any(
                mention.code == code and mention.start < strongest["end"] and strongest["start"] < mention.end
                for mention in note.mentions
            )
        for code, why in {
            (m.code, m.why_not) for m in note.mentions if m.why_not and m.code not in note.codes
        }:
            mentioned[why] += 1
            wrongly[why] += code in predicted
    return GoldComparison(
        plan_unheaded=Score(**_whole(plan[True])),
        plan_headed=Score(**_whole(plan[False])),
        codes=Score(coded["found"], coded["right"], coded["known"], coded["right"]),
        evidence=Score(coded["right"], coded["evidence"], coded["right"], coded["evidence"]),
        not_to_be_coded={why: (mentioned[why], wrongly[why]) for why in sorted(mentioned)},
    )


def _whole(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in ("found", "right", "known", "recalled")}


def _by_note(rows: Iterable[Row]) -> dict[str, list[Row]]:
    by_note: dict[str, list[Row]] = {}
    for row in rows:
        if row["decision"] != "reject":
            by_note.setdefault(row["note_id"], []).append(row)
    return by_note


def _covered(span: tuple[int, int], others: Iterable[tuple[int, int]]) -> bool:
    """Whether over half of the span lies in the others, which do not overlap."""
    start, end = span
    common = sum(max(0, min(end, stop) - max(start, begin)) for begin, stop in others)
    return 2 * common > end - start


# ---- the pipeline


@dataclass
class _Steps:
    """Runs the steps, says what a user would type for each, and keeps how long it took."""

    home: str
    typed_home: list[str]
    done: list[tuple[str, str, float]] = field(default_factory=list)  # (what, command, seconds)

    def __post_init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def take(self, what: str, work: Callable[[], R], command: str = "") -> R:
        began = time.monotonic()
        self.console.print(f"[bold]{what}[/]" + (f"\n  [dim]{command}[/]" if command else ""), soft_wrap=True)
        result = work()
        self.done.append((what, command, time.monotonic() - began))
        self.console.print(f"  {self.done[-1][2]:.1f} s")
        return result

    def step(self, what: str, step: Callable[..., R], *typed: str, **parameters: Any) -> R:
        return self.take(
            what,
            lambda: step(home=self.home, **parameters),
            shlex.join(["rubricator", step.__name__, *typed, *self.typed_home]),
        )


@dataclass(frozen=True, kw_only=True)
class _Results:
    """Of each step, by task where there are two."""

    extracted: "Extracted"
    trained: dict[str, "Trained"]
    promoted: dict[str, str]  # the reason
    predicted: Mapping[str, "JobResult"]


def _pipeline(steps: _Steps, corpus: SyntheticCorpus, folder: Path, seed: int) -> _Results:
    from rubricator.flows.extract import extract
    from rubricator.flows.predict import predict
    from rubricator.flows.promote import PromotionRefusedError, promote
    from rubricator.flows.train import train

    notes, new_notes, out = corpus.notes, corpus.new_notes, folder / "extracted"
    extracted = steps.step(
        "Find sections and sentences",
        extract,
        _short(notes),
        "--out",
        _short(out),
        notes=str(notes),
        out=str(out),
    )
    trained, promoted, predicted = {}, {}, {}
    for task, about in _TASKS.items():
        name = f"synthetic-{task}"
        trained[task] = steps.step(
            f"Train on {about}", train, task, _short(notes), "--name", name, "--folds", str(_FOLDS),
            task=task, notes=str(notes), name=name, folds=_FOLDS, seed=seed,
        )  # fmt: skip
    for task, model in trained.items():
        try:
            decision = steps.step(
                f"Promote {model.name}", promote, model.name, "--version", model.version,
                name=model.name, version=int(model.version),
            )  # fmt: skip
            promoted[task] = decision.reason
        except PromotionRefusedError as refused:
            promoted[task] = f"refused: {refused}"
    for task, model in trained.items():
        out, version = folder / task, f"{model.name}/{model.version}"
        predicted[task] = steps.step(
            f"Predict {_TASKS[task]} of unseen notes", predict,
            _short(new_notes), "--model", version, "--out", _short(out),
            notes=str(new_notes), model=version, out=str(out),
        )  # fmt: skip
    return _Results(extracted=extracted, trained=trained, promoted=promoted, predicted=predicted)


# ---- the report


def _rows(table: Path) -> list[Row]:
    import pyarrow.parquet as pq

    rows: list[Row] = pq.read_table(table).to_pylist()
    return rows


def _read(notes: Path) -> list[Row]:
    from rubricator.nlp.readers.notes import NoteReader

    return [
        row for batch in NoteReader(str(notes), on_dead_letter=lambda _: None) for row in batch.to_pylist()
    ]


def _kind(style: str) -> str:
    if style == "unheaded":
        return style
    return "line breaks lost" if style.endswith("line breaks lost") else "headed"


def _marked(
    notes: list[Row], gold: dict[str, Gold], predicted: Mapping[str, Mapping[str, list[Row]]]
) -> list[MarkedNote]:
    """Of each kind of note the first that has something of everything to show."""
    from rubricator.nlp.sections.finder import SectionFinder

    rich = [
        row
        for row in notes
        for known in [gold[row["note_id"]]]
        if len(known.plan) > 1 and len(known.codes) > 1 and any(m.why_not for m in known.mentions)
    ]
    finder = SectionFinder()
    marked = []
    for kind in ("headed", "unheaded", "line breaks lost"):
        for row in [row for row in rich if _kind(gold[row["note_id"]].style) == kind][:1]:
            note_id = row["note_id"]
            marked.append(
                mark_note(
                    note_id=note_id,
                    text=row["text"],
                    about=f"{row['note_type']}, written on {row['written_on']}; headings: {gold[note_id].style}",
                    sections=[section._asdict() for section in finder.find(row["text"])],
                    sentences=predicted["plan"].get(note_id, ()),
                    codes=predicted["codes"].get(note_id, ()),
                    known_codes=row["codes"],
                )
            )
    return marked


def _facts(results: _Results, demo: Demo) -> list[tuple[str, str]]:
    gold = demo.comparison
    return [
        (f"{results.extracted.report.notes:,}", "synthetic notes read for training"),
        (f"{sum(results.extracted.report.sections.values()):,}", "headed sections found in them"),
        (f"{gold.plan_unheaded.f1:.2f}", "F1, plan sentences of unseen notes without headings"),
        (f"{gold.codes.f1:.2f}", "micro-F1, ICD-10-CM codes of unseen notes"),
        (f"{demo.seconds:.0f} s", "from nothing to this page"),
    ]


def _corpus_row(name: str, notes: list[Row], gold: Mapping[str, Gold]) -> list[Cell]:
    known = [gold[row["note_id"]] for row in notes]
    mentions = [mention for note in known for mention in note.mentions]
    return [
        name,
        len(notes),
        len({row["patient_id"] for row in notes}),
        sum(note.style == "unheaded" for note in known),
        sum(len(note.plan) for note in known),
        len({code for note in known for code in note.codes}),
        sum(mention.why_not is None for mention in mentions),
        sum(mention.why_not is not None for mention in mentions),
    ]


def _run_part(steps: _Steps, corpora: list[list[Cell]], results: _Results) -> Part:
    jobs = {"extract": results.extracted.job}
    jobs |= {f"predict {_TASKS[task]}": job for task, job in results.predicted.items()}
    columns = [
        "notes", "number", "patients", "without headings", "plan sentences", "codes", "mentions of a coded condition",
        "negated, family, worries",
    ]  # fmt: skip
    return Part(
        title="What was run",
        tables=[
            Table(
                title="Steps",
                columns=["step", "command", "seconds"],
                rows=[(what, command or None, f"{seconds:.1f}") for what, command, seconds in steps.done],
                is_wide=True,
            ),
            Table(title="Synthetic corpus", columns=columns, rows=corpora),
            Table(
                title="Throughput",
                columns=["job", "notes", "seconds", "notes per second"],
                rows=[
                    (name, job.notes, f"{job.seconds:.1f}", f"{job.notes / job.seconds:,.0f}")
                    for name, job in jobs.items()
                ],
                remark="With the start of the worker processes, which is most of it for so few notes.",
            ),
            Table(
                title="Promotion",
                columns=["model", "version", "decision"],
                rows=[(m.name, m.version, results.promoted[task]) for task, m in results.trained.items()],
            ),
        ],
    )


def _section_part(results: _Results) -> Part:
    report = results.extracted.report
    return Part(
        title="Sections",
        text=f"{report.notes_without_headings:,} of {report.notes:,} notes have no heading.",
        tables=[
            Table(
                title="Most frequent categories",
                columns=["category", "sections", "notes"],
                rows=[
                    (name, count, report.notes_with[name])
                    for name, count in list(report.sections.items())[:15]
                ],
            ),
            Table(
                title="Weak labels of sentences",
                columns=["label", "sentences"],
                rows=list(report.sentences.items()),
                remark="Positive: under a plan heading. Negative: under another clear heading of such a note.",
            ),
            Table(
                title="Headings not taken", columns=["reason", "times"], rows=list(report.rejected.items())
            ),
        ],
    )


def _gold_part(gold: GoldComparison) -> Part:
    scores = {
        "plan sentences, notes without headings": gold.plan_unheaded,
        "plan sentences, notes with headings": gold.plan_headed,
        "ICD-10-CM codes": gold.codes,
    }
    return Part(
        title="Unseen notes against what is known",
        text="The plan model learnt from headings alone; here it is scored on sentences that no heading announces.",
        tables=[
            Table(
                title="Predictions of unseen synthetic notes",
                columns=["what", "precision", "recall", "F1", "predicted", "known"],
                rows=[(what, s.precision, s.recall, s.f1, s.found, s.known) for what, s in scores.items()],
            ),
            Table(
                title="Evidence of rightly predicted codes",
                columns=["", "codes", "share"],
                rows=[("strongest span names the condition", gold.evidence.right, gold.evidence.precision)],
                remark="Medicines and results that go with a condition carry weight too; they are not counted here.",
            ),
            Table(
                title="Conditions that must not be coded",
                columns=["mentioned as", "in notes", "coded all the same"],
                rows=[(why, mentioned, coded) for why, (mentioned, coded) in gold.not_to_be_coded.items()],
            ),
        ],
    )


def _evaluation_part(results: _Results) -> Part:
    tables, plots = [], []
    for task, model in results.trained.items():
        metrics = model.evaluation.metrics
        rows = [
            (title, Interval(metrics[name].value, metrics[name].low, metrics[name].high))
            for name, title in _FIGURES.items()
            if name in metrics
        ]
        counts = model.evaluation.counts
        tables.append(
            Table(
                title=_TASKS[task].capitalize(),
                columns=["figure", "value, 95 % interval"],
                rows=rows,
                remark=f"{counts['rows']:,} examples in {counts['groups']:,} groups. Beside it, micro-F1: "
                + "; ".join(f"{split} {value:.3f}" for split, value in model.beside.items())
                + ".",
            )
        )
        plots += [
            Plot(title=f"{_TASKS[task].capitalize()}: {name}", png=png) for name, png in _plots(model.run_id)
        ]
    return Part(
        title="Cross-validation",
        text="No patient, and no near-duplicate of a note, stands on both sides of a fold. The score of a random split "
        "stands beside it, so that the gap is seen. Intervals: bootstrap over these groups.",
        tables=tables,
        plots=plots,
    )


def _plots(run_id: str) -> list[tuple[str, bytes]]:
    """The plots that training logged to MLflow."""
    import mlflow

    with tempfile.TemporaryDirectory() as scratch:
        folder = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="plots", dst_path=scratch)
        return [
            (path.stem.replace("_", " "), path.read_bytes()) for path in sorted(Path(folder).glob("*.png"))
        ]


def _commands(
    corpus: SyntheticCorpus, results: _Results, marked: Sequence[MarkedNote], home: Path
) -> list[tuple[str, str]]:
    programs = Path(sys.executable).parent
    tracking = os.environ["MLFLOW_TRACKING_URI"]
    mlflow = shlex.join([_short(programs / "mlflow"), "ui", "--backend-store-uri", tracking])
    commands = [("MLflow UI", tracking if tracking.startswith("http") else mlflow)]
    for note in marked[:1]:
        typed = [
            _short(programs / "rubricator"), "explain", _short(corpus.new_notes), "--note-id", note.note_id,
            "--model", results.trained["codes"].name, "--home", _short(home), "--out", "note.html",
        ]  # fmt: skip
        commands.append(("one note", shlex.join(typed)))
    return commands


def _short(path: Path) -> str:
    """From the working folder, where the path lies in it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
