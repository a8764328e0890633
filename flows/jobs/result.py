"""The result of one run of a job."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rubricator.flows.jobs.ledger import Figures, JobError

if TYPE_CHECKING:
    from rich.text import Text

COMPOSED_NOTES = "composed_notes"  # not "notes": a folder of that name beside the tables may be the user's


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What one run of a job did."""

    step: str
    out: Path
    notes: int  # done in this run
    skipped: int  # done before
    dead_letters: int  # in the folder, of all runs: not readable, or failed
    unusable: int  # of these, the ones of this run
    rows: Figures  # written in this run, by table
    seconds: float
    composed: int  # notes of this run in the table composed_notes
    notices: tuple[str, ...] = ()  # what the reader decided and left out

    def __str__(self) -> str:
        if self.notes:
            rows = ", ".join(f"{count:,} {table}" for table, count in self.rows.items())
            text = f"{self.notes:,} notes in {self.seconds:.1f} s: {rows}"
            text += f"; {self.skipped:,} were done before" if self.skipped else ""
        else:
            text = (
                f"nothing to do: all {self.skipped:,} notes are done" if self.skipped else "no note was done"
            )
        if self.composed:
            text += f"; the composed texts of {self.composed:,} are in {self.out / COMPOSED_NOTES}"
        if self.dead_letters:
            text += f"; {self.dead_letters:,} could not be used, see {self.out / 'dead_letters.jsonl'}"
        return "\n".join([*self.notices, text])

    def to_json(self) -> dict[str, Any]:
        """Every count, as JSON types."""
        return {**asdict(self), "out": str(self.out), "notices": list(self.notices)}

    def __rich__(self) -> "Text":
        from rich.text import Text

        return Text(str(self))


class DeadLettersError(JobError):
    """Too many notes could not be used, or none was there. result: of the step, whose tables are complete."""

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


def check_dead_letters(job: JobResult, most: str, result: Any, *, see: str | None = None) -> None:
    """Raises DeadLettersError if a job did no note, or if more notes than `most` could not be used.

    most: as for `check_unusable`. result: for the error. see: where the reasons are, by default in the job's folder.
    """
    see = see or f"see {job.out / 'dead_letters.jsonl'}; the tables hold the others"
    check_unusable(job.notes + job.skipped, job.unusable, most, see=see, result=result)


def check_unusable(used: int, unusable: int, most: str, *, see: str, result: Any = None) -> None:
    """Raises DeadLettersError if no note was used, or if more than `most` could not be.

    most: a number ("20"), or a share of all notes ("0.05", "5%"). "100%" allows everything. see: where the reasons are.
    """
    if most == EVERYTHING:
        return
    if not used:
        what = (
            f"none of {unusable:,} notes could be used: {see}"
            if unusable
            else "there was no note: look at what was given as notes"
        )
        raise DeadLettersError(what, result)
    if unusable > most_dead_letters(most, used + unusable):
        raise DeadLettersError(
            f"{unusable:,} of {used + unusable:,} notes could not be used, and {most} may fail: {see}", result
        )


def most_dead_letters(most: str, notes: int) -> float:
    """How many of these notes may be unusable."""
    if most.endswith("%"):
        return float(most[:-1]) / 100 * notes
    return float(most) * notes if "." in most else int(most)


EVERYTHING = "100%"
