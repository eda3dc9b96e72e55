"""PyTorch: eager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.cases.particles import SOFTENING

torch.set_num_threads(1)

Function = Callable[..., Any]


def llsq(x, n):
    t = torch.linspace(-1.0, 1.0, n, dtype=torch.float64)
    powers = torch.vander(t, x.shape[0], increasing=True)
    return 0.5 * torch.sum((torch.sign(t) - powers @ x) ** 2)


def lse(x):
    largest = torch.max(x)
    return largest + torch.log(torch.sum(torch.exp(x - largest)))


def gmm(alpha, mu, q, lower, x, gamma, m):
    n, d = x.shape
    k = alpha.shape[0]
    columns, rows = np.triu_indices(d, 1)
    factors = torch.diag_embed(torch.exp(q))
    factors = factors.index_put(
        (torch.arange(k)[:, None], torch.as_tensor(rows), torch.as_tensor(columns)), lower
    )
    products = torch.einsum("kij,nkj->nki", factors, x[:, None, :] - mu)
    terms = alpha + q.sum(dim=1) - 0.5 * (products**2).sum(dim=2)
    likelihood = torch.logsumexp(terms, 1).sum()
    likelihood = likelihood - n * (0.5 * d * np.log(2.0 * np.pi) + torch.logsumexp(alpha, 0))
    degrees = d + m + 1
    constant = degrees * d * (np.log(gamma) - 0.5 * np.log(2.0))
    half = torch.tensor(0.5 * degrees, dtype=torch.float64)
    prior = k * (constant - torch.special.multigammaln(half, d)) + m * q.sum()
    return likelihood + prior - 0.5 * gamma**2 * (factors**2).sum()


def black_scholes(spot, strike, years, volatility, rate):
    spread = volatility * torch.sqrt(years)
    d1 = (torch.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    cdf = torch.special.ndtr
    return torch.sum(spot * cdf(d1) - strike * torch.exp(-rate * years) * cdf(d1 - spread))


def rosenbrock(x):
    return torch.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def n_body(x, masses):
    square = torch.sum((x[:, None, :] - x) ** 2, dim=2) + SOFTENING
    return -torch.sum(torch.triu(masses[:, None] * masses / torch.sqrt(square), 1))


def markov(weights, path):
    return torch.sum(torch.log_softmax(weights, 1)[path[:-1], path[1:]])


def sin_product(x):
    return torch.sum(torch.sin(x) * x)


FUNCTIONS: dict[str, tuple[Function, tuple[int, ...]]] = {
    "llsq": (llsq, (0,)),
    "lse": (lse, (0,)),
    "gmm": (gmm, (0, 1, 2, 3)),
    "black-scholes": (black_scholes, (0, 3, 4)),
    "rosenbrock": (rosenbrock, (0,)),
    "n-body": (n_body, (0,)),
    "markov": (markov, (0,)),
    "sin-product": (sin_product, (0,)),
}


def reverse(name: str, transform: Function = lambda f: f) -> Function:
    """`transform` of the function, and `backward` through it."""
    f, argnums = FUNCTIONS[name]

    def prepare(*args):
        placed = [
            torch.as_tensor(arg, dtype=torch.float64 if i in argnums else None)
            if isinstance(arg, np.ndarray) or i in argnums
            else arg
            for i, arg in enumerate(args)
        ]
        active = [placed[i].requires_grad_() for i in argnums]
        g = transform(f)

        def primal():
            with torch.no_grad():
                return g(*placed)

        def derivative():
            value = g(*placed)
            gradients = tuple(t.numpy() for t in torch.autograd.grad(value, active))
            chosen = gradients if len(argnums) > 1 else gradients[0]
            return (value.item(), chosen) if name == "sin-product" else chosen

        return primal, derivative

    return prepare


RIVALS = {(name, "gradient"): reverse(name) for name in FUNCTIONS}
