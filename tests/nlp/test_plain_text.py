"""The plain text of a note loses no word of it, whatever its marks are, and spans stay spans of the note."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.plain_text.plain import read_plain
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.sentences.splitter import split_sentences
from rubricator.nlp.weak_labels import WeakLabelSettings, label_note

TAGS = ("font", "span", "b", "div", "p", "i", "table", "tr", "td", "li", "ul", "h1", "section", "title", "text", "content", "a", "foo", "plan", "o:p", "center")  # fmt: skip
ATTRIBUTES = (
    "",
    " size=2",
    ' style="font-weight:bold"',
    ' style="font-family:"Arial""',
    " title='Plan'",
    ' face="A',
)
MARKS = (
    "<!-- x -->",
    "<![CDATA[",
    "]]>",
    "<![if !vml]>",
    "<?xml v?>",
    "<!DOCTYPE html>",
    "<br/>",
    "&nbsp;",
    "&lt;b&gt;",
)
STRAYS = (
    "<",
    "<b ",
    "BP <",
    "</",
    "<!--",
    "<!",
    "<?",
    "<![",
    "&",
    "&lt;",
    '"',
    "'",
    ">",
    "\0",
    "\x1c",
    "-->",
    "<script>",
)
HIDDEN = (
    "<script>var x;</script>",
    "<style>p {}</style>",
    "<style type='text/css'>\n</STYLE >",
    "<script src='x'/>",
)
WORD = re.compile(r"w\d+x")

tags = st.tuples(st.sampled_from(["<", "</"]), st.sampled_from(TAGS), st.sampled_from(ATTRIBUTES)).map(
    lambda parts: "".join(parts) + ">"
)
words = st.integers(0, 999).map(lambda number: f" w{number}x ")
pieces = st.one_of(
    words, words, tags, st.sampled_from(MARKS), st.sampled_from(HIDDEN), st.sampled_from([" ", "\n"])
)


@given(st.lists(pieces, max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_nesting_of_marks_costs_a_word(parts: list[str]) -> None:
    note = "".join(parts)
    assert WORD.findall(read_plain(note).text) == WORD.findall(note)


@given(st.lists(st.one_of(words, tags, st.sampled_from(STRAYS)), max_size=40))
@settings(max_examples=300, deadline=None)
def test_marks_that_are_none_cost_no_word_but_those_in_a_comment_or_script(parts: list[str]) -> None:
    note = "".join(parts)
    shown = re.sub(r"<!--(?:(?!<!--(?!>)).)*?-->", "", note, flags=re.DOTALL)
    assert set(WORD.findall(shown)) <= set(WORD.findall(read_plain(note).text))


@pytest.mark.parametrize(
    ("note", "plain"),
    [
        ("BP <b and HR > 60, <b>pale</b>", "BP <b and HR > 60, pale"),
        ("<p>K <a lab value and Na > 130</p>", "K <a lab value and Na > 130"),
        ("<b>x</b> <? stop warfarin if INR > 3", "x <? stop warfarin if INR > 3"),
        ("<b>x</b> <!stop warfarin if INR > 3", "x <!stop warfarin if INR > 3"),
        ("<b>x</b> <!-- lost <!-- hidden --> kept", "x <!-- lost  kept"),
        (
            "<b>x</b><!--[if mso]><p>hidden</p><![endif]--> kept <!--[if !mso]><!-- -->y<!--<![endif]-->",
            "x kept y",
        ),
        ("<script>stop warfarin. <b>Rest.</b>", "stop warfarin. Rest."),
        ("<style>p {} </style>stop<style>warfarin", "stopwarfarin"),
        ('<font face="Arial>stop <font face="Arial>warfarin', "stop warfarin"),
        ("<td nowrap>x</td><input disabled/>", "x"),
        ("a <b <i>b</i> c", "a <b b c"),
        ("&lt;b&gt;stop&lt;/b&gt; <i></i><b x>", "stop <b x>"),
        ("{\\rtf1{\\fonttbl{\\f0 Arial;}\\pard Stop warfarin.\\par Rest.}", "Stop warfarin.\nRest."),
        ("{\\rtf1{\\fonttbl{\\f0 Arial;} Stop warfarin.", "Stop warfarin."),
        ("{\\rtf1{\\fonttbl{\\f0 Arial;}}Stop warfarin", "Stop warfarin"),
    ],
)
def test_only_whole_marks_are_removed(note: str, plain: str) -> None:
    assert read_plain(note).text.strip().replace("**", "") == plain


odd = st.sampled_from(
    [*map(chr, (*range(0x20), 0x85, 0xA0, *range(0x2000, 0x2010), 0x2028, 0x2029, 0x202E, 0x202F, 0x3000, 0xFEFF)),
     "\u0301", "\ufe0f\u20e3", "👩🏽\u200d⚕️", "𝐏", "\U0010ffff", "\uf0b7", "①", "\r\n"]
)  # fmt: skip
spoken = st.sampled_from(
    ["PLAN:", "P:", "A/P:", "Plan", "stop", "Dr.", "B.", "O2.", "p.o.", "1.", "2)", "-", "•", "#1", "?", "...", " ", "|",
     "<b>", "</b>", "&nbsp;", "\\n", "\\par ", "{\\rtf1 ", "~", "===", "[x]", "3", "O ", "A. "]
)  # fmt: skip


@given(st.lists(st.one_of(spoken, spoken, odd), max_size=30).map("".join))
@settings(max_examples=500, deadline=None)
def test_spans_of_any_note_are_in_it_in_order_and_not_blank(note: str) -> None:
    sections = SectionFinder().find(note)
    labelled = label_note(note, sections, WeakLabelSettings(), Lexicon.load())
    headings = [(each.heading_start, each.heading_end) for each in sections]
    for spans in (split_sentences(note), [(each.start, each.end) for each in labelled], headings):
        assert all(0 <= start < end <= len(note) and note[start:end].strip() for start, end in spans)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert all(each.heading_end <= each.body_start <= each.body_end <= len(note) for each in sections)
