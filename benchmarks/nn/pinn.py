"""A PINN: u(t, x), 2-32-32-1, that solves u_t = u_xx / 10, by 256 points inside and 64 outside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

import numbaflux as nf
from benchmarks.nn.tools import Case, Ours, adam, by_hand, by_jax, by_tensorflow, by_torch, fill
from numbaflux import nn, vecmath

NET = nn.layout("Heat", l1=nn.Dense(2, 32), l2=nn.Dense(32, 32), l3=nn.Dense(32, 1))
RATE = 0.1


@njit(**nn.FAST)
def solution(p, at):
    """u at each row (t, x)."""
    P = NET.unpack(p)
    h = nn.activate(nn.tanh, nn.dense(P.l1, at))
    h = nn.activate(nn.tanh, nn.dense(P.l2, h))
    return nn.dense(P.l3, h)


@njit(**nn.FAST)
def slope(p, at, way):
    """u, and its derivative along a way from each row."""
    return nf.jvp(solution, (p, at), (None, way))


@njit(**nn.FAST)
def bend(p, at, way):
    """The second derivative along the way."""
    _, (_, second) = nf.jvp(slope, (p, at, way), (None, way, None))
    return second


@njit(**nn.FAST)
def loss(p, inside, outside, known):
    """The mean squares of u_t - u_xx / 10 and of u - known."""
    number = type(p[0])
    along_t, along_x = np.zeros_like(inside), np.zeros_like(inside)
    for k in range(len(inside)):
        along_t[k, 0], along_x[k, 1] = 1.0, 1.0
    _, u_t = slope(p, inside, along_t)
    u_xx, u = bend(p, inside, along_x), solution(p, outside)
    rest, miss = number(0.0), number(0.0)
    for k in range(len(inside)):
        rest += (u_t[k, 0] - number(RATE) * u_xx[k, 0]) ** 2
    for k in range(len(outside)):
        miss += (u[k, 0] - known[k]) ** 2
    return rest / len(inside) + miss / len(outside)


# ---- by hand: Taylor coefficients of all points at once, one product for the lot ----------------


@njit(**nn.FAST)
def tanh_series(z, h, n, m):
    """Rows: m + n values, then n each of d/dt, d/dx and d²/dx². h = tanh(z)."""
    one, two = type(z[0, 0])(1.0), type(z[0, 0])(2.0)
    for k in range(m):
        for j in range(z.shape[1]):
            h[n + k, j] = vecmath.tanh(z[n + k, j])
    for k in range(n):
        t, x, xx = n + m + k, 2 * n + m + k, 3 * n + m + k
        for j in range(z.shape[1]):
            s = vecmath.tanh(z[k, j])
            d = one - s * s
            h[k, j] = s
            h[t, j] = d * z[t, j]
            h[x, j] = d * z[x, j]
            h[xx, j] = d * (z[xx, j] - two * s * z[x, j] * z[x, j])


@njit(**nn.FAST)
def tanh_series_back(z, h, g, n, m):
    """The cotangents of h become those of z."""
    one, two = type(z[0, 0])(1.0), type(z[0, 0])(2.0)
    for k in range(m):
        for j in range(z.shape[1]):
            g[n + k, j] *= one - h[n + k, j] * h[n + k, j]
    for k in range(n):
        t, x, xx = n + m + k, 2 * n + m + k, 3 * n + m + k
        for j in range(z.shape[1]):
            s, z_x = h[k, j], z[x, j]
            d = one - s * s
            g_t, g_x, g_xx = g[t, j], g[x, j], g[xx, j]
            inner = z[xx, j] - two * s * z_x * z_x
            g_d = g_t * z[t, j] + g_x * z_x + g_xx * inner
            g_s = g[k, j] - two * s * g_d - two * d * g_xx * z_x * z_x
            g[k, j] = g_s * d
            g[t, j] = g_t * d
            g[x, j] = d * (g_x - two * two * g_xx * s * z_x)
            g[xx, j] = g_xx * d


@njit(**nn.FAST)
def train(p, inside, outside, known, steps, lr):
    """The losses of the steps."""
    n, m, kind, number = len(inside), len(outside), p.dtype, type(p[0])
    rows, g, a, v = 4 * n + m, np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    P, G, losses = NET.unpack(p), NET.unpack(g), np.empty(steps)
    at, z1, h1 = np.zeros((rows, 2), kind), np.empty((rows, 32), kind), np.empty((rows, 32), kind)
    z2, h2, u = np.empty((rows, 32), kind), np.empty((rows, 32), kind), np.empty((rows, 1), kind)
    d1, d2 = np.empty((rows, 32), kind), np.empty((rows, 32), kind)
    at[:n], at[n : n + m] = inside, outside
    at[n + m : 2 * n + m, 0], at[2 * n + m : 3 * n + m, 1] = 1.0, 1.0
    for step in range(steps):
        np.dot(at, P.l1.W, z1)
        add_bias(z1, P.l1.b, n + m)
        tanh_series(z1, h1, n, m)
        np.dot(h1, P.l2.W, z2)
        add_bias(z2, P.l2.b, n + m)
        tanh_series(z2, h2, n, m)
        np.dot(h2, P.l3.W, u)
        rest, miss, G.l3.b[0] = 0.0, 0.0, 0.0
        for k in range(n):
            e = u[n + m + k, 0] - number(RATE) * u[3 * n + m + k, 0]
            rest += e * e
            e *= number(2.0 / n)
            u[k, 0], u[n + m + k, 0], u[2 * n + m + k, 0] = 0.0, e, 0.0
            u[3 * n + m + k, 0] = -number(RATE) * e
        for k in range(n, n + m):
            e = u[k, 0] + P.l3.b[0] - known[k - n]
            miss += e * e
            u[k, 0] = number(2.0 / m) * e
            G.l3.b[0] += u[k, 0]
        losses[step] = rest / n + miss / m
        np.dot(h2.T, u, G.l3.W)
        np.dot(u, P.l3.W.T, d2)
        tanh_series_back(z2, h2, d2, n, m)
        sum_rows(d2, G.l2.b, n + m)
        np.dot(h1.T, d2, G.l2.W)
        np.dot(d2, P.l2.W.T, d1)
        tanh_series_back(z1, h1, d1, n, m)
        sum_rows(d1, G.l1.b, n + m)
        np.dot(at.T, d1, G.l1.W)
        adam(p, g, a, v, step, lr)
    return losses


@njit(**nn.FAST)
def add_bias(z, b, rows):
    for k in range(rows):
        for j in range(b.size):
            z[k, j] += b[j]


@njit(**nn.FAST)
def sum_rows(d, g, rows):
    g[:] = type(g[0])(0.0)
    for k in range(rows):
        for j in range(g.size):
            g[j] += d[k, j]


# ---- rivals ------------------------------------------------------------------------------------


def loss_jax(jnp, p, inside, outside, known):
    """Derivatives of a net of numbers, over points by vmap."""
    import jax

    W2 = p[96:1120].reshape(32, 32)

    def solution(t, x):
        h = jnp.tanh(t * p[:32] + x * p[32:64] + p[64:96])
        return jnp.tanh(h @ W2 + p[1120:1152]) @ p[1152:1184] + p[1184]

    def rest(at):
        u_t = jax.jacfwd(solution, 0)(*at)
        return u_t - RATE * jax.jacfwd(jax.jacfwd(solution, 1), 1)(*at)

    miss = jax.vmap(lambda at: solution(*at))(outside) - known
    return jnp.mean(jax.vmap(rest)(inside) ** 2) + jnp.mean(miss**2)


def loss_tensorflow(tf, p, inside, outside, known):
    """Tapes inside tapes."""
    W1, W2 = tf.reshape(p[:64], (2, 32)), tf.reshape(p[96:1120], (32, 32))

    def solution(at):
        h = tf.tanh(tf.tanh(at @ W1 + p[64:96]) @ W2 + p[1120:1152])
        return (h @ p[1152:1184, None])[:, 0] + p[1184]

    t, x = inside[:, :1], inside[:, 1:]
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch((t, x))
            u = solution(tf.concat([t, x], 1))
        u_t, u_x = inner.gradient(u, (t, x))
    rest = u_t - RATE * outer.gradient(u_x, x)
    miss = solution(outside) - known
    return tf.reduce_mean(rest**2) + tf.reduce_mean(miss**2)


def module(p: np.ndarray) -> Any:
    """`torch.autograd.grad` with graphs of the first derivatives: eager alone can do that."""

    def make(torch):
        P, kind = NET.unpack(p), torch.as_tensor(p).dtype
        linear, tanh = torch.nn.Linear, torch.nn.Tanh

        class Heat(torch.nn.Module):
            def __init__(self):
                super().__init__()
                l1 = fill(torch, linear(2, 32, dtype=kind), P.l1.W.T, P.l1.b)
                l2 = fill(torch, linear(32, 32, dtype=kind), P.l2.W.T, P.l2.b)
                l3 = fill(torch, linear(32, 1, dtype=kind), P.l3.W.T, P.l3.b)
                self.net = torch.nn.Sequential(l1, tanh(), l2, tanh(), l3)

            def forward(self, inside, outside, known):
                def slope(u, at):
                    return torch.autograd.grad(u.sum(), at, create_graph=True)[0]

                t, x = inside[:, :1].requires_grad_(), inside[:, 1:].requires_grad_()
                u = self.net(torch.cat([t, x], 1))
                rest = slope(u, t) - RATE * slope(slope(u, x), x)
                miss = self.net(outside)[:, 0] - known
                return torch.mean(rest**2) + torch.mean(miss**2)

        return Heat()

    return make


def case(dtype: Any = np.float64, points: int = 256) -> Case:
    """Outside: the start, sin(pi x), and both ends, 0. The goal is JAX's time."""
    rng = np.random.default_rng(0)
    inside, outside = rng.random((points, 2)), rng.random((points // 4, 2))
    outside[::2, 0], outside[1::4, 1], outside[3::4, 1] = 0.0, 0.0, 1.0
    known = np.where(outside[:, 0] == 0.0, np.sin(np.pi * outside[:, 1]), 0.0)
    data = [a.astype(dtype) for a in (inside, outside, known)]
    p = NET.init(0, dtype=dtype)
    tools = {
        "hand": by_hand(train, *data),
        "numbaflux": Ours(loss, tuple(data)),
        "jax": by_jax(loss_jax, *data),
        "torch": by_torch(module(p), *data),
        "tensorflow": by_tensorflow(loss_tensorflow, *data),
    }
    return Case(p, tools, 20, 1.0, beside="jax")
