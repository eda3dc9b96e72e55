"""Bodies that attract each other: the energy after some steps, and its gradient by the adjoints.

Energy is conserved, so that its gradient after the steps with respect to what was before them is,
but for the error of the steps, that of the energy before: m v, and what pulls at the bodies.
"""

# pyright: reportCallIssue=false, reportArgumentType=false
# numba.cuda declares its functions as classes, for its own typing.

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import cuda, float64

import numbaflux as nf

BODIES, STEPS, DT = 48, 12, 0.005
BLOCK = 16  # threads, and bodies of a tile
SOFT = 0.05  # squared distance below which bodies do not pull harder


@cuda.jit
def accelerate(x, m, a):
    """a[i] = sum over j of m[j] (x[j] - x[i]) / |x[j] - x[i]|^3, one tile of bodies at a time."""
    tile = cuda.shared.array((BLOCK, 4), float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    n = x.shape[0]
    ax, ay, az = 0.0, 0.0, 0.0
    for first in range(0, n, BLOCK):
        j = first + t
        for k in range(3):
            tile[t, k] = x[j, k] if j < n else 0.0
        tile[t, 3] = m[j] if j < n else 0.0
        cuda.syncthreads()
        if i < n:
            for k in range(BLOCK):
                dx, dy, dz = tile[k, 0] - x[i, 0], tile[k, 1] - x[i, 1], tile[k, 2] - x[i, 2]
                square = dx * dx + dy * dy + dz * dz + SOFT
                pull = tile[k, 3] / (square * math.sqrt(square))
                ax += pull * dx
                ay += pull * dy
                az += pull * dz
        cuda.syncthreads()
    if i < n:
        a[i, 0], a[i, 1], a[i, 2] = ax, ay, az


@cuda.jit
def shift(u, v, dt):
    """u += dt v."""
    i = cuda.grid(1)
    if i < u.shape[0]:
        for k in range(3):
            u[i, k] += dt * v[i, k]


@cuda.jit
def energy(x, v, m, total):
    """total += m v^2 / 2 of all bodies, minus m m / |x - x| of all pairs."""
    i = cuda.grid(1)
    if i < m.size:
        here = 0.5 * (v[i, 0] ** 2 + v[i, 1] ** 2 + v[i, 2] ** 2)
        for j in range(m.size):
            if j != i:
                square = SOFT
                for k in range(3):
                    square += (x[i, k] - x[j, k]) ** 2
                here -= 0.5 * m[j] / math.sqrt(square)
        cuda.atomic.add(total, 0, m[i] * here)


ACCELERATE = nf.cuda.emulate(accelerate, check=False)  # a test watches all three
SHIFT = nf.cuda.emulate(shift, check=False)
ENERGY = nf.cuda.emulate(energy, check=False)


class Bodies(NamedTuple):
    """Where they are and how fast, (n, 3), and their masses."""

    x: np.ndarray
    v: np.ndarray
    m: np.ndarray

    @property
    def grid(self) -> tuple[int, int]:
        """A thread for each."""
        return (self.m.size + BLOCK - 1) // BLOCK, BLOCK


def cloud(n: int = BODIES) -> Bodies:
    """A cloud that turns."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((n, 3))
    v = 0.5 * np.cross([0.0, 0.0, 1.0], x) + 0.1 * rng.standard_normal((n, 3))
    return Bodies(x, v, (1.0 + rng.random(n)) / n)


def energy_of(bodies: Bodies) -> np.ndarray:
    """An array of one element."""
    total = np.zeros(1)
    ENERGY[bodies.grid](*bodies, total)
    return total


def simulate(bodies: Bodies, steps: int = STEPS) -> Bodies:
    """The bodies later, by leapfrog steps."""
    now = Bodies(np.zeros_like(bodies.x), np.zeros_like(bodies.v), bodies.m)
    nf.cuda.copy(now.x, bodies.x)
    nf.cuda.copy(now.v, bodies.v)
    a = np.zeros_like(now.x)
    for _ in range(steps):
        SHIFT[now.grid](now.x, now.v, DT / 2)
        ACCELERATE[now.grid](now.x, now.m, a)
        SHIFT[now.grid](now.v, a, DT)
        SHIFT[now.grid](now.x, now.v, DT / 2)
    return now


def energy_and_gradient(bodies: Bodies, steps: int = STEPS) -> tuple[float, Bodies]:
    """The energy after the steps, and its gradient with respect to the bodies before them."""
    with nf.cuda.Tape() as tape:
        total = energy_of(simulate(bodies, steps))
    gradients = tape.backward(total)
    return float(total[0]), Bodies(*(gradients[a] for a in bodies))
