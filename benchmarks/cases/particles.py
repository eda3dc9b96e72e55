"""Particles: the energy of all pairs, and a step of a particle-in-cell plasma."""

import math

import numpy as np
from numba import njit

from benchmarks.case import Case, forward, gradient
from benchmarks.check import differences, exactly

SOFTENING = 0.01


@njit
def pair_energy(x, masses):
    """The gravitational energy of n bodies, softened at short distance."""
    total = 0.0
    for i in range(x.shape[0]):
        for j in range(i):
            dx = x[i, 0] - x[j, 0]
            dy = x[i, 1] - x[j, 1]
            dz = x[i, 2] - x[j, 2]
            square = dx * dx + dy * dy + dz * dz + SOFTENING
            total -= masses[i] * masses[j] / math.sqrt(square)
    return total


def pull(x, masses):
    """The gradient: minus the force on each body."""
    apart = x[:, None, :] - x
    square = (apart**2).sum(axis=2) + SOFTENING
    strength = masses[:, None] * masses * square**-1.5
    return (strength[:, :, None] * apart).sum(axis=1)


def bodies(n):
    random = np.random.default_rng(0)
    return random.standard_normal((n, 3)), random.random(n)


@njit
def plasma(x, v, cells, step):
    """One step of n electrons on a ring of `cells` cells; the kinetic energy after it.

    Each spreads its charge over three cells (quadratic splines) and feels the field of three.
    """
    n = x.shape[0]
    at = np.empty(n, np.int64)
    for p in range(n):
        at[p] = math.floor(x[p] + 0.5)
    density = np.full(cells, -n / cells)
    for p in range(n):
        near = x[p] - at[p]
        density[(at[p] - 1) % cells] += 0.5 * (0.5 - near) ** 2
        density[at[p] % cells] += 0.75 - near**2
        density[(at[p] + 1) % cells] += 0.5 * (0.5 + near) ** 2
    field = np.empty(cells)
    total = 0.0
    for i in range(cells):
        total += density[i]
        field[i] = total
    mean = 0.0
    for i in range(cells):
        mean += field[i] / cells
    energy = 0.0
    for p in range(n):
        near = x[p] - at[p]
        force = 0.5 * (0.5 - near) ** 2 * (field[(at[p] - 1) % cells] - mean)
        force += (0.75 - near**2) * (field[at[p] % cells] - mean)
        force += 0.5 * (0.5 + near) ** 2 * (field[(at[p] + 1) % cells] - mean)
        speed = v[p] + step * force
        energy += 0.5 * speed * speed
    return energy


def electrons(n, cells):
    random = np.random.default_rng(0)
    return cells * random.random(n), random.standard_normal(n), cells, 0.1


CASES = (
    Case(
        "n-body",
        pair_energy,
        bodies,
        {"n1000": (1000,), "small": (4,)},
        {
            "forward": forward(pair_energy, (0,), h=1e-4),
            "gradient": gradient(0, exactly(pull)),
        },
    ),
    Case(
        "particle-in-cell",
        plasma,
        electrons,
        {"1e5_c1024": (100_000, 1024), "small": (20, 6)},
        {
            "forward": forward(plasma, (0, 1), h=1e-4, rtol=1e-5),
            "gradient": gradient((0, 1), differences(plasma, (0, 1), h=1e-4, rtol=1e-5)),
        },
    ),
)
