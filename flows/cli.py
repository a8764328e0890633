"""The command line. Everything heavy is imported inside the commands, so that --help answers at once."""

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rubricator.nlp.errors import RubricatorError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Headed sections of clinical notes as weak labels; classifiers for plans and ICD codes, with evidence.",
    epilog="State lives under --home (default ./.rubricator, or RUBRICATOR_HOME). Start with: `rubricator demo`",
)


class Task(StrEnum):
    """What is learnt: sentences that state a plan, or the codes of notes."""

    PLAN = "plan"
    CODES = "codes"


class Engine(StrEnum):
    """Where shards are worked on."""

    LOCAL = "local"
    DASK = "dask"


COLUMNS = "Columns of the notes (guessed where not given)"
Notes = Annotated[
    str,
    typer.Argument(
        metavar="NOTES",
        help="File, folder or glob of .parquet .csv .tsv .jsonl .ndjson (also .gz .zst), a folder of .txt, "
        "a FHIR R4 bulk export, or a MIMIC-III or MIMIC-IV folder.",
    ),
]
ModelName = Annotated[
    str,
    typer.Option("--model", help="NAME (its champion), NAME@ALIAS, NAME/VERSION, an MLflow URI or ./FOLDER."),
]
Out = Annotated[
    Path, typer.Option(help="Folder of the tables. The same command again goes on where it stopped.")
]
Home = Annotated[
    Path | None, typer.Option(help="Folder of the state: databases, models.  [default: ./.rubricator]")
]
NoPrefect = Annotated[
    bool, typer.Option("--no-prefect", help="Call the same function without a Prefect flow run.")
]
IdColumn = Annotated[str | None, typer.Option(help="Note ids.", rich_help_panel=COLUMNS)]
PatientColumn = Annotated[str | None, typer.Option(help="Patient ids.", rich_help_panel=COLUMNS)]
TextColumn = Annotated[str | None, typer.Option(help="Note text.", rich_help_panel=COLUMNS)]
CodesColumn = Annotated[str | None, typer.Option(help="Codes of the note.", rich_help_panel=COLUMNS)]
EvidenceColumn = Annotated[
    str | None,
    typer.Option(
        help="Spans that codes were given for (never guessed): list of objects with code, and start and end or spans.",
        rich_help_panel=COLUMNS,
    ),
]
Lexicon = Annotated[
    list[Path] | None, typer.Option(help="TOML file with headings of your site; may be given several times.")
]
Positive = Annotated[
    list[str] | None,
    typer.Option(
        help="Section category whose sentences are positive; may be given several times.  [default: plan-wide]"
    ),
]
Report = Annotated[Path | None, typer.Option(help="JSON file for every figure.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes.  [default: one a core]")]
ShardSize = Annotated[int | None, typer.Option(min=1, help="Notes a shard.  [default: 15 seconds of work]")]
EngineName = Annotated[Engine, typer.Option("--engine", help="Processes of this machine, or a Dask cluster.")]


@app.command(epilog="Example: `rubricator demo --notes 600 --home demo`")
def demo(
    notes: Annotated[int, typer.Option(min=100, help="Synthetic notes to train on.")] = 600,
    seed: Annotated[int, typer.Option(help="Another seed, another corpus.")] = 0,
    home: Home = None,
    no_prefect: NoPrefect = False,
) -> None:
    """Run the whole pipeline on a synthetic corpus, offline, and write a report to look at."""
    from rubricator.flows.demo.demo import demo as step

    _run(step, home=home, no_prefect=no_prefect, notes=notes, seed=seed)


@app.command(epilog="Example: `rubricator extract notes/ --out tables --lexicon our-headings.toml`")
def extract(
    notes: Notes,
    out: Out,
    positive: Positive = None,
    lexicon: Lexicon = None,
    id_column: IdColumn = None,
    patient_column: PatientColumn = None,
    text_column: TextColumn = None,
    codes_column: CodesColumn = None,
    workers: Workers = None,
    shard_size: ShardSize = None,
    engine: EngineName = Engine.LOCAL,
    home: Home = None,
    no_prefect: NoPrefect = False,
) -> None:
    """Find the headed sections and the sentences of notes, labelled by the section they stand under."""
    from rubricator.flows.extract import extract as step

    _run(
        step,
        home=home,
        no_prefect=no_prefect,
        notes=notes,
        out=str(out),
        positive=positive,
        lexicon=_paths(lexicon),
        id_column=id_column,
        patient_column=patient_column,
        text_column=text_column,
        codes_column=codes_column,
        workers=workers,
        shard_size=shard_size,
        engine=engine.value,
    )


