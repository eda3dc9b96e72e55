"""Rosenbrock's valley in n dimensions: its gradient and its Hessian."""

import numpy as np
from numba import njit

import numbaflux as nf
from benchmarks.case import Case, Mode, forward, gradient
from benchmarks.check import exactly


def rosenbrock(x):
    total = 0.0
    for i in range(x.shape[0] - 1):
        a = x[i + 1] - x[i] * x[i]
        b = 1.0 - x[i]
        total += 100.0 * a * a + b * b
    return total


def slope(x):
    left, right = x[:-1], x[1:]
    out = np.zeros_like(x)
    out[:-1] = -400.0 * left * (right - left**2) - 2.0 * (1.0 - left)
    out[1:] += 200.0 * (right - left**2)
    return out


def curvature(x):
    left, right = x[:-1], x[1:]
    diagonal = np.zeros_like(x)
    diagonal[:-1] = 1200.0 * left**2 - 400.0 * right + 2.0
    diagonal[1:] += 200.0
    return np.diag(diagonal) + np.diag(-400.0 * left, 1) + np.diag(-400.0 * left, -1)


CASES = (
    Case(
        "rosenbrock",
        rosenbrock,
        lambda n: (np.random.default_rng(0).standard_normal(n),),
        {"n100": (100,), "small": (5,)},
        {
            "forward": forward(njit(rosenbrock), (0,)),
            "gradient": gradient(0, exactly(slope)),
            "hessian": Mode(nf.hessian, exactly(curvature)),
        },
    ),
)
