"""The report of the demo. Every part says that the notes are synthetic."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rubricator.flows.demo.classifiers import TASKS, Choice
from rubricator.flows.demo.gold import GoldComparison, Row
from rubricator.flows.demo.pipeline import Candidate, Results, model_name
from rubricator.flows.demo.steps import Steps
from rubricator.flows.demo.synthetic import Gold
from rubricator.flows.report.report import (
    Cell,
    Interval,
    MarkedNote,
    Part,
    Plot,
    ReportData,
    Table,
    mark_note,
)
from rubricator.nlp.hidden_text import hides_text

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
_OF_SEVERAL_LABELS = {
    "macro_f1",
    "macro_f1_of_means",
    "macro_auroc",
    "macro_auprc",
    "p_at_5",
    "map",
    "exact_match",
}


@hides_text()
@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the report is made of. corpora: notes by their use. predicted: positive rows by task and note_id."""

    steps: Steps
    results: Results
    choice: Choice
    corpora: Mapping[str, list[Row]]
    gold: Mapping[str, Gold]
    predicted: Mapping[str, Mapping[str, list[Row]]]
    comparison: GoldComparison
    seconds: float


def demo_page(shown: Shown, marked: Sequence[MarkedNote], commands: Sequence[tuple[str, str]]) -> ReportData:
    """Everything that the report shows."""
    return ReportData(
        title="Rubricator on a synthetic corpus",
        subtitle="Every note is synthetic: a seeded generator made it up, and it is about nobody. The gold is known, "
        "so this page also shows how much of it was found. No figure here says anything about real notes.",
        facts=_facts(shown),
        notes=marked,
        notes_text="The first unseen synthetic notes with headings, without, and with lost line breaks. The models "
        "have seen no note of these patients.",
        parts=[
            _classifiers_part(shown.results, shown.choice),
            _gold_part(shown.comparison),
            _champions_part(shown.results),
            _sections_part(shown.results),
            _run_part(shown),
        ],
        commands=commands,
    )


def marked_notes(
    notes: Sequence[Row], gold: Mapping[str, Gold], predicted: Mapping[str, Mapping[str, list[Row]]]
) -> list[MarkedNote]:
    """The first note of each kind that has several plan sentences and codes, and a mention not to be coded."""
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


def _kind(style: str) -> str:
    if style == "unheaded":
        return style
    return "line breaks lost" if style.endswith("line breaks lost") else "headed"


def _facts(shown: Shown) -> list[tuple[str, str]]:
    gold, report = shown.comparison, shown.results.extracted.report
    return [
        (f"{report.notes:,}", "synthetic notes read for training"),
        (f"{sum(report.sections.values()):,}", "headed sections found in them"),
        (f"{gold.plan_unheaded.f1:.2f}", "F1, plan sentences of unseen synthetic notes without headings"),
        (f"{gold.codes.f1:.2f}", "micro-F1, ICD-10-CM codes of unseen synthetic notes"),
        (f"{shown.seconds:.0f} s", "from nothing to this page"),
    ]


# ---- the classifiers side by side


def _classifiers_part(results: Results, choice: Choice) -> Part:
    tables, plots = [], []
    for task, candidates in results.candidates.items():
        about = TASKS[task][0].upper() + TASKS[task][1:]
        tables += [
            _figures_table(f"{about}: figures on synthetic notes", candidates),
            _costs_table(f"{about}: costs, and what the gate decided", candidates),
        ]
        if len(candidates) > 1:
            plots.append(_comparison_plot(f"{about}: micro-F1 on synthetic notes", candidates))
    left_out = "".join(f" The {title} is left out: {why}." for title, why in choice.left_out.items())
    return Part(
        title="The classifiers side by side",
        text="Cross-validated on the synthetic notes: the notes of a patient, and near duplicates, are in "
        "one fold. Intervals: bootstrap over these groups. The settings of the networks are small, and they "
        "learn from few notes, so that the demo ends within minutes: their order here says nothing about their order "
        "on your notes, with their default settings." + left_out,
        tables=tables,
        plots=plots,
    )


def _figures_table(title: str, candidates: Sequence[Candidate]) -> Table:
    scores = [candidate.trained.evaluation.metrics for candidate in candidates]
    counts = candidates[0].trained.evaluation.counts
    left_out = _OF_SEVERAL_LABELS if counts["labels"] == 1 else set()
    return Table(
        title=title,
        columns=["figure, 95 % interval", *(candidate.classifier.title for candidate in candidates)],
        rows=[
            (name, *(Interval(each[key].value, each[key].low, each[key].high) for each in scores))
            for key, name in _FIGURES.items()
            if key not in left_out and all(key in each for each in scores)
        ],
        remark=f"{counts['rows']:,} examples in {counts['groups']:,} groups.",
        is_wide=True,
    )


