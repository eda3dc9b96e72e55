"""Derivatives written by hand in Numba, as somebody would who has the time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

import numbaflux as nf
from benchmarks import check
from benchmarks.cases import (
    elementwise,
    heat,
    kmeans,
    llsq,
    lse,
    markov,
    overhead,
    particles,
    recurrences,
    rosenbrock,
    solvers,
)


def derivative_of(primal: Any, derivative: Any) -> Callable[..., Any]:
    """Both called with the case's arguments."""
    primal = njit(getattr(primal, "py_func", primal))
    return lambda *args: ((lambda: primal(*args)), (lambda: derivative(*args)))


@njit
def logistic_gradient(x, r, n):
    """Only one product is on the chain that is carried."""
    tape = np.empty(n)
    for i in range(n):
        tape[i] = x
        x = r * x * (1.0 - x)
    d, d_r = 1.0, 0.0
    for i in range(n - 1, -1, -1):
        x = tape[i]
        d_r += d * (x * (1.0 - x))
        d = d * (r * (1.0 - 2.0 * x))
    return d, d_r


@njit
def logistic_tangent(x, r, n, d):
    for _ in range(n):
        d = d * (r * (1.0 - 2.0 * x))
        x = r * x * (1.0 - x)
    return x, d


def logistic_forward(x, r, n):
    primal = njit(recurrences.logistic)
    d = check.direction((x, r, n), (0,))[0]
    return (lambda: primal(x, r, n)), (lambda: nf.Dup(*logistic_tangent(x, r, n, d)))


@njit
def llsq_gradient(x, n):
    out = np.zeros_like(x)
    powers = np.empty_like(x)
    for i in range(n):
        t = -1.0 + 2.0 * i / (n - 1)
        residual = np.sign(t)
        power = 1.0
        for j in range(x.shape[0]):
            powers[j] = power
            residual -= x[j] * power
            power *= t
        for j in range(x.shape[0]):
            out[j] -= residual * powers[j]
    return out


@njit
def lse_gradient(x):
    largest = x[0]
    for i in range(1, x.shape[0]):
        largest = max(largest, x[i])
    out = np.empty_like(x)
    total = 0.0
    for i in range(x.shape[0]):
        out[i] = math.exp(x[i] - largest)
        total += out[i]
    scale = 1.0 / total
    for i in range(x.shape[0]):
        out[i] *= scale
    return out


@njit
def kmeans_direction(points, centroids):
    k, d = centroids.shape
    count, total = np.zeros(k), np.zeros((k, d))
    for i in range(points.shape[0]):
        nearest, which = math.inf, 0
        for j in range(k):
            distance = 0.0
            for c in range(d):
                difference = points[i, c] - centroids[j, c]
                distance += difference * difference
            if distance < nearest:
                nearest, which = distance, j
        count[which] += 1.0
        for c in range(d):
            total[which, c] += points[i, c]
    out = np.empty((k, d))
    for j in range(k):
        for c in range(d):
            out[j, c] = centroids[j, c] - total[j, c] / count[j]
    return out


@njit
def sin_product_gradient(x):
    out = np.empty_like(x)
    total = 0.0
    for i in range(x.shape[0]):
        sine = math.sin(x[i])
        total += sine * x[i]
        out[i] = math.cos(x[i]) * x[i] + sine
    return total, out


@njit
def heat_gradient(start, rate, steps):
    """The adjoint of a step gathers; what flows to the edges is added apart."""
    u, new = start.copy(), start.copy()
    n, m = u.shape
    for _ in range(steps):
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                around = u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1]
                new[i, j] = u[i, j] + rate * (around - 4.0 * u[i, j])
        u, new = new, u
    d = u
    edge = np.zeros((n, m))
    for i in range(n):
        for j in range(m):
            if i == 0 or j == 0 or i == n - 1 or j == m - 1:
                edge[i, j] = d[i, j]
                d[i, j] = 0.0
    for _ in range(steps):
        for j in range(1, m - 1):
            edge[0, j] += rate * d[1, j]
            edge[n - 1, j] += rate * d[n - 2, j]
        for i in range(1, n - 1):
            edge[i, 0] += rate * d[i, 1]
            edge[i, m - 1] += rate * d[i, m - 2]
        new[0, :] = 0.0
        new[n - 1, :] = 0.0
        new[:, 0] = 0.0
        new[:, m - 1] = 0.0
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                around = d[i - 1, j] + d[i + 1, j] + d[i, j - 1] + d[i, j + 1]
                new[i, j] = d[i, j] + rate * (around - 4.0 * d[i, j])
        d, new = new, d
    return d + edge


