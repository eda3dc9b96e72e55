"""GradBench's `lse`: the logarithm of a sum of exponentials."""

import math

import numpy as np

from benchmarks.case import Case, forward, gradient
from benchmarks.check import exactly


def lse(x):
    largest = x[0]
    for i in range(1, x.shape[0]):
        largest = max(largest, x[i])
    total = 0.0
    for i in range(x.shape[0]):
        total += math.exp(x[i] - largest)
    return largest + math.log(total)


def answer(x):
    e = np.exp(x - x.max())
    return e / e.sum()


CASES = (
    Case(
        "lse",
        lse,
        lambda n: (np.random.default_rng(0).random(n),),
        {"n1280000": (1_280_000,), "n2500": (2500,), "small": (20,)},
        {
            "forward": forward(lse, (0,), rtol=1e-5),
            # The terms that cancel at the largest element leave their rounding there.
            "gradient": gradient(0, exactly(answer, 1e-6), goal=1.2),
        },
    ),
)
