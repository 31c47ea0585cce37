"""Assignment and geometry: numbers worked by hand, independent formulas, invariances and limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.functional.assignment import (
    calibrated_temperature,
    cosine_similarity,
    divergence,
    student_logits,
    target_distribution,
)
from holdfast.functional.geometry import LIFT_UP_TO, lift, mean_row, principal_directions, root_mean_square
from holdfast.functional.products import inner_products

seeds = st.integers(0, 2**32 - 1)


def drawn(seed, *shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def soft(seed, n, k):
    return torch.softmax(2 * drawn(seed, n, k), dim=1)


# --- target distribution (equation 3) -----------------------------------------------------------------------


def test_target_of_three_rows_and_two_clusters_by_hand():
    # f = (1.7, 1.3); row 1: .9^2/1.7 : .1^2/1.3 = .81 * 1.3 : .01 * 1.7 = 1.053 : .017, and so on.
    q = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], dtype=torch.float64)
    first = [1.053 / 1.070, 0.468 / 0.740, 0.052 / 1.140]
    expected = torch.tensor([[p, 1 - p] for p in first], dtype=torch.float64)
    torch.testing.assert_close(target_distribution(q), expected, rtol=1e-12, atol=0)


@given(seeds, st.integers(1, 12), st.integers(1, 5))
def test_target_agrees_with_loops(seed, n, k):
    q = soft(seed, n, k).numpy()
    expected = np.empty_like(q)
    for i in range(n):
        weights = [q[i, j] ** 2 / sum(q[r, j] for r in range(n)) for j in range(k)]
        expected[i] = np.array(weights) / sum(weights)
    np.testing.assert_allclose(target_distribution(torch.from_numpy(q)).numpy(), expected, rtol=1e-10)


@given(seeds)
def test_target_follows_permutations_of_rows_and_clusters(seed):
    q = soft(seed, 9, 4)
    rows, columns = torch.randperm(9), torch.randperm(4)
    shuffled = target_distribution(q[rows][:, columns])
    torch.testing.assert_close(shuffled, target_distribution(q)[rows][:, columns])


def test_target_sharpens_where_clusters_are_equally_frequent():
    q = torch.tensor([[0.7, 0.3], [0.3, 0.7]])
    expected = torch.tensor([[0.49 / 0.58, 0.09 / 0.58], [0.09 / 0.58, 0.49 / 0.58]])
    torch.testing.assert_close(target_distribution(q), expected)


def test_target_has_fixed_points_at_certainty_and_at_ignorance():
    for q in (torch.eye(3)[[0, 1, 2, 2]], torch.full((5, 4), 0.25)):
        torch.testing.assert_close(target_distribution(q), q)


def test_target_survives_a_cluster_that_nobody_takes():
    p = target_distribution(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert p.tolist() == [[1.0, 0.0], [1.0, 0.0]]


def test_target_is_over_all_rows_and_not_over_a_batch():
    # Rows sorted by cluster: a batch alone would divide by its own frequencies and flatten what is certain.
    q = torch.tensor([[0.9, 0.1]] * 50 + [[0.1, 0.9]] * 50)
    whole, part = target_distribution(q), target_distribution(q[:50])
    assert whole[0, 0] == pytest.approx(0.81 / 0.82)
    assert part[0, 0] == pytest.approx(0.9)  # .81/.9 : .01/.1


# --- soft assignments ---------------------------------------------------------------------------------------


def test_student_assignment_by_hand():
    z = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    q = torch.softmax(student_logits(z, z), dim=1)
    torch.testing.assert_close(q, torch.tensor([[26 / 27, 1 / 27], [1 / 27, 26 / 27]]))
    # alpha 3: (1 + 25/3)^-2 = 9/784
    q = torch.softmax(student_logits(z, z, alpha=3.0), dim=1)
    torch.testing.assert_close(q[0], torch.tensor([784 / 793, 9 / 793]))


@given(seeds, st.floats(0.05, 20))
def test_student_assignment_agrees_with_loops_and_ignores_a_shift(seed, alpha):
    z, centres = drawn(seed, 6, 3), drawn(seed + 1, 4, 3)
    expected = np.empty((6, 4))
    for i in range(6):
        for j in range(4):
            expected[i, j] = (1 + float((z[i] - centres[j]).square().sum()) / alpha) ** (-(alpha + 1) / 2)
    expected /= expected.sum(axis=1, keepdims=True)
    for shift in (0.0, 3.0):
        q = torch.softmax(student_logits(z + shift, centres + shift, alpha), dim=1)
        np.testing.assert_allclose(q.numpy(), expected, rtol=1e-7, atol=1e-12)


def test_cosine_similarity_by_hand():
    z, centres = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0], [-5.0, 0.0]])
    expected = torch.tensor([[0.6, 0.8, -0.6], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(cosine_similarity(z, centres), expected)


@given(seeds, st.floats(1e-3, 1e3))
def test_cosine_ignores_lengths(seed, factor):
    z, centres = drawn(seed, 5, 4), drawn(seed + 1, 3, 4)
    lengths = torch.linspace(0.1, 10, 5, dtype=z.dtype)[:, None]
    torch.testing.assert_close(
        cosine_similarity(z * lengths, centres * factor), cosine_similarity(z, centres)
    )


# --- products -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 3, 5, 7, 10, 16, 25, 33, 64, 65, 127])
@pytest.mark.parametrize("count", [1, 2, 7, 11, 40])
def test_a_row_is_answered_alike_wherever_it_stands(width, count):
    rows, others, bias = (
        drawn(i, *shape, dtype=torch.float32)
        for i, shape in enumerate(((256, width), (count, width), (count,)))
    )
    answers = inner_products(rows, others, bias)
    torch.testing.assert_close(answers, rows @ others.T + bias, rtol=1e-4, atol=1e-5)
    for seed in range(5):
        order = torch.randperm(256, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(inner_products(rows[order], others, bias), answers[order])
    for place in (0, 1, 2, 3, 255):
        alone = torch.zeros_like(rows)
        alone[place] = rows[100]
        assert torch.equal(inner_products(alone, others, bias)[place], answers[100])


def test_products_carry_gradients():
    rows, others = drawn(0, 4, 5).requires_grad_(), drawn(1, 3, 5).requires_grad_()
    assert torch.autograd.gradcheck(inner_products, (rows, others))


# --- divergence ---------------------------------------------------------------------------------------------


def test_divergence_by_hand():
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])  # q = (1/2, 1/2) and (3/4, 1/4)
    rows = [math.log(2), 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)]
    assert divergence(p, logits).item() == pytest.approx(sum(rows) / 2, rel=1e-6)


@given(seeds)
def test_divergence_is_zero_at_equality_and_positive_elsewhere(seed):
    logits = drawn(seed, 7, 4)
    p = torch.softmax(logits, dim=1)
    assert abs(divergence(p, logits).item()) < 1e-12
    assert divergence(p, logits + drawn(seed + 1, 7, 4)).item() > 0


@given(seeds, st.floats(0.1, 5))
def test_gradient_is_the_papers(seed, alpha):
    """Equations 4 and 5 of the paper, written as loops; autograd never saw them."""
    z, centres = drawn(seed, 5, 3).requires_grad_(), drawn(seed + 1, 4, 3).requires_grad_()
    logits = student_logits(z, centres, alpha)
    q = torch.softmax(logits, dim=1).detach()
    p = target_distribution(q)
    (5 * divergence(p, logits)).backward()  # the paper sums over rows
    by_row, by_centre = torch.zeros_like(z), torch.zeros_like(centres)
    for i in range(5):
        for j in range(4):
            away = (z[i] - centres[j]).detach()
            pull = (alpha + 1) / alpha * (p[i, j] - q[i, j]) * away / (1 + away.square().sum() / alpha)
            by_row[i] += pull
            by_centre[j] -= pull
    torch.testing.assert_close(z.grad, by_row, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(centres.grad, by_centre, rtol=1e-6, atol=1e-9)


# --- temperature --------------------------------------------------------------------------------------------


@given(seeds, st.floats(0.35, 0.95))
def test_calibrated_temperature_gives_the_confidence_asked_for(seed, confidence):
    cosines = cosine_similarity(drawn(seed, 40, 8), drawn(seed + 1, 5, 8))
    temperature = calibrated_temperature(cosines, confidence)
    reached = torch.softmax(cosines / temperature, dim=1).amax(1).mean().item()
    assert reached == pytest.approx(confidence, abs=1e-4)


def test_more_confidence_needs_a_lower_temperature():
    cosines = cosine_similarity(drawn(0, 40, 8), drawn(1, 5, 8))
    temperatures = [calibrated_temperature(cosines, c) for c in (0.3, 0.5, 0.7, 0.9)]
    assert temperatures == sorted(temperatures, reverse=True)


def test_a_confidence_out_of_reach_ends_at_the_interval():
    assert calibrated_temperature(torch.zeros(3, 4), 0.7) == pytest.approx(1e-3)  # ties: never above 1/4
    assert calibrated_temperature(torch.zeros(3, 1), 0.7) == pytest.approx(1e2)  # one cluster: always 1


# --- geometry -----------------------------------------------------------------------------------------------


def test_lift_adds_a_column_to_few_columns_only():
    narrow, wide = torch.ones(3, LIFT_UP_TO), torch.ones(3, LIFT_UP_TO + 1)
    assert lift(narrow, 2.5).shape == (3, LIFT_UP_TO + 1)
    assert lift(narrow, 2.5)[:, -1].tolist() == [2.5] * 3
    assert lift(wide, 2.5) is wide


def test_lifted_rows_on_one_ray_point_in_different_directions():
    rows = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    lifted = lift(rows, 1.0)
    cosine = cosine_similarity(lifted[:1], lifted[1:]).item()
    assert cosine == pytest.approx(3 / math.sqrt(2 * 5))  # (1, 0, 1) . (2, 0, 1)
    assert cosine_similarity(rows[:1], rows[1:]).item() == pytest.approx(1)


@pytest.mark.parametrize("n", [1, 7, 8_192, 8_193, 20_000])
def test_mean_and_scale_do_not_depend_on_blocks(n):
    X = np.random.default_rng(n).normal(3, 2, (n, 3)).astype(np.float32)
    mean = mean_row(X)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, X.astype(np.float64).mean(axis=0), rtol=1e-6)
    expected = np.sqrt(np.mean((X.astype(np.float64) - mean) ** 2))
    assert root_mean_square(X, mean) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e-20, 12345.678, -7e8])
def test_scale_is_exactly_zero_for_equal_rows(value):
    X = np.full((10_001, 3), value, dtype=np.float32)
    assert root_mean_square(X, mean_row(X)) == 0


def test_principal_directions_agree_with_numpy_up_to_sign():
    rows = drawn(0, 30, 6, dtype=torch.float32) * torch.tensor([9.0, 6.0, 4.0, 2.0, 1.0, 0.5])
    directions = principal_directions(rows, 3)
    expected = np.linalg.svd(rows.numpy(), full_matrices=False)[2][:3]
    np.testing.assert_allclose(np.abs(np.sum(directions.numpy() * expected, axis=1)), 1, rtol=1e-4)
    torch.testing.assert_close(directions @ directions.T, torch.eye(3), atol=1e-5, rtol=0)
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_there_are_no_more_directions_than_rows_or_columns():
    assert principal_directions(drawn(0, 3, 8), 100).shape == (3, 8)
    assert principal_directions(drawn(0, 30, 8), 100).shape == (8, 8)
