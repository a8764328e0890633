"""Sentence boundaries inside a unit of text: those of sentencex, corrected for abbreviations, units and codes.

A unit here is a line, several joined lines or a list item. A mark is a bullet, an enumerator or a punctuation mark.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import accumulate, pairwise

from sentencex import segment

from rubricator.nlp.words.tokens import HAS_LETTER_OR_DIGIT, word_set

Span = tuple[int, int]


class SentenceEnds:
    """Finds the sentences inside the units of one text.

    sentencex reads a copy with ASCII characters only, because other characters break some of its rules for English. In
    the copy "<" is replaced too, because it does not open a bracket in notes.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        letters = text if text.isascii() else _ascii_letters(text)
        self._blanks_kept = letters.count(" ") == text.count(" ")  # else another character became a blank
        self._letters = letters.replace("\n", " ").replace("\t", " ").replace("<", "=").replace(">", "=")

    def sentences(self, start: int, end: int) -> list[Span]:
        """The spans of the sentences of text[start:end], which must not begin or end with a blank."""
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
            next_start = start + cut
            word = said[said.rfind(" ") + 1 or -1 : -1]  # empty for a sentence of one word
            if (
                word.isalpha()
                and word.lower() not in _ABBREVIATED
                and said[-1] == "."
                and said_end < next_start
                and unit[cut].isupper()
            ):  # the usual end: a word that is not an abbreviation, a full stop, a blank and a capital
                ordinary += 1
            elif _belongs_together(unit, at - start, cut) or not (
                said[0].isalnum() or HAS_LETTER_OR_DIGIT.search(said)
            ):
                continue
            spans.append((at, said_end))
            at = next_start
            if said_end == at:
                while text[at].isspace():  # after "![1]"
                    at += 1
        if spans and not (text[at].isalnum() or HAS_LETTER_OR_DIGIT.search(text, at, end)):  # "Afebrile. ."
            at = spans.pop()[0]
        spans.append((at, end))
        known = unit.count(".") == ordinary + (unit[-1] == ".")
        missed = [] if known else _missed_starts(unit, sentences)
        if self._blanks_kept and not missed:
            return spans
        starts = [start]
        for at in sorted([*(at for at, _ in spans), *(start + cut for cut in missed)]):
            if HAS_LETTER_OR_DIGIT.search(text, starts[-1], at):
                starts.append(at)
        return [(at, at + len(text[at:cut].rstrip())) for at, cut in pairwise([*starts, end])]


def _missed_starts(unit: str, sentences: Sequence[str]) -> list[int]:
    """The starts of sentences in a unit that sentencex missed."""
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


def _belongs_together(unit: str, start: int, cut: int) -> bool:
    """Whether unit[start:cut] is not a whole sentence, because the text after it belongs to it."""
    period = cut - 1
    while unit[period].isspace():
        period -= 1
    if unit[period] == "?":
        return _doubts(unit, start, period, cut)
    if unit[period] != ".":
        return False
    if period == cut - 1 and not unit[period - 1].islower():  # a dotted code: "B.H.HP.A7A0", "4.B.2"
        return not _ends_closely(unit, period, cut)
    word = _last_word(unit, period)
    word_start = period - len(word)
    if word in _TITLE:
        return not _names_illness(unit, word_start, period, cut)
    if unit[cut].isdigit() and (
        word in _BEFORE_NUMBER or (word in _MEASURED and _is_result(unit, word_start, cut))
    ):
        return True
    if _is_completed(word, unit, cut):
        return True
    if word.isdigit() and _MONTH.match(unit, cut):  # "am 3. Mai"
        return True
    if len(word) > _LONGEST_ABBREVIATION:
        return False
    following = unit[cut]
    capitals = _is_upper(unit)
    if word in _SHORTENED and not _is_lower(unit):
        opens = _opens_phrase(unit, word_start)
        if word in _PATIENT and _is_accompaniment(unit, word_start):
            opens = False
        completed = (
            word in _OPENING or following.isdigit() or capitals or _ACRONYM_NEXT.match(unit, cut) is not None
        )
        if following.islower() or (opens and completed):
            return opens or word not in _CLOSING or _STARTER.match(unit, cut) is None
        if word in _FORMS and _precedes_medicine(unit, word_start, cut):
            return True
    if following.islower() and _NO_VOWEL.fullmatch(word) and not _is_lower(unit) and word not in _CLOSING:
        return not unit[word_start:period].isupper() or (
            _opens_phrase(unit, word_start)
            and not _is_accompaniment(unit, word_start)
            and _SLASHED.match(unit, cut) is None
        )
    if not _closing(word):
        return False
    if capitals:
        return _RATHER_GOES_ON.match(unit, cut) is not None or _PREPOSITION.match(unit, cut) is not None
    starts = _STARTER.match(unit, cut) if _is_lower(unit) else _CAPITALISED.match(unit, cut)
    return starts is None or _RATHER_GOES_ON.match(unit, cut) is not None


