"""Extract: notes in; sections and labelled sentences out, with a report on the headings of the site."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rubricator.flows.home import open_home
from rubricator.flows.jobs.engines import choose_engine
from rubricator.flows.jobs.shards import JobResult, ShardTables, read_manifest, run_job, write_text
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.lexicon import UNKNOWN, Lexicon, normalise
from rubricator.nlp.readers.notes import NoteReader, NoteSettings
from rubricator.nlp.sections.finder import SECTIONS_SCHEMA, SectionFinder
from rubricator.nlp.weak_labels import SENTENCES_SCHEMA, LabelledSentence, WeakLabelSettings, label_note

if TYPE_CHECKING:
    from rich.console import Group

FEWEST_PATIENTS = 5  # a heading in the notes of fewer patients may be a name: it is not shown
HEADINGS_SHOWN = 30


def extract(
    notes: str,
    *,
    out: str,
    positive: Sequence[str] | None = None,
    lexicon: Sequence[str] = (),
    id_column: str | None = None,
    patient_column: str | None = None,
    text_column: str | None = None,
    codes_column: str | None = None,
    workers: int | None = None,
    shard_size: int | None = None,
    engine: str = "local",
    home: str | None = None,
) -> "Extracted":
    """Find the sections and sentences of all notes that the folder `out` does not hold yet.

    notes: file, folder or glob. positive: the categories whose sentences are labelled 1. lexicon: TOML files
    with more headings. workers: processes, by default one a core. shard_size: notes a shard. engine: "local"
    or "dask". Offsets point into the note as given; of a FHIR Composition, into its text in `out`/composed_notes.
    Raises NoteFormatError, LexiconError, LabelError, JobError (with its kinds) and SafeError.
    """
    open_home(home)
    step = ExtractStep(
        positive=tuple(sorted(WeakLabelSettings().positive if positive is None else positive)),
        lexicon=tuple(str(Path(file).absolute()) for file in lexicon),
    )
    step.prepare()  # a fault of the lexicon or the categories shows here, not in a worker
    columns = NoteSettings(
        id_column=id_column, patient_column=patient_column, text_column=text_column, codes_column=codes_column
    )
    job = run_job(
        step,
        lambda on_dead_letter: NoteReader(notes, columns, on_dead_letter=on_dead_letter),
        Path(out),
        engine=choose_engine(engine, workers),
        source=notes,
        shard_size=shard_size,
    )
    report = report_headings(job.out, Lexicon.load(*map(Path, step.lexicon)))
    write_text(job.out / "report.json", json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n")
    return Extracted(job, report, tuple(lexicon))


@hides_text()
@dataclass(frozen=True, kw_only=True)
class UnknownHeading:
    """A heading that the lexicon lacks, normalised."""

    heading: str
    sections: int
    patients: int


@dataclass(frozen=True, kw_only=True)
class HeadingReport:
    """What was found in all notes of a folder: counts by category, by label, by reason."""

    notes: int
    notes_without_headings: int
    sections: dict[str, int]
    notes_with: dict[str, int]
    sentences: dict[str, int]
    rejected: dict[str, int]
    unknown_headings: list[UnknownHeading]


@dataclass(frozen=True)
class Extracted:
    """What one run did, and the report on all notes of the folder. lexicon: the user's files."""

    job: JobResult
    report: HeadingReport
    lexicon: tuple[str, ...] = ()

    def __rich__(self) -> "Group":
        from rich.columns import Columns
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        report = self.report

        def table(title: str, *columns: str) -> Table:
            made = Table(title=title, title_justify="left")
            for index, column in enumerate(columns):
                made.add_column(column, justify="right" if index else "left")
            return made

        categories = table(
            f"Sections in {report.notes:,} notes, {report.notes_without_headings:,} without headings",
            *("category", "sections", "notes"),
        )
        for category, count in report.sections.items():
            categories.add_row(category, f"{count:,}", f"{report.notes_with[category]:,}")
        labels = table("Sentences", "label", "sentences")
        for label, count in report.sentences.items():
            labels.add_row(label, f"{count:,}")
        rejected = table("Headings not taken", "reason", "times")
        for reason, count in report.rejected.items():
            rejected.add_row(reason, f"{count:,}")
        unknown = table("Most frequent unknown headings", "heading", "sections", "patients")
        for heading in report.unknown_headings[:HEADINGS_SHOWN]:
            unknown.add_row(heading.heading, f"{heading.sections:,}", f"{heading.patients:,}")
        tables = [categories, labels, *([rejected] * bool(report.rejected))]
        advice = []
        if report.unknown_headings:
            tables.append(unknown)
            where = (
                f"{' or '.join(self.lexicon)}, and run again with another --out"
                if self.lexicon
                else "a TOML file and give it with --lexicon"
            )
            # no caption of the table, which would break a path in pieces
            advice.append(Text(f"Unknown headings: name their categories in {where}"))
        return Group(Columns(tables), *advice, str(self.job))


