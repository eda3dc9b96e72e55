"""HIPS autograd: whole arrays in NumPy, its loops in Python."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import autograd.numpy as np
import numpy
from autograd import elementwise_grad, grad, hessian, value_and_grad
from autograd.scipy.special import logsumexp, multigammaln
from autograd.scipy.stats import norm

from benchmarks.cases.particles import SOFTENING


def reverse(f: Callable, *argnums: int) -> Callable[..., Any]:
    """`grad` gives the gradients in a tuple, if there are several."""
    derivative = grad(f, argnums if len(argnums) > 1 else argnums[0])
    return lambda *args: ((lambda: f(*args)), (lambda: derivative(*args)))


def whole(f: Callable, derivative: Callable) -> Callable[..., Any]:
    return lambda *args: ((lambda: f(*args)), (lambda: derivative(*args)))


def llsq(x, n):
    t = numpy.linspace(-1.0, 1.0, n)
    residual = numpy.sign(t) - numpy.vander(t, len(x), increasing=True) @ x
    return 0.5 * np.sum(residual**2)


def lse(x):
    largest = np.max(x)
    return largest + np.log(np.sum(np.exp(x - largest)))


def gmm(alpha, mu, q, lower, x, gamma, m):
    n, d = x.shape
    k = len(alpha)
    columns, rows = numpy.triu_indices(d, 1)
    scatter = numpy.zeros((lower.shape[1], d, d))
    scatter[numpy.arange(lower.shape[1]), rows, columns] = 1.0
    factors = np.einsum("kl,lij->kij", lower, scatter) + np.exp(q)[:, :, None] * numpy.eye(d)
    products = np.einsum("kij,nkj->nki", factors, x[:, None, :] - mu)
    terms = alpha + np.sum(q, axis=1) - 0.5 * np.sum(products**2, axis=2)
    likelihood = np.sum(logsumexp(terms, axis=1))
    likelihood = likelihood - n * (0.5 * d * numpy.log(2.0 * numpy.pi) + logsumexp(alpha))
    degrees = d + m + 1
    constant = degrees * d * (numpy.log(gamma) - 0.5 * numpy.log(2.0))
    constant -= multigammaln(0.5 * degrees, d)
    prior = k * constant - 0.5 * gamma**2 * np.sum(factors**2) + m * np.sum(q)
    return likelihood + prior


def lstm(main, extra, state, sequence):
    bits = sequence.shape[1]
    layers = main.reshape(-1, 2, 4, bits)
    states = [(hidden, cell) for hidden, cell in state.reshape(-1, 2, bits)]

    def sigmoid(x):
        return 1.0 / (1.0 + np.exp(-x))

    total = 0.0
    for character, following in pairwise(sequence):
        signal = character * extra[0]
        for i, (hidden, cell) in enumerate(states):
            weight, bias = layers[i][0], layers[i][1]
            forget = sigmoid(signal * weight[0] + bias[0])
            enter = sigmoid(hidden * weight[1] + bias[1])
            leave = sigmoid(signal * weight[2] + bias[2])
            cell = cell * forget + enter * np.tanh(hidden * weight[3] + bias[3])
            signal = leave * np.tanh(cell)
            states[i] = signal, cell
        prediction = signal * extra[1] + extra[2]
        log_norm = np.log(np.sum(np.exp(prediction)) + 2.0)
        total = total + np.sum(following * (prediction - log_norm))
    return -total / sequence[1:].size


def kmeans(points, centroids):
    squares = np.sum(points**2, 1)[None, :] + np.sum(centroids**2, 1)[:, None]
    return np.sum(np.min(squares - 2.0 * np.dot(centroids, points.T), axis=0))


def kmeans_direction(points, centroids):
    slope = grad(lambda c: kmeans(points, c))
    first = slope(centroids)
    return first / grad(lambda c: np.sum(slope(c)))(centroids)


def ode(x, steps):
    h = 2.0 / steps

    def slope(y):
        return x * np.concatenate([numpy.ones(1), y[:-1]])

    y = numpy.zeros(len(x))
    for _ in range(steps):
        k1 = slope(y)
        k2 = slope(y + 0.5 * h * k1)
        k3 = slope(y + 0.5 * h * k2)
        k4 = slope(y + h * k3)
        y = y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return y[-1]


def sin_product(x):
    return np.sum(np.sin(x) * x)


def black_scholes(spot, strike, years, volatility, rate):
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    discounted = strike * np.exp(-rate * years)
    return np.sum(spot * norm.cdf(d1) - discounted * norm.cdf(d1 - spread))


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def n_body(x, masses):
    square = np.sum((x[:, None, :] - x) ** 2, axis=2) + SOFTENING
    return -np.sum(np.triu(masses[:, None] * masses / np.sqrt(square), 1))


def markov(weights, path):
    logarithms = weights - logsumexp(weights, axis=1, keepdims=True)
    return np.sum(logarithms[path[:-1], path[1:]])


RIVALS = {
    ("llsq", "gradient"): reverse(llsq, 0),
    ("lse", "gradient"): reverse(lse, 0),
    ("gmm", "gradient"): reverse(gmm, 0, 1, 2, 3),
    ("lstm", "gradient"): reverse(lstm, 0, 1),
    ("kmeans", "direction"): whole(kmeans, kmeans_direction),
    ("ode", "gradient"): reverse(ode, 0),
    ("sin-product", "gradient"): whole(sin_product, value_and_grad(sin_product)),
    ("black-scholes", "gradient"): reverse(black_scholes, 0, 3, 4),
    ("rosenbrock", "gradient"): reverse(rosenbrock, 0),
    ("rosenbrock", "hessian"): whole(rosenbrock, hessian(rosenbrock)),
    ("n-body", "gradient"): reverse(n_body, 0),
    ("markov", "gradient"): reverse(markov, 0),
    ("call", "gradient"): whole(
        lambda x: 6.0 * x + 2.0, elementwise_grad(lambda x: 3.0 * x * x + 2.0 * x + 1.0)
    ),
}
