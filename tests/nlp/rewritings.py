r"""Rewrites a note whose headings and bodies are known: other typography, the same content.

A note is a list of parts. A rewriting changes the parts (case and order of headings, their markup, what stands between
them) and then the rendered text (line ends, wraps, escapes), and keeps account of where each heading and body stands.

    note = [Part("PLAN", "plan", "Rest.\nFluids.")]
    rewritten = rewrite(note, [REWRITINGS["heading_bold"], REWRITINGS["newline_escaped"]])
    rewritten.text  # '**PLAN:** Rest.\\nFluids.' with a backslash and an "n" for the newline
    rewritten.body_span(0)  # (10, 24)
    rewritten.letters(10, 24)  # 'Rest.Fluids.': the escape undone, without blanks

Bodies are compared by their letters: the non-blank characters that come from the note, whatever the text shows for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

PLAN_CATEGORIES = frozenset({"plan", "assessment_and_plan"})
SIGNATURE = "signature"  # the category of a part that a rewriting added below the note


@dataclass(frozen=True)
class Part:
    """A section of a note; heading None: text without one. Body and heading have no surrounding blanks."""

    heading: str | None
    category: str
    body: str
    lead: str = ""  # what stands before the heading: bullet, enumerator, markup
    separator: str = ": "  # from the heading to its body
    gap: str = "\n\n"  # from the body to the next part

    @property
    def is_plan(self) -> bool:
        return self.category in PLAN_CATEGORIES


@dataclass(frozen=True)
class Rewritten:
    """A rendered note. `source` has, for each character of the text, the one it stands for: a blank for what was added."""

    text: str
    source: str
    owners: list[int]  # 2 n for the heading of part n, 2 n + 1 for its body, NOBODY for all else

    def heading_span(self, part: int) -> tuple[int, int]:
        return self._span(2 * part)

    def body_span(self, part: int) -> tuple[int, int]:
        return self._span(2 * part + 1)

    def _span(self, owner: int) -> tuple[int, int]:
        """(0, 0) for an empty body."""
        if owner not in self.owners:
            return 0, 0
        return self.owners.index(owner), len(self.owners) - self.owners[::-1].index(owner)

    def letters(self, start: int = 0, end: int | None = None) -> str:
        """The non-blank characters of the note that text[start:end] shows."""
        return "".join(self.source[start:end].split())

    def edited(self, edits: Iterable[tuple[int, int, str]]) -> Rewritten:
        """With text[start:end] replaced, for edits in order; a replaced character stays the source of what replaces it."""
        text, source, owners, at = [], [], [], 0
        for start, end, new in edits:
            old = self.source[start:end].strip()
            text += [self.text[at:start], new]
            source += [self.source[at:start], old[: len(new)].ljust(len(new))]
            owners += self.owners[at:start] + [self.owners[start] if start < end else NOBODY] * len(new)
            at = end
        text.append(self.text[at:])
        source.append(self.source[at:])
        return Rewritten("".join(text), "".join(source), owners + self.owners[at:])


NOBODY = -1
PartsRule = Callable[[list[Part], Random], list[Part]]
TextRule = Callable[[Rewritten, list[Part], Random], Rewritten]


@dataclass(frozen=True)
class Rewriting:
    """touches: what it changes; two rewritings that touch the same, or that name each other's in excludes, do not go together."""

    name: str
    touches: frozenset[str]
    parts: PartsRule | None = None
    text: TextRule | None = None
    excludes: frozenset[str] = frozenset()


def render(parts: Sequence[Part]) -> Rewritten:
    text, source, owners = [], [], []
    for number, part in enumerate(parts):
        heading = "" if part.heading is None else part.heading
        separator = "" if part.heading is None else part.separator
        for piece, owner in (
            (part.lead, NOBODY),
            (heading, 2 * number),
            (separator, NOBODY),
            (part.body, 2 * number + 1),
            ("" if part is parts[-1] else part.gap, NOBODY),
        ):
            text.append(piece)
            source.append(" " * len(piece) if owner == NOBODY else piece)
            owners += [owner] * len(piece)
    return Rewritten("".join(text), "".join(source), owners)


