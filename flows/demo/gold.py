"""Compare predictions on synthetic notes with the gold of these notes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rubricator.flows.demo.synthetic import Gold

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of predicted and gold items, for precision and recall."""

    found: int  # predicted items
    right: int  # predicted items that are in the gold
    known: int  # gold items
    recalled: int  # gold items that were predicted

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        return self.recalled / self.known if self.known else 0.0

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True)
class GoldComparison:
    """Scores of predictions on unseen synthetic notes against their gold."""

    plan_unheaded: Score
    plan_headed: Score
    codes: Score
    evidence: Score  # of rightly predicted codes: is the strongest span a mention of the condition?
    not_to_be_coded: dict[str, tuple[int, int]]  # negated, family, hypothetical: (mentioned, yet predicted)

    def scores(self) -> dict[str, Score]:
        """The scores of sentences and codes, by what was predicted."""
        return {
            "plan sentences, notes without headings": self.plan_unheaded,
            "plan sentences, notes with headings": self.plan_headed,
            "ICD-10-CM codes": self.codes,
        }


def compare_with_gold(
    gold: Iterable[Gold], sentences_of: Mapping[str, Sequence[Row]], codes_of: Mapping[str, Sequence[Row]]
) -> GoldComparison:
    """Score the positive rows of two predictions tables, by note_id, on the notes of `gold`.

    A predicted sentence is right if over half of it lies in gold plan sentences. A gold sentence is found if over half
    of it lies in predicted ones.
    """
    plan: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    coded: Counter[str] = Counter()
    mentioned: Counter[str] = Counter()
    wrongly: Counter[str] = Counter()
    for note in gold:
        spans = [(row["start"], row["end"]) for row in sentences_of.get(note.note_id, ())]
        plan[note.style == "unheaded"].update(_sentences(note, spans))
        predicted = {row["label"]: row for row in codes_of.get(note.note_id, ())}
        coded.update(_codes(note, predicted))
        for code, why in _must_not(note):
            mentioned[why] += 1
            wrongly[why] += code in predicted
    return GoldComparison(
        plan_unheaded=_score(plan[True]),
        plan_headed=_score(plan[False]),
        codes=Score(coded["found"], coded["right"], coded["known"], coded["right"]),
        evidence=Score(coded["right"], coded["evidence"], coded["right"], coded["evidence"]),
        not_to_be_coded={why: (mentioned[why], wrongly[why]) for why in sorted(mentioned)},
    )


def by_note(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The positive rows of a predictions table, by note_id."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["decision"] != "reject":
            found.setdefault(row["note_id"], []).append(row)
    return found


def _sentences(note: Gold, spans: Sequence[tuple[int, int]]) -> dict[str, int]:
    return {
        "found": len(spans),
        "right": sum(_covered(span, note.plan) for span in spans),
        "known": len(note.plan),
        "recalled": sum(_covered(span, spans) for span in note.plan),
    }


def _codes(note: Gold, predicted: Mapping[str, Row]) -> dict[str, int]:
    right = predicted.keys() & set(note.codes)
    return {
        "found": len(predicted),
        "right": len(right),
        "known": len(note.codes),
        "evidence": sum(_names_condition(note, code, predicted[code]) for code in right),
    }


def _names_condition(note: Gold, code: str, row: Row) -> bool:
    """Whether the strongest span of evidence touches a mention of the condition."""
    strongest = max(row["evidence"], key=lambda span: span["weight"], default=None)
    return strongest is not None and any(
        mention.code == code and mention.start < strongest["end"] and strongest["start"] < mention.end
        for mention in note.mentions
    )


def _must_not(note: Gold) -> set[tuple[str, str]]:
    """Codes that are mentioned and must not be given, each with the reason."""
    return {(m.code, m.why_not) for m in note.mentions if m.why_not and m.code not in note.codes}


def _score(counts: Counter[str]) -> Score:
    return Score(**{name: counts[name] for name in ("found", "right", "known", "recalled")})


def _covered(span: tuple[int, int], others: Iterable[tuple[int, int]]) -> bool:
    """Whether over half of the span lies in the others, which do not overlap."""
    start, end = span
    common = sum(max(0, min(end, stop) - max(start, begin)) for begin, stop in others)
    return 2 * common > end - start
