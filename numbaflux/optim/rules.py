"""The optimisers.  Each gives a compiled function

    update(p, g, state, step)

that changes parameters `p` and `state` in place by a gradient `g`; `step` counts from 0, and
`update.state(p)` is a new state: zeros (vectors, p.size).  Nothing is allocated, so that a whole
training loop compiles.  `lr` is a number, or a compiled function of the step (`optim.cosine`).

>>> import numpy as np
>>> from numbaflux import optim
>>> update = optim.sgd(lr=0.1)
>>> p = np.array([1.0])
>>> for step in range(100):
...     update(p, 2.0 * p, update.state(p), step)
>>> bool(abs(p[0]) < 1e-9)
True
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from numbaflux import FAST
from numbaflux.optim.schedules import constant

Rate = float | Callable[[int], float]
KEPT = {**FAST, "cache": True}  # a training loop links them: their code need not be made again


def sgd(lr: Rate = 0.01, momentum: float = 0.0, nesterov: bool = False) -> Any:
    """v = momentum v + g; p -= lr v, or lr (g + momentum v): Sutskever et al., ICML 2013."""
    rate = _rate(lr)
    if momentum == 0.0:

        def plain(p, g, state, step):
            _descend(p, g, rate(step))

        return _optimiser(plain, 0)

    def update(p, g, state, step):
        _descend_with_momentum(p, g, state[0], rate(step), momentum, nesterov)

    return _optimiser(update, 1)


@njit(**KEPT)
def _descend(p, g, a):
    for i in range(p.size):
        p[i] -= type(p[i])(a) * g[i]


@njit(**KEPT)
def _descend_with_momentum(p, g, v, a, momentum, nesterov):
    for i in range(p.size):
        m = type(p[i])(momentum)
        v[i] = m * v[i] + g[i]
        p[i] -= type(p[i])(a) * (g[i] + m * v[i] if nesterov else v[i])


def adam(lr: Rate = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Any:
    """m, v running means of g and g^2; p -= lr m' / (sqrt(v') + eps), m', v' without their bias
    towards 0: Kingma and Ba, ICLR 2015, algorithm 1.
    """
    return adamw(lr, b1, b2, eps, 0.0)


def adamw(
    lr: Rate = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, decay: float = 0.01
) -> Any:
    """`adam`, and p -= lr decay p apart from the gradient: Loshchilov and Hutter, ICLR 2019."""
    rate = _rate(lr)

    def update(p, g, state, step):
        _adamw(p, g, state[0], state[1], rate(step), step + 1, b1, b2, eps, decay)

    return _optimiser(update, 2)


@njit(**KEPT)
def _adamw(p, g, m, v, a, t, b1, b2, eps, decay):
    c, root = a / (1.0 - b1**t), math.sqrt(1.0 - b2**t)
    for i in range(p.size):
        number = type(p[i])
        m[i] = number(b1) * m[i] + number(1.0 - b1) * g[i]
        v[i] = number(b2) * v[i] + number(1.0 - b2) * g[i] * g[i]
        size = math.sqrt(v[i]) * number(1.0 / root) + number(eps)
        p[i] -= number(c) * m[i] / size + number(a * decay) * p[i]


def rmsprop(lr: Rate = 1e-3, rho: float = 0.9, eps: float = 1e-8) -> Any:
    """v = rho v + (1 - rho) g^2; p -= lr g / (sqrt(v) + eps): Tieleman and Hinton 2012."""
    rate = _rate(lr)

    def update(p, g, state, step):
        _rmsprop(p, g, state[0], rate(step), rho, eps)

    return _optimiser(update, 1)


@njit(**KEPT)
def _rmsprop(p, g, v, a, rho, eps):
    for i in range(p.size):
        number = type(p[i])
        v[i] = number(rho) * v[i] + number(1.0 - rho) * g[i] * g[i]
        p[i] -= number(a) * g[i] / (math.sqrt(v[i]) + number(eps))


def lion(lr: Rate = 1e-4, b1: float = 0.9, b2: float = 0.99, decay: float = 0.0) -> Any:
    """p -= lr (sign(b1 m + (1 - b1) g) + decay p); m = b2 m + (1 - b2) g: Chen et al. 2023."""
    rate = _rate(lr)

    def update(p, g, state, step):
        _lion(p, g, state[0], rate(step), b1, b2, decay)

    return _optimiser(update, 1)


@njit(**KEPT)
def _lion(p, g, m, a, b1, b2, decay):
    for i in range(p.size):
        number = type(p[i])
        way = np.sign(number(b1) * m[i] + number(1.0 - b1) * g[i])
        p[i] -= number(a) * (way + number(decay) * p[i])
        m[i] = number(b2) * m[i] + number(1.0 - b2) * g[i]


def _rate(lr: Rate) -> Any:
    return lr if callable(lr) else constant(float(lr))


def _optimiser(update: Any, vectors: int) -> Any:
    compiled: Any = njit(**FAST)(update)
    compiled.state = lambda p: np.zeros((vectors, len(p)), p.dtype)
    return compiled
