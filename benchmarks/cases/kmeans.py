"""GradBench's `kmeans`: Newton's direction for the cost of k centroids.

The Hessian is diagonal, so its product with a vector of ones is its diagonal; one forward run over
the gradient gives both.
"""

import math

import numpy as np
from numba import njit

import numbaflux as nf
from benchmarks.case import Case, Mode, beside, forward, gradient
from benchmarks.check import exactly


@njit
def cost(points, centroids):
    """The squared distances of all points from the nearest centroids."""
    total = 0.0
    for i in range(points.shape[0]):
        nearest = math.inf
        for j in range(centroids.shape[0]):
            distance = 0.0
            for k in range(points.shape[1]):
                difference = points[i, k] - centroids[j, k]
                distance += difference * difference
            nearest = min(nearest, distance)
        total += nearest
    return total


slope = nf.grad(cost, argnums=1)


@njit
def direction(points, centroids):
    """The gradient over the diagonal of the Hessian."""
    ones = np.empty(centroids.shape)
    for i in range(ones.shape[0]):
        for j in range(ones.shape[1]):
            ones[i, j] = 1.0
    first, second = nf.jvp(slope, (points, centroids), (None, ones))
    for i in range(first.shape[0]):
        for j in range(first.shape[1]):
            first[i, j] /= second[i, j]
    return first


def members(points, centroids):
    """How many points each centroid has, and their sum."""
    squares = ((points[:, None, :] - centroids) ** 2).sum(axis=2)
    nearest = np.eye(len(centroids))[squares.argmin(axis=1)]
    return nearest.sum(axis=0)[:, None], nearest.T @ points


def answer(points, centroids):
    """A centroid's distance from the mean of its points."""
    count, total = members(points, centroids)
    return centroids - total / count


def slope_by_hand(points, centroids):
    count, total = members(points, centroids)
    return 2.0 * (count * centroids - total)


def inputs(k, n, d):
    points = np.random.default_rng(0).random((n, d))
    return points, points[-k:].copy()


CASES = (
    Case(
        "kmeans",
        cost,
        inputs,
        {"k100_n10000_d8": (100, 10_000, 8), "k10_n1000_d8": (10, 1000, 8), "small": (3, 20, 2)},
        {
            "forward": forward(cost, (1,), h=1e-7, rtol=1e-5),
            "gradient": gradient(1, exactly(slope_by_hand)),
            "direction": Mode(beside(direction), exactly(answer), goal=2.0),
        },
    ),
)
