"""What was decided on each training example while it was held out: what promotion compares models on."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

HELD_OUT_SCHEMA = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("targets", pa.list_(pa.int32()), nullable=False),  # numbers of the true labels
        pa.field("decisions", pa.list_(pa.int32()), nullable=False),  # numbers of the predicted labels
    ]
)


@dataclass(frozen=True)
class HeldOut:
    """n examples, each decided on by the fold that did not train on its group; no text.

    example_ids: note_id, or note_id:start:end. groups: (n,). targets, decisions: (n, labels) of 0/1.
    """

    labels: list[str]
    example_ids: list[str]
    groups: NDArray[np.int64]
    targets: csr_matrix
    decisions: csr_matrix


def write_held_out(held_out: HeldOut, path: Path) -> None:
    """Write as parquet; the labels are in the schema's metadata."""
    table = pa.table(
        {
            "example_id": held_out.example_ids,
            "group": [str(group) for group in held_out.groups],
            "targets": _lists(held_out.targets),
            "decisions": _lists(held_out.decisions),
        },
        schema=HELD_OUT_SCHEMA.with_metadata({"labels": json.dumps(held_out.labels)}),
    )
    pq.write_table(table, path, compression="zstd")


def read_held_out(path: Path) -> HeldOut:
    """Read what write_held_out wrote."""
    table = pq.read_table(path)
    labels = json.loads(table.schema.metadata[b"labels"])
    return HeldOut(
        labels=labels,
        example_ids=table["example_id"].to_pylist(),
        groups=np.unique(table["group"].to_numpy(), return_inverse=True)[1],
        targets=_matrix(table["targets"], len(labels)),
        decisions=_matrix(table["decisions"], len(labels)),
    )


def _lists(matrix: csr_matrix) -> pa.ListArray:
    matrix = csr_matrix(matrix)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return pa.ListArray.from_arrays(matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32))


def _matrix(column: pa.ChunkedArray, labels: int) -> csr_matrix:
    lists = column.combine_chunks()
    offsets, indices = lists.offsets.to_numpy(), lists.values.to_numpy()
    return csr_matrix((np.ones(len(indices), np.int8), indices, offsets), shape=(len(lists), labels))
