"""du/dt = net(u), 2-16-2, 100 steps of RK4, against a spiral."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from benchmarks.nn.tools import Case, Ours, adam, by_hand, by_jax, by_tensorflow, by_torch, fill
from numbaflux import nn, vecmath


@njit(**nn.FAST)
def net(p, u, du, h):
    """2-16-2, tanh; the hidden values are kept for the way back."""
    for j in range(h.size):
        h[j] = vecmath.tanh(p[32 + j] + u[0] * p[j] + u[1] * p[16 + j])
    a, b = p[80], p[81]
    for j in range(h.size):
        a += h[j] * p[48 + 2 * j]
        b += h[j] * p[49 + 2 * j]
    du[0], du[1] = a, b


@njit(**nn.FAST)
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


@njit(**nn.FAST)
def train(p, data, dt, steps, lr):
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


NET = nn.layout("Net", l1=nn.Dense(2, 16), l2=nn.Dense(16, 2))


@njit(**nn.FAST)
def rhs(P, u, h, du):
    nn.activate(nn.tanh, nn.dense(P.l1, u, h), h)
    nn.dense(P.l2, h, du)


@njit(**nn.FAST)
def loss(p, data, dt):
    P, u, total = NET.unpack(p), data[0].copy(), 0.0
    w, h = np.empty(2, p.dtype), np.empty(16, p.dtype)
    k1, k2, k3, k4 = np.empty_like(w), np.empty_like(w), np.empty_like(w), np.empty_like(w)
    for t in range(1, len(data)):
        rhs(P, u, h, k1)
        for i in range(2):
            w[i] = u[i] + 0.5 * dt * k1[i]
        rhs(P, w, h, k2)
        for i in range(2):
            w[i] = u[i] + 0.5 * dt * k2[i]
        rhs(P, w, h, k3)
        for i in range(2):
            w[i] = u[i] + dt * k3[i]
        rhs(P, w, h, k4)
        for i in range(2):
            u[i] += dt / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i])
            total += (u[i] - data[t, i]) ** 2
    return total / len(data)


def loss_jax(jnp, p, data, dt):
    """A scan over the steps."""
    import jax

    def f(u):
        h = jnp.tanh(u @ p[:32].reshape(2, 16) + p[32:48])
        return h @ p[48:80].reshape(16, 2) + p[80:]

    def step(u, target):
        k1 = f(u)
        k2 = f(u + 0.5 * dt * k1)
        k3 = f(u + 0.5 * dt * k2)
        k4 = f(u + dt * k3)
        u = u + dt / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        return u, jnp.sum((u - target) ** 2)

    return jnp.sum(jax.lax.scan(step, data[0], data[1:])[1]) / len(data)


def loss_tensorflow(tf, p, data, dt):
    """A scan over the steps."""
    W1, W2 = tf.reshape(p[:32], (2, 16)), tf.reshape(p[48:80], (16, 2))

    def f(u):
        return (tf.tanh(u[None] @ W1 + p[32:48]) @ W2 + p[80:])[0]

    def step(u, _):
        k1 = f(u)
        k2 = f(u + 0.5 * dt * k1)
        k3 = f(u + 0.5 * dt * k2)
        k4 = f(u + dt * k3)
        return u + dt / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)

    return tf.reduce_sum((tf.scan(step, data[1:], data[0]) - data[1:]) ** 2) / len(data)


def module(p: np.ndarray) -> Any:
    """`torch.nn.Linear`s in a loop of Python, which `torch.compile` would write out."""

    def make(torch):
        P, kind = NET.unpack(p), torch.as_tensor(p).dtype
        linear = torch.nn.Linear

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                l1 = fill(torch, linear(2, 16, dtype=kind), P.l1.W.T, P.l1.b)
                l2 = fill(torch, linear(16, 2, dtype=kind), P.l2.W.T, P.l2.b)
                self.f = torch.nn.Sequential(l1, torch.nn.Tanh(), l2)

            def forward(self, data, dt):
                u, total = data[0], 0.0
                for target in data[1:]:
                    k1 = self.f(u)
                    k2 = self.f(u + 0.5 * dt * k1)
                    k3 = self.f(u + 0.5 * dt * k2)
                    k4 = self.f(u + dt * k3)
                    u = u + dt / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
                    total = total + torch.sum((u - target) ** 2)
                return total / len(data)

        return Net()

    return make


def case(dtype: Any = np.float64) -> Case:
    t = np.linspace(0.0, 5.0, 101)
    data = np.stack([np.exp(-0.1 * t) * np.cos(t), np.exp(-0.1 * t) * np.sin(t)], 1).astype(dtype)
    p, dt = NET.init(0, dtype=dtype), float(t[1])
    tools = {
        "hand": by_hand(train, data, dt),
        "numbaflux": Ours(loss, (data, dt)),
        "jax": by_jax(loss_jax, data, dtype(dt)),
        "torch": by_torch(module(p), data, dt),
        "tensorflow": by_tensorflow(loss_tensorflow, data, dt),
    }
    return Case(p, tools, 100, 1.5)
