"""One HTML file that shows what a run did: tables, plots, and notes with what was found in them marked.

The file is complete: styles and plots are inside it, it has no script and no links to other addresses. If it
holds note text, it says so at its top. Only its owner may read it.
"""

import base64
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rubricator.nlp.hidden_text import hides_text

if TYPE_CHECKING:
    import rich.table
    from jinja2 import Template

# Colours of the marked sections: categories in groups, because forty colours cannot be told apart.
SECTION_GROUPS: dict[str, tuple[str, ...]] = {
    "plan": (
        "plan", "recommendations", "goals", "follow_up", "disposition", "discharge_instructions",
        "patient_instructions", "discharge_medications",
    ),
    "assessment": (
        "assessment", "assessment_and_plan", "impression", "diagnosis", "discharge_diagnosis", "problem_list",
        "preoperative_diagnosis", "postoperative_diagnosis",
    ),
    "history": (
        "chief_complaint", "reason_for_visit", "history_of_present_illness", "interval_history", "subjective",
        "past_medical_history", "past_surgical_history", "family_history", "social_history", "allergies",
        "medications", "immunizations", "review_of_systems", "indication",
    ),
    "examination": (
        "objective", "vital_signs", "physical_exam", "mental_status_exam", "results", "imaging", "findings",
        "specimens",
    ),
    "course": ("hospital_course", "procedure", "anesthesia", "complications", "estimated_blood_loss"),
}  # fmt: skip
_GROUP_OF = {category: group for group, members in SECTION_GROUPS.items() for category in members}
_UNDERLINES = 6  # colours for the evidence of codes; the seventh code has the first colour again


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure between 0 and 1 with its confidence interval; shown as a number and a bar."""

    value: float
    low: float
    high: float


Cell = str | int | float | Interval | None


@hides_text("title")
@dataclass(frozen=True, kw_only=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    remark: str = ""
    is_wide: bool = False

    @property
    def are_numbers(self) -> list[bool]:
        """Whether each column holds numbers, which are aligned to the right."""
        return [
            any(isinstance(cell, int | float) for cell in column) for column in zip(*self.rows, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class Plot:
    title: str
    png: bytes
    name: str = ""  # of its file, for Markdown

    @property
    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@hides_text("title")
@dataclass(frozen=True, kw_only=True)
class Part:
    """A chapter of the report."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()


@dataclass(frozen=True, slots=True)
class MarkedSection:
    category: str
    heading_start: int
    heading_end: int
    body_start: int
    body_end: int


@dataclass(frozen=True, slots=True)
class MarkedSentence:
    """A predicted sentence; `decision` is "accept" or "review". by: the model, where there are several."""

    start: int
    end: int
    label: str
    probability: float
    decision: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class MarkedCode:
    """A predicted code; evidence as (start, end, weight) in the note, strongest first.

    by: the model, where there are several.
    """

    code: str
    description: str | None
    probability: float
    decision: str
    evidence: Sequence[tuple[int, int, float]]
    warnings: Sequence[str] = ()
    by: str = ""


@hides_text("note_id")
@dataclass(frozen=True, kw_only=True)
class MarkedNote:
    """A note with what was found in it; every offset is a half-open Python string offset into `text`.

    known_codes: its true codes, to compare with; None where they are not known.
    """

    note_id: str
    text: str
    about: str = ""  # one line under its id
    sections: Sequence[MarkedSection] = ()
    sentences: Sequence[MarkedSentence] = ()
    codes: Sequence[MarkedCode] | None = None  # None: no model of whole notes was applied
    known_codes: Sequence[str] | None = None


