"""Convolutions and pooling: values and gradients against loops over windows in NumPy."""

from collections import namedtuple

import numba
import numpy as np
import pytest

import numbaflux as nf
from numbaflux import nn

RNG = np.random.default_rng(0)
Weights = namedtuple("Weights", "W b")


@numba.njit(**nn.FAST)
def conv_loss(W, b, x, t, stride, padding, groups):
    y = nn.conv(Weights(W, b), x, stride, padding, groups)
    return np.sum(t * y * y)


@numba.njit(**nn.FAST)
def adjoint_loss(W, b, x, t, stride, padding, groups):
    y = nn.convtranspose(Weights(W, b), x, stride, padding, groups)
    return np.sum(t * y * y)


def conv_by_numpy(W, b, x, stride, padding, groups):
    """Of two dimensions, as all functions here."""
    (s, r), (p, q) = np.broadcast_to(stride, 2), np.broadcast_to(padding, 2)
    _, kh, kw, outputs = W.shape
    x = np.pad(x, ((0, 0), (p, p), (q, q), (0, 0)))
    h, w = (x.shape[1] - kh) // s + 1, (x.shape[2] - kw) // r + 1
    y = np.zeros((outputs, h, w, x.shape[3]), np.result_type(W, b, x))
    per = outputs // groups
    for o, i, j in np.ndindex(y.shape[:3]):
        window = np.split(x, groups)[o // per][:, i * s :, j * r :][:, :kh, :kw]
        y[o, i, j] = b[o] + np.sum(W[..., o, None] * window, axis=(0, 1, 2))
    return y


def adjoint_by_numpy(W, b, x, stride, padding, groups):
    (s, r), (p, q) = np.broadcast_to(stride, 2), np.broadcast_to(padding, 2)
    depth, kh, kw, inputs = W.shape
    h, w = (x.shape[1] - 1) * s + kh, (x.shape[2] - 1) * r + kw
    y = np.zeros((depth * groups, h, w, x.shape[3]), np.result_type(W, b, x))
    for c, i, j in np.ndindex(x.shape[:3]):
        part = np.split(y, groups)[c // (inputs // groups)]
        part[:, i * s :, j * r :][:, :kh, :kw] += W[..., c, None] * x[c, i, j]
    return b[:, None, None, None] + y[:, p : h - p, q : w - q]


def flat(f):
    """One dimension as an image of height 1."""

    def one(W, b, x, stride, padding, groups):
        return f(W[:, None], b, x[:, None], (1, stride), (0, padding), groups)[:, 0]

    return one


def check(loss, reference, W, b, x, *how):
    """All three gradients along a random direction, by one complex step each."""
    y = reference(W, b, x, *how)
    t = RNG.normal(size=y.shape)
    value, grads = nf.value_and_grad(loss, argnums=(0, 1, 2))(W, b, x, t, *how)
    np.testing.assert_allclose(value, np.sum(t * y * y), rtol=1e-12)
    for k, g in enumerate(grads):
        v = RNG.normal(size=g.shape)
        moved = [a + 1e-30j * v if k == n else a for n, a in enumerate((W, b, x))]
        along = np.sum(t * reference(*moved, *how) ** 2).imag / 1e-30
        np.testing.assert_allclose(np.vdot(g, v), along, rtol=1e-9, atol=1e-9)


PLANES = [
    ((1, 1), (0, 0), 1, (2, 3)),
    ((2, 2), (1, 1), 1, (3, 3)),
    ((1, 3), (3, 0), 2, (2, 3)),
    ((2, 1), (0, 2), 4, (4, 1)),
]


@pytest.mark.parametrize(("stride", "padding", "groups", "kernel"), PLANES)
def test_conv(stride, padding, groups, kernel):
    W, b = RNG.normal(size=(4 // groups, *kernel, 8)), RNG.normal(size=8)
    x = RNG.normal(size=(4, 5, 6, 3))
    check(conv_loss, conv_by_numpy, W, b, x, stride, padding, groups)


@pytest.mark.parametrize(("stride", "padding", "groups", "kernel"), PLANES)
def test_convtranspose(stride, padding, groups, kernel):
    W, b = RNG.normal(size=(8 // groups, *kernel, 4)), RNG.normal(size=8)
    x = RNG.normal(size=(4, 5, 6, 3))
    check(adjoint_loss, adjoint_by_numpy, W, b, x, stride, padding, groups)


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 2), (3, 4, 1)])
def test_one_dimension(stride, padding, groups):
    how, b, x = (stride, padding, groups), RNG.normal(size=4), RNG.normal(size=(2, 9, 3))
    W, back = RNG.normal(size=(2 // groups, 3, 4)), RNG.normal(size=(4 // groups, 3, 2))
    check(conv_loss, flat(conv_by_numpy), W, b, x, *how)
    y = nn.convtranspose(Weights(back, b), x, *how)
    np.testing.assert_allclose(y, flat(adjoint_by_numpy)(back, b, x, *how), rtol=1e-12)


NET = nn.layout("Net", c=nn.Conv(1, 3, (3, 3)))


@numba.njit(**nn.FAST)
def net_loss(p, x, t):
    P = NET.unpack(p)
    h = nn.maxpool(nn.activate(nn.relu, nn.conv(P.c, x, padding=1)), 2)
    return nn.mse(nn.flatten(nn.meanpool(h, (2, 1), stride=1)), t)


def windows(x, size, stride, choose):
    h, w = ((n - k) // stride + 1 for n, k in zip(x.shape[1:], size))
    y = np.zeros((x.shape[0], h, w, x.shape[3]), x.dtype)
    for i, j in np.ndindex(h, w):
        one = x[:, i * stride :, j * stride :][:, : size[0], : size[1]]
        y[:, i, j] = choose(one.reshape(len(x), size[0] * size[1], -1))
    return y


def largest(x):
    return np.take_along_axis(x, x.real.argmax(1, keepdims=True), 1)[:, 0]


def net_by_numpy(p, x, t):
    P = NET.unpack(p)
    h = conv_by_numpy(*P.c, x, 1, 1, 1)
    h = windows(np.where(h.real > 0, h, 0), (2, 2), 2, largest)
    h = windows(h, (2, 1), 1, lambda one: one.mean(1))
    return np.mean((h.reshape(-1, x.shape[3]).T - t) ** 2)


def test_a_net_in_single_precision():
    p = NET.init(1) + 0.1
    x, t = RNG.normal(size=(1, 7, 6, 5)), RNG.normal(size=(5, 18))
    value, g = nf.value_and_grad(net_loss)(*(a.astype(np.float32) for a in (p, x, t)))
    assert g.dtype == np.float32
    np.testing.assert_allclose(value, net_by_numpy(p, x, t), rtol=1e-5)
    expected = [net_by_numpy(q, x, t).imag / 1e-30 for q in p + 1e-30j * np.eye(p.size)]
    np.testing.assert_allclose(g, expected, rtol=1e-4, atol=1e-5)


@numba.njit(**nn.FAST)
def pooled(x, size, stride, w):
    return np.sum(w * nn.maxpool(x, size, stride))


def test_of_equal_elements_the_first_gets_the_derivative():
    w = RNG.normal(size=(2, 3, 4))
    expected = np.zeros((2, 8, 4))
    expected[:, [0, 2, 4]] = w
    np.testing.assert_array_equal(nf.grad(pooled)(np.ones((2, 8, 4)), 3, 2, w), expected)


def test_globalpool():
    x = RNG.normal(size=(2, 5, 4, 3))
    np.testing.assert_allclose(nn.globalpool(x), x.mean(axis=(1, 2)), rtol=1e-13)
    np.testing.assert_allclose(nn.globalpool(x[:, 0]), x[:, 0].mean(1), rtol=1e-13)


def test_images_with_the_batch_outermost():
    W, b, out = RNG.normal(size=(4, 2, 2, 6)), RNG.normal(size=6), np.full((6, 4, 5, 3), np.nan)
    x = np.moveaxis(RNG.normal(size=(3, 4, 5, 6)), 0, 3)
    nn.conv(Weights(W, b), x, 1, 0, 1, out)
    np.testing.assert_allclose(out, conv_by_numpy(W, b, x, 1, 0, 1), rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="out"):
        nn.conv(Weights(W, b), x, 1, 0, 1, out[:, 1:].copy())
    with pytest.raises(numba.TypingError, match="contiguous"):
        nn.conv(Weights(W, b), x, 1, 0, 1, np.empty((6, 4, 5, 6))[..., ::2])


ONE, GROUPED = np.ones((2, 3, 4)), np.ones((1, 3, 4))
WRONG = [
    (nn.conv, ONE, (3, 9, 1), (1, 0, 1), "channels"),
    (nn.conv, ONE, (4, 9, 1), (1, 0, 1), "channels"),
    (nn.conv, GROUPED, (3, 9, 1), (1, 0, 3), "channels"),
    (nn.conv, ONE, (2, 2, 1), (1, 0, 1), "larger"),
    (nn.conv, ONE, (2, 9, 1), (0, 0, 1), "stride"),
    (nn.convtranspose, ONE, (3, 9, 1), (1, 0, 2), "channels"),
    (nn.convtranspose, ONE, (4, 9, 1), (1, 0, 1), "channels"),
    (nn.convtranspose, ONE, (4, 9, 1), (0, 0, 2), "stride"),
]


@pytest.mark.parametrize(("f", "W", "shape", "how", "says"), WRONG)
def test_what_does_not_fit_is_an_error(f, W, shape, how, says):
    with pytest.raises(ValueError, match=says):
        f(Weights(W, np.ones(4)), np.ones(shape), *how)


def test_pools_that_do_not_fit_are_errors():
    x = np.ones((2, 5, 3))
    for size, says in ((6, "larger"), (0, "at least 1")):
        with pytest.raises(ValueError, match=says):
            nn.maxpool(x, size)
    with pytest.raises(ValueError, match="out"):
        nn.maxpool(x, 2, 2, np.ones((2, 3, 3)))
    with pytest.raises(ValueError, match="out"):
        nn.flatten(x, np.ones((10, 3)))


def test_layers_that_cannot_be():
    with pytest.raises(ValueError, match="groups do not divide"):
        nn.Conv(4, 6, (3,), groups=4)
    with pytest.raises(ValueError, match="one or two dimensions"):
        nn.ConvTranspose(1, 1, (2, 2, 2))


def test_weights_begin_with_the_fans_of_one_output():
    net = nn.layout("Wide", c=nn.Conv(8, 64, (3, 3), groups=2), t=nn.ConvTranspose(8, 64, (5,)))
    P = net.unpack(net.init(0, nn.kaiming))
    assert P.c.W.shape == (4, 3, 3, 64) and P.t.W.shape == (64, 5, 8)
    assert abs(P.c.W.std() - (2 / 36) ** 0.5) < 0.01 and abs(P.t.W.std() - (2 / 40) ** 0.5) < 0.01
