"""Indexing with arrays: `a[idx]`, `a[mask]`, their assignments, and the positions a mask means.

note [Advanced]  As in NumPy, the arrays among the items, and the integers beside them, are
broadcast together; their axes stand where the first of them stood if they are neighbours, else in
front.
A mask is first turned into the positions where it holds: then all is a gather or a scatter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbaflux.frontend.arrays import (
    ONE,
    ZERO,
    Broadcast,
    Operand,
    any_of,
    as_array,
    broadcast,
    check,
    copy,
    differ,
    element,
    element_type,
    is_array,
    loops,
    materialise,
    new,
    rank,
    shape,
    shapes_of,
    truth,
)
from numbaflux.frontend.calls import Call, as_index, axis_of
from numbaflux.frontend.reductions import count_of
from numbaflux.frontend.views import Item, raveled, view
from numbaflux.ir.build import Builder, const, full_slice
from numbaflux.ir.nodes import BOOL, I64, Array, Atom, Const, Slice

# ---- a[items] ----------------------------------------------------------------------------------


def get_items(b: Builder, a: Atom, items: Sequence[Any], type: Array, name: str = "taken") -> Atom:
    """a[items] where some items are arrays of integers or truths: a copy. note [Advanced]"""
    found = _resolve(b, a, items)
    out = new(b, found.shape, type, name=name)
    loops(b, found.shape, lambda k: b.store(out, k, b.load(found.base, found.index(b, k))))
    return out


def set_items(
    b: Builder, a: Atom, items: Sequence[Any], value: Operand, may_alias: bool = False
) -> None:
    """a[items] = value: of several stores to one place the last counts. note [Advanced]"""
    found = _resolve(b, a, items)
    if is_array(value) and may_alias:
        value = copy(b, value, Array(element_type(value), rank(value)))
    read = broadcast(b, [shape(b, value)], found.shape)

    def body(k: list[Atom]) -> None:
        (v,) = read.elements(b, [value], k)
        b.store(found.base, found.index(b, k), b.cast(v, element_type(a)))

    loops(b, found.shape, body)


@dataclass(frozen=True, slots=True)
class _Resolved:
    """base[...] with positions for some of its axes; `first` is where their own axes stand."""

    base: Atom
    at: dict[int, Operand]
    together: Broadcast
    first: int
    shape: tuple[Atom, ...]

    def index(self, b: Builder, k: Sequence[Atom]) -> list[Atom]:
        """The index into the base for the index k of the result."""
        count = len(self.together.shape)
        own = k[self.first : self.first + count]
        positions = self.together.elements(b, list(self.at.values()), own)
        rest = iter([*k[: self.first], *k[self.first + count :]])
        chosen = dict(zip(self.at, positions))
        return [
            b.cast(chosen[axis], I64) if axis in chosen else next(rest)
            for axis in range(rank(self.base))
        ]


def _resolve(b: Builder, a: Atom, items: Sequence[Any]) -> _Resolved:
    advanced = [i for i, item in enumerate(items) if item is not None and not _is_slice(item)]
    plain: list[Item] = [full_slice() if i in advanced else item for i, item in enumerate(items)]
    whole = all(_is_full(i) for i in plain)
    base = a if whole else view(b, a, plain)
    own = shape(b, base)
    at = {i: _positions(b, items[i], own[i]) for i in advanced}
    together = broadcast(b, shapes_of(b, list(at.values())))
    for i, x in at.items():
        _check_bounds(b, x, own[i])
    neighbours = advanced == list(range(advanced[0], advanced[-1] + 1))
    first = advanced[0] if neighbours else 0
    rest = [n for i, n in enumerate(own) if i not in at]
    lengths = (*rest[:first], *together.shape, *rest[first:])
    return _Resolved(base, at, together, first, lengths)


def _is_slice(item: Any) -> bool:
    return isinstance(item, Slice)


def _is_full(item: Item) -> bool:
    return isinstance(item, Slice) and item == full_slice()


def _positions(b: Builder, x: Any, length: Atom) -> Operand:
    """An item as integers: an integer, an array of them, or a mask's positions."""
    if not is_array(x) or element_type(x) != BOOL:
        return materialise(b, x)
    wrong = differ(b, shape(b, x)[0], length)
    check(b, wrong, IndexError, "boolean index did not match the length of the axis")
    return flat_positions(b, x)


