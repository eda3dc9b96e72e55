"""LeNet on 28x28 images, a batch of 64: LeCun et al. 1998, with relu and maxima, as it is today."""

from __future__ import annotations

import math
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

NET = nn.layout(
    "LeNet",
    c1=nn.Conv(1, 6, (5, 5)),
    c2=nn.Conv(6, 16, (5, 5)),
    l1=nn.Dense(256, 120),
    l2=nn.Dense(120, 84),
    l3=nn.Dense(84, 10),
)


@njit(**nn.FAST)
def loss(p, x, labels):
    """The cross entropy of x (1, 28, 28, batch)."""
    P = NET.unpack(p)
    h = nn.maxpool(nn.activate(nn.relu, nn.conv(P.c1, x)), 2)
    h = nn.maxpool(nn.activate(nn.relu, nn.conv(P.c2, h)), 2)
    h = nn.activate(nn.relu, nn.dense(P.l1, nn.flatten(h)))
    h = nn.activate(nn.relu, nn.dense(P.l2, h))
    return nn.logitcrossentropy(nn.dense(P.l3, h), labels)


# ---- by hand: rows of images are one long loop over columns and batch ---------------------------


@njit(**nn.FAST)
def conv(W, b, x, out):
    """The five columns of a kernel in one loop."""
    batch = x.shape[3]
    for o in range(out.shape[0]):
        for i in range(out.shape[1]):
            ys = out[o, i].reshape(out.shape[2] * batch)
            ys[:] = b[o]
            for c in range(x.shape[0]):
                for u in range(W.shape[1]):
                    xs = x[c, i + u].reshape(x.shape[2] * batch)
                    v, w = xs[batch:], W[c, u, :, o]
                    s, t, r = xs[2 * batch :], xs[3 * batch :], xs[4 * batch :]
                    a0, a1, a2, a3, a4 = w[0], w[1], w[2], w[3], w[4]
                    for k in range(ys.size):
                        ys[k] += a0 * xs[k] + a1 * v[k] + a2 * s[k] + a3 * t[k] + a4 * r[k]


@njit(**nn.FAST)
def conv_weights(g, g_b, x, d):
    """The gradient of W and b."""
    batch, zero = x.shape[3], type(x[0, 0, 0, 0])(0.0)
    for o in range(d.shape[0]):
        total = zero
        g[:, :, :, o] = zero
        for i in range(d.shape[1]):
            ds = d[o, i].reshape(d.shape[2] * batch)
            for k in range(ds.size):
                total += ds[k]
            for c in range(x.shape[0]):
                for u in range(g.shape[1]):
                    xs = x[c, i + u].reshape(x.shape[2] * batch)
                    v, s = xs[batch:], xs[2 * batch :]
                    t, r = xs[3 * batch :], xs[4 * batch :]
                    a0, a1, a2, a3, a4 = zero, zero, zero, zero, zero
                    for k in range(ds.size):
                        a0 += ds[k] * xs[k]
                        a1 += ds[k] * v[k]
                        a2 += ds[k] * s[k]
                        a3 += ds[k] * t[k]
                        a4 += ds[k] * r[k]
                    w = g[c, u, :, o]
                    w[0] += a0
                    w[1] += a1
                    w[2] += a2
                    w[3] += a3
                    w[4] += a4
        g_b[o] = total


@njit(**nn.FAST)
def conv_inputs(W, d, d_x):
    """The cotangent of the inputs."""
    batch = d.shape[3]
    d_x[:] = type(d[0, 0, 0, 0])(0.0)
    for c in range(d_x.shape[0]):
        for i in range(d.shape[1]):
            for u in range(W.shape[1]):
                row = d_x[c, i + u].reshape(d_x.shape[2] * batch)
                for o in range(d.shape[0]):
                    ds = d[o, i].reshape(d.shape[2] * batch)
                    for v in range(W.shape[2]):
                        w, xs = W[c, u, v, o], row[v * batch :]
                        for k in range(ds.size):
                            xs[k] += w * ds[k]


@njit(**nn.FAST)
def pool_relu(x, out):
    """Maxima of 2x2, or 0."""
    zero = type(x[0, 0, 0, 0])(0.0)
    for c in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                ys = out[c, i, j]
                a, b = x[c, 2 * i, 2 * j], x[c, 2 * i, 2 * j + 1]
                e, f = x[c, 2 * i + 1, 2 * j], x[c, 2 * i + 1, 2 * j + 1]
                for k in range(ys.size):
                    ys[k] = max(max(max(a[k], b[k]), max(e[k], f[k])), zero)


