"""A neural ODE: the right-hand side is a net, 2-16-2, learnt from a spiral seen a few times.

The loss is the whole simulation, fourth-order Runge-Kutta steps in a plain loop, and all of the
training is one call of compiled code.
"""

from __future__ import annotations

import numpy as np
from numba import njit

import numbaflux as nf
from numbaflux import nn, optim

HIDDEN = 16
NET = nn.layout("Field", l1=nn.Dense(2, HIDDEN), l2=nn.Dense(HIDDEN, 2))
SEEN, SUBSTEPS, DT = 26, 4, 0.015  # 100 steps of DT
STEPS = 2000
START = np.array([2.0, 0.0])
SPIRAL = np.array([[-0.1, 2.0], [-2.0, -0.1]])


@njit(**nn.FAST)
def field(p, u, h, du):
    """du = the net of u^3, through a hidden layer h."""
    P = NET.unpack(p)
    nn.activate(nn.tanh, nn.dense(P.l1, u**3, h), h)
    nn.dense(P.l2, h, du)


@njit(**nn.FAST)
def advance(p, u, probe, h, k, dt):
    """u after a step of the fourth-order Runge-Kutta method, which needs (4, 2) slopes k."""
    field(p, u, h, k[0])
    for stage in range(1, 4):
        reach = dt if stage == 3 else 0.5 * dt
        for j in range(2):
            probe[j] = u[j] + reach * k[stage - 1, j]
        field(p, probe, h, k[stage])
    for j in range(2):
        u[j] += dt / 6.0 * (k[0, j] + 2.0 * (k[1, j] + k[2, j]) + k[3, j])


@njit(**nn.FAST)
def simulate(p, start, rows, substeps, dt):
    """States (rows, 2), `substeps` steps of RK4 from one to the next."""
    out = np.empty((rows, 2))
    u, probe, h, k = start.copy(), np.empty(2), np.empty(HIDDEN), np.empty((4, 2))
    out[0] = u
    for row in range(1, rows):
        for _ in range(substeps):
            advance(p, u, probe, h, k, dt)
        out[row] = u
    return out


@njit(**nn.FAST)
def loss(p, seen):
    """The mean squared distance from what was seen."""
    return nn.mse(simulate(p, seen[0], len(seen), SUBSTEPS, DT), seen)


step = nf.value_and_grad(loss)
update = optim.adam(optim.cosine(0.05, STEPS))


@njit(**nn.FAST)
def train(p, state, seen, steps):
    """The loss before each step; p is changed in place."""
    history = np.empty(steps)
    for t in range(steps):
        history[t], g = step(p, seen)
        update(p, g, state, t)
    return history


def spiral(rows: int = SEEN, noise: float = 0.0) -> np.ndarray:
    """du/dt = A u^3, as seen every SUBSTEPS steps."""
    from scipy.integrate import solve_ivp

    times = SUBSTEPS * DT * np.arange(rows)
    found = solve_ivp(
        lambda _, u: SPIRAL.T @ u**3, (0.0, times[-1]), START, t_eval=times, rtol=1e-9, atol=1e-9
    )
    return found.y.T + noise * np.random.default_rng(0).normal(size=(rows, 2))


def fit(seen: np.ndarray, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Parameters, and the losses on the way to them."""
    p = NET.init(0)
    return p, train(p, update.state(p), seen, steps)
