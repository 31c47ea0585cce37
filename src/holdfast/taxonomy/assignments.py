"""Which cluster each item belongs to: a small table beside the vectors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from holdfast.exceptions import InputError, ModelFileError, OutputError, TableError
from holdfast.io import Embeddings
from holdfast.io.atomic import atomic_file, check_file_target
from holdfast.io.damage import damage_as_table_errors
from holdfast.io.mapped import block_rows, release
from holdfast.io.paths import arrow_file, what_is
from holdfast.io.texts import texts_from_arrow

__all__ = ["AssignmentTable", "check_assignment_target", "read_assignments", "write_assignments"]


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

    @property
    def abstained(self) -> npt.NDArray[np.bool_]:
        """Which items have no cluster, shape (n,)."""
        return np.asarray(self.cluster < 0)

    def abstaining_below(self, min_confidence: float) -> Self:
        """Return a table in which items of less confidence have no cluster."""
        unsure = self.confidence < min_confidence
        cluster = np.where(unsure, np.array(-1, self.cluster.dtype), self.cluster)
        return type(self)(self.ids, cluster, np.where(unsure, np.float32(0), self.confidence))

    @classmethod
    def fitted(cls, model: Any, emb: Embeddings) -> Self:
        """Take the clusters that a fit gave its own rows.

        Parameters
        ----------
        model : fitted estimator
            Its `labels_`, and `probabilities_` where it has them, belong to the rows of `emb`.
        emb : Embeddings of n rows
        """
        cluster = np.asarray(model.labels_)
        confidence = getattr(model, "probabilities_", None)
        if confidence is None:
            confidence = _own_probability(model, emb.X, cluster)
        return cls._of(emb, cluster, confidence)

    @classmethod
    def predicted(cls, model: Any, emb: Embeddings) -> Self:
        """Ask a fitted estimator about every row, block by block.

        Parameters
        ----------
        model : fitted estimator
            Needs `predict` and `predict_proba`; `assign_rows`, which answers both at once, is used where it
            is there.
        emb : Embeddings of n rows
        """
        at_once = getattr(model, "assign_rows", None)
        if at_once is not None:
            cluster, confidence = (np.asarray(answer) for answer in at_once(emb.X))
        else:
            cluster = np.asarray(model.predict(emb.X))
            confidence = _own_probability(model, emb.X, cluster)
        return cls._of(emb, cluster, confidence)

    @classmethod
    def _of(cls, emb: Embeddings, cluster: npt.NDArray[np.integer], confidence: npt.NDArray) -> Self:
        return cls(emb.ids, cluster, np.where(cluster < 0, np.float32(0), confidence.astype(np.float32)))


def _own_probability(model: Any, X: npt.NDArray, cluster: npt.NDArray) -> npt.NDArray[np.float32]:
    """Return each row's probability of its cluster; for a row without one, any number."""
    confidence = np.zeros(len(X), dtype=np.float32)
    width = max(X.shape[1], int(getattr(model, "n_clusters_", 1)))  # of what is in memory for each row
    step = block_rows(width)
    for start in range(0, len(X), step):
        own = cluster[start : start + step]
        q = model.predict_proba(X[start : start + step])
        confidence[start : start + len(own)] = q[np.arange(len(own)), own]
        release(X)
    return confidence


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
            "id": pa.array(table.ids, pa.string()),
            "cluster": pa.array(table.cluster, pa.int32()),
            "confidence": pa.array(table.confidence, pa.float32()),
        }
    )
    with atomic_file(path) as temporary, arrow_file(temporary, "wb") as stream:
        if temporary.suffix.lower() == ".csv":
            pa.csv.write_csv(columns, stream)
        else:
            pq.write_table(columns, stream, write_page_checksum=True)


def check_assignment_target(path: str | os.PathLike[str]) -> None:
    """Refuse a name that `write_assignments` could not write to.

    Raises
    ------
    OutputError
        If it does not end in .parquet or .csv, or is no place for a file.
    """
    if Path(path).suffix.lower() not in {".parquet", ".csv"}:
        raise OutputError(f"Cannot write {path}: its name must end in .parquet or .csv.")
    check_file_target(path)


def read_assignments(path: Path) -> AssignmentTable:
    """Read a Parquet file that `write_assignments` wrote.

    Raises
    ------
    ModelFileError
        If it is missing or damaged.
    """
    try:
        with damage_as_table_errors("Parquet"):
            return _read(path)
    except (OSError, InputError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).rstrip(".").removesuffix(": write it again")
        raise ModelFileError(f"{path} cannot be used ({reason}): restore it or run the fit again.") from error


def _read(path: Path) -> AssignmentTable:
    """Read the table and check that its columns are what they should be."""
    if what_is(path) == "pipe or a device":
        raise TableError("it is a pipe or a device")
    with arrow_file(path, "rb") as stream, pq.ParquetFile(stream, page_checksum_verification=True) as file:
        missing = {"id", "cluster", "confidence"} - set(file.schema_arrow.names)
        if missing:
            raise TableError(f"it has no column {min(missing)!r}")
        table = file.read(columns=["id", "cluster", "confidence"])
    cluster, confidence = (
        table[name].cast(kind).to_numpy()
        for name, kind in (("cluster", pa.int32()), ("confidence", pa.float32()))
    )
    if table["cluster"].null_count or table["confidence"].null_count or cluster.min(initial=0) < -1:
        raise TableError("it has rows without a cluster")
    return AssignmentTable(texts_from_arrow("id", table["id"].cast(pa.string())), cluster, confidence)
