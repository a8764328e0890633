r"""Does what the section finder answers depend on typography? MTSamples in other type, against the same gold bodies.

    python tests/benchmarks/rewriting.py [DATA] [--mistakes N] [--only NAME]

Notes with a bold heading of the plan family (see headings.py) and three bold headings or more are taken apart at their
bold headings, written anew in each of the ways below, and read again. The first row is the note as it is: the ceiling,
below 1 for the reasons that are printed under the table. Left out: notes with headings of one letter ("P:"), which
without their colon nobody could tell from a list.

  plan F1    of the characters of the gold plans that stand in a body of category plan or assessment_and_plan, pooled; only
             non-blank characters of the source note count, not what the rewriting added. A gold plan runs to the next bold
             heading, sub-headings that are not bold included.
  headings   share of the bold headings at whose first character a section's heading begins
  swallowed  notes in which the body of a plan holds a bold heading that comes after it
  + end      notes in which the body of a section of the note holds words of the signature that the rewriting added

A heading of the lexicon that a bold plan "swallows" where it is the plan's own sub-heading ("DIET:" set bold) counts here
as an error in every row alike.
"""

import argparse
import gzip
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rubricator.nlp.sections.finder import Section, SectionFinder

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "nlp"), str(Path(__file__).parent)]
from headings import NUMBERED, is_plan  # noqa: E402
from rewritings import (  # noqa: E402
    PLAN_CATEGORIES,
    REWRITINGS,
    SIGNATURE,
    Part,
    Rewriting,
    Rewritten,
    rewrite,
    rewrite_parts,
)

DATA = ROOT.parent / "shared" / "data" / "mtsamples.jsonl.gz"
ROWS = {
    "as it is": [],
    "Title Case": ["case_title"],
    "lower case": ["case_lower"],
    "PLAN in capitals, Rest in Title Case": ["case_plan_in_capitals"],
    "Plan in Title Case, REST in capitals": ["case_rest_in_capitals"],
    "plan first": ["plan_first"],
    "PLAN first in capitals, Rest in Title Case": ["plan_first", "case_plan_in_capitals"],
    "plan first, lines lost": ["plan_first", "newline_each_a_blank"],
    "bold **": ["heading_bold"],
    "bold __, Title Case": ["heading_bold_underscores", "case_title"],
    "## headings": ["heading_markdown", "case_title"],
    "emoji before ###": ["heading_emoji_before_marks", "case_title"],
    "emoji after ###": ["heading_emoji_after_marks", "case_title"],
    "underlined ====": ["heading_underlined_double", "case_title"],
    "underlined ----": ["heading_underlined_single"],
    "alone on its line": ["separator_alone", "case_title"],
    "HEADING - body": ["separator_dash"],
    "Heading:- body": ["separator_colon_dash", "case_title"],
    "headings indented": ["indent_headings", "case_title"],
    "blank lines lost": ["gap_lost"],
    "every newline doubled": ["newline_doubled"],
    "newlines lost": ["newline_lost_one_blank"],
    "newlines lost, Title Case": ["newline_lost_one_blank", "case_title"],
    "newlines to four blanks": ["newline_lost_four_blanks"],
    r"newlines to \n": ["newline_escaped"],
    r"newlines to \r\n, Title Case": ["newline_escaped_crlf", "case_title"],
    r"newlines to \.br\ ": ["newline_hl7"],
    "CR alone": ["newline_cr"],
    "CRLF": ["newline_crlf"],
    "page break: form feed": ["page_form_feed"],
    "page break: rule, Page 1 of 2": ["page_rule_and_number"],
    "page break: patient's name": ["page_patient_line"],
    "RTF": ["document_rtf"],
    "RTF on one line": ["document_rtf_one_line"],
    "HTML": ["document_html_paragraphs"],
    "HTML on one line, Title Case": ["document_html_one_line", "case_title"],
    "HTML, plan first": ["document_html_headings", "plan_first", "case_title"],
    "C-CDA lists": ["document_ccda_list", "case_title"],
    "C-CDA paragraphs, plan first": ["document_ccda_paragraph", "plan_first"],
    "signed electronically": ["end_electronic_signature"],
    "signed electronically, newlines lost": ["end_electronic_signature", "newline_each_a_blank"],
    "signed /es/": ["end_es"],
    "signed -- Name, MD": ["end_dashed_name"],
    "dictation codes": ["end_dictation_codes"],
    "time spent": ["end_time_spent"],
    "disclaimer": ["end_disclaimer"],
    "wrapped at 80": ["wrap_80"],
    "wrapped at 80, plan first": ["wrap_80", "plan_first", "case_title"],
    "no-break blanks": ["blank_no_break", "case_title"],
}


