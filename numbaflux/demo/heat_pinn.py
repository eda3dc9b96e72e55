"""A PINN: a net u(t, x), 2-16-16-1, that solves u_t = u_xx / 10 with fixed ends and a given start.

u_t and u_xx are derivatives of the net with respect to its inputs, taken inside the loss, which is
differentiated with respect to the parameters in turn.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

import numbaflux as nf
from numbaflux import nn, optim

NET = nn.layout("Heat", l1=nn.Dense(2, 16), l2=nn.Dense(16, 16), l3=nn.Dense(16, 1))
RATE = 0.1


@njit(**nn.FAST)
def solution(p, t, x):
    """u(t, x): zero at both ends and sin(pi x) at the start, whatever the parameters are."""
    P = NET.unpack(p)
    first, second = np.empty(16), P.l2.b.copy()
    for j in range(16):
        first[j] = nn.tanh(P.l1.W[0, j] * t + P.l1.W[1, j] * x + P.l1.b[j])
    for i in range(16):
        for j in range(16):
            second[j] += first[i] * P.l2.W[i, j]
    net = P.l3.b[0]
    for j in range(16):
        net += nn.tanh(second[j]) * P.l3.W[j, 0]
    return math.sin(math.pi * x) + t * x * (1.0 - x) * net


u_t = nf.jacfwd(solution, argnums=1)
u_xx = nf.jacfwd(nf.jacfwd(solution, argnums=2), argnums=2)


@njit(**nn.FAST)
def loss(p, points):
    """The mean square of u_t - u_xx / 10 over points (n, 2)."""
    total = 0.0
    for k in range(len(points)):
        t, x = points[k, 0], points[k, 1]
        total += (u_t(p, t, x) - RATE * u_xx(p, t, x)) ** 2
    return total / len(points)


step = nf.value_and_grad(loss)


@njit(**nn.FAST)
def train(update, p, state, points, steps):
    """The loss before each step; p is changed in place."""
    history = np.empty(steps)
    for k in range(steps):
        history[k], g = step(p, points)
        update(p, g, state, k)
    return history


def exact(t: np.ndarray, x: np.ndarray) -> np.ndarray:
    """exp(-pi^2 t / 10) sin(pi x)"""
    return np.exp(-RATE * np.pi**2 * t) * np.sin(np.pi * x)


def fit(steps: int = 1500, points: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Parameters, and the losses on the way to them, for 0 < t, x < 1."""
    p, update = NET.init(0), optim.adam(optim.cosine(0.02, steps))
    inside = np.random.default_rng(0).random((points, 2))
    return p, train(update, p, update.state(p), inside, steps)
