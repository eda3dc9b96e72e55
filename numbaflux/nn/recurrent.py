"""Recurrent cells: descriptions of their parameters, and functions that take one step.

A cell is a function `cell(P, x, h)`, `lstm(P, x, h, c)`, that overwrites its state by the next
one; a sequence is a loop.  An input of one dimension is a single sample, one of two a batch with a
sample a row, and so are the states.

>>> import numba, numpy as np
>>> from numbaflux import nn
>>> net = nn.layout("Net", cell=nn.LSTM(1, 4), out=nn.Dense(4, 1))
>>> @numba.njit(**nn.FAST)
... def model(p, xs):
...     P = net.unpack(p)
...     h, c = np.zeros(4), np.zeros(4)
...     for t in range(xs.shape[0]):
...         nn.lstm(P.cell, xs[t], h, c)
...     return nn.dense(P.out, h)
>>> model(net.init(), np.ones((10, 1))).shape
(1,)
"""

from __future__ import annotations

import numpy as np
from numba import njit

from numbaflux import FAST, vecmath
from numbaflux.nn.init import orthogonal
from numbaflux.nn.layers import affine
from numbaflux.nn.params import Param


def RNN(inputs: int, size: int) -> dict[str, Param]:
    """The parameters of `rnn`: W (inputs, size), U (size, size), b (size,)."""
    return _cell(inputs, size, 1)


def LSTM(inputs: int, size: int) -> dict[str, Param]:
    """The parameters of `lstm`: W (inputs, 4 size), U (size, 4 size), b (4 size,).

    A quarter of the columns each for the input gate, the forget gate, the candidate and the output
    gate; the bias of the forget gate begins as 1: Jozefowicz et al., ICML 2015.
    """
    b = np.repeat([0.0, 1.0, 0.0, 0.0], size)
    return {**_cell(inputs, size, 4), "b": Param((4 * size,), b)}


def GRU(inputs: int, size: int) -> dict[str, Param]:
    """The parameters of `gru`: W (inputs, 3 size), U (size, 3 size), b (3 size,).

    A third of the columns each for the reset gate, the update gate and the candidate.
    """
    return _cell(inputs, size, 3)


def _cell(inputs: int, size: int, gates: int) -> dict[str, Param]:
    """Each gate's weights begin as if it were alone."""

    def start(rng, shape, *fans):
        parts = [orthogonal(rng, (size, size), size, size) for _ in range(gates)]
        return np.concatenate(parts, axis=1)

    return {
        "W": Param((inputs, gates * size), fans=(inputs, size)),
        "U": Param((size, gates * size), start),
        "b": Param((gates * size,), 0.0),
    }


@njit(**FAST)
def rnn(P, x, h):
    """h = tanh(x @ W + h @ U + b): Elman 1990."""
    z, u = affine(P.W, P.b, x), _times(P.U, h)
    z, u, h = z.reshape(z.size), u.reshape(u.size), h.reshape(h.size)
    for j in range(h.size):
        h[j] = vecmath.tanh(z[j] + u[j])


@njit(**FAST)
def lstm(P, x, h, c):
    """(i, f, g, o) = x @ W + h @ U + b; c = σ(f) c + σ(i) tanh(g); h = σ(o) tanh(c).

    Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """
    z, u = affine(P.W, P.b, x), _times(P.U, h)
    if x.ndim == 1:
        _lstm_gates(z, u, h, c)
    else:
        for k in range(h.shape[0]):
            _lstm_gates(z[k], u[k], h[k], c[k])


@njit(**FAST)
def _lstm_gates(z, u, h, c):
    n = h.shape[0]
    for j in range(n):
        take = vecmath.sigmoid(z[j] + u[j])
        keep = vecmath.sigmoid(z[n + j] + u[n + j])
        new = vecmath.tanh(z[2 * n + j] + u[2 * n + j])
        give = vecmath.sigmoid(z[3 * n + j] + u[3 * n + j])
        cell = keep * c[j] + take * new
        c[j] = cell
        h[j] = give * vecmath.tanh(cell)


@njit(**FAST)
def gru(P, x, h):
    """h = u h + (1 - u) n, where n = tanh(x @ W_n + r (h @ U_n) + b_n) and r, u are the sigmoids of
    x @ W + h @ U + b: Cho et al. 2014, with the reset gate after the product.
    """
    z, u = affine(P.W, P.b, x), _times(P.U, h)
    if x.ndim == 1:
        _gru_gates(z, u, h)
    else:
        for k in range(h.shape[0]):
            _gru_gates(z[k], u[k], h[k])


@njit(**FAST)
def _gru_gates(z, u, h):
    n = h.shape[0]
    for j in range(n):
        reset = vecmath.sigmoid(z[j] + u[j])
        keep = vecmath.sigmoid(z[n + j] + u[n + j])
        new = vecmath.tanh(z[2 * n + j] + reset * u[2 * n + j])
        h[j] = keep * (h[j] - new) + new


@njit(**FAST)
def _times(U, h):
    """h @ U"""
    out = np.empty(h.shape[:-1] + U.shape[1:], h.dtype)
    if h.ndim == 1:
        for j in range(U.shape[1]):
            out[j] = 0.0
        for i in range(U.shape[0]):
            for j in range(U.shape[1]):
                out[j] += h[i] * U[i, j]
    else:
        np.dot(h, U, out)
    return out
