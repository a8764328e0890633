"""Where sentences end inside a unit of text: sentencex's boundaries, mended for abbreviations, units and codes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

from sentencex import segment

Span = tuple[int, int]


class SentenceEnds:
    """Finds the sentences inside the units of one text.

    The rules for English need no letters beyond ASCII, and some of them it cannot bear; "<" opens no bracket here.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._ascii = text.isascii()
        letters = text if self._ascii else _NOT_ASCII.sub(_ascii_letter, text)
        self._letters = letters.replace("\n", " ").replace("\t", " ").replace("<", "=").replace(">", "=")

    def sentences(self, start: int, end: int) -> list[Span]:
        """The sentences of text[start:end], whose first and last characters are no blanks."""
        text = self._text
        if text.find(". ", start, end) < 0 and not _MAY_END.search(text, start, end):
            return [(start, end)]
        unit = self._letters[start:end]
        sentences = segment("en", unit)
        spans = []
        at, cut, ordinary = start, 0, 0
        for sentence in sentences[:-1]:
            said = sentence.rstrip()
            said_end = start + cut + len(said)
            cut += len(sentence)
            word = said[said.rfind(" ") + 1 or -1 : -1]  # nothing for a sentence of one word
            if (
                word.isalpha()
                and word.lower() not in _ABBREVIATED
                and said[-1] == "."
                and len(said) < len(sentence)
                and unit[cut].isupper()
            ):  # most end so: a word that is no abbreviation, a full stop, a blank and a capital
                ordinary += 1
            elif _belongs_together(unit, cut):
                continue
            spans.append((at, said_end))
            at = start + cut
        spans.append((at, end))
        if unit.count(".") == ordinary + (unit[-1] == ".") and self._ascii:
            return spans
        starts = [at for at, _ in spans] + [start + cut for cut in _missed_starts(unit, sentences)]
        return [(at, at + len(text[at:cut].rstrip())) for at, cut in pairwise([*sorted(starts), end])]


def _missed_starts(unit: str, sentences: Sequence[str]) -> list[int]:
    """Where sentences of a unit start that sentencex did not tell from the one before."""
    known = set(accumulate(map(len, sentences)))
    missed = [
        cut
        for match in _PERIOD.finditer(unit)
        if (cut := match.end()) not in known and _ends_sentence(unit, match.start(), cut)
    ]
    if ".)" in unit or ".]" in unit:  # a sentence in brackets
        missed += [
            match.end()
            for match in _BRACKET.finditer(unit)
            if match.end() not in known and _last_word(unit, match.start()) not in _TITLE | _SHORTENED
        ]
    return missed


def _belongs_together(unit: str, cut: int) -> bool:
    """Whether what stands before the cut is completed by the word after it."""
    period = cut - 1
    while unit[period].isspace():
        period -= 1
    if unit[period] != ".":
        return False
    if period == cut - 1 and not unit[period - 1].islower():  # a dotted code: "B.H.HP.A7A0", "4.B.2"
        return not _ends_closely(unit, period, cut)
    word = _last_word(unit, period)
    if word in _TITLE or (word in _BEFORE_NUMBER and unit[cut].isdigit()):
        return True
    if word.isdigit() and _MONTH.match(unit, cut):  # "am 3. Mai"
        return True
    if len(word) > _LONGEST_ABBREVIATION:
        return False
    following = unit[cut]
    shouting = unit.isupper()
    if word in _SHORTENED and not unit.islower():
        opens = _opens_phrase(unit, period - len(word))
        completed = (
            word in _OPENING or following.isdigit() or shouting or _ACRONYM_NEXT.match(unit, cut) is not None
        )
        if following.islower() or (opens and completed):
            return opens or word not in _CLOSING or _STARTER.match(unit, cut) is None
    if following.islower() and _NO_VOWEL.fullmatch(word) and not unit.islower() and word not in _CLOSING:
        return True
    if not _closing(word):
        return False
    if shouting:
        return _RATHER_GOES_ON.match(unit, cut) is not None or _PREPOSITION.match(unit, cut) is not None
    starts = _STARTER.match(unit, cut) if unit.islower() else _CAPITALISED.match(unit, cut)
    return starts is None or _RATHER_GOES_ON.match(unit, cut) is not None


