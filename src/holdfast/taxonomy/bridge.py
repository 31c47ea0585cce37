"""What became of the clusters between two runs over (partly) the same items."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from holdfast.exceptions import InputError, TableError
from holdfast.functional.matching import Bridge, bridge, contingency
from holdfast.io.atomic import atomic_file
from holdfast.metrics import ari
from holdfast.taxonomy.assignments import check_assignment_target
from holdfast.taxonomy.store import open_taxonomy

__all__ = ["Partition", "RunBridge", "Span", "match_runs", "read_partition", "write_bridge"]

_MOST_CELLS = 100_000_000  # of the table of counts
_NOISE = "-1"


@dataclass(frozen=True, eq=False)
class Partition:
    """Which cluster each item of a run is in.

    Attributes
    ----------
    ids : pyarrow Array of n strings
        Unique.
    codes : ndarray of shape (n,), int64
        Place of the item's cluster in `names`; -1 for none.
    names : tuple of int or str
        The clusters, in order: as numbers where all of them are.
    """

    ids: Any
    codes: npt.NDArray[np.int64]
    names: tuple[int | str, ...]


@dataclass(frozen=True)
class Span:
    """One line of the bridge, in the names of the runs; see :class:`holdfast.functional.matching.Pillar`."""

    old: int | str | None
    new: int | str | None
    shared: int
    share_old: float
    share_new: float
    jaccard: float
    kind: str
    sources: tuple[int | str, ...]

    @property
    def story(self) -> str:
        """The kind with the old clusters it speaks of: ``merged from 1, 4``."""
        return " ".join([self.kind, ", ".join(str(name) for name in self.sources)]).strip()


@dataclass(frozen=True)
class RunBridge:
    """The bridge between two runs.

    Attributes
    ----------
    spans : tuple of Span
        One for each new cluster, then one for each old cluster that is gone.
    n_both, n_only_old, n_only_new : int
        Items in both runs, and in one of them only. All shares are of the items in both.
    n_clusters_old, n_clusters_new : int
        Clusters that hold items of both runs.
    n_noise_old, n_noise_new : int
        Items in both runs that are in no cluster.
    kept : float
        Share of the items whose new cluster is the partner of their old one.
    ari : float
        Adjusted Rand index of the two partitions; items in no cluster count as one more cluster.
    unmatched_old, unmatched_new : tuple
        Clusters without a partner.
    """

    spans: tuple[Span, ...]
    n_both: int
    n_only_old: int
    n_only_new: int
    n_clusters_old: int
    n_clusters_new: int
    n_noise_old: int
    n_noise_new: int
    kept: float
    ari: float
    unmatched_old: tuple[int | str, ...]
    unmatched_new: tuple[int | str, ...]


def match_runs(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> RunBridge:
    """Match the clusters of two runs one to one, by the items they share.

    Parameters
    ----------
    old, new : path-like
        Taxonomy folders, or tables with columns ``id`` and ``cluster`` (.csv or .parquet).

    Returns
    -------
    RunBridge

    Raises
    ------
    InputError
        If one cannot be read, or no item is in both.
    """
    before, after = read_partition(old), read_partition(new)
    place = pc.index_in(after.ids, value_set=before.ids)
    known = np.asarray(pc.is_valid(place))
    if not known.any():
        raise InputError(
            f"{old} and {new} have no id in common ({_first(before)} and {_first(after)}, for example): give "
            "two runs over the same items, with the same ids."
        )
    rows = np.asarray(place.drop_null()).astype(np.int64)
    return _span(before, before.codes[rows], after, after.codes[known])


def _span(
    before: Partition, old: npt.NDArray[np.int64], after: Partition, new: npt.NDArray[np.int64]
) -> RunBridge:
    """Build the bridge of items whose old and new clusters are known; clusters without such items are out."""
    here = [np.unique(codes[codes >= 0]) for codes in (old, new)]
    a, b = (_renumbered(codes, used) for codes, used in zip((old, new), here, strict=True))
    shape = (len(here[0]), len(here[1]))
    if shape[0] * shape[1] > _MOST_CELLS:
        raise InputError(
            f"{shape[0]:,} and {shape[1]:,} clusters are too many to match: check that the column "
            "cluster holds clusters."
        )
    sizes = [np.bincount(codes[codes >= 0], minlength=k) for codes, k in zip((a, b), shape, strict=True)]
    found = bridge(contingency(a, b, shape), *sizes)
    names = [
        [run.names[code] for code in used.tolist()] for run, used in zip((before, after), here, strict=True)
    ]
    spans = _spans(found, *names)
    matched = found.partner
    return RunBridge(
        spans=spans,
        n_both=len(old),
        n_only_old=len(before.codes) - len(old),
        n_only_new=len(after.codes) - len(new),
        n_clusters_old=shape[0],
        n_clusters_new=shape[1],
        n_noise_old=int((old < 0).sum()),
        n_noise_new=int((new < 0).sum()),
        kept=found.n_kept / len(old),
        ari=ari(a, b),
        unmatched_old=tuple(n for i, n in enumerate(names[0]) if i not in matched.values()),
        unmatched_new=tuple(n for j, n in enumerate(names[1]) if j not in matched),
    )


def _spans(found: Bridge, old: Sequence[int | str], new: Sequence[int | str]) -> tuple[Span, ...]:
    """Give the clusters their names."""
    return tuple(
        Span(
            None if p.old is None else old[p.old],
            None if p.new is None else new[p.new],
            p.shared, p.share_old, p.share_new, p.jaccard, p.kind,
            tuple(old[source] for source in p.sources),
        )
        for p in found.pillars
    )  # fmt: skip


def write_bridge(found: RunBridge, path: str | os.PathLike[str]) -> None:
    """Write columns ``old``, ``new``, ``shared``, ``share_old``, ``share_new``, ``jaccard`` and ``kind``.

    Parameters
    ----------
    found : RunBridge
    path : path-like
        A name that ends in .parquet or .csv. It is written atomically.

    Raises
    ------
    OutputError
        If the suffix is unknown or the file cannot be written.
    """
    check_assignment_target(path)
    spans = found.spans
    columns = {
        "old": _cluster_column([s.old for s in spans]),
        "new": _cluster_column([s.new for s in spans]),
        "shared": pa.array([s.shared for s in spans], pa.int64()),
        "share_old": pa.array([s.share_old for s in spans], pa.float64()),
        "share_new": pa.array([s.share_new for s in spans], pa.float64()),
        "jaccard": pa.array([s.jaccard for s in spans], pa.float64()),
        "kind": pa.array([s.story for s in spans], pa.string()),
    }
    with atomic_file(path) as temporary:
        if temporary.suffix.lower() == ".csv":
            pa.csv.write_csv(pa.table(columns), temporary)
        else:
            pq.write_table(pa.table(columns), temporary)


def read_partition(path: str | os.PathLike[str]) -> Partition:
    """Read the clusters of a run.

    Parameters
    ----------
    path : path-like
        A taxonomy folder, or a .csv or .parquet table with columns ``id`` and ``cluster``, as
        ``holdfast assign -o`` writes it. Clusters may be numbers or texts; -1 is no cluster.

    Raises
    ------
    InputError
        If it cannot be read, lacks a column, has a gap, or an id occurs twice.
    """
    source = Path(path)
    if source.is_dir():
        open_taxonomy(source)  # its sentences are the better ones for a folder that is none
        source = source / "assignments" / "1.parquet"
    ids, clusters = _read_columns(source)
    _check_whole(source, ids, clusters)
    try:
        codes, names = _coded(clusters)
    except pa.ArrowInvalid as error:
        raise TableError(
            f"{source} has clusters that are no whole numbers: give numbers or names."
        ) from error
    return Partition(ids, codes, names)


def _read_columns(path: Path) -> tuple[Any, Any]:
    """Return the columns ``id`` (as texts) and ``cluster``."""
    if not path.exists():
        raise TableError(f"{path} does not exist: check the path.")
    if path.suffix.lower() not in {".csv", ".parquet"}:
        raise TableError(f"{path} has an unknown suffix: give a taxonomy folder, a .csv or a .parquet.")
    try:
        table = _read_csv(path) if path.suffix.lower() == ".csv" else pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise TableError(f"{path} cannot be read ({reason}): write it again.") from error
    for name in ("id", "cluster"):
        if table.column_names.count(name) != 1:
            raise TableError(
                f"{path} has no column {name!r}: give a table with columns id and cluster, as holdfast "
                "assign -o writes it."
            )
    try:
        ids = table["id"].cast(pa.string()).combine_chunks()
    except pa.ArrowException as error:
        raise TableError(f"{path} has ids of type {table['id'].type}: give texts or numbers.") from error
    return ids, table["cluster"].combine_chunks()


def _read_csv(path: Path) -> Any:
    """Read ids as the texts they are: 007 is not 7."""
    options = pa.csv.ConvertOptions(
        column_types={"id": pa.string()}, strings_can_be_null=True, null_values=[""]
    )
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    return pa.csv.read_csv(path, parse_options=parse, convert_options=options)


def _check_whole(path: Path, ids: Any, clusters: Any) -> None:
    """Refuse gaps, and ids that occur twice."""
    for name, column in (("id", ids), ("cluster", clusters)):
        if column.null_count:
            row = int(np.argmax(np.asarray(column.is_null())))
            raise TableError(f"{path} has no {name} in row {row}: fill it or drop the row.")
    if not len(ids):
        raise TableError(f"{path} has no rows: give at least one.")
    if pc.count_distinct(ids).as_py() != len(ids):
        counts = pc.value_counts(ids)
        name = counts.field("values")[int(np.argmax(np.asarray(counts.field("counts"))))]
        raise TableError(f"{path} has the id {name.as_py()!r} more than once: drop all rows of it but one.")


def _coded(clusters: Any) -> tuple[npt.NDArray[np.int64], tuple[int | str, ...]]:
    """Give the clusters that occur numbers in their order; those called -1 are none."""
    if pa.types.is_floating(clusters.type):
        clusters = pc.cast(clusters, pa.int64())  # refuses what is no whole number
    numbers = pa.types.is_integer(clusters.type)
    if not numbers:
        clusters = clusters.cast(pa.string())
    values = clusters.dictionary_encode()
    names = values.dictionary.to_pylist()
    order = sorted(range(len(names)), key=lambda place: names[place])
    kept = [place for place in order if str(names[place]) != _NOISE]
    code = np.full(len(names), -1, dtype=np.int64)
    code[kept] = np.arange(len(kept))
    return code[np.asarray(values.indices)], tuple(names[place] for place in kept)


def _renumbered(codes: npt.NDArray[np.int64], used: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give the used codes numbers from 0; -1 stays."""
    return np.where(codes < 0, -1, np.searchsorted(used, np.maximum(codes, 0)))


def _cluster_column(names: list[int | str | None]) -> Any:
    """Write clusters as numbers where all of them are."""
    texts = any(isinstance(name, str) for name in names)
    return pa.array(
        [str(n) if texts and n is not None else n for n in names], pa.string() if texts else pa.int64()
    )


def _first(run: Partition) -> str:
    return repr(run.ids[0].as_py())
