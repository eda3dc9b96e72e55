"""Activations against their formulas, and their slopes against complex steps of these."""

import numba
import numpy as np
import pytest

import numbaflux as nf
from numbaflux import nn

X = np.array([-30.0, -4.0, -1.1, -0.3, -1e-3, 1e-3, 0.2, 1.0, 3.5, 30.0])
SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def positive(z):
    return z * (z.real > 0)


def log1pexp(z):
    return np.log1p(np.exp(-np.abs(z.real) - 1j * np.sign(z.real) * z.imag)) + positive(z)


FORMULAS = {
    "elu": lambda z: np.where(z.real > 0, z, np.exp(z) - 1),
    "gelu": lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "identity": lambda z: z,
    "leakyrelu": lambda z: np.where(z.real > 0, z, 0.01 * z),
    "mish": lambda z: z * np.tanh(log1pexp(z)),
    "relu": positive,
    "selu": lambda z: SCALE * np.where(z.real > 0, z, ALPHA * (np.exp(z) - 1)),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softplus": log1pexp,
    "swish": lambda z: z / (1 + np.exp(-z)),
    "tanh": np.tanh,
}


@numba.njit(**nn.FAST)
def curves(x):
    """A row for each activation, in the order of FORMULAS."""
    out = np.empty((11, x.size), x.dtype)
    nn.activate(nn.elu, x, out[0])
    nn.activate(nn.gelu, x, out[1])
    nn.activate(nn.identity, x, out[2])
    nn.activate(nn.leakyrelu, x, out[3])
    nn.activate(nn.mish, x, out[4])
    nn.activate(nn.relu, x, out[5])
    nn.activate(nn.selu, x, out[6])
    nn.activate(nn.sigmoid, x, out[7])
    nn.activate(nn.softplus, x, out[8])
    nn.activate(nn.swish, x, out[9])
    nn.activate(nn.tanh, x, out[10])
    return out


def expected(row):
    z = list(FORMULAS.values())[row](X + 1e-30j)
    return z.real, z.imag / 1e-30


TOLERANCE = {np.float64: 2e-14, np.float32: 3e-6}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("row", range(len(FORMULAS)), ids=list(FORMULAS))
def test_value_and_slope(row, dtype):
    x, tolerance = X.astype(dtype), TOLERANCE[dtype]
    y, dy = nf.jvp(curves, (x,), (np.ones_like(x),))
    weights = np.zeros_like(y)
    weights[row] = 1.0
    _, (d_x,) = nf.vjp(curves, (x,), weights)
    value, slope = expected(row)
    np.testing.assert_allclose(y[row], value, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(dy[row], slope, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(d_x, slope, rtol=tolerance, atol=tolerance)
    assert y.dtype == dy.dtype == d_x.dtype == dtype


def test_the_kinks():
    zero = np.zeros(1)
    y, dy = nf.jvp(curves, (zero,), (np.ones(1),))
    rows = list(FORMULAS)
    assert dy[rows.index("relu"), 0] == 0.0
    assert np.all(np.isfinite(y)) and np.all(np.isfinite(dy))


def test_shapes_and_in_place():
    x = np.linspace(-1.0, 1.0, 12).reshape(2, 3, 2)
    y = nn.activate(nn.relu, x)
    np.testing.assert_array_equal(y, np.maximum(x, 0.0))
    assert nn.activate(nn.relu, x, x) is not None
    np.testing.assert_array_equal(x, y)


def test_of_large_arguments_nothing_overflows():
    x = np.array([-1e4, 1e4])
    y, dy = nf.jvp(curves, (x,), (np.ones(2),))
    assert np.all(np.isfinite(y)) and np.all(np.isfinite(dy))
