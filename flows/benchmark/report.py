"""The report of the benchmark, as HTML and as Markdown. Each protocol has a part; a table never mixes corpora."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rubricator.flows.benchmark.row import MEMORY_LABELS, MEMORY_TEXTS, MEMORY_TOKENS, Scored
from rubricator.flows.benchmark.table import Protocol, Row
from rubricator.flows.jobs.files import write_text
from rubricator.flows.report.report import (
    Cell,
    Interval,
    Part,
    Plot,
    ReportData,
    Table,
    markdown,
    write_report,
)

BASELINE = "svm"
_MAIN = {
    "plan": {"micro_f1": "F1", "micro_auprc": "AUPRC"},
    "codes": {"micro_f1": "micro-F1", "macro_f1": "macro-F1", "micro_auroc": "micro-AUROC", "map": "MAP"},
}
_SECONDARY = {
    "plan": {"micro_precision": "precision", "micro_recall": "recall", "micro_auroc": "AUROC", "ece": "ECE"},
    "codes": {
        "micro_precision": "precision, micro",
        "micro_recall": "recall, micro",
        "macro_f1_of_means": "F1 of macro P and R",
        "macro_auroc": "macro-AUROC",
        "p_at_5": "P@5",
        "p_at_8": "P@8",
        "p_at_15": "P@15",
        "exact_match": "exact match",
        "ece_predicted": "ECE, predicted",
    },
}
_BUCKET_FIGURES = {"micro_f1": "micro-F1", "macro_f1": "macro-F1", "recall_at_15": "recall at 15"}
_CONVENTIONS = (
    "Intervals are 95 %, bootstrapped over patients and near duplicates. micro: over all entries. macro-F1: mean over "
    "all codes; a code that is neither true nor predicted counts as 0. MAP: over notes with a code, all codes ranked. "
    "Probabilities are calibrated and thresholds tuned on out-of-fold predictions of the training part, for all models "
    "alike. Figures of different parts are of different data, and do not compare. Nor do they compare with figures of "
    "papers on other data."
)
_MIXED = (
    "The rows were not all made with the same source, libraries and machine: see the end. To measure a row again, "
    "remove its folder in runs."
)

Result = Mapping[str, Any]


def write_benchmark_report(
    out: Path, rows: Sequence[Row], results: Mapping[str, Result], *, is_quick: bool
) -> None:
    """Write report.html, report.md and the plots of the latter. results: by key of the row, also those that failed."""
    measured = {key: result for key, result in results.items() if "failure" not in result}
    protocols = {row.protocol.name: row.protocol for row in rows if row.key in measured}
    parts = []
    for protocol in protocols.values():
        of_protocol = {
            row.model.name: _Measured(row, measured[row.key])
            for row in rows
            if row.protocol.name == protocol.name and row.key in measured
        }
        if protocol.task == "memory":
            parts.append(_memory_part(protocol, of_protocol))
        else:
            parts.append(_part(out / "plots", protocol, of_protocol))
    left = [row.key for row in rows if row.key not in results]
    made_with: dict[str, list[str]] = {}
    for key, result in measured.items():
        made_with.setdefault(result["made_with"], []).append(key)
    data = ReportData(
        title="Rubricator benchmark" + (": a smoke run, its figures mean nothing" if is_quick else ""),
        subtitle=_MIXED if len(made_with) > 1 else "".join(made_with),
        facts=[
            (str(len(measured)), "rows measured"),
            (str(len(results) - len(measured)), "rows failed"),
            (str(len(left)), "rows not run"),
            (f"{sum(result['seconds'] for result in measured.values()) / 60:,.0f} min", "spent on them"),
        ],
        parts=[
            Part(title="How to read this", text=_CONVENTIONS, tables=[_models(rows)]),
            *parts,
            *_not_measured(rows, results, left),
            *_made_with(made_with),
        ],
    )
    write_report(out / "report.html", data)
    write_text(out / "report.md", markdown(data, plots=Path("plots")))


@dataclass(frozen=True)
class _Measured:
    row: Row
    result: Result

    @property
    def tests(self) -> dict[str, Any]:
        found: dict[str, Any] = self.result["tests"]
        return found

    def scored(self, test: str) -> Scored:
        return Scored.load(self.row.folder / self.tests[test]["predictions"])


def _part(plots: Path, protocol: Protocol, models: Mapping[str, _Measured]) -> Part:
    tables: list[Table] = []
    drawn: list[Plot] = []
    tests = dict.fromkeys(test for measured in models.values() for test in measured.tests)
    for test in tests:
        title = test.capitalize() if test[:1].islower() else test
        figures = {name: measured.tests[test] for name, measured in models.items()}
        whole = {name: of_model["all"] for name, of_model in figures.items()}
        tables += [
            _main_table(title, protocol.task, whole),
            _further_table(title, protocol.task, whole),
            *_strata_table(title, figures),
            *_paired_table(title, test, models),
            _threshold_table(title, protocol.task, figures),
            *_bucket_tables(title, figures),
        ]
        drawn += _plots(plots, protocol, f"{protocol.name} {test}", title, figures)
    tables.append(_cost_table(models))
    trained_on = next(iter(models.values())).result["trained_on"]
    counts = ", ".join(_counted(count, what) for what, count in trained_on.items())
    rule = next(iter(models.values())).result["rule"]
    text = f"{protocol.text} {rule} Trained on: {counts}."
    return Part(title=protocol.title, text=text, tables=tables, plots=drawn)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what.removesuffix('s') if count == 1 else what}"


def _memory_part(protocol: Protocol, models: Mapping[str, _Measured]) -> Part:
    table = Table(
        title=f"{MEMORY_LABELS:,} codes, {MEMORY_TOKENS:,} tokens, batch of {MEMORY_TEXTS}: one forward pass",
        columns=["model", "peak memory, MB", "of which before, MB", "seconds"],
        rows=[
            [
                name,
                f"{forward['peak_megabytes']:,.0f}",
                f"{forward['before_megabytes']:,.0f}",
                f"{forward['forward_seconds']:.1f}",
            ]
            for name, measured in models.items()
            for forward in [measured.result["forward"]]
        ],
        remark="Memory of the whole process. Before: Python and its libraries.",
    )
    return Part(title=protocol.title, text=protocol.text, tables=[table])


def _main_table(title: str, task: str, models: Mapping[str, Any]) -> Table:
    names = _MAIN[task]
    first = next(iter(models.values()))["counts"]
    return Table(
        title=f"{title}: figures with 95 % intervals",
        columns=["model", *names.values()],
        rows=[
            [model, *(_interval(found["metrics"].get(name)) for name in names)]
            for model, found in models.items()
        ],
        remark=f"{_counted(first['rows'], 'examples')} in {_counted(first['groups'], 'groups')}, "
        f"{_counted(first['labels'], 'labels')}, {_counted(first['positives'], 'positives')}.",
        is_wide=True,
    )


def _further_table(title: str, task: str, models: Mapping[str, Any]) -> Table:
    names = {
        name: shown
        for name, shown in _SECONDARY[task].items()
        if any(name in found["metrics"] for found in models.values())
    }
    return Table(
        title=f"{title}: further figures",
        columns=["model", *names.values()],
        rows=[
            [model, *(_with_interval(found["metrics"].get(name)) for name in names)]
            for model, found in models.items()
        ],
        is_wide=True,
    )


def _strata_table(title: str, models: Mapping[str, Any]) -> list[Table]:
    kinds = list(dict.fromkeys(kind for found in models.values() for kind in found["strata"]))
    if not kinds:
        return []
    counts = next(iter(models.values()))["strata"]
    return [
        Table(
            title=f"{title}: F1 by kind of note",
            columns=["model", *kinds],
            rows=[
                [model, *(_interval(found["strata"][kind]["metrics"].get("micro_f1")) for kind in kinds)]
                for model, found in models.items()
            ],
            remark="; ".join(
                f"{kind}: {counts[kind]['counts']['rows']:,} units, {counts[kind]['counts']['positives']:,} positive"
                for kind in kinds
            )
            + ".",
            is_wide=True,
        )
    ]


def _paired_table(title: str, test: str, models: Mapping[str, _Measured]) -> list[Table]:
    """Each model against the SVM, and against the model that its row names."""
    from scipy.sparse import csr_matrix

    from rubricator.models.scores.bootstrap import paired_bootstrap

    scored = {name: measured.scored(test) for name, measured in models.items()}
    rows = []
    for name, measured in models.items():
        for reference in dict.fromkeys((BASELINE, measured.row.model.against)):
            if reference is None or reference == name or reference not in scored:
                continue
            a, b = scored[reference], scored[name]
            if a.ids.tolist() != b.ids.tolist() or a.labels.tolist() != b.labels.tolist():
                continue  # cannot be paired
            found = paired_bootstrap(
                csr_matrix(b.targets), a.decisions, b.decisions, b.groups, bootstrap=measured.row.bootstrap
            )
            verdict = "better" if found.low > 0 else "worse" if found.high < 0 else "no clear difference"
            rows.append(
                [
                    name,
                    reference,
                    _signed(found.difference),
                    f"{_signed(found.low)} to {_signed(found.high)}",
                    f"{found.worse:.3f}",
                    verdict,
                ]
            )
    if not rows:
        return []
    return [
        Table(
            title=f"{title}: paired tests, micro-F1",
            columns=[
                "model",
                "against",
                "difference",
                "95 % interval",
                "share of resamples worse",
                "verdict",
            ],
            rows=rows,
            remark="Paired bootstrap over groups (Berg-Kirkpatrick et al. 2012), no correction for multiple tests.",
        )
    ]


def _threshold_table(title: str, task: str, models: Mapping[str, Any]) -> Table:
    names = {"micro_f1": "micro-F1", "macro_f1": "macro-F1"} if task == "codes" else {"micro_f1": "F1"}
    return Table(
        title=f"{title}: tuned thresholds against 0.5",
        columns=[
            "model",
            *(f"{shown}, {how}" for shown in names.values() for how in ("tuned", "0.5")),
            "tuned less 0.5",
            "95 % interval",
        ],
        rows=[
            [
                model,
                *(found["all"]["metrics"][name + how]["value"] for name in names for how in ("", "_at_half")),
                _signed(found["tuned_against_half"]["difference"]),
                " to ".join(_signed(found["tuned_against_half"][end]) for end in ("low", "high")),
            ]
            for model, found in models.items()
        ],
        remark="0.5 of the calibrated probability; the difference is of micro-F1, with its paired interval.",
        is_wide=True,
    )


def _bucket_tables(title: str, models: Mapping[str, Any]) -> list[Table]:
    """Figures of codes by how many positives they had in training."""
    buckets = next(iter(models.values()))["all"]["buckets"]
    if sum(bucket["labels"] for bucket in buckets.values()) < 2:
        return []
    return [
        Table(
            title=f"{title}: {shown} by positives in training",
            columns=[
                "model",
                *(
                    f"{name} ({bucket['labels']:,} codes, {bucket['positives']:,} positives)"
                    for name, bucket in buckets.items()
                ),
            ],
            rows=[
                [
                    model,
                    *(_interval(found["all"]["buckets"][name]["metrics"].get(figure)) for name in buckets),
                ]
                for model, found in models.items()
            ],
            is_wide=True,
        )
        for figure, shown in _BUCKET_FIGURES.items()
    ]


def _cost_table(models: Mapping[str, _Measured]) -> Table:
    units = {measured.result["cost"]["unit"] for measured in models.values()}
    return Table(
        title="Cost",
        columns=[
            "model",
            "training, s",
            "folds, s",
            f"{', '.join(units)} a second",
            "peak memory, MB",
            "model, MB",
        ],
        rows=[
            [
                name,
                f"{cost['train_seconds']:,.1f}" if whole else None,
                f"{cost['folds_seconds']:,.0f}" if whole and "folds_seconds" in cost else None,
                f"{cost['units_per_second']:,.0f}",
                f"{cost['peak_megabytes']:,.0f}",
                f"{cost['model_megabytes']:,.1f}",
            ]
            for name, measured in models.items()
            for cost, whole in [(measured.result["cost"], not measured.result.get("resumed"))]
        ],
        remark="Training: one model of all training examples, calibration included. Peak memory: of the process, with "
        "Python, the data, training and prediction. Folds are worked on by one process a core. A training that was "
        "killed and resumed has no time.",
        is_wide=True,
    )


def _plots(folder: Path, protocol: Protocol, name: str, title: str, figures: Mapping[str, Any]) -> list[Plot]:
    from rubricator.models.scores.plots import bars_plot, reliability_plot

    folder.mkdir(parents=True, exist_ok=True)
    figure = next(iter(_MAIN[protocol.task].values()))
    bars = []
    for model, found in figures.items():
        estimate = found["all"]["metrics"]["micro_f1"]
        bars.append((model, estimate["value"], estimate["low"], estimate["high"]))
    plain = name.replace(" ", "-").lower()
    written = {
        f"{title}: {figure}": bars_plot(folder / f"{plain}-bars.png", figure, bars),
        f"{title}: reliability": reliability_plot(
            folder / f"{plain}-reliability.png",
            {model: found["reliability"] for model, found in figures.items()},
        ),
    }
    return [Plot(title=shown, png=path.read_bytes(), name=path.name) for shown, path in written.items()]


def _models(rows: Sequence[Row]) -> Table:
    models = {row.model.name: row.model for row in rows}
    return Table(
        title="Models",
        columns=["model", "what it is", "classifier", "settings other than its defaults"],
        rows=[
            [model.name, model.about, model.classifier, ", ".join(model.settings) or None]
            for model in models.values()
        ],
        is_wide=True,
    )


def _not_measured(rows: Sequence[Row], results: Mapping[str, Result], left: Sequence[str]) -> list[Part]:
    failed = [[row.key, results[row.key]["failure"]] for row in rows if "failure" in results.get(row.key, {})]
    tables = []
    if failed:
        tables.append(Table(title="Failed", columns=["row", "reason"], rows=failed, is_wide=True))
    if left:
        tables.append(Table(title="Not run", columns=["row"], rows=[[key] for key in left]))
    return [Part(title="Rows without figures", tables=tables)] if tables else []


def _made_with(rows: Mapping[str, list[str]]) -> list[Part]:
    """rows: their keys, by the machine, source and libraries that they were measured with."""
    if len(rows) < 2:
        return []
    made = [[with_what, ", ".join(keys)] for with_what, keys in rows.items()]
    table = Table(title="Rows", columns=["made with", "rows"], rows=made, is_wide=True)
    return [Part(title="What the rows were made with", tables=[table])]


def _interval(estimate: Mapping[str, float] | None) -> Cell:
    return None if estimate is None else Interval(estimate["value"], estimate["low"], estimate["high"])


def _with_interval(estimate: Mapping[str, float] | None) -> Cell:
    if estimate is None:
        return None
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}-{estimate['high']:.3f})"


def _signed(value: float) -> str:
    return f"{value:+.3f}"
