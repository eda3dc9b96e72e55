"""Dense layers against NumPy: a sample and a batch, wide and narrow, in both dtypes."""

import numba
import numpy as np
import pytest

import numbaflux as nf
from numbaflux import nn

NET = nn.layout("Net", wide=nn.Dense(3, 5), narrow=nn.Dense(5, 2))


@numba.njit(**nn.FAST)
def model(p, x):
    P = NET.unpack(p)
    return nn.dense(P.narrow, nn.activate(nn.tanh, nn.dense(P.wide, x)))


@numba.njit(**nn.FAST)
def batch_loss(p, x, t):
    return nn.mse(model(p, x), t)


@numba.njit(**nn.FAST)
def sample_loss(p, x, t):
    total = type(p[0])(0.0)
    for k in range(x.shape[0]):
        total += nn.mse(model(p, x[k]), t[k])
    return total / x.shape[0]


@numba.njit(**nn.FAST)
def fill(p, x, out):
    nn.dense(NET.unpack(p).wide, x, out)


@pytest.fixture
def p():
    return NET.init(1, nn.kaiming)


RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(7, 3)), RNG.normal(size=(7, 2))


def by_numpy(p, x, t):
    P = NET.unpack(p)
    y = np.tanh(x @ P.wide.W + P.wide.b) @ P.narrow.W + P.narrow.b
    return np.mean((y - t) ** 2)


def complex_step(p):
    return np.array([by_numpy(q, X, T).imag for q in p + 1e-30j * np.eye(p.size)]) / 1e-30


@pytest.mark.parametrize(
    ("loss", "dtype"),
    [(batch_loss, np.float64), (batch_loss, np.float32), (sample_loss, np.float64)],
)
def test_value_and_gradient(p, loss, dtype):
    args = [a.astype(dtype) for a in (p, X, T)]
    value, g = nf.value_and_grad(loss)(*args)
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    assert g.dtype == dtype and g.shape == p.shape
    np.testing.assert_allclose(value, by_numpy(p, X, T), rtol=tolerance)
    np.testing.assert_allclose(g, complex_step(p), rtol=tolerance, atol=tolerance)


def test_forward_mode(p):
    v = np.random.default_rng(4).normal(size=p.size)
    _, along = nf.jvp(batch_loss, (p, X, T), (v, None, None))
    np.testing.assert_allclose(along, complex_step(p) @ v, rtol=1e-12)


def test_it_fills_what_it_is_given(p):
    out = np.full((7, 5), np.nan)
    fill(p, X, out)
    np.testing.assert_allclose(out, X @ NET.unpack(p).wide.W, rtol=1e-14)


def test_the_biases_begin_as_zeros_and_weights_as_they_are_asked_to(p):
    P = NET.unpack(NET.init(0))
    assert not P.wide.b.any() and np.abs(P.wide.W).max() <= np.sqrt(6 / 8)
    assert NET.init(0, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(NET.init(5), NET.init(np.random.default_rng(5)))


def test_starts_of_ones_own():
    fixed = np.arange(3.0)
    net = nn.layout("Own", a=nn.param((3,), fixed), b=nn.param(start=2.0), c=nn.Dense(1, 1))
    np.testing.assert_array_equal(net.init()[:4], [0.0, 1.0, 2.0, 2.0])
    np.testing.assert_array_equal(net.where("b", "c.b"), [0, 0, 0, 1, 0, 1])
    with pytest.raises(KeyError, match="no part 'd'"):
        net.where("d")


def test_orthogonal_and_kaiming():
    W = nn.orthogonal(np.random.default_rng(0), (3, 8), 3, 8)
    np.testing.assert_allclose(W @ W.T, np.eye(3), atol=1e-14)
    K = nn.kaiming(np.random.default_rng(0), (4, 3, 30, 30), 27, 30)
    assert K.shape == (4, 3, 30, 30) and abs(K.std() - np.sqrt(2 / 27)) < 0.01


THREE = nn.layout("Three", l=nn.Dense(2, 3))


@numba.njit(**nn.FAST)
def of_three_axes(p, x):
    return np.sum(nn.dense(THREE.unpack(p).l, x) ** 2)


def test_dense_over_leading_axes():
    p, x = THREE.init(1), np.random.default_rng(2).normal(size=(4, 5, 2))
    W = THREE.unpack(p).l.W
    np.testing.assert_allclose(nn.dense(THREE.unpack(p).l, x), x @ W, rtol=1e-12)
    np.testing.assert_allclose(
        nf.grad(of_three_axes, argnums=1)(p, x), 2.0 * x @ W @ W.T, rtol=1e-12
    )
    with pytest.raises(ValueError, match=r"x is not \(\.\.\., inputs\)"):
        nn.dense(THREE.unpack(p).l, np.ones((2, 2, 3)))