@app.command(
    epilog="Example: `rubricator train codes coded-notes.parquet --name icd-codes --report figures.json`"
)
def train(
    task: Annotated[Task, typer.Argument(help="Sentences under plan headings, or notes with their codes.")],
    notes: Notes,
    model: Annotated[
        str, typer.Option(help="svm, cnn, transformer, ensemble, stacked (plan) or mentions (codes).")
    ] = "svm",
    setting: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A setting of the classifier, encoder=minilm say; may be given several times. A wrong one lists all.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Registry name.  [default: plan-sentences or icd-codes]")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation, by patient.")] = 10,
    positive: Positive = None,
    lexicon: Lexicon = None,
    exclude: Annotated[
        Path | None,
        typer.Option(help="JSON lines with a note_id each: notes to leave out, with near duplicates."),
    ] = None,
    top_labels: Annotated[int | None, typer.Option(min=1, help="Only the N most frequent codes.")] = None,
    code_table: Annotated[
        Path | None,
        typer.Option(
            help="Your codes with their names, as CSV, TSV or JSON lines: all of them may be predicted."
        ),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of each interval.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of folds and resamples.")] = 0,
    report: Report = None,
    id_column: IdColumn = None,
    patient_column: PatientColumn = None,
    text_column: TextColumn = None,
    codes_column: CodesColumn = None,
    evidence_column: EvidenceColumn = None,
    home: Home = None,
    no_prefect: NoPrefect = False,
) -> None:
    """Train and cross-validate a classifier, and register it as the challenger of its name."""
    from rubricator.flows.train import train as step

    _run(
        step,
        home=home,
        no_prefect=no_prefect,
        task=task.value,
        notes=notes,
        model=model,
        setting=setting,
        name=name,
        folds=folds,
        positive=positive,
        lexicon=_paths(lexicon),
        exclude=_path(exclude),
        top_labels=top_labels,
        code_table=_path(code_table),
        bootstrap=bootstrap,
        seed=seed,
        report=_path(report),
        id_column=id_column,
        patient_column=patient_column,
        text_column=text_column,
        codes_column=codes_column,
        evidence_column=evidence_column,
    )


@app.command(
    epilog="Example: `rubricator evaluate plan-sentences@challenger notes.jsonl --annotations gold.jsonl`"
)
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As --model of `rubricator predict`.")],
    notes: Notes,
    annotations: Annotated[
        Path | None,
        typer.Option(help="JSON lines of note_id and units [[start, end, 0 or 1], …]: score these units."),
    ] = None,
    lexicon: Lexicon = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of each interval.")] = 1000,
    report: Report = None,
    id_column: IdColumn = None,
    patient_column: PatientColumn = None,
    text_column: TextColumn = None,
    codes_column: CodesColumn = None,
    home: Home = None,
) -> None:
    """Score a model on notes it was not trained on: by their codes, their headings, or annotated units."""
    from rubricator.flows.evaluate import evaluate as step

    _run(
        step,
        home=home,
        no_prefect=True,
        model=model,
        notes=notes,
        annotations=_path(annotations),
        lexicon=_paths(lexicon),
        bootstrap=bootstrap,
        report=_path(report),
        id_column=id_column,
        patient_column=patient_column,
        text_column=text_column,
        codes_column=codes_column,
    )


@app.command(epilog="Example: `rubricator predict new-notes/ --model icd-codes --out predicted --top-k 10`")
def predict(
    notes: Notes,
    model: ModelName,
    out: Out,
    top_k: Annotated[int | None, typer.Option(min=1, help="Keep the N best labels of a unit.")] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Leave out rows under it; 0 keeps all.  [default: the decision threshold]"
        ),
    ] = None,
    lexicon: Lexicon = None,
    id_column: IdColumn = None,
    patient_column: PatientColumn = None,
    text_column: TextColumn = None,
    codes_column: CodesColumn = None,
    workers: Workers = None,
    shard_size: ShardSize = None,
    engine: EngineName = Engine.LOCAL,
    home: Home = None,
    no_prefect: NoPrefect = False,
) -> None:
    """Find plan sentences or assign codes in notes, with probability and evidence, by a registered model."""
    from rubricator.flows.predict import predict as step

    _run(
        step,
        home=home,
        no_prefect=no_prefect,
        notes=notes,
        model=model,
        out=str(out),
        top_k=top_k,
        min_probability=min_probability,
        lexicon=_paths(lexicon),
        id_column=id_column,
        patient_column=patient_column,
        text_column=text_column,
        codes_column=codes_column,
        workers=workers,
        shard_size=shard_size,
        engine=engine.value,
    )


