"""Hares and lynxes: Lotka-Volterra, integrated by RK4 in a plain Numba loop.

Nothing here knows of derivatives: it is the code one writes to simulate.
"""

from __future__ import annotations

import csv
import math
from importlib import resources
from typing import NamedTuple

import numpy as np
from numba import njit

NAMES = ("alpha", "beta", "gamma", "delta", "hare(1900)", "lynx(1900)")
STEPS_PER_YEAR = 20


class Pelts(NamedTuple):
    """Pelts in thousands; `counts[year, 0]` are hares, `counts[year, 1]` lynxes."""

    years: np.ndarray
    counts: np.ndarray


def pelts() -> Pelts:
    """The Hudson's Bay Company's counts, 1900-1920."""
    text = resources.files("numbaflux").joinpath("data/lynx_hare.csv").read_text("utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    years = np.array([int(row["year"]) for row in rows])
    counts = np.array([[float(row["hare"]), float(row["lynx"])] for row in rows])
    return Pelts(years, counts)


@njit(cache=True)
def rates(theta, state, out):
    """out = d state / dt, for theta = (alpha, beta, gamma, delta, ...)."""
    hare, lynx = state[0], state[1]
    out[0] = (theta[0] - theta[1] * lynx) * hare
    out[1] = (theta[3] * hare - theta[2]) * lynx


@njit(cache=True)
def simulate(theta, trajectory, substeps):
    """Fill trajectory[year] = (hare, lynx), `substeps` RK4 steps a year, from theta[4:6]."""
    dt = 1.0 / substeps
    state = theta[4:6].copy()
    probe = np.empty(2)
    slope = np.empty((4, 2))
    trajectory[0] = state
    for year in range(1, trajectory.shape[0]):
        for _ in range(substeps):
            rates(theta, state, slope[0])
            for stage in range(1, 4):
                reach = dt if stage == 3 else 0.5 * dt
                for j in range(2):
                    probe[j] = state[j] + reach * slope[stage - 1, j]
                rates(theta, probe, slope[stage])
            for j in range(2):
                inner = slope[1, j] + slope[2, j]
                state[j] += dt / 6.0 * (slope[0, j] + 2.0 * inner + slope[3, j])
        trajectory[year] = state


@njit(cache=True)
def loss(log_theta, counts, substeps):
    """Half the sum of squared errors of the logarithms: multiplicative errors, as counts have.

    The parameters are positive and differ by three orders of magnitude, hence their logarithms.
    """
    theta = np.exp(log_theta)
    trajectory = np.empty(counts.shape)
    simulate(theta, trajectory, substeps)
    total = 0.0
    for year in range(counts.shape[0]):
        for species in range(counts.shape[1]):
            error = math.log(trajectory[year, species]) - math.log(counts[year, species])
            total += 0.5 * error * error
    return total


def trajectory(theta: np.ndarray, years: int, substeps: int = STEPS_PER_YEAR) -> np.ndarray:
    """The simulated populations, one row a year."""
    out = np.empty((years, 2))
    simulate(np.asarray(theta, dtype=float), out, substeps)
    return out