def _doubts(unit: str, start: int, mark: int, cut: int) -> bool:
    """Whether a question mark marks a possible diagnosis, "dyspnea ? PE" or "?PE", and not a question."""
    joined = cut == mark + 1
    while mark > start and unit[mark - 1] == "?":
        mark -= 1
    if unit[mark - 1] not in " (/" or _STARTER.match(unit, cut) or _ANSWER.match(unit, cut):
        return False
    return joined or _QUESTION.match(unit, start) is None


def _is_completed(word: str, unit: str, cut: int) -> bool:
    """Whether the text after `word` completes it: a person after an age, "67 y.o. M", or a letter after "vit."."""
    completed_by = _COMPLETED_BY.get(word.lstrip("0123456789-"))
    return completed_by is not None and completed_by.match(unit, cut) is not None


def _names_illness(unit: str, start: int, period: int, cut: int) -> bool:
    """Whether a title in capitals is an illness that ends a sentence: "history of MS. He walks"."""
    return (
        _ACRONYM.fullmatch(unit, start, period) is not None
        and not _is_upper(unit)
        and (_STARTER.match(unit, cut) or _SLASHED.match(unit, cut)) is not None
    )


def _is_result(unit: str, start: int, cut: int) -> bool:
    """Whether the number after a measurement is its result: "Cr. 1.4", but not "5 mg. 2 pills" or "INR. 3 days"."""
    return not _before(unit, start)[-1:].isdigit() and _COUNTED.match(unit, cut) is None


def _precedes_medicine(unit: str, start: int, cut: int) -> bool:
    """Whether a medicine follows its form: "increase Tab. Amlodipine", but not "2 tab. Then" or "the tab. Pain"."""
    if _STARTER.match(unit, cut) or _DIRECTION.match(unit, cut) or not unit[cut].isupper():
        return False
    before = _before(unit, start).rpartition(" ")[2].lower()
    if before[-1:].isdigit() or before in _COUNTING or before in _CLOSING:
        return False
    as_written = unit[start].isupper() and not _is_upper(unit)
    return as_written or _MEDICINE_AND_DOSE.match(unit, cut) is not None


def _ends_sentence(unit: str, period: int, cut: int) -> bool:
    """Whether a sentence ends at a full stop that sentencex takes for the end of an abbreviation."""
    if cut == period + 1:
        return _ends_closely(unit, period, cut)
    word = _last_word(unit, period)
    word_start = period - len(word)
    if not word:  # "vitamin D . Recheck"
        return True
    if word in _TITLE:
        return _names_illness(unit, word_start, period, cut)
    if _RATHER_GOES_ON.match(unit, cut):
        return False
    if _is_completed(word, unit, cut):
        return False
    if word == "no":  # an answer, where no number follows
        return _opens_phrase(unit, word_start)
    if word in _PATIENT and (_is_accompaniment(unit, word_start) or not _opens_phrase(unit, word_start)):
        return not _is_upper(unit) or _PREPOSITION.match(unit, cut) is None
    if word in _OPENING and _opens_phrase(unit, word_start):
        return False
    if not word[-1].isalpha():
        return False
    if cut - period > 2:  # two blanks, as transcriptionists type them
        return True
    if len(word) == 1:  # "hepatitis C. He …" and "2 L. Then …", but "J. Smith"
        before = _before(unit, period - 1)
        return (
            before[-1:].isdigit()
            or _NAMED_BY_LETTER.search(before) is not None
            or _STARTER.match(unit, cut) is not None
        )
    if _is_upper(unit) and _PREPOSITION.match(unit, cut):
        return False
    if _ACRONYM.fullmatch(unit, word_start, period) and not _is_upper(unit):  # "on CT. Heparin"
        return True
    return _closing(word) and _CAPITALISED.match(unit, cut) is not None


def _ends_closely(unit: str, period: int, cut: int) -> bool:
    """Whether a sentence ends at a full stop without a blank after it: "Na 140.Afebrile", "NO FEVER.NO CHILLS"."""
    before, after = unit[period - 1], _CLOSE_WORD.match(unit, cut)
    if after is None:
        return False
    if before.isdigit() or before in ")%" or (before.isupper() and unit[max(period - 2, 0)].isdigit()):
        return len(after[0]) > 1 or _VALUE.match(unit, cut) is not None
    if before.isupper():
        word = _last_word(unit, period)
        if _is_upper(unit):
            return len(word) > 3 and len(after[0]) > 1
        return len(word) > 1 and word.isalpha() and word not in _ABBREVIATED and len(after[0]) > 3
    return False


