"""Dense layers: the description of their parameters, and the function.

A layer is a function `layer(P, x, out=None)` of its parameters and an input; it fills `out`, or
makes it.  An input of one dimension is a single sample, one of two a batch with a sample a row;
`dense` takes more of them, contiguous, and has the features last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from numbaflux import FAST
from numbaflux.nn.params import Param


def Dense(inputs: int, outputs: int) -> dict[str, Param]:
    """The parameters of `dense`: W (inputs, outputs) and b (outputs,), which begins as zeros."""
    weights = Param((inputs, outputs), fans=(inputs, outputs))
    return {"W": weights, "b": Param((outputs,), 0.0)}


@njit(**FAST)
def dense(P, x, out: Any = None):
    """out = x @ W + b, for x of shape (inputs,), (batch, inputs) or (..., inputs).

    Raises ValueError if the last axis of an x of three axes or more is not the weights' first.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> net = nn.layout("Line", l=nn.Dense(1, 1))
    >>> P = net.unpack(np.array([2.0, 1.0]))
    >>> nn.dense(P.l, np.array([[3.0], [4.0]]))
    array([[7.],
           [9.]])
    """
    return affine(P.W, P.b, x, out)


@njit(**FAST)
def affine(W: Any, b, x, out: Any = None):
    """x @ W + b"""
    if out is None:
        out = np.empty(x.shape[:-1] + b.shape, x.dtype)
    if x.ndim == 1:
        _affine_one(W, b, x, out)
    elif x.ndim == 2:
        _affine_rows(W, b, x, out)
    else:
        inputs, outputs = W.shape
        if x.shape[-1] != inputs or out.shape != x.shape[:-1] + b.shape:
            raise ValueError("x is not (..., inputs), or out not (..., outputs)")
        rows = x.size // inputs
        _affine_rows(W, b, x.reshape((rows, inputs)), out.reshape((rows, outputs)))
    return out


@njit(**FAST)
def _affine_rows(W: Any, b, x, out):
    np.dot(x, W, out)
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[k, j] += b[j]


@njit(**FAST)
def _affine_one(W: Any, b, x, out):
    """The longer loop is the inner one: it runs over vectors."""
    inputs, outputs = W.shape
    if outputs < inputs:
        for j in range(outputs):
            s = b[j]
            for i in range(inputs):
                s += x[i] * W[i, j]
            out[j] = s
    else:
        for j in range(outputs):
            out[j] = b[j]
        for i in range(inputs):
            for j in range(outputs):
                out[j] += x[i] * W[i, j]
