"""Words that a note does not assert of its patient: negated, uncertain or only thought of, or of another person.

The rules are data (assertions.toml). They follow NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009).
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, Self

from rubricator.nlp.hidden_text import hides_text
from rubricator.nlp.module_data import toml_of
from rubricator.nlp.sections.finder import SectionFinder

UNCERTAIN, NEGATED, OTHER_PERSON = "?", "¬", "@"  # marks, never part of a word
MARKS = (UNCERTAIN, NEGATED, OTHER_PERSON)  # of scopes that overlap, the last one counts

_NAMED = {"uncertain": UNCERTAIN, "negated": NEGATED, "other_person": OTHER_PERSON}
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[.,;:!?=(\[–—\n-]")  # with the marks that rules are about
_WORD_ENDS = re.compile(r"$| (?!\?)|[:/,]|\[ -\](?!\?)|\(\?:[ ,]")  # in a regular expression
_FIRST_MARK = re.compile(r"\[(?:\\.|[^\]])*\]|\\.|.")
_BLANK = r"(?:\s{1,4})"
_BEFORE_TRIGGER = " \t\xa0:=([–—-"  # between a trigger and the words before it: "Asthma: absent"
_LONGEST_GAP = 500  # characters
_FAMILY = re.compile(
    r"\bfami|\bfam\b|\bf[.]?m?h|\bparent|sibling", re.IGNORECASE
)  # in headings of the family's history
_WRAPPED = 50  # characters of a line that is broken inside a sentence, at least


@hides_text()
class Scope(NamedTuple):
    """text[start:end] is not asserted of the patient. mark: one of MARKS."""

    start: int
    end: int
    mark: str


def assertion_scopes(text: str) -> list[Scope]:
    """The scope of each trigger, and the bodies of sections on the history of the family.

    They are in the order of MARKS, and then from left to right. Scopes may overlap.
    """
    lower = _lower(text)
    triggers, clauses = _read(lower)
    scopes = [
        Scope(*span, trigger.mark)
        for trigger, start, end in triggers
        for span in _spans(lower, start, end, trigger, clauses)
    ]
    if _FAMILY.search(text):
        scopes += [Scope(start, end, OTHER_PERSON) for start, end in _family_sections(text)]
    found = (scope for scope in scopes if scope.start < scope.end)
    return sorted(found, key=lambda scope: MARKS.index(scope.mark))


class _Trigger(NamedTuple):
    """A table of [[triggers]] in assertions.toml. mark: empty where nothing is marked."""

    mark: str
    words: str
    most: int | None
    lists: bool


class _Clauses:
    """Where the scopes of a text begin and end, as sorted offsets.

    A clause is cut at commas and conjunctions into parts. A part that has an asserting word is no item of a list.

    after: ends of scopes after a trigger, where a clause ends or an asserting part begins. before: beginnings of scopes
    before a trigger, where a clause begins or an asserting part ends. part: beginnings of all parts. other: ends of
    scopes on another person.
    """

    def __init__(self) -> None:
        self.after: list[int] = []
        self.other: list[int] = []
        self.before, self.part = [0], [0]
        self._cut: int | None = None  # where the present part was cut off
        self._asserts = False

    def add(self, kind: str, start: int, end: int) -> None:
        """What is next in the text. kind: "end" of a clause, "cut", "or", "asserting", or "another"."""
        if "another" in kind:
            self.other.append(start)
        if "asserting" in kind:
            if self._cut is not None:
                self.after.append(self._cut)
            self._cut, self._asserts = None, True
        elif kind == "cut":
            self.part.append(end)
            if self._asserts:
                self.before.append(end)
            self._cut, self._asserts = start, False
        elif kind == "or":
            self.part.append(end)
            self._cut = None
        elif kind == "end":
            for ends in (self.after, self.other):
                ends.append(start)
            for begins in (self.before, self.part):
                begins.append(end)
            self._cut, self._asserts = None, False


def _read(lower: str) -> tuple[list[tuple[_Trigger, int, int]], _Clauses]:
    """The triggers with their offsets, and the clauses."""
    triggers, clauses = [], _Clauses()
    read = 0  # end of the last trigger
    for match in _TOKEN.finditer(lower):
        start, end = match.span()
        trigger, part = _beginning_with(match.group())
        if trigger and start >= read and (found := trigger.match(lower, start)):
            read = found.end()
            triggers.append((_rules().triggers[int(str(found.lastgroup)[1:])], start, read))
        if part and (found := part.match(lower, start)):
            kind = str(found.lastgroup)
            if kind != "end" or _ends_clause(lower, start):
                clauses.add(kind, start, max(end, found.end()))
    clauses.add("end", len(lower), len(lower))
    return triggers, clauses


def _ends_clause(lower: str, at: int) -> bool:
    """Not if it is the point of a number, or the end of a long line that goes on in lower case."""
    if lower[at] == ".":
        return not lower[at + 1 : at + 2].isdigit()
    if lower[at] == "\n":
        long = "\n" not in lower[max(at - _WRAPPED, 0) : at] and at >= _WRAPPED
        return not (long and lower[at - 1].isalnum() and lower[at + 1 : at + 2].isalpha())
    return True


def _spans(
    lower: str, start: int, end: int, trigger: _Trigger, clauses: _Clauses
) -> Iterator[tuple[int, int]]:
    """What the trigger in lower[start:end] marks."""
    if trigger.words == "within":
        first = _WORD.match(lower, start)
        yield (first.end() if first else start), end
    if trigger.words in ("before", "both"):
        yield _before(lower, start, trigger, clauses)
    if trigger.words in ("after", "both"):
        if lower.startswith(":", end):
            end += 1
        stops = clauses.other if trigger.mark == OTHER_PERSON else clauses.after
        stop = stops[min(bisect_left(stops, end), len(stops) - 1)]
        if trigger.most is not None:
            words = zip(range(trigger.most), _WORD.finditer(lower, end, stop), strict=False)
            stop = max((word.end() for _, word in words), default=end)
        yield end, stop


def _before(lower: str, start: int, trigger: _Trigger, clauses: _Clauses) -> tuple[int, int]:
    """The scope before a trigger. A colon or an opening bracket directly before the trigger does not end it."""
    near = max(start - _LONGEST_GAP, 0)
    gap = max(lower.rfind("\n", near, start) + 1, near)
    stop = gap + len(lower[gap:start].rstrip(_BEFORE_TRIGGER))
    begins = clauses.before if trigger.lists else clauses.part
    first = begins[max(bisect_right(begins, stop) - 1, 0)]
    if trigger.most is not None:
        words = [word.start() for word in _WORD.finditer(lower, max(first, stop - _LONGEST_GAP), stop)]
        first = words[-trigger.most] if len(words) >= trigger.most else first
    return first, stop


def _family_sections(text: str) -> Iterator[tuple[int, int]]:
    """The bodies of sections that hold the history of the family and nothing else."""
    for section in _section_finder().find(text):
        if section.category == "family_history" and "soc" not in section.heading.lower():
            yield section.body_start, section.body_end


@lru_cache(maxsize=1)
def _section_finder() -> SectionFinder:
    return SectionFinder()


def _lower(text: str) -> str:
    """The text in lower case, of the same length."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