def rewrite_parts(parts: Sequence[Part], rewritings: Iterable[Rewriting], seed: int = 0) -> list[Part]:
    """The parts in the order and the typography in which they are then rendered."""
    rewritten = list(parts)
    for rewriting in in_order(rewritings):
        if rewriting.parts is not None:
            rewritten = rewriting.parts(rewritten, Random(seed))
    return rewritten


def rewrite(parts: Sequence[Part], rewritings: Iterable[Rewriting], seed: int = 0) -> Rewritten:
    """Applies rewritings in the order of the table REWRITINGS; spans count by rewrite_parts."""
    rewritings = in_order(rewritings)
    parts = rewrite_parts(parts, rewritings, seed)
    rewritten = render(parts)
    for rewriting in rewritings:
        if rewriting.text is not None:
            rewritten = rewriting.text(rewritten, parts, Random(seed))
    return rewritten


def in_order(rewritings: Iterable[Rewriting]) -> list[Rewriting]:
    order = list(REWRITINGS)
    return sorted(rewritings, key=lambda rewriting: order.index(rewriting.name))


def compatible(rewritings: Sequence[Rewriting]) -> bool:
    return not any(
        one.touches & other.touches or one.excludes & other.touches or one.touches & other.excludes
        for number, one in enumerate(rewritings)
        for other in rewritings[:number]
    )


# ---- case and order --------------------------------------------------------------------------------------------------


def _words(listing: str) -> frozenset[str]:
    return frozenset(listing.split())


_ABBREVIATIONS = _words(
    "A AP CC CT CVS ECG ED EEG EKG EMG ER FEN FH GI GU HEENT HPI I II III IV MRI O OB P PE PMH PSH ROS S SH X XI XII"
)
_SMALL_WORDS = _words("a an and at by for from in of on or the to with")


def title_case(heading: str) -> str:
    """ "PAST MEDICAL HISTORY" → "Past Medical History"; abbreviations stay, small words are small inside."""

    def word(match: re.Match[str]) -> str:
        letters = match[0]
        if letters in _ABBREVIATIONS:
            return letters
        small = letters.lower()
        return small if small in _SMALL_WORDS and match.start() else small.capitalize()

    return re.sub(r"[A-Za-z']+", word, heading)


def sentence_case(heading: str) -> str:
    """ "PAST MEDICAL HISTORY" → "Past medical history"."""
    return re.sub(
        r"[A-Za-z']+",
        lambda word: (
            word[0]
            if word[0] in _ABBREVIATIONS
            else (word[0].lower() if word.start() else word[0].capitalize())
        ),
        heading,
    )


def _cased(
    parts: list[Part], _: Random, plan: Callable[[str], str], rest: Callable[[str], str]
) -> list[Part]:
    return [
        part
        if part.heading is None
        else replace(part, heading=(plan if part.is_plan else rest)(part.heading))
        for part in parts
    ]


def _plan_first(parts: list[Part], _: Random) -> list[Part]:
    """The plan's sections before all other headed ones; what stands above the first heading stays there."""
    top = next((number for number, part in enumerate(parts) if part.heading is not None), len(parts))
    moved = [part for part in parts[top:] if part.is_plan]
    rest = [part for part in parts[top:] if not part.is_plan]
    return [_on_lines_of_its_own(part) for part in [*parts[:top], *moved, *rest]]


def _on_lines_of_its_own(part: Part) -> Part:
    return part if "\n" in part.gap else replace(part, gap="\n\n")


# ---- markup, separators, gaps ----------------------------------------------------------------------------------------


def _set_off(parts: list[Part], random: Random, leads: Sequence[str], separator: str) -> list[Part]:
    """Headings behind one of the leads (one for the whole note) and before the separator, below a blank line."""
    lead = random.choice(leads)
    return [
        _on_lines_of_its_own(part)
        if part.heading is None
        else replace(part, lead=lead, separator=separator, gap="\n\n")
        for part in parts
    ]


def _emoji(parts: list[Part], random: Random, leads: Sequence[str]) -> list[Part]:
    return [
        part if part.heading is None else replace(part, lead=random.choice(leads), separator="\n", gap="\n\n")
        for part in parts
    ]


def _underlined(parts: list[Part], _: Random, stroke: str) -> list[Part]:
    return [
        part
        if part.heading is None
        else replace(part, lead="", separator="\n" + stroke * max(4, len(part.heading)) + "\n", gap="\n\n")
        for part in parts
    ]


