"""Dropout, whose random numbers are a function of a counter, and embeddings.

The numbers are not kept for the reverse sweep but computed again, and are the same on every
machine: the n-th of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), whose seed is the mixed key
and step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from numbaflux import FAST
from numbaflux.nn.params import Param

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
UNIT = 2.0**-53


@njit(**FAST)
def dropout(x, rate, key, step, out: Any = None):
    """x / (1 - rate), but 0 with probability `rate`: Srivastava et al. 2014.

    The same (key, step) drops the same elements: give every layer a key of its own, an integer, and
    count the steps of the training. Where nothing is to be dropped do not call it. `out` may be x.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> y = nn.dropout(np.ones(10_000), 0.2, key=1, step=0)
    >>> bool(abs(np.mean(y == 0.0) - 0.2) < 0.01), bool(y.max() == 1.25)
    (True, True)
    """
    if out is None:
        out = np.empty_like(x)
    seed = seed_of(key, step)
    flat, into = x.reshape(x.size), out.reshape(x.size)
    for i in range(flat.size):
        factor = type(flat[i])(1.0 / (1.0 - rate))
        dropped = uniform(seed, i) < rate
        into[i] = flat[i] * (type(factor)(0.0) if dropped else factor)
    return out


@njit(**FAST)
def seed_of(key, step):
    """The seed of the numbers of a step."""
    return _mix(_mix(np.uint64(key) + GOLDEN) + np.uint64(step) * GOLDEN)


@njit(**FAST)
def uniform(seed, i):
    """The i-th number in [0, 1) of a seed."""
    bits = _mix(seed + (np.uint64(i) + np.uint64(1)) * GOLDEN)
    return np.float64(bits >> np.uint64(11)) * UNIT


@njit(**FAST)
def _mix(z):
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


def _normal(rng, shape, fan_in, fan_out):
    return rng.normal(size=shape)


def Embedding(count: int, size: int) -> dict[str, Param]:
    """The parameters of `embedding`: W (count, size), which begins as normal numbers."""
    return {"W": Param((count, size), _normal)}


@njit(**FAST)
def embedding(P, labels, out: Any = None):
    """out[k] = W[labels[k]]: labels (batch,) integers, out (batch, size).

    Raises IndexError for a label that W has no row for.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> net = nn.layout("Words", words=nn.Embedding(3, 2))
    >>> nn.embedding(net.unpack(np.arange(6.0)).words, np.array([2, 0]))
    array([[4., 5.],
           [0., 1.]])
    """
    count, size = P.W.shape
    if out is None:
        out = np.empty((labels.size, size), P.W.dtype)
    for k in range(labels.size):
        label = labels[k]
        if label < 0 or label >= count:
            raise IndexError("a label that the embedding has no row for")
        for j in range(size):
            out[k, j] = P.W[label, j]
    return out
