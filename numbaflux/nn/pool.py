"""Pooling: maxima and means of windows of (channels, length, batch) and (channels, height, width,
batch), and `flatten`, on the way to a dense layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from numbaflux import FAST
from numbaflux.nn.conv import pair, places


@njit(**FAST)
def maxpool(x, size: Any, stride: Any = None, out: Any = None):
    """out[c, i, j, n] = the largest of x[c, i stride:, j stride:, n][:size, :size].

    `size` and `stride`, which is the size if left out, are one number, or (vertical, horizontal).
    What no window covers in full is left out. Of equal elements the first gets the derivative.

    Raises ValueError for a window larger than the image, and an `out` that does not fit.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> nn.maxpool(np.array([1.0, 3.0, 5.0, 2.0, 9.0]).reshape(1, 5, 1), 2).ravel()
    array([3., 5.])
    """
    return _pool(_largest, x, size, stride, out)


@njit(**FAST)
def meanpool(x, size: Any, stride: Any = None, out: Any = None):
    """The means of the windows that `maxpool` takes the largest of.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> nn.meanpool(np.array([1.0, 3.0, 5.0, 2.0, 9.0]).reshape(1, 5, 1), 2).ravel()
    array([2. , 3.5])
    """
    return _pool(_mean, x, size, stride, out)


@njit(**FAST)
def globalpool(x, out: Any = None):
    """out[c, n] = the mean of x[c, ..., n].

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> nn.globalpool(np.arange(8.0).reshape(2, 2, 2, 1))
    array([[1.5],
           [5.5]])
    """
    channels, batch = x.shape[0], x.shape[-1]
    if out is None:
        out = np.empty((channels, batch), x.dtype)
    if out.shape != (channels, batch):
        raise ValueError("out has not the shape of the result")
    if x.ndim == 3:
        _mean(x[:, None], (1, x.shape[1]), (1, 1), out[:, None, None])
    else:
        _mean(x, (x.shape[1], x.shape[2]), (1, 1), out[:, None, None])
    return out


@njit(**FAST)
def flatten(x, out: Any = None):
    """A sample a row, as `dense` has it: out (batch, features) of x (..., batch).

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> nn.flatten(np.arange(8.0).reshape(2, 2, 2))
    array([[0., 2., 4., 6.],
           [1., 3., 5., 7.]])
    """
    batch = x.shape[-1]
    columns = x.reshape((x.size // batch, batch))
    if out is None:
        out = np.empty((batch, columns.shape[0]), x.dtype)
    if out.shape != (batch, columns.shape[0]):
        raise ValueError("out has not the shape of the result")
    for n in range(batch):
        for j in range(columns.shape[0]):
            out[n, j] = columns[j, n]
    return out


@njit(**FAST)
def _pool(fill: Any, x, size, stride, out):
    if x.ndim == 3:
        step = size if stride is None else stride
        n = places(x.shape[1], size, step, 0)
        if out is None:
            out = np.empty((x.shape[0], n, x.shape[2]), x.dtype)
        if out.shape != (x.shape[0], n, x.shape[2]):
            raise ValueError("out has not the shape of the result")
        fill(x[:, None], (1, size), (1, step), out[:, None])
    else:
        sizes = pair(size)
        strides = sizes if stride is None else pair(stride)
        h = places(x.shape[1], sizes[0], strides[0], 0)
        w = places(x.shape[2], sizes[1], strides[1], 0)
        if out is None:
            out = np.empty((x.shape[0], h, w, x.shape[3]), x.dtype)
        if out.shape != (x.shape[0], h, w, x.shape[3]):
            raise ValueError("out has not the shape of the result")
        fill(x, sizes, strides, out)
    return out


@njit(**FAST)
def _largest(x, sizes, strides, out):
    for c in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                top, left = i * strides[0], j * strides[1]
                ys, xs = out[c, i, j], x[c, top, left]
                for k in range(ys.size):
                    ys[k] = xs[k]
                for u in range(sizes[0]):
                    for v in range(sizes[1]):
                        xs = x[c, top + u, left + v]
                        for k in range(ys.size):
                            ys[k] = max(ys[k], xs[k])


@njit(**FAST)
def _mean(x, sizes, strides, out):
    for c in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                ys, top, left = out[c, i, j], i * strides[0], j * strides[1]
                for k in range(ys.size):
                    ys[k] = 0.0
                for u in range(sizes[0]):
                    for v in range(sizes[1]):
                        xs = x[c, top + u, left + v]
                        for k in range(ys.size):
                            ys[k] += xs[k]
                for k in range(ys.size):
                    ys[k] /= type(ys[k])(sizes[0] * sizes[1])
