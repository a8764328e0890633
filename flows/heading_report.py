"""The report on the headings of a site: what was found in all notes of an `extract`, and what the lexicon lacks."""

from dataclasses import dataclass
from pathlib import Path

from rubricator.flows.jobs.job import read_manifest
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.lexicon import UNKNOWN, Lexicon, normalise

FEWEST_PATIENTS = 5  # a heading in the notes of fewer patients may be a name: it is not shown
MOST_UNKNOWN = 300  # headings in the report


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
        .head(MOST_UNKNOWN)
        .collect(engine="streaming")
    )
    return [
        UnknownHeading(heading=heading, sections=count, patients=patients)
        for heading, count, patients in frequent.iter_rows()
    ]
