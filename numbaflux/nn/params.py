"""Parameters: one flat vector, a layout of it, and how each part begins.

A layer's description, `nn.Dense(2, 16)`, is a dict of `Param`s: `{"W": ..., "b": ...}`.  Write
such a dict for a layer of your own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numbaflux import Layout
from numbaflux.nn.init import Initialiser, glorot


@dataclass(frozen=True)
class Param:
    """An array of parameters: its shape, and what it begins as.

    `start` is a number, an array, a function (rng, shape, fan_in, fan_out), or None: that which
    `net.init` is called with. `fans`: how many inputs and outputs one weight sees.
    """

    shape: tuple[int, ...]
    start: Initialiser | np.ndarray | float | None = None
    fans: tuple[int, int] = (1, 1)

    def values(self, rng: np.random.Generator, weights: Initialiser) -> Any:
        start = weights if self.start is None else self.start
        return start(rng, self.shape, *self.fans) if callable(start) else start


Layer = Param | Mapping[str, "Layer"]


def param(shape: tuple[int, ...] = (), start: Any = 0.0) -> Param:
    """Parameters of your own, say physical ones, in the same vector.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> net = nn.layout("Pendulum", length=nn.param(start=1.5), f=nn.Dense(2, 1))
    >>> net.init(np.random.default_rng(0))[0]
    np.float64(1.5)
    """
    return Param(tuple(shape), start)


@dataclass(frozen=True)
class Net(Layout):
    """A `numbaflux.Layout` that knows how its parameters begin."""

    params: tuple[Param, ...] = field(default=(), compare=False, repr=False)

    def init(
        self,
        rng: np.random.Generator | int = 0,
        weights: Initialiser = glorot,
        dtype: Any = np.float64,
    ) -> np.ndarray:
        """A vector of initial parameters: weights by the initialiser, the rest as described.

        >>> from numbaflux import nn
        >>> nn.layout("Net", l1=nn.Dense(2, 16)).init(0, nn.kaiming).shape
        (48,)
        """
        rng = np.random.default_rng(rng)
        p = np.empty(self.size, dtype)
        for (_, start, shape), one in zip(self.leaves(), self.params):
            p[start:][: int(np.prod(shape))] = np.ravel(
                np.broadcast_to(one.values(rng, weights), shape)
            )
        return p

    def where(self, *names: str) -> np.ndarray:
        """A mask of the parameters in the named parts: to freeze, decay or look at some.

        >>> from numbaflux import nn
        >>> net = nn.layout("Net", l1=nn.Dense(2, 3), l2=nn.Dense(3, 1))
        >>> int(net.where("l1").sum()), int(net.where("l1.W", "l2.W").sum())
        (9, 9)
        """
        mask = np.zeros(self.size, bool)
        for wanted in names:
            inside = [x for x in self.leaves() if f"{x[0]}.".startswith(f"{wanted}.")]
            if not inside:
                raise KeyError(f"{self.name} has no part {wanted!r}")
            for _, start, shape in inside:
                mask[start:][: int(np.prod(shape))] = True
        return mask


def layout(name: str, **layers: Layer) -> Net:
    """The layout of a model from descriptions of its layers, in this order.

    `net.init(rng)` gives a vector, `net.unpack(p)`, in compiled code too, names its parts.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> net = nn.layout("Net", l1=nn.Dense(2, 16), l2=nn.Dense(16, 1))
    >>> P = net.unpack(net.init())
    >>> net.size, P.l1.W.shape
    (65, (2, 16))
    """
    shapes = Layout.of(name, **{key: _shapes(layer) for key, layer in layers.items()})
    return Net(name, shapes.fields, tuple(p for layer in layers.values() for p in _params(layer)))


def _shapes(layer: Layer) -> Any:
    if isinstance(layer, Param):
        return layer.shape
    return {name: _shapes(part) for name, part in layer.items()}


def _params(layer: Layer) -> Iterator[Param]:
    if isinstance(layer, Param):
        yield layer
    else:
        for part in layer.values():
            yield from _params(part)