@dataclass
class Score:
    right: int = 0  # characters of gold plans in bodies of plans
    found: int = 0  # characters of the note in bodies of plans
    gold: int = 0
    headings: int = 0
    headings_found: int = 0
    swallowed: int = 0
    with_end: int = 0
    seconds: float = 0.0
    mistakes: list[str] = field(default_factory=list)

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.found + self.gold)


def read_parts(note: dict) -> list[Part]:
    """The note between its bold headings; enumerators, colons and blanks belong to neither heading nor body."""
    text, parts = note["text"], []
    starts = [start for start, _ in note["headings"]]
    above = text[: starts[0]]
    if above.strip():
        parts.append(Part(None, "", above.strip(), gap=above[len(above.rstrip()) :]))
    for (start, end), stop in zip(note["headings"], [*starts[1:], len(text)], strict=True):
        lead = NUMBERED.match(text[start:end])[0]
        heading = text[start + len(lead) : end].rstrip(" :-.\t\n*_")
        after = start + len(lead) + len(heading)
        rest = text[after:stop]
        body = rest[end - after :].strip()
        low = rest.find(body, end - after) if body else len(rest.rstrip())
        category = "plan" if is_plan(text[start:end]) else ""
        parts.append(
            Part(heading, category, body, lead, separator=rest[:low], gap=rest[low + len(body) :] or "\n\n")
        )
    return parts


def read_notes(path: Path) -> list[list[Part]]:
    if not path.exists():
        sys.exit(f"{path} is not here: nothing to measure against")
    chosen = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for note in map(json.loads, lines):
            if len(note["headings"]) < 3:
                continue
            parts = read_parts(note)
            headings = [part.heading for part in parts if part.heading is not None]
            if any(part.is_plan for part in parts) and all(len(heading) > 1 for heading in headings):
                chosen.append(parts)
    return chosen


def score_note(score: Score, note: Rewritten, parts: list[Part], sections: list[Section]) -> None:
    starts = {section.heading_start for section in sections}
    heading_starts = {
        note.heading_span(number)[0]: number for number, part in enumerate(parts) if part.heading is not None
    }
    score.headings += len(heading_starts)
    score.headings_found += len(starts & heading_starts.keys())
    plans = [number for number, part in enumerate(parts) if part.is_plan]
    gold = sum(len("".join(parts[number].body.split())) for number in plans)
    wanted = {2 * number + 1 for number in plans}
    endings = {2 * number + 1 for number, part in enumerate(parts) if part.category == SIGNATURE}
    right = found = 0
    swallowed = with_end = False
    for section in sections:
        start, end = section.body_start, section.body_end
        if (
            note.owners[section.heading_start] in endings
        ):  # "Electronically signed by:" may be a section itself
            continue
        with_end = with_end or not endings.isdisjoint(note.owners[start:end])
        if section.category not in PLAN_CATEGORIES:
            continue
        counts = Counter(
            owner
            for owner, character in zip(note.owners[start:end], note.source[start:end], strict=True)
            if owner >= 0 and owner not in endings and not character.isspace()
        )
        right += sum(counts[owner] for owner in wanted)
        found += counts.total()
        swallowed = swallowed or any(owner % 2 == 0 and owner > 2 * plans[0] for owner in counts)
    score.right += right
    score.found += found
    score.gold += gold
    score.swallowed += swallowed
    score.with_end += with_end
    if right != found or right != gold or with_end:
        headings = [
            (section.category, section.heading) for section in sections if section.category in PLAN_CATEGORIES
        ]
        start, end = note.body_span(plans[0])
        score.mistakes.append(
            f"{gold - right} of {gold} characters lost, {found - right} too many; plans found: {headings}\n"
            f"{note.text[max(0, note.heading_span(plans[0])[0] - 40) : start + 160]!r}\n … {note.text[max(start, end - 60) : end + 160]!r}"
        )


