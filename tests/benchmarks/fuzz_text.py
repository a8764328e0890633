"""Made-up notes with everything that breaks text code, through all that the text of a note reaches.

Example: .venv/bin/python tests/benchmarks/fuzz_text.py --count 1000000 --processes 2

Each string is read as plain text, cut into sections and sentences, labelled and cut into tokens. One in --every also goes
through the spaCy components, the contexts of sentences and a small SVM with its evidence. Prints how many strings broke
a rule (see `faults_of`), the slowest one, and how the time of the slowest ones grows when they get longer.
A failing string is named by its seed and number: `--seed S --only N` prints it.
"""

import argparse
import multiprocessing
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from rubricator.nlp.lexicon.lexicon import Lexicon
from rubricator.nlp.plain_text.plain import read_plain
from rubricator.nlp.sections.finder import SectionFinder
from rubricator.nlp.sentences.splitter import sentence_contexts, split_sentences
from rubricator.nlp.weak_labels import WeakLabelSettings, label_note
from rubricator.nlp.words.tokens import TOKEN

HANG = 10  # seconds
SLOWEST = 8  # strings whose growth is measured
MEASURABLE = 0.01  # seconds

HEADINGS = (
    "PLAN:", "Plan", "Assessment and Plan:", "A/P:", "HPI:", "S:", "O:", "A:", "P:", "ASSESMENT:", "Recomendations",
    "FAMILY HISTORY:", "Impression", "**Plan**", "## Plan", "P L A N", "Plan 4/12:", "Plan (cont.):", "Diagnóstico:",
    "BEURTEILUNG", "Traitement :", "Beleid:", "Meds", "Labs:", "Past Medical History", "Follow-up - ", "PLAN.....",
)  # fmt: skip
WORDS = (
    "stop", "warfarin", "5 mg", "p.o.", "b.i.d.", "BP 120/80", "BP <120", "HR>60", "pt.", "Dr.", "Dr. Roe", "q.6h",
    "denies", "no fever", "N/A", "?", "...", "!!!", "e.g.", "vs.", "#1", "#HTN:", "1.", "2)", "(3)", "a)", "iv.",
    "A.", "B.", "I10", "E11.9", "12/24", "3:45 pm", "T. 37.2", "Pneumonia.", "CT", "follow up", "O2", "No.", "O.",
    "na", "K 4.1", "[x]", "( )", "->", "=>", "--", "___", "====", "***", "|", "||", "a|b", ";", ":", ",", "mother",
    "x-ray", "Ca2+", "μg", "½", "37°C", "Ünal", "naïve", "straße", "ﬁne", "İstanbul", "ß", "Ⅳ", "²", "①", "٣", "中文", "עברית", "عربي",
    "S.", "P.", "w/", "c/o", "\\n", "\\r\\n", "\\t", "\\.br\\", "\\T\\", "\\X0D\\", "_x000D_", "~", "new paragraph",
    "colon", "&nbsp;", "&lt;b&gt;", "&amp;lt;", "&#8226;", "&#0;", "&#xD800;", "&bogus;", "&", "<", ">", ">>", "'", '"',
)  # fmt: skip
MARKUP = (
    "<b>", "</b>", "<font size=2>", "<span style='font-weight:bold'>", "</span>", "<div>", "</div>", "<p", "<br/>",
    "<table><tr><th>", "<td>", "</td>", "</tr>", "<li>", "<!--", "-->", "<![CDATA[", "]]>", "<![if x]>", "<?xml ?>",
    "<!DOCTYPE html>", "<script>", "</script>", "<style>", "<section>", "</section>", "<title>", "</title>", "<plan>",
    "</plan>", "<a href='x", "<b mmHg", "</", "<h3>Plan</h3>", "<dt>", "<foo/>", "<text>", "<content styleCode=Bold>",
    "{\\rtf1 ", "{\\*\\x ", "{\\fonttbl", "{", "}", "\\par ", "\\b ", "\\b0 ", "\\u8217?", "\\'e9", "\\uc0", "\\pard",
    "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoK" * 3, "| a | b |\n|---|---|\n", "a\tb\tc",
)  # fmt: skip
BLANKS = (
    *" \n\t", "\n\n", "\r\n", "\r", "  ", "\n   ", " \n", *map(chr, range(0x2000, 0x2010)), "\xa0", "\u202f", "\u205f",
    "\u3000", "\u2028", "\u2029", "\x85", "\u1680", "\u180e", "\xad", "",
)  # fmt: skip
CONTROLS = (
    *map(chr, range(0x20)), "\x7f", *map(chr, range(0x80, 0xA0)), *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2060, 0x2070)), "\ufeff", "\ufffe", "\uffff", "\ufffd", "\ufffc",
)  # fmt: skip
PICTURES = (
    "\u0301", "e\u0301\u0323", "\u200d", "\ufe0f", "👩🏽\u200d⚕️", "🫀", "1\ufe0f\u20e3", "2\u20e3", "✅", "➡", "→", "•", "‣", "☐",
    "☑", "\uf0b7", "\ue000", "\U000f0000", "𝐏𝐥𝐚𝐧:", "𝒜", "\U0010ffff", "│", "─────", "【Plan】", "：", "。", "؟", "…", "—", "–",
)  # fmt: skip