def _check_bounds(b: Builder, x: Operand, length: Atom) -> None:
    low = b.neg(length)

    def outside(b: Builder, bad: Atom, v: Atom) -> Atom:
        v = b.cast(v, I64)
        return any_of(b, [bad, b.prim("lt", v, low), b.prim("ge", v, length)])

    def body(at: list[Atom], bad: Atom) -> list[Atom]:
        return [outside(b, bad, element(b, x, at))]

    (bad,) = loops(b, shape(b, x), body, [Const(False, BOOL)], ["outside"])
    check(b, bad, IndexError, "index is out of bounds")


# ---- where something holds ---------------------------------------------------------------------


def flat_positions(b: Builder, x: Operand) -> Atom:
    """The positions, in C order, of the elements of a vector that are not zero."""
    return positions(b, x, [Array(I64, 1)])[0]


def positions(b: Builder, x: Operand, types: Sequence[Array]) -> tuple[Atom, ...]:
    """For each axis, the indices of the elements that are not zero."""
    x = materialise(b, x)
    count = count_of(b, x, I64)
    outs = [new(b, [count], type, name="at") for type in types]

    def body(at: list[Atom], found: Atom) -> list[Atom]:
        with b.arm() as then:
            for out, k in zip(outs, at):
                b.store(out, [found], b.cast(k, element_type(out)))
            then.yields = [b.add(found, ONE)]
        with b.arm() as orelse:
            orelse.yields = [found]
        holds = truth(b, b.load(x, at))
        return list(b.if_(holds, then.block, orelse.block, ["found"]))

    loops(b, shape(b, x), body, [ZERO], ["found"])
    return tuple(outs)


# ---- NumPy's calls -----------------------------------------------------------------------------


def nonzero(b: Builder, call: Call, a: Any) -> tuple[Atom, ...]:
    assert isinstance(call.type, tuple)
    return positions(b, as_array(b, a), call.type)


def flatnonzero(b: Builder, call: Call, a: Any) -> Atom:
    return positions(b, raveled(b, as_array(b, a)), [call.array])[0]


def take(b: Builder, call: Call, a: Any, indices: Any, axis: Any = None) -> Atom:
    """np.take: of the elements in C order, or along an axis."""
    x = as_array(b, a)
    if axis is None:
        x, along = raveled(b, x), 0
    else:
        x, along = materialise(b, x), axis_of(call, axis, rank(x))
    where = as_array(b, indices) if isinstance(indices, tuple) else indices
    if is_array(where):
        items = [full_slice()] * along + [where]
        return get_items(b, x, items, call.array, call.name)
    k = as_index(b, where)
    _check_bounds(b, k, b.dim(x, along))
    if rank(x) == 1:
        return b.load(x, [k])
    items = [k if i == along else full_slice() for i in range(rank(x))]
    return copy(b, view(b, x, items), call.array, call.name)


def bincount(b: Builder, call: Call, a: Any, weights: Any = None, minlength: Any = ZERO) -> Atom:
    """How often each number occurs, or the sum of the weights of its places."""
    x = materialise(b, as_array(b, a))
    n = b.dim(x, 0)
    if weights is not None:
        weights = materialise(b, as_array(b, weights))
        wrong = differ(b, n, b.dim(weights, 0))
        check(b, wrong, ValueError, "bincount(): weights and list don't have the same length")
    least = as_index(b, minlength)
    check(b, b.prim("lt", least, ZERO), ValueError, "'minlength' must not be negative")

    def seen(at: list[Atom], top: Atom, bad: Atom) -> list[Atom]:
        v = b.cast(b.load(x, at), I64)
        return [b.prim("max", top, b.add(v, ONE)), b.prim("or", bad, b.prim("lt", v, ZERO))]

    top, bad = loops(b, [n], seen, [least, Const(False, BOOL)], ["top", "bad"])
    check(b, bad, ValueError, "bincount(): first argument must be non-negative")
    out = new(b, [top], call.array, zero=True, name=call.name)

    def count(at: list[Atom]) -> None:
        v = const(1, call.scalar) if weights is None else b.cast(b.load(weights, at), call.scalar)
        b.accumulate(out, [b.cast(b.load(x, at), I64)], v)

    loops(b, [n], count)
    return out


FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.nonzero: nonzero,
    np.flatnonzero: flatnonzero,
    np.take: take,
    np.bincount: bincount,
}
METHODS: dict[str, Callable[..., Any]] = {"nonzero": nonzero, "take": take}
