"""Mentions and names of codes that are found in notes, and counts of them over the training notes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rubricator.models.mentions.dictionary import LEAST_MINED, Dictionary
from rubricator.models.mentions.matching import Float, Int, Name, NoteWords, PartMatches, WholeMatch

_LEAST_OF_MENTION = 0.4  # share of a mention, by weight of words, that must stand in one clause
_LEAST_OF_TITLE = 0.5


class WholeMatches(NamedTuple):
    """Mentions that are found whole, in the order of note and mention. Each array is (matches,)."""

    note: Int
    mention: Int
    first: Int  # number of the first word in the note
    last: Int
    denied: NDArray[np.bool_]  # see NoteWords
    place: Float  # position of the first word in the note, from 0 to 1
    inside: Int  # number of the longest name of a code that is found whole around it, with more words; -1 for none

    def take(self, at: Int) -> "WholeMatches":
        """The matches of these numbers."""
        return WholeMatches(
            self.note[at],
            self.mention[at],
            self.first[at],
            self.last[at],
            self.denied[at],
            self.place[at],
            self.inside[at],
        )


class TitleEvidence(NamedTuple):
    """Evidence from the names of a code, in a note. Each array is (entries,)."""

    whole: Float  # 1: a name was found whole
    weight: Float  # of the heaviest name that was found whole
    times: Float  # largest number of times that one name was found whole
    denied: Float  # share of the whole finds that are denied, see NoteWords
    part_share: Float  # found share of the name of which the most weight was found in one clause
    part_weight: Float  # weight of all words of this name


class Titles(NamedTuple):
    """Names of codes that are found. key: note · codes + code, sorted."""

    key: Int
    evidence: TitleEvidence


class Found(NamedTuple):
    """All that is found in notes, also mentions that Counts then rule out. notes: number of notes."""

    notes: int
    whole: WholeMatches
    parts: PartMatches
    titles: Titles


class Counts(NamedTuple):
    """Numbers of training notes. A link is a mention and a label that it was marked for."""

    marked: Float  # links: notes where the mention was marked for the label
    hits: Float  # links: of these, those where the mention is found
    right: Float  # links: notes where the mention is found, with the label
    found: Float  # mentions: notes where it is found
    labels: Float  # labels: notes with it

    def without(self, dictionary: Dictionary, hidden: NDArray[np.bool_]) -> "Counts":
        """The counts as if no note had the hidden labels (labels,)."""
        kept = ~hidden[dictionary.mentions.code]
        return self._replace(
            marked=self.marked * kept,
            hits=self.hits * kept,
            right=self.right * kept,
            labels=self.labels * ~hidden,
        )


class Event(NamedTuple):
    """Occurrences to be counted. Each array is (occurrences,)."""

    note: Int
    what: Int  # number of a link or mention


def match(dictionary: Dictionary, notes: Sequence[NoteWords]) -> Found:
    """Find mentions, parts of mentions and names of codes in notes."""
    titles = [list(dictionary.title_index.whole(note)) for note in notes]
    whole = [
        (row, name, first, last, note.denied[first], first / len(note.keys), inside)
        for row, note in enumerate(notes)
        for name, first, last in dictionary.mention_index.whole(note)
        for inside in [_longest_around(dictionary, titles[row], name, first, last)]
    ]
    columns = np.array(whole, np.float64).reshape(-1, len(WholeMatches._fields)).T
    row, name, first, last, _, _, inside = (column.astype(np.int64) for column in columns)
    return Found(
        len(notes),
        WholeMatches(row, name, first, last, columns[4] > 0, columns[5], inside),
        dictionary.mention_index.parts(notes, _LEAST_OF_MENTION, misspelt=True),
        _match_titles(dictionary, notes, titles),
    )


def _longest_around(
    dictionary: Dictionary, titles: Sequence[WholeMatch], mention: int, first: int, last: int
) -> int:
    """Number of the name with the most words, of those around this mention that have all its words and more; or -1."""
    words = set(dictionary.mentions.names[mention])
    around = [
        title.name
        for title in titles
        if title.first <= first and title.last >= last and words < set(dictionary.titles.names[title.name])
    ]
    return max(around, key=lambda name: len(dictionary.titles.names[name]), default=-1)


def _match_titles(
    dictionary: Dictionary, notes: Sequence[NoteWords], found_whole: Sequence[Sequence[WholeMatch]]
) -> Titles:
    weights, codes = dictionary.title_index.weights, len(dictionary.codes)
    finds = [
        ((row, name), note.denied[first])
        for row, (note, titles) in enumerate(zip(notes, found_whole, strict=True))
        for name, first, _ in titles
    ]
    places, denials = (
        Counter(place for place, _ in finds),
        Counter(place for place, denied in finds if denied),
    )
    row, name = np.array(list(places), np.int64).reshape(-1, 2).T
    which, link = dictionary.titles.spread(name)
    times = np.array(list(places.values()), np.float64)[which]
    denied = np.array([denials[place] for place in places], np.float64)[which]
    whole = row[which] * codes + dictionary.titles.code[link]
    weight = weights[name[which]]
    row, name, shares, _ = dictionary.title_index.parts(notes, _LEAST_OF_TITLE, misspelt=False)
    which, link = dictionary.titles.spread(name)
    part = row[which] * codes + dictionary.titles.code[link]
    share, part_weight = shares[which], weights[name[which]]
    key = np.unique(np.concatenate([whole, part]))
    found = TitleEvidence(*np.zeros((len(TitleEvidence._fields), len(key))))
    at = np.searchsorted(key, whole)
    found.whole[at] = 1
    np.maximum.at(found.weight, at, weight)
    np.maximum.at(found.times, at, times)
    np.add.at(found.denied, at, denied)
    found.denied[:] /= np.maximum(np.bincount(at, times, len(key)), 1)
    order = np.argsort(share * part_weight, kind="stable")  # the largest is written last
    at = np.searchsorted(key, part[order])
    found.part_share[at] = share[order]
    found.part_weight[at] = part_weight[order]
    return Titles(key, found)


def count_events(
    dictionary: Dictionary, found: Found, marked: Sequence[tuple[int, Name, int]], true: Int
) -> dict[str, Event]:
    """The occurrences to be counted, by the name of their count in Counts.

    marked: (note, mention, label). true: note · codes + label of all true labels, sorted.
    """
    links = dictionary.mentions
    number = {
        (name, label): at
        for at, (name, label) in enumerate(
            zip((links.names[name] for name in links.name), links.code.tolist(), strict=True)
        )
    }
    many = max(len(links.name), 1)
    marks = np.unique(np.array([row * many + number[name, label] for row, name, label in marked], np.int64))
    note, mention = np.unique(np.stack([found.whole.note, found.whole.mention]), axis=1)
    which, link = links.spread(mention)
    row = note[which]
    right = np.isin(row * len(dictionary.codes) + links.code[link], true)
    hit = np.isin(row * many + link, marks)
    return {
        "marked": Event(marks // many, marks % many),
        "hits": Event(row[hit], link[hit]),
        "right": Event(row[right], link[right]),
        "found": Event(note, mention),
    }


def count(
    dictionary: Dictionary,
    events: Mapping[str, Event],
    true: Int,
    counted: NDArray[np.bool_],
    *,
    mined: bool,
) -> Counts:
    """Counts over some notes. events, true: see count_events. counted: (notes,), which notes.

    mined: whether the mentions are mined. A mined mention counts for a label only where both often occur together in
    the counted notes.
    """
    sizes = {"found": len(dictionary.mentions.names)}
    rows, labels = true // len(dictionary.codes), true % len(dictionary.codes)
    counts = Counts(
        **{
            name: np.bincount(
                what[counted[note]], minlength=sizes.get(name, len(dictionary.mentions.name))
            ).astype(np.float64)
            for name, (note, what) in events.items()
        },
        labels=np.bincount(labels[counted[rows]], minlength=len(dictionary.labels)).astype(np.float64),
    )
    if mined:  # in only a few notes, words and labels occur together by chance
        often = counts.right >= np.maximum(2, LEAST_MINED * counts.found[dictionary.mentions.name])
        counts = counts._replace(marked=counts.marked * often)
    return counts
