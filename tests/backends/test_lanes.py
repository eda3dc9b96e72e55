"""Values of lanes: compiled they are what they are as NumPy arrays."""

import numba
import numpy as np
import pytest

from numbaflux import lanes


def arithmetic(d, x, flag):
    a, b = lanes.load(4, d, (0, 0)), lanes.load(4, d, (-1, 1))
    c = (a + b) * x - x * a / x - b
    c = -c if flag else c + lanes.gmul(a, x)
    lanes.store(c, d, (1, 0))
    lanes.add(c + a, d, (1, 1))
    return lanes.lane(c, 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("flag", [True, False])
def test_arithmetic_and_memory(dtype, flag):
    d = np.random.default_rng(0).random((2, 4, 4)).astype(dtype)
    for given in (d[:, :2].copy(), d[:, ::2]):
        expected = given.copy()
        value = arithmetic(expected, dtype(1.5), flag)
        found = numba.njit(error_model="numpy")(arithmetic)(given, dtype(1.5), flag)
        rtol = 1e-15 if dtype is np.float64 else 1e-6
        np.testing.assert_allclose(given, expected, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(found, value, rtol=rtol, atol=rtol)


def seeds(out, i):
    lanes.store(lanes.unit(i, 8), out, 0)
    lanes.store(lanes.zeros(8), out, 1)
    lanes.store(lanes.double(lanes.single(lanes.unit(i, 8) * 0.1)), out, 2)


@pytest.mark.parametrize("i", [-1, 0, 7, 8])
def test_seeds_and_conversions(i):
    found, expected = np.ones((3, 8)), np.ones((3, 8))
    numba.njit(seeds)(found, i)
    seeds(expected, i)
    np.testing.assert_array_equal(found, expected)
    assert found[0].sum() == (0 <= i < 8)


def product(out, d, factor):
    lanes.store(lanes.gmul(lanes.load(2, d, 0), factor), out, 0)


@pytest.mark.parametrize("factor", [np.inf, np.nan, 3.0])
def test_zero_times_anything_is_zero(factor):
    d, out = np.array([[0.0, 2.0]]), np.empty((1, 2))
    numba.njit(product)(out, d, factor)
    np.testing.assert_array_equal(out, [[0.0, 2.0 * factor]])
    product(out, d, factor)
    np.testing.assert_array_equal(out, [[0.0, 2.0 * factor]])


def put(array, place, first, count):
    lanes.put(lanes.load(4, np.arange(4.0).reshape(1, 4), 0), array, place, first, count)


@pytest.mark.parametrize(
    ("place", "first", "count", "expected"),
    [
        (0, 0, 4, [0, 1, 2, 3, 9, 9]),
        (2, 0, 4, [9, 9, 0, 1, 2, 3]),
        (0, 3, 1, [3, 9, 9, 9, 9, 9]),
        (5, 1, 1, [9, 9, 9, 9, 9, 1]),
        (3, 1, 2, [9, 9, 9, 1, 2, 9]),
        (1, 2, 0, [9] * 6),
        (0, 6, -2, [9] * 6),
    ],
)
def test_lanes_are_put_side_by_side(place, first, count, expected):
    for f in (put, numba.njit(put)):
        array = np.full(6, 9.0)
        f(array, place, first, count)
        assert array.tolist() == expected


@pytest.mark.parametrize("n", [3, 9])
@pytest.mark.parametrize("left", [True, False])
def test_gemm(n, left):
    rng = np.random.default_rng(1)
    a = rng.random((n, 4, 2) if left else (n, 4))
    b = rng.random((4, n + 2) if left else (4, n + 2, 2))
    out = rng.random((n, n + 2, 2))
    expected = out + np.einsum("ikz,kj->ijz" if left else "ik,kjz->ijz", a, b)
    lanes.gemm(out, a, b)
    np.testing.assert_allclose(out, expected, rtol=1e-14)


def test_a_buffer_that_grows_keeps_its_rows():
    buffer = np.ones((2, 4))
    assert lanes.grow(buffer, 1) is not None
    longer = lanes.grow(buffer, 40)
    assert longer.shape == (41, 4)
    assert longer.sum() == 8.0
