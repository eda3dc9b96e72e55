"""A universal ODE: predators and prey who meet as a net 2-16-2 says, by an adaptive Dopri5.

    du/dt = a u + net_0(u, v),  dv/dt = -b v + net_1(u, v)

a, b and the net are learnt together. The lengths of the steps are taken to be constants by the
derivative, as diffrax takes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

import numbaflux as nf
from benchmarks.nn.tools import Case, Ours, adam, by_hand, by_jax
from numbaflux import nn, vecmath
from numbaflux.demo.friction import ERROR, STAGES

NET = nn.layout(
    "Meeting", a=nn.param(start=0.2), b=nn.param(start=0.2), l1=nn.Dense(2, 16), l2=nn.Dense(16, 2)
)
TOLERANCE, FIRST = 1e-6, 0.01
START = np.array([1.0, 0.7])


@njit(**nn.FAST)
def slope(P, u, h, du):
    """du = d(prey, predators) / dt; h is for the hidden layer."""
    nn.activate(nn.tanh, nn.dense(P.l1, u, h), h)
    nn.dense(P.l2, h, du)
    du[0] += P.a * u[0]
    du[1] -= P.b * u[1]


@njit(**nn.FAST)
def wrong(u, new, k, h):
    """The mean square of the error over what is tolerated."""
    total = 0.0
    for j in range(2):
        e = 0.0
        for i in range(7):
            e += ERROR[i] * k[i, j]
        total += (h * e / (TOLERANCE * (1.0 + max(abs(u[j]), abs(new[j]))))) ** 2
    return max(0.5 * total, 1e-10)


@njit(**nn.FAST)
def loss(p, times, seen):
    """The mean squared distance from what was seen."""
    P, u, new = NET.unpack(p), START.copy(), np.empty(2)
    k, hidden = np.empty((7, 2)), np.empty(16)
    slope(P, u, hidden, k[0])
    t, dt, total = times[0], FIRST, 0.0
    for row in range(1, times.size):
        end = times[row]
        while t < end:
            last = t + dt >= end
            h = end - t if last else dt
            for stage in range(6):
                for j in range(2):
                    s = 0.0
                    for i in range(stage + 1):
                        s += STAGES[stage, i] * k[i, j]
                    new[j] = u[j] + h * s
                slope(P, new, hidden, k[stage + 1])
            error = nf.stop_gradient(wrong(u, new, k, h))
            factor = min(5.0, max(0.2, 0.9 * error**-0.1))
            if error <= 1.0:
                t = end if last else t + h
                for j in range(2):
                    u[j], k[0, j] = new[j], k[6, j]
            if not last or factor < 1.0:
                dt = h * factor
        for j in range(2):
            total += (u[j] - seen[row, j]) ** 2
    return total / seen.size


# ---- by hand -----------------------------------------------------------------------------------


@njit(**nn.FAST)
def net(P, u, du, h):
    """The slope; the hidden values are kept for the way back."""
    W, V = P.l1.W, P.l2.W
    for j in range(h.size):
        h[j] = vecmath.tanh(P.l1.b[j] + u[0] * W[0, j] + u[1] * W[1, j])
    a, b = P.l2.b[0] + P.a * u[0], P.l2.b[1] - P.b * u[1]
    for j in range(h.size):
        a += h[j] * V[j, 0]
        b += h[j] * V[j, 1]
    du[0], du[1] = a, b


@njit(**nn.FAST)
def net_back(P, g, u, h, d0, d1, d_u):
    """Adds to the gradient, a flat vector, and to the cotangent of u."""
    x, y, a, b, W, V = u[0], u[1], d0 * P.a, -d1 * P.b, P.l1.W, P.l2.W
    g[0] += d0 * x
    g[1] -= d1 * y
    for j in range(h.size):
        g[50 + 2 * j] += d0 * h[j]
        g[51 + 2 * j] += d1 * h[j]
        d = (d0 * V[j, 0] + d1 * V[j, 1]) * (1.0 - h[j] * h[j])
        g[34 + j] += d
        g[2 + j] += d * x
        g[18 + j] += d * y
        a += d * W[0, j]
        b += d * W[1, j]
    g[82] += d0
    g[83] += d1
    d_u[0] += a
    d_u[1] += b


@njit(**nn.FAST)
def forward(P, times, seen, us, hs, sizes, counts, k):
    """The loss; of each accepted step what its stages saw, and how many there were by each time."""
    n, t, dt, total = 0, times[0], FIRST, 0.0
    u, new = START.copy(), us[0, 6]
    net(P, u, k[0], hs[0, 6])
    us[0, 6] = u
    for row in range(1, times.size):
        end = times[row]
        while t < end:
            last = t + dt >= end
            h = end - t if last else dt
            for stage in range(6):
                new = us[n + 1, stage + 1]
                for j in range(2):
                    s = 0.0
                    for i in range(stage + 1):
                        s += STAGES[stage, i] * k[i, j]
                    new[j] = u[j] + h * s
                net(P, new, k[stage + 1], hs[n + 1, stage + 1])
            error = wrong(u, new, k, h)
            factor = min(5.0, max(0.2, 0.9 * error**-0.1))
            if error <= 1.0:
                t = end if last else t + h
                n += 1
                sizes[n] = h
                for j in range(2):
                    u[j], k[0, j] = new[j], k[6, j]
            if not last or factor < 1.0:
                dt = h * factor
        counts[row] = n
        for j in range(2):
            total += (u[j] - seen[row, j]) ** 2
    return total / seen.size


@njit(**nn.FAST)
def backward(P, g, seen, us, hs, sizes, counts, d_k):
    """The gradient; us[n, 6] is the state after step n, whose slope the next step starts with."""
    d_u, d_new = np.zeros(2), np.zeros(2)
    g[:] = 0.0
    d_k[:] = 0.0
    for row in range(len(seen) - 1, 0, -1):
        for j in range(2):
            d_u[j] += 2.0 / seen.size * (us[counts[row], 6, j] - seen[row, j])
        for n in range(counts[row], counts[row - 1], -1):
            for j in range(2):
                d_k[6, j], d_k[0, j] = d_k[0, j], 0.0
                d_new[j], d_u[j] = d_u[j], 0.0
            for stage in range(5, -1, -1):
                at, d = us[n, stage + 1], d_k[stage + 1]
                net_back(P, g, at, hs[n, stage + 1], d[0], d[1], d_new)
                for j in range(2):
                    d[j] = 0.0
                    d_u[j] += d_new[j]
                    for i in range(stage + 1):
                        d_k[i, j] += sizes[n] * STAGES[stage, i] * d_new[j]
                    d_new[j] = 0.0
    net_back(P, g, us[0, 6], hs[0, 6], d_k[0, 0], d_k[0, 1], d_u)


@njit(**nn.FAST)
def train(p, times, seen, steps, lr):
    """The losses of the steps."""
    g, m, v = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    P, losses, most = NET.unpack(p), np.empty(steps), 1000
    us, hs, sizes = np.empty((most, 7, 2)), np.empty((most, 7, 16)), np.empty(most)
    k, d_k, counts = np.empty((7, 2)), np.empty((7, 2)), np.zeros(times.size, np.int64)
    for step in range(steps):
        losses[step] = forward(P, times, seen, us, hs, sizes, counts, k)
        backward(P, g, seen, us, hs, sizes, counts, d_k)
        adam(p, g, m, v, step, lr)
    return losses


# ---- rivals ------------------------------------------------------------------------------------


def loss_jax(jnp, p, times, seen):
    """By diffrax, which interpolates between its steps."""
    import diffrax

    def f(t, u, p):
        h = jnp.tanh(u @ p[2:34].reshape(2, 16) + p[34:50])
        return h @ p[50:82].reshape(16, 2) + p[82:] + jnp.stack([p[0], -p[1]]) * u

    found = diffrax.diffeqsolve(
        diffrax.ODETerm(f),
        diffrax.Dopri5(),
        times[0],
        times[-1],
        FIRST,
        jnp.asarray(START),
        p,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
    )
    return jnp.mean((found.ys - seen) ** 2)


def case(dtype: Any = np.float64, times: int = 25) -> Case:
    """Seen are Lotka and Volterra's, who have -1.3 u v and 0.9 u v where the net is.

    In float64 whatever the `dtype`: the tolerance is below what float32 can tell.
    """
    from scipy.integrate import solve_ivp

    def truth(t, u):
        return np.array([1.3 * u[0] - 1.3 * u[0] * u[1], -0.9 * u[1] + 0.9 * u[0] * u[1]])

    at = np.linspace(0.0, 0.5 * (times - 1), times)
    seen = np.ascontiguousarray(
        solve_ivp(truth, (0.0, at[-1]), START, t_eval=at, rtol=1e-9, atol=1e-9).y.T
    )
    p = NET.init(0)
    p[34:] *= 0.1
    tools = {
        "hand": by_hand(train, at, seen),
        "numbaflux": Ours(loss, (at, seen)),
        "diffrax": by_jax(loss_jax, at, seen),
    }
    return Case(p, tools, 50, 2.0, near={"diffrax": 1e-4})
