"""What is measured: programs with their arguments, and the ADBench objectives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from benchmarks.adbench import ba, gmm, ht, lstm
from numbaflux.demo import lotka_volterra as lv


@dataclass(frozen=True)
class Case:
    """A function that leaves its arguments as they are, and which of them to differentiate."""

    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: tuple[int, ...] = (0,)


def polynomial(x):
    return 3.0 * x * x + 2.0 * x + 1.0


@njit
def polynomial_derivative(x):
    return 6.0 * x + 2.0


def newton(a):
    x = a
    for _ in range(20):
        x = 0.5 * (x + a / x)
    return x


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


def programs() -> tuple[Case, ...]:
    """Five loops, from a scalar to a simulation."""
    random = np.random.default_rng(0)
    matrix = random.random((24, 24)) + 24.0 * np.eye(24)
    places, speeds = random.standard_normal((2, 8, 2))
    counts = lv.pelts().counts
    rates = np.log(np.array([0.5, 0.025, 0.8, 0.025, 30.0, 4.0]))
    return (
        Case("newton", newton, (2.0,)),
        Case("stencil", stencil, (random.random(1000), 0.2, 100), (0, 1)),
        Case("elimination", elimination, (matrix, random.random(24)), (0, 1)),
        Case("bodies", bodies, (places, speeds, random.random(8), 50), (0, 1, 2)),
        Case("lotka_volterra", lv.loss.py_func, (rates, counts, lv.STEPS_PER_YEAR)),
    )


def adbench(size: str | None = None) -> tuple[Case, ...]:
    """The four objectives; those with several outputs as the square of their residual."""

    def squared(residual: Callable[..., Any], arity: int) -> Callable[..., Any]:
        @njit
        def total(out):
            s = 0.0
            for i in range(out.size):
                s += out[i] * out[i]
            return s

        if arity == 4:
            return njit(lambda a, b, c, d: total(residual(a, b, c, d)))
        return njit(lambda a, b, c, d, e: total(residual(a, b, c, d, e)))

    def args(module: Any, usual: str) -> tuple[Any, ...]:
        return module.inputs(size or usual)

    return (
        Case("adbench gmm", gmm.objective, args(gmm, "d10_k25_n1000"), gmm.ARGNUMS),
        Case("adbench ba", squared(ba.objective, 5), args(ba, "n49_m7776_p31843"), ba.ARGNUMS),
        Case("adbench lstm", lstm.objective, args(lstm, "l2_c1024"), lstm.ARGNUMS),
        Case("adbench ht", squared(ht.objective, 4), args(ht, "n1000_v544"), ht.ARGNUMS),
    )
