"""Two solvers: Dormand and Prince's method with steps of its own choice, a tridiagonal system."""

import math

import numpy as np
from numba import njit
from scipy.integrate import solve_ivp
from scipy.linalg import solve_banded

from benchmarks.case import Case, forward, gradient
from benchmarks.check import differences, exactly


@njit
def slope(angle, speed, damping, drive, t):
    """A pendulum that is damped and pushed."""
    return speed, -math.sin(angle) - damping * speed + drive * math.cos(0.7 * t)


@njit
def pendulum(angle, speed, damping, drive, end, tolerance):
    """The squared angle at `end`; a step is repeated, smaller, if its error is too large."""
    t, h = 0.0, 0.01
    k1x, k1v = slope(angle, speed, damping, drive, t)
    while t < end:
        h = min(h, end - t)
        x, v = angle + h * k1x / 5, speed + h * k1v / 5
        k2x, k2v = slope(x, v, damping, drive, t + h / 5)
        x = angle + h * (3 / 40 * k1x + 9 / 40 * k2x)
        v = speed + h * (3 / 40 * k1v + 9 / 40 * k2v)
        k3x, k3v = slope(x, v, damping, drive, t + 3 * h / 10)
        x = angle + h * (44 / 45 * k1x - 56 / 15 * k2x + 32 / 9 * k3x)
        v = speed + h * (44 / 45 * k1v - 56 / 15 * k2v + 32 / 9 * k3v)
        k4x, k4v = slope(x, v, damping, drive, t + 4 * h / 5)
        x = angle + h * (
            19372 / 6561 * k1x - 25360 / 2187 * k2x + 64448 / 6561 * k3x - 212 / 729 * k4x
        )
        v = speed + h * (
            19372 / 6561 * k1v - 25360 / 2187 * k2v + 64448 / 6561 * k3v - 212 / 729 * k4v
        )
        k5x, k5v = slope(x, v, damping, drive, t + 8 * h / 9)
        x = angle + h * (
            9017 / 3168 * k1x
            - 355 / 33 * k2x
            + 46732 / 5247 * k3x
            + 49 / 176 * k4x
            - 5103 / 18656 * k5x
        )
        v = speed + h * (
            9017 / 3168 * k1v
            - 355 / 33 * k2v
            + 46732 / 5247 * k3v
            + 49 / 176 * k4v
            - 5103 / 18656 * k5v
        )
        k6x, k6v = slope(x, v, damping, drive, t + h)
        x = angle + h * (
            35 / 384 * k1x + 500 / 1113 * k3x + 125 / 192 * k4x - 2187 / 6784 * k5x + 11 / 84 * k6x
        )
        v = speed + h * (
            35 / 384 * k1v + 500 / 1113 * k3v + 125 / 192 * k4v - 2187 / 6784 * k5v + 11 / 84 * k6v
        )
        k7x, k7v = slope(x, v, damping, drive, t + h)
        ex = h * (
            71 / 57600 * k1x
            - 71 / 16695 * k3x
            + 71 / 1920 * k4x
            - 17253 / 339200 * k5x
            + 22 / 525 * k6x
            - k7x / 40
        )
        ev = h * (
            71 / 57600 * k1v
            - 71 / 16695 * k3v
            + 71 / 1920 * k4v
            - 17253 / 339200 * k5v
            + 22 / 525 * k6v
            - k7v / 40
        )
        error = math.sqrt(0.5 * (ex * ex + ev * ev)) / tolerance
        if error <= 1.0:
            t += h
            angle, speed, k1x, k1v = x, v, k7x, k7v
        h *= min(5.0, max(0.2, 0.9 * (error + 1e-10) ** -0.2))
    return angle * angle


def exact_pendulum(angle, speed, damping, drive, end, tolerance):
    """The same by another method, to almost all digits."""

    def right(t, state):
        x, v = state
        return v, -math.sin(x) - damping * v + drive * math.cos(0.7 * t)

    found = solve_ivp(right, (0.0, end), (angle, speed), "DOP853", rtol=1e-12, atol=1e-12)
    return found.y[0, -1] ** 2


@njit
def tridiagonal(below, diagonal, above, right):
    """Half the squared length of the solution, by Thomas's algorithm."""
    n = diagonal.shape[0]
    ratio, x = np.empty(n), np.empty(n)
    ratio[0] = above[0] / diagonal[0]
    x[0] = right[0] / diagonal[0]
    for i in range(1, n):
        pivot = diagonal[i] - below[i] * ratio[i - 1]
        ratio[i] = above[i] / pivot
        x[i] = (right[i] - below[i] * x[i - 1]) / pivot
    total = 0.5 * x[n - 1] * x[n - 1]
    for i in range(n - 2, -1, -1):
        x[i] -= ratio[i] * x[i + 1]
        total += 0.5 * x[i] * x[i]
    return total


def tridiagonal_answer(below, diagonal, above, right):
    """By the transposed system."""
    bands = np.zeros((3, len(right)))
    bands[0, 1:], bands[1], bands[2, :-1] = above[:-1], diagonal, below[1:]
    x = solve_banded((1, 1), bands, right)
    bands[0, 1:], bands[2, :-1] = below[1:], above[:-1]
    d_right = solve_banded((1, 1), bands, x)
    d_below, d_above = np.zeros_like(below), np.zeros_like(above)
    d_below[1:] = -d_right[1:] * x[:-1]
    d_above[:-1] = -d_right[:-1] * x[1:]
    return d_below, -d_right * x, d_above, d_right


def systems(n):
    random = np.random.default_rng(0)
    below, above, right = random.random((3, n))
    return below, 2.5 + random.random(n), above, right


PENDULUM = (0, 1, 2, 3)

CASES = (
    Case(
        "dormand-prince",
        pendulum,
        lambda end: (1.0, 0.0, 0.2, 0.1, end, 1e-8),
        {"t100": (100.0,), "small": (1.0,)},
        {
            # The program's derivative is that of the equation, up to its tolerance.
            "forward": forward(pendulum, PENDULUM, rtol=1e-4, reference=exact_pendulum),
            "gradient": gradient(PENDULUM, differences(exact_pendulum, PENDULUM, rtol=1e-4)),
        },
    ),
    Case(
        "tridiagonal",
        tridiagonal,
        systems,
        {"n100000": (100_000,), "small": (6,)},
        {
            "forward": forward(tridiagonal, (0, 1, 2, 3)),
            "gradient": gradient((0, 1, 2, 3), exactly(tridiagonal_answer)),
        },
    ),
)
