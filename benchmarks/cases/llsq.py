"""GradBench's `llsq`: the polynomial nearest to the sign function on [-1, 1]."""

import numpy as np

from benchmarks.case import Case, forward, gradient
from benchmarks.check import exactly


def llsq(x, n):
    total = 0.0
    for i in range(n):
        t = -1.0 + 2.0 * i / (n - 1)
        residual = 0.0
        if t > 0.0:
            residual = 1.0
        elif t < 0.0:
            residual = -1.0
        power = 1.0
        for j in range(x.shape[0]):
            residual -= x[j] * power
            power *= t
        total += residual * residual
    return 0.5 * total


def answer(x, n):
    """The gradient by the normal equations."""
    t = np.linspace(-1.0, 1.0, n)
    powers = np.vander(t, len(x), increasing=True)
    return -powers.T @ (np.sign(t) - powers @ x)


def inputs(n, m):
    return np.random.default_rng(0).random(m), n


CASES = (
    Case(
        "llsq",
        llsq,
        inputs,
        {"n2048_m128": (2048, 128), "n16392_m128": (16392, 128), "small": (16, 8)},
        {
            "forward": forward(llsq, (0,)),
            "gradient": gradient(0, exactly(answer), goal=1.6),
        },
    ),
)