def note(random_: random.Random) -> str:
    """A made-up note: most are short, some are long lines, deep lists, or one piece many times."""
    kind = random_.random()
    if kind < 0.03:
        return random_.choice(random_.choice(_KINDS))[:1]
    if kind < 0.06:
        unit = "".join(random_.choice(random_.choice(_KINDS)) for _ in range(random_.randint(1, 4)))
        return unit * random_.randint(2, 60)
    pieces = []
    weights = random_.choice(_MIXTURES)
    for _ in range(random_.randint(1, 30 if kind < 0.97 else 300)):
        pieces.append(random_.choice(random_.choices(_KINDS, weights)[0]))
        pieces.append(random_.choice((" ", " ", " ", "", "\n", random_.choice(BLANKS))))
    return "".join(pieces)


_KINDS: tuple[Sequence[str], ...] = (HEADINGS, WORDS, MARKUP, BLANKS, CONTROLS, PICTURES)
_MIXTURES = (
    (2, 8, 0, 1, 1, 1), (2, 6, 4, 1, 1, 0), (1, 2, 1, 4, 6, 1), (3, 6, 0, 0, 0, 4), (1, 1, 1, 1, 1, 1), (4, 8, 0, 0, 0, 0),
)  # fmt: skip


class Faults(NamedTuple):
    """The rules that a string broke, and the seconds that it took."""

    broken: list[str]
    seconds: float


def faults_of(text: str, *, whole: bool) -> Faults:
    """Run a note through everything. whole: also through the slow parts."""
    started = time.perf_counter()
    broken: list[str] = []
    steps: dict[str, Callable[[str], Iterator[str]]] = {"text": _text_faults}
    if whole:
        steps |= {"spacy": _spacy_faults, "svm": _svm_faults}
    for name, step in steps.items():
        try:
            signal.setitimer(signal.ITIMER_REAL, HANG)
            broken += step(text)
        except BaseException as error:  # a panic of a Rust library is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            broken.append(f"{name}: raised {type(error).__name__}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return Faults(broken, time.perf_counter() - started)


