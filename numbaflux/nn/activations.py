"""Activations: functions of one number, and `activate`, which applies one to an array.

All are written with `numbaflux.vecmath`, so a loop over an array runs over vectors.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from numbaflux import FAST, vecmath

GELU = math.sqrt(2.0 / math.pi)
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


@njit(**FAST)
def activate(f, x, out=None):
    """f of each element: out = f(x). `out` may be x itself.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> nn.activate(nn.relu, np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """
    if out is None:
        out = np.empty_like(x)
    if x.ndim == 2:  # in the form of the loop over the biases before it: they become one
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                out[i, j] = f(x[i, j])
    else:
        flat, into = x.reshape(x.size), out.reshape(x.size)
        for i in range(flat.size):
            into[i] = f(flat[i])
    return out


@njit(**FAST)
def identity(x):
    """x"""
    return x


@njit(**FAST)
def relu(x):
    """max(x, 0); its derivative at 0 is 0."""
    return max(type(x)(0.0), x)


@njit(**FAST)
def leakyrelu(x):
    """x, but 0.01 x below 0."""
    return max(type(x)(0.01) * x, x)


@njit(**FAST)
def elu(x):
    """x, but exp(x) - 1 below 0: Clevert et al., ICLR 2016."""
    zero = type(x)(0.0)
    return max(x, zero) + vecmath.expm1(min(x, zero))


@njit(**FAST)
def selu(x):
    """1.0507 x, but 1.0507 * 1.6733 (exp(x) - 1) below 0: Klambauer et al., NeurIPS 2017."""
    zero = type(x)(0.0)
    below = type(x)(SELU_ALPHA) * vecmath.expm1(min(x, zero))
    return type(x)(SELU_SCALE) * (max(x, zero) + below)


@njit(**FAST)
def gelu(x):
    """x Φ(x), by tanh: 0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x^3))), Hendrycks 2016."""
    inner = type(x)(GELU) * (x + type(x)(0.044715) * x * x * x)
    return type(x)(0.5) * x * (type(x)(1.0) + vecmath.tanh(inner))


@njit(**FAST)
def sigmoid(x):
    """1 / (1 + exp(-x))"""
    return vecmath.sigmoid(x)


@njit(**FAST)
def softplus(x):
    """log(1 + exp(x))"""
    return vecmath.softplus(x)


@njit(**FAST)
def swish(x):
    """x sigmoid(x): Ramachandran et al. 2017, also called silu."""
    return x * vecmath.sigmoid(x)


@njit(**FAST)
def mish(x):
    """x tanh(log(1 + exp(x))): Misra 2019."""
    return x * vecmath.tanh(vecmath.softplus(x))


@njit(**FAST)
def tanh(x):
    """tanh(x)"""
    return vecmath.tanh(x)
