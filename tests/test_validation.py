"""Checks of parameters and arrays: what passes, and the exact sentence for what does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import _validation
from holdfast._validation import check_choice, check_finite, check_float, check_int, row_text
from holdfast.exceptions import InputError, ParameterError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_of_every_kind_become_int(value):
    checked = check_int("k", value, 2)
    assert checked == 3
    assert type(checked) is int


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (1, "k must be an integer from 2 to 5, not 1."),
        (6, "k must be an integer from 2 to 5, not 6."),
        (2.0, "k must be an integer from 2 to 5, not 2.0."),
        (True, "k must be an integer from 2 to 5, not True."),
        ("3", "k must be an integer from 2 to 5, not '3'."),
        (None, "k must be an integer from 2 to 5, not None."),
    ],
)
def test_bad_integers(value, sentence):
    with pytest.raises(ParameterError) as caught:
        check_int("k", value, 2, 5)
    assert str(caught.value) == sentence


def test_integer_without_a_top():
    assert check_int("k", 10**12, 1) == 10**12
    with pytest.raises(ParameterError, match=r"^k must be an integer of at least 1, not 0\.$"):
        check_int("k", 0, 1)


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1.0), np.int8(1)])
def test_numbers_of_every_kind_become_float(value):
    checked = check_float("tol", value, 0, 1)
    assert checked == 1.0
    assert type(checked) is float


@pytest.mark.parametrize(
    ("value", "options", "sentence"),
    [
        (1.5, {}, "tol must be a number in [0, 1], not 1.5."),
        (0, {"low_open": True}, "tol must be a number in (0, 1], not 0."),
        (1, {"high_open": True}, "tol must be a number in [0, 1), not 1."),
        (float("nan"), {}, "tol must be a number in [0, 1], not nan."),
        (False, {}, "tol must be a number in [0, 1], not False."),
        ("x" * 100, {}, f"tol must be a number in [0, 1], not '{'x' * 56}...."),
    ],
)
def test_bad_numbers(value, options, sentence):
    with pytest.raises(ParameterError) as caught:
        check_float("tol", value, 0, 1, **options)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("value", ["c", 1, None, np.array(["a"]), ["a"]])
def test_choices(value):
    assert check_choice("init", "a", ("a", "b")) == "a"
    with pytest.raises(ParameterError, match=r"^init must be one of 'a', 'b', not "):
        check_choice("init", value, ("a", "b"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_finite_values_pass(dtype):
    check_finite(np.ones((5, 3), dtype=dtype), "X")
    check_finite(np.ones((0, 3), dtype=dtype), "X")


def test_the_first_bad_row_is_named():
    X = np.ones((6, 2))
    X[4, 1] = np.inf
    with pytest.raises(InputError) as caught:
        check_finite(X, "X", ["a", "b", "c", "d", "e", "f"])
    assert str(caught.value) == "X has a NaN or an infinity in row 4 (id 'e'): remove them or fill the gaps."
    X[[1, 5]] = np.nan
    with pytest.raises(InputError, match=r"in row 1 and 2 more rows: "):
        check_finite(X, "X")
    X[5] = 0
    with pytest.raises(InputError, match=r"in row 1 and one more row: "):
        check_finite(X, "X")


@given(st.lists(st.floats(width=64) | st.sampled_from([3.4e38, 3.5e38, -1e39, 1e-320]), min_size=1))
def test_what_is_finite_in_single_precision_is_finite(values):
    X = np.array(
        [value for value in values if not 3.4028234e38 < abs(value) < 3.4028236e38]
    )  # may round down
    with np.errstate(over="ignore"):
        expected = np.flatnonzero(~np.isfinite(X.astype(np.float32)))
    np.testing.assert_array_equal(_validation._rows_not_finite(X[:, None]), expected)


@pytest.mark.parametrize("dtype", [np.longdouble, np.int64, np.uint64, np.bool_, np.uint8])
def test_other_kinds_of_numbers(dtype):
    check_finite(np.ones((3, 2), dtype=dtype), "X")
    if dtype is np.longdouble:
        with pytest.raises(InputError, match="in row 1: "):
            check_finite(np.array([[1], [1e39], [1]], dtype=dtype), "X")


@given(n=st.integers(1, 40), width=st.integers(1, 7), block=st.integers(1, 20), data=st.data())
def test_blocks_find_what_the_whole_array_shows(n, width, block, data):
    X = np.zeros((n, width), dtype=np.float32)
    for row in data.draw(st.sets(st.integers(0, n - 1))):
        X[row, row % width] = np.nan
    before = _validation._BLOCK_VALUES
    _validation._BLOCK_VALUES = block
    try:
        found = _validation._rows_not_finite(X)
    finally:
        _validation._BLOCK_VALUES = before
    np.testing.assert_array_equal(found, np.flatnonzero(np.isnan(X).any(axis=1)))


def test_rows_in_messages():
    assert row_text(3) == "row 3"
    assert row_text(3, "3") == "row 3"
    assert row_text(3, "a.jpg") == "row 3 (id 'a.jpg')"


def test_every_half_precision_number_is_told_from_infinity():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(_validation._is_finite(every), np.isfinite(every))
    swapped = every.astype(every.dtype.newbyteorder())
    np.testing.assert_array_equal(_validation._is_finite(swapped), np.isfinite(every))
