"""The document's Dirichlet-process mixture as it describes it, in JAX: what ours is to be better than.

Fifty Gaussians of one dimension; weights by stick-breaking; a Beta(1, c) prior on the first half of the
sticks with c learned; the joint log-likelihood climbed by Adam (0.05) inside ``lax.scan``, with every
parameter started from a normal draw and every state kept. Written from that description, in float32. JAX is
no dependency of ours: ``pip install jax`` into an environment of its own.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax.example_libraries.optimizers import adam
from jax.scipy.special import logsumexp
from jax.scipy.stats import beta, norm

N_COMPONENTS, N_PRIOR, RATE = 50, 25, 0.05
CHUNK = 2_000  # steps of one scan


class Parameters(NamedTuple):
    """Unnormalised log weights, log concentration, means and log scales."""

    log_weights: jax.Array
    log_concentration: jax.Array
    means: jax.Array
    log_scales: jax.Array


def start(seed: int) -> Parameters:
    keys = jax.random.split(jax.random.PRNGKey(seed), 4)
    shapes = [(N_COMPONENTS,), (), (N_COMPONENTS,), (N_COMPONENTS,)]
    return Parameters(*(jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)))


def loss(parameters: Parameters, x: jax.Array) -> jax.Array:
    log_weights = jax.nn.log_softmax(parameters.log_weights)
    weights = jnp.exp(log_weights)
    left = 1 - jnp.concatenate([jnp.zeros(1), jnp.cumsum(weights)[:-1]])
    sticks = (weights / left)[:N_PRIOR]
    prior = beta.logpdf(sticks, 1.0, jnp.exp(parameters.log_concentration)).sum()
    each = norm.logpdf(x[:, None], parameters.means, jnp.exp(parameters.log_scales))
    return -(prior + logsumexp(log_weights + each, axis=1).sum())


@lru_cache
def compiled(n: int) -> tuple[object, float]:
    """Compile one scan over ``n`` rows, and say how many CPU seconds that took."""
    began = time.process_time()
    _, update, parameters_of = adam(RATE)
    gradient = jax.value_and_grad(loss)

    def scan(state: object, steps: jax.Array, x: jax.Array) -> tuple[object, tuple]:
        def step(state: object, i: jax.Array) -> tuple[object, tuple]:
            parameters = parameters_of(state)
            value, slope = gradient(parameters, x)
            return update(i, slope, state), (parameters, value)

        return jax.lax.scan(step, state, steps)

    state = adam(RATE)[0](start(0))
    made = jax.jit(scan).lower(state, jnp.arange(CHUNK), jnp.zeros(n)).compile()
    return made, time.process_time() - began


def fit(x: np.ndarray, seed: int, n_steps: int) -> tuple[dict[str, np.ndarray], int | None]:
    """Return weights, means and scales after ``n_steps``, and the first step whose loss is no number."""
    scan, _ = compiled(len(x))
    begin, _, parameters_of = adam(RATE)
    state, rows, losses, history = begin(start(seed)), jnp.asarray(x, jnp.float32), [], []
    for first in range(0, n_steps, CHUNK):
        state, (passed, values) = scan(state, jnp.arange(first, first + CHUNK), rows)
        history.append(passed)
        losses.append(np.asarray(values))
    end = jax.block_until_ready(parameters_of(state))
    bad = np.flatnonzero(~np.isfinite(np.concatenate(losses)))
    found = {
        "weights": np.asarray(jax.nn.softmax(end.log_weights), np.float64),
        "means": np.asarray(end.means, np.float64),
        "scales": np.exp(np.asarray(end.log_scales, np.float64)),
    }
    return found, int(bad[0]) if len(bad) else None
