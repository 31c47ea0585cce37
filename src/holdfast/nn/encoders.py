"""Encoders: prepared rows in, latent rows out. All weights are drawn from a generator that is given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from holdfast.functional.products import inner_products

__all__ = ["Autoencoder", "Encoder", "Projection"]


class Encoder(nn.Module):
    """What a clusterer needs of an encoder: ``forward`` and the width of its latent, ``latent_dim``."""

    latent_dim: int

    def decode(self, z: Tensor) -> Tensor:
        """Map latent rows (n, d_z) back to prepared rows (n, d)."""
        raise NotImplementedError


class Projection(Encoder):
    r"""A rotation onto principal directions that can bend: :math:`z = P x + B\,gelu(A x + a) + b`.

    It begins as the rotation alone (``B`` is zero), so the first latent has the geometry of the input;
    the second term lets the clusters take shapes that no single centre in the input could have.

    Parameters
    ----------
    directions : Tensor of shape (d_z, d)
        Rows of the rotation ``P``.
    width : int
        Hidden units of the bending term.
    generator : torch.Generator
        Draws ``A``.
    decoder : bool, default=False
        Whether latent rows can be decoded: by a linear layer that begins as the rotation back.
    """

    def __init__(
        self, directions: Tensor, width: int, generator: torch.Generator, *, decoder: bool = False
    ) -> None:
        super().__init__()
        self.latent_dim, d = directions.shape
        # Prepared rows have entries of about unit size, so this keeps P x at about unit length.
        self.rotate = _linear(d, self.latent_dim, generator, bias=False)
        self.hidden = _linear(d, width, generator)
        self.bend = _linear(width, self.latent_dim, generator)
        with torch.no_grad():
            self.rotate.weight.copy_(directions)
            self.bend.weight.zero_()
        self._scale = d**-0.5
        if decoder:
            self.back = _linear(self.latent_dim, d, generator)
            with torch.no_grad():
                self.back.weight.copy_(directions.T / self._scale)

    def forward(self, x: Tensor) -> Tensor:
        """Map prepared rows (n, d) to latent rows (n, d_z)."""
        z: Tensor = self.rotate(x) * self._scale + self.bend(gelu(self.hidden(x)))
        return z

    def decode(self, z: Tensor) -> Tensor:
        """Map latent rows (n, d_z) back to prepared rows (n, d); needs ``decoder=True``."""
        x: Tensor = self.back(z)
        return x


class Autoencoder(Encoder):
    """A mirrored multilayer perceptron; its latent is linear, its hidden layers are rectified.

    Parameters
    ----------
    dims : sequence of int
        Widths from the input to the latent, such as ``(192, 256, 32)``.
    generator : torch.Generator
        Draws the weights.
    """

    def __init__(self, dims: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.latent_dim = dims[-1]
        self.encoder = _perceptron(dims, generator)
        self.decoder = _perceptron(list(reversed(dims)), generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map prepared rows (n, d) to latent rows (n, d_z)."""
        z: Tensor = self.encoder(x)
        return z

    def decode(self, z: Tensor) -> Tensor:
        """Map latent rows (n, d_z) back to prepared rows (n, d)."""
        x: Tensor = self.decoder(z)
        return x


class _Linear(nn.Linear):
    """A linear layer that answers a row alike wherever it stands in a block."""

    def forward(self, x: Tensor) -> Tensor:
        return inner_products(x, self.weight, self.bias)


def _perceptron(dims: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(dims):
        layers += [_linear(n_in, n_out, generator), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _linear(n_in: int, n_out: int, generator: torch.Generator, *, bias: bool = True) -> nn.Linear:
    # On the meta device torch's own initialisation draws nothing from the global generator.
    layer = _Linear(n_in, n_out, bias=bias, device="meta").to_empty(device="cpu")
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
