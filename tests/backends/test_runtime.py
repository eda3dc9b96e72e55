"""The functions that generated code calls."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from numbaflux import runtime


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("x", [1e-3, 0.4, 1.0, 2.5, 9.75, 40.0, 1e4, -0.25, -1.75, -20.5, -3.0001])
def test_polygamma(n, x):
    with mpmath.workdps(40):
        wanted = float(mpmath.polygamma(n, x))
    assert runtime.polygamma(float(n), x) == pytest.approx(wanted, rel=1e-14)


def test_digamma_at_its_poles():
    assert math.isnan(runtime.digamma(0.0)) and math.isnan(runtime.digamma(-2.0))


def test_zero_times_anything():
    assert runtime.gmul(0.0, math.inf) == 0.0 and runtime.gmul(2.0, 3.0) == 6.0


def test_grow_keeps_and_zeroes():
    small = np.array([1.0, 2.0])
    assert runtime.grow(small, 1) is small or np.shares_memory(runtime.grow(small, 1), small)
    longer = runtime.grow(small, 100)
    assert len(longer) > 100 and list(longer[:3]) == [1.0, 2.0, 0.0]


def test_overlap():
    a = np.zeros(10)
    assert runtime.overlap(a[:5], a[4:]) and runtime.overlap(a[::-1], a[3:4])
    assert not runtime.overlap(a[:5], a[5:]) and not runtime.overlap(a[:0], a)


def laid(a, layout):
    """A copy by rows, by columns, or of every second element of an array."""
    if layout == "A":
        wide = np.zeros((2 * a.shape[0], 2 * a.shape[1]), a.dtype)
        wide[::2, ::2] = a
        return wide[::2, ::2]
    return np.array(a, order=layout)


@pytest.mark.parametrize("layouts", ["CCC", "CFC", "CCF", "CFF", "CAC", "CCA", "FCF", "ACC", "AFA"])
def test_gemm_of_every_layout(layouts):
    random = np.random.default_rng(0)
    for m, n, k in [(1, 1, 1), (5, 6, 7), (20, 30, 40), (1, 30, 40), (30, 1, 40), (30, 40, 1)]:
        shapes = [(m, n), (m, k), (k, n)]
        given = [random.standard_normal(shape) for shape in shapes]
        out, a, b = (laid(one, layout) for one, layout in zip(given, layouts))
        runtime.gemm(out, a, b)
        np.testing.assert_allclose(out, given[0] + given[1] @ given[2], rtol=1e-11, atol=1e-13)


def test_gemm_of_nothing_and_of_float32():
    random = np.random.default_rng(0)
    out = np.ones((20, 30))
    runtime.gemm(out, np.ones((20, 0)), np.ones((0, 30)))
    assert (out == 1.0).all()
    runtime.gemm(np.ones((0, 30)), np.ones((0, 20)), np.ones((20, 30)))
    out, a, b = (random.standard_normal((20, 20)).astype(np.float32) for _ in range(3))
    wanted = out + a.T @ b
    runtime.gemm(out, a.T, b)
    np.testing.assert_allclose(out, wanted, rtol=1e-4, atol=1e-5)
