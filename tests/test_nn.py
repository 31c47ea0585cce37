"""Modules against plain NumPy, and the promises that every stage relies on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erf, softmax

from holdfast.nn import Autoencoder, Clusterer, Preparation, Projection

seeds = st.integers(0, 2**32 - 1)


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def clusterer(assignment="cosine", *, d=20, k=3, alpha=1.0, seed=0):
    prepare = Preparation(drawn(seed, d), 2.0, assignment)
    module = Clusterer(prepare, Autoencoder((d, 12, 5), generator(seed)), k, alpha)
    with torch.no_grad():
        module.centres.copy_(drawn(seed + 1, k, 5))
        module.temperature.fill_(0.2)
    return module.eval()


# --- preparation --------------------------------------------------------------------------------------------


def test_wide_rows_are_centred_and_given_one_length():
    x, mean = drawn(0, 6, 20), drawn(1, 20)
    prepared = Preparation(mean, 0.7, "cosine")(x).numpy()
    centred = (x - mean).numpy()
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True) * np.sqrt(20)
    np.testing.assert_allclose(prepared, expected, rtol=1e-5, atol=1e-6)


def test_narrow_rows_are_lifted_by_hand():
    # mean 0, scale 1, two columns: (2, 0) -> (2, 0, sqrt 2) -> length sqrt 3
    prepared = Preparation(torch.zeros(2), 1.0, "cosine")(torch.tensor([[2.0, 0.0]]))
    expected = torch.tensor([[2.0, 0.0, 2**0.5]]) / 6**0.5 * 3**0.5
    torch.testing.assert_close(prepared, expected)


def test_student_rows_keep_their_distances():
    x = drawn(0, 5, 4)
    prepared = Preparation(drawn(1, 4), 2.5, "student")(x)
    torch.testing.assert_close(torch.cdist(prepared, prepared) * 2.5, torch.cdist(x, x), atol=1e-5, rtol=1e-5)


@given(seeds, st.floats(1e-5, 1e5))
def test_preparation_ignores_the_unit_of_the_rows(seed, unit):
    for d in (3, 30):
        x, mean = drawn(seed, 6, d), drawn(seed + 1, d)
        for assignment in ("cosine", "student"):
            expected = Preparation(mean, 0.5, assignment)(x)
            found = Preparation(mean * unit, 0.5 * unit, assignment)(x * unit)
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


# --- encoders -----------------------------------------------------------------------------------------------


def test_a_projection_begins_as_a_rotation():
    directions = torch.linalg.qr(drawn(0, 20, 20)).Q[:6]
    x = drawn(1, 9, 20)
    encoder = Projection(directions, 7, generator())
    assert encoder.latent_dim == 6
    torch.testing.assert_close(encoder(x), x @ directions.T / 20**0.5)


def test_a_projection_bends_as_written():
    encoder = Projection(drawn(0, 4, 10), 7, generator())
    with torch.no_grad():
        encoder.bend.weight.copy_(drawn(1, 4, 7))
        encoder.bend.bias.copy_(drawn(2, 4))
    x = drawn(3, 5, 10).numpy().astype(np.float64)
    layers = (encoder.rotate, encoder.hidden, encoder.bend)
    P, A, B = (layer.weight.detach().double().numpy() for layer in layers)
    a, b = (layer.bias.detach().double().numpy() for layer in layers[1:])
    hidden = x @ A.T + a
    gelu = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    expected = x @ P.T / np.sqrt(10) + gelu @ B.T + b
    found = encoder(torch.from_numpy(x.astype(np.float32))).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_bend_of_a_projection_can_learn():
    encoder = Projection(drawn(0, 4, 10), 7, generator())
    encoder(drawn(1, 5, 10)).square().sum().backward()
    assert encoder.bend.weight.grad.abs().sum() > 0


def test_an_autoencoder_agrees_with_numpy():
    encoder = Autoencoder((8, 6, 5, 3), generator())
    x = drawn(0, 7, 8)
    weights = {name: value.detach().numpy() for name, value in encoder.named_parameters()}

    def through(rows, half):
        for layer in (0, 2, 4):
            rows = rows @ weights[f"{half}.{layer}.weight"].T + weights[f"{half}.{layer}.bias"]
            rows = rows if layer == 4 else np.maximum(rows, 0)
        return rows

    z = through(x.numpy(), "encoder")
    np.testing.assert_allclose(encoder(x).detach().numpy(), z, rtol=1e-4, atol=1e-5)
    assert (z < 0).any(), "the latent is linear"
    np.testing.assert_allclose(
        encoder.decode(torch.from_numpy(z)).detach().numpy(), through(z, "decoder"), rtol=1e-4, atol=1e-5
    )
    widths = [tuple(value.shape) for name, value in weights.items() if name.endswith("weight")]
    assert widths == [(6, 8), (5, 6), (3, 5), (5, 3), (6, 5), (8, 6)]


def test_weights_come_from_the_generator_alone():
    state = torch.random.get_rng_state()
    makers = (lambda g: Autoencoder((8, 6, 3), g), lambda g: Projection(drawn(0, 3, 8), 6, g))
    for make in makers:
        first, second, other = make(generator(1)), make(generator(1)), make(generator(2))
        pairs = list(zip(first.parameters(), second.parameters(), other.parameters(), strict=True))
        assert all(torch.equal(a, b) for a, b, _ in pairs)
        assert any(not torch.equal(a, c) for a, _, c in pairs)
    assert torch.equal(torch.random.get_rng_state(), state)


# --- clusterer ----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_cosine_assignment_agrees_with_numpy():
    module = clusterer("cosine")
    x = drawn(7, 11, 20)
    z = module.encoder(module.prepare(x)).numpy()
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(module.encode(x).numpy(), z, rtol=1e-5, atol=1e-6)
    centres = module.centres.numpy() / np.linalg.norm(module.centres.numpy(), axis=1, keepdims=True)
    q = softmax(z @ centres.T / 0.2, axis=1)
    np.testing.assert_allclose(module(x).numpy(), q, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(module.assign(x).numpy(), q.argmax(axis=1))
    np.testing.assert_allclose(module.unit_centres().numpy(), centres, rtol=1e-6)


@torch.no_grad()
def test_student_assignment_agrees_with_numpy():
    module = clusterer("student", alpha=2.0)
    x = drawn(7, 11, 20)
    z = module.encoder((x - module.prepare.mean) / 2).numpy()
    np.testing.assert_allclose(module.encode(x).numpy(), z, rtol=1e-5, atol=1e-6)
    squared = ((z[:, None] - module.centres.numpy()) ** 2).sum(axis=2)
    q = (1 + squared / 2) ** -1.5
    np.testing.assert_allclose(module(x).numpy(), q / q.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(module.assign(x).numpy(), squared.argmin(axis=1))
    torch.testing.assert_close(module.unit_centres(), module.centres)


@pytest.mark.parametrize("assignment", ["cosine", "student"])
@torch.no_grad()
def test_reordering_renames_clusters_and_nothing_else(assignment):
    module, x = clusterer(assignment, k=5), drawn(7, 40, 20)
    order = torch.tensor([3, 0, 4, 1, 2])
    q, z, labels = module(x), module.encode(x), module.assign(x)
    module.reorder(order)
    torch.testing.assert_close(module(x), q[:, order])
    torch.testing.assert_close(order[module.assign(x)], labels)
    assert torch.equal(module.encode(x), z)


def test_centres_are_placed_at_the_means_of_their_members():
    z = torch.tensor([[1.0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0], [0, 0, 4.0, 0, 0]])
    labels = torch.tensor([0, 0, 2])
    for assignment, first, last in (("cosine", 0.5**0.5, 1.0), ("student", 0.5, 4.0)):
        module = clusterer(assignment)
        empty = module.centres[1].clone()
        module.place_centres(z, labels)
        torch.testing.assert_close(module.centres[0], torch.tensor([first, first, 0, 0, 0]))
        torch.testing.assert_close(module.centres[1], empty)
        torch.testing.assert_close(module.centres[2], torch.tensor([0, 0, last, 0, 0]))


def test_everything_that_an_answer_needs_is_in_the_state():
    for assignment in ("cosine", "student"):
        module = clusterer(assignment)
        copy = Clusterer(
            Preparation(torch.zeros(20), 1.0, assignment), Autoencoder((20, 12, 5), generator(9)), 3
        )
        copy.load_state_dict(module.state_dict())
        assert torch.equal(copy(drawn(7, 4, 20)), module(drawn(7, 4, 20)))