@njit
def rosenbrock_gradient(x):
    out = np.zeros_like(x)
    for i in range(x.shape[0] - 1):
        a = x[i + 1] - x[i] * x[i]
        out[i] -= 400.0 * a * x[i] + 2.0 * (1.0 - x[i])
        out[i + 1] += 200.0 * a
    return out


@njit
def rosenbrock_hessian(x):
    n = x.shape[0]
    out = np.zeros((n, n))
    for i in range(n - 1):
        out[i, i] += 1200.0 * x[i] * x[i] - 400.0 * x[i + 1] + 2.0
        out[i + 1, i + 1] += 200.0
        out[i, i + 1] = out[i + 1, i] = -400.0 * x[i]
    return out


@njit
def tridiagonal_gradient(below, diagonal, above, right):
    n = diagonal.shape[0]
    ratio, pivot, x = np.empty(n), np.empty(n), np.empty(n)
    pivot[0] = diagonal[0]
    x[0] = right[0] / pivot[0]
    for i in range(1, n):
        ratio[i - 1] = above[i - 1] / pivot[i - 1]
        pivot[i] = diagonal[i] - below[i] * ratio[i - 1]
        x[i] = (right[i] - below[i] * x[i - 1]) / pivot[i]
    for i in range(n - 2, -1, -1):
        x[i] -= ratio[i] * x[i + 1]
    y = np.empty(n)  # solves the transposed system: the same pivots, the factors swapped
    y[0] = x[0]
    for i in range(1, n):
        y[i] = x[i] - ratio[i - 1] * y[i - 1]
    y[n - 1] /= pivot[n - 1]
    for i in range(n - 2, -1, -1):
        y[i] = (y[i] - below[i + 1] * y[i + 1]) / pivot[i]
    d_below, d_diagonal, d_above = np.zeros(n), np.empty(n), np.zeros(n)
    for i in range(n):
        d_diagonal[i] = -y[i] * x[i]
    for i in range(n - 1):
        d_below[i + 1] = -y[i + 1] * x[i]
        d_above[i] = -y[i] * x[i + 1]
    return d_below, d_diagonal, d_above, y


@njit
def pair_energy_gradient(x, masses):
    out = np.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(i):
            dx = x[i, 0] - x[j, 0]
            dy = x[i, 1] - x[j, 1]
            dz = x[i, 2] - x[j, 2]
            square = dx * dx + dy * dy + dz * dz + particles.SOFTENING
            strength = masses[i] * masses[j] / (square * math.sqrt(square))
            out[i, 0] += strength * dx
            out[i, 1] += strength * dy
            out[i, 2] += strength * dz
            out[j, 0] -= strength * dx
            out[j, 1] -= strength * dy
            out[j, 2] -= strength * dz
    return out


@njit
def markov_gradient(weights, path):
    k = weights.shape[0]
    out = np.zeros((k, k))
    for t in range(path.shape[0] - 1):
        out[path[t], path[t + 1]] += 1.0
    for i in range(k):
        seen, norm = 0.0, 0.0
        for j in range(k):
            seen += out[i, j]
            norm += math.exp(weights[i, j])
        for j in range(k):
            out[i, j] -= seen * math.exp(weights[i, j]) / norm
    return out


RIVALS = {
    ("logistic", "gradient"): derivative_of(recurrences.logistic, logistic_gradient),
    ("logistic", "forward"): logistic_forward,
    ("llsq", "gradient"): derivative_of(llsq.llsq, llsq_gradient),
    ("lse", "gradient"): derivative_of(lse.lse, lse_gradient),
    ("kmeans", "direction"): derivative_of(kmeans.cost, kmeans_direction),
    ("sin-product", "gradient"): derivative_of(elementwise.sin_product, sin_product_gradient),
    ("heat", "gradient"): derivative_of(heat.linear, heat_gradient),
    ("rosenbrock", "gradient"): derivative_of(rosenbrock.rosenbrock, rosenbrock_gradient),
    ("rosenbrock", "hessian"): derivative_of(rosenbrock.rosenbrock, rosenbrock_hessian),
    ("tridiagonal", "gradient"): derivative_of(solvers.tridiagonal, tridiagonal_gradient),
    ("n-body", "gradient"): derivative_of(particles.pair_energy, pair_energy_gradient),
    ("markov", "gradient"): derivative_of(markov.log_likelihood, markov_gradient),
    ("call", "gradient"): derivative_of(overhead.by_hand, njit(overhead.by_hand)),
}
