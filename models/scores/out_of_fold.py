"""Out-of-fold predictions for the training examples, as a table that is kept with a model.

Promotion compares models on it, and ensembles are fitted on it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

OUT_OF_FOLD_SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("targets", pa.list_(pa.int32()), nullable=False),  # numbers of the true labels
        pa.field("decisions", pa.list_(pa.int32()), nullable=False),  # numbers of the predicted labels
        pa.field("probabilities", pa.list_(pa.float32())),  # of each label; null: not kept
    ]
)
MOST_ENTRIES = 50_000_000  # probabilities of more rows × labels (200 MB) are not kept
_LABELS, _INPUTS = "labels", "inputs_sha256"


@dataclass(frozen=True)
class OutOfFoldTable:
    """Predictions for n examples, each by the model of a fold that was not trained on its group. It holds no text.

    example_ids: note_id, or note_id:start:end. groups: (n,). targets, decisions: (n, labels) of 0/1. probabilities:
    (n, labels), calibrated. inputs_sha256: of ids, texts and groups (`Examples.inputs_fingerprint`).
    """

    labels: list[str]
    example_ids: list[str]
    groups: NDArray[np.int64]
    targets: csr_matrix
    decisions: csr_matrix
    probabilities: NDArray[np.float32] | None = None
    inputs_sha256: str = ""


def write_out_of_fold(held_out: OutOfFoldTable, path: Path) -> None:
    """Write as parquet, with labels and inputs_sha256 in the schema's metadata; probabilities up to MOST_ENTRIES."""
    kept = held_out.probabilities
    if kept is None or kept.size > MOST_ENTRIES:
        probabilities = pa.nulls(len(held_out.example_ids), OUT_OF_FOLD_SCHEMA.field("probabilities").type)
    else:
        probabilities = _rows(kept)
    table = pa.table(
        {
            "example_id": held_out.example_ids,
            "group": [str(group) for group in held_out.groups],
            "targets": _lists(held_out.targets),
            "decisions": _lists(held_out.decisions),
            "probabilities": probabilities,
        },
        schema=OUT_OF_FOLD_SCHEMA.with_metadata(
            {_LABELS: json.dumps(held_out.labels), _INPUTS: held_out.inputs_sha256}
        ),
    )
    pq.write_table(table, path, compression="zstd")


def read_out_of_fold(path: Path) -> OutOfFoldTable:
    """Read what write_out_of_fold wrote."""
    table = pq.read_table(path)
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    labels = json.loads(metadata[_LABELS])
    kept = "probabilities" in table.column_names and not table["probabilities"].null_count
    return OutOfFoldTable(
        labels=labels,
        example_ids=table["example_id"].to_pylist(),
        groups=np.unique(table["group"].to_numpy(), return_inverse=True)[1],
        targets=_matrix(table["targets"], len(labels)),
        decisions=_matrix(table["decisions"], len(labels)),
        probabilities=_dense(table["probabilities"], len(labels)) if kept else None,
        inputs_sha256=metadata.get(_INPUTS, ""),
    )


def changed_rows(targets: csr_matrix, others: csr_matrix) -> NDArray[np.bool_]:
    """Rows (n,) in which two matrices (n, labels) of 0/1 differ."""
    changed: NDArray[np.bool_] = (targets.astype(np.int8) - others.astype(np.int8)).getnnz(axis=1) > 0
    return changed


def _lists(matrix: csr_matrix) -> pa.ListArray:
    matrix = csr_matrix(matrix)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return pa.ListArray.from_arrays(matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32))


def _matrix(column: pa.ChunkedArray, labels: int) -> csr_matrix:
    lists = column.combine_chunks()
    offsets, indices = lists.offsets.to_numpy(), lists.values.to_numpy()
    return csr_matrix((np.ones(len(indices), np.int8), indices, offsets), shape=(len(lists), labels))


def _rows(matrix: NDArray[np.float32]) -> pa.ListArray:
    ends = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(ends, np.ascontiguousarray(matrix, np.float32).ravel())


def _dense(column: pa.ChunkedArray, labels: int) -> NDArray[np.float32]:
    values: NDArray[np.float32] = column.combine_chunks().values.to_numpy()
    return values.reshape(-1, labels)