def _numbered_headings(parts: list[Part], _: Random) -> list[Part]:
    number, numbered = 0, []
    for part in parts:
        number += part.heading is not None
        numbered.append(part if part.heading is None else replace(part, lead=f"{number}. ", separator=": "))
    return numbered


def _gaps(parts: list[Part], _: Random, gap: str) -> list[Part]:
    """Other gaps; where no blank line is left, a heading without a colon gets one."""
    return [replace(part if "\n\n" in gap else _with_colon(part), gap=gap) for part in parts]


def _with_colon(part: Part) -> Part:
    return part if part.heading is None or ":" in part.separator else replace(part, separator=": ")


def _all_with_colon(parts: list[Part], _: Random) -> list[Part]:
    return [_with_colon(part) for part in parts]


def _body_below(parts: list[Part], _: Random) -> list[Part]:
    return [replace(part, separator=":\n") for part in parts]


def _indented_headings(parts: list[Part], _: Random, indent: str) -> list[Part]:
    return [part if part.heading is None else replace(part, lead=indent + part.lead) for part in parts]


def _signed(parts: list[Part], random: Random, endings: Sequence[str]) -> list[Part]:
    *rest, last = parts
    return [*rest, replace(last, gap="\n\n"), Part(None, SIGNATURE, random.choice(endings))]


# ---- lines of bodies -------------------------------------------------------------------------------------------------


