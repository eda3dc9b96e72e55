"""Sorting, searching and interpolation: integers decide which elements, the elements are loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbaflux.frontend.arrays import (
    ONE,
    ZERO,
    as_array,
    check,
    copied,
    differ,
    element,
    element_type,
    elementwise,
    is_array,
    loops,
    materialise,
    new,
    rank,
)
from numbaflux.frontend.calls import Call
from numbaflux.ir.build import Builder
from numbaflux.ir.nodes import F64, I64, Array, Atom, Type

# ---- sorting -----------------------------------------------------------------------------------


def order_of(b: Builder, a: Atom, stable: bool, type: Type) -> Atom:
    """The permutation that sorts a vector; of equal elements the first first if `stable`."""
    routine = "argsort" if stable else "argsort_quick"
    return b.extern(routine, a, types=[type], name="order")[0]


def argsort(b: Builder, call: Call, a: Any, kind: Any = "quicksort") -> Atom:
    return order_of(b, _vector(b, call, a), kind == "mergesort", call.array)


def _vector(b: Builder, call: Call, a: Any) -> Atom:
    x = materialise(b, as_array(b, a))
    if rank(x) != 1:
        raise call.unsupported(
            f"of {rank(x)} dimensions", "only vectors are sorted here", "loop over the rows"
        )
    return x


def gathered(b: Builder, a: Atom, order: Atom, type: Array, name: str) -> Atom:
    """The elements of a vector in the order of their indices."""
    out = new(b, [b.dim(a, 0)], type, name=name)
    loops(b, [b.dim(a, 0)], lambda at: b.store(out, at, b.load(a, [b.load(order, at)])))
    return out


def sort(b: Builder, call: Call, a: Any) -> Atom:
    """np.sort of a vector: a sorted copy."""
    x = _vector(b, call, a)
    return gathered(b, x, order_of(b, x, True, Array(I64, 1)), call.array, call.name)


def sort_in_place(b: Builder, call: Call, a: Atom) -> None:
    """a.sort()"""
    x = _vector(b, call, a)
    type = Array(element_type(x), 1)
    ordered = gathered(b, x, order_of(b, x, True, Array(I64, 1)), type, "sorted")
    elementwise(b, [ordered], type, copied, out=x)


# ---- searching ---------------------------------------------------------------------------------


def insertion(b: Builder, a: Atom, v: Atom, side: str) -> Atom:
    """How many elements of a sorted vector are less than v (side "left"), or not greater."""
    return b.extern(f"searchsorted_{side}", a, v, types=[I64], name="at")[0]


def searchsorted(b: Builder, call: Call, a: Any, v: Any, side: Any = "left") -> Atom:
    if side not in ("left", "right"):
        raise call.unsupported(
            "with a computed side", "the search depends on it", 'write side="left" or "right"'
        )
    x = _vector(b, call, a)
    if not is_array(v) and not isinstance(v, tuple):
        return b.cast(insertion(b, x, v, side), call.scalar)

    def scalar(b: Builder, v: Atom) -> Atom:
        return insertion(b, x, v, side)

    return elementwise(b, [as_array(b, v)], call.array, scalar, name=call.name)


# ---- interpolation -----------------------------------------------------------------------------


def interp(b: Builder, call: Call, x: Any, xp: Any, fp: Any) -> Atom:
    """np.interp: linear between the points (xp, fp), constant beyond the first and the last."""
    xs, fs = materialise(b, as_array(b, xp)), materialise(b, as_array(b, fp))
    n = b.dim(xs, 0)
    check(b, b.prim("eq", n, ZERO), ValueError, "array of sample points is empty")
    wrong = differ(b, n, b.dim(fs, 0))
    check(b, wrong, ValueError, "fp and xp are not of the same size.")
    last = b.sub(n, ONE)

    def scalar(b: Builder, v: Atom) -> Atom:
        return b.cast(_interpolated(b, b.cast(v, F64), xs, fs, last), call.scalar)

    if not is_array(x) and not isinstance(x, tuple):
        return scalar(b, x)
    return elementwise(b, [as_array(b, x)], call.array, scalar, name=call.name)


def _interpolated(b: Builder, x: Atom, xs: Atom, fs: Atom, last: Atom) -> Atom:
    """The value at x; nan stays nan."""
    j = b.sub(insertion(b, xs, x, "right"), ONE)
    inside = b.prim("and", b.prim("ge", j, ZERO), b.prim("lt", j, last))
    with b.arm() as within:
        after = b.add(j, ONE)
        x0, x1, f0, f1 = (
            element(b, a, [k], F64) for a, k in ((xs, j), (xs, after), (fs, j), (fs, after))
        )
        slope = b.prim("div", b.sub(f1, f0), b.sub(x1, x0))
        within.yields = [b.add(b.mul(slope, b.sub(x, x0)), f0)]
    with b.arm() as beyond:
        end = b.select(b.prim("lt", j, ZERO), ZERO, last)
        beyond.yields = [element(b, fs, [end], F64)]
    (value,) = b.if_(inside, within.block, beyond.block, ["y"])
    return b.select(b.prim("isnan", x), x, value)


FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.sort: sort,
    np.argsort: argsort,
    np.searchsorted: searchsorted,
    np.interp: interp,
}
METHODS: dict[str, Callable[..., Any]] = {"sort": sort_in_place, "argsort": argsort}
