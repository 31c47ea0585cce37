"""Wide rows on their leading directions: what is kept, what noise becomes there, and the way back."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from holdfast import DEC
from holdfast.cluster._module import DecConfig, empty_module
from holdfast.cluster._recipe import _module_for, _Run
from holdfast.cluster._stages import Corruption
from holdfast.functional.geometry import principal_directions
from holdfast.nn import Preparation, Projection

pytestmark = pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")

seeds = st.integers(0, 2**32 - 1)


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def orthonormal(seed, r, d):
    return torch.linalg.qr(drawn(seed, d, r)).Q.T.contiguous()


# --- preparation --------------------------------------------------------------------------------------------


def test_projected_rows_by_hand():
    # (3, 4, 0, ...) becomes (.6, .8, 0, ...) of length sqrt(20), and is shrunk by sqrt(5/20)
    prepare = Preparation(torch.zeros(20), 1.0, "cosine", torch.eye(20)[:5])
    x = torch.zeros(1, 20)
    x[0, 0], x[0, 1] = 3.0, 4.0
    expected = torch.tensor([[0.6, 0.8, 0.0, 0.0, 0.0]]) * math.sqrt(20) * math.sqrt(5 / 20)
    torch.testing.assert_close(prepare(x), expected)


@given(seeds, st.integers(1, 30), st.sampled_from(["cosine", "student"]))
def test_projected_rows_agree_with_numpy(seed, r, assignment):
    x, mean, R = drawn(seed, 7, 40), drawn(seed + 1, 40), orthonormal(seed + 2, r, 40)
    prepared = Preparation(mean, 1.7, assignment, R)(x)
    centred = (x - mean).double().numpy()
    if assignment == "cosine":
        whole = centred / np.linalg.norm(centred, axis=1, keepdims=True) * np.sqrt(40)
    else:
        whole = centred / 1.7
    np.testing.assert_allclose(prepared.numpy(), whole @ R.double().numpy().T * np.sqrt(r / 40), atol=1e-4)


@pytest.mark.parametrize("d", [200, 1000])
def test_entries_stay_of_about_unit_size_where_the_directions_hold_the_rows(d):
    rows = drawn(0, 500, 12) @ drawn(1, 12, d)
    plain = Preparation(rows.mean(0), 1.0, "cosine")
    reduced = Preparation(rows.mean(0), 1.0, "cosine", principal_directions(plain(rows), 12))
    for prepare in (plain, reduced):
        assert prepare(rows).square().mean().sqrt().item() == pytest.approx(1.0, abs=1e-3)
    assert reduced.shrinkage == pytest.approx(math.sqrt(12 / d))
    assert plain.shrinkage == 1.0


def test_all_directions_are_a_rotation():
    x = drawn(0, 9, 30)
    plain, rotated = (Preparation(drawn(1, 30), 1.0, "cosine", R) for R in (None, orthonormal(2, 30, 30)))
    cosines = [normalize(p(x), dim=1) for p in (plain, rotated)]
    torch.testing.assert_close(cosines[1] @ cosines[1].T, cosines[0] @ cosines[0].T, rtol=1e-4, atol=1e-5)


def test_directions_are_part_of_the_state():
    R = orthonormal(0, 4, 20)
    state = Preparation(torch.zeros(20), 1.0, "cosine", R).state_dict()
    torch.testing.assert_close(state["directions"], R)
    assert "directions" not in Preparation(torch.zeros(20), 1.0, "cosine").state_dict()


# --- noise --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 0.1, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("shape", [(1000, 37), (333, 64)])
def test_the_share_of_masked_entries_is_the_level(level, shape):
    corrupt = Corruption("mask", level, torch.Generator().manual_seed(0))
    masked = ~corrupt._kept(torch.Size(shape))
    assert masked.shape == shape
    n = masked.numel()
    spread = math.sqrt(level * (1 - level) / n)
    assert float(masked.double().mean()) == pytest.approx(level, abs=1 / 256 + 4 * spread)
    columns = masked.double().mean(0) - masked.double().mean()
    assert columns.abs().max() < 5 * math.sqrt(0.25 / shape[0]), "no column is spared"


def test_masked_rows_keep_their_mean():
    corrupt = Corruption("mask", 0.25, torch.Generator().manual_seed(0))
    x = drawn(0, 1, 50).repeat(8000, 1)
    corrupted = corrupt(x)
    assert sorted(corrupted[:, 0].unique().abs().tolist()) == pytest.approx([0, abs(float(x[0, 0])) / 0.75])
    torch.testing.assert_close(corrupted.mean(0), x[0], rtol=0, atol=0.08)
    torch.testing.assert_close(x, drawn(0, 1, 50).repeat(8000, 1))


def test_masks_come_from_the_generator_alone():
    x = torch.ones(40, 30)
    first, second, other = (
        Corruption("mask", 0.5, torch.Generator().manual_seed(seed))(x) for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("level", [0.1, 0.3, 0.6])
def test_noise_along_directions_is_what_masking_would_have_left_there(level):
    """Rows of entries of unit size, masked and then projected, against projected rows with noise."""
    d, r, n = 120, 20, 30_000
    prepare = Preparation(torch.zeros(d), 1.0, "student", orthonormal(3, r, d))
    x = torch.sign(drawn(4, 1, d))  # every entry is 1 or -1
    mask = Corruption("mask", level, torch.Generator().manual_seed(0))
    masked = torch.cat([prepare(mask(x.repeat(n // 10, 1))) for _ in range(10)]) - prepare(x)
    noise = mask.for_rows(prepare)(prepare(x).repeat(n, 1)) - prepare(x)
    expected = level / (1 - level) * r / d
    tolerance = 6 * expected * math.sqrt(2 / n)
    for found in (masked, noise):
        torch.testing.assert_close(found.T @ found / n, expected * torch.eye(r), rtol=0, atol=tolerance)
        assert found.mean(0).abs().max() < 5 * math.sqrt(expected / n)


def test_noise_of_a_deviation_is_shrunk_as_the_rows_are():
    d, r = 120, 30
    prepare = Preparation(torch.zeros(d), 1.0, "student", orthonormal(3, r, d))
    corrupt = Corruption("gaussian", 0.4, torch.Generator().manual_seed(0))
    assert corrupt.for_rows(prepare).level == pytest.approx(0.4 * math.sqrt(r / d))
    before = prepare(corrupt(torch.zeros(20_000, d)))
    after = corrupt.for_rows(prepare)(torch.zeros(20_000, r))
    assert float(after.std()) == pytest.approx(float(before.std()), rel=0.02)


def test_without_directions_noise_stays_what_it_was():
    for kind in ("mask", "gaussian"):
        corrupt = Corruption(kind, 0.3, torch.Generator())
        assert corrupt.for_rows(Preparation(torch.zeros(50), 1.0, "cosine")) is corrupt


@pytest.mark.parametrize("kind", ["mask", "gaussian"])
def test_rows_of_few_columns_are_spared(kind):
    x = torch.ones(50, 17)
    assert torch.equal(Corruption(kind, 0.5, torch.Generator())(x), x)
    assert not torch.equal(Corruption(kind, 0.5, torch.Generator())(torch.ones(50, 18)), torch.ones(50, 18))


# --- there and back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [20, 128])
@pytest.mark.parametrize("n", [20, 400])
def test_a_projection_on_all_directions_restores_rows_from_the_start(d, n):
    rows = Preparation(torch.zeros(d), 1.0, "cosine")(drawn(0, n, d))
    if n < d:
        rows = rows[:, :d]
    encoder = Projection(principal_directions(rows, d), 16, torch.Generator(), decoder=True)
    restored = encoder.decode(normalize(encoder(rows), dim=1))
    torch.testing.assert_close(restored, rows, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_what_is_lost_on_leading_directions_is_what_pca_loses():
    rows = drawn(0, 400, 60) * torch.linspace(2, 0.1, 60)
    encoder = Projection(principal_directions(rows, 10), 16, torch.Generator(), decoder=True)
    lost = (encoder.decode(encoder(rows)) - rows).square().sum()
    values = torch.linalg.svdvals(rows.double())
    assert float(lost) == pytest.approx(float(values[10:].square().sum()), rel=1e-3)


def config(**parameters):
    return DEC(4, random_state=0, **parameters)._config(4)


@pytest.mark.parametrize(("d", "kept"), [(40, None), (128, None), (129, 128), (300, 128)])
def test_only_wide_rows_are_reduced(d, kept):
    X = drawn(0, 260, d).numpy()
    module = _module_for(_Run(X, config()))
    directions = module.prepare.directions
    assert (None if directions is None else len(directions)) == kept
    assert module.encoder.latent_dim == min(d, 128)
    z = module.encode(torch.from_numpy(X)).detach()
    whole = Preparation(torch.from_numpy(X.mean(0)), 1.0, "cosine")(torch.from_numpy(X))
    expected = normalize(whole @ principal_directions(whole, 128).T, dim=1)
    torch.testing.assert_close(z @ z.T, expected @ expected.T, rtol=0, atol=1e-3)
    assert _module_for(_Run(X, config(encoder="autoencoder"))).prepare.directions is None


def test_a_module_is_built_anew_from_its_weights():
    X = drawn(0, 200, 150).numpy()
    for parameters in ({}, {"assignment": "student"}, {"encoder": "autoencoder", "hidden_dims": (8, 3)}):
        made = config(**parameters)
        assert isinstance(made, DecConfig)
        module = _module_for(_Run(X, made))
        again = empty_module(made, module.state_dict(), 150)
        x = torch.from_numpy(X)
        assert torch.equal(again.encode(x), module.encode(x))
