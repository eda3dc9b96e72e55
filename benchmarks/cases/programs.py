"""Programs of the kind users bring: an iteration, an elimination, a simulation, a fit.

Their gradients are checked by differences of the programs themselves.
"""

import math

import numpy as np
from numba import njit

from benchmarks.case import Case, gradient
from benchmarks.check import differences
from numbaflux.demo import lotka_volterra as lv


@njit
def newton(a):
    x = a
    for _ in range(20):
        x = 0.5 * (x + a / x)
    return x


@njit
def stencil(u0, r, steps):
    """Nonlinear diffusion, two buffers swapped."""
    u, new = u0.copy(), u0.copy()
    for _ in range(steps):
        for i in range(1, u.size - 1):
            new[i] = u[i] + r * math.sin(u[i - 1] - 2.0 * u[i] + u[i + 1])
        u, new = new, u
    total = 0.0
    for i in range(u.size):
        total += u[i] * u[i]
    return total


@njit
def elimination(a0, b0):
    """Solve a x = b without pivoting; the sum of x."""
    a, b = a0.copy(), b0.copy()
    n = b.size
    for k in range(n):
        for i in range(k + 1, n):
            factor = a[i, k] / a[k, k]
            for j in range(k, n):
                a[i, j] -= factor * a[k, j]
            b[i] -= factor * b[k]
    total = 0.0
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            b[k] -= a[k, j] * b[j]
        b[k] /= a[k, k]
        total += b[k]
    return total


@njit
def bodies(x, v0, masses, steps):
    """Gravity, symplectic Euler; the distance of the first body from the last."""
    n = masses.size
    at, v = x.copy(), v0.copy()
    for _ in range(steps):
        for i in range(n):
            for j in range(n):
                if i != j:
                    dx, dy = at[j, 0] - at[i, 0], at[j, 1] - at[i, 1]
                    square = dx * dx + dy * dy + 0.01
                    pull = 0.01 * masses[j] / (square * math.sqrt(square))
                    v[i, 0] += pull * dx
                    v[i, 1] += pull * dy
        for i in range(n):
            at[i, 0] += 0.01 * v[i, 0]
            at[i, 1] += 0.01 * v[i, 1]
    return math.hypot(at[0, 0] - at[n - 1, 0], at[0, 1] - at[n - 1, 1])


def diffusion_inputs(n, steps):
    return np.random.default_rng(0).random(n), 0.2, steps


def elimination_inputs(n):
    random = np.random.default_rng(0)
    return random.random((n, n)) + n * np.eye(n), random.random(n)


def bodies_inputs(n, steps):
    random = np.random.default_rng(0)
    places, speeds = random.standard_normal((2, n, 2))
    return places, speeds, random.random(n), steps


def pelts(years):
    rates = np.log(np.array([0.5, 0.025, 0.8, 0.025, 30.0, 4.0]))
    return rates, lv.pelts().counts[:years].copy(), lv.STEPS_PER_YEAR


def case(name, f, inputs, sizes, argnums, **tolerances):
    """A case with a gradient only."""
    check = differences(f, argnums, **tolerances)
    chosen = argnums if len(argnums) > 1 else argnums[0]
    return Case(name, f, inputs, sizes, {"gradient": gradient(chosen, check)})


CASES = (
    case("newton", newton, lambda a: (a,), {"20": (2.0,), "small": (3.0,)}, (0,)),
    case("diffusion", stencil, diffusion_inputs, {"n1000": (1000, 100), "small": (10, 5)}, (0, 1)),
    case("elimination", elimination, elimination_inputs, {"n24": (24,), "small": (4,)}, (0, 1)),
    case("bodies", bodies, bodies_inputs, {"n8": (8, 50), "small": (3, 5)}, (0, 1, 2), h=1e-5),
    case("lotka-volterra", lv.loss, pelts, {"pelts": (100,), "small": (10,)}, (0,), h=1e-4),
)
