"""Recurrent cells, normalisation, dropout and embeddings: values and gradients against NumPy."""

import numba
import numpy as np
import pytest

import numbaflux as nf
from numbaflux import nn

RNG = np.random.default_rng(0)
NET = nn.layout("Net", r=nn.RNN(2, 3), l=nn.LSTM(3, 4), g=nn.GRU(4, 3))
NORMS = nn.layout("Norms", l=nn.LayerNorm(3), b=nn.BatchNorm(3))
X, T = RNG.normal(size=(4, 2, 2)), RNG.normal(size=(2, 3))


@numba.njit(**nn.FAST)
def batch_loss(p, xs, t):
    P = NET.unpack(p)
    n = xs.shape[1]
    h, g = np.zeros((n, 3), p.dtype), np.zeros((n, 3), p.dtype)
    m, c = np.zeros((n, 4), p.dtype), np.zeros((n, 4), p.dtype)
    for s in range(xs.shape[0]):
        nn.rnn(P.r, xs[s], h)
        nn.lstm(P.l, h, m, c)
        nn.gru(P.g, m, g)
    return nn.mse(g, t)


@numba.njit(**nn.FAST)
def sample_loss(p, xs, t):
    P = NET.unpack(p)
    total = type(p[0])(0.0)
    for k in range(xs.shape[1]):
        h, g = np.zeros(3, p.dtype), np.zeros(3, p.dtype)
        m, c = np.zeros(4, p.dtype), np.zeros(4, p.dtype)
        for s in range(xs.shape[0]):
            nn.rnn(P.r, xs[s, k], h)
            nn.lstm(P.l, h, m, c)
            nn.gru(P.g, m, g)
        total += nn.mse(g, t[k])
    return total / xs.shape[1]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def by_numpy(p, xs, t):
    P = NET.unpack(p)
    h, g, m, c = (np.zeros((2, n), p.dtype) for n in (3, 3, 4, 4))
    for x in xs:
        h = np.tanh(x @ P.r.W + h @ P.r.U + P.r.b)
        i, f, new, o = np.split(h @ P.l.W + m @ P.l.U + P.l.b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(new)
        m = sigmoid(o) * np.tanh(c)
        z, u = np.split(m @ P.g.W + P.g.b, 3, axis=1), np.split(g @ P.g.U, 3, axis=1)
        keep = sigmoid(z[1] + u[1])
        g = keep * g + (1 - keep) * np.tanh(z[2] + sigmoid(z[0] + u[0]) * u[2])
    return np.mean((g - t) ** 2)


def complex_step(f, p):
    return np.array([f(q).imag for q in p + 1e-30j * np.eye(p.size)]) / 1e-30


@pytest.mark.parametrize(
    ("loss", "dtype"),
    [(batch_loss, np.float64), (sample_loss, np.float32)],
)
def test_cells(loss, dtype):
    p = NET.init(1)
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    value, g = nf.value_and_grad(loss)(*(a.astype(dtype) for a in (p, X, T)))
    assert g.dtype == dtype
    np.testing.assert_allclose(value, by_numpy(p, X, T), rtol=tolerance)
    expected = complex_step(lambda q: by_numpy(q, X, T), p)
    np.testing.assert_allclose(g, expected, rtol=tolerance, atol=tolerance)


def test_the_forget_gate_begins_open_and_each_recurrence_orthogonal():
    P = NET.unpack(NET.init())
    np.testing.assert_array_equal(P.l.b, np.repeat([0.0, 1.0, 0.0, 0.0], 4))
    for U in np.split(P.g.U, 3, axis=1):
        np.testing.assert_allclose(U.T @ U, np.eye(3), atol=1e-14)


@numba.njit(**nn.FAST)
def normalised(p, x, state, training, w):
    P = NORMS.unpack(p)
    y = nn.batchnorm(P.b, nn.layernorm(P.l, x), state, training)
    return np.sum(w * y * y * y)


def norms_by_numpy(p, x, state, training, w):
    P = NORMS.unpack(p)
    y = (x - x.mean(1, keepdims=True)) / np.sqrt(variance(x.T)[:, None] + 1e-5)
    y = P.l.scale * y + P.l.shift
    mean, spread = (y.mean(0), variance(y)) if training else state
    y = P.b.scale * (y - mean) / np.sqrt(spread + 1e-5) + P.b.shift
    return np.sum(w * y**3), mean, spread


def variance(x):
    """Along the first axis, for complex numbers without the absolute value."""
    return np.mean((x - x.mean(0)) ** 2, axis=0)


@pytest.mark.parametrize("training", [True, False])
def test_norms(training):
    p = NORMS.init() + 0.3 * RNG.normal(size=NORMS.size)
    x, w = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))
    before = nn.batchnorm_state(3) + 0.1
    state = before.copy()
    value, (d_p, d_x) = nf.value_and_grad(normalised, argnums=(0, 1))(p, x, state, training, w)
    expected, mean, spread = norms_by_numpy(p, x, before, training, w)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    by_p = complex_step(lambda q: norms_by_numpy(q, x, before, training, w)[0], p)
    by_x = complex_step(
        lambda q: norms_by_numpy(p, q.reshape(x.shape), before, training, w)[0], x.ravel()
    )
    np.testing.assert_allclose(d_p, by_p, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(d_x.ravel(), by_x, rtol=1e-9, atol=1e-9)
    moved = 0.9 * before + 0.1 * np.array([mean, spread * 5 / 4]) if training else before
    np.testing.assert_allclose(state, moved, rtol=1e-13)


IMAGES = nn.layout("Images", b=nn.BatchNorm(3))


@numba.njit(**nn.FAST)
def normalised_images(p, x, state, training, w):
    return np.sum(w * nn.batchnorm(IMAGES.unpack(p).b, x, state, training) ** 3)


@pytest.mark.parametrize("training", [True, False])
def test_batchnorm_of_images(training):
    """(features, height, width, batch): the layer for (batch, features), places being samples."""
    rng = np.random.default_rng(7)
    p, x = IMAGES.init() + 0.3 * rng.normal(size=IMAGES.size), rng.normal(size=(3, 2, 2, 4))
    w = rng.normal(size=x.shape)
    before = nn.batchnorm_state(3) + 0.1
    state = before.copy()
    found, (d_p, d_x) = nf.value_and_grad(normalised_images, argnums=(0, 1))(
        p, x, state, training, w
    )

    def by_numpy(p, x):
        scale, shift = p[:3, None], p[3:, None]
        mean, spread = x.mean(1), variance(x.T)
        if not training:
            mean, spread = before
        y = scale * (x - mean[:, None]) / np.sqrt(spread[:, None] + 1e-5) + shift
        return np.sum(w.reshape(3, 16) * y**3)

    rows = x.reshape(3, 16)
    np.testing.assert_allclose(found, by_numpy(p, rows), rtol=1e-12)
    by_p = complex_step(lambda q: by_numpy(q, rows), p)
    by_x = complex_step(lambda q: by_numpy(p, q.reshape(3, 16)), x.ravel())
    np.testing.assert_allclose(d_p, by_p, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(d_x.ravel(), by_x, rtol=1e-9, atol=1e-9)
    moved = 0.9 * before + 0.1 * np.array([rows.mean(1), rows.var(1, ddof=1)])
    np.testing.assert_allclose(state, moved if training else before, rtol=1e-13)


def test_layernorm_of_a_row_of_zeros():
    """It becomes the shift; the slope is scale / sqrt(eps), less the mean's part."""
    p = np.array([1.0, 2.0, 3.0, 0.5, -0.5, 1.5])
    w, x = np.array([1.0, -2.0, 3.0]), np.zeros(3)
    value, slope = nf.value_and_grad(row_normalised, argnums=1)(p, x, w)
    np.testing.assert_allclose(value, w @ p[3:], rtol=1e-14)
    g = w * p[:3] / np.sqrt(1e-5)
    np.testing.assert_allclose(slope, g - g.mean(), rtol=1e-12)


ROW = nn.layout("Row", l=nn.LayerNorm(3))


@numba.njit(**nn.FAST)
def row_normalised(p, x, w):
    return np.sum(w * nn.layernorm(ROW.unpack(p).l, x))


def splitmix(seed, count):
    """Steele, Lea and Flood 2014, figure 16, in big integers."""
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) % 2**64
        z = seed
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


@numba.njit(**nn.FAST)
def dropped(x, w, key, step):
    return np.sum(w * nn.dropout(x * x, 0.3, key, step))


def test_dropout_is_linear_and_the_reverse_sweep_drops_the_same():
    x, w = RNG.normal(size=(20, 10)), RNG.normal(size=(20, 10))
    y = nn.dropout(np.ones((20, 10)), 0.3, 4, 9)
    d_x = nf.grad(dropped)(x, w, 4, 9)
    np.testing.assert_allclose(d_x, 2 * x * w * y, rtol=1e-14)
    np.testing.assert_allclose(np.unique(y), [0.0, 1 / 0.7], rtol=1e-15)
    for other in ((5, 9), (4, 10)):
        assert np.any(nn.dropout(np.ones((20, 10)), 0.3, *other) != y)
    assert nn.dropout(x.astype(np.float32), 0.3, 4, 9).dtype == np.float32


def test_the_numbers_are_those_of_splitmix():
    (seed,) = splitmix((next(splitmix(7, 1)) - 0x9E3779B97F4A7C15) % 2**64, 1)
    numbers = [z / 2**64 for z in splitmix(seed, 50)]
    y = nn.dropout(np.ones(50), 0.3, 7, 0)
    np.testing.assert_array_equal(y == 0.0, np.array(numbers) < 0.3)


@numba.njit(**nn.FAST)
def looked_up(p, labels, w):
    return np.sum(w * nn.embedding(WORDS.unpack(p).e, labels) ** 2)


WORDS = nn.layout("Words", e=nn.Embedding(4, 2))


def test_embedding_adds_up_where_a_label_comes_twice():
    p, labels, w = WORDS.init(), np.array([2, 0, 2]), RNG.normal(size=(3, 2))
    W = WORDS.unpack(p).e.W
    expected = np.zeros((4, 2))
    np.add.at(expected, labels, 2 * w * W[labels])
    value, g = nf.value_and_grad(looked_up)(p, labels, w)
    np.testing.assert_allclose(value, np.sum(w * W[labels] ** 2), rtol=1e-14)
    np.testing.assert_allclose(g.reshape(4, 2), expected, rtol=1e-14)
    for wrong in (4, -1):
        with pytest.raises(IndexError, match="no row"):
            nf.value_and_grad(looked_up)(p, np.array([0, wrong, 1]), w)
