"""Optimal control through impacts: a ball with a small engine, which bounces to its target.

Within a time step the ball may hit the floor.  When it does is found by solving the step's
quadratic, the speed turns round with a loss, and the rest of the step follows.  The derivative
goes through the `if` and the time of the impact, so it is that of the bouncing path.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

import numbaflux as nf
from numbaflux import nn, optim

NET = nn.layout("Plan", throw=nn.param((2,), np.array([1.0, 2.0])), push=nn.param((40, 2)))
GRAVITY, BOUNCE, DT = 9.81, 0.8, 0.05  # 40 steps: two seconds
TARGET = np.array([3.0, 1.0])
EFFORT = 1e-3


@njit(**nn.FAST)
def fly(p, path):
    """Fill path (steps + 1, 2) with places, from (0, 1); how often the ball hit the floor."""
    P = NET.unpack(p)
    x, y, vx, vy, hits = 0.0, 1.0, P.throw[0], P.throw[1], 0
    path[0, 0], path[0, 1] = x, y
    for k in range(P.push.shape[0]):
        ax, ay = P.push[k, 0], P.push[k, 1] - GRAVITY
        left = DT
        if y + vy * DT + 0.5 * ay * DT * DT < 0.0:
            impact = 2.0 * y / (math.sqrt(vy * vy - 2.0 * ay * y) - vy)  # y(impact) = 0
            x += vx * impact + 0.5 * ax * impact * impact
            vx += ax * impact
            vy = -BOUNCE * (vy + ay * impact)
            y, left, hits = 0.0, DT - impact, hits + 1
        x += vx * left + 0.5 * ax * left * left
        y += vy * left + 0.5 * ay * left * left
        vx += ax * left
        vy += ay * left
        path[k + 1, 0], path[k + 1, 1] = x, y
    return hits


@njit(**nn.FAST)
def loss(p, target):
    """The squared distance from the target in the end, and EFFORT times what the engine did."""
    P = NET.unpack(p)
    path = np.empty((P.push.shape[0] + 1, 2))
    fly(p, path)
    effort = 0.0
    for k in range(P.push.shape[0]):
        effort += DT * (P.push[k, 0] ** 2 + P.push[k, 1] ** 2)
    return (path[-1, 0] - target[0]) ** 2 + (path[-1, 1] - target[1]) ** 2 + EFFORT * effort


step = nf.value_and_grad(loss)
update = optim.adam(optim.cosine(0.05, 1500))


@njit(**nn.FAST)
def plan(p, target, free, steps):
    """The loss before each step; p is changed in place where `free` is 1."""
    history, state = np.empty(steps), np.zeros((2, p.size))
    for t in range(steps):
        history[t], g = step(p, target)
        for i in range(p.size):
            g[i] *= free[i]
        update(p, g, state, t)
    return history


def path(p: np.ndarray) -> tuple[np.ndarray, int]:
    """Where the ball is after each step, and how often it hit the floor."""
    out = np.empty((41, 2))
    return out, fly(p, out)
