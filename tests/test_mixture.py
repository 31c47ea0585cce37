"""Mixtures: densities against torch.distributions and SciPy, sticks and merges by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import distributions

from holdfast.cluster._merging import Criterion, Level, Refit, merge_down, polish, prune
from holdfast.cluster._mixture_view import view_of
from holdfast.functional.merging import (
    Mixture,
    bic,
    description_length,
    merge_costs,
    merged,
    n_parameters,
    row_features,
    weighted_log_prob,
)
from holdfast.functional.mixture import (
    component_weights_log_prob,
    features_of,
    gaussian_log_prob,
    joint_log_prob,
    log_weights_of_sticks,
    mixture_log_prob,
    sticks_of_log_weights,
)
from holdfast.nn.mixture import StickBreaking

KINDS = ("diag", "spherical", "tied")
seeds = st.integers(0, 2**32 - 1)


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixture_of(seed, kind, k=4, d=3):
    weights = torch.softmax(drawn(seed, k), 0)
    if kind == "tied":
        root = drawn(seed + 2, d, d)
        covariance = root @ root.T + 0.1 * torch.eye(d)
    else:
        covariance = torch.exp(drawn(seed + 2, k, d))
        covariance = covariance[:, :1].expand(k, d).clone() if kind == "spherical" else covariance
    return Mixture(kind, weights, 2 * drawn(seed + 1, k, d), covariance)


def full(mixture):
    """Covariance matrices (k, d, d)."""
    if mixture.kind == "tied":
        return mixture.covariance.expand(len(mixture), -1, -1)
    return torch.diag_embed(mixture.covariance)


# --- the broken stick ---------------------------------------------------------------------------------------


def test_a_stick_broken_in_halves():
    weights = torch.exp(log_weights_of_sticks(torch.zeros(3)))
    torch.testing.assert_close(weights, torch.tensor([1 / 2, 1 / 4, 1 / 8, 1 / 8]))


def test_a_third_then_half():
    # v = 1/3 is the logit ln(1/2); what is left, 2/3, in halves: all thirds
    logits = torch.tensor([math.log(0.5), 0.0])
    torch.testing.assert_close(torch.exp(log_weights_of_sticks(logits)), torch.full((3,), 1 / 3))


@given(seeds, st.integers(1, 30), st.floats(0.1, 20))
def test_weights_and_sticks_undo_each_other(seed, k, size):
    logits = size * drawn(seed, k - 1)
    log_weights = log_weights_of_sticks(logits)
    assert float(torch.logsumexp(log_weights, 0)) == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(log_weights_of_sticks(sticks_of_log_weights(log_weights + 3)), log_weights)


def test_the_prior_of_weights_by_hand():
    # weights 1/2, 1/4, 1/4: sticks 1/2 and 1/2; Beta(1, 3) has density 3 (1 - v)^2 = 3/4 at each
    weights = torch.tensor([0.5, 0.25, 0.25]).log()
    assert component_weights_log_prob(weights, torch.tensor(3.0).log()).item() == pytest.approx(
        2 * math.log(0.75), rel=1e-6
    )
    first = component_weights_log_prob(weights, torch.tensor(3.0).log(), 1)
    assert first.item() == pytest.approx(math.log(0.75), rel=1e-6)


@given(seeds, st.integers(2, 12), st.floats(0.05, 50))
def test_every_stick_has_scipys_beta_prior(seed, k, c):
    log_weights = drawn(seed, k)
    sticks = torch.sigmoid(sticks_of_log_weights(log_weights)).numpy()
    expected = stats.beta.logpdf(sticks, 1, c).sum()
    found = component_weights_log_prob(log_weights + 5, torch.tensor(c, dtype=torch.float64).log())
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-6)


# --- densities ----------------------------------------------------------------------------------------------


def test_two_components_and_two_values_by_hand():
    # N(0; 0, 1) = N(4; 4, 1) = phi(0), N(4; 0, 1) = N(0; 4, 1) = phi(4); weights 1/4 and 3/4
    near, far = stats.norm.pdf(0), stats.norm.pdf(4)
    expected = math.log(near / 4 + 3 * far / 4) + math.log(far / 4 + 3 * near / 4)
    found = mixture_log_prob(
        torch.tensor([1.0, 3.0]).log(), torch.tensor([0.0, 4.0]), torch.zeros(2), torch.tensor([0.0, 4.0])
    )
    assert found.item() == pytest.approx(expected, rel=1e-5)


@given(seeds, st.integers(1, 9), st.integers(1, 5), st.integers(1, 20))
def test_the_mixture_is_torchs_own(seed, k, d, n):
    log_weights, means = drawn(seed, k), 3 * drawn(seed + 1, k, d)
    log_scales, data = drawn(seed + 2, k, d), 2 * drawn(seed + 3, n, d)
    parts = distributions.Independent(distributions.Normal(means, log_scales.exp()), 1)
    whole = distributions.MixtureSameFamily(distributions.Categorical(logits=log_weights), parts)
    found = mixture_log_prob(log_weights, means, log_scales, data)
    torch.testing.assert_close(found, whole.log_prob(data).sum(), rtol=1e-7, atol=1e-7)


@given(seeds)
def test_the_joint_is_the_sum_of_its_parts(seed):
    log_weights, means, data = drawn(seed, 5), drawn(seed + 1, 5), drawn(seed + 2, 11)
    log_scales, log_c = 0.3 * drawn(seed + 3, 5), torch.tensor(0.7, dtype=torch.float64)
    sticks = torch.sigmoid(sticks_of_log_weights(log_weights))
    each = stats.norm.pdf(data.numpy()[:, None], means.numpy(), log_scales.exp().numpy())
    expected = np.log(each @ torch.softmax(log_weights, 0).numpy()).sum()
    expected += stats.beta.logpdf(sticks.numpy(), 1, math.exp(0.7)).sum()
    found = joint_log_prob(log_weights, log_c, 5, means, log_scales, data)
    assert float(found) == pytest.approx(expected, rel=1e-7)


def test_far_values_and_tiny_weights_stay_finite():
    data = torch.tensor([-1e4, 1e4])
    found = mixture_log_prob(torch.tensor([0.0, -500.0]), torch.zeros(2), torch.tensor([0.0, 1.0]), data)
    # the wide component explains both, at weight e^-500: -500 - 1 - ln(2 pi)/2 - (1e4/e)^2 / 2 each
    expected = 2 * (-501 - 0.5 * math.log(2 * math.pi) - 0.5 * (1e4 / math.e) ** 2)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_scales_broadcast():
    data, means = drawn(0, 7, 3), drawn(1, 4, 3)
    one, each = drawn(2, 4, 1), drawn(3, 1, 3)
    torch.testing.assert_close(
        gaussian_log_prob(data, means, one), gaussian_log_prob(data, means, one.expand(4, 3))
    )
    torch.testing.assert_close(
        gaussian_log_prob(data, means, each), gaussian_log_prob(data, means, each.expand(4, 3))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_joint_densities_are_scipys(kind):
    mixture, rows = mixture_of(3, kind), drawn(9, 6, 3)
    found = weighted_log_prob(mixture, row_features(mixture, rows))
    for j, (mean, covariance) in enumerate(zip(mixture.means, full(mixture), strict=True)):
        expected = stats.multivariate_normal.logpdf(rows.numpy(), mean.numpy(), covariance.numpy())
        np.testing.assert_allclose(found[:, j], expected + math.log(mixture.weights[j]), rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_trained_module_is_the_mixture_it_began_with(kind):
    mixture, rows = mixture_of(5, kind), drawn(8, 10, 3)
    module = StickBreaking(mixture, 1.0)
    expected = torch.logsumexp(weighted_log_prob(mixture, row_features(mixture, rows)), 1)
    torch.testing.assert_close(module.log_prob(rows.float()).double(), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(module.mixture().covariance, mixture.covariance, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(module.mixture().weights, mixture.weights, rtol=1e-4, atol=1e-5)


# --- merging ------------------------------------------------------------------------------------------------


def test_two_components_merged_by_hand():
    # weights .3 and .1 of .4: mean (3 * 0 + 4) / 4 = 1; variance (3 * 1 + 2) / 4 + 3/16 * 16 = 4.25
    mixture = Mixture(
        "diag",
        torch.tensor([0.3, 0.6, 0.1]),
        torch.tensor([[0.0], [9.0], [4.0]]),
        torch.tensor([[1.0], [5.0], [2.0]]),
    )
    after = merged(mixture, 0, 2)
    torch.testing.assert_close(after.weights, torch.tensor([0.4, 0.6]))
    torch.testing.assert_close(after.means, torch.tensor([[1.0], [9.0]]))
    torch.testing.assert_close(after.covariance, torch.tensor([[4.25], [5.0]]))
    # B = (.4 ln 4.25 - .3 ln 1 - .1 ln 2) / 2
    expected = 0.5 * (0.4 * math.log(4.25) - 0.1 * math.log(2))
    assert merge_costs(mixture)[0, 2].item() == pytest.approx(expected, rel=1e-6)


@given(seeds, st.sampled_from(KINDS))
def test_a_merge_keeps_the_first_two_moments(seed, kind):
    before = mixture_of(seed, kind)
    after = merged(before, 2, 0)

    def moments(mixture):
        mean = mixture.weights @ mixture.means
        outer = mixture.means[:, :, None] * mixture.means[:, None, :]
        second = torch.einsum("k,kij->ij", mixture.weights, full(mixture) + outer)
        return (
            mean,
            second if kind == "tied" else second.trace() if kind == "spherical" else second.diagonal(),
        )

    for old, new in zip(moments(before), moments(after), strict=True):
        torch.testing.assert_close(old, new, rtol=1e-9, atol=1e-9)
    assert len(after) == 3
    torch.testing.assert_close(after.means[[0, 2]], before.means[[1, 3]])


@given(seeds, st.sampled_from(KINDS))
def test_the_cost_is_that_of_the_determinants(seed, kind):
    mixture = mixture_of(seed, kind)
    costs = merge_costs(mixture)
    torch.testing.assert_close(costs, costs.T)
    assert torch.isinf(costs.diagonal()).all()
    after = merged(mixture, 1, 3)
    logdet = torch.logdet(full(mixture))
    if kind == "tied":
        expected = 0.5 * (torch.logdet(after.covariance) - logdet[0])
    else:
        own = mixture.weights * logdet
        expected = 0.5 * (after.weights[1] * torch.logdet(full(after))[1] - own[1] - own[3])
    assert float(costs[1, 3]) == pytest.approx(float(expected), rel=1e-6, abs=1e-8)
    assert float(costs[1, 3]) > -1e-12


def test_parameters_are_counted():
    assert n_parameters("diag", 4, 1) == 4 + 4 + 3
    assert n_parameters("diag", 3, 5) == 15 + 15 + 2
    assert n_parameters("spherical", 3, 5) == 15 + 3 + 2
    assert n_parameters("tied", 3, 5) == 15 + 15 + 2


def test_criteria_by_hand():
    assert bic(-100.0, "diag", 2, (50, 1)) == pytest.approx(200 + 5 * math.log(50))
    assert description_length(-100.0, "diag", 2, (50, 1), 500) == bic(-100.0, "diag", 2, (50, 1))
    assert description_length(-100.0, "diag", 2, (50, 1), 10) == pytest.approx(40 + 5 * math.log(10))


# --- refitting ----------------------------------------------------------------------------------------------


def rows_of(seed, n=400, d=3):
    centres = 3 * drawn(seed, 3, d)
    which = torch.randint(3, (n,), generator=torch.Generator().manual_seed(seed))
    return centres[which] + drawn(seed + 1, n, d)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_never_lowers_the_density(kind):
    refit, mixture = Refit(rows_of(1), kind), mixture_of(2, kind)
    values = []
    for _ in range(30):
        mixture, value = refit.sweep(mixture)
        values.append(value)
    assert (np.diff(values) > -1e-5).all()  # the tied floor of a millionth is no maximiser
    assert values[-1] > values[0] + 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_polishing_ends_where_sweeps_end(kind):
    refit, mixture = Refit(rows_of(1), kind), mixture_of(2, kind)
    level, converged = polish(Level(mixture, (0, 1, 2, 3), 0.0), refit, gain=1e-12, max_sweeps=400)
    assert converged
    again, _ = refit.sweep(level.mixture)
    torch.testing.assert_close(again.means, level.mixture.means, rtol=0, atol=1e-4)
    for _ in range(400):
        mixture, _ = refit.sweep(mixture)
    assert level.log_prob >= refit.log_prob(mixture) - 1e-6


def test_merging_down_keeps_slots_and_finds_three():
    rows = rows_of(4, n=900)
    means = rows[:12]
    mixture = Mixture("diag", torch.full((12,), 1 / 12.0).double(), means, torch.ones_like(means))
    refit = Refit(rows, "diag")
    levels = merge_down(mixture, tuple(range(12)), refit)
    assert [len(level.mixture) for level in levels] == list(range(12, 0, -1))
    for before, after in pairwise(levels):
        assert set(after.slots) < set(before.slots)
    best = min(levels, key=Criterion("bic", "diag", refit.shape))
    assert len(best.mixture) == 3


def test_pruning_keeps_as_many_as_are_wanted():
    mixture = Mixture("diag", torch.tensor([0.5, 0.001, 0.498, 0.001]), torch.zeros(4, 1), torch.ones(4, 1))
    kept, slots = prune(mixture, 1000, 1)
    assert slots == (0, 2)
    assert float(kept.weights.sum()) == pytest.approx(1)
    assert len(prune(mixture, 1000, 3)[0]) == 3


def test_features_are_squares_and_values():
    assert features_of(torch.tensor([[2.0, -3.0]])).tolist() == [[4.0, 9.0, 2.0, -3.0]]


def test_directions_that_only_rounding_fills_are_left_out():
    rows = (drawn(0, 200, 3) @ drawn(1, 3, 40)).float().numpy()
    prepare, z = view_of(rows, 32, 0, is_sample=False)
    assert prepare.directions.shape == (3, 40)
    assert z.std(0).min() > 1e-3 * z.std(0).max()
