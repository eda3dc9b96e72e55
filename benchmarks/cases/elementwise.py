"""Loops without a dependence: a sum of products with sines, and option prices."""

import math

import numpy as np
from numba import njit
from scipy.special import ndtr

from benchmarks.case import Case, forward, gradient
from benchmarks.check import exactly


def sin_product(x):
    total = 0.0
    for i in range(x.shape[0]):
        total += math.sin(x[i]) * x[i]
    return total


def sin_product_answer(x):
    return np.sum(np.sin(x) * x), np.cos(x) * x + np.sin(x)


@njit
def normal_cdf(x):
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


@njit
def black_scholes(spot, strike, years, volatility, rate):
    """The price of a portfolio of one European call of each kind."""
    total = 0.0
    for i in range(spot.shape[0]):
        spread = volatility[i] * math.sqrt(years[i])
        drift = (rate + 0.5 * volatility[i] * volatility[i]) * years[i]
        d1 = (math.log(spot[i] / strike[i]) + drift) / spread
        d2 = d1 - spread
        discounted = strike[i] * math.exp(-rate * years[i])
        total += spot[i] * normal_cdf(d1) - discounted * normal_cdf(d2)
    return total


def greeks(spot, strike, years, volatility, rate):
    """Delta, vega and the sum of the rhos, from a textbook."""
    root = np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / (volatility * root)
    density = np.exp(-0.5 * d1**2) / np.sqrt(2.0 * np.pi)
    rho = strike * years * np.exp(-rate * years) * ndtr(d1 - volatility * root)
    return ndtr(d1), spot * density * root, np.sum(rho)


def options(n):
    random = np.random.default_rng(0)
    spot, strike = 80.0 + 40.0 * random.random((2, n))
    return spot, strike, 0.1 + 2.0 * random.random(n), 0.1 + 0.4 * random.random(n), 0.03


CASES = (
    Case(
        "sin-product",
        sin_product,
        lambda n: (np.random.default_rng(0).standard_normal(n),),
        {"1e6": (1_000_000,), "small": (10,)},
        {
            "forward": forward(njit(sin_product), (0,)),
            "gradient": gradient(0, exactly(sin_product_answer), goal=1.8, value=True),
        },
    ),
    Case(
        "black-scholes",
        black_scholes,
        options,
        {"1e6": (1_000_000,), "small": (10,)},
        {
            "forward": forward(black_scholes, (0, 3, 4), h=1e-4),
            "gradient": gradient((0, 3, 4), exactly(greeks)),
        },
    ),
)
