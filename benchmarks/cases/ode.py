"""GradBench's `ode`: Runge-Kutta for y'[0] = x[0], y'[i] = x[i] y[i - 1] on [0, 2]."""

import numpy as np
from numba import njit

from benchmarks.case import Case, forward, gradient
from benchmarks.check import exactly


@njit
def slope(x, y, out):
    out[0] = x[0]
    for i in range(1, x.shape[0]):
        out[i] = x[i] * y[i - 1]


@njit
def solve(x, steps):
    n = x.shape[0]
    h = 2.0 / steps
    k1, k2, k3, k4 = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    y, between = np.zeros(n), np.empty(n)
    for _ in range(steps):
        slope(x, y, k1)
        for i in range(n):
            between[i] = y[i] + 0.5 * h * k1[i]
        slope(x, between, k2)
        for i in range(n):
            between[i] = y[i] + 0.5 * h * k2[i]
        slope(x, between, k3)
        for i in range(n):
            between[i] = y[i] + h * k3[i]
        slope(x, between, k4)
        for i in range(n):
            y[i] += h / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i])
    return y


@njit
def last(x, steps):
    return solve(x, steps)[x.shape[0] - 1]


def answer(x, steps):
    """By hand: the last element of y depends on the product of the last x's only.

    The slope is linear in y and shifts it by one, so a step multiplies y by a polynomial of the
    nilpotent matrix h X; only the last 4 s elements of x can matter, and the gradient of each is
    the sum over the stages, run backwards with the stages kept.
    """
    n, h = len(x), 2.0 / steps
    factors = (0.0, 0.5, 0.5, 1.0)
    y, stages = np.zeros(n), []
    for _ in range(steps):
        at, ks, points = y, [], []
        for factor in factors:
            at = y + factor * h * ks[-1] if ks else y
            points.append(at)
            ks.append(x * np.concatenate([[1.0], at[:-1]]))
        stages.append(points)
        y = y + h / 6.0 * (ks[0] + 2.0 * ks[1] + 2.0 * ks[2] + ks[3])
    d_y, d_x = np.zeros(n), np.zeros(n)
    d_y[-1] = 1.0
    for points in reversed(stages):
        d_start, d_at = d_y.copy(), np.zeros(n)
        for stage in (3, 2, 1, 0):
            after = factors[stage + 1] * h * d_at if stage < 3 else 0.0
            d_k = h / 6.0 * (1.0, 2.0, 2.0, 1.0)[stage] * d_y + after
            d_x += d_k * np.concatenate([[1.0], points[stage][:-1]])
            d_at = np.concatenate([(d_k * x)[1:], [0.0]])
            d_start += d_at
        d_y = d_start
    return d_x


def inputs(n, steps):
    return np.random.default_rng(0).random(n), steps


CASES = (
    Case(
        "ode",
        last,
        inputs,
        {"n10000_s10": (10_000, 10), "n1000_s100": (1000, 100), "small": (8, 3)},
        {
            "forward": forward(last, (0,)),
            "gradient": gradient(0, exactly(answer), goal=3.0),
        },
    ),
)
