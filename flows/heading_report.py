"""The report on the headings of a site: counts over the notes of an `extract`, and headings that the lexicon lacks."""

from dataclasses import dataclass
from pathlib import Path

from rubricator.flows.jobs.job import read_manifest
from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.lexicon.lexicon import UNKNOWN, Lexicon, normalise

FEWEST_PATIENTS = 5  # a heading in the notes of fewer patients may be a person's name: it is not shown
MOST_UNKNOWN = 300  # headings in the report


@hides_text()
@dataclass(frozen=True, kw_only=True)
class UnknownHeading:
    """A heading that the lexicon lacks, normalised. sections, patients: how many have it."""

    heading: str
    sections: int
    patients: int


@dataclass(frozen=True, kw_only=True)
class HeadingReport:
    """Counts over all notes of a folder.

    sections, notes_with: by category. sentences: by weak label. rejected: headings that were not taken, by reason.
    """

    notes: int
    notes_without_headings: int
    sections: dict[str, int]
    notes_with: dict[str, int]
    sentences: dict[str, int]
    rejected: dict[str, int]
    unknown_headings: list[UnknownHeading]


def report_headings(out: Path, lexicon: Lexicon) -> HeadingReport:
    """The report on all notes in the folder of an `extract`.

    lexicon: the one that `extract` used. Raises JobError where the folder is not that of a job.
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
    """Headings that the lexicon lacks and that notes of FEWEST_PATIENTS or more have, the most frequent first.

    Headings that the user's own files name are left out, even if a rule rejected them: adding them again would change
    nothing.
    """
    import polars as pl

    if not files:
        return []
    sections = (
        pl.scan_parquet([out / "sections" / file for file in files], glob=False)
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
        pl.scan_parquet([out / "sentences" / file for file in files], glob=False)
        .select("note_id", "patient_id")
        .unique()
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
