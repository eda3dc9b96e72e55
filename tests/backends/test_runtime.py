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


@pytest.mark.parametrize("n", [1, 7, 8, 20])
def test_gemm(n):
    random = np.random.default_rng(n)
    out, a, b = (random.standard_normal((n, n)) for _ in range(3))
    wanted = out + a.T @ b[:, ::-1]
    runtime.gemm(out, a.T, b[:, ::-1])
    np.testing.assert_allclose(out, wanted, rtol=1e-12)