@njit(**nn.FAST)
def pool_relu_back(x, y, d_y, d_x):
    """To the first of the four that is the maximum, if that is not 0."""
    zero = type(x[0, 0, 0, 0])(0.0)
    for c in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                ys, ds = y[c, i, j], d_y[c, i, j]
                a, b = x[c, 2 * i, 2 * j], x[c, 2 * i, 2 * j + 1]
                e = x[c, 2 * i + 1, 2 * j]
                d_a, d_b = d_x[c, 2 * i, 2 * j], d_x[c, 2 * i, 2 * j + 1]
                d_e, d_f = d_x[c, 2 * i + 1, 2 * j], d_x[c, 2 * i + 1, 2 * j + 1]
                for k in range(ys.size):
                    d = ds[k] if ys[k] > zero else zero
                    d_a[k] = d if a[k] == ys[k] else zero
                    d = zero if a[k] == ys[k] else d
                    d_b[k] = d if b[k] == ys[k] else zero
                    d = zero if b[k] == ys[k] else d
                    d_e[k] = d if e[k] == ys[k] else zero
                    d_f[k] = zero if e[k] == ys[k] else d


@njit(**nn.FAST)
def bias_relu(h, b):
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            h[i, j] = max(h[i, j] + b[j], type(h[i, j])(0.0))


@njit(**nn.FAST)
def through_relu(d, h, g_b):
    g_b[:] = type(d[0, 0])(0.0)
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            d[i, j] = d[i, j] if h[i, j] > 0.0 else type(d[i, j])(0.0)
            g_b[j] += d[i, j]


@njit(**nn.FAST)
def turn(x, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = x[j, i]


@njit(**nn.FAST)
def train(p, x, labels, steps, lr):
    """The losses of the steps."""
    n, g, m, v, kind = x.shape[3], np.zeros_like(p), np.zeros_like(p), np.zeros_like(p), p.dtype
    P, G, losses = NET.unpack(p), NET.unpack(g), np.empty(steps)
    z1, h1 = np.empty((6, 24, 24, n), kind), np.empty((6, 12, 12, n), kind)
    z2, h2 = np.empty((16, 8, 8, n), kind), np.empty((16, 4, 4, n), kind)
    d_z1, d_h1, d_z2 = np.empty_like(z1), np.empty_like(h1), np.empty_like(z2)
    f, d_f, h3, d3 = np.empty((n, 256), kind), np.empty((n, 256), kind), *two(n, 120, kind)
    h4, d4, o = *two(n, 84, kind), np.empty((n, 10), kind)
    d_h2 = np.empty_like(h2)
    for step in range(steps):
        conv(P.c1.W, P.c1.b, x, z1)
        pool_relu(z1, h1)
        conv(P.c2.W, P.c2.b, h1, z2)
        pool_relu(z2, h2)
        turn(h2.reshape(256, n), f)
        np.dot(f, P.l1.W, h3)
        bias_relu(h3, P.l1.b)
        np.dot(h3, P.l2.W, h4)
        bias_relu(h4, P.l2.b)
        np.dot(h4, P.l3.W, o)
        losses[step] = crossentropy(o, P.l3.b, labels, G.l3.b)
        np.dot(h4.T, o, G.l3.W)
        np.dot(o, P.l3.W.T, d4)
        through_relu(d4, h4, G.l2.b)
        np.dot(h3.T, d4, G.l2.W)
        np.dot(d4, P.l2.W.T, d3)
        through_relu(d3, h3, G.l1.b)
        np.dot(f.T, d3, G.l1.W)
        np.dot(d3, P.l1.W.T, d_f)
        turn(d_f, d_h2.reshape(256, n))
        pool_relu_back(z2, h2, d_h2, d_z2)
        conv_weights(G.c2.W, G.c2.b, h1, d_z2)
        conv_inputs(P.c2.W, d_z2, d_h1)
        pool_relu_back(z1, h1, d_h1, d_z1)
        conv_weights(G.c1.W, G.c1.b, x, d_z1)
        adam(p, g, m, v, step, lr)
    return losses


@njit(**nn.FAST)
def two(n, m, kind):
    return np.empty((n, m), kind), np.empty((n, m), kind)


# ---- rivals ------------------------------------------------------------------------------------


def loss_jax(jnp, p, x, labels):
    """The cross entropy of x (batch, 28, 28, 1), as XLA's convolutions on a CPU like it."""
    import jax

    parts = []
    for _, at, shape in NET.leaves():
        parts.append(p[at : at + math.prod(shape)].reshape(shape))
    W1, b1, W2, b2, A3, b3, A4, b4, A5, b5 = parts

    def pooled(W, b, x):
        names = ("NHWC", "IHWO", "NHWC")
        y = jax.lax.conv_general_dilated(x, W, (1, 1), "VALID", dimension_numbers=names) + b
        window = (1, 2, 2, 1)
        return jax.lax.reduce_window(
            jnp.maximum(y, 0.0), -jnp.inf, jax.lax.max, window, window, "VALID"
        )

    h = pooled(W2, b2, pooled(W1, b1, x))
    h = jnp.transpose(h, (0, 3, 1, 2)).reshape(len(x), 256)
    h = jnp.maximum(h @ A3 + b3, 0.0)
    y = jnp.maximum(h @ A4 + b4, 0.0) @ A5 + b5
    return jnp.mean(jax.nn.logsumexp(y, axis=1) - y[jnp.arange(len(labels)), labels])


def loss_tensorflow(tf, p, x, labels):
    """The cross entropy of x (batch, 28, 28, 1)."""
    parts = [tf.reshape(p[at : at + math.prod(shape)], shape) for _, at, shape in NET.leaves()]
    W1, b1, W2, b2, A3, b3, A4, b4, A5, b5 = parts

    def pooled(W, b, x):
        y = tf.nn.relu(tf.nn.conv2d(x, tf.transpose(W, (1, 2, 0, 3)), 1, "VALID") + b)
        return tf.nn.max_pool2d(y, 2, 2, "VALID")

    h = tf.transpose(pooled(W2, b2, pooled(W1, b1, x)), (0, 3, 1, 2))
    h = tf.nn.relu(tf.reshape(h, (len(x), 256)) @ A3 + b3)
    y = tf.nn.relu(h @ A4 + b4) @ A5 + b5
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, y))