@dataclass(frozen=True, kw_only=True)
class ExtractStep:
    """The work of `extract`. lexicon: absolute paths."""

    positive: tuple[str, ...]
    lexicon: tuple[str, ...]

    name = "extract"
    schemas = {"sections": SECTIONS_SCHEMA, "sentences": SENTENCES_SCHEMA}  # noqa: RUF012

    @property
    def settings(self) -> dict[str, Any]:
        return {"positive": list(self.positive), "lexicon": lexicon_digests(self.lexicon)}

    @property
    def made_by(self) -> dict[str, str]:
        return {"rubricator": version("rubricator")}

    def prepare(self) -> Callable[[pa.Table], ShardTables]:
        lexicon = Lexicon.load(*map(Path, self.lexicon))
        labels = WeakLabelSettings(positive=frozenset(self.positive))
        labels.labels(lexicon)
        return _Extraction(lexicon, labels)


class _Extraction:
    def __init__(self, lexicon: Lexicon, labels: WeakLabelSettings) -> None:
        self.lexicon = lexicon
        self.labels = labels
        self.finder = SectionFinder(lexicon)

    def __call__(self, notes: pa.Table) -> ShardTables:
        figures: Counter[str] = Counter()
        sections, section_counts = [], []
        sentences: list[LabelledSentence] = []
        sentence_counts = []
        for text in notes["text"].to_pylist():
            found, rejected = self.finder.find_with_rejected(text)
            labelled = label_note(text, found, self.labels, self.lexicon)
            sections += found
            section_counts.append(len(found))
            sentences += labelled
            sentence_counts.append(len(labelled))
            figures.update(f"notes_with/{category}" for category in {section.category for section in found})
            figures.update(f"rejected/{heading.reason}" for heading in rejected)
            figures["notes_without_headings"] += not found
        figures.update(f"sections/{section.category}" for section in sections)
        figures.update(f"sentences/{_LABELS[sentence.label]}" for sentence in sentences)
        tables = {
            "sections": _table(SECTIONS_SCHEMA, notes, section_counts, sections),
            "sentences": _table(SENTENCES_SCHEMA, notes, sentence_counts, sentences),
        }
        return ShardTables(tables, dict(figures))


_LABELS = {1: "positive", 0: "negative", None: "unlabelled"}


def _table(schema: pa.Schema, notes: pa.Table, counts: Sequence[int], rows: Sequence[object]) -> pa.Table:
    """Columns of the notes, each value repeated `counts` times, beside attributes of the rows."""
    of_note = pa.array(np.repeat(np.arange(len(counts)), counts))
    columns = [
        notes[field.name].take(of_note).combine_chunks()
        if field.name in ("note_id", "patient_id")
        else pa.array([getattr(row, field.name) for row in rows], field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def lexicon_digests(files: Sequence[str]) -> dict[str, str]:
    """sha256 of each lexicon file by its name: tables of an edited lexicon are tables of another one."""
    return {Path(file).name: hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files}


def report_headings(out: Path, lexicon: Lexicon) -> HeadingReport:
    """The report on all notes in the folder of an `extract`, which was made with this lexicon.

    Raises JobError where it is no such folder.
    """
    manifest = read_manifest(out)
    figures: dict[str, int] = manifest["figures"]

    def counts(prefix: str) -> dict[str, int]:
        found = {
            key.split("/", 1)[1]: count for key, count in figures.items() if key.startswith(f"{prefix}/")
        }
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    return HeadingReport(
        notes=manifest["notes"],
        notes_without_headings=figures.get("notes_without_headings", 0),
        sections=counts("sections"),
        notes_with=counts("notes_with"),
        sentences=counts("sentences"),
        rejected=counts("rejected"),
        unknown_headings=_unknown_headings(out, [shard["file"] for shard in manifest["shards"]], lexicon),
    )


def _unknown_headings(out: Path, files: list[str], lexicon: Lexicon) -> list[UnknownHeading]:
    """Headings that the lexicon lacks, of enough patients to be no name, the most frequent first.

    Not those that the user's files name, whatever refused them: to name them once more would change nothing.
    """
    import polars as pl

    if not files:
        return []
    sections = (
        pl.scan_parquet([out / "sections" / file for file in files])
        .filter(pl.col("category") == UNKNOWN)
        .select("note_id", pl.col("heading").str.to_lowercase())
    )
    found = sections.select(pl.col("heading").unique()).collect(engine="streaming")["heading"].to_list()
    raw = [heading for heading in found if not lexicon.is_named(heading)]
    normalised = pl.LazyFrame(
        {"heading": raw, "normalised": [normalise(heading) for heading in raw]},
        schema={"heading": pl.String, "normalised": pl.String},
    )
    patients = (
        pl.scan_parquet([out / "sentences" / file for file in files]).select("note_id", "patient_id").unique()
    )
    frequent = (
        sections.join(normalised, on="heading")
        .filter(pl.col("normalised") != "")
        .join(patients, on="note_id")
        .group_by("normalised")
        .agg(sections=pl.len(), patients=pl.col("patient_id").n_unique())
        .filter(pl.col("patients") >= FEWEST_PATIENTS)
        .sort("sections", "normalised", descending=[True, False])
        .head(10 * HEADINGS_SHOWN)
        .collect(engine="streaming")
    )
    return [
        UnknownHeading(heading=heading, sections=count, patients=patients)
        for heading, count, patients in frequent.iter_rows()
    ]
