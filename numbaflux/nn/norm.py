"""Layers that normalise: over the features of a sample, or over a batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from numbaflux import FAST
from numbaflux.nn.params import Param


def LayerNorm(size: int) -> dict[str, Param]:
    """The parameters of `layernorm`: scale and shift (size,), which begin as ones and zeros."""
    return {"scale": Param((size,), 1.0), "shift": Param((size,), 0.0)}


def BatchNorm(size: int) -> dict[str, Param]:
    """The parameters of `batchnorm`: scale and shift (size,), which begin as ones and zeros."""
    return LayerNorm(size)


def batchnorm_state(size: int, dtype: Any = np.float64) -> np.ndarray:
    """What `batchnorm` remembers from batch to batch: running means 0, and variances 1."""
    return np.repeat(np.array([[0.0], [1.0]], dtype), size, axis=1)


@njit(**FAST)
def layernorm(P, x, out: Any = None, eps=1e-5):
    """out = scale (x - mean) / sqrt(variance + eps) + shift, over the last axis: Ba et al. 2016.

    A row of equal elements, one that dropout has zeroed say, becomes `shift`; its slope there is
    large, scale / sqrt(eps), and not defined for eps = 0.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> net = nn.layout("Net", norm=nn.LayerNorm(2))
    >>> nn.layernorm(net.unpack(net.init()).norm, np.array([[1.0, 3.0]]), eps=0.0)
    array([[-1.,  1.]])
    """
    if out is None:
        out = np.empty_like(x)
    n = P.scale.shape[0]
    rows, into = x.reshape((x.size // n, n)), out.reshape((x.size // n, n))
    for k in range(rows.shape[0]):
        mean, variance = _moments(rows[k])
        factor = type(mean)(1.0) / math.sqrt(variance + type(mean)(eps))
        for j in range(n):
            into[k, j] = P.scale[j] * ((rows[k, j] - mean) * factor) + P.shift[j]
    return out


@njit(**FAST)
def batchnorm(P, x, state, training, out: Any = None, momentum=0.1, eps=1e-5):
    """`layernorm`'s formula for each feature over a batch: Ioffe and Szegedy, ICML 2015.

    x is (batch, features), or (features, ..., batch) with more dimensions, as `conv` has it. While
    training, `state` (`batchnorm_state`) moves by a part `momentum` to this batch's means and
    unbiased variances; otherwise it is what is normalised by.
    """
    if out is None:
        out = np.empty_like(x)
    if x.ndim == 2:
        columns, into = x.T, out.T
    else:
        n = x.shape[0]
        columns, into = x.reshape((n, x.size // n)), out.reshape((n, x.size // n))
    for j in range(columns.shape[0]):
        mean, variance = state[0, j], state[1, j]
        if training:
            mean, variance = _moments(columns[j])
            _remember(state, j, mean, variance, columns.shape[1], momentum)
        factor = P.scale[j] / math.sqrt(variance + type(mean)(eps))
        for k in range(columns.shape[1]):
            into[j, k] = (columns[j, k] - mean) * factor + P.shift[j]
    return out


@njit(**FAST)
def _moments(x):
    """Mean and variance."""
    total = type(x[0])(0.0)
    for i in range(x.size):
        total += x[i]
    mean = total / type(total)(x.size)
    square = type(total)(0.0)
    for i in range(x.size):
        square += (x[i] - mean) ** 2
    return mean, square / type(total)(x.size)


@njit(**FAST)
def _remember(state, j, mean, variance, count, momentum):
    part = type(mean)(momentum)
    unbiased = variance * (type(mean)(count) / type(mean)(max(count - 1, 1)))
    state[0, j] += part * (mean - state[0, j])
    state[1, j] += part * (unbiased - state[1, j])
