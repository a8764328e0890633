"""What a check found, as tables: for the terminal and for one offline page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rubricator.flows.check.findings import (
    FEWEST_NOTES_OF_CODE,
    MOST_LISTED,
    CodeFindings,
    Findings,
    HeadingFindings,
)
from rubricator.flows.check.readiness import Readiness
from rubricator.flows.heading_report import FEWEST_PATIENTS
from rubricator.flows.report.report import Cell, Part, Plot, ReportData, Table

if TYPE_CHECKING:
    from rubricator.flows.check.check import Checked


def check_page(checked: "Checked") -> ReportData:
    """The page. It holds headings only where `checked` says that they are shown."""
    return ReportData(
        title="What the notes hold",
        subtitle=f"rubricator check of {checked.source.notes_from}. This page holds counts, ids and codes"
        + (
            ", and headings as written in the notes." if checked.shows_headings else ", and no text of notes."
        ),
        facts=_facts(checked),
        parts=[
            Part(title="What can be trained", tables=[*_readiness(checked)]),
            *found_parts(checked, with_plots=True),
        ],
    )


def readiness_lines(readiness: Iterable[Readiness]) -> Iterator[str]:
    """What can be trained, for the terminal."""
    for ready in readiness:
        answer = "can be trained" if ready.is_ready else "cannot be trained"
        time = "" if ready.minutes is None else f" ({_duration(ready.minutes)} for the SVM with 10 folds)"
        yield f"{ready.task}: {answer} on {ready.material}{time}"
        yield from (f"  - {each}" for each in (*ready.forbidden, *ready.advice))


def found_parts(checked: "Checked", *, with_plots: bool = False) -> Iterator[Part]:
    """What was found, in parts."""
    findings = checked.findings
    yield Part(title="The source", tables=[*_source(checked)])
    if findings.texts:
        yield Part(
            title="The notes",
            tables=[_notes(checked), *_counted("Note types", findings.note_types)],
            plots=[*_plots(findings)] if with_plots else [],
        )
    if findings.codes:
        yield Part(title="The codes", tables=[*_codes(findings.codes)])
    if findings.headings:
        yield Part(
            title="The headings",
            tables=[*_headings(findings.headings, is_shown=checked.shows_headings)],
        )


def _facts(checked: "Checked") -> list[tuple[str, str]]:
    findings = checked.findings
    facts = [
        (f"{findings.notes:,}", "notes"),
        (f"{sum(checked.source.dead_letters.values()):,}", "not usable"),
    ]
    if findings.patients and findings.patients.given:
        facts.append((f"{findings.patients.patients:,}", "patients"))
    if findings.codes:
        facts.append((f"{findings.codes.codes:,}", "codes"))
    if findings.headings:
        share = findings.headings.with_plan / findings.headings.notes
        facts.append((f"{share:.0%}", "of notes have a plan heading"))
    return facts


def _readiness(checked: "Checked") -> Iterator[Table]:
    yield Table(
        title="Tasks",
        columns=["task", "can be trained", "on", "SVM, 10 folds, here"],
        rows=[
            (
                ready.task,
                "yes" if ready.is_ready else f"no: {'; '.join(ready.forbidden)}",
                ready.material,
                "" if ready.minutes is None else _duration(ready.minutes),
            )
            for ready in checked.readiness
        ],
        is_wide=True,
        remark="The time is an estimate, from the time that notes of this sample took.",
    )
    if advice := [(ready.task, each) for ready in checked.readiness for each in ready.advice]:
        yield Table(title="To look at first", columns=["task", ""], rows=advice, is_wide=True)


def _duration(minutes: float) -> str:
    return "under a minute" if minutes < 1 else f"about {minutes:,.0f} min"


def _source(checked: "Checked") -> Iterator[Table]:
    source = checked.source
    yield Table(
        title="Files",
        columns=["", ""],
        rows=[
            ("read as", source.format),
            ("encoding", source.encoding),
            ("files", source.files),
            ("size", f"{source.bytes / 1e6:,.1f} MB"),
        ],
    )
    if source.columns:
        yield Table(title="Columns", columns=["field", "column", "why"], rows=source.columns)
    yield from _counted("Not usable", source.dead_letters, "reason")
    if source.notices:
        yield Table(
            title="To know", columns=[""], rows=[(notice,) for notice in source.notices], is_wide=True
        )


def _notes(checked: "Checked") -> Table:
    findings = checked.findings
    texts, patients, dates = findings.texts, findings.patients, findings.dates
    assert texts and patients and dates
    rows: list[Sequence[Cell]] = [
        ("notes", findings.notes),
        ("patients", patients.patients if patients.given else "not given: each note counts as one"),
        ("most notes of a patient", patients.most_notes if patients.given else None),
        ("first date", dates.first),
        ("last date", dates.last),
        ("without a date", dates.missing),
        ("characters, fewest", texts.shortest),
        ("characters, median", texts.median),
        ("characters, most", texts.longest),
        ("equal to an earlier note", texts.copies),
        ("nearly equal to an earlier note", texts.near_copies),
        ("with characters of a wrong encoding", texts.damaged),
    ]
    if texts.cut_at:
        rows.append(("cut off?", f"many notes have exactly {texts.cut_at:,} characters"))
    return Table(title="Notes", columns=["", "count"], rows=rows)


def _plots(findings: Findings) -> Iterator[Plot]:
    from rubricator.models.scores.plots import counts_plot

    if findings.texts:
        yield Plot(
            title="Notes by length", png=counts_plot(findings.texts.by_length, "thousand characters", "notes")
        )
    if findings.dates and len(findings.dates.by_month) > 1:
        yield Plot(title="Notes by month", png=counts_plot(findings.dates.by_month, "month", "notes"))


def _codes(codes: CodeFindings) -> Iterator[Table]:
    yield Table(
        title="Codes",
        columns=["", "count"],
        rows=[
            ("notes with codes", codes.notes),
            ("notes known to have none", codes.notes_known_to_have_none),
            ("codes", codes.codes),
            (f"codes in {FEWEST_NOTES_OF_CODE} notes or more", codes.frequent),
            ("codes a note, mean", f"{codes.mean_per_note:.1f}"),
            ("codes with several spellings", len(codes.respelt)),
        ],
    )
    yield Table(
        title="Code systems",
        columns=["system", "codes", "uses", "not in its table", "not billable"],
        rows=[
            (system, found.codes, found.uses, len(found.unknown), len(found.not_billable))
            for system, found in codes.systems.items()
        ],
        is_wide=True,
    )
    yield from _counted("Most used codes", codes.most_used, "code")
    for system, found in codes.systems.items():
        name = "No code of a known system" if system == "none" else f"Not in {system}"
        yield from _counted(name, found.unknown, "code")
        yield from _counted(f"Not billable, {system}", found.not_billable, "code")
    if codes.respelt:
        yield Table(
            title="Spellings that are read as one code",
            columns=["code", "spellings"],
            rows=[(code, ", ".join(found)) for code, found in list(codes.respelt.items())[:MOST_LISTED]],
        )


def _headings(headings: HeadingFindings, *, is_shown: bool) -> Iterator[Table]:
    yield Table(
        title="Headings and sentences",
        columns=["", "count"],
        rows=[
            ("notes looked at", headings.notes),
            ("without headings", headings.without_headings),
            ("with a heading that holds plans", headings.with_plan),
            ("plan sentences", headings.plan_sentences),
            ("other sentences", headings.other_sentences),
            (f"unknown headings of {FEWEST_PATIENTS} patients or more", len(headings.unknown)),
        ],
        remark="--stub FILE.toml writes a lexicon of the unknown headings to fill in"
        + ("." if is_shown else "; --headings shows them."),
    )
    if is_shown and headings.unknown:
        yield Table(
            title="Unknown headings",
            columns=["heading", "sections", "patients"],
            rows=[(each.heading, each.sections, each.patients) for each in headings.unknown[:MOST_LISTED]],
        )


def _counted(title: str, counts: Mapping[str, int], what: str = "") -> Iterable[Table]:
    """A table of the largest counts, or none."""
    if not counts:
        return ()
    rows = sorted(counts.items(), key=lambda item: -item[1])
    more = len(rows) - MOST_LISTED
    remark = f"and {more:,} more" if more > 0 else ""
    return (Table(title=title, columns=[what, "notes"], rows=rows[:MOST_LISTED], remark=remark),)