def measure(finder: SectionFinder, notes: list[list[Part]], rewritings: list[Rewriting]) -> Score:
    score = Score()
    for seed, parts in enumerate(notes):
        note = rewrite(parts, rewritings, seed)
        begun = time.process_time()
        sections = finder.find(note.text)
        score.seconds += time.process_time() - begun
        score_note(score, note, rewrite_parts(parts, rewritings, seed), sections)
    return score


def explain_ceiling(finder: SectionFinder, notes: list[list[Part]]) -> None:
    """Where the characters of gold plans are that no body of a plan holds, in the notes as they are."""
    places: Counter[str] = Counter()
    extra: Counter[str] = Counter()
    for parts in notes:
        note = rewrite(parts, [])
        sections = finder.find(note.text)
        inside = [""] * len(note.text)
        for section in sections:
            inside[section.body_start : section.body_end] = [section.category] * (
                section.body_end - section.body_start
            )
            width = section.heading_end - section.heading_start
            inside[section.heading_start : section.heading_end] = ["heading"] * width
        bold = {note.heading_span(number)[0] for number, part in enumerate(parts) if part.heading is not None}
        for number, part in enumerate(parts):
            start, end = note.body_span(number)
            begun = {
                section.category
                for section in sections
                if start <= section.heading_start < end and section.heading_start not in bold
            }
            for owner in set(inside[start:end]):
                letters = sum(
                    place == owner and not character.isspace()
                    for place, character in zip(inside[start:end], note.text[start:end], strict=True)
                )
                if not part.is_plan:
                    if owner in PLAN_CATEGORIES:
                        extra["under a plan heading that is not bold" if owner in begun else "swallowed"] += (
                            letters
                        )
                elif owner == "heading" or (owner in begun and owner not in PLAN_CATEGORIES):
                    places["under a heading that is not bold"] += letters
                elif not owner:
                    places["below a signature or an end rule, or between sections"] += letters
                elif owner not in PLAN_CATEGORIES:
                    places[
                        "under a heading above it: the plan's own was read as something else, or missed"
                    ] += letters
    print("\nThe note as it is, characters of gold plans outside bodies of plans:")
    for place, letters in places.most_common():
        print(f"  {letters:6,} {place}")
    print("  and characters of bodies of plans outside gold plans:")
    for place, letters in extra.most_common():
        print(f"  {letters:6,} {place}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the section finder on rewritten notes.")
    parser.add_argument("data", type=Path, nargs="?", default=DATA)
    parser.add_argument(
        "--mistakes", type=int, default=0, metavar="N", help="print the first N mistakes of a row"
    )
    parser.add_argument("--only", default="", metavar="NAME", help="only rows with this in their name")
    settings = parser.parse_args()
    notes = read_notes(settings.data)
    finder = SectionFinder()
    rows = {name: row for name, row in ROWS.items() if settings.only.lower() in name.lower()}
    characters = sum(len(part.body) for parts in notes for part in parts if part.is_plan)
    print(f"{len(notes)} notes, {characters:,} characters of plans")
    print(f"{'':44}  plan F1  precision  recall  headings  swallowed  + end  notes/s")
    for name, row in rows.items():
        score = measure(finder, notes, [REWRITINGS[rewriting] for rewriting in row])
        print(
            f"{name:44}  {score.f1:7.4f}  {score.right / max(score.found, 1):9.4f}  {score.right / score.gold:6.4f}  "
            f"{score.headings_found / score.headings:8.4f}  {score.swallowed:9}  {score.with_end:5}  "
            f"{len(notes) / score.seconds:7,.0f}",
            flush=True,
        )
        for mistake in score.mistakes[: settings.mistakes]:
            print("    " + mistake.replace("\n", "\n    "))
    if not settings.only:
        explain_ceiling(finder, notes)


if __name__ == "__main__":
    main()