def _ends_sentence(unit: str, period: int, cut: int) -> bool:
    """Whether a sentence ends at a full stop that sentencex takes for an abbreviation's."""
    if cut == period + 1:
        return _ends_closely(unit, period, cut)
    word = _last_word(unit, period)
    if not word:  # "vitamin D . Recheck"
        return True
    if word in _TITLE or _RATHER_GOES_ON.match(unit, cut):
        return False
    if word == "no":  # an answer, where no number follows
        return _opens_phrase(unit, period - 2)
    if word in _OPENING and _opens_phrase(unit, period - len(word)):
        return False
    if not word[-1].isalpha():
        return False
    if cut - period > 2:  # two blanks, as transcriptionists type them
        return True
    if len(word) == 1:  # "hepatitis C. He …" and "2 L. Then …", but "J. Smith"
        before = unit[: period - 1].rstrip()
        return (
            before[-1:].isdigit()
            or _NAMED_BY_LETTER.search(before) is not None
            or _STARTER.match(unit, cut) is not None
        )
    if unit.isupper() and _PREPOSITION.match(unit, cut):
        return False
    if _ACRONYM.fullmatch(unit, period - len(word), period) and not unit.isupper():  # "on CT. Heparin"
        return True
    return _closing(word) and _CAPITALISED.match(unit, cut) is not None


def _ends_closely(unit: str, period: int, cut: int) -> bool:
    """Whether a sentence ends at a full stop without a blank after it: "Na 140.Afebrile", "NO FEVER.NO CHILLS"."""
    before, after = unit[period - 1], _CLOSE_WORD.match(unit, cut)
    if after is None:
        return False
    if before.isdigit() or before == ")":
        return len(after[0]) > 1 or _VALUE.match(unit, cut) is not None
    if before.isupper():
        return unit.isupper() and len(_last_word(unit, period)) > 3 and len(after[0]) > 1
    return False


def _last_word(unit: str, period: int) -> str:
    return unit[unit.rfind(" ", 0, period) + 1 : period].lstrip("(\"'").lower()


def _opens_phrase(unit: str, start: int) -> bool:
    """Does a word begin the unit, or what follows a mark?"""
    before = unit[:start].rstrip(" (\"'")
    return not before or before[-1] in ".:;,!?-/"


def _closing(word: str) -> bool:
    """Is it a dose's last word: "b.i.d", "mg", "6h", "mL/hr"?"""
    if word in _CLOSING or (word[-1:] == "h" and _EVERY_HOURS.fullmatch(word) is not None):
        return True
    return "/" in word and word.rsplit("/", 1)[1] in _PER


def _ascii_letter(match: re.Match[str]) -> str:
    return _in_ascii(match[0])


@lru_cache(maxsize=1024)
def _in_ascii(character: str) -> str:
    """A letter of the same case, or a mark, in the place of one that ASCII lacks."""
    plain = _ASCII_MARKS.get(character) or unicodedata.normalize("NFKD", character)[0]
    if plain.isascii() and plain.isprintable():
        return plain
    return ("X" if character.isupper() else "x") if character.isalpha() else "-"


def words(listing: str) -> frozenset[str]:
    return frozenset(listing.split())