def _last_word(unit: str, period: int) -> str:
    low = max(0, period - _LONGEST_WORD)
    return unit[max(low, unit.rfind(" ", low, period) + 1) : period].lstrip("(\"'").lower()


def _before(unit: str, start: int) -> str:
    """The text before `start`, as much as the rules look at."""
    return unit[max(0, start - _LONGEST_WORD) : start].rstrip()


@lru_cache(maxsize=4)
def _is_upper(unit: str) -> bool:
    return unit.isupper()


@lru_cache(maxsize=4)
def _is_lower(unit: str) -> bool:
    return unit.islower()


def _opens_phrase(unit: str, start: int) -> bool:
    """Whether a word is the first of the unit, or the first after a punctuation mark."""
    before = _before(unit, start).rstrip(" (\"'")
    return not before or before[-1] in ".:;,!?-/"


def _is_accompaniment(unit: str, start: int) -> bool:
    """Whether "w/" precedes a word: "reviewed w/ pt. Agrees", "afib w/ RVR. s/p"."""
    return unit.endswith("w/ ", 0, start)


def _closing(word: str) -> bool:
    """Whether a word often ends a sentence, as the last word of a dose does: "b.i.d", "mg", "6h", "mL/hr"."""
    if word in _CLOSING or (word[-1:] == "h" and _EVERY_HOURS.fullmatch(word) is not None):
        return True
    return "/" in word and word.rsplit("/", 1)[1] in _PER


def _ascii_letters(text: str) -> str:
    """The text with an ASCII letter of the same case, or an ASCII mark, for each other character. Its length stays."""
    latin = _BEYOND_LATIN.sub(lambda match: _ascii_letter(match[0]), text)
    return latin.encode("latin-1").translate(_latin_letters()).decode("ascii")


@cache
def _latin_letters() -> bytes:
    return bytes(range(128)) + "".join(_ascii_letter(chr(code)) for code in range(128, 256)).encode("ascii")


def _ascii_letter(character: str) -> str:
    plain = _ASCII_MARKS.get(character) or unicodedata.normalize("NFKD", character)[0]
    if plain.isascii() and plain.isprintable():
        return plain
    return ("X" if character.isupper() else "x") if character.isalpha() else "-"


