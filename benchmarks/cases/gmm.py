"""GradBench's `gmm`: the log posterior of a mixture of Gaussians with a Wishart prior.

Component k has weight softmax(alpha)[k], mean mu[k] and precision Q' Q, where Q is lower
triangular with diagonal exp(q[k]) and, below it, lower[k] column by column.
"""

import math

import numpy as np
from numba import njit

from benchmarks.case import Case, forward, gradient
from benchmarks.check import differences

ARGNUMS = (0, 1, 2, 3)


@njit
def log_sum_exp(values):
    largest = values[0]
    for i in range(1, values.shape[0]):
        largest = max(largest, values[i])
    total = 0.0
    for i in range(values.shape[0]):
        total += math.exp(values[i] - largest)
    return largest + math.log(total)


@njit
def square_of_product(diagonal, below, centred, product):
    """|Q centred|^2; `product` is scratch."""
    d = centred.shape[0]
    for i in range(d):
        product[i] = diagonal[i] * centred[i]
    at = 0
    for column in range(d):
        for row in range(column + 1, d):
            product[row] += below[at] * centred[column]
            at += 1
    total = 0.0
    for i in range(d):
        total += product[i] * product[i]
    return total


@njit
def log_multigamma(a, d):
    total = 0.25 * d * (d - 1) * math.log(math.pi)
    for j in range(d):
        total += math.lgamma(a - 0.5 * j)
    return total


@njit
def log_prior(diagonals, sums, lower, gamma, m):
    """The logarithm of the Wishart density of all precisions."""
    components, d = diagonals.shape
    degrees = d + m + 1
    constant = degrees * d * (math.log(gamma) - 0.5 * math.log(2.0))
    total = components * (constant - log_multigamma(0.5 * degrees, d))
    for k in range(components):
        square = 0.0
        for i in range(d):
            square += diagonals[k, i] * diagonals[k, i]
        for i in range(lower.shape[1]):
            square += lower[k, i] * lower[k, i]
        total += m * sums[k] - 0.5 * gamma * gamma * square
    return total


@njit
def log_posterior(alpha, mu, q, lower, x, gamma, m):
    n, d = x.shape
    components = alpha.shape[0]
    diagonals = np.empty((components, d))
    sums = np.zeros(components)
    for k in range(components):
        for i in range(d):
            sums[k] += q[k, i]
            diagonals[k, i] = math.exp(q[k, i])
    centred, product, terms = np.empty(d), np.empty(d), np.empty(components)
    total = 0.0
    for point in range(n):
        for k in range(components):
            for i in range(d):
                centred[i] = x[point, i] - mu[k, i]
            square = square_of_product(diagonals[k], lower[k], centred, product)
            terms[k] = alpha[k] + sums[k] - 0.5 * square
        total += log_sum_exp(terms)
    total -= n * (0.5 * d * math.log(2.0 * math.pi) + log_sum_exp(alpha))
    return total + log_prior(diagonals, sums, lower, gamma, m)


def inputs(d, k, n):
    random = np.random.default_rng(0)
    x = random.standard_normal((n, d))
    alpha, mu = random.standard_normal(k), random.random((k, d))
    q, lower = random.standard_normal((k, d)), random.standard_normal((k, d * (d - 1) // 2))
    return alpha, mu, q, lower, x, 1.0, 0


CASES = (
    Case(
        "gmm",
        log_posterior,
        inputs,
        {
            "d10_k25": (10, 25, 1000),
            "d20_k50": (20, 50, 1000),
            "d64_k25": (64, 25, 1000),
            "small": (3, 4, 10),
        },
        {
            "forward": forward(log_posterior, ARGNUMS, h=1e-4),
            "gradient": gradient(ARGNUMS, differences(log_posterior, ARGNUMS, h=1e-4), goal=2.5),
        },
    ),
)
