"""The result of one run of a job."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rubricator.flows.jobs.ledger import Figures

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
    rows: Figures  # written in this run, by table
    seconds: float
    composed: int  # notes of this run in the table composed_notes
    notices: list[str] = field(default_factory=list)  # what the reader has to say that is no error

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
        return "\n".join([text, *self.notices])

    def to_json(self) -> dict[str, Any]:
        """Every count, as JSON types."""
        return {**asdict(self), "out": str(self.out)}

    def __rich__(self) -> "Text":
        from rich.text import Text

        return Text(str(self))
