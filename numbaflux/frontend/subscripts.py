"""x[...] read and written: elements, views, items of tuples and lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

from numba.core import types

from numbaflux.frontend import arrays, containers, convert, indexing, views
from numbaflux.frontend.scalars import convert as number
from numbaflux.frontend.values import (
    NONE,
    IterValue,
    Known,
    ListValue,
    RangeValue,
    SliceValue,
    TupleValue,
    Value,
    ir_type,
    is_atom,
    known,
)
from numbaflux.ir.build import array_of, full_slice
from numbaflux.ir.nodes import I64, Array, Atom, Const, Item, Scalar, Slice, Var

if TYPE_CHECKING:
    from numbaflux.frontend.lower import Lowering


def array_items(low: Lowering, a: Atom, where: Value) -> list[Item]:
    """The index of an array with its ellipsis spelled out, one item for every axis."""
    parts = list(where.items) if isinstance(where, TupleValue) else [where]
    used = sum(_axes(p) for p in parts)
    missing = [full_slice()] * (arrays.rank(a) - used)
    items: list[Item] = []
    for part in parts:
        if part == Known(Ellipsis):
            items += missing
            missing = []
        else:
            items.append(_item(low, part))
    return items + missing


def _axes(part: Value) -> int:
    """How many axes of the array an item of its index takes."""
    if part in (NONE, Known(Ellipsis)):
        return 0
    mask = arrays.is_array(part) and arrays.element_type(part).dtype == "bool"
    return arrays.rank(part) if mask else 1


def _item(low: Lowering, part: Value) -> Item:
    b = low.b

    def maybe(a: Atom | None) -> Atom | None:
        return None if a is None else number(b, a, I64)

    match part:
        case SliceValue(start, stop, step):
            return Slice(maybe(start), maybe(stop), maybe(step))
        case Known(None):
            return None
        case TupleValue():
            return arrays.materialise(b, arrays.as_array(b, tuple(part.items)))
        case _:
            pass
    if arrays.is_array(part):
        return arrays.materialise(b, part)
    if is_atom(part) and isinstance(part.type, Scalar):
        return number(b, part, I64)
    raise low.unsupported(
        f"an index that is {convert.describe(part)}", "arrays have numbered axes",
        "index with integers, slices or arrays of integers",
    )  # fmt: skip


def _is_scalar(item: Item) -> TypeGuard[Atom]:
    return item is not None and not isinstance(item, Slice) and isinstance(item.type, Scalar)


def _element(base: Atom, items: Sequence[Item]) -> list[Atom] | None:
    """The items where they are the index of one element, None where they are not."""
    found = [item for item in items if _is_scalar(item)]
    return found if len(found) == len(items) == arrays.rank(base) else None


def element_index(low: Lowering, base: Value, where: Value) -> list[Atom]:
    """The index of one element of an array."""
    at = _element(base, array_items(low, base, where))
    if at is None:
        raise low.unsupported(
            "an atomic operation on more than one element", "it is done on one element at a time",
            "index with one integer for each axis",
        )  # fmt: skip
    return at


def get(low: Lowering, base: Value, where: Value, ty: types.Type, name: str) -> Value:
    """base[where]"""
    b = low.b
    base = convert.given(b, base)
    match base:
        case TupleValue(items):
            return _tuple_get(low, base, where)
        case ListValue(cells):
            if isinstance(where, SliceValue):
                raise low.unsupported("a slice of a list", "it would be a second list",
                                      "use an array")  # fmt: skip
            k, _ = containers.list_item(low, base, where)
            return b.load(cells, [k], name)
        case RangeValue():
            items = containers.items_of(low, base)
            return items.at(containers.wrapped(b, number(b, where, I64), items.count))
        case IterValue("flat"):
            items = containers.items_of(low, base)
            return items.at(containers.wrapped(b, number(b, where, I64), items.count))
        case _:
            pass
    if isinstance(base, arrays.Lazy):
        base = arrays.materialise(b, base)
    if not (is_atom(base) and isinstance(base.type, Array)):
        raise low.unsupported(
            f"an item of {convert.describe(base)}", "only arrays, tuples and lists have items here",
            "use an array",
        )  # fmt: skip
    items = array_items(low, base, where)
    at = _element(base, items)
    if at is not None:
        return b.load(base, at, name)
    type = ir_type(ty, low.loc)
    assert isinstance(type, Array)
    if any(isinstance(i, Var) and isinstance(i.type, Array) for i in items):
        return indexing.get_items(b, base, items, type)
    result = views.view(b, base, items, type, name if name != "t" else "v")
    low.views[result] = (base, tuple(items))
    return result


def _tuple_get(low: Lowering, base: TupleValue, where: Value) -> Value:
    if isinstance(where, SliceValue):
        parts = [None if a is None else known(a) for a in (where.start, where.stop, where.step)]
        return TupleValue(base.items[slice(*parts)])
    return containers.tuple_item(low, base, where)


def put(low: Lowering, base: Value, where: Value, value: Value) -> None:
    """base[where] = value"""
    b = low.b
    if isinstance(base, ListValue):
        if isinstance(where, SliceValue):
            raise low.unsupported(
                "a store into a slice of a list", "the items behind it would move",
                "store item by item, or use an array",
            )  # fmt: skip
        k, _ = containers.list_item(low, base, where)
        element = array_of(base.cells).element
        b.store(base.cells, [k], convert.to_type(b, value, element))
        return
    if not (is_atom(base) and isinstance(base.type, Array)):
        raise low.unsupported(
            f"a store into {convert.describe(base)}", "it is not an array", "use an array"
        )
    items = array_items(low, base, where)
    if isinstance(value, TupleValue):
        value = arrays.as_array(b, tuple(value.items))
    at = _element(base, items)
    if at is not None:
        if arrays.is_array(value):
            value = arrays.element(b, value, [])
        b.store(base, at, number(b, value, arrays.element_type(base)))
    elif any(isinstance(i, Var) and isinstance(i.type, Array) for i in items):
        indexing.set_items(b, base, items, value, may_alias=low.may_overlap(value, base))
    elif not _is_view(low, value, base, items):  # x[i:j] += y has already written there
        view = base if _is_whole(items) else views.view(b, base, items)
        arrays.assign(b, view, value, may_alias=low.may_alias(value, view))


def _is_view(low: Lowering, value: Value, base: Atom, items: Sequence[Item]) -> bool:
    return isinstance(value, Var) and low.views.get(value) == (base, tuple(items))


def _is_whole(items: Sequence[Item]) -> bool:
    return all(item == full_slice() for item in items)


def constant_index(low: Lowering, index: object) -> Value:
    """The index of a static_getitem or static_setitem."""
    match index:
        case tuple():
            return TupleValue(tuple(constant_index(low, i) for i in index))
        case slice():
            parts = (index.start, index.stop, index.step)
            return SliceValue(*(None if p is None else Const(int(p), I64) for p in parts))
        case bool() | None:
            return Known(index)
        case int():
            return Const(index, I64)
        case _:
            return Known(index)
