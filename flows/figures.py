"""What training and evaluation share: reading notes with progress and counts of unused ones; tables of figures."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rubricator.flows.progress import Progress
from rubricator.flows.run import is_interrupt
from rubricator.nlp.errors import RubricatorError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table
    from rich.text import Text

    from rubricator.models.scores.evaluation import Evaluation
    from rubricator.nlp.readers.files import DeadLetter
    from rubricator.nlp.readers.tables import NoteSettings

FAILED_SHOWN = 10  # ids of failed notes in the summary; a report lists all
OF_SEVERAL_LABELS = ("macro_", "map", "exact_match")  # redundant where there is one label


class ReportError(RubricatorError):
    """The report file cannot be written. argument: the parameter that names it."""

    def __init__(self, message: str, argument: str = "report") -> None:
        super().__init__(message)
        self.argument = argument


def check_report(
    report: str | None,
    *,
    notes: str | None = None,
    suffix: str | None = ".json",
    argument: str = "report",
) -> None:
    """Make the folder of the report before the work starts, and check that the report can be written there.

    A file that is there is replaced only if it has the suffix of such a report and is none of the notes. suffix: None
    replaces nothing. notes: as the user named them. argument: the parameter that names the report. Raises ReportError.
    """
    if not report:
        return
    file = Path(report).absolute()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() and notes and _is_of_notes(file, notes):
            problem = "it is one of the notes; give another file"
        elif file.is_file() and file.suffix.lower() != suffix:
            replaced = f", and is no {suffix} file to replace" if suffix else ""
            problem = f"a file of this name is there{replaced}; give another name"
        elif file.is_dir():
            problem = "it is a folder; give a file in it"
        elif not os.access(file.parent, os.W_OK):
            problem = f"the folder {file.parent} is not writable; give a file in another one"
        else:
            return
    except OSError as error:
        problem = f"its folder cannot be made ({error.strerror}); give a file in another one"
    raise ReportError(f"the file {report}: {problem}", argument)


def _is_of_notes(file: Path, notes: str) -> bool:
    from rubricator.nlp.readers.notes import matching

    named = [Path(notes).expanduser(), *matching(str(Path(notes).expanduser()))]
    return any(
        each.exists() and (each.samefile(file) or each.resolve() == file.parent.resolve()) for each in named
    )


class CountedNotes:
    """The batches of a NoteReader, with a progress bar. codes: whether to read the codes of the notes.

    dead_letters: how many notes were not used, by reason. failed_notes: the name of the exception that a note raised,
    by note_id. max_dead_letters: after the last batch, DeadLettersError is raised if there are more.
    """

    def __init__(
        self,
        notes: str | None,
        columns: "NoteSettings",
        progress: Progress,
        *,
        codes: bool,
        max_dead_letters: str | None = None,
    ) -> None:
        from rubricator.nlp.readers.notes import NoteReader

        self.dead_letters: Counter[str] = Counter()
        self.failed_notes: dict[str, str] = {}
        self._most = max_dead_letters
        self._reader = NoteReader(notes, columns, on_dead_letter=self._count, codes=codes)
        self._progress = progress

    def __iter__(self) -> "Iterator[pa.RecordBatch]":
        read = 0
        for batch in self._reader:
            read += batch.num_rows
            self._progress.show(self._reader.fraction_read, f"{read:,} notes read")
            yield batch
        if self._most is not None:
            self._check_dead_letters(self._most, read)

    def _check_dead_letters(self, most: str, read: int) -> None:
        from rubricator.flows.jobs.result import check_unusable

        reasons = ", ".join(f"{count:,} ({reason})" for reason, count in self.dead_letters.items())
        check_unusable(read - len(self.failed_notes), self.dead_letters.total(), most, see=reasons)

    @property
    def notices(self) -> tuple[str, ...]:
        """What the reader decided and left out; complete when all notes are read."""
        return tuple(self._reader.notices)

    def failed(self, note_id: str, error: BaseException) -> None:
        """Count a note that raised an exception, without the message, which may quote it. Re-raises an interrupt."""
        if is_interrupt(error):
            raise error
        self.failed_notes[note_id] = type(error).__name__
        self.dead_letters[f"failed: {type(error).__name__}"] += 1

    def compared(self, done: int, count: int) -> None:
        """Show how many notes were compared for near duplicates."""
        self._progress.show(done / count, f"{done:,} of {count:,} notes compared for near duplicates")

    def _count(self, dead_letter: "DeadLetter") -> None:
        self.dead_letters[dead_letter.reason] += 1


def figures_table(title: str, evaluations: Mapping[str, "Evaluation"]) -> "Table":
    """One row per figure, one column per evaluation, with 95 % intervals."""
    from rich.table import Table

    columns = [{row[0]: row[1:] for row in scores.rows()} for scores in evaluations.values()]
    has_intervals = any(interval for column in columns for _, interval in column.values())
    table = Table("figure", title=title, title_justify="left")
    if has_intervals:
        table.caption = "95 % intervals: bootstrap over groups"
    for name in evaluations:
        table.add_column(name, justify="right")
    one_label = all(scores.counts["labels"] == 1 for scores in evaluations.values())
    for figure in dict.fromkeys(figure for column in columns for figure in column):
        if one_label and figure.startswith(OF_SEVERAL_LABELS):
            continue
        cells = [column.get(figure, ("", "")) for column in columns]
        table.add_row(figure, *(f"{value} ({interval})" if interval else value for value, interval in cells))
    return table


def buckets_table(evaluation: "Evaluation") -> "Table":
    """One row per bucket of labels: those with a similar number of positives in training."""
    from rich.table import Table

    names = ("micro_f1", "macro_f1", "recall_at_15")
    table = Table("positives in training", title="Rare and frequent labels", title_justify="left")
    for name in ("labels", "true here", *names):
        table.add_column(name, justify="right")
    for bucket, scores in evaluation.buckets.items():
        cells = [scores.metrics.get(name) for name in names]
        figures = (f"{each.value:.3f} ({each.low:.3f}-{each.high:.3f})" if each else "" for each in cells)
        table.add_row(bucket, f"{scores.labels:,}", f"{scores.positives:,}", *figures)
    return table


def noted(notices: Sequence[str]) -> "list[Text]":
    """Each notice as a line."""
    from rich.text import Text

    return [Text(f"note: {notice}") for notice in notices]


def counts_line(
    counts: Mapping[str, int],
    dead_letters: Mapping[str, int],
    failed_notes: Collection[str] = (),
) -> str:
    """What was read, what could not be used and why, and the ids of notes that raised an exception."""
    line = "read: " + ", ".join(f"{count:,} {what}" for what, count in counts.items())
    if dead_letters:
        line += "; not used: " + ", ".join(f"{count:,} ({reason})" for reason, count in dead_letters.items())
    if failed_notes:
        more = len(failed_notes) - FAILED_SHOWN
        line += "; failed: " + ", ".join(list(failed_notes)[:FAILED_SHOWN])
        line += f" and {more:,} more" if more > 0 else ""
    return line
