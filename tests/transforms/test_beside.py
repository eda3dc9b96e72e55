"""What is computed beside a primitive in the forward sweep, for its partials."""

import numba
import numpy as np
import pytest

import numbaflux as nf
from numbaflux import vecmath


@numba.njit
def gated(x, w):
    """A recurrence: nothing of it can be computed again in the reverse sweep."""
    h = 0.0
    for i in range(x.size):
        h = vecmath.sigmoid(w[i] * h + x[i]) * x[i]
    return h


@numba.njit
def rectified(x, w):
    h = 0.0
    for i in range(x.size):
        h = vecmath.softplus(w[i] * h + x[i]) - x[i]
    return h


@pytest.mark.parametrize("f", [gated, rectified])
def test_the_reverse_sweep_computes_no_exponentials(f):
    x, w = np.linspace(-2.0, 2.0, 7), np.linspace(0.5, -1.0, 7)
    forward, backward = nf.source(nf.grad(f, (0, 1)), x, w).split("for ", 1)[1].split("for ", 1)
    assert "vecmath" in forward and "vecmath" not in backward
    nf.check_grads(f, (x, w), order=2)


@pytest.mark.parametrize("x", [-700.0, -40.0, -1.0, 0.0, 1.0, 40.0, 700.0])
def test_what_is_left_of_a_saturated_gate_is_accurate(x):
    """1 - sigmoid(40) is 0 in floating point."""
    h = np.exp(-abs(x)) / (1.0 + np.exp(-abs(x))) ** 2
    d_x, _ = nf.grad(gated, (0, 1))(np.array([0.0, x]), np.zeros(2))
    expected = x * h + 1.0 / (1.0 + np.exp(-x))
    np.testing.assert_allclose(d_x[1], expected, rtol=1e-14)


@numba.njit
def gates(x):
    total = 0.0
    for i in range(x.size):
        h = x[i]
        for _ in range(2):
            h = vecmath.sigmoid(h)
        total += h
    return total


def test_of_a_saturated_gate_alone():
    x = np.array([-700.0, -40.0, 40.0, 700.0])
    e = np.exp(-np.abs(x))
    s = np.where(x > 0.0, 1.0, e) / (1.0 + e)
    t = 1.0 / (1.0 + np.exp(-s))
    np.testing.assert_allclose(nf.grad(gates)(x), e / (1.0 + e) ** 2 * t * (1.0 - t), rtol=1e-14)
