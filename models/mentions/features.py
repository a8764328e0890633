"""Entries (a note and a label that has a match in it), and the features from which trees predict their truth."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rubricator.models.mentions.dictionary import Dictionary
from rubricator.models.mentions.found import Counts, Found, TitleEvidence, WholeMatches
from rubricator.models.mentions.matching import Float, Int, is_inside

_SURE = 0.3  # a mention that carried the label in more than this share of its notes is a sure mention


class Place(NamedTuple):
    """A mention in a note: all matches of the mention together. Each array is (mentions in notes,)."""

    words: Float  # number of words of the mention
    weight: Float  # of its words together
    times: Float  # number of its matches in the note
    outside: Float  # share of the matches that are not inside a mention of more words
    gap: Float  # fewest other words in between
    denied: Float  # share of the matches that are denied, see NoteWords
    first: Float  # position of the first match in the note, from 0 to 1
    inside: Int  # as in WholeMatches, where all matches are inside a name; else -1


class MentionEvidence(NamedTuple):
    """Evidence from mentions that are found whole, for a code in a note. Each array is (entries,).

    `carried` to `first` are about the mention that carried the label most often.
    """

    carried: (
        Float  # of the training notes with the mention, the smoothed share where it was marked for the label
    )
    hits: Float  # this and the next three as in Counts
    right: Float
    found: Float
    marked: Float
    marked_share: Float  # of all marks of the mention, the share for this label
    words: Float  # as in Place
    weight: Float
    times: Float
    outside: Float
    gap: Float
    denied: Float
    first: Float
    best_right: Float  # highest smoothed share with the label, of the training notes with a mention
    best_outside: Float  # highest product of carried and outside
    mentions: Float  # number of mentions that were found for the code


class PartEvidence(NamedTuple):
    """Evidence from mentions that are found in part, for a code in a note. Each array is (entries,).

    The first three are about the mention of which the largest share was found.
    """

    share: Float  # of the mention that was found; 0 where it was found whole
    found_weight: Float  # share · weight
    weight: Float  # of the whole mention, where a part was found
    mentions: Float  # number of mentions
    best_share: Float  # highest product of share and marked_share (see MentionEvidence)
    best_weight: Float  # highest product of share, weight and marked_share, whole matches included


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
    """Entries of the chosen notes, as sorted numbers note · codes + label; and their features (entries, FEATURES).

    Only mentions that were marked in the notes of `counts` are used. chosen: (notes,), which notes.
    """
    codes, labels = len(dictionary.codes), len(dictionary.labels)
    whole, of_whole, mentions = _whole_mentions(dictionary, counts, found, chosen)
    part, of_part = _parts_of_mentions(dictionary, counts, found, chosen)
    here = chosen[found.titles.key // codes]
    title = found.titles.key[here]
    of_title = TitleEvidence(*(column[here] for column in found.titles.evidence))
    asserted = of_title.denied < 1
    headed = title[(of_title.whole > 0) & asserted]
    named = title[title % codes < labels]
    # where no note has the label, nothing can be learnt of denials of it
    named = named[asserted[title % codes < labels] | (counts.labels[named % codes] > 0)]
    below = _joined(headed, dictionary.below, codes)
    known = counts.labels[below % codes] > 0
    usual = _joined(headed, dictionary.usual, codes)
    key = np.unique(np.concatenate([whole, part, named, below[known], usual]))
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
    """Entries of mentions that are found whole, their evidence, and the number of mentions in each note."""
    marks = _marks(dictionary, counts)
    at = np.flatnonzero(chosen[found.whole.note] & (marks[found.whole.mention] > 0))
    note, mention, places = _places(dictionary, found.whole.take(at), found.notes)
    which, link = dictionary.mentions.spread(mention)
    here = (counts.marked[link] > 0) & ~_of_another_name(dictionary, link, places.inside[which])
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
            *(column[which[best]] for column in places[:-1]),
            _most(right[order], starts),
            _most((carried * places.outside[which])[order], starts),
            _sizes(starts, len(order)),
        ]
    )
    return key, evidence, np.bincount(note, minlength=found.notes).astype(np.float64)


def _of_another_name(dictionary: Dictionary, link: Int, inside: Int) -> NDArray[np.bool_]:
    """Whether the name around the mention of each link is of other categories than the label of the link.

    The "failure" of "acute kidney failure" is no mention of heart failure. inside: (links,), see Place.
    """
    titles, codes = dictionary.titles, dictionary.codes
    apart = np.zeros(len(link), bool)
    for at in np.flatnonzero(inside >= 0):
        named = titles.code[titles.first[inside[at]] : titles.first[inside[at] + 1]]
        category = codes[dictionary.mentions.code[link[at]]][:3]
        apart[at] = all(codes[code][:3] != category for code in named)
    return apart


def _places(dictionary: Dictionary, matches: WholeMatches, notes: int) -> tuple[Int, Int, Place]:
    """(note, mention, place), one for each mention that is found in a note, however often."""
    note, mention, first, last, denied, place, inside_name = matches
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
            denied=_sums(denied, starts) / times,
            first=_least(place, starts),
            inside=_least(inside_name, starts).astype(np.int64),
        ),
    )


def _parts_of_mentions(
    dictionary: Dictionary, counts: Counts, found: Found, chosen: NDArray[np.bool_]
) -> tuple[Int, PartEvidence]:
    """Entries of mentions of which a part is found in one clause, and their evidence."""
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
    """Entries of the second code of each pair (2, pairs) whose first code is that of a key, in the note of the key."""
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
    """Values of the columns (keys,) at the requested keys: (asked, columns).

    keys: sorted. missing: value for a key that is not among them.
    """
    found = np.full((len(asked), len(columns)), missing)
    if len(keys):
        at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        there = keys[at] == asked
        found[there] = np.column_stack(columns)[at[there]]
    return found


def _sizes(starts: Int, many: int) -> Float:
    """Sizes of the blocks of rows that begin at these starts. many: number of rows."""
    return np.diff(np.append(starts, many)).astype(np.float64)


def _sums(values: NDArray[np.generic], starts: Int) -> Float:
    return np.add.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)


def _least(values: NDArray[np.generic], starts: Int) -> Float:
    return np.minimum.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)


def _most(values: NDArray[np.generic], starts: Int) -> Float:
    return np.maximum.reduceat(values.astype(np.float64), starts) if len(starts) else np.zeros(0)
