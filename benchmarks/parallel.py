"""`python -m benchmarks.parallel [CASE...] [--small]`: what gradients gain from a second thread.

Four programs of `prange` loops: sums over a table, swapped grids, all pairs of bodies, an array
that is written and one that every iteration reads.  The clock is the one on the wall, so it wants
two idle cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import njit, prange

import numbaflux as nf

RUNS = 15


@njit(parallel=True)
def monte_carlo(x, w):
    total = 0.0
    for i in prange(len(x)):
        v = x[i]
        for k in range(20):
            v = np.sin(v) * w[k % 4] + x[i]
        total += v
    return total


@njit(parallel=True)
def stencil(u, r, steps):
    u, v = u.copy(), u.copy()
    n, m = u.shape
    for _ in range(steps):
        for i in prange(1, n - 1):
            for j in range(1, m - 1):
                around = u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1]
                v[i, j] = u[i, j] + r * (around - 4 * u[i, j]) * u[i, j]
        u, v = v, u
    total = 0.0
    for i in prange(n):
        for j in range(m):
            total += u[i, j] ** 2
    return total


@njit(parallel=True)
def bodies(x):
    energy = 0.0
    for i in prange(len(x)):
        for j in range(len(x)):
            if i != j:
                a, b, c = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
                energy -= 0.5 / np.sqrt(a * a + b * b + c * c + 1e-3)
    return energy


@njit(parallel=True)
def written(x, w, y):
    for i in prange(len(x)):
        y[i] = np.exp(-x[i]) * w[0] + np.sin(x[i])
    total = 0.0
    for i in prange(len(x)):
        total += y[i] * y[i]
    return total


@dataclass(frozen=True)
class Case:
    """A program, what it is differentiated by, and its arguments from a size."""

    f: Any
    argnums: tuple[int, ...]
    args: Callable[[int], tuple[Any, ...]]
    sizes: tuple[int, int]  # small, full


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape)


CASES = {
    "monte-carlo": Case(monte_carlo, (0, 1), lambda n: (_random(n), _random(4)), (500, 200_000)),
    "stencil": Case(stencil, (0,), lambda n: (_random(n, n), 0.1, 10), (40, 1000)),
    "bodies": Case(bodies, (0,), lambda n: (_random(n, 3),), (50, 1500)),
    "written": Case(
        written, (0, 1), lambda n: (_random(n), _random(4), np.zeros(n)), (500, 2_000_000)
    ),
}


def check(case: Case, gradient: Any, args: tuple[Any, ...], step: float = 1e-6) -> None:
    """The gradient against a difference of the same function without threads."""
    serial = njit(case.f.py_func)
    found = gradient(*args)
    ways = [np.cos(np.arange(args[n].size)).reshape(args[n].shape) for n in case.argnums]

    def at(h: float) -> float:
        moved = list(args)
        for n, way in zip(case.argnums, ways):
            moved[n] = args[n] + h * way
        return serial(*moved)

    expected = (at(step) - at(-step)) / (2 * step)
    slope = sum(np.sum(g * way) for g, way in zip(found, ways))
    size = sum(np.sum(np.abs(g * way)) for g, way in zip(found, ways))
    if not abs(slope - expected) <= 1e-6 * size:
        raise AssertionError(f"{case.f.__name__}: {slope} is not {expected}")


def seconds(f: Any, args: tuple[Any, ...]) -> float:
    """Of one call, the fastest of several, as the clock on the wall has it."""
    times = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        f(*args)
        times.append(time.perf_counter() - begin)
    return min(times)


def measured(case: Case, size: int) -> str:
    """A row of the table, once the values are right on one thread and on two."""
    gradient, args = nf.grad(case.f, argnums=case.argnums), case.args(size)
    times = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        check(case, gradient, args)
        times.append((seconds(case.f, args), seconds(gradient, args)))
    (primal, slope), (primal_2, slope_2) = times
    gains = f"{primal / primal_2:8.2f} {slope / slope_2:8.2f}"
    return f"{gains} {slope / primal:14.2f} {slope_2 / primal_2:14.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parallel", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--small", action="store_true", help="to see that it runs")
    options = parser.parse_args()
    nf.keep_memory()
    print(f"{'gain of 2 threads':18}   primal gradient  ratio: 1 thread    2 threads")
    for name in options.cases or CASES:
        print(
            f"{name:18} {measured(CASES[name], CASES[name].sizes[not options.small])}", flush=True
        )


if __name__ == "__main__":
    main()
