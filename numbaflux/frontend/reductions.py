"""Reductions as loops.

Each takes an array or a Lazy, and an axis or None for all elements.  A reduction over an axis is
the same reduction over each fibre along it; only a sum, which can add in any order, runs over the
memory in its own order instead.

note [Extremes]  The least element is found by its index, then loaded: so its derivative is one
load's, and the comparisons need none.  A tie goes to the first; nan wins over every number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbaflux.frontend.arrays import (
    ZERO,
    Operand,
    any_of,
    as_array,
    check,
    element,
    element_type,
    elementwise,
    fibre,
    lazy_elementwise,
    loops,
    materialise,
    memory_order,
    new,
    rank,
    shape,
    size,
    truth,
)
from numbaflux.frontend.calls import Call, axis_of
from numbaflux.ir.build import Builder, const
from numbaflux.ir.nodes import BOOL, F32, F64, Array, Atom, Scalar, Type

Whole = Callable[[Builder, Operand, Scalar], Atom]


def reduced(b: Builder, x: Operand, type: Type, axis: int | None, whole: Whole) -> Atom:
    """`whole` of all elements, or of each fibre along `axis` (0 or more)."""
    if not isinstance(type, Array):
        assert isinstance(type, Scalar)
        return whole(b, x, type)
    assert axis is not None
    scalar = element_type_of(type)
    lengths = shape(b, x)
    out = new(b, lengths[:axis] + lengths[axis + 1 :], type)
    rest = lengths[:axis] + lengths[axis + 1 :]
    loops(b, rest, lambda at: b.store(out, at, whole(b, fibre(b, x, axis, at), scalar)))
    return out


def element_type_of(type: Array) -> Scalar:
    assert isinstance(type.element, Scalar)
    return type.element


def folded(
    b: Builder, x: Operand, init: Atom, step: Callable[[Builder, Atom, Atom], Atom], name: str
) -> Atom:
    """step(... step(step(init, x0), x1) ..., xn)."""

    def body(at: list[Atom], acc: Atom) -> tuple[Atom]:
        return (step(b, acc, element(b, x, at)),)

    order = memory_order(x.type)
    return loops(b, shape(b, x), body, [init], [name], order)[0]


# ---- sums --------------------------------------------------------------------------------------


def sum_of(b: Builder, x: Operand, type: Type, axis: int | None = None) -> Atom:
    """The sum, accumulated in the element type of the result."""
    if not isinstance(type, Array) or axis == rank(x) - 1:
        return reduced(b, x, type, axis, total)
    assert axis is not None
    scalar = element_type_of(type)
    lengths = shape(b, x)
    out = new(b, lengths[:axis] + lengths[axis + 1 :], type, zero=True, name="s")

    def body(at: list[Atom]) -> None:
        b.accumulate(out, at[:axis] + at[axis + 1 :], element(b, x, at, scalar))

    loops(b, lengths, body)
    return out


def total(b: Builder, x: Operand, type: Scalar) -> Atom:
    return folded(b, x, const(0, type), lambda b, s, v: b.add(s, b.cast(v, type)), "s")


def mean_of(b: Builder, x: Operand, type: Type, axis: int | None = None) -> Atom:
    """sum / number: nan of an empty array."""
    s = sum_of(b, x, type, axis)
    n = size(b, x) if axis is None else shape(b, x)[axis]
    if isinstance(type, Array):
        return elementwise(b, [s], type, lambda b, v: _quotient(b, v, n), out=s)
    return _quotient(b, s, n)


def _quotient(b: Builder, s: Atom, n: Atom) -> Atom:
    """s / n divided in double precision, as Numba divides by an integer."""
    return b.cast(b.prim("div", b.cast(s, F64), b.cast(n, F64)), s.type)


def product_of(b: Builder, x: Operand, type: Type, axis: int | None = None) -> Atom:
    def whole(b: Builder, x: Operand, type: Scalar) -> Atom:
        return folded(b, x, const(1, type), lambda b, p, v: b.mul(p, b.cast(v, type)), "p")

    return reduced(b, x, type, axis, whole)


def variance_of(b: Builder, x: Operand, type: Type, axis: int | None = None) -> Atom:
    """The mean of (x - mean)**2: differences in the precision of x, their sum in that of `type`."""
    x = materialise(b, x)
    narrow = F32 if element_type(x) == F32 else F64

    def whole(b: Builder, x: Operand, type: Scalar) -> Atom:
        mean = mean_of(b, x, narrow)

        def step(b: Builder, s: Atom, v: Atom) -> Atom:
            d = b.sub(b.cast(v, narrow), mean)
            return b.add(s, b.cast(b.mul(d, d), type))

        return _quotient(b, folded(b, x, const(0, type), step, "s"), size(b, x))

    return reduced(b, x, type, axis, whole)


def deviation_of(b: Builder, x: Operand, type: Type, axis: int | None = None) -> Atom:
    """The square root of the variance."""
    v = variance_of(b, x, type, axis)
    if isinstance(type, Array):
        return elementwise(b, [v], type, lambda b, v: b.prim("sqrt", v), out=v)
    return b.prim("sqrt", v)


# ---- extremes ----------------------------------------------------------------------------------


def extreme_index(b: Builder, x: Operand, op: str, named: str) -> tuple[Atom, ...]:
    """Where the first least (op "lt") or greatest ("gt") element is. note [Extremes]"""
    lengths = shape(b, x)
    empty = any_of(b, [b.prim("eq", n, ZERO) for n in lengths])
    check(b, empty, ValueError, f"attempt to get {named} of an empty sequence")
    start = [ZERO] * len(lengths)

    def body(at: list[Atom], best: Atom, *where: Atom) -> list[Atom]:
        v = element(b, x, at)
        better = b.prim(op, v, best)
        if element_type(x).is_float:
            number = b.prim("not", b.prim("isnan", best))
            better = b.prim("or", better, b.prim("and", b.prim("isnan", v), number))
        return [b.select(better, v, best), *(b.select(better, k, w) for k, w in zip(at, where))]

    names = ["best", *(f"at{axis}" for axis in range(len(lengths)))]
    return loops(b, lengths, body, [element(b, x, start), *start], names)[1:]


def extreme_of(b: Builder, x: Operand, type: Type, op: str, axis: int | None = None) -> Atom:
    """The least (op "lt") or greatest ("gt") element."""
    named = "the minimum" if op == "lt" else "the maximum"

    def whole(b: Builder, x: Operand, type: Scalar) -> Atom:
        return element(b, x, extreme_index(b, x, op, named), type)

    return reduced(b, x, type, axis, whole)


def argument_of(b: Builder, x: Operand, type: Type, op: str, axis: int | None = None) -> Atom:
    """The index of the extreme, in C order if there is no axis."""
    named = "argmin" if op == "lt" else "argmax"

    def whole(b: Builder, x: Operand, type: Scalar) -> Atom:
        flat: Atom = ZERO
        for n, k in zip(shape(b, x), extreme_index(b, x, op, named)):
            flat = b.add(b.mul(flat, n), k)
        return b.cast(flat, type)

    return reduced(b, x, type, axis, whole)


# ---- truth -------------------------------------------------------------------------------------


def truth_of(b: Builder, x: Operand, type: Type, op: str, axis: int | None = None) -> Atom:
    """Whether all (op "and") or any ("or") of the elements are true."""

    def whole(b: Builder, x: Operand, type: Scalar) -> Atom:
        init = const(op == "and", BOOL)
        return folded(b, x, init, lambda b, acc, v: b.prim(op, acc, truth(b, v)), "found")

    return reduced(b, x, type, axis, whole)


def count_of(b: Builder, x: Operand, type: Type, axis: int | None = None) -> Atom:
    """The number of elements that are not zero."""

    def whole(b: Builder, x: Operand, type: Scalar) -> Atom:
        def step(b: Builder, n: Atom, v: Atom) -> Atom:
            return b.add(n, b.cast(truth(b, v), type))

        return folded(b, x, const(0, type), step, "count")

    return reduced(b, x, type, axis, whole)


# ---- NumPy's calls -----------------------------------------------------------------------------


def reduction(reduce: Callable[..., Atom], *options: str) -> Callable[..., Atom]:
    """The handler of a reduction `reduce(b, x, type, *options, axis)`."""

    def call(b: Builder, call: Call, a: Any, axis: Any = None) -> Atom:
        x = as_array(b, a)
        known = None if axis is None else axis_of(call, axis, rank(x))
        return reduce(b, x, call.type, *options, known)

    return call


def sum_call(b: Builder, call: Call, a: Any, axis: Any = None, dtype: Any = None) -> Atom:
    """np.sum; what `dtype` asks for is in the type of the result."""
    return reduction(sum_of)(b, call, a, axis)


def ptp_call(b: Builder, call: Call, a: Any) -> Atom:
    """np.ptp: greatest - least."""
    x = materialise(b, as_array(b, a))
    greatest, least = (extreme_of(b, x, call.scalar, op) for op in ("gt", "lt"))
    return b.sub(greatest, least)


def average_call(b: Builder, call: Call, a: Any, axis: Any = None, weights: Any = None) -> Atom:
    """np.average: sum(a * w) / sum(w), or the mean."""
    if axis is not None:
        raise call.unsupported("over an axis", "Numba averages all elements", "loop over the axis")
    x, type = as_array(b, a), call.scalar
    if weights is None:
        return mean_of(b, x, type)
    w = materialise(b, as_array(b, weights))
    weight = total(b, w, type)
    none = b.prim("eq", weight, const(0, type))
    check(b, none, ZeroDivisionError, "Weights sum to zero, can't be normalized.")

    def weighted(b: Builder, v: Atom, w: Atom) -> Atom:
        return b.mul(b.cast(v, type), b.cast(w, type))

    products = lazy_elementwise(b, [x, w], Array(type, rank(x)), weighted)
    return b.prim("div", total(b, products, type), weight)


FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.sum: sum_call,
    np.mean: reduction(mean_of),
    np.prod: reduction(product_of),
    np.var: reduction(variance_of),
    np.std: reduction(deviation_of),
    np.min: reduction(extreme_of, "lt"),
    np.amin: reduction(extreme_of, "lt"),
    np.max: reduction(extreme_of, "gt"),
    np.amax: reduction(extreme_of, "gt"),
    np.argmin: reduction(argument_of, "lt"),
    np.argmax: reduction(argument_of, "gt"),
    np.any: reduction(truth_of, "or"),
    np.all: reduction(truth_of, "and"),
    np.count_nonzero: reduction(count_of),
    np.ptp: ptp_call,
    np.average: average_call,
}
METHODS: dict[str, Callable[..., Any]] = {
    f.__name__: FUNCTIONS[f]
    for f in (np.sum, np.mean, np.prod, np.var, np.std, np.argmin, np.argmax, np.any, np.all)
} | {"min": FUNCTIONS[np.min], "max": FUNCTIONS[np.max]}