# Abbreviations that the next word completes: always; before a number; where they open a phrase ("Tab. Amlodipine",
# but "2 tab. Then"); before a small letter, in a text that has capitals.
_TITLE = words(
    "dr drs mr mrs ms prof st vs v approx ca cf e.g i.e incl esp s/p r/o mt ft dra sra sr srta mme mlle ggf "
    "bzw z.b u.a inkl evtl mon tue tues wed thu thur thurs fri jan feb mar apr aug sept sep oct nov dec strep "
    "staph"
)
_BEFORE_NUMBER = words("no nos nr fig figs wt ht temp resp bp hr rr vol gr")
_OPENING = words(
    "tab tabs cap caps inj syr susp oint soln sol supp neb nebs amp gtt gtts cr lot drp inh inf ung cont "
    "cont'd hx rx tx dx sx fx pt pts f/u c/o d/c w ddx"
)
_SHORTENED = _OPENING | words(
    "hist abd neg pos est eval ref diff ext neuro card cardiol mod sev bilat lt rt sup inf ant post lat prox "
    "dist inc dec req rec recs rpt sched appt disch disc dc adm amb assoc avg bx cult freq gen hosp immed "
    "irreg jt mgmt occ orig poss prev prob prog reg surg cx max min med meds resp temp wk mo yr hr sec rom "
    "wnl w/ w/o re b/c s/s h/o p/w y/o exam incr decr sig pulm vanc contd addl diag neurol gastro psych ortho "
    "endo derm onc hem heme ophth uro nephro rheum gyn obs peds fam soc"
)
_CLOSING = words(
    "p.o b.i.d t.i.d q.i.d q.d q.h q.s q.o.d q.h.s q.a.m q.p.m q.wk q.week p.r.n h.s a.c p.c i.v i.m s.c s.q "
    "s.l b.d t.d.s s.o.s o.m o.n bd tds sos mane nocte stat bid tid qid qd qhs prn po subq a.m p.m y.o yr yrs "
    "o.d o.s o.u a.d a.s a.u mg mcg gm ml cc kg oz lb lbs ft in cm mm tab tabs cap caps tsp tbsp gtt sec min "
    "mins hr hrs wk wks mo mos etc"
)
_ABBREVIATED = _TITLE | _BEFORE_NUMBER | _SHORTENED | _CLOSING
_PER = words("h hr hour min s sec d day wk week mo l dl ml kg m2 mm3 ul hpf hg")
_LONGEST_ABBREVIATION = 7
_EVERY_HOURS = re.compile(r"(?:q\.?)?\d{1,2}h")
_CAPITALISED = re.compile(r"[\"'“(]?[A-Z]")
_RATHER_GOES_ON = re.compile(  # after a dose, whatever its case
    r"(?:daily|twice|once|every|each|per|for|with|and|or|to|x|"
    r"(?:[bt]\.?i\.?d|[bot]\.?d(?:\.?s)?|q\.?i\.?d|p\.?r\.?n|p\.?o|i\.?[vm]|q(?:hs|d|am|pm)?)\b(?!\s[a-z]|-))\b",
    re.IGNORECASE,
)
_PREPOSITION = re.compile(
    r"(?:FROM|SINCE|OF|IN|ON|AT|BY|BEFORE|AFTER|UNTIL|DURING|UNDER|AGO|LATER|OVER|AS)\b"
)
_STARTER = re.compile(
    r"(?:he|she|they|it|we|i|the|this|that|these|there|patient|pt|no|on|in|his|her|will|continue|follow|f/u)\b",
    re.IGNORECASE,
)
_NAMED_BY_LETTER = re.compile(
    r"\b(?:hepatitis|vitamins?|type|grade|stage|class|group|factor|protein|influenza|plan|strep|component|room|bay|unit|ward|"
    r"lead|arm|part|option|appendix|schedule|troponin|hemophilia|haemophilia)$",
    re.IGNORECASE,
)
_MONTH = re.compile(
    r"(?:Januar|Februar|M[aä]rz|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Woche|Tag|Grad)\b"
)
_NO_VOWEL = re.compile(r"[bcdfghjklmnpqrstvwxz]{2,5}")
_ACRONYM_NEXT = re.compile(r"[A-Z]{2}")
_ACRONYM = re.compile(r"[A-Z]{2,5}")
_CLOSE_WORD = re.compile(r"[A-Z][A-Za-z]*(?![\w.]*\d)")
_VALUE = re.compile(r"[A-Z] \d")
_MAY_END = re.compile(r"[.!?…](?:[\"'”’)\]]*\s|[^\W\d_a-z])")
_PERIOD = re.compile(r"\.(?:\s+(?=\"?[A-Z])|(?=[A-Z]))")
_BRACKET = re.compile(r"\.[)\]]\s+(?=[A-Z])")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_ASCII_MARKS = dict(zip("‘’‚“”„–—…·¿¡", "''" + '""""--..""', strict=True))
