"""The report: one file, offline, with the text of a note untouched under any marks."""

import re
import shutil
import stat
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rubricator.flows.report.report import (
    Interval,
    MarkedCode,
    MarkedNote,
    MarkedSection,
    MarkedSentence,
    Part,
    Plot,
    ReportData,
    Table,
    mark_note,
    render,
    write_report,
)

TEXT = """Synthetic note.

ASSESSMENT:
Hypertension & <b>gout</b>, stable.

## Plan
- Continue lisinopril for hypertension.
- Call for fever.
"""
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63f8ffff3f0300050001a5f645400000000049454e44ae426082"
)


class Page(HTMLParser):
    """Text of the first marked note, with the classes and attributes each stretch of it stands under."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[dict[str, str | None]] = []
        self.stretches: list[tuple[str, list[dict[str, str | None]]]] = []
        self.addresses: list[str] = []
        self.depth: int | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.addresses += [value or "" for name, value in attributes if name in {"src", "href"}]
        if tag in {"meta", "link", "img"}:
            return
        if given.get("class") == "text" and self.depth is None:
            self.depth = len(self.open)
        self.open.append(given)

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()
        if self.depth == len(self.open):
            self.depth = -1

    def handle_data(self, data: str) -> None:
        if self.depth is not None and self.depth >= 0:
            self.stretches.append((data, self.open[self.depth + 1 :]))

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.stretches)

    def under(self, name: str) -> str:
        """All text under a class, stretches that do not touch apart by |."""
        told, last = "", None
        for number, (text, above) in enumerate(self.stretches):
            if any(name in (given.get("class") or "").split() for given in above):
                told += ("|" if last is not None and last + 1 < number else "") + text
                last = number
        return told


def spans(*wanted: str) -> list[tuple[int, int, float]]:
    return [(TEXT.index(words), TEXT.index(words) + len(words), 0.5) for words in wanted]


def section(category: str, heading: str, body: str) -> MarkedSection:
    heading_start, body_start = TEXT.index(heading), TEXT.index(body)
    return MarkedSection(
        category, heading_start, heading_start + len(heading), body_start, body_start + len(body)
    )


NOTE = MarkedNote(
    note_id="synthetic-<1>",
    text=TEXT,
    sections=[
        section("assessment", "ASSESSMENT", "Hypertension & <b>gout</b>, stable."),
        section("plan", "Plan", "- Continue lisinopril for hypertension.\n- Call for fever."),
    ],
    sentences=[
        MarkedSentence(*spans("Continue lisinopril for hypertension.")[0][:2], "plan", 0.97, "accept"),
        MarkedSentence(*spans("Call for fever.")[0][:2], "plan", 0.61, "review"),
    ],
    codes=[
        MarkedCode(
            "I10",
            "Essential (primary) hypertension",
            0.93,
            "accept",
            spans("Hypertension", "for hypertension"),
        ),
        MarkedCode(
            "M10.9", "Gout, unspecified", 0.55, "review", spans("lisinopril for", "gout"), ["not billable"]
        ),
    ],
    known_codes=["I10", "E78.5"],
)
DATA = ReportData(
    title="A synthetic report",
    facts=[("600", "notes")],
    notes=[NOTE],
    parts=[
        Part(
            title="Evaluation",
            tables=[
                Table(
                    title="Plan",
                    columns=["metric", "value", "n"],
                    rows=[("F1", Interval(0.9, 0.8, 1.0), 12345)],
                )
            ],
            plots=[Plot(title="Reliability", png=PNG)],
        )
    ],
    commands=[("The runs", "mlflow ui --port 5000")],
)


def test_the_text_of_a_note_is_untouched_and_escaped() -> None:
    page = render(DATA)
    assert Page(page).text == TEXT
    assert "&lt;b&gt;" in page and "Hypertension</span><span> &amp; &lt;b&gt;</span>" in page
    assert "synthetic-<1>" not in page


def test_headings_sentences_and_evidence_are_marked_where_they_are() -> None:
    page = Page(render(DATA))
    assert page.under("heading") == "ASSESSMENT|Plan"
    assert page.under("sentence") == "Continue lisinopril for hypertension.|Call for fever."
    assert page.under("review") == "Call for fever."
    assert page.under("code-0") == "Hypertension|for hypertension"
    assert page.under("code-1") == "gout|lisinopril for", "two codes share the word 'for'"
    chips = [
        given["data-category"] for _, above in page.stretches for given in above if "data-category" in given
    ]
    assert chips == ["assessment", "plan"]
    tags = [given["data-tag"] for _, above in page.stretches for given in above if "data-tag" in given]
    assert tags == ["plan 0.97", "plan 0.61"]


def test_a_section_ends_with_its_body_and_holds_the_markup_of_its_heading() -> None:
    page = Page(render(DATA))
    told = page.under("section")
    assert "## Plan\n- Continue" in told
    assert "Synthetic note" not in told


def test_sections_on_one_line_stay_on_one_line() -> None:
    flat = TEXT.replace("\n", " ")
    marks = [
        MarkedSection(s.category, s.heading_start, s.heading_end, s.body_start, s.body_end)
        for s in NOTE.sections
    ]
    page = Page(
        render(ReportData(title="flat", notes=[MarkedNote(note_id="flat", text=flat, sections=marks)]))
    )
    assert page.text == flat
    in_block = [
        text
        for text, above in page.stretches
        if {"block", "section"} <= set((above[0]["class"] or "").split())
    ]
    assert in_block == []


def test_cards_compare_with_the_known_codes() -> None:
    page = render(DATA)
    assert ">coded</span>" in page and ">not coded</span>" in page
    assert re.search(r"missed</span>\s*E78\.5", page)
    assert "⚠ not billable" in page
    assert "not coded</span>" not in render(
        ReportData(title="t", notes=[MarkedNote(note_id="n", text=TEXT, codes=NOTE.codes)])
    )


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = render(DATA)
    assert all(address.startswith(("data:", "#")) for address in Page(page).addresses)
    assert not re.search(r"https?://|url\(|@import|<script", page)
    assert "default-src 'none'" in page


def test_the_file_says_that_it_holds_note_text_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    for _ in range(2):  # written again over an older one
        write_report(path, DATA)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "This file contains note text" in path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_report_without_notes_does_not_claim_to_hold_text() -> None:
    assert "This file contains note text" not in render(ReportData(title="t", parts=DATA.parts))


PREDICTION = {
    "start": 0,
    "end": 9,
    "probability": 0.5,
    "decision": "accept",
    "evidence": [],
    "warnings": [],
    "description": None,
    "model": "m",
    "model_version": "1",
}


def test_what_several_models_found_says_which_found_it() -> None:
    def page(*versions: str) -> str:
        rows = [{**PREDICTION, "model_version": version} for version in versions]
        sentences = [{**row, "label": "plan"} for row in rows]
        codes = [{**row, "label": "I10"} for row in rows]
        return render(
            ReportData(title="t", notes=[mark_note(note_id="n", text=TEXT, sentences=sentences, codes=codes)])
        )

    assert "m/1" not in page("1")
    both = page("1", "2")
    for version in ("m/1", "m/2"):
        assert f"no description · {version}" in both and f"plan 0.50 {version}" in both


def test_rows_of_the_tables_become_marks_without_what_was_rejected() -> None:
    prediction = {**PREDICTION, "end": len(TEXT), "decision": "review"}
    note = mark_note(
        note_id="n",
        text=TEXT,
        sections=[
            {"category": "plan", "heading_start": 80, "heading_end": 84, "body_start": 85, "body_end": 90}
        ],
        sentences=[{**prediction, "start": 5, "end": 9, "label": "plan", "decision": "accept"}],
        codes=[
            {
                **prediction,
                "label": "I10",
                "description": None,
                "evidence": [{"start": 1, "end": 4, "weight": 0.2}],
            },
            {**prediction, "label": "R51.9", "description": "Headache", "evidence": [], "decision": "reject"},
            {**prediction, "label": "E78.5", "description": "", "evidence": [], "probability": 0.9},
        ],
    )
    assert [code.code for code in note.codes] == ["E78.5", "I10"]
    assert note.codes[1].evidence == [(1, 4, 0.2)]
    assert [(mark.start, mark.end) for mark in note.sentences] == [(5, 9)]


@st.composite
def marked_notes(draw: st.DrawFn) -> MarkedNote:
    text = draw(st.text(alphabet="ab <&\n.:é", min_size=1, max_size=60))
    offset = st.integers(0, len(text))
    pairs = st.lists(st.tuples(offset, offset).map(sorted), max_size=4)
    cuts = sorted(draw(st.lists(offset, max_size=12)))
    return MarkedNote(
        note_id="n",
        text=text,
        sections=[MarkedSection("plan", *cuts[at : at + 4]) for at in range(0, len(cuts) - 3, 4)],
        sentences=[MarkedSentence(a, b, "plan", 0.5, "accept") for a, b in draw(pairs)],
        codes=[
            MarkedCode(f"C{n}", None, 0.5, "accept", [(a, b, 0.1)]) for n, (a, b) in enumerate(draw(pairs))
        ],
    )


@settings(max_examples=150, deadline=None)
@given(marked_notes())
def test_any_overlapping_marks_keep_the_text_and_mark_what_they_should(note: MarkedNote) -> None:
    page = Page(render(ReportData(title="t", notes=[note])))
    assert page.text == note.text
    for number, code in enumerate(note.codes):
        start, end, _ = code.evidence[0]
        assert page.under(f"code-{number}") == note.text[start:end]


def test_chromium_shows_it_without_an_error(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    write_report(tmp_path / "report.html", DATA)
    # a sandbox needs rights that a container lacks; the page is our own
    run = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom",
            (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert Page(run.stdout).text == TEXT
    assert Page(run.stdout).under("code-0") == "Hypertension|for hypertension"
    assert "CONSOLE" not in run.stderr, [line for line in run.stderr.splitlines() if "CONSOLE" in line]
