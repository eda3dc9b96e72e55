"""A dense net 784-128-10, a batch of 64."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from benchmarks.nn.tools import Case, adam, by_hand, by_jax, ours
from numbaflux import nn, vecmath


@njit(**nn.FAST)
def classifier_train(p, x, labels, steps, lr):
    """784-128-10, relu, cross entropy of logits: the losses of the steps."""
    n, g, m, v = x.shape[0], np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    h, o, d = np.empty((n, 128)), np.empty((n, 10)), np.empty((n, 128))
    losses, e = np.empty(steps), 784 * 128
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
                h[i, j] = max(h[i, j] + b1[j], 0.0)
        np.dot(h, W2, o)
        loss = 0.0
        gb2[:] = 0.0
        for i in range(n):
            top, total = -np.inf, 0.0
            for j in range(o.shape[1]):
                o[i, j] += b2[j]
                top = max(top, o[i, j])
            loss += top - o[i, labels[i]]
            for j in range(o.shape[1]):
                o[i, j] = vecmath.exp(o[i, j] - top)
                total += o[i, j]
            loss += math.log(total)
            for j in range(o.shape[1]):
                o[i, j] /= total * n
            o[i, labels[i]] -= 1.0 / n
            for j in range(o.shape[1]):
                gb2[j] += o[i, j]
        losses[step] = loss / n
        np.dot(h.T, o, g2)
        np.dot(o, W2.T, d)
        gb1[:] = 0.0
        for i in range(n):
            for j in range(d.shape[1]):
                d[i, j] = d[i, j] if h[i, j] > 0.0 else 0.0
                gb1[j] += d[i, j]
        np.dot(x.T, d, g1)
        adam(p, g, m, v, step, lr)
    return losses


def classifier() -> Case:
    """784-128-10, a batch of 64."""
    net = nn.layout("Net", l1=nn.Dense(784, 128), l2=nn.Dense(128, 10))
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(64, 784)), rng.integers(0, 10, 64)
    e, f = 784 * 128, 784 * 128 + 128

    @njit(**nn.FAST)
    def loss(p, x, labels):
        P = net.unpack(p)
        h = nn.activate(nn.relu, nn.dense(P.l1, x))
        return nn.logitcrossentropy(nn.dense(P.l2, h), labels)

    def loss_jax(jnp, p, x, labels):
        h = jnp.maximum(x @ p[:e].reshape(784, 128) + p[e:f], 0.0)
        y = h @ p[f : f + 1280].reshape(128, 10) + p[f + 1280 :]
        top = y.max(1, keepdims=True)
        total = jnp.log(jnp.exp(y - top).sum(1)) + top[:, 0]
        return jnp.mean(total - y[jnp.arange(64), labels])

    tools = {
        "hand": by_hand(classifier_train, x, labels),
        "numbaflux": ours(loss, x, labels),
        "jax": by_jax(loss_jax, x, labels),
    }
    return Case(net.init(0), tools, 20, 1.2)
