"""Faster products are used where they are as exact, given up aloud where not, and never left on."""

import warnings

import numpy as np
import pytest
import torch

from holdfast import DEC
from holdfast.exceptions import HoldfastWarning, ParameterError
from holdfast.training import precision, report_to
from holdfast.training.precision import computing

CPU = torch.device("cpu")
SHORT = {"n_init": 2, "pretrain_epochs": 2, "max_epochs": 2, "random_state": 0}


@pytest.fixture(autouse=True, params=["highest", "high"])
def before(request):
    """Have the user's own setting be the one or the other; it must be there afterwards."""
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    found = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    assert found == request.param


def test_single_precision_leaves_torch_alone(before):
    with computing("float32", CPU):
        assert torch.get_float32_matmul_precision() == before


def test_relaxed_products_that_are_exact_are_used(monkeypatch):
    monkeypatch.setattr(precision, "_product_error", lambda device: 1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with computing("relaxed", CPU):
            assert torch.get_float32_matmul_precision() == "medium"


def test_relaxed_products_that_are_not_are_given_up_with_a_warning(before, monkeypatch):
    monkeypatch.setattr(precision, "_product_error", lambda device: 3.2e-3)
    with pytest.warns(HoldfastWarning) as caught, computing("relaxed", CPU):
        assert torch.get_float32_matmul_precision() == before
    assert [str(warning.message) for warning in caught] == [
        "relaxed products are off by 3e-03 here, so single precision is used."
    ]


@pytest.mark.parametrize("error", [1e-6, 1.0])
@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
def test_an_exception_inside_puts_the_setting_back(error, monkeypatch):
    monkeypatch.setattr(precision, "_product_error", lambda device: error)
    with pytest.raises(KeyError), computing("relaxed", CPU):
        raise KeyError


def test_a_trial_that_fails_puts_the_setting_back(monkeypatch):
    def fail(device):
        raise RuntimeError("no such product here")

    monkeypatch.setattr(precision, "_product_error", fail)
    with pytest.raises(RuntimeError, match="no such product"), computing("relaxed", CPU):
        pytest.fail("the block was entered")


def test_a_warning_that_is_an_error_puts_the_setting_back(monkeypatch):
    monkeypatch.setattr(precision, "_product_error", lambda device: 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(HoldfastWarning), computing("relaxed", CPU):
            pytest.fail("the block was entered")


def test_the_trial_sees_what_products_lose(monkeypatch):
    assert 0 < precision._product_error(CPU) < 1e-4
    multiply = torch.Tensor.__matmul__

    def halves(left, right):
        return (
            multiply(left.bfloat16(), right.bfloat16())
            if left.dtype == torch.float32
            else multiply(left, right)
        )

    monkeypatch.setattr(torch.Tensor, "__matmul__", halves)
    assert 1e-3 < precision._product_error(CPU) < 1e-1


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
def test_a_fit_is_relaxed_in_training_and_nowhere_else(before, monkeypatch):
    monkeypatch.setattr(precision, "_product_error", lambda device: 1e-6)
    X = np.random.default_rng(0).normal(size=(80, 20)).astype(np.float32)
    seen, after = set(), []
    with report_to(lambda *_: seen.add(torch.get_float32_matmul_precision())):
        model = DEC(3, precision="relaxed", **SHORT).fit(X)
    assert seen == {"medium"}
    assert torch.get_float32_matmul_precision() == before

    def interrupt(*_):
        after.append(torch.get_float32_matmul_precision())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), report_to(interrupt):
        DEC(3, precision="relaxed", **SHORT).fit(X)
    assert after == ["medium"]
    assert torch.get_float32_matmul_precision() == before
    np.testing.assert_array_equal(model.labels_, model.predict(X))


@pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")
def test_a_relaxed_fit_that_falls_back_is_the_exact_one(before, monkeypatch):
    monkeypatch.setattr(precision, "_product_error", lambda device: 1.0)
    X = np.random.default_rng(0).normal(size=(80, 20)).astype(np.float32)
    relaxed, exact = (DEC(3, precision=kind, **SHORT).fit(X) for kind in ("relaxed", "float32"))
    np.testing.assert_array_equal(relaxed.predict_proba(X), exact.predict_proba(X))


@pytest.mark.parametrize("kind", ["half", None, "float16"])
def test_other_precisions_are_refused(kind):
    with pytest.raises(ParameterError, match=r"^precision must be one of 'float32', 'relaxed', .*not "):
        DEC(3, precision=kind).fit(np.eye(9))
