"""A universal ODE: a driven pendulum with a friction that nobody has a formula for.

    speed' = -k sin(angle) + a cos(drive t) - friction(speed)

k, a and a net for the friction are learnt together, from a noisy record, through an adaptive
Dormand-Prince solver: its accepted and rejected steps and their lengths are differentiated too.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

import numbaflux as nf
from numbaflux import nn, optim

NET = nn.layout(
    "Pendulum", k=nn.param(start=4.0), a=nn.param(start=1.0), l1=nn.Dense(1, 16), l2=nn.Dense(16, 1)
)
DRIVE, TRUE_K, TRUE_A = 1.5, 5.0, 2.0
TIMES = np.linspace(0.0, 12.0, 121)
START = np.array([2.0, 0.0])
TOLERANCE, NOISE, STEPS = 1e-6, 0.01, 1500

# Dormand and Prince 1980, table 2: what a stage is made of, and the error estimate
STAGES = np.array([
    [1/5, 0, 0, 0, 0, 0],
    [3/40, 9/40, 0, 0, 0, 0],
    [44/45, -56/15, 32/9, 0, 0, 0],
    [19372/6561, -25360/2187, 64448/6561, -212/729, 0, 0],
    [9017/3168, -355/33, 46732/5247, 49/176, -5103/18656, 0],
    [35/384, 0, 500/1113, 125/192, -2187/6784, 11/84],
])  # fmt: skip
NODES = np.array([1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0])
ERROR = np.array([71/57600, 0, -71/16695, 71/1920, -17253/339200, 22/525, -1/40])  # fmt: skip


@njit(**nn.FAST)
def learnt(P, speed):
    """The friction by the net."""
    friction = P.l2.b[0]
    for j in range(16):
        friction += P.l2.W[j, 0] * math.tanh(P.l1.W[0, j] * speed + P.l1.b[j])
    return friction


@njit(**nn.FAST)
def slope(p, t, u, du):
    """du = d(angle, speed) / dt."""
    P = NET.unpack(p)
    du[0] = u[1]
    du[1] = -P.k * math.sin(u[0]) + P.a * math.cos(DRIVE * t) - learnt(P, u[1])


@njit(**nn.FAST)
def advance(p, t, end, dt, u, k, probe):
    """Take u from t to `end` by steps as long as the tolerance allows; the length of the next.

    k[0] is the slope at u, before and after.
    """
    while t < end:
        last = t + dt >= end
        h = end - t if last else dt
        for stage in range(6):
            for j in range(2):
                s = 0.0
                for i in range(stage + 1):
                    s += STAGES[stage, i] * k[i, j]
                probe[j] = u[j] + h * s
            slope(p, t + NODES[stage] * h, probe, k[stage + 1])
        worst = 1e-10
        for j in range(2):
            e = 0.0
            for i in range(7):
                e += ERROR[i] * k[i, j]
            worst += (h * e / (TOLERANCE * (1.0 + abs(probe[j])))) ** 2
        factor = min(5.0, max(0.2, 0.9 * (0.5 * worst) ** -0.1))
        if worst <= 2.0:
            t = end if last else t + h
            for j in range(2):
                u[j], k[0, j] = probe[j], k[6, j]
            if not last or factor < 1.0:
                dt = h * factor
        else:
            dt = h * factor
    return dt


@njit(**nn.FAST)
def simulate(p, start, times):
    """Angle and speed at each of the times."""
    out = np.empty((times.size, 2))
    u, probe, k = start.copy(), np.empty(2), np.empty((7, 2))
    out[0] = u
    slope(p, times[0], u, k[0])
    dt = 0.05
    for row in range(1, times.size):
        dt = advance(p, times[row - 1], times[row], dt, u, k, probe)
        out[row] = u
    return out


@njit(**nn.FAST)
def loss(p, times, seen):
    """The mean squared distance from the record."""
    return nn.mse(simulate(p, START, times), seen)


step = nf.value_and_grad(loss)
update = optim.adam(optim.cosine(0.03, STEPS, 1e-3))


@njit(**nn.FAST)
def train(p, state, times, seen, steps):
    """The loss before each step; p is changed in place."""
    history = np.empty(steps)
    for t in range(steps):
        history[t], g = step(p, times, seen)
        optim.clip(g, 1.0)
        update(p, g, state, t)
    return history


def friction(speed: np.ndarray) -> np.ndarray:
    """The truth: sticky at low speed, quadratic at high speed."""
    return 0.5 * np.tanh(4.0 * speed) + 0.05 * speed * np.abs(speed)


def record(times: np.ndarray = TIMES, noise: float = NOISE) -> np.ndarray:
    """Angle and speed of the true pendulum, by SciPy's solver."""
    from scipy.integrate import solve_ivp

    def true_slope(t: float, u: np.ndarray) -> np.ndarray:
        return np.array([
            u[1], -TRUE_K * np.sin(u[0]) + TRUE_A * np.cos(DRIVE * t) - friction(u[1])
        ])  # fmt: skip

    span = float(times[0]), float(times[-1])
    found = solve_ivp(true_slope, span, START, t_eval=times, rtol=1e-9, atol=1e-9)
    return found.y.T + noise * np.random.default_rng(0).normal(size=(times.size, 2))


def fit(seen: np.ndarray, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Parameters, and the losses: first of the beginning of the record, then of more of it."""
    p, losses = NET.init(0), []
    for rows in (len(seen) // 4, len(seen) // 2, len(seen)):
        losses.append(train(p, update.state(p), TIMES[:rows], seen[:rows], steps))
    return p, np.concatenate(losses)
