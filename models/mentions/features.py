"""Cells: every note and code that a match joins, and the numbers that tell whether the code is right."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rubricator.models.mentions.dictionary import LEAST_MINED, Dictionary
from rubricator.models.mentions.matching import Float, Int, Name, NoteWords, is_inside

_LEAST_OF_MENTION = 0.4  # share of a mention, by weight of words, that must stand in one clause
_LEAST_OF_TITLE = 0.5


class Found(NamedTuple):
    """What was matched in n notes, before it is known which mentions count."""

    notes: int
    # note, mention, first and last word, whether negated, place in the note
    whole: tuple[Int, Int, Int, Int, NDArray[np.bool_], Float]
    parts: tuple[Int, Int, Float, Int]  # note, mention, share, clause
    titles: tuple[Int, Float]  # note · codes + code, sorted, and their numbers (…, 5)


class Counts(NamedTuple):
    """What training notes tell of each link (a mention and a label it was marked for) and of each label."""

    marked: Float  # links: notes where the mention was marked for the label
    hits: Float  # links: of these, those where the mention is found
    right: Float  # links: notes where the mention is found, with the label
    found: Float  # mentions: notes where it is found
    labels: Float  # labels: notes with it


def match(dictionary: Dictionary, notes: Sequence[NoteWords]) -> Found:
    """Find mentions, parts of mentions and names of codes in notes."""
    whole = [
        (row, name, first, last, note.negated[first], first / len(note.keys))
        for row, note in enumerate(notes)
        for name, first, last in dictionary.mention_index.whole(note)
    ]
    columns = np.array(whole, np.float64).reshape(-1, 6).T
    row, name, first, last = (column.astype(np.int64) for column in columns[:4])
    return Found(
        len(notes),
        (row, name, first, last, columns[4] > 0, columns[5]),
        dictionary.mention_index.parts(notes, _LEAST_OF_MENTION, misspelt=True),
        _match_titles(dictionary, notes),
    )


def _match_titles(dictionary: Dictionary, notes: Sequence[NoteWords]) -> tuple[Int, Float]:
    """For each note and code of which a name was found: whether whole, what that name tells, how often it stands
    there, and the share found of the name of which most was found, and what that tells."""
    weights, codes = dictionary.title_index.weights, len(dictionary.codes)
    places = Counter(
        (row, name) for row, note in enumerate(notes) for name, *_ in dictionary.title_index.whole(note)
    )
    row, name = np.array(list(places), np.int64).reshape(-1, 2).T
    which, link = dictionary.titles.spread(name)
    many = np.array(list(places.values()), np.float64)[which]
    whole = row[which] * codes + dictionary.titles.code[link]
    told = weights[name[which]]
    row, name, shares, _ = dictionary.title_index.parts(notes, _LEAST_OF_TITLE, misspelt=False)
    which, link = dictionary.titles.spread(name)
    part = row[which] * codes + dictionary.titles.code[link]
    share, part_told = shares[which], weights[name[which]]
    key = np.unique(np.concatenate([whole, part]))
    numbers = np.zeros((len(key), 5))
    at = np.searchsorted(key, whole)
    numbers[at, 0] = 1
    np.maximum.at(numbers[:, 1], at, told)
    np.maximum.at(numbers[:, 2], at, many)
    order = np.argsort(share * part_told, kind="stable")  # the largest is written last
    numbers[np.searchsorted(key, part[order]), 3] = share[order]
    numbers[np.searchsorted(key, part[order]), 4] = part_told[order]
    return key, numbers


def count_events(
    dictionary: Dictionary, found: Found, marked: Sequence[tuple[int, Name, int]], true: Int
) -> dict[str, tuple[Int, Int]]:
    """(note, link or mention) of everything that is counted."""
    links = dictionary.mentions
    number = {
        (name, label): at
        for at, (name, label) in enumerate(
            zip((links.names[name] for name in links.name), links.code.tolist(), strict=True)
        )
    }
    many = max(len(links.name), 1)
    spoken = np.unique(np.array([row * many + number[name, label] for row, name, label in marked], np.int64))
    pairs = np.unique(np.stack(found.whole[:2]), axis=1)
    which, link = links.spread(pairs[1])
    row = pairs[0][which]
    right = np.isin(row * len(dictionary.codes) + links.code[link], true)
    hit = np.isin(row * many + link, spoken)
    return {
        "marked": (spoken // many, spoken % many),
        "hits": (row[hit], link[hit]),
        "right": (row[right], link[right]),
        "found": (pairs[0], pairs[1]),
    }


def count(
    dictionary: Dictionary,
    events: Mapping[str, tuple[Int, Int]],
    true: Int,
    counted: NDArray[np.bool_],
    *,
    mined: bool,
) -> Counts:
    """Counts over these notes, from what count_events found. true: as there. mined: mentions that nobody marked exist
    only where they stand beside their label often."""
    sizes = {"found": len(dictionary.mentions.names)}
    rows, labels = true // len(dictionary.codes), true % len(dictionary.codes)
    counts = Counts(
        **{
            name: np.bincount(
                what[counted[row]], minlength=sizes.get(name, len(dictionary.mentions.name))
            ).astype(np.float64)
            for name, (row, what) in events.items()
        },
        labels=np.bincount(labels[counted[rows]], minlength=len(dictionary.labels)).astype(np.float64),
    )
    if mined:  # chance alone joins words and labels of a few notes
        often = counts.right >= np.maximum(2, LEAST_MINED * counts.found[dictionary.mentions.name])
        counts = counts._replace(marked=counts.marked * often)
    return counts


def cells(
    dictionary: Dictionary, counts: Counts, found: Found, chosen: NDArray[np.bool_]
) -> tuple[Int, NDArray[np.float32]]:
    """Cells of the chosen notes, note · codes + label, sorted, and their numbers; a mention that the counted notes
    were not marked with does not exist."""
    codes, labels = len(dictionary.codes), len(dictionary.labels)
    whole, whole_numbers, mentions = _whole_cells(dictionary, counts, found, chosen)
    part, part_numbers = _part_cells(dictionary, counts, found, chosen)
    title, title_numbers = found.titles
    here = chosen[title // codes]
    title, title_numbers = title[here], title_numbers[here]
    headed = title[title_numbers[:, 0] > 0]
    below = _joined(headed, dictionary.below, codes)
    known = counts.labels[below % codes] > 0
    key = np.unique(
        np.concatenate(
            [
                whole,
                part,
                title[title % codes < labels],
                below[known],
                _joined(headed, dictionary.usual, codes),
            ]
        )
    )
    row, label = key // codes, key % codes
    parent = dictionary.parent[label]
    above = np.where(parent >= 0, dictionary.parent[parent], -1)
    own = _looked_up(title, title_numbers, key)
    parents, grandparents = (
        _looked_up(title, title_numbers, np.where(up >= 0, row * codes + up, -1)) for up in (parent, above)
    )
    of_whole = _looked_up(whole, whole_numbers, key, missing=np.nan)
    category = dictionary.within[1]
    sure = whole[whole_numbers[:, 0] > 0.3]
    families, members = np.unique(sure // codes * labels + category[sure % codes], return_counts=True)
    siblings = _looked_up(families, members[:, None], row * labels + category[label])
    return key, np.column_stack(
        [
            of_whole,
            _looked_up(part, part_numbers, key),
            own,
            parents[:, [0, 1, 3]],
            grandparents[:, [0, 3]],
            counts.labels[label],
            *(np.bincount(each, counts.labels, labels)[each][label] for each in dictionary.within),
            [len(dictionary.labels[at]) for at in label],
            dictionary.unspecified[label],
            siblings,
            mentions[row],
        ]
    ).astype(np.float32)


def _whole_cells(
    dictionary: Dictionary, counts: Counts, found: Found, chosen: NDArray[np.bool_]
) -> tuple[Int, Float, Float]:
    """Cells of mentions that were found whole, with the numbers of the mention that carried the label most often;
    and for each note how many mentions there are."""
    active = np.bincount(dictionary.mentions.name, counts.marked, len(dictionary.mentions.names)) > 0
    at = np.flatnonzero(chosen[found.whole[0]] & active[found.whole[1]])
    row, name, first, last = (column[at] for column in found.whole[:4])
    negated, place = found.whole[4][at], found.whole[5][at]
    words = dictionary.mention_words[name]
    inside = np.zeros(len(row), bool)
    for start, end in pairwise(np.searchsorted(row, np.arange(found.notes + 1))):
        inside[start:end] = is_inside(first[start:end], last[start:end], words[start:end])
    starts = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(name, prepend=-1) != 0))
    many = np.diff(np.append(starts, len(row)))
    of_mention = np.column_stack(
        [
            words[starts],
            dictionary.mention_index.weights[name[starts]],
            many,
            _sums(~inside, starts) / many,
            _least(last - first + 1 - words, starts),
            _sums(negated, starts) / many,
            _least(place, starts),
        ]
    )
    row, name = row[starts], name[starts]
    which, link = dictionary.mentions.spread(name)
    here = counts.marked[link] > 0
    which, link = which[here], link[here]
    seen = counts.found[name[which]] + 1.5
    carried = (counts.hits[link] + 0.2) / seen
    right = (counts.right[link] + 0.2) / seen
    spoken = np.bincount(dictionary.mentions.name, counts.marked, len(dictionary.mentions.names))[name[which]]
    key = row[which] * len(dictionary.codes) + dictionary.mentions.code[link]
    numbers = np.column_stack(
        [
            carried,
            counts.hits[link],
            counts.right[link],
            counts.found[name[which]],
            counts.marked[link],
            counts.marked[link] / np.maximum(spoken, 1),
            of_mention[which],
        ]
    )
    order = np.lexsort((-carried, key))
    key, starts = np.unique(key[order], return_index=True)
    best = numbers[order][starts]
    uncovered = carried * numbers[:, 9]
    return (
        key,
        np.column_stack(
            [
                best,
                -_least(-right[order], starts),
                -_least(-uncovered[order], starts),
                np.diff(np.append(starts, len(order))),
            ]
        ),
        np.bincount(row, minlength=found.notes).astype(np.float64),
    )


def _part_cells(
    dictionary: Dictionary, counts: Counts, found: Found, chosen: NDArray[np.bool_]
) -> tuple[Int, Float]:
    """Cells of mentions of which a part was found in one clause."""
    row, name, share, _ = found.parts
    chosen_parts = np.flatnonzero(chosen[row])
    row, name, share = row[chosen_parts], name[chosen_parts], share[chosen_parts]
    which, link = dictionary.mentions.spread(name)
    here = counts.marked[link] > 0
    which, link = which[here], link[here]
    spoken = np.bincount(dictionary.mentions.name, counts.marked, len(dictionary.mentions.names))[name[which]]
    share, told = share[which], dictionary.mention_index.weights[name[which]]
    owned = counts.marked[link] / np.maximum(spoken, 1)
    key = row[which] * len(dictionary.codes) + dictionary.mentions.code[link]
    part = np.where(share < 0.999, share, 0)
    order = np.lexsort((-part, key))
    key, starts = np.unique(key[order], return_index=True)
    numbers = np.column_stack([part, part * told, told * (part > 0)])[order][starts]
    return key, np.column_stack(
        [
            numbers,
            np.diff(np.append(starts, len(order))),
            -_least(-(part * owned)[order], starts),
            -_least(-(share * told * owned)[order], starts),
        ]
    )


def _joined(keys: Int, pairs: NDArray[np.int64], codes: int) -> Int:
    """Cells of the codes that stand second in the pairs whose first is the code of a key."""
    row, code = keys // codes, keys % codes
    first, last = np.searchsorted(pairs[0], code), np.searchsorted(pairs[0], code, side="right")
    which = np.repeat(np.arange(len(keys)), last - first)
    at = (
        np.arange(len(which))
        - np.repeat(np.cumsum(last - first) - (last - first), last - first)
        + first[which]
    )
    return np.asarray(row[which] * codes + pairs[1][at], np.int64)


def _looked_up(keys: Int, values: Float, asked: Int, *, missing: float = 0.0) -> Float:
    """The values of the keys asked for; keys are sorted."""
    found = np.full((len(asked), values.shape[1]), missing)
    if len(keys):
        at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        there = keys[at] == asked
        found[there] = values[at[there]]
    return found


def _sums(values: NDArray[np.generic], starts: Int) -> Float:
    return np.add.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)


def _least(values: NDArray[np.generic], starts: Int) -> Float:
    return np.minimum.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)
