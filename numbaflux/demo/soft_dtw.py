"""Series that are alike but for their pace: soft dynamic time warping, and its gradient.

M. Cuturi, M. Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017: the cost
of the best alignment, with a minimum of temperature gamma.  A block of threads does one pair of
series, a thread one row of its table, the block one diagonal after the other.  The reverse, which
others write by hand, is what `nf.cuda` makes of the kernel.
"""

# pyright: reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# numba.cuda declares its functions as classes, for its own typing.

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda
from scipy.optimize import minimize

import numbaflux as nf

SERIES, LENGTH = 6, 24
THREADS = 32  # at least LENGTH
GAMMA = 0.05


@cuda.jit
def align(gamma, x, y, table, cost):
    """cost[pair] of x and y[pair]; table[pair, i, j] is that of their first i and j elements."""
    pair, i = cuda.blockIdx.x, cuda.threadIdx.x
    n, m = x.size, y.shape[1]
    for diagonal in range(n + m - 1):
        j = diagonal - i
        if i < n and 0 <= j < m:
            both, mine, theirs = table[pair, i, j], table[pair, i, j + 1], table[pair, i + 1, j]
            least = min(both, mine, theirs)
            total = math.exp((least - both) / gamma)
            total += math.exp((least - mine) / gamma)
            total += math.exp((least - theirs) / gamma)
            table[pair, i + 1, j + 1] = (x[i] - y[pair, j]) ** 2 + least - gamma * math.log(total)
        cuda.syncthreads()
    if i == 0:
        cost[pair] = table[pair, n, m]


ALIGN = nf.cuda.emulate(align, check=False)  # a test watches it


def bumps() -> np.ndarray:
    """A few series, each with one bump at a time of its own."""
    time = np.linspace(0.0, 1.0, LENGTH)
    centers = np.random.default_rng(2).uniform(0.3, 0.7, (SERIES, 1))
    return np.exp(-0.5 * ((time - centers) / 0.08) ** 2)


def costs(x: np.ndarray, y: np.ndarray, gamma: float = GAMMA) -> np.ndarray:
    """Soft-DTW of x and each row of y."""
    table = np.full((len(y), x.size + 1, y.shape[1] + 1), 1e30)
    table[:, 0, 0] = 0.0
    cost = np.zeros(len(y))
    ALIGN[len(y), THREADS](gamma, x, y, table, cost)
    return cost


def cost_and_gradient(
    x: np.ndarray, y: np.ndarray, gamma: float = GAMMA
) -> tuple[float, np.ndarray]:
    """The sum of the costs and its gradient with respect to x."""
    x = np.ascontiguousarray(x)
    with nf.cuda.Tape(constant=[y]) as tape:
        cost = costs(x, y, gamma)
    return float(cost.sum()), tape.backward(cost, 1.0)[x]


def by_hand(x: np.ndarray, y: np.ndarray, gamma: float = GAMMA) -> tuple[float, np.ndarray]:
    """Cost and gradient for one pair, by the recursions of the paper."""
    n, m = x.size, y.size
    d, r = (x[:, None] - y) ** 2, np.full((n + 2, m + 2), np.inf)
    r[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            before = np.array([r[i - 1, j - 1], r[i - 1, j], r[i, j - 1]])
            least = before.min()
            r[i, j] = d[i - 1, j - 1] + least
            r[i, j] -= gamma * np.log(np.exp((least - before) / gamma).sum())
    share = np.zeros((n + 2, m + 2))
    for i in range(n, 0, -1):
        for j in range(m, 0, -1):
            share[i, j] = float(i == n and j == m)
            for p, q in ((i + 1, j + 1), (i + 1, j), (i, j + 1)):
                if p <= n and q <= m:
                    here = np.exp((r[p, q] - d[p - 1, q - 1] - r[i, j]) / gamma)
                    share[i, j] += share[p, q] * here
    gradient = 2.0 * (share[1 : n + 1, 1 : m + 1] * (x[:, None] - y)).sum(axis=1)
    return float(r[n, m]), gradient


def mean(y: np.ndarray, gamma: float = GAMMA) -> Any:
    """The series nearest to all rows of y, from their ordinary mean: what `minimize` returns."""
    return minimize(
        cost_and_gradient, y.mean(axis=0), (y, gamma), jac=True, method="L-BFGS-B",
        options={"maxiter": 60},
    )  # fmt: skip
