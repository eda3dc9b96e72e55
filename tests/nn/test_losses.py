"""Losses against their formulas in NumPy, and their gradients against complex steps of these."""

import numba
import numpy as np
import pytest

import numbaflux as nf
from numbaflux import nn

RNG = np.random.default_rng(3)
Y = RNG.normal(size=(5, 4)) * 2.0
T = RNG.normal(size=(5, 4))
T[0] = Y[0] + [0.3, -0.2, 1.7, -2.5]  # on both sides of huber's corner
Q = np.exp(Y) / np.exp(Y).sum(1, keepdims=True)
ONE_HOT = np.eye(4)[[0, 3, 1, 1, 2]]
SOFT = RNG.dirichlet(np.ones(4), 5)
SOFT[1, 2] = 0.0
BITS = (T > 0.0).astype(float)
COUNTS = RNG.poisson(2.0, (5, 4)).astype(float)
LABELS = np.array([0, 3, 1, 1, 2])


def absolute(z):
    return z * np.sign(z.real)


def huber_of(y, t):
    e = absolute(y - t)
    return np.where(e.real <= 1.0, 0.5 * e * e, e - 0.5).mean()


def logits_of(y, labels):
    return np.mean(np.log(np.exp(y).sum(1)) - y[np.arange(5), labels])


def divergence(q, t):
    inside = np.where(t > 0.0, t, 1.0)
    return np.sum(np.where(t > 0.0, t * (np.log(inside) - np.log(q)), 0.0)) / 5


CASES = {
    "mse": (nn.mse, lambda y, t: np.mean((y - t) ** 2), Y, T),
    "mae": (nn.mae, lambda y, t: np.mean(absolute(y - t)), Y, T),
    "huber": (nn.huber, huber_of, Y, T),
    "logitcrossentropy": (nn.logitcrossentropy, logits_of, Y, LABELS),
    "crossentropy": (nn.crossentropy, lambda q, t: -np.sum(t * np.log(q)) / 5, Q, ONE_HOT),
    "kldivergence": (nn.kldivergence, divergence, Q, SOFT),
    "logitbinarycrossentropy": (
        nn.logitbinarycrossentropy,
        lambda y, t: np.mean(np.log(1 + np.exp(y)) - t * y),
        Y,
        BITS,
    ),
    "binarycrossentropy": (
        nn.binarycrossentropy,
        lambda q, t: -np.mean(t * np.log(q) + (1 - t) * np.log(1 - q)),
        Q,
        BITS,
    ),
    "poisson": (nn.poisson, lambda y, t: np.mean(y - t * np.log(y)), Q, COUNTS),
}


def complex_step(formula, y, t):
    out = np.empty(y.size)
    for i in range(y.size):
        z = y.astype(complex)
        z.flat[i] += 1e-30j
        out[i] = formula(z, t).imag / 1e-30
    return out.reshape(y.shape)


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
    f, formula, y, t = CASES[name]
    value, d_y = nf.value_and_grad(f)(y, t)
    np.testing.assert_allclose(f(y, t), formula(y, t), rtol=1e-14)
    np.testing.assert_allclose(value, formula(y, t), rtol=1e-14)
    np.testing.assert_allclose(d_y, complex_step(formula, y, t), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["mse", "huber", "logitcrossentropy", "binarycrossentropy"])
def test_float32_stays(name):
    f, formula, y, t = CASES[name]
    t = t if t.dtype == int else t.astype(np.float32)
    value, d_y = nf.value_and_grad(f)(y.astype(np.float32), t)
    assert type(value) in (float, np.float32) and d_y.dtype == np.float32
    np.testing.assert_allclose(value, formula(y, t), rtol=1e-5)
    np.testing.assert_allclose(d_y, complex_step(formula, y, t), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_huber_has_its_corner_at_delta(delta):
    e = np.abs(Y - T)
    expected = np.where(e <= delta, 0.5 * e * e, delta * (e - 0.5 * delta)).mean()
    np.testing.assert_allclose(nn.huber(Y, T, delta), expected, rtol=1e-14)


def test_of_large_logits_nothing_overflows():
    y, labels = np.array([[1e4, -1e4], [-1e4, 1e4]]), np.array([0, 0])
    value, d_y = nf.value_and_grad(nn.logitcrossentropy)(y, labels)
    assert value == 1e4
    np.testing.assert_array_equal(d_y, [[0.0, 0.0], [-0.5, 0.5]])
    value, d_y = nf.value_and_grad(nn.logitbinarycrossentropy)(y, np.array([[1.0, 0.0]] * 2))
    assert value == 5e3
    np.testing.assert_array_equal(d_y, [[0.0, 0.0], [-0.25, 0.25]])


def test_a_class_that_is_not_there_costs_nothing():
    q, t = np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]])
    for f in (nn.crossentropy, nn.kldivergence):
        value, d_q = nf.value_and_grad(f)(q, t)
        assert value == 0.0
        np.testing.assert_array_equal(d_q, [[0.0, -1.0]])


def test_softmax():
    np.testing.assert_allclose(nn.softmax(Y), Q, rtol=1e-14)
    np.testing.assert_allclose(nn.softmax(Y + 1e4), Q, rtol=1e-11)
    w = RNG.normal(size=Y.shape)
    _, (d_y,) = nf.vjp(softmaxed, (Y,), w)
    np.testing.assert_allclose(d_y, Q * (w - np.sum(w * Q, 1, keepdims=True)), rtol=1e-12)
    nf.check_grads(softmaxed, (Y,))


@numba.njit(**nn.FAST)
def softmaxed(y):
    return nn.softmax(y)


def test_logsumexp():
    np.testing.assert_allclose(nn.logsumexp(Y[0]), np.log(np.exp(Y[0]).sum()), rtol=1e-14)


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_no_class_is_refused(label):
    labels = LABELS.copy()
    labels[2] = label
    for f in (nn.logitcrossentropy, nf.grad(nn.logitcrossentropy)):
        with pytest.raises(IndexError, match="none of the classes"):
            f(Y, labels)
