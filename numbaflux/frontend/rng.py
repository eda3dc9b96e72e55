"""Random numbers: the same draws as the user's function makes, scaled where it can be seen.

uniform(a, b), normal(mu, s) and exponential(s) are written as a standard draw, shifted and scaled:
that is how Numba computes them, and so their derivatives in a, b, mu and s are there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core import types

from numbaflux.frontend import arrays, indexing
from numbaflux.frontend.scalars import convert as number
from numbaflux.frontend.values import NONE, Call, TupleValue, Value, ir_type
from numbaflux.ir.build import const, full_slice, index
from numbaflux.ir.nodes import F64, I64, Array, Atom

if TYPE_CHECKING:
    from numbaflux.frontend.lower import Lowering

Scale = Callable[..., Atom]


def _standard(routine: str, scale: Scale, defaults: Sequence[float] = ()) -> Callable[..., Value]:
    """A draw: parameters with defaults first, then the size."""

    def handle(low: Lowering, call: Call) -> Value:
        b = low.b
        given = _positional(call)
        parameters = [
            number(b, given[i], F64) if i < len(given) else const(default)
            for i, default in enumerate(defaults)
        ]

        def draw() -> Atom:
            (z,) = b.extern(routine, types=[F64], name="draw")
            return scale(b, z, *parameters)

        return _filled(low, call, draw, given[len(defaults) :])

    return handle


def _positional(call: Call) -> list[Any]:
    order = [call.kwargs[k] for k in ("low", "high", "loc", "scale", "size") if k in call.kwargs]
    return [*call.args, *order]


def _filled(low: Lowering, call: Call, draw: Callable[[], Atom], size: Sequence[Any]) -> Value:
    """One draw, or an array of them in C order."""
    b = low.b
    type = ir_type(call.type, low.loc)
    if not isinstance(type, Array):
        return draw()
    lengths = [
        number(b, n, I64) for s in size for n in (s.items if isinstance(s, TupleValue) else (s,))
    ]
    out = b.alloc(lengths, type, zero=False, name=call.name)
    element = arrays.element_type(out)
    arrays.loops(b, lengths, lambda at: b.store(out, at, number(b, draw(), element)))
    return out


def _plain(b: Any, z: Atom) -> Atom:
    return z


def _uniform(b: Any, z: Atom, low: Atom, high: Atom) -> Atom:
    return b.add(low, b.mul(z, b.sub(high, low)))


def _normal(b: Any, z: Atom, mu: Atom, sigma: Atom) -> Atom:
    return b.add(mu, b.mul(sigma, z))


def _scaled(b: Any, z: Atom, scale: Atom) -> Atom:
    return b.mul(z, scale)


def _rate(b: Any, z: Atom, rate: Atom) -> Atom:
    return b.prim("div", z, rate)


def _integer(low: Lowering, call: Call, routine: str, last: int) -> Value:
    """An integer in [low, high + last)."""
    b = low.b
    given = _positional(call)
    bounded = (len(given) > 1 and not isinstance(call.type, types.Array)) or len(given) > 2
    bottom, top = (given[0], given[1]) if bounded else (index(0), given[0])
    bottom, top = number(b, bottom, I64), b.add(number(b, top, I64), index(last))

    def draw() -> Atom:
        return b.extern(routine, bottom, top, types=[I64], name="draw")[0]

    return _filled(low, call, draw, given[2:] if bounded else given[1:])


def _permutation(low: Lowering, call: Call) -> Value:
    b, x = low.b, call.args[0]
    if not arrays.is_array(x):
        n = number(b, x, I64)
        return b.extern("permutation", n, types=[Array(I64, 1)], name=call.name)[0]
    x = arrays.materialise(b, x)
    return _shuffled(low, x)


def _shuffle(low: Lowering, call: Call) -> Value:
    """In place; Numba's permutation(n) makes the same draws as its shuffle of n items."""
    x = call.args[0]
    arrays.assign(low.b, x, _shuffled(low, x))
    return NONE


def _shuffled(low: Lowering, x: Atom) -> Atom:
    b = low.b
    (order,) = b.extern("permutation", b.dim(x, 0), types=[Array(I64, 1)], name="order")
    rest = [full_slice()] * (arrays.rank(x) - 1)
    return indexing.get_items(b, x, [order, *rest], Array(arrays.element_type(x), arrays.rank(x)))


def _choice(low: Lowering, call: Call) -> Value | None:
    b, x = low.b, call.args[0]
    if len(call.args) + len(call.kwargs) > 1:
        return None
    n = b.dim(x, 0) if arrays.is_array(x) else number(b, x, I64)
    (k,) = b.extern("randint", index(0), n, types=[I64], name="draw")
    return b.load(x, [k], call.name) if arrays.is_array(x) else k


def _seed(routine: str) -> Callable[..., Value]:
    def handle(low: Lowering, call: Call) -> Value:
        low.b.extern(routine, number(low.b, call.args[0], I64), types=[])
        return NONE

    return handle


DRAWS: dict[Any, Callable[..., Value | None]] = {
    **dict.fromkeys(
        (np.random.random, np.random.random_sample, np.random.rand, np.random.sample,
         np.random.ranf),
        _standard("random", _plain),
    ),
    np.random.uniform: _standard("random", _uniform, (0.0, 1.0)),
    np.random.normal: _standard("standard_normal", _normal, (0.0, 1.0)),
    np.random.standard_normal: _standard("standard_normal", _plain),
    np.random.randn: _standard("standard_normal", _plain),
    np.random.exponential: _standard("standard_exponential", _scaled, (1.0,)),
    np.random.standard_exponential: _standard("standard_exponential", _plain),
    np.random.randint: lambda low, call: _integer(low, call, "randint", 0),
    np.random.permutation: _permutation,
    np.random.shuffle: _shuffle,
    np.random.choice: _choice,
    np.random.seed: _seed("seed"),
    random.random: _standard("py_random", _plain),
    random.uniform: _standard("py_random", _uniform, (0.0, 1.0)),
    random.gauss: _standard("py_normal", _normal, (0.0, 1.0)),
    random.normalvariate: _standard("py_normal", _normal, (0.0, 1.0)),
    random.expovariate: _standard("py_exponential", _rate, (1.0,)),
    random.randint: lambda low, call: _integer(low, call, "py_randrange", 1),
    random.randrange: lambda low, call: _integer(low, call, "py_randrange", 0),
    random.seed: _seed("py_seed"),
}  # fmt: skip
