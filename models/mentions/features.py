"""Entries, a note and a code that something found joins, and the features that tell whether the code is right."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rubricator.models.mentions.dictionary import Dictionary
from rubricator.models.mentions.found import Counts, Found, TitleEvidence, WholeMatches
from rubricator.models.mentions.matching import Float, Int, is_inside

_SURE = 0.3  # share of notes with a mention that carried a label, from which on it counts as found


class Place(NamedTuple):
    """A mention in a note, each array (mentions of notes,)."""

    words: Float  # of the mention
    weight: Float  # of its words
    times: Float  # that it was found in the note
    outside: Float  # share of these that are not inside a mention of more words
    gap: Float  # fewest words in between
    negated: Float  # times that it was negated
    first: Float  # place of the first one in the note, from 0 to 1


class MentionEvidence(NamedTuple):
    """What whole mentions say of a code in a note, each array (entries,).

    From `carried` to `first` it is about the mention that carried the label most often. `carried` and `right` are
    smoothed shares of the training notes that have the mention: those where it was marked for the label, and those
    that have the label.
    """

    carried: Float
    hits: Float  # as in Counts
    right: Float
    found: Float
    marked: Float
    marked_share: Float  # of all marks of the mention
    words: Float  # as in Place
    weight: Float
    times: Float
    outside: Float
    gap: Float
    negated: Float
    first: Float
    best_right: Float  # highest smoothed share of notes with the label
    best_outside: Float  # highest product of carried and outside
    mentions: Float  # number of mentions that were found for the code


class PartEvidence(NamedTuple):
    """What parts of mentions say of a code in a note, each array (entries,).

    The first three are about the mention of which the largest part was found.
    """

    share: Float  # of the mention that was found; 0 where it was found whole
    found_weight: Float  # share · weight
    weight: Float  # of the whole mention, where a part was found
    mentions: Float  # number of mentions
    best_share: Float  # highest product of share and of the share of the mention's marks
    best_weight: Float  # highest product of found weight and of the share of the mention's marks


# The columns of the features, in order.
FEATURES = (
    *(f"mention.{name}" for name in MentionEvidence._fields),
    *(f"part.{name}" for name in PartEvidence._fields),
    *(f"title.{name}" for name in TitleEvidence._fields),
    *("parent.whole", "parent.weight", "parent.part_share"),  # names of the code above
    *("grandparent.whole", "grandparent.part_share"),
    # notes with the label, and notes with the codes of its groups (Dictionary.within)
    *("label.notes", "label.notes_2", "label.notes_3", "label.notes_5"),
    *("label.length", "label.unspecified"),
    # labels of the same category with a sure mention in the note, and all mentions in the note
    *("category.found", "note.mentions"),
)


def entries(
    dictionary: Dictionary, counts: Counts, found: Found, chosen: NDArray[np.bool_]
) -> tuple[Int, NDArray[np.float32]]:
    """Entries of the chosen notes, note · codes + label, sorted; and their features (entries, FEATURES).

    Only mentions that were marked in the counted notes count. chosen: (notes,), which notes.
    """
    codes, labels = len(dictionary.codes), len(dictionary.labels)
    whole, of_whole, mentions = _whole_mentions(dictionary, counts, found, chosen)
    part, of_part = _parts_of_mentions(dictionary, counts, found, chosen)
    here = chosen[found.titles.key // codes]
    title = found.titles.key[here]
    of_title = TitleEvidence(*(column[here] for column in found.titles.evidence))
    headed = title[of_title.whole > 0]
    below = _joined(headed, dictionary.below, codes)
    known = counts.labels[below % codes] > 0
    usual = _joined(headed, dictionary.usual, codes)
    key = np.unique(np.concatenate([whole, part, title[title % codes < labels], below[known], usual]))
    row, label = key // codes, key % codes
    parent = dictionary.parent[label]
    above = np.where(parent >= 0, dictionary.parent[parent], -1)

    def of_code_above(code: Int, *columns: Float) -> Float:
        asked = np.where(code >= 0, row * codes + code, -1)
        return _looked_up(title, columns, asked)

    category = dictionary.within[1]
    sure = whole[of_whole.carried > _SURE]
    families, members = np.unique(sure // codes * labels + category[sure % codes], return_counts=True)
    return key, np.column_stack(
        [
            _looked_up(whole, of_whole, key, missing=np.nan),
            _looked_up(part, of_part, key),
            _looked_up(title, of_title, key),
            of_code_above(parent, of_title.whole, of_title.weight, of_title.part_share),
            of_code_above(above, of_title.whole, of_title.part_share),
            counts.labels[label],
            *(np.bincount(each, counts.labels, labels)[each][label] for each in dictionary.within),
            [len(dictionary.labels[at]) for at in label],
            dictionary.unspecified[label],
            _looked_up(families, [members], row * labels + category[label]),
            mentions[row],
        ]
    ).astype(np.float32)


def _whole_mentions(
    dictionary: Dictionary, counts: Counts, found: Found, chosen: NDArray[np.bool_]
) -> tuple[Int, MentionEvidence, Float]:
    """Entries of mentions that were found whole, and what these say; and the number of mentions in each note."""
    marks = _marks(dictionary, counts)
    at = np.flatnonzero(chosen[found.whole.note] & (marks[found.whole.mention] > 0))
    note, mention, places = _places(dictionary, found.whole.take(at), found.notes)
    which, link = dictionary.mentions.spread(mention)
    here = counts.marked[link] > 0
    which, link = which[here], link[here]
    name = mention[which]
    seen = counts.found[name] + 1.5
    carried = (counts.hits[link] + 0.2) / seen
    right = (counts.right[link] + 0.2) / seen
    key = note[which] * len(dictionary.codes) + dictionary.mentions.code[link]
    order = np.lexsort((-carried, key))
    key, starts = np.unique(key[order], return_index=True)
    best = order[starts]  # of the links of an entry, the one that carried the label most often
    evidence = MentionEvidence._make(
        [
            carried[best],
            counts.hits[link[best]],
            counts.right[link[best]],
            counts.found[name[best]],
            counts.marked[link[best]],
            counts.marked[link[best]] / np.maximum(marks[name[best]], 1),
            *(column[which[best]] for column in places),
            _most(right[order], starts),
            _most((carried * places.outside[which])[order], starts),
            _sizes(starts, len(order)),
        ]
    )
    return key, evidence, np.bincount(note, minlength=found.notes).astype(np.float64)


def _places(dictionary: Dictionary, matches: WholeMatches, notes: int) -> tuple[Int, Int, Place]:
    """Note and mention of each mention that was found in a note, and its places there together."""
    note, mention, first, last, negated, place = matches
    words = dictionary.mention_words[mention]
    inside = np.zeros(len(note), bool)
    for start, end in pairwise(np.searchsorted(note, np.arange(notes + 1))):
        inside[start:end] = is_inside(first[start:end], last[start:end], words[start:end])
    starts = np.flatnonzero((np.diff(note, prepend=-1) != 0) | (np.diff(mention, prepend=-1) != 0))
    times = _sizes(starts, len(note))
    return (
        note[starts],
        mention[starts],
        Place(
            words=words[starts].astype(np.float64),
            weight=dictionary.mention_index.weights[mention[starts]],
            times=times,
            outside=_sums(~inside, starts) / times,
            gap=_least(last - first + 1 - words, starts),
            negated=_sums(negated, starts) / times,
            first=_least(place, starts),
        ),
    )


def _parts_of_mentions(
    dictionary: Dictionary, counts: Counts, found: Found, chosen: NDArray[np.bool_]
) -> tuple[Int, PartEvidence]:
    """Entries of mentions of which a part was found in one clause, and what these say."""
    at = np.flatnonzero(chosen[found.parts.note])
    note, mention, share = found.parts.note[at], found.parts.name[at], found.parts.share[at]
    which, link = dictionary.mentions.spread(mention)
    here = counts.marked[link] > 0
    which, link = which[here], link[here]
    name, share = mention[which], share[which]
    weight = dictionary.mention_index.weights[name]
    marked_share = counts.marked[link] / np.maximum(_marks(dictionary, counts)[name], 1)
    key = note[which] * len(dictionary.codes) + dictionary.mentions.code[link]
    part = np.where(share < 0.999, share, 0)
    order = np.lexsort((-part, key))
    key, starts = np.unique(key[order], return_index=True)
    best = order[starts]
    return key, PartEvidence(
        share=part[best],
        found_weight=part[best] * weight[best],
        weight=weight[best] * (part[best] > 0),
        mentions=_sizes(starts, len(order)),
        best_share=_most((part * marked_share)[order], starts),
        best_weight=_most((share * weight * marked_share)[order], starts),
    )


def _marks(dictionary: Dictionary, counts: Counts) -> Float:
    """How often each mention was marked, for any label."""
    links, many = dictionary.mentions.name, len(dictionary.mentions.names)
    return np.bincount(links, counts.marked, many).astype(np.float64)


def _joined(keys: Int, pairs: Int, codes: int) -> Int:
    """Entries of the codes that stand second in the pairs (2, pairs) whose first is the code of a key."""
    row, code = keys // codes, keys % codes
    first, last = np.searchsorted(pairs[0], code), np.searchsorted(pairs[0], code, side="right")
    which = np.repeat(np.arange(len(keys)), last - first)
    at = (
        np.arange(len(which))
        - np.repeat(np.cumsum(last - first) - (last - first), last - first)
        + first[which]
    )
    return np.asarray(row[which] * codes + pairs[1][at], np.int64)


def _looked_up(keys: Int, columns: Sequence[NDArray[Any]], asked: Int, *, missing: float = 0.0) -> Float:
    """Columns (keys,) at the keys asked for (asked, columns); keys are sorted. missing: where a key is not there."""
    found = np.full((len(asked), len(columns)), missing)
    if len(keys):
        at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        there = keys[at] == asked
        found[there] = np.column_stack(columns)[at[there]]
    return found


def _sizes(starts: Int, many: int) -> Float:
    """The sizes of the groups that begin at these starts, of so many rows."""
    return np.diff(np.append(starts, many)).astype(np.float64)


def _sums(values: NDArray[np.generic], starts: Int) -> Float:
    return np.add.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)


def _least(values: NDArray[np.generic], starts: Int) -> Float:
    return np.minimum.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)


def _most(values: NDArray[np.generic], starts: Int) -> Float:
    return np.maximum.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)
