"""`Chain`: layers one after the other, for models that are no more than that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from numbaflux import FAST
from numbaflux.nn.activations import activate
from numbaflux.nn.params import Layer, Net, layout


def Chain(*layers: tuple[Layer, Callable[..., Any]] | Callable[..., Any]) -> tuple[Net, Any]:
    """The layout of `layers` and their composition `model(p, x)`, a plain compiled function.

    A layer is a pair (description, function), or a function of one number, an activation.  Parts
    are called l1, l2, ... in the order of the pairs.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> net, model = nn.Chain((nn.Dense(2, 16), nn.dense), nn.tanh, (nn.Dense(16, 1), nn.dense))
    >>> [name for name, _, _ in net.leaves()]
    ['l1.W', 'l1.b', 'l2.W', 'l2.b']
    >>> model(net.init(0), np.ones((5, 2))).shape
    (5, 1)
    """
    pairs = [layer for layer in layers if isinstance(layer, tuple)]
    net = layout("Chain", **{f"l{k}": about for k, (about, _) in enumerate(pairs, 1)})
    model, parts = _nothing, iter(net.fields)
    for layer in layers:
        if isinstance(layer, tuple):
            name, part = next(parts)
            model = _layer(model, layer[1], part, net.starts[name])
        else:
            model = _activation(model, layer)
    return net, model


@njit(**FAST)
def _nothing(p, x):
    return x


def _layer(before: Any, function: Any, part: Any, start: int) -> Any:
    stop = start + part.size

    @njit(**FAST)
    def model(p, x):
        return function(part.unpack(p[start:stop]), before(p, x))

    return model


def _activation(before: Any, function: Any) -> Any:
    @njit(**FAST)
    def model(p, x):
        return activate(function, before(p, x))

    return model
