"""Loops whose every trip needs the one before: the logistic map and the Lorenz equations."""

from numba import njit

from benchmarks.case import Case, forward, gradient
from benchmarks.check import differences, exactly

ONSET_OF_CHAOS = 3.5699456718695445
"""Here the derivative of an iterate neither vanishes nor overflows, however many there are."""


def logistic(x, r, n):
    for _ in range(n):
        x = r * x * (1.0 - x)
    return x


@njit
def logistic_by_hand(x, r, n):
    """The derivatives carried along."""
    d_x, d_r = 1.0, 0.0
    for _ in range(n):
        slope = r * (1.0 - 2.0 * x)
        d_x, d_r = slope * d_x, slope * d_r + x * (1.0 - x)
        x = r * x * (1.0 - x)
    return d_x, d_r


def logistic_slope(x, r, n):
    return logistic_by_hand(x, r, n)[0]


def lorenz(x, y, z, sigma, rho, beta, h, n):
    """Runge-Kutta's classical method; the sum of the coordinates at the end."""
    for _ in range(n):
        ax = sigma * (y - x)
        ay = x * (rho - z) - y
        az = x * y - beta * z
        px, py, pz = x + 0.5 * h * ax, y + 0.5 * h * ay, z + 0.5 * h * az
        bx = sigma * (py - px)
        by = px * (rho - pz) - py
        bz = px * py - beta * pz
        px, py, pz = x + 0.5 * h * bx, y + 0.5 * h * by, z + 0.5 * h * bz
        cx = sigma * (py - px)
        cy = px * (rho - pz) - py
        cz = px * py - beta * pz
        px, py, pz = x + h * cx, y + h * cy, z + h * cz
        dx = sigma * (py - px)
        dy = px * (rho - pz) - py
        dz = px * py - beta * pz
        x += h / 6.0 * (ax + 2.0 * bx + 2.0 * cx + dx)
        y += h / 6.0 * (ay + 2.0 * by + 2.0 * cy + dy)
        z += h / 6.0 * (az + 2.0 * bz + 2.0 * cz + dz)
    return x + y + z


def lorenz_inputs(n):
    """One unit of time, however many steps: derivatives stay far from overflow."""
    return 1.0, 1.0, 20.0, 10.0, 28.0, 8.0 / 3.0, 1.0 / n, n


fast_lorenz = njit(lorenz)

CASES = (
    Case(
        "logistic",
        logistic,
        lambda n: (0.3, ONSET_OF_CHAOS, n),
        {"1e6": (1_000_000,), "small": (100,)},
        {
            "forward": forward(njit(logistic), (0,), goal=1.7, answer=logistic_slope),
            "gradient": gradient((0, 1), exactly(logistic_by_hand, 1e-6), goal=2.2),
        },
    ),
    Case(
        "lorenz",
        lorenz,
        lorenz_inputs,
        {"1e5": (100_000,), "small": (100,)},
        {
            "forward": forward(fast_lorenz, (3,), goal=1.6),
            "gradient": gradient(
                (0, 1, 2, 3, 4, 5), differences(fast_lorenz, (0, 1, 2, 3, 4, 5)), goal=2.6
            ),
        },
    ),
)