@hides_text("title")
@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything a report shows, in order: facts as tiles, marked notes, parts, commands to run next."""

    title: str
    subtitle: str = ""
    facts: Sequence[tuple[str, str]] = ()  # (figure, what it is)
    notes_text: str = ""
    notes: Sequence[MarkedNote] = ()
    parts: Sequence[Part] = ()
    commands: Sequence[tuple[str, str]] = ()  # (what for, command)


def write_report(path: Path, data: ReportData) -> None:
    """Write the report; the file is readable by its owner only. The folder is made where it is missing."""
    page = render(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(page)
    new.replace(path)


def render(data: ReportData) -> str:
    """The report as one HTML page."""
    notes = [_shown(note) for note in data.notes]
    return _template().render(data=data, notes=notes, groups=[*SECTION_GROUPS, "other"])


def markdown(data: ReportData, *, plots: Path) -> str:
    """Title, facts and parts of the report as Markdown. plots: folder of the plots, relative to the Markdown file."""
    lines = [f"# {data.title}", "", data.subtitle, ""]
    lines += [f"- {figure} {what}" for figure, what in data.facts]
    for part in data.parts:
        lines += ["", f"## {part.title}", "", *([part.text] if part.text else [])]
        for table in part.tables:
            bars = ["---:" if is_number else "---" for is_number in table.are_numbers]
            lines += ["", f"### {table.title}", ""]
            lines += [_markdown_row(cells) for cells in (table.columns, bars, *table.rows)]
            lines += ["", table.remark] if table.remark else []
        for plot in part.plots:
            lines += ["", f"![{plot.title}]({plots / plot.name})"] if plot.name else []
    return "\n".join(lines) + "\n"


def on_terminal(table: Table) -> "rich.table.Table":
    """The table as Rich shows it."""
    from rich import box
    from rich import table as rich_table

    shown = rich_table.Table(
        title=table.title,
        title_justify="left",
        caption=table.remark or None,
        caption_justify="left",
        box=box.SIMPLE,
        show_header=any(table.columns),
    )
    for column, is_number in zip(table.columns, table.are_numbers, strict=True):
        shown.add_column(column, justify="right" if is_number else "left")
    for row in table.rows:
        shown.add_row(*(_plain(cell) for cell in row))
    return shown


def _markdown_row(cells: Sequence[Cell]) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _plain(cell: Cell) -> str:
    if isinstance(cell, Interval):
        return f"{cell.value:.3f} ({cell.low:.3f}-{cell.high:.3f})"
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else _figure(cell)


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["interval"] = lambda cell: isinstance(cell, Interval)
    environment.filters["figure"] = _figure
    return environment.get_template("report.html")


def mark_note(
    *,
    note_id: str,
    text: str,
    about: str = "",
    sections: Iterable[Mapping[str, Any]] = (),
    sentences: Sequence[Mapping[str, Any]] = (),
    codes: Sequence[Mapping[str, Any]] | None = None,
    known_codes: Sequence[str] | None = None,
) -> MarkedNote:
    """A note with its rows of the sections table, and of the predictions of models of sentences and of codes.

    Left out: rejected predictions; spans of evidence with less than a quarter of the weight of the code's strongest
    span; and all but five spans of a code.
    """
    marked_sentences = [
        MarkedSentence(row["start"], row["end"], row["label"], row["probability"], row["decision"], by)
        for row, by in _with_models(sentences)
        if row["decision"] != "reject"
    ]
    marked_codes = [
        MarkedCode(
            code=row["label"],
            description=row["description"],
            probability=row["probability"],
            decision=row["decision"],
            evidence=_strong([(span["start"], span["end"], span["weight"]) for span in row["evidence"]]),
            warnings=row["warnings"],
            by=by,
        )
        for row, by in _with_models(codes or ())
        if row["decision"] != "reject"
    ]
    marks = [
        MarkedSection(
            row["category"], row["heading_start"], row["heading_end"], row["body_start"], row["body_end"]
        )
        for row in sections
    ]
    return MarkedNote(
        note_id=note_id,
        text=text,
        about=about,
        sections=sorted(marks, key=lambda mark: mark.heading_start),
        sentences=sorted(marked_sentences, key=lambda mark: mark.start),
        codes=None if codes is None else sorted(marked_codes, key=lambda mark: -mark.probability),
        known_codes=known_codes,
    )


def _with_models(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each row, with the model that it is of where the rows are of several."""
    models = ["/".join(filter(None, (row["model"], row["model_version"]))) for row in rows]
    several = len(set(models)) > 1
    yield from ((row, model if several else "") for row, model in zip(rows, models, strict=True))


