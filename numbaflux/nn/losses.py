"""Losses: the mean over a batch, of predictions `y` and targets `t` in any shape they share.

The cross entropies take logits, which stays exact where a probability would be 0 or 1.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from numbaflux import FAST, vecmath


@njit(**FAST)
def _mean(of, y, t):
    """The mean of of(y, t) over the elements of two arrays."""
    y, t = y.reshape(y.size), t.reshape(t.size)
    total = type(y[0])(0.0)
    for i in range(y.size):
        total += of(y[i], t[i])
    return total / type(total)(y.size)


@njit(**FAST)
def mse(y, t):
    """mean((y - t)^2)

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> float(nn.mse(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """
    return _mean(_square, y, t)


@njit(**FAST)
def _square(y, t):
    return (y - t) ** 2


@njit(**FAST)
def mae(y, t):
    """mean(|y - t|)"""
    return _mean(_distance, y, t)


@njit(**FAST)
def _distance(y, t):
    return abs(y - t)


@njit(**FAST)
def huber(y, t, delta=1.0):
    """The mean of e^2 / 2, beyond |e| = delta of delta (|e| - delta / 2): Huber 1964."""
    y, t = y.reshape(y.size), t.reshape(t.size)
    total = type(y[0])(0.0)
    for i in range(y.size):
        e = abs(y[i] - t[i])
        small = min(e, type(e)(delta))
        total += small * (e - type(e)(0.5) * small)
    return total / type(total)(y.size)


@njit(**FAST)
def logsumexp(row):
    """log(sum(exp(row))), without overflow."""
    top = row[0]
    for j in range(1, row.size):
        top = max(top, row[j])
    total = type(top)(0.0)
    for j in range(row.size):
        total += vecmath.exp(row[j] - top)
    return top + math.log(total)


@njit(**FAST)
def logitcrossentropy(y, labels):
    """The mean of -log softmax(y)[label]: y (batch, classes) logits, labels (batch,) integers.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> round(float(nn.logitcrossentropy(np.zeros((3, 10)), np.array([0, 1, 2]))), 4)
    2.3026
    """
    total = type(y[0, 0])(0.0)
    for k in range(y.shape[0]):
        if not 0 <= labels[k] < y.shape[1]:
            raise IndexError("a label that is none of the classes")
        total += logsumexp(y[k]) - y[k, labels[k]]
    return total / type(total)(y.shape[0])


@njit(**FAST)
def softmax(y, out=None):
    """exp(y) / sum(exp(y)) along the last axis of (batch, classes)."""
    if out is None:
        out = np.empty_like(y)
    for k in range(y.shape[0]):
        top = logsumexp(y[k])
        for j in range(y.shape[1]):
            out[k, j] = vecmath.exp(y[k, j] - top)
    return out


@njit(**FAST)
def crossentropy(q, t):
    """The mean over the batch of -sum(t log q): q, t (batch, classes), probabilities."""
    total = type(q[0, 0])(0.0)
    for k in range(q.shape[0]):
        for j in range(q.shape[1]):
            if t[k, j] != 0.0:
                total -= t[k, j] * vecmath.log(q[k, j])
    return total / type(total)(q.shape[0])


@njit(**FAST)
def kldivergence(q, t):
    """The mean over the batch of sum(t log(t / q)): q, t (batch, classes), probabilities."""
    total = type(q[0, 0])(0.0)
    for k in range(q.shape[0]):
        for j in range(q.shape[1]):
            if t[k, j] != 0.0:
                total += t[k, j] * (vecmath.log(t[k, j]) - vecmath.log(q[k, j]))
    return total / type(total)(q.shape[0])


@njit(**FAST)
def logitbinarycrossentropy(y, t):
    """The mean of softplus(y) - t y: y logits, t in [0, 1]."""
    return _mean(_of_logit, y, t)


@njit(**FAST)
def _of_logit(y, t):
    return vecmath.softplus(y) - t * y


@njit(**FAST)
def binarycrossentropy(q, t):
    """The mean of -(t log q + (1 - t) log(1 - q)): q in (0, 1), t in [0, 1]."""
    return _mean(_of_probability, q, t)


@njit(**FAST)
def _of_probability(q, t):
    return -(t * vecmath.log(q) + (type(q)(1.0) - t) * vecmath.log1p(-q))


@njit(**FAST)
def poisson(y, t):
    """The mean of y - t log(y): y rates > 0, t counts, without log(t!)."""
    return _mean(_of_rate, y, t)


@njit(**FAST)
def _of_rate(y, t):
    return y - t * vecmath.log(y)
