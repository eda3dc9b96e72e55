"""What is done to a flat gradient before a step."""

from __future__ import annotations

import math

from numba import njit

from numbaflux import FAST


@njit(**FAST)
def norm(g):
    """sqrt(sum(g^2))

    >>> import numpy as np
    >>> from numbaflux import optim
    >>> float(optim.norm(np.array([3.0, 4.0])))
    5.0
    """
    total = type(g[0])(0.0)
    for i in range(g.size):
        total += g[i] * g[i]
    return math.sqrt(total)


@njit(**FAST)
def clip(g, largest):
    """Scale g in place to a norm of at most `largest`; the norm before: Pascanu et al., ICML 2013.

    >>> import numpy as np
    >>> from numbaflux import optim
    >>> g = np.array([3.0, 4.0])
    >>> float(optim.clip(g, 1.0)), g
    (5.0, array([0.6, 0.8]))
    """
    before = norm(g)
    if before > largest:
        factor = type(before)(largest) / before
        for i in range(g.size):
            g[i] *= factor
    return before


@njit(**FAST)
def decay(g, p, rate):
    """g += rate p: the gradient of rate |p|^2 / 2 added to g."""
    for i in range(g.size):
        g[i] += type(p[i])(rate) * p[i]


@njit(**FAST)
def accumulate(total, g, weight=1.0):
    """total += weight g: the gradient of several batches in one."""
    for i in range(g.size):
        total[i] += type(g[i])(weight) * g[i]
