"""Derivatives used inside compiled code, closed over, and differentiated again."""

import math

import numpy as np
import pytest
from numba import njit

import numbaflux as nf


@njit
def cubic(x, k):
    return k * x * x * x + math.sin(x)


def test_grad_called_in_njit():
    slope = nf.grad(cubic)

    @njit
    def newton(x, k):
        for _ in range(30):
            x -= cubic(x, k) / slope(x, k)
        return x

    root = newton(0.4, 0.5)
    assert abs(cubic(root, 0.5)) < 1e-12


def test_grad_made_in_njit():
    @njit
    def slope(x, k):
        return nf.grad(cubic)(x, k)

    assert slope(0.4, 0.5) == pytest.approx(3 * 0.5 * 0.16 + math.cos(0.4), rel=1e-14)


def test_a_function_that_uses_a_gradient_is_differentiated():
    slope = nf.grad(cubic)

    def penalty(x, k):
        s = 0.0
        for i in range(3):
            d = slope(x + i, k)
            s += d * d
        return s

    terms = [(0.4 + i, 3 * 0.5 * (0.4 + i) ** 2 + math.cos(0.4 + i)) for i in range(3)]
    expected = sum(2 * d * (6 * 0.5 * x - math.sin(x)) for x, d in terms)
    assert nf.grad(penalty)(0.4, 0.5) == pytest.approx(expected, rel=1e-13)


def test_third_derivative():
    third = nf.grad(nf.grad(nf.grad(cubic)))
    assert third(0.4, 0.5) == pytest.approx(6 * 0.5 - math.cos(0.4), rel=1e-13)


def test_pairs_in_njit():
    @njit
    def both(x, k):
        out, tangent = nf.jvp(cubic, (x, k), (1.0, 0.0))
        again, cts = nf.vjp(cubic, (x, k), 1.0)
        return out - again, tangent - cts[0], cts[1]

    difference, slopes, by_k = both(0.4, 0.5)
    assert difference == 0.0
    assert slopes == pytest.approx(0.0, abs=1e-15)
    assert by_k == pytest.approx(0.4**3)


def test_gradient_of_an_array_in_njit():
    def energy(x):
        s = 0.0
        for i in range(1, x.size):
            s += (x[i] - x[i - 1]) ** 2
        return s

    force = nf.grad(energy)

    @njit
    def relax(x, rate, steps):
        x = x.copy()
        for _ in range(steps):
            x -= rate * force(x)
        return x

    x = np.array([1.0, -2.0, 0.5, 3.0])
    np.testing.assert_allclose(relax(x, 0.1, 2000), x.mean(), rtol=1e-9)


def test_a_plain_helper_is_read():
    def helper(v):
        return v * v

    def program(x):
        return helper(x) + helper(2.0 * x)

    assert nf.grad(program)(3.0) == pytest.approx(30.0)
