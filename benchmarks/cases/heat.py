"""Heat on a square plate with cold edges: explicit Euler, two buffers swapped; half the energy."""

import numpy as np
from numba import njit

from benchmarks.case import Case, forward, gradient
from benchmarks.check import differences


@njit
def energy(u):
    total = 0.0
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            total += u[i, j] * u[i, j]
    return 0.5 * total


@njit
def linear(start, rate, steps):
    u, new = start.copy(), start.copy()
    n, m = u.shape
    for _ in range(steps):
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                around = u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1]
                new[i, j] = u[i, j] + rate * (around - 4.0 * u[i, j])
        u, new = new, u
    return energy(u)


@njit
def flow(a, b):
    """From b to a, with a conductivity that grows with the temperature."""
    return (1.0 + 0.5 * (a * a + b * b)) * (b - a)


@njit
def nonlinear(start, rate, steps):
    u, new = start.copy(), start.copy()
    n, m = u.shape
    for _ in range(steps):
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                here = u[i, j]
                change = flow(here, u[i - 1, j]) + flow(here, u[i + 1, j])
                change += flow(here, u[i, j - 1]) + flow(here, u[i, j + 1])
                new[i, j] = here + rate * change
        u, new = new, u
    return energy(u)


def inputs(n, steps):
    return np.random.default_rng(0).random((n, n)), 0.05, steps


SIZES = {"1000x1000": (1000, 10), "small": (8, 3)}
CASES = tuple(
    Case(
        name,
        f,
        inputs,
        SIZES,
        {
            "forward": forward(f, (0,)),
            "gradient": gradient(0, differences(f, (0,)), goal=goal),
        },
    )
    for name, f, goal in (("heat", linear, 2.0), ("heat-nonlinear", nonlinear, 4.0))
)
