"""The exponential of a matrix by squaring: a Taylor polynomial of a scaled matrix, squared back."""

import numpy as np
from numba import njit
from scipy.linalg import expm, expm_frechet

from benchmarks.case import Case, forward, gradient
from benchmarks.check import exactly

ORDER, SQUARINGS = 12, 6


@njit
def half_square(a):
    """Half the sum of the squared elements of exp(a)."""
    scaled = a / 2.0**SQUARINGS
    power = np.eye(a.shape[0]) + scaled
    term = scaled.copy()
    for k in range(2, ORDER + 1):
        term = term @ scaled / k
        power = power + term
    for _ in range(SQUARINGS):
        power = power @ power
    return 0.5 * np.sum(power * power)


def answer(a):
    """The derivative of exp at the transpose, in the direction of exp(a)."""
    return expm_frechet(a.T, expm(a), compute_expm=False)


CASES = (
    Case(
        "expm",
        half_square,
        lambda n: (np.random.default_rng(0).standard_normal((n, n)) / np.sqrt(n),),
        {"64x64": (64,), "small": (4,)},
        {
            "forward": forward(half_square, (0,)),
            "gradient": gradient(0, exactly(answer)),
        },
    ),
)
