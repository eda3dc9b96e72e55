"""Convolutions in one and two dimensions, and their adjoints.

An array is (channels, length, batch) or (channels, height, width, batch): with the batch
innermost every loop runs over vectors, whatever the sizes of kernel, stride and image; with a
stride of 1 a whole row of an image is one of them.

>>> import numba, numpy as np
>>> from numbaflux import nn
>>> net = nn.layout("Net", c=nn.Conv(1, 8, (3, 3)), out=nn.Dense(8 * 4 * 4, 10))
>>> @numba.njit(**nn.FAST)
... def model(p, x):
...     P = net.unpack(p)
...     h = nn.activate(nn.relu, nn.conv(P.c, x, padding=1))
...     return nn.dense(P.out, nn.flatten(nn.maxpool(h, 2)))
>>> model(net.init(), np.ones((1, 8, 8, 32))).shape
(32, 10)
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numba import njit

from numbaflux import FAST
from numbaflux.nn.params import Param


def Conv(
    in_channels: int, out_channels: int, kernel: tuple[int, ...], groups: int = 1
) -> dict[str, Param]:
    """The parameters of `conv`: W (in_channels / groups, *kernel, out_channels), b (out_channels,).

    `kernel` is (length,) or (height, width). With groups, which divide both numbers of channels,
    the first outputs see the first inputs alone, and so on.
    """
    return _weights(in_channels, out_channels, kernel, groups, forward=True)


def ConvTranspose(
    in_channels: int, out_channels: int, kernel: tuple[int, ...], groups: int = 1
) -> dict[str, Param]:
    """The parameters of `convtranspose`: W (out_channels / groups, *kernel, in_channels), that of
    the `Conv` back from outputs to inputs, and b (out_channels,).
    """
    return _weights(in_channels, out_channels, kernel, groups, forward=False)


def _weights(
    inputs: int, outputs: int, kernel: tuple[int, ...], groups: int, forward: bool
) -> dict[str, Param]:
    if len(kernel) not in (1, 2):
        raise ValueError(f"a kernel has one or two dimensions, not {len(kernel)}")
    if inputs % groups or outputs % groups:
        raise ValueError(f"{groups} groups do not divide {inputs} and {outputs} channels")
    first, last = (inputs, outputs) if forward else (outputs, inputs)
    fans = (inputs // groups * prod(kernel), outputs // groups * prod(kernel))
    W = Param((first // groups, *kernel, last), fans=fans)
    return {"W": W, "b": Param((outputs,), 0.0)}


@njit(**FAST)
def conv(P, x, stride: Any = 1, padding: Any = 0, groups=1, out: Any = None):
    """out[o, i, j, n] = b[o] + Σ W[c, u, v, o] x[c, i stride + u - padding, j stride + v - ..., n].

    x (in_channels, height, width, batch) is taken to be zero outside; out has the height
    (height + 2 padding - kernel) // stride + 1, and such a width; for a kernel (length,) there are
    no j and v. `stride` and `padding` are one number, or (vertical, horizontal); `groups` is as in
    `Conv`. Nothing is flipped. `out` is contiguous, and not x; an x that is
    not contiguous is copied.

    Raises ValueError for channels or an `out` that do not fit, a kernel larger than the image, and
    a stride below 1.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> net = nn.layout("Differences", l=nn.Conv(1, 1, (2,)))
    >>> P = net.unpack(np.array([-1.0, 1.0, 0.0]))
    >>> nn.conv(P.l, np.array([1.0, 4.0, 9.0, 16.0]).reshape(1, 4, 1)).ravel()
    array([3., 5., 7.])
    """
    if x.ndim == 3:
        if out is None:
            n = places(x.shape[1], P.W.shape[1], stride, padding)
            out = np.empty((P.b.shape[0], n, x.shape[2]), x.dtype)
        image, into = _image(np.ascontiguousarray(x)), _image(out)
        _conv(P.W[:, None], P.b, image, (1, stride), (0, padding), groups, into)
    else:
        strides, paddings = pair(stride), pair(padding)
        if out is None:
            h = places(x.shape[1], P.W.shape[1], strides[0], paddings[0])
            w = places(x.shape[2], P.W.shape[2], strides[1], paddings[1])
            out = np.empty((P.b.shape[0], h, w, x.shape[3]), x.dtype)
        _conv(P.W, P.b, np.ascontiguousarray(x), strides, paddings, groups, out)
    return out


@njit(**FAST)
def convtranspose(P, x, stride: Any = 1, padding: Any = 0, groups=1, out: Any = None):
    """out[o, i stride + u - padding, j stride + v - ..., n] = b[o] + Σ W[o, u, v, c] x[c, i, j, n].

    The adjoint of the `conv` with these weights, which goes from out_channels to in_channels; out
    has the height (height - 1) stride + kernel - 2 padding, and such a width. The rest is as there.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> net = nn.layout("Repeat", l=nn.ConvTranspose(1, 1, (2,)))
    >>> P = net.unpack(np.array([1.0, 1.0, 0.0]))
    >>> nn.convtranspose(P.l, np.array([3.0, 5.0]).reshape(1, 2, 1), stride=2).ravel()
    array([3., 3., 5., 5.])
    """
    if x.ndim == 3:
        if out is None:
            n = _reach(x.shape[1], P.W.shape[1], stride, padding)
            out = np.empty((P.b.shape[0], n, x.shape[2]), x.dtype)
        image, into = _image(np.ascontiguousarray(x)), _image(out)
        _adjoint(P.W[:, None], P.b, image, (1, stride), (0, padding), groups, into)
    else:
        strides, paddings = pair(stride), pair(padding)
        if out is None:
            h = _reach(x.shape[1], P.W.shape[1], strides[0], paddings[0])
            w = _reach(x.shape[2], P.W.shape[2], strides[1], paddings[1])
            out = np.empty((P.b.shape[0], h, w, x.shape[3]), x.dtype)
        _adjoint(P.W, P.b, np.ascontiguousarray(x), strides, paddings, groups, out)
    return out


@njit(**FAST)
def _image(x):
    """An image of height 1."""
    return x.reshape((x.shape[0], 1, x.shape[1], x.shape[2]))


@njit(**FAST)
def pair(number: Any):
    """A number for both dimensions, or one for each."""
    if isinstance(number, int):
        return number, number
    else:
        return number


@njit(**FAST)
def places(size, kernel, stride, padding):
    """How many places a kernel has in a dimension."""
    room = size + 2 * padding - kernel
    if room < 0:
        raise ValueError("the kernel is larger than the image")
    if stride < 1 or kernel < 1:
        raise ValueError("a stride and a kernel are at least 1")
    return room // stride + 1


@njit(**FAST)
def _reach(size, kernel, stride, padding):
    """How far the kernels of all places reach: the smallest size with that many places."""
    if stride < 1:
        raise ValueError("a stride is at least 1")
    return (size - 1) * stride + kernel - 2 * padding


@njit(**FAST)
def _conv(W, b, x, strides, paddings, groups, out):
    """Rows of images are vectors: one weight after the other goes along a row."""
    depth, height, width, outputs = W.shape
    h = places(x.shape[1], height, strides[0], paddings[0])
    w = places(x.shape[2], width, strides[1], paddings[1])
    if x.shape[0] != depth * groups or outputs % groups != 0:
        raise ValueError("the channels of x are not those of the weights and groups")
    if out.shape != (outputs, h, w, x.shape[3]):
        raise ValueError("out has not the shape of the result")
    inputs, results, batch = _rows(x), _rows(out), x.shape[3]
    for o in range(outputs):
        c = o // (outputs // groups) * depth
        for i in range(h):
            top, ys = i * strides[0] - paddings[0], results[o, i]
            for k in range(ys.size):
                ys[k] = b[o]
            for d in range(depth):
                for u in range(max(0, -top), min(height, x.shape[1] - top)):
                    for v in range(width):
                        first, n = _inside(v, x.shape[2], w, strides[1], paddings[1])
                        left = first * strides[1] + v - paddings[1]
                        xs = inputs[c + d, top + u, left * batch :]
                        _add(W[d, u, v, o], xs, strides[1], ys[first * batch :], 1, n, batch)


@njit(**FAST)
def _adjoint(W, b, x, strides, paddings, groups, out):
    depth, height, width, inputs = W.shape
    h = _reach(x.shape[1], height, strides[0], paddings[0])
    w = _reach(x.shape[2], width, strides[1], paddings[1])
    if x.shape[0] != inputs or b.shape[0] != depth * groups or inputs % groups != 0:
        raise ValueError("the channels of x are not those of the weights and groups")
    if out.shape != (b.shape[0], h, w, x.shape[3]):
        raise ValueError("out has not the shape of the result")
    sources, results, batch = _rows(x), _rows(out), x.shape[3]
    for o in range(out.shape[0]):
        for i in range(h):
            ys = results[o, i]
            for k in range(ys.size):
                ys[k] = b[o]
    for c in range(inputs):
        o = c // (inputs // groups) * depth
        for i in range(x.shape[1]):
            top, xs = i * strides[0] - paddings[0], sources[c, i]
            for d in range(depth):
                for u in range(max(0, -top), min(height, h - top)):
                    for v in range(width):
                        first, n = _inside(v, w, x.shape[2], strides[1], paddings[1])
                        left = first * strides[1] + v - paddings[1]
                        ys = results[o + d, top + u, left * batch :]
                        _add(W[d, u, v, c], xs[first * batch :], 1, ys, strides[1], n, batch)


@njit(**FAST)
def _rows(x):
    """Each row of an image as a vector, the batch of a column after that of the last."""
    return x.reshape((x.shape[0], x.shape[1], x.shape[2] * x.shape[3]))


@njit(**FAST)
def _inside(v, size, kernels, stride, padding):
    """The first kernel in a row whose column v is on the image, and how many there are."""
    first = max(0, (padding - v + stride - 1) // stride)
    return first, max(0, min(kernels, (size - 1 + padding - v) // stride + 1) - first)


@njit(**FAST)
def _add(weight, xs, x_stride, ys, y_stride, n, batch):
    """ys += weight xs for n columns of a batch, each so many columns after the last."""
    together = x_stride == 1 and y_stride == 1
    runs, length = (1, n * batch) if together else (n, batch)
    for q in range(runs):
        x_run, y_run = xs[q * x_stride * batch :], ys[q * y_stride * batch :]
        for k in range(length):
            y_run[k] += weight * x_run[k]
