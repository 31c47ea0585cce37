"""Several linear clustering heads on one input, each with a slow copy of itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

__all__ = ["Heads"]


class Heads(nn.Module):
    """Linear heads and their teachers, whose weights are running means of the heads'.

    A head begins at the mean rows of a partition, so that it gives that partition's softened labels.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        Rows of length one.
    partitions : Tensor of shape (h, n), int64
        One for each head.
    n_clusters : int
        k.
    temperature : float
        Divides the cosines that the heads begin with.
    """

    teacher: Tensor

    def __init__(self, rows: Tensor, partitions: Tensor, n_clusters: int, temperature: float) -> None:
        super().__init__()
        self.shape = (len(partitions), n_clusters)
        means = [
            rows.new_zeros(n_clusters, rows.shape[1]).index_add_(0, labels, rows) for labels in partitions
        ]
        self.weight = nn.Parameter(torch.cat([normalize(mean, dim=1) for mean in means]) / temperature)
        self.register_buffer("teacher", self.weight.detach().clone())

    def forward(self, rows: Tensor) -> Tensor:
        """Logarithms of the heads' soft assignments (n, h, k)."""
        return torch.log_softmax((rows @ self.weight.T).view(-1, *self.shape), dim=2)

    @torch.no_grad()
    def taught(self, rows: Tensor) -> Tensor:
        """Logarithms of the teachers' soft assignments (n, h, k)."""
        return torch.log_softmax((rows @ self.teacher.T).view(-1, *self.shape), dim=2)

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        """Move the teachers towards the heads."""
        self.teacher.mul_(momentum).add_(self.weight, alpha=1 - momentum)
