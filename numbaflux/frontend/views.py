"""Views of arrays, and the layout Numba gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from numbaflux.frontend.arrays import (
    ONE,
    Operand,
    check,
    copy,
    differ,
    element_type,
    materialise,
    product,
    rank,
    shape,
    size,
)
from numbaflux.ir.build import Builder, array_of, full_slice, index, without_tail
from numbaflux.ir.nodes import Array, Atom, Const, Index, Item, Reshape, Slice, Transpose, Type, Var


def view_layout(base: Array, how: Index | Transpose | Reshape) -> str:
    """The layout Numba infers for a view (numba/core/typing/arraydecl.py).

    That of `a[i:j]`, not of `a[i:j, :]`: it is written without whole axes at its end.
    """
    match how:
        case Transpose() if base.ndim < 2:
            return base.layout
        case Transpose(axes):
            if axes == tuple(range(base.ndim))[::-1]:
                return {"C": "F", "F": "C"}.get(base.layout, "A")
            return "A"
        case Reshape():
            return base.layout
        case Index(items):
            return _index_layout(base, items)


def _index_layout(base: Array, items: Sequence[Item]) -> str:
    items = without_tail(items)
    full = sum(i is not None for i in items) == base.ndim
    if base.layout == "C" and _keeps(items):
        return "C"
    if base.layout == "F" and full and _keeps(items[::-1]):
        return "F"
    return "A"


def _keeps(outer_to_inner: Sequence[Item]) -> bool:
    """Only the innermost index may be a slice, and it may have no step."""
    kept = [i for i in outer_to_inner if i is not None]
    return all(not isinstance(i, Slice) for i in kept[:-1]) and not (
        kept and isinstance(kept[-1], Slice) and kept[-1].step is not None
    )


def view(
    b: Builder, a: Atom, items: Sequence[Item], type: Type | None = None, name: str = "v"
) -> Var:
    """a[items] as a view; `type` if it is known better than from `items`."""
    base = array_of(a)
    taken = sum(i is not None for i in items)
    how = Index((*items, *[full_slice()] * (base.ndim - taken)))
    dropped = sum(i is not None and not isinstance(i, Slice) for i in items)
    ndim = len(how.items) - dropped
    return b.view(a, how, type or replace(base, ndim=ndim, layout=view_layout(base, how)), name)


def with_axis(b: Builder, a: Atom, axis: int) -> Var:
    """A view with a new axis of length 1."""
    items: list[Item] = [full_slice() for _ in range(axis)]
    return view(b, a, [*items, None, *(full_slice() for _ in range(rank(a) - axis))])


def transposed(
    b: Builder, a: Atom, axes: Sequence[int] | None = None, type: Type | None = None
) -> Var:
    """A view with the axes in another order: reversed, or `axes`."""
    base = array_of(a)
    order = tuple(range(base.ndim))[::-1] if axes is None else tuple(i % base.ndim for i in axes)
    how = Transpose(order)
    return b.view(a, how, type or replace(base, layout=view_layout(base, how)))


def flipped(b: Builder, a: Atom, axes: Sequence[int], type: Type | None = None) -> Var:
    """A view that runs backwards along `axes`."""
    back = Slice(None, None, index(-1))
    return view(b, a, [back if i in axes else full_slice() for i in range(rank(a))], type)


def reshaped(b: Builder, a: Atom, wanted: Sequence[Atom], type: Type | None = None) -> Var:
    """The elements of a C array under another shape, one length of which may be -1."""
    base = array_of(a)
    total = size(b, a)
    lengths = list(wanted)
    unknown = [i for i, n in enumerate(lengths) if isinstance(n, Const) and n.value == -1]
    rest = product(b, [n for i, n in enumerate(lengths) if i not in unknown])
    if unknown:
        rest = b.prim("max", rest, ONE)
        lengths[unknown[0]] = b.prim("floordiv", total, rest)
    check(
        b, differ(b, product(b, lengths), total), ValueError,
        "total size of new array must be unchanged",
    )  # fmt: skip
    type = type or replace(base, ndim=len(lengths), layout=view_layout(base, Reshape(())))
    return b.view(a, Reshape(tuple(lengths)), type)


def raveled(b: Builder, x: Operand) -> Atom:
    """All elements in C order in one dimension: a view where the memory allows, else a copy."""
    a = materialise(b, x)
    base = array_of(a)
    if base.ndim == 1:
        return a
    if base.layout != "C":
        a = copy(b, a, Array(element_type(a), base.ndim))
    return b.view(a, Reshape((size(b, a),)), replace(array_of(a), ndim=1))


def flattened(b: Builder, x: Operand, type: Type | None = None) -> Atom:
    """A new one-dimensional array with all elements in C order."""
    whole = copy(b, x, Array(element_type(x), rank(x)))
    return whole if rank(x) == 1 else reshaped(b, whole, [product(b, shape(b, whole))], type)
