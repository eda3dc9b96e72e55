"""The Lorenz equations for an ensemble, a thread each; their parameters, from where all end."""

# pyright: reportCallIssue=false, reportArgumentType=false
# numba.cuda declares its functions as classes, for its own typing.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda
from scipy.optimize import minimize

import numbaflux as nf

TRUTH = np.array([10.0, 28.0, 8.0 / 3.0])  # sigma, rho, beta
START = np.array([9.0, 27.0, 2.5])
MEMBERS, STEPS, DT = 64, 40, 0.01
BLOCK = 32


@cuda.jit
def integrate(theta, start, end, steps, dt):
    """end[:, member] from start[:, member] by Heun's method."""
    i = cuda.grid(1)
    if i < start.shape[1]:
        x, y, z = start[0, i], start[1, i], start[2, i]
        for _ in range(steps):
            fx = theta[0] * (y - x)
            fy = x * (theta[1] - z) - y
            fz = x * y - theta[2] * z
            px, py, pz = x + dt * fx, y + dt * fy, z + dt * fz
            x += 0.5 * dt * (fx + theta[0] * (py - px))
            y += 0.5 * dt * (fy + px * (theta[1] - pz) - py)
            z += 0.5 * dt * (fz + px * py - theta[2] * pz)
        end[0, i], end[1, i], end[2, i] = x, y, z


@cuda.jit
def misfit(end, seen, total):
    """total += half the mean over the members of the squared distance."""
    i = cuda.grid(1)
    if i < end.shape[1]:
        here = 0.0
        for k in range(3):
            here += (end[k, i] - seen[k, i]) ** 2
        cuda.atomic.add(total, 0, 0.5 * here / end.shape[1])


INTEGRATE = nf.cuda.emulate(integrate, check=False)
MISFIT = nf.cuda.emulate(misfit, check=False)
GRID = (MEMBERS + BLOCK - 1) // BLOCK, BLOCK


def ensemble() -> np.ndarray:
    """Where the members start."""
    around = np.array([[1.0], [1.0], [25.0]])
    return around + np.random.default_rng(0).standard_normal((3, MEMBERS))


def simulate(theta: np.ndarray, start: np.ndarray) -> np.ndarray:
    end = np.zeros_like(start)
    INTEGRATE[GRID](theta, start, end, STEPS, DT)
    return end


def loss(theta: np.ndarray, start: np.ndarray, seen: np.ndarray) -> float:
    total = np.zeros(1)
    MISFIT[GRID](simulate(theta, start), seen, total)
    return float(total[0])


def loss_and_gradient(
    theta: np.ndarray, start: np.ndarray, seen: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss and its gradients, with respect to the parameters and to where all start."""
    total = np.zeros(1)
    with nf.cuda.Tape(constant=[seen]) as tape:
        MISFIT[GRID](simulate(theta, start), seen, total)
    gradients = tape.backward(total)
    return float(total[0]), gradients[theta], gradients[start]


def fit(start: np.ndarray, seen: np.ndarray) -> Any:
    """The parameters by BFGS, from `START`: what SciPy's `minimize` returns."""
    return minimize(
        lambda theta: loss_and_gradient(theta, start, seen)[:2], START, jac=True, method="BFGS"
    )