def _strong(spans: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    strongest = max((weight for *_, weight in spans), default=0.0)
    return [span for span in spans if span[2] >= strongest / 4][:5]


# ---- from offsets to pieces of HTML


@hides_text("classes")
@dataclass(frozen=True)
class _Piece:
    """A piece of text in which no mark begins or ends."""

    text: str
    classes: str
    style: str = ""
    tag: str = ""  # shown after the piece, not part of the text
    category: str = ""  # shown after the end of a heading


@dataclass(frozen=True)
class _Region:
    """A section, or text outside sections; `is_block` if it has lines of its own."""

    category: str
    group: str
    is_block: bool
    pieces: list[_Piece]


@dataclass(frozen=True)
class _ShownNote:
    note: MarkedNote
    regions: list[_Region]
    cards: list["_Card"]
    missed: list[str]


@hides_text()
@dataclass(frozen=True)
class _Card:
    code: MarkedCode
    colour: int
    quotes: list[tuple[str, float]]
    known: bool | None

    @property
    def percent(self) -> str:
        return f"{self.code.probability:.0%}"

    @property
    def probability(self) -> str:
        return _below_one(self.percent, "100%", ">99%")


def _shown(note: MarkedNote) -> _ShownNote:
    regions = [
        _Region(
            category=section.category if section else "",
            group=_GROUP_OF.get(section.category, "other") if section else "other",
            is_block=is_block,
            pieces=_pieces(note, section, start, end),
        )
        for start, end, section, is_block in _stretches(note)
    ]
    known, codes = note.known_codes, note.codes or ()
    cards = [
        _Card(
            code=code,
            colour=number % _UNDERLINES,
            quotes=_quotes(note.text, code),
            known=None if known is None else code.code in known,
        )
        for number, code in enumerate(codes)
    ]
    found = {code.code for code in codes}
    missed = [] if note.codes is None else [code for code in known or () if code not in found]
    return _ShownNote(note, regions, cards, missed)


def _quotes(text: str, code: MarkedCode) -> list[tuple[str, float]]:
    """The texts of the evidence spans with their weights, each text once, strongest first."""
    quotes: dict[str, float] = {}
    for start, end, weight in code.evidence:
        quote = " ".join(text[start:end].split())
        quotes[quote] = max(weight, quotes.get(quote, 0.0))
    return list(quotes.items())[:5]


def _stretches(note: MarkedNote) -> Iterator[tuple[int, int, MarkedSection | None, bool]]:
    """The whole text, cut into sections and the text between them: (start, end, section, has lines of its own)."""
    text, done = note.text, 0
    for section in note.sections:
        line = text.rfind("\n", 0, section.heading_start) + 1
        # markup and enumerators belong to the line of a heading ("## ", "IV. ", "<b>"), a sentence does not
        own_line = done <= line and section.heading_start - line <= 12
        start = line if own_line else max(done, section.heading_start)
        if start > done:
            yield done, start, None, own_line
        gap = _REST_OF_LINE.match(text, max(section.body_end, section.heading_end))
        done = gap.end() if gap else section.body_end
        yield start, done, section, own_line and (done == len(text) or text[done - 1] == "\n")
    if done < len(text):
        yield done, len(text), None, done == 0 or text[done - 1] == "\n"


_REST_OF_LINE = re.compile(r"(?:[^\S\n]*\n)?")


def _pieces(note: MarkedNote, section: MarkedSection | None, start: int, end: int) -> list[_Piece]:
    evidence = [
        (number, begin, stop, weight)
        for number, code in enumerate(note.codes or ())
        for begin, stop, weight in code.evidence
    ]
    strongest = max((weight for *_, weight in evidence), default=0.0) or 1.0
    cuts = {start, end}
    cuts.update(at for _, begin, stop, _ in evidence for at in (begin, stop))
    cuts.update(at for mark in note.sentences for at in (mark.start, mark.end))
    if section:
        cuts.update((section.heading_start, section.heading_end))
    edges = sorted(at for at in cuts if start <= at <= end)
    pieces = []
    for left, right in pairwise(edges):
        classes: list[str] = []
        tags: list[str] = []
        style = ""
        if section and section.heading_start <= left < section.heading_end:
            classes.append("heading")
        for mark in note.sentences:
            if mark.start <= left < mark.end:
                classes += ["sentence", mark.decision]
                if mark.end == right:
                    probability = _below_one(f"{mark.probability:.2f}", "1.00", ">0.99")
                    tags.append(" ".join(filter(None, (mark.label.replace("_", " "), probability, mark.by))))
        under = {number: weight for number, begin, stop, weight in evidence if begin <= left < stop}
        if under:
            classes += ["evidence", *(f"code-{number}" for number in under)]
            style = f"box-shadow:{_underlines(under, strongest)}"
        category = section.category.replace("_", " ") if section and right == section.heading_end else ""
        pieces.append(_Piece(note.text[left:right], " ".join(classes), style, " · ".join(tags), category))
    return pieces


def _underlines(under: Mapping[int, float], strongest: float) -> str:
    """CSS of one underline per code, one below the other; a thicker one for more weight."""
    lines, depth = [], 0.0
    for number, weight in under.items():
        thick = 1.5 + 2.0 * max(weight, 0.0) / strongest
        lines.append(f"0 {depth + thick:.1f}px 0 var(--code-{number % _UNDERLINES})")
        lines.append(f"0 {depth + thick + 1:.1f}px 0 var(--card)")
        depth += thick + 1
    return ",".join(lines[:-1])


def _below_one(rounded: str, one: str, below: str) -> str:
    """Replace a probability that rounding shows as 1: no prediction is certain."""
    return below if rounded == one else rounded


def _figure(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if abs(value) < 10 else re.sub(r"\.0$", "", f"{value:,.1f}")