def _text_faults(text: str) -> Iterator[str]:
    finder, labels = _finder()
    plain = read_plain(text)
    if len(plain.text) and not 0 <= plain.span_given(0, len(plain.text))[0] <= len(text):
        yield "plain: span"
    sections, rejected = finder.find_with_rejected(text)
    yield from _span_faults("heading", text, [(each.heading_start, each.heading_end) for each in sections])
    bodies = [(each.body_start, each.body_end) for each in sections]
    yield from _span_faults("body", text, bodies, may_be_empty=True)
    if any(text[each.heading_start : each.heading_end] != each.heading for each in sections):
        yield "heading: text"
    if any(each.heading_end > each.body_start for each in sections):
        yield "heading: after its body"
    if any(before.body_end > after.heading_start for before, after in pairwise(sections)):
        yield "body: over the next heading"
    if any(not 0 <= each.start < each.end <= len(text) for each in rejected):
        yield "rejected: span"
    sentences = split_sentences(text)
    yield from _span_faults("sentence", text, sentences)
    labelled = label_note(text, sections, labels, finder.lexicon)
    yield from _span_faults("label", text, [(each.start, each.end) for each in labelled])
    sentence_contexts(text, sentences)
    for match in TOKEN.finditer(plain.text):
        if match.start() >= match.end():
            yield "token: empty"


def _span_faults(
    what: str, text: str, spans: Sequence[tuple[int, int]], *, may_be_empty: bool = False
) -> Iterator[str]:
    for start, end in spans:
        if not 0 <= start <= end <= len(text):
            yield f"{what}: outside the text"
        elif start == end:
            if not may_be_empty:
                yield f"{what}: empty"
        elif not text[start:end].strip():
            yield f"{what}: only white space"
    if any(before[1] > after[0] for before, after in pairwise(spans)):
        yield f"{what}: overlap"


def _spacy_faults(text: str) -> Iterator[str]:
    doc = _spacy()(text)
    if "".join(sentence.text_with_ws for sentence in doc.sents) != text:
        yield "spacy: sentences"


def _svm_faults(text: str) -> Iterator[str]:
    from rubricator.models import predict_notes

    for model in _models():
        rows = predict_notes(model, [text], min_probability=0.0)
        for row in rows.iter_rows(named=True):
            for span in row["evidence"]:
                if not row["start"] <= span["start"] < span["end"] <= row["end"]:
                    yield f"{model.task}: evidence outside the unit"
            if not 0 <= row["probability"] <= 1:
                yield f"{model.task}: probability"


@cache
def _finder() -> tuple[SectionFinder, WeakLabelSettings]:
    return SectionFinder(Lexicon.load()), WeakLabelSettings()


@cache
def _spacy() -> Any:
    import spacy

    nlp = spacy.blank("en")
    nlp.add_pipe("headed_sections")
    nlp.add_pipe("clinical_sentences")
    return nlp


@cache
def _models() -> list[Any]:
    from rubricator.models import fit_model

    random_ = random.Random(0)
    notes = [
        f"HPI:\n{random_.choice(WORDS)} cough for {day} days. No fever.\n\nPLAN:\nReturn in {day} weeks. Stop warfarin."
        for day in range(2, 60)
    ]
    import polars as pl

    coded = pl.DataFrame(
        {
            "note_id": [str(n) for n in range(len(notes))],
            "text": notes,
            "codes": [["I10"] if n % 2 else ["E11.9", "J18.9"] for n in range(len(notes))],
        }
    )
    return [fit_model("plan", notes), fit_model("codes", coded)]


class Result(NamedTuple):
    """What a process found: strings by broken rule, the first number of each, and the slowest strings."""

    count: int
    whole: int
    broken: Counter[str]
    first: dict[str, int]
    slowest: list[tuple[float, int]]


def fuzz(seed: int, numbers: range, every: int) -> Result:
    """Run the strings of these numbers."""
    signal.signal(signal.SIGALRM, _hangs)
    _finder()
    if every:  # loaded before anything is timed
        _spacy(), _models()
    broken: Counter[str] = Counter()
    first: dict[str, int] = {}
    slowest: list[tuple[float, int]] = []
    whole = 0
    for number in numbers:
        slow_parts = bool(every) and number % every < numbers.step
        whole += slow_parts
        faults = faults_of(note(random.Random(f"{seed} {number}")), whole=slow_parts)
        broken.update(set(faults.broken))
        for fault in faults.broken:
            first.setdefault(fault, number)
        if not slow_parts:
            slowest = sorted([*slowest, (faults.seconds, number)], reverse=True)[:SLOWEST]
    return Result(len(numbers), whole, broken, first, slowest)


