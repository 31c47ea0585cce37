"""A dial from coarse to fine: nested partitions around the one that was fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.hierarchy import cut_tree, linkage
from torch import Tensor

from holdfast.exceptions import ParameterError
from holdfast.graph import kmeans

__all__ = ["Levels", "grow_levels"]

_COARSER, _FINER = 3, 2  # levels at most, each of half or double the clusters of the one before
_ROWS_A_PART = 10  # fewer rows are no kind of their own
_LOOKED_AT = 100  # rows a part, of which more tell its centre no better


@dataclass(frozen=True, eq=False)
class Levels:
    """Nested partitions into ever more clusters; level 0 is the fitted one.

    Every cluster consists of parts. A coarser level joins clusters, a finer one lets the parts of a cluster
    be clusters of their own.

    Attributes
    ----------
    parts : ndarray of shape (m, r), float32
        Centres of the parts, among prepared rows.
    groups : dict of int to ndarray of shape (m,), int64
        At each level, the cluster of every part. ``groups[0]`` is the fitted cluster that it belongs to.
    """

    parts: np.ndarray
    groups: dict[int, np.ndarray]

    @property
    def counts(self) -> dict[int, int]:
        """Number of clusters at each level, from coarse to fine."""
        return {level: int(groups.max()) + 1 for level, groups in sorted(self.groups.items())}

    def check(self, level: int) -> int:
        """Return the level, if there is one of that number.

        Raises
        ------
        ParameterError
            If there is none.
        """
        if isinstance(level, bool) or level not in self.groups:
            known = ", ".join(f"{number:+d} ({count} clusters)" for number, count in self.counts.items())
            raise ParameterError(f"there is no level {level!r}; choose one of {known}.")
        return int(level)

    def joined(self, labels: np.ndarray, level: int) -> np.ndarray:
        """Give clusters (n,) the numbers of a level that is no finer; -1 stays."""
        of_cluster = np.full(int(self.groups[0].max()) + 2, -1)  # the last entry answers for -1
        of_cluster[self.groups[0]] = self.groups[level]
        return np.asarray(of_cluster[labels])

    def state(self) -> tuple[dict[str, np.ndarray], list[int]]:
        """Offer everything as arrays by name, and the numbers of the levels."""
        numbers = sorted(self.groups)
        groups = np.stack([self.groups[number] for number in numbers])
        return {"levels.parts": self.parts, "levels.groups": groups}, numbers

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], numbers: list[int]) -> Levels:
        """Take what :meth:`state` offered."""
        groups = tensors["levels.groups"]
        return cls(tensors["levels.parts"], {int(n): row for n, row in zip(numbers, groups, strict=True)})

    def nearest_part(self, prepared: Tensor, labels: Tensor) -> Tensor:
        """Find for prepared rows (b, r) of given clusters (b,) the nearest part of that cluster."""
        parts = torch.as_tensor(self.parts, device=prepared.device)
        owners = torch.as_tensor(self.groups[0], device=prepared.device)
        squared = torch.cdist(prepared, parts, compute_mode="donot_use_mm_for_euclid_dist")
        return squared.masked_fill(owners != labels[:, None], torch.inf).argmin(1)


def grow_levels(prepared: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> Levels:
    """Find parts inside clusters, and which clusters are nearest to one another.

    k-means cuts every cluster into as many parts as the finest level may need; Ward's linkage joins those
    of one cluster, greatest loss last, and the clusters by their centres.

    Parameters
    ----------
    prepared : ndarray of shape (n, r), float32
        Rows as the model prepares them, in random order.
    labels : ndarray of shape (n,)
        Their clusters; -1 takes no part.
    centres : ndarray of shape (k, d_z)
        Cluster centres.

    Returns
    -------
    Levels
    """
    k = len(centres)
    pieces = [_cut(prepared[labels == c]) for c in range(k)]
    owners = np.repeat(np.arange(k), [len(piece.parts) for piece in pieces])
    groups = {0: owners} | _coarser(centres, owners) | _finer(pieces, len(prepared))
    return Levels(np.concatenate([piece.parts for piece in pieces]), groups)


@dataclass(frozen=True, eq=False)
class _Piece:
    """One cluster, cut: the centres of its parts, and the tree that joins them."""

    parts: np.ndarray
    tree: np.ndarray

    def cut(self, height: float) -> np.ndarray:
        """Give parts that are joined below a height the same number."""
        if len(self.parts) == 1:
            return np.zeros(1, dtype=np.int64)
        left = 1 + int((self.tree[:, 2] > height).sum())
        return np.asarray(cut_tree(self.tree, n_clusters=left)[:, 0])


def _cut(members: np.ndarray) -> _Piece:
    """Cut the rows (s, r) of one cluster into parts."""
    most = 2 ** (_FINER + 1)
    count, size = min(len(members) // _ROWS_A_PART, most), len(members)
    members = members[: _LOOKED_AT * most]
    cut = np.zeros(len(members), dtype=np.int64)
    if count > 1:
        cut = kmeans(members, min(count, len(np.unique(members, axis=0))), n_init=1)
    found = np.unique(cut)
    if len(found) < 2:
        middle = members.mean(0) if size else np.zeros(members.shape[1])
        return _Piece(middle[None].astype(np.float32), np.empty((0, 4)))
    parts = np.stack([members[cut == part].mean(0) for part in found])
    tree = linkage(parts, "ward")
    tree[:, 2] *= np.sqrt(size)  # joining parts of a large cluster loses more
    return _Piece(parts.astype(np.float32), tree)


def _coarser(centres: np.ndarray, owners: np.ndarray) -> dict[int, np.ndarray]:
    counts = [len(centres) // 2**step for step in range(1, _COARSER + 1)]
    counts = [count for count in counts if count >= 2]
    if not counts:
        return {}
    joined = cut_tree(linkage(centres, "ward"), n_clusters=counts)
    return {-(step + 1): joined[owners, step].astype(np.int64) for step in range(len(counts))}


def _finer(pieces: list[_Piece], n_rows: int) -> dict[int, np.ndarray]:
    k = len(pieces)
    heights = np.sort(np.concatenate([piece.tree[:, 2] for piece in pieces]))[::-1]
    found = {}
    for step in range(1, _FINER + 1):
        wanted = k * 2**step
        if len(heights) < wanted - k or wanted * _ROWS_A_PART > n_rows:
            break
        height = heights[wanted - k] if len(heights) > wanted - k else -1.0
        cuts = [piece.cut(height) for piece in pieces]
        before = np.cumsum([0, *(int(cut.max()) + 1 for cut in cuts)])
        found[step] = np.concatenate([cut + start for cut, start in zip(cuts, before[:-1], strict=True)])
    return found