# Abbreviations after which the sentence goes on: _TITLE always; _BEFORE_NUMBER and _MEASURED before a number; _OPENING
# where they open a phrase ("Tab. Amlodipine", but "2 tab. Then"); _SHORTENED before a lower-case letter, in a text that
# has capitals.
_TITLE = word_set(
    "dr drs mr mrs ms prof st vs v approx cf e.g i.e incl esp s/p r/o mt ft dra sra sr srta mme mlle ggf "
    "bzw z.b u.a inkl evtl mon tue tues wed thu thur thurs fri jan feb mar apr aug sept sep oct nov dec strep "
    "staph"
)
_BEFORE_NUMBER = word_set("no nos nr fig figs wt ht temp resp bp hr rr vol gr ca")
_MEASURED = word_set(
    "na k cl mg ca phos bun cr creat glu gluc hgb hb hct wbc rbc plt plts inr alb bili alk ast alt trop ck bnp ldl hdl "
    "tsh esr crp ef sat sats"
)
_FORMS = word_set(
    "tab tabs tabl cap caps inj syr syp susp oint soln sol supp neb nebs amp gtt gtts crm lot drp inh inf ung elix pwd "
    "drps"
)
_PATIENT = word_set("pt pts")
_OPENING = _FORMS | _PATIENT | word_set("cr cont cont'd hx rx tx dx sx fx f/u c/o d/c w ddx")
_SHORTENED = _OPENING | word_set(
    "hist abd neg pos est eval ref diff ext neuro card cardiol mod sev bilat lt rt sup inf ant post lat prox "
    "dist inc dec req rec recs rpt sched appt disch disc dc adm amb assoc avg bx cult freq gen hosp immed "
    "irreg jt mgmt occ orig poss prev prob prog reg surg cx max min med meds resp temp wk mo yr hr sec rom "
    "wnl w/ w/o re b/c s/s h/o p/w y/o exam incr decr sig pulm vanc contd addl diag neurol gastro psych ortho "
    "endo derm onc hem heme ophth uro nephro rheum gyn obs peds fam soc "
    "ca abx atbx vit creat bili trop phos alb lytes coags"
)
_CLOSING = word_set(
    "p.o b.i.d t.i.d q.i.d q.d q.h q.s q.o.d q.h.s q.a.m q.p.m q.wk q.week p.r.n h.s a.c p.c i.v i.m s.c s.q "
    "s.l b.d t.d.s s.o.s o.m o.n bd tds sos mane nocte stat bid tid qid qd qhs prn po subq a.m p.m y.o yr yrs "
    "o.d o.s o.u a.d a.s a.u mg mcg gm ml cc kg oz lb lbs ft in cm mm tab tabs cap caps tsp tbsp gtt sec min "
    "mins hr hrs wk wks mo mos etc ca"
)
_PERSON = re.compile(  # "M", "AAM", "Caucasian female", "Right handed man", "G2P1"
    r"(?:(?:[A-Z][\w/-]*|handed|speaking|dominant)\s+){0,3}"
    r"(?:(?:(?:AA|RH|LH|[WBHC])?[MF]|[WB]|G\d\w*)\b(?!/|\.\w)|(?i:(?:fe)?male|(?:wo)?man|girl|boy|gentleman|lady|"
    r"known case|(?:pt|patient)\.?\s(?:with|w|who))\b)"
)
_COMPLETED_BY = dict.fromkeys(word_set("y.o yo y/o y yr yrs"), _PERSON) | {
    "vit": re.compile(r"[A-EK](?:-?\d{1,2})?\b(?!\.[\w.])")
}
_ABBREVIATED = _TITLE | _BEFORE_NUMBER | _MEASURED | _SHORTENED | _CLOSING | _COMPLETED_BY.keys()
_COUNTING = word_set("a an one two three four half the this that his her each per of whole last")
_PER = word_set("h hr hour min s sec d day wk week mo l dl ml kg m2 mm3 ul hpf hg")
_LONGEST_ABBREVIATION = 7
_EVERY_HOURS = re.compile(r"(?:q\.?)?\d{1,2}h")
_CAPITALISED = re.compile(r"[\"'“(]?[A-Z]")
_RATHER_GOES_ON = re.compile(  # continues a dose, in upper or lower case
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
_QUESTION = re.compile(
    r"\W{0,3}(?:is|are|was|were|do|does|did|has|have|had|can|could|may|will|would|should|any|what|when|where|who|why|how|which)\b",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"(?:yes|none|denies|denied|reports|states|never|always|unknown|oui|non|ja|nein|s[ií])\b", re.IGNORECASE
)
_DIRECTION = re.compile(
    r"(?:take|sig|give|use|apply|qty|disp|dispense|refills?|then|once|repeat|recheck|return)\b", re.IGNORECASE
)
_MEDICINE_AND_DOSE = re.compile(r"[A-Z][\w-]+\s(?:[A-Z][\w-]+\s)?\d")
_COUNTED = re.compile(
    r"\d+(?:-\d+)?(?:/\d+/|\)|\s?(?:days?|d|wks?|weeks?|mos?|months?|yrs?|years?|hrs?|hours?|mins?|minutes?|units?|u|l|"
    r"liters?|episodes?|times|doses?|tabs?|tablets?|caps?|capsules?|pills?|bags?|views?|sets?|x|beats)\b)",
    re.IGNORECASE,
)
_LONGEST_WORD = 80
_NAMED_BY_LETTER = re.compile(
    r"\b(?:hepatitis|vitamins?|vit\.?|type|grade|stage|class|group|factor|protein|influenza|plan|strep|component|room|bay|unit|ward|"
    r"lead|arm|part|option|appendix|schedule|troponin|hemophilia|haemophilia)$",
    re.IGNORECASE,
)
_MONTH = re.compile(
    r"(?:Januar|Februar|M[aä]rz|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Woche|Tag|Grad)\b"
)
_NO_VOWEL = re.compile(r"[bcdfghjklmnpqrstvwxz]{2,5}")
_ACRONYM_NEXT = re.compile(r"[A-Z]{2}")
_SLASHED = re.compile(r"[a-z]/[a-z]\b")  # "s/p", "c/o"
_ACRONYM = re.compile(r"[A-Z]{2,5}")
_CLOSE_WORD = re.compile(r"(?:S[ap]|Fi|[PC])?O2\b|[A-Z][A-Za-z]*(?![\w.]{0,30}\d)")
_VALUE = re.compile(r"[A-Z] \d")
_MAY_END = re.compile(r"[.!?…](?:[\"'”’)\]]*\s|[^\W\d_a-z])")
_PERIOD = re.compile(r"\.(?:\s+(?=\"?[A-Z]|[a-z]/[a-z]\b)|(?=[A-Z]))")
_BRACKET = re.compile(r"\.[)\]]\s+(?=[A-Z])")
_BEYOND_LATIN = re.compile(r"[^\x00-\xff]")
_ASCII_MARKS = dict(zip("‘’‚“”„–—…·¿¡", "''" + '""""--..""', strict=True))