@app.command(epilog="Example: `rubricator benchmark data/ --out benchmark --only cmc --models svm,majority`")
def benchmark(
    *,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="Folder of the corpora; one that is not there is left out."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the report and of every result. Run again, it goes on where it stopped."
        ),
    ],
    only: Annotated[
        str | None, typer.Option(help="Protocols, by how their names start, with commas: plan,cmc.")
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(help="Models, by how their names start, with commas: svm,cnn.  [default: all]"),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A smoke run of few notes, folds and epochs, into OUT/quick; its figures mean nothing.",
        ),
    ] = False,
    mimic3: Annotated[Path | None, typer.Option(help="Folder with the tables of MIMIC-III.")] = None,
    mimic4: Annotated[Path | None, typer.Option(help="Folder with the tables of MIMIC-IV.")] = None,
    splits: Annotated[
        Path | None,
        typer.Option(help="Folder with the public split files of MIMIC.  [default: parts are drawn anew]"),
    ] = None,
) -> None:
    """Measure every model and baseline on every corpus, and write one report: figures, tests, costs, plots."""
    from rubricator.flows.benchmark.benchmark import benchmark as step
    from rubricator.flows.run import guarded

    _print(
        guarded(step)(
            _path(data),
            out=str(out),
            only=_names(only),
            models=_names(models),
            quick=quick,
            mimic3=_path(mimic3),
            mimic4=_path(mimic4),
            splits=_path(splits),
        )
    )


@app.command(epilog="Example: `rubricator promote icd-codes --version 3`")
def promote(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Registry name.")],
    version: Annotated[int, typer.Option(min=1, help="The version that is to be champion.")],
    margin: Annotated[
        float, typer.Option(min=0, help="Loss of micro-F1 that still counts as not worse.")
    ] = 0.01,
    home: Home = None,
    no_prefect: NoPrefect = False,
) -> None:
    """Make a challenger the champion, only if it is not worse on the notes both were held out from."""
    from rubricator.flows.promote import promote as step

    _run(step, home=home, no_prefect=no_prefect, name=name, version=version, margin=margin)


@app.command(
    epilog="Example: `rubricator explain notes.csv --note-id 17 --model icd-codes --out note-17.html`"
)
def explain(
    notes: Notes,
    note_id: Annotated[str, typer.Option(help="The note to show.")],
    model: Annotated[
        list[str],
        typer.Option(help="As for `rubricator predict`; may be given twice, for plans and for codes."),
    ],
    out: Annotated[Path, typer.Option(help="HTML file; it holds the note's text.")],
    lexicon: Lexicon = None,
    id_column: IdColumn = None,
    patient_column: PatientColumn = None,
    text_column: TextColumn = None,
    codes_column: CodesColumn = None,
    home: Home = None,
) -> None:
    """Write one note as a page with its sections, the model's predictions and their evidence marked."""
    from rubricator.flows.explain import explain as step

    _run(
        step,
        home=home,
        no_prefect=True,
        notes=notes,
        note_id=note_id,
        model=model,
        out=str(out),
        lexicon=_paths(lexicon),
        id_column=id_column,
        patient_column=patient_column,
        text_column=text_column,
        codes_column=codes_column,
    )


@app.command(epilog="Example: `rubricator schedule --config schedule.toml`")
def schedule(
    config: Annotated[Path, typer.Option(help="TOML file: what runs when.")] = Path("schedule.toml"),
    home: Home = None,
) -> None:
    """Serve extract, train and predict on their cron schedules from this process, until it is stopped."""
    from rubricator.flows.schedule import schedule as step

    step(str(config), home=_path(home))


def main() -> None:
    """Run the command line. Our own errors end in one message and exit code 2, without a traceback."""
    try:
        app()
    except RubricatorError as error:
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True, soft_wrap=True).print(Text("error: ", style="bold red") + Text(str(error)))
        sys.exit(2)


def _run(step: Callable[..., Any], *, home: Path | None, no_prefect: bool, **parameters: Any) -> None:
    """Run a step and print its result; options that were not given keep the step's own default."""
    from rich.console import Console

    from rubricator.flows.run import run

    given = {name: value for name, value in parameters.items() if value is not None}
    if not no_prefect and "PREFECT_API_URL" not in os.environ:
        Console(stderr=True).print(
            "[dim]starting Prefect for this run (20 s the first time; --no-prefect does without)[/]"
        )
    _print(run(step, home=_path(home), use_prefect=not no_prefect, **given))


def _print(result: Any) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width to fit tables into
    console.print(result, crop=False)


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _names(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def _paths(paths: list[Path] | None) -> list[str] | None:
    return [str(path) for path in paths] if paths else None


if __name__ == "__main__":
    main()