def module(p: np.ndarray) -> Any:
    """`torch.nn.Sequential`, with our parameters."""

    def make(torch):
        P, kind, t = NET.unpack(p), torch.as_tensor(p).dtype, torch.nn
        layers = []
        for c, size in (P.c1, (1, 6, 5)), (P.c2, (6, 16, 5)):
            W = c.W.transpose(3, 0, 1, 2)
            layers += [fill(torch, t.Conv2d(*size, dtype=kind), W, c.b), t.ReLU(), t.MaxPool2d(2)]
        layers.append(t.Flatten())
        for d, size in (P.l1, (256, 120)), (P.l2, (120, 84)), (P.l3, (84, 10)):
            layers += [fill(torch, t.Linear(*size, dtype=kind), d.W.T, d.b), t.ReLU()]

        class LeNet(t.Module):
            def __init__(self):
                super().__init__()
                self.net = t.Sequential(*layers[:-1])

            def forward(self, x, labels):
                return t.functional.cross_entropy(self.net(x), labels)

        return LeNet()

    return make


def case(dtype: Any = np.float64, batch: int = 64) -> Case:
    """Each tool has the order of axes that it likes."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(1, 28, 28, batch)).astype(dtype), rng.integers(0, 10, batch)
    p = NET.init(0, dtype=dtype)
    by_sample = np.ascontiguousarray(x.transpose(3, 0, 1, 2))
    images = by_sample.reshape(batch, 28, 28, 1)
    tools = {
        "hand": by_hand(train, x, labels),
        "numbaflux": Ours(loss, (x, labels)),
        "jax": by_jax(loss_jax, images, labels, scan=False),
        "torch": by_torch(module(p), by_sample, labels),
        "torch.compile": by_torch(module(p), by_sample, labels, compiled=True),
        "tensorflow": by_tensorflow(loss_tensorflow, images, labels),
        "tensorflow.function": by_tensorflow(loss_tensorflow, images, labels, compiled=False),
    }
    return Case(p, tools, 5, 1.5)