def _hangs(*_: object) -> None:
    raise TimeoutError


def growth(text: str) -> list[float]:
    """Seconds for the text and for 2, 4 and 8 times the text."""
    seconds = []
    for times in (1, 2, 4, 8):
        repeated = []
        for _ in range(2):
            read_plain.cache_clear()
            repeated.append(faults_of(text * times, whole=False).seconds)
        seconds.append(min(repeated))
    return seconds


def fastest_growing(seed: int, numbers: range) -> list[tuple[float, int, list[float]]]:
    """(seconds of 8 times the text / of 2 times, number, seconds) of strings of one to three pieces, repeated."""
    signal.signal(signal.SIGALRM, _hangs)
    found = []
    for number in numbers:
        seconds = growth(repeated_pieces(seed, number))
        if seconds[-1] > MEASURABLE:
            found.append((seconds[-1] / seconds[1], number, seconds))
    return sorted(found, reverse=True)[:SLOWEST]


def repeated_pieces(seed: int, number: int) -> str:
    """One to three pieces, repeated to about 4,000 characters."""
    random_ = random.Random(f"{seed} repeated {number}")
    unit = "".join(random_.choice(random_.choice(_KINDS)) for _ in range(random_.randint(1, 3))) or "a"
    return unit * (4000 // len(unit))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--every", type=int, default=200, help="one in this many also through spaCy and the SVM; 0: none"
    )
    parser.add_argument(
        "--growth", type=int, default=0, help="also time this many strings of repeated pieces"
    )
    parser.add_argument("--only", type=int, help="print the string of this number, and its faults")
    asked = parser.parse_args()
    if asked.only is not None:
        signal.signal(signal.SIGALRM, _hangs)
        text = note(random.Random(f"{asked.seed} {asked.only}"))
        print(ascii(text), faults_of(text, whole=True))
        return
    started = time.perf_counter()
    parts = [range(first, asked.count, asked.processes) for first in range(asked.processes)]
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        results = pool.starmap(fuzz, [(asked.seed, part, asked.every) for part in parts])
        parts = [range(first, asked.growth, asked.processes) for first in range(asked.processes)]
        grown = [
            each
            for found in pool.starmap(fastest_growing, [(asked.seed, part) for part in parts])
            for each in found
        ]
    broken: Counter[str] = Counter()
    for result in results:
        broken.update(result.broken)
    print(
        f"{sum(each.count for each in results):,} strings, {sum(each.whole for each in results):,} of them through spaCy "
        f"and the SVM, in {time.perf_counter() - started:.0f} s"
    )
    print(f"strings that broke a rule: {broken.total():,}")
    for fault, count in broken.most_common():
        print(
            f"  {fault}: {count:,}, first {min(each.first[fault] for each in results if fault in each.first)}"
        )
    slowest = sorted((pair for each in results for pair in each.slowest), reverse=True)[:SLOWEST]
    signal.signal(signal.SIGALRM, _hangs)
    for seconds, number in slowest:
        text = note(random.Random(f"{asked.seed} {number}"))
        times = " ".join(f"{each * 1000:.1f}" for each in growth(text))
        print(
            f"  slow: {seconds * 1000:.1f} ms, number {number}, {len(text):,} characters; × 1, 2, 4, 8: {times} ms"
        )
    for ratio, number, of_lengths in sorted(grown, reverse=True)[:SLOWEST]:
        times = " ".join(f"{each * 1000:.0f}" for each in of_lengths)
        unit = ascii(repeated_pieces(asked.seed, number)[:60])
        print(f"  growth: {ratio:.1f} times for 4 times the text, number {number}; {times} ms; {unit}")


if __name__ == "__main__":
    main()