class _Phrase(NamedTuple):
    """A phrase to be looked up by its first token.

    group: of the pattern. first: how a first word may begin, with a blank after a whole word; empty where the phrase
    begins with punctuation.
    """

    group: str
    first: tuple[str, ...]
    pattern: str

    @classmethod
    def of(cls, group: str, phrase: str) -> Self:
        """phrase: as in the file, with its lists filled in. A word at its end is whole."""
        pattern = phrase.replace("[ -]", r"[\s-]").replace(" ", _BLANK) + r"(?!(?<=\w)\w)"
        return cls(group, tuple(_first_words(phrase)), pattern)

    def may_begin_with(self, token: str) -> bool:
        """Whether the first token of the phrase can be this one."""
        if token[0].isalnum():
            return f"{token} ".startswith(self.first)
        mark = _FIRST_MARK.match(self.pattern)
        return not self.first and mark is not None and re.fullmatch(mark.group(), token) is not None


class _Rules(NamedTuple):
    """Triggers, their phrases, and the words and marks that clauses are cut at. Group t7 is of triggers[7].

    The phrases are under their first letter; those that begin with punctuation are under "".
    """

    triggers: list[_Trigger]
    phrases: dict[str, list[_Phrase]]
    parts: dict[str, list[_Phrase]]


