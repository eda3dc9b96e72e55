"""A dense net 2-32-32-1, a batch of 64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from benchmarks.nn.tools import Case, Ours, adam, by_hand, by_jax, by_tensorflow, by_torch, fill
from numbaflux import nn, vecmath


@njit(**nn.FAST)
def bias_tanh(h, b):
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            h[i, j] = vecmath.tanh(h[i, j] + b[j])


@njit(**nn.FAST)
def through_tanh(d, h, d_b):
    """d *= 1 - h^2, and the sum of its rows."""
    d_b[:] = 0.0
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            d[i, j] *= type(d[i, j])(1.0) - h[i, j] * h[i, j]
            d_b[j] += d[i, j]


@njit(**nn.FAST)
def train(p, x, y, steps, lr):
    """2-32-32-1, tanh, mean squared error: the losses of the steps."""
    n, g, m, v = x.shape[0], np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    h1, h2, o = np.empty((n, 32), p.dtype), np.empty((n, 32), p.dtype), np.empty((n, 1), p.dtype)
    d1, d2, losses = np.empty((n, 32), p.dtype), np.empty((n, 32), p.dtype), np.empty(steps)
    W1, b1, g1, gb1 = p[:64].reshape(2, 32), p[64:96], g[:64].reshape(2, 32), g[64:96]
    W2, b2, g2 = p[96:1120].reshape(32, 32), p[1120:1152], g[96:1120].reshape(32, 32)
    W3, g3 = p[1152:1184].reshape(32, 1), g[1152:1184].reshape(32, 1)
    for step in range(steps):
        np.dot(x, W1, h1)
        bias_tanh(h1, b1)
        np.dot(h1, W2, h2)
        bias_tanh(h2, b2)
        np.dot(h2, W3, o)
        loss, g_out = 0.0, 0.0
        for i in range(n):
            e = o[i, 0] + p[1184] - y[i, 0]
            loss += e * e
            o[i, 0] = 2.0 / n * e
            g_out += o[i, 0]
        g[1184], losses[step] = g_out, loss / n
        np.dot(h2.T, o, g3)
        np.dot(o, W3.T, d2)
        through_tanh(d2, h2, g[1120:1152])
        np.dot(h1.T, d2, g2)
        np.dot(d2, W2.T, d1)
        through_tanh(d1, h1, gb1)
        np.dot(x.T, d1, g1)
        adam(p, g, m, v, step, lr)
    return losses


NET = nn.layout("Net", l1=nn.Dense(2, 32), l2=nn.Dense(32, 32), l3=nn.Dense(32, 1))


@njit(**nn.FAST)
def loss(p, x, y):
    P = NET.unpack(p)
    h = nn.activate(nn.tanh, nn.dense(P.l1, x))
    h = nn.activate(nn.tanh, nn.dense(P.l2, h))
    return nn.mse(nn.dense(P.l3, h), y)


def loss_jax(jnp, p, x, y):
    h = jnp.tanh(x @ p[:64].reshape(2, 32) + p[64:96])
    h = jnp.tanh(h @ p[96:1120].reshape(32, 32) + p[1120:1152])
    return jnp.mean((h @ p[1152:1184].reshape(32, 1) + p[1184] - y) ** 2)


def loss_tensorflow(tf, p, x, y):
    h = tf.tanh(x @ tf.reshape(p[:64], (2, 32)) + p[64:96])
    h = tf.tanh(h @ tf.reshape(p[96:1120], (32, 32)) + p[1120:1152])
    return tf.reduce_mean((h @ p[1152:1184, None] + p[1184] - y) ** 2)


def module(p: np.ndarray) -> Any:
    """`torch.nn.Linear`s, with our parameters."""

    def make(torch):
        P, kind = NET.unpack(p), torch.as_tensor(p).dtype
        linear, functional = torch.nn.Linear, torch.nn.functional

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.l1 = fill(torch, linear(2, 32, dtype=kind), P.l1.W.T, P.l1.b)
                self.l2 = fill(torch, linear(32, 32, dtype=kind), P.l2.W.T, P.l2.b)
                self.l3 = fill(torch, linear(32, 1, dtype=kind), P.l3.W.T, P.l3.b)

            def forward(self, x, y):
                h = torch.tanh(self.l2(torch.tanh(self.l1(x))))
                return functional.mse_loss(self.l3(h), y)

        return Net()

    return make


def case(dtype: Any = np.float64) -> Case:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2)).astype(dtype)
    y, p = np.sin(x[:, :1] * x[:, 1:]), NET.init(0, dtype=dtype)
    tools = {
        "hand": by_hand(train, x, y),
        "numbaflux": Ours(loss, (x, y)),
        "jax": by_jax(loss_jax, x, y),
        "torch": by_torch(module(p), x, y),
        "torch.compile": by_torch(module(p), x, y, compiled=True),
        "tensorflow": by_tensorflow(loss_tensorflow, x, y),
    }
    return Case(p, tools, 300, 1.5)
