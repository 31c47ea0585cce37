"""Which cluster each item belongs to: a small table beside the vectors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from holdfast.exceptions import ModelFileError, OutputError
from holdfast.io import Embeddings
from holdfast.io.atomic import atomic_file

__all__ = ["AssignmentTable", "check_assignment_target", "read_assignments", "write_assignments"]

_BLOCK_ROWS = 8192


@dataclass(frozen=True, eq=False)
class AssignmentTable:
    """Which cluster each item belongs to.

    Attributes
    ----------
    ids : ndarray of shape (n,), str
        The items.
    cluster : ndarray of shape (n,), int
        Their clusters, -1 for none.
    confidence : ndarray of shape (n,), float32
        Probability of that cluster, in [0, 1]; 0 for items without one.
    """

    ids: npt.NDArray[np.str_]
    cluster: npt.NDArray[np.integer]
    confidence: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def predicted(
        cls, model: Any, emb: Embeddings, labels: npt.NDArray[np.integer] | None = None
    ) -> AssignmentTable:
        """Ask a fitted estimator about every row, block by block.

        Parameters
        ----------
        model : fitted estimator
            Needs `predict` and `predict_proba`.
        emb : Embeddings of n rows
        labels : ndarray of shape (n,), optional
            The clusters, where they are known already.
        """
        cluster = np.asarray(model.predict(emb.X) if labels is None else labels)
        confidence = np.zeros(len(emb), dtype=np.float32)
        for start in range(0, len(emb), _BLOCK_ROWS):
            own = cluster[start : start + _BLOCK_ROWS]
            q = model.predict_proba(emb.X[start : start + _BLOCK_ROWS])
            confidence[start : start + len(own)] = np.where(own < 0, 0, q[np.arange(len(own)), own])
        return cls(emb.ids, cluster, confidence)


def write_assignments(table: AssignmentTable, path: str | os.PathLike[str]) -> None:
    """Write columns ``id``, ``cluster`` and ``confidence``, atomically.

    Parameters
    ----------
    table : AssignmentTable
    path : path-like
        A name that ends in .parquet or .csv.

    Raises
    ------
    OutputError
        If the suffix is unknown or the file cannot be written.
    """
    check_assignment_target(path)
    columns = pa.table(
        {
            "id": pa.array(table.ids.tolist(), pa.string()),
            "cluster": pa.array(table.cluster, pa.int32()),
            "confidence": pa.array(table.confidence, pa.float32()),
        }
    )
    with atomic_file(path) as temporary:
        if temporary.suffix.lower() == ".csv":
            pa.csv.write_csv(columns, temporary)
        else:
            pq.write_table(columns, temporary)


def check_assignment_target(path: str | os.PathLike[str]) -> None:
    """Refuse a name that `write_assignments` could not write to.

    Raises
    ------
    OutputError
        If it does not end in .parquet or .csv, or is a folder.
    """
    if Path(path).suffix.lower() not in {".parquet", ".csv"}:
        raise OutputError(f"Cannot write {path}: its name must end in .parquet or .csv.")
    if Path(path).is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file to write.")


def read_assignments(path: Path) -> AssignmentTable:
    """Read a Parquet file that `write_assignments` wrote.

    Raises
    ------
    ModelFileError
        If it is missing or damaged.
    """
    try:
        table = pq.read_table(path, columns=["id", "cluster", "confidence"])
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ModelFileError(f"{path} cannot be used ({reason}): restore it or run the fit again.") from error
    return AssignmentTable(
        table["id"].to_numpy().astype(str), table["cluster"].to_numpy(), table["confidence"].to_numpy()
    )
