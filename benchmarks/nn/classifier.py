"""A dense net 784-128-10, a batch of 64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from benchmarks.nn.tools import (
    Case,
    Ours,
    adam,
    by_hand,
    by_jax,
    by_tensorflow,
    by_torch,
    crossentropy,
    fill,
)
from numbaflux import nn


@njit(**nn.FAST)
def train(p, x, labels, steps, lr):
    """784-128-10, relu, cross entropy of logits: the losses of the steps."""
    n, g, m, v = x.shape[0], np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    h, o, d = np.empty((n, 128), p.dtype), np.empty((n, 10), p.dtype), np.empty((n, 128), p.dtype)
    losses, e, number = np.empty(steps), 784 * 128, type(p[0])
    W1, b1, g1, gb1 = (
        p[:e].reshape(784, 128),
        p[e : e + 128],
        g[:e].reshape(784, 128),
        g[e : e + 128],
    )
    f = e + 128
    W2, b2 = p[f : f + 1280].reshape(128, 10), p[f + 1280 :]
    g2, gb2 = g[f : f + 1280].reshape(128, 10), g[f + 1280 :]
    for step in range(steps):
        np.dot(x, W1, h)
        for i in range(n):
            for j in range(h.shape[1]):
                h[i, j] = max(h[i, j] + b1[j], number(0.0))
        np.dot(h, W2, o)
        losses[step] = crossentropy(o, b2, labels, gb2)
        np.dot(h.T, o, g2)
        np.dot(o, W2.T, d)
        gb1[:] = 0.0
        for i in range(n):
            for j in range(d.shape[1]):
                d[i, j] = d[i, j] if h[i, j] > 0.0 else number(0.0)
                gb1[j] += d[i, j]
        np.dot(x.T, d, g1)
        adam(p, g, m, v, step, lr)
    return losses


NET = nn.layout("Net", l1=nn.Dense(784, 128), l2=nn.Dense(128, 10))


@njit(**nn.FAST)
def loss(p, x, labels):
    P = NET.unpack(p)
    h = nn.activate(nn.relu, nn.dense(P.l1, x))
    return nn.logitcrossentropy(nn.dense(P.l2, h), labels)


def loss_jax(jnp, p, x, labels):
    import jax

    e, f = 784 * 128, 784 * 128 + 128
    h = jnp.maximum(x @ p[:e].reshape(784, 128) + p[e:f], 0.0)
    y = h @ p[f : f + 1280].reshape(128, 10) + p[f + 1280 :]
    return jnp.mean(jax.nn.logsumexp(y, axis=1) - y[jnp.arange(len(labels)), labels])


def loss_tensorflow(tf, p, x, labels):
    e, f = 784 * 128, 784 * 128 + 128
    h = tf.nn.relu(x @ tf.reshape(p[:e], (784, 128)) + p[e:f])
    y = h @ tf.reshape(p[f : f + 1280], (128, 10)) + p[f + 1280 :]
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, y))


def module(p: np.ndarray) -> Any:
    """`torch.nn.Linear`s, with our parameters."""

    def make(torch):
        P, kind = NET.unpack(p), torch.as_tensor(p).dtype
        linear, functional = torch.nn.Linear, torch.nn.functional

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.l1 = fill(torch, linear(784, 128, dtype=kind), P.l1.W.T, P.l1.b)
                self.l2 = fill(torch, linear(128, 10, dtype=kind), P.l2.W.T, P.l2.b)

            def forward(self, x, labels):
                return functional.cross_entropy(self.l2(torch.relu(self.l1(x))), labels)

        return Net()

    return make


def case(dtype: Any = np.float64) -> Case:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(64, 784)).astype(dtype), rng.integers(0, 10, 64)
    p = NET.init(0, dtype=dtype)
    tools = {
        "hand": by_hand(train, x, labels),
        "numbaflux": Ours(loss, (x, labels)),
        "jax": by_jax(loss_jax, x, labels),
        "torch": by_torch(module(p), x, labels),
        "torch.compile": by_torch(module(p), x, labels, compiled=True),
        "tensorflow": by_tensorflow(loss_tensorflow, x, labels),
    }
    return Case(p, tools, 20, 1.2)
