"""Groups of notes that every split keeps whole: the notes of a patient, and near-duplicate notes."""

import re
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from datasketch import MinHash

_SHINGLE_WORDS = 5
_PERMUTATIONS = 128
SKETCH_BYTES = 4 * _PERMUTATIONS
_WORD = re.compile(r"\w+")


def group_notes(
    note_ids: Sequence[str],
    patient_ids: Sequence[str],
    texts: Sequence[str],
    *,
    threshold: float = 0.5,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Group number of each note, int64 (n,), counted from 0 in order of first appearance.

    Two notes share a group when a chain of notes connects them, in which each note has the patient of the next one or
    nearly its text (copy-forward).
    Texts are near-duplicates when the Jaccard similarity of their 5-word shingles is at least `threshold`, as
    estimated by MinHash (Broder 1997) for the candidates of locality-sensitive hashing. Only hashes are kept in
    memory. `progress` is called with the number of notes done. Raises ValueError when the sequences differ in length.
    """
    if not len(note_ids) == len(patient_ids) == len(texts):
        raise ValueError(f"{len(note_ids)} note ids, {len(patient_ids)} patient ids, {len(texts)} texts")
    first_of_patient: dict[str, int] = {}
    links = [(row, first_of_patient.setdefault(patient, row)) for row, patient in enumerate(patient_ids)]
    links += near_duplicates(texts, threshold=threshold, progress=progress)
    rows, columns = np.array(links, dtype=np.int64).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(texts), len(texts)))
    _, component = connected_components(graph, directed=False)
    _, first, group = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group].astype(np.int64)


def near_duplicates(
    texts: Sequence[str], *, threshold: float = 0.5, progress: Callable[[int], None] | None = None
) -> list[tuple[int, int]]:
    """Pairs (later row, earlier row) of near-duplicate texts. A copy is paired only with the first text equal to it."""
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    signatures: dict[int, np.ndarray] = {}
    first_with: dict[bytes, int] = {}
    pairs = []
    for row, text in enumerate(texts):
        hashes = _min_hash(text)
        first = first_with.setdefault(hashes.hashvalues.tobytes(), row)
        if first != row:
            pairs.append((row, first))
        else:
            pairs += [
                (row, other)
                for other in sorted(index.query(hashes))
                if np.mean(signatures[other] == hashes.hashvalues) >= threshold
            ]
            signatures[row] = hashes.hashvalues
            index.insert(row, hashes, check_duplication=False)
        if progress:
            progress(row + 1)
    return pairs


def sketch(text: str) -> NDArray[np.uint32]:
    """The MinHash sketch of a text, (128,): the share of equal values of two estimates their similarity."""
    hashes: NDArray[np.uint32] = _min_hash(text).hashvalues
    return hashes


def are_near_duplicates(sketches: NDArray[np.uint32], *, threshold: float = 0.5) -> NDArray[np.bool_]:
    """Whether each text nearly repeats an earlier one, (n,). sketches: (n, 128).

    Only the first of the texts that share a band of locality-sensitive hashing is compared: faster than
    `near_duplicates`, and enough to count them.
    """
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    found = np.zeros(len(sketches), bool)
    for band in range(index.b):
        values = np.ascontiguousarray(sketches[:, band * index.r : (band + 1) * index.r])
        keys = values.view(f"V{values.itemsize * index.r}").ravel()
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
        rows = np.flatnonzero((first[group] != np.arange(len(sketches))) & ~found)
        alike = (sketches[rows] == sketches[first[group[rows]]]).mean(axis=1) >= threshold
        found[rows[alike]] = True
    return found


def _min_hash(text: str) -> "MinHash":
    hashes = _empty_min_hash().copy()
    hashes.update_batch(_shingles(text).tolist())
    return hashes


@cache
def _empty_min_hash() -> "MinHash":
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int, scheme="affine32")


def _shingles(text: str) -> np.ndarray:
    """Distinct 32-bit hashes of the runs of five words; of the whole text where it has fewer words."""
    words = np.array([zlib.crc32(word.encode()) for word in _WORD.findall(text.lower())], dtype=np.uint64)
    if not len(words):
        return words
    width = min(_SHINGLE_WORDS, len(words))
    hashes = np.zeros(len(words) - width + 1, dtype=np.uint64)
    for offset in range(width):
        hashes = (
            hashes * np.uint64(0x9E3779B97F4A7C15) + words[offset : offset + len(hashes)]
        )  # wraps at 64 bits
    return np.unique(hashes >> np.uint64(32))
