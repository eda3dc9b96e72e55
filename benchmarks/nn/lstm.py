"""An LSTM 8-32 over 64 steps of a batch of 16, and a dense layer on its last state."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from benchmarks.nn.tools import Case, Ours, adam, by_hand, by_jax, by_tensorflow, by_torch, fill
from numbaflux import nn, vecmath

INPUTS, SIZE, LENGTH, BATCH = 8, 32, 64, 16
NET = nn.layout("Sequence", cell=nn.LSTM(INPUTS, SIZE), out=nn.Dense(SIZE, 1))


@njit(**nn.FAST)
def loss(p, x, y):
    """The mean squared error of what is said after x (steps, batch, inputs)."""
    P = NET.unpack(p)
    h, c = np.zeros((x.shape[1], SIZE), x.dtype), np.zeros((x.shape[1], SIZE), x.dtype)
    for t in range(x.shape[0]):
        nn.lstm(P.cell, x[t], h, c)
    return nn.mse(nn.dense(P.out, h), y)


@njit(**nn.FAST)
def gates(z, u, before, c, s, h):
    """A step of a sample; z becomes the gates, s the tanh of the cell."""
    n = h.size
    for j in range(n):
        i, f = vecmath.sigmoid(z[j] + u[j]), vecmath.sigmoid(z[n + j] + u[n + j])
        g = vecmath.tanh(z[2 * n + j] + u[2 * n + j])
        o = vecmath.sigmoid(z[3 * n + j] + u[3 * n + j])
        c[j] = f * before[j] + i * g
        s[j] = vecmath.tanh(c[j])
        h[j] = o * s[j]
        z[j], z[n + j], z[2 * n + j], z[3 * n + j] = i, f, g, o


@njit(**nn.FAST)
def gates_back(z, before, s, d_h, d_c):
    """The gates become the cotangents of what they are of, d_c that of the cell before."""
    n, one = s.size, type(s[0])(1.0)
    for j in range(n):
        i, f, g, o = z[j], z[n + j], z[2 * n + j], z[3 * n + j]
        d = d_c[j] + d_h[j] * o * (one - s[j] * s[j])
        z[3 * n + j] = d_h[j] * s[j] * o * (one - o)
        z[2 * n + j] = d * i * (one - g * g)
        z[n + j] = d * before[j] * f * (one - f)
        z[j] = d * g * i * (one - i)
        d_c[j] = d * f


@njit(**nn.FAST)
def train(p, x, y, steps, lr):
    """The losses of the steps; the products with inputs and the sums over time are one product."""
    length, batch, inputs = x.shape
    g, m, v = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    P, G = NET.unpack(p), NET.unpack(g)
    n, rows, kind = SIZE, length * batch, p.dtype
    z, u, b = np.empty((rows, 4 * n), kind), np.empty((batch, 4 * n), kind), P.cell.b
    h, c = np.zeros((rows + batch, n), kind), np.zeros((rows + batch, n), kind)
    s, d_h, d_c = np.empty((rows, n), kind), np.empty((batch, n), kind), np.empty((batch, n), kind)
    out, xs, losses = np.empty((batch, 1), kind), x.reshape(rows, inputs), np.empty(steps)
    for step in range(steps):
        np.dot(xs, P.cell.W, z)
        for k in range(rows):
            for j in range(b.size):
                z[k, j] += b[j]
        for t in range(length):
            np.dot(h[t * batch : (t + 1) * batch], P.cell.U, u)
            for k in range(batch):
                r = t * batch + k
                gates(z[r], u[k], c[r], c[r + batch], s[r], h[r + batch])
        np.dot(h[rows:], P.out.W, out)
        value, G.out.b[0] = 0.0, 0.0
        for k in range(batch):
            e = out[k, 0] + P.out.b[0] - y[k, 0]
            value += e * e
            out[k, 0] = 2.0 / batch * e
            G.out.b[0] += out[k, 0]
        losses[step] = value / batch
        np.dot(h[rows:].T, out, G.out.W)
        np.dot(out, P.out.W.T, d_h)
        d_c[:] = 0.0
        for t in range(length - 1, -1, -1):
            for k in range(batch):
                r = t * batch + k
                gates_back(z[r], c[r], s[r], d_h[k], d_c[k])
            np.dot(z[t * batch : (t + 1) * batch], P.cell.U.T, d_h)
        np.dot(xs.T, z, G.cell.W)
        np.dot(h[:rows].T, z, G.cell.U)
        G.cell.b[:] = 0.0
        for k in range(rows):
            for j in range(b.size):
                G.cell.b[j] += z[k, j]
        adam(p, g, m, v, step, lr)
    return losses


def loss_jax(jnp, p, x, y):
    """The products with inputs before the scan over time."""
    import jax

    a, n = INPUTS * 4 * SIZE, 4 * SIZE
    e = a + SIZE * n
    W, U, b = p[:a].reshape(INPUTS, n), p[a:e].reshape(SIZE, n), p[e : e + n]

    def one(carry, z):
        h, c = carry
        i, f, g, o = jnp.split(z + h @ U, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    start = jnp.zeros((x.shape[1], SIZE), x.dtype)
    (h, _), _ = jax.lax.scan(one, (start, start), x @ W + b)
    out = h @ p[e + n : e + n + SIZE, None] + p[e + n + SIZE]
    return jnp.mean((out - y) ** 2)


def loss_tensorflow(tf, p, x, y):
    a, n = INPUTS * 4 * SIZE, 4 * SIZE
    e = a + SIZE * n
    W, U, b = tf.reshape(p[:a], (INPUTS, n)), tf.reshape(p[a:e], (SIZE, n)), p[e : e + n]

    def one(carry, z):
        h, c = carry
        i, f, g, o = tf.split(z + h @ U, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c

    start = tf.zeros((x.shape[1], SIZE), x.dtype)
    h, _ = tf.scan(one, tf.tensordot(x, W, 1) + b, (start, start))
    out = h[-1] @ p[e + n : e + n + SIZE, None] + p[e + n + SIZE]
    return tf.reduce_mean((out - y) ** 2)


def module(p: np.ndarray) -> Any:
    """`torch.nn.LSTM` and `torch.nn.Linear`, with our parameters."""

    def make(torch):
        P, kind = NET.unpack(p), torch.as_tensor(p).dtype

        class Sequence(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = torch.nn.LSTM(INPUTS, SIZE, dtype=kind)
                self.out = fill(torch, torch.nn.Linear(SIZE, 1, dtype=kind), P.out.W.T, P.out.b)
                with torch.no_grad():
                    self.lstm.weight_ih_l0.copy_(torch.as_tensor(P.cell.W.T))
                    self.lstm.weight_hh_l0.copy_(torch.as_tensor(P.cell.U.T))
                    self.lstm.bias_ih_l0.copy_(torch.as_tensor(P.cell.b))
                    self.lstm.bias_hh_l0.zero_()
                self.lstm.bias_hh_l0.requires_grad_(
                    False
                )  # it has two biases, which would both move

            def forward(self, x, y):
                states, _ = self.lstm(x)
                return torch.nn.functional.mse_loss(self.out(states[-1]), y)

        return Sequence()

    return make


def case(dtype: Any = np.float64, length: int = LENGTH) -> Case:
    """The goal is PyTorch's time, the aim half of it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(length, BATCH, INPUTS)).astype(dtype)
    y, p = x.mean(axis=(0, 2))[:, None], NET.init(0, dtype=dtype)
    tools = {
        "hand": by_hand(train, x, y),
        "numbaflux": Ours(loss, (x, y)),
        "jax": by_jax(loss_jax, x, y),
        "torch": by_torch(module(p), x, y),
        "torch.compile": by_torch(module(p), x, y, compiled=True),
        "tensorflow": by_tensorflow(loss_tensorflow, x, y),
    }
    return Case(p, tools, 20, 1.0, beside="torch")
