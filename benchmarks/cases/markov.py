"""The log-likelihood of a path of a Markov chain whose transition weights are free numbers."""

import math

import numpy as np
from numba import njit

from benchmarks.case import Case, forward, gradient
from benchmarks.check import exactly


@njit
def log_likelihood(weights, path):
    k = weights.shape[0]
    logarithms = np.empty((k, k))
    for i in range(k):
        total = 0.0
        for j in range(k):
            total += math.exp(weights[i, j])
        norm = math.log(total)
        for j in range(k):
            logarithms[i, j] = weights[i, j] - norm
    likelihood = 0.0
    for t in range(path.shape[0] - 1):
        likelihood += logarithms[path[t], path[t + 1]]
    return likelihood


def answer(weights, path):
    """Transitions seen, minus those expected."""
    seen = np.zeros_like(weights)
    np.add.at(seen, (path[:-1], path[1:]), 1.0)
    chances = np.exp(weights)
    chances /= chances.sum(axis=1, keepdims=True)
    return seen - seen.sum(axis=1, keepdims=True) * chances


def inputs(states, n):
    random = np.random.default_rng(0)
    return random.standard_normal((states, states)), random.integers(0, states, n)


CASES = (
    Case(
        "markov",
        log_likelihood,
        inputs,
        {"k16_1e6": (16, 1_000_000), "small": (3, 20)},
        {
            "forward": forward(log_likelihood, (0,)),
            "gradient": gradient(0, exactly(answer)),
        },
    ),
)