def _lines_led(note: Rewritten, parts: list[Part], random: Random, leads: Sequence[str]) -> Rewritten:
    """Each line of a body behind a lead, "{}" in it counted from 1 in each body."""
    lead = random.choice(leads)
    edits, number, last_owner = [], 0, NOBODY
    for start in _line_starts(note):
        owner = note.owners[start]
        if owner == NOBODY or owner % 2 == 0 or parts[owner // 2].heading is None:
            continue
        number = number + 1 if owner == last_owner else 1
        last_owner = owner
        edits.append((start, start, lead.format(number)))
    return note.edited(edits)


def _line_starts(note: Rewritten) -> list[int]:
    """Offsets of the first non-blank character of each line that is not blank."""
    return [match.end() - 1 for match in re.finditer(r"(?:^|\n)[^\S\n]*\S", note.text)]


_PAGE_BREAKS = {
    "page_form_feed": "\n\f",
    "page_rule_and_number": "\n____________\nPage 1 of 2\n",
    "page_patient_line": "\nName: DOE, JANE   MRN: 0012345\n",
}


def _page_broken(note: Rewritten, parts: list[Part], random: Random, page_break: str) -> Rewritten:
    """A page break inside each plan: between two lines if it has several, else after a sentence, else between words."""
    edits = []
    for number, part in enumerate(parts):
        if not part.is_plan:
            continue
        start, end = note.body_span(number)
        for place in (r"\n\s*", r"(?<=[.;])\s+", r"\s+"):
            places = list(re.compile(place).finditer(note.text, start, end))
            if places:
                chosen = random.choice(places)
                edits.append((chosen.start(), chosen.end(), page_break))
                break
    return note.edited(edits)


def _wrapped(note: Rewritten, _: list[Part], __: Random, width: int) -> Rewritten:
    """Lines broken at blanks so that none is wider."""
    edits, begin, previous = [], 0, None
    for word in re.finditer(r"\S+", note.text):
        if previous is None or "\n" in note.text[previous.end() : word.start()]:
            begin = note.text.rfind("\n", 0, word.start()) + 1
        elif word.end() - begin > width:
            edits.append((previous.end(), word.start(), "\n"))
            begin = word.start()
        previous = word
    return note.edited(edits)


def _replaced(note: Rewritten, _: list[Part], __: Random, pattern: str, new: str) -> Rewritten:
    return note.edited((match.start(), match.end(), new) for match in re.finditer(pattern, note.text))


# ---- documents -------------------------------------------------------------------------------------------------------


def _dressed(parts: list[Part], _: Random, lead: str, bare: str, separator: str, gap: str) -> list[Part]:
    """Parts as a document has them; bare: what stands before text that has no heading."""
    return [
        replace(
            part,
            lead=bare if part.heading is None else lead,
            separator=separator,
            gap=gap,
        )
        for part in parts
    ]


_ESCAPES = {
    "xml": {"&": "&amp;", "<": "&lt;", ">": "&gt;"},
    "rtf": {"\\": "\\\\", "{": "\\{", "}": "\\}"},
}


def _document(
    note: Rewritten,
    _: list[Part],
    __: Random,
    head: str,
    foot: str,
    escapes: str,
    newline: str,
    blanks: str | None,
) -> Rewritten:
    """Escapes what comes from the note, writes its line ends and double blanks as the document does, and wraps it."""
    table = _ESCAPES[escapes]
    edits = [(0, 0, head)]
    for match in re.finditer(rf"[{re.escape(''.join(table))}]|(?P<line>\n[^\S\n]*)|  ", note.text):
        if note.owners[match.start()] == NOBODY:
            continue
        if match["line"]:
            edits.append((*match.span(), newline))
        elif match[0] in table:
            edits.append((*match.span(), table[match[0]]))
        elif blanks is not None:
            edits.append((*match.span(), blanks))
    return note.edited([*edits, (len(note.text), len(note.text), foot)])


def _document_rewriting(
    name: str,
    *,
    lead: str,
    bare: str,
    separator: str,
    gap: str,
    head: str,
    foot: str,
    escapes: str,
    newline: str,
    blanks: str | None = None,
    excludes: frozenset[str] = frozenset(),
) -> Rewriting:
    return Rewriting(
        name,
        frozenset({"markup", "separator", "gap", "newline", "lines", "indent", "page", "wrap", "blank"}),
        partial(_dressed, lead=lead, bare=bare, separator=separator, gap=gap),
        partial(_document, head=head, foot=foot, escapes=escapes, newline=newline, blanks=blanks),
        excludes,
    )


# ---- the table -------------------------------------------------------------------------------------------------------

_ON_ITS_LINE = frozenset({"newline_lost"})  # what needs line ends excludes this


def _table() -> list[Rewriting]:
    def case(name: str, plan: Callable[[str], str], rest: Callable[[str], str], *excludes: str) -> Rewriting:
        touches = {"case"} if plan is rest is upper else {"case", "small_letters"}
        return Rewriting(
            name, frozenset(touches), partial(_cased, plan=plan, rest=rest), excludes=frozenset(excludes)
        )

    def heading(name: str, lead: str | Sequence[str], separator: str, *excludes: str) -> Rewriting:
        leads = [lead] if isinstance(lead, str) else lead
        on_its_line = "\n" in separator or ":" not in separator
        return Rewriting(
            name,
            frozenset({"markup", "separator"}),
            partial(_set_off, leads=leads, separator=separator),
            excludes=_ON_ITS_LINE | ({"gap_lost", "lower"} if on_its_line else set()) | set(excludes),
        )

    def text(
        name: str, touches: str, rule: TextRule, parts: PartsRule | None = None, *excludes: str
    ) -> Rewriting:
        return Rewriting(name, frozenset(touches.split()), parts, rule, frozenset(excludes))

    def replaced(
        name: str, touches: str, pattern: str, new: str, parts: PartsRule | None = None
    ) -> Rewriting:
        return text(name, touches, partial(_replaced, pattern=pattern, new=new), parts)

    def signed(name: str, *endings: str, excludes: frozenset[str] = frozenset()) -> Rewriting:
        return Rewriting(name, frozenset({"end"}), partial(_signed, endings=endings), excludes=excludes)

    upper, lower = str.upper, str.lower
    bullets, numbers = ["- ", "* ", "• ", "-- "], ["{}. ", "{}) ", "({}) "]
    return [
        case("case_capitals", upper, upper),
        case("case_title", title_case, title_case),
        case("case_sentence", sentence_case, sentence_case),
        replace(
            case("case_lower", lower, lower, "newline_lost"),
            touches=frozenset({"case", "small_letters", "lower"}),
        ),
        case("case_plan_in_capitals", upper, title_case),
        case("case_rest_in_capitals", title_case, upper),
        Rewriting("plan_first", frozenset({"order"}), _plan_first),
        heading("heading_bold", "**", ":** "),
        heading("heading_bold_colon_after", "**", "**: "),
        heading("heading_bold_alone", "**", "**\n"),
        heading("heading_bold_underscores", "__", ":__ "),
        heading("heading_markdown", ["# ", "## ", "### "], "\n"),
        heading("heading_markdown_closed", "## ", " ##\n"),
        heading("heading_html_bold", "<b>", ":</b> "),
        heading("heading_html_bold_alone", "<b>", "</b>\n"),
        heading("heading_html_h3", "<h3>", "</h3>\n"),
        Rewriting(
            "heading_emoji_before_marks",
            frozenset({"markup", "separator"}),
            partial(_emoji, leads=["📋 ### ", "🩺 ### ", "✅ ### "]),
            excludes=_ON_ITS_LINE | {"gap_lost", "lower"},
        ),
        Rewriting(
            "heading_emoji_after_marks",
            frozenset({"markup", "separator"}),
            partial(_emoji, leads=["### 📋 ", "### 🩺 ", "### ✅ "]),
            excludes=_ON_ITS_LINE | {"gap_lost", "lower"},
        ),
        *(
            Rewriting(
                name,
                frozenset({"markup", "separator"}),
                partial(_underlined, stroke=stroke),
                excludes=_ON_ITS_LINE | {"gap_lost", "lower", "indent"},
            )
            for name, stroke in (("heading_underlined_double", "="), ("heading_underlined_single", "-"))
        ),
        heading("heading_in_brackets", "[", "]\n"),
        replace(
            heading("heading_numbered", "", ": "),
            parts=_numbered_headings,
            touches=frozenset({"markup", "separator"}),
        ),
        *(
            heading(name, "", separator)
            for name, separator in (
                ("separator_colon", ": "),
                ("separator_colon_tight", ":"),
                ("separator_blank_colon", " : "),
                ("separator_colon_dash", ":- "),
                ("separator_dash", " - "),
                ("separator_alone", "\n"),
                ("separator_alone_colon", ":\n"),
                ("separator_alone_blank_line", "\n\n"),
                ("separator_tab", "\t"),
                ("separator_colon_tab", ":\t"),
            )
        ),
        heading(
            "separator_two_blanks", "", "  ", "small_letters"
        ),  # "Plan  Rest" may be a slip of the typist
        Rewriting("gap_lost", frozenset({"gap", "gap_lost"}), partial(_gaps, gap="\n")),
        Rewriting("gap_doubled", frozenset({"gap"}), partial(_gaps, gap="\n\n\n\n")),
        Rewriting(
            "indent_headings",
            frozenset({"indent"}),
            lambda parts, random: _indented_headings(parts, random, random.choice(["  ", "    ", "\t"])),
        ),
        text(
            "indent_bodies",
            "indent separator lines",
            partial(_lines_led, leads=["  ", "    ", "\t"]),
            _body_below,
            "newline_lost",
        ),
        text(
            "lines_bulleted",
            "lines separator",
            partial(_lines_led, leads=bullets),
            _body_below,
            "newline_lost",
        ),
        text(
            "lines_numbered",
            "lines separator",
            partial(_lines_led, leads=numbers),
            _body_below,
            "newline_lost",
        ),
        *(
            signed(name, *endings)
            for name, endings in {
                "end_electronic_signature": (
                    "Electronically signed by Jane Q. Doe, MD on 04/12/2020 at 10:30 AM",
                    "Electronically Signed By: JANE DOE, M.D. 04/12/2020 10:30",
                ),
                "end_es": ("/es/ JANE DOE\nStaff Physician\nSigned: 04/12/2020 10:30", "/es/ Jane Doe, MD"),
                "end_dashed_name": ("-- Jane Doe, MD", "--Jane Q. Doe, M.D."),
                "end_dictation_codes": (
                    "JD/abc\nDD: 04/12/2020\nDT: 04/13/2020",
                    "DD: 04/12/2020\nDT: 04/13/2020\nJob #: 123456",
                ),
                "end_disclaimer": (
                    "This note was dictated using voice recognition software and may contain errors of transcription.",
                    "Disclaimer: Portions of this record may have been created with voice recognition software.",
                ),
            }.items()
        ),
        signed(  # without line ends it is one more sentence of the plan
            "end_time_spent",
            "Total time spent with the patient was 35 minutes, more than half of it in counseling.",
            "Total time spent on this encounter: 42 minutes.",
            excludes=_ON_ITS_LINE,
        ),
        *(
            text(name, "page", partial(_page_broken, page_break=page_break), None, "newline_lost")
            for name, page_break in _PAGE_BREAKS.items()
        ),
        text("wrap_80", "wrap", partial(_wrapped, width=80), None, "newline_lost"),
        replaced("newline_doubled", "newline", r"\n", "\n\n"),
        *(
            replace(
                replaced(name, "newline newline_lost", r"[^\S\n]*\n\s*", new, _all_with_colon),
                excludes=frozenset(),
            )
            for name, new in (("newline_lost_one_blank", " "), ("newline_lost_four_blanks", "    "))
        ),
        replaced("newline_each_a_blank", "newline newline_lost", r"\n", " ", _all_with_colon),
        replaced("newline_escaped", "newline", r"\n", r"\n"),
        replaced("newline_escaped_crlf", "newline", r"\n", r"\r\n"),
        replaced("newline_hl7", "newline", r"\n", "\\.br\\"),
        replaced("newline_cr", "newline", r"\n", "\r"),
        replaced("newline_crlf", "newline", r"\n", "\r\n"),
        replaced("newline_vertical_tab", "newline", r"\n", "\v"),
        replaced("newline_line_separator", "newline", r"\n", "\u2028"),
        _document_rewriting(
            "document_rtf",
            lead=r"{\b ",
            bare="",
            separator=r":}\par" + "\n",
            gap="\\par\n\\par\n",
            head="{\\rtf1\\ansi\\ansicpg1252\\deff0{\\fonttbl{\\f0\\fnil Arial;}}\n\\viewkind4\\uc1\\pard\\f0\\fs20 ",
            foot="\\par\n}",
            escapes="rtf",
            newline="\\par\n",
        ),
        _document_rewriting(
            "document_rtf_one_line",
            lead=r"\b ",
            bare="",
            separator=r":\b0  ",
            gap=r"\par\par ",
            head=r"{\rtf1\ansi\deff0{\fonttbl{\f0 Arial;}}\f0\fs24 ",
            foot=r"\par}",
            escapes="rtf",
            newline=r"\par ",
        ),
        _document_rewriting(
            "document_html_paragraphs",
            lead="<p><b>",
            bare="<p>",
            separator=":</b> ",
            gap="</p>\n",
            head="<html><body>\n",
            foot="</p>\n</body></html>",
            escapes="xml",
            newline="<br>\n",
            blanks="&nbsp; ",
        ),
        _document_rewriting(
            "document_html_one_line",
            lead="<div><b>",
            bare="<div>",
            separator=":</b>&nbsp;",
            gap="</div>",
            head="<div>",
            foot="</div></div>",
            escapes="xml",
            newline="<br/>",
            blanks="&nbsp;&nbsp;",
        ),
        _document_rewriting(
            "document_html_headings",
            lead="<h3>",
            bare="<p>",
            separator="</h3>\n<p>",
            gap="</p>\n",
            head="<div>\n",
            foot="</p>\n</div>",
            escapes="xml",
            newline="</p>\n<p>",
        ),
        *(
            _document_rewriting(
                name,
                lead="<component><section><title>",
                bare=f"<component><section><text>{opening}",
                separator=f"</title><text>{opening}",
                gap=f"{closing}</text></section></component>{end}",
                head=f"<structuredBody>{end}",
                foot=f"{closing}</text></section></component>{end}</structuredBody>",
                escapes="xml",
                newline=between,
                excludes=frozenset({"end"} if "list" in opening else ()),  # nobody signs in an item of a list
            )
            for name, opening, between, closing, end in (
                ("document_ccda_list", "<list><item>", "</item><item>", "</item></list>", "\n"),
                ("document_ccda_one_line", "<list><item>", "</item><item>", "</item></list>", ""),
                (
                    "document_ccda_paragraph",
                    "<paragraph>",
                    "</paragraph>\n<paragraph>",
                    "</paragraph>",
                    "\n",
                ),
            )
        ),
        replaced("blank_no_break", "blank", " ", "\xa0"),
    ]


REWRITINGS = {rewriting.name: rewriting for rewriting in _table()}