def _costs_table(title: str, candidates: Sequence[Candidate]) -> Table:
    return Table(
        title=title,
        columns=["classifier", "registered as", "training, s", "size, MB", "settings", "the gate"],
        rows=[
            (
                candidate.classifier.title,
                f"{candidate.trained.name}/{candidate.trained.version}",
                f"{candidate.seconds:.1f}",
                f"{candidate.size / 1e6:.1f}",
                " ".join(candidate.settings) or "default",
                f"{'accepted' if candidate.is_accepted else 'refused'}: {candidate.reason}",
            )
            for candidate in candidates
        ],
        remark="Training: every fold of cross-validation and the last fit. Size: all files of the registered model.",
        is_wide=True,
    )


def _comparison_plot(title: str, candidates: Sequence[Candidate]) -> Plot:
    from rubricator.models.scores.plots import bars_plot

    f1 = [(each.classifier.title, each.trained.evaluation.metrics["micro_f1"]) for each in candidates]
    rows = [(name, score.value, score.low, score.high) for name, score in f1]
    with tempfile.TemporaryDirectory() as scratch:
        path = bars_plot(Path(scratch, "f1.png"), "micro-F1", rows)
        return Plot(title=title, png=path.read_bytes())


# ---- the champions


def _gold_part(gold: GoldComparison) -> Part:
    return Part(
        title="Unseen notes against their gold",
        text="The champions predict synthetic notes of other patients. The plan model learnt from weak labels; "
        "here it is also scored on sentences that no heading announces.",
        tables=[
            Table(
                title="Predictions of unseen synthetic notes",
                columns=["what", "precision", "recall", "F1", "predicted", "known"],
                rows=[
                    (what, s.precision, s.recall, s.f1, s.found, s.known) for what, s in gold.scores().items()
                ],
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


def _champions_part(results: Results) -> Part:
    """How the champions are calibrated, and their micro-F1 by a random split."""
    rows, plots = [], []
    for task, candidates in results.candidates.items():
        for candidate in candidates:
            trained = candidate.trained
            if trained.version != results.champions[task]:
                continue
            name = f"{candidate.classifier.title}, {TASKS[task]}"
            rows += [
                (name, split, value)
                for split, value in (
                    ("by group", trained.evaluation.metrics["micro_f1"].value),
                    *trained.beside.items(),
                )
            ]
            plots += [Plot(title=f"{name}: {what}", png=png) for what, png in _plots(trained.run_id)]
    if not rows:
        return Part(
            title="The champions",
            text="The champions are of an earlier demo: the gate accepted no model of this one.",
        )
    return Part(
        title="The champions",
        text="The table shows the scores of a split by group and of a random split of the synthetic notes. A random "
        "split is too optimistic.",
        tables=[Table(title="Micro-F1 by split", columns=["champion", "split", "micro-F1"], rows=rows)],
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


# ---- the run


def _sections_part(results: Results) -> Part:
    report = results.extracted.report
    categories = list(report.sections.items())[:15]
    return Part(
        title="Sections",
        text=f"{report.notes_without_headings:,} of {report.notes:,} synthetic notes have no heading.",
        tables=[
            Table(
                title="Most frequent categories",
                columns=["category", "sections", "notes"],
                rows=[(name, count, report.notes_with[name]) for name, count in categories],
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


def _run_part(shown: Shown) -> Part:
    results = shown.results
    jobs = {"extract": results.extracted.job}
    jobs |= {f"predict {TASKS[task]}": job for task, job in results.predicted.items()}
    return Part(
        title="What was run",
        text="The commands do the same again on the synthetic notes, from the folder that the demo ran in. Models are "
        f"registered as {' and '.join(map(model_name, TASKS))}: the names say that they are no models of real notes.",
        tables=[
            Table(
                title="Steps",
                columns=["step", "command", "seconds"],
                rows=[
                    (what, command or None, f"{seconds:.1f}") for what, command, seconds in shown.steps.done
                ],
                is_wide=True,
            ),
            Table(
                title="Synthetic corpus",
                columns=[
                    "notes", "number", "patients", "without headings", "plan sentences", "codes",
                    "mentions of a coded condition", "negated, family, worries",
                ],
                rows=[_corpus_row(name, rows, shown.gold) for name, rows in shown.corpora.items()],
            ),
            Table(
                title="Throughput",
                columns=["job", "notes", "seconds", "notes per second"],
                rows=[
                    (name, job.notes, f"{job.seconds:.1f}", f"{job.notes / job.seconds:,.0f}")
                    for name, job in jobs.items()
                ],
                remark="With the start of the worker processes, which is most of it for so few notes.",
            ),
        ],
    )  # fmt: skip


def _corpus_row(name: str, notes: Sequence[Row], gold: Mapping[str, Gold]) -> list[Cell]:
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
