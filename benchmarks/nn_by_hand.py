"""Training steps written by hand in Numba: forward, gradient and Adam, nothing allocated in a step.

What a careful programmer writes: BLAS into given arrays, activations and biases in one loop, the
sizes of inner loops read from arrays (LLVM takes short loops of constant trips apart).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from numbaflux import FAST, vecmath

B1, B2, EPS = 0.9, 0.999, 1e-8


@njit(**FAST)
def adam(p, g, m, v, step, lr):
    c, root = lr / (1.0 - B1 ** (step + 1)), 1.0 / math.sqrt(1.0 - B2 ** (step + 1))
    for i in range(p.size):
        m[i] = B1 * m[i] + (1.0 - B1) * g[i]
        v[i] = B2 * v[i] + (1.0 - B2) * g[i] * g[i]
        p[i] -= c * m[i] / (math.sqrt(v[i]) * root + EPS)


@njit(**FAST)
def bias_tanh(h, b):
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            h[i, j] = vecmath.tanh(h[i, j] + b[j])


@njit(**FAST)
def through_tanh(d, h, d_b):
    """d *= 1 - h^2, and the sum of its rows."""
    d_b[:] = 0.0
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            d[i, j] *= 1.0 - h[i, j] * h[i, j]
            d_b[j] += d[i, j]


@njit(**FAST)
def mlp_train(p, x, y, steps, lr):
    """2-32-32-1, tanh, mean squared error: the losses of the steps."""
    n, g, m, v = x.shape[0], np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    h1, h2, o = np.empty((n, 32)), np.empty((n, 32)), np.empty((n, 1))
    d1, d2, losses = np.empty((n, 32)), np.empty((n, 32)), np.empty(steps)
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


@njit(**FAST)
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


@njit(**FAST)
def net(p, u, du, h):
    """2-16-2, tanh; the hidden values are kept for the way back."""
    for j in range(h.size):
        h[j] = vecmath.tanh(p[32 + j] + u[0] * p[j] + u[1] * p[16 + j])
    a, b = p[80], p[81]
    for j in range(h.size):
        a += h[j] * p[48 + 2 * j]
        b += h[j] * p[49 + 2 * j]
    du[0], du[1] = a, b


@njit(**FAST)
def net_back(p, g, u, h, d0, d1, d_u):
    """Adds to the gradient and to the cotangent of u."""
    x, y, a, b = u[0], u[1], 0.0, 0.0
    for j in range(h.size):
        g[48 + 2 * j] += d0 * h[j]
        g[49 + 2 * j] += d1 * h[j]
        d = (d0 * p[48 + 2 * j] + d1 * p[49 + 2 * j]) * (1.0 - h[j] * h[j])
        g[32 + j] += d
        g[j] += d * x
        g[16 + j] += d * y
        a += d * p[j]
        b += d * p[16 + j]
    g[80] += d0
    g[81] += d1
    d_u[0] += a
    d_u[1] += b


@njit(**FAST)
def ode_train(p, data, dt, steps, lr):
    """A neural ODE by RK4 against data: the losses of the steps."""
    n, g, m, v = data.shape[0], np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    us, hs, ks = np.empty((n, 4, 2)), np.empty((n, 4, 16)), np.empty((4, 2))
    path, losses = np.empty((n, 2)), np.empty(steps)
    d_k, d_u, d_w = np.empty((4, 2)), np.empty(2), np.empty(2)
    for step in range(steps):
        loss = 0.0
        path[0] = data[0]
        for t in range(n - 1):
            for s in range(4):
                c = 0.0 if s == 0 else (dt if s == 3 else 0.5 * dt)
                for i in range(2):
                    us[t, s, i] = path[t, i] + (c * ks[s - 1, i] if s > 0 else 0.0)
                net(p, us[t, s], ks[s], hs[t, s])
            for i in range(2):
                k = ks[0, i] + 2.0 * ks[1, i] + 2.0 * ks[2, i] + ks[3, i]
                path[t + 1, i] = path[t, i] + dt / 6.0 * k
                loss += (path[t + 1, i] - data[t + 1, i]) ** 2
        losses[step] = loss / n
        g[:] = 0.0
        d_u[:] = 0.0
        for t in range(n - 2, -1, -1):
            for i in range(2):
                d_u[i] += 2.0 / n * (path[t + 1, i] - data[t + 1, i])
                for s in range(4):
                    d_k[s, i] = d_u[i] * (dt / 6.0 if s == 0 or s == 3 else dt / 3.0)
            for s in range(3, -1, -1):
                d_w[0], d_w[1] = 0.0, 0.0
                net_back(p, g, us[t, s], hs[t, s], d_k[s, 0], d_k[s, 1], d_w)
                c = dt if s == 3 else 0.5 * dt
                for i in range(2):
                    d_u[i] += d_w[i]
                    if s > 0:
                        d_k[s - 1, i] += c * d_w[i]
        adam(p, g, m, v, step, lr)
    return losses