@lru_cache(maxsize=1)
def _rules() -> _Rules:
    rules = toml_of(__name__)
    lists = {name: "|".join(words) for name, words in rules["words"].items()}
    triggers, phrases = [], []
    for number, table in enumerate(rules["triggers"]):
        mark = _NAMED.get(table["marks"], "")
        triggers.append(_Trigger(mark, table["words"], table.get("most"), table.get("lists", True)))
        for phrase in table["phrases"]:
            filled = re.sub(r"{([a-z]\w*)}", lambda name: lists[name.group(1)], phrase)
            phrases.append(_Phrase.of(f"t{number}", filled))
    asserting, another = rules["asserting"]["words"], rules["another"]["words"]
    kinds = {
        "end": [*rules["ends"]["words"], r"[;!?.:\n]"],
        "or": ["or", "nor"],
        "cut": ["and(?!/)", ",", r"\(", r"[–—-](?=\s)"],
        "asserting_another": [word for word in asserting if word in another],
        "asserting": [word for word in asserting if word not in another],
        "another": [word for word in another if word not in asserting],
    }
    parts = [_Phrase.of(kind, word) for kind, words in kinds.items() for word in words]
    return _Rules(triggers, _by_letter(phrases), _by_letter(parts))


def _by_letter(phrases: Iterable[_Phrase]) -> dict[str, list[_Phrase]]:
    by_letter: dict[str, list[_Phrase]] = {}
    for phrase in phrases:
        for letter in dict.fromkeys(first[0] for first in phrase.first) or [""]:
            by_letter.setdefault(letter, []).append(phrase)
    return by_letter


@lru_cache(maxsize=200_000)
def _beginning_with(token: str) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    """What finds the triggers, and the parts of clauses, that begin with this word or punctuation mark."""
    rules = _rules()
    return _that_begin_with(token, rules.phrases), _that_begin_with(token, rules.parts)


def _that_begin_with(token: str, phrases: dict[str, list[_Phrase]]) -> re.Pattern[str] | None:
    of_group: dict[str, list[str]] = {}
    for phrase in phrases.get(token[0] if token[0].isalnum() else "", ()):
        if phrase.may_begin_with(token):
            of_group.setdefault(phrase.group, []).append(phrase.pattern)
    found = "|".join(f"(?P<{group}>{'|'.join(patterns)})" for group, patterns in of_group.items())
    return _compiled(found) if found else None


@lru_cache(maxsize=10_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _first_words(phrase: str, rest: str = "") -> Iterator[str]:
    """The first words of a phrase, see _Phrase.first. rest: what follows the phrase."""
    if not phrase.startswith("(?:"):
        if word := re.match(r"[\w']+", phrase):
            follows = phrase[word.end() :] + rest
            yield (
                word.group()[:-1]
                if follows[:1] in ("?", "*")
                else word.group() + " " * bool(_WORD_ENDS.match(follows))
            )
        return
    choices, depth, end = [""], 0, 3
    while (letter := phrase[end]) != ")" or depth:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and not depth:
            choices.append("")
        else:
            choices[-1] += letter
        end += 1
    optional = phrase[end + 1 : end + 2] in ("?", "*")
    rest = phrase[end + 1 + optional :] + rest
    for choice in choices:
        yield from _first_words(choice, rest)
    if optional:
        yield from _first_words(re.sub(r"^(?:\[ -\]|[ -])\?", "", rest))
