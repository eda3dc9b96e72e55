"""Gaussian mixture model: the log-likelihood of n points, K components with full covariances.

An inverse covariance is kept as its factor: `icf[k, :d]` are logarithms of the diagonal,
`icf[k, d:]` the strict lower triangle by columns. Inactive: the points and the Wishart prior.
"""

import math

import numpy as np
from numba import njit

ARGNUMS = (0, 1, 2)
SIZES = {
    "small": (3, 2, 6),
    "d2_k5_n1000": (2, 5, 1000),
    "d10_k25_n1000": (10, 25, 1000),
    "d20_k50_n1000": (20, 50, 1000),
    "d64_k50_n1000": (64, 50, 1000),
    "d10_k25_n10000": (10, 25, 10000),
}
"""(dimension d, components K, points n)."""


@njit
def log_sum_exp(values):
    largest = values[0]
    for i in range(1, values.shape[0]):
        largest = max(largest, values[i])
    total = 0.0
    for i in range(values.shape[0]):
        total += math.exp(values[i] - largest)
    return math.log(total) + largest


@njit
def square_norm_of_product(diagonal, lower, centred, product):
    """|Q centred|^2, Q lower triangular; `product` is scratch of the same length."""
    d = centred.shape[0]
    for i in range(d):
        product[i] = diagonal[i] * centred[i]
    at = 0
    for column in range(d):
        for row in range(column + 1, d):
            product[row] += lower[at] * centred[column]
            at += 1
    total = 0.0
    for i in range(d):
        total += product[i] * product[i]
    return total


@njit
def log_gamma_distribution(a, p):
    total = 0.25 * p * (p - 1) * math.log(math.pi)
    for j in range(1, p + 1):
        total += math.lgamma(a + 0.5 * (1 - j))
    return total


@njit
def log_wishart_prior(diagonals, sums, icf, gamma, m):
    components, d = diagonals.shape
    n = d + m + 1
    constant = n * d * (math.log(gamma) - 0.5 * math.log(2.0))
    constant -= log_gamma_distribution(0.5 * n, d)
    total = 0.0
    for k in range(components):
        norm = 0.0
        for i in range(d):
            norm += diagonals[k, i] * diagonals[k, i]
        for i in range(d, icf.shape[1]):
            norm += icf[k, i] * icf[k, i]
        total += 0.5 * gamma * gamma * norm - m * sums[k]
    return total - components * constant


@njit
def objective(alphas, means, icf, points, gamma, m):
    n, d = points.shape
    components = alphas.shape[0]
    diagonals = np.empty((components, d))
    sums = np.zeros(components)
    for k in range(components):
        for i in range(d):
            sums[k] += icf[k, i]
            diagonals[k, i] = math.exp(icf[k, i])

    centred = np.empty(d)
    product = np.empty(d)
    terms = np.empty(components)
    total = 0.0
    for point in range(n):
        for k in range(components):
            for i in range(d):
                centred[i] = points[point, i] - means[k, i]
            norm = square_norm_of_product(diagonals[k], icf[k, d:], centred, product)
            terms[k] = alphas[k] + sums[k] - 0.5 * norm
        total += log_sum_exp(terms)

    constant = -0.5 * n * d * math.log(2.0 * math.pi)
    prior = log_wishart_prior(diagonals, sums, icf, gamma, m)
    return constant + total - n * log_sum_exp(alphas) + prior


def inputs(size="small", seed=0):
    """(alphas, means, icf, points, gamma, m)."""
    d, components, n = SIZES[size]
    random = np.random.default_rng(seed)
    alphas = random.standard_normal(components)
    means = random.random((components, d))
    icf = random.standard_normal((components, d * (d + 1) // 2))
    return alphas, means, icf, random.standard_normal((n, d)), 1.0, 0
