"""Tuples, lists and what a `for` runs over.

note [Lists]  A list of scalars that some statement changes is an array that grows, with its length
in an int64[1] array.  A list nothing changes is a tuple.  Lists of anything else cannot change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING

from numba.core import types

from numbaflux.frontend import arrays, convert, views
from numbaflux.frontend.scalars import common
from numbaflux.frontend.scalars import convert as number
from numbaflux.frontend.values import (
    Call,
    IterValue,
    ListValue,
    RangeValue,
    TupleValue,
    Value,
    ir_type,
    is_atom,
    leaves,
    rebuild,
    same_shape,
)
from numbaflux.ir.build import Builder, array_of, full_slice, index
from numbaflux.ir.nodes import BOOL, I64, Array, Atom, Block, Const, Opaque, Scalar, Type

if TYPE_CHECKING:
    from numbaflux.frontend.lower import Lowering

ZERO, ONE = index(0), index(1)


def message(text: str) -> Const:
    return Const(text, Opaque(types.unicode_type))


# ---- what a `for` runs over ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Items:
    """`at(k, name)` writes item k of `count`; `counts`: an item is the counter itself.

    `unrolled`: the items, where there is a tuple of them.
    """

    count: Atom
    at: Callable[..., Value]
    unrolled: tuple[Value, ...] | None = None
    counts: bool = False
    parallel: bool = False
    slots: Atom | None = None


def items_of(low: Lowering, v: Value) -> Items:
    b = low.b
    match v:
        case RangeValue():
            return _range_items(b, v)
        case TupleValue(values):
            return Items(index(len(values)), lambda k, name="t": pick(b, values, k), values)
        case ListValue(cells, length):
            return Items(b.load(length, [ZERO], "n"), lambda k, name="t": b.load(cells, [k], name))
        case IterValue(kind):
            return ITERATORS[kind](low, v)
        case _:
            pass
    if isinstance(v, arrays.Lazy):
        v = arrays.materialise(b, v)
    if is_atom(v) and isinstance(v.type, Array):
        return _rows(b, v)
    raise low.unsupported(
        f"a loop over {convert.describe(v)}", "its items are not numbers or arrays",
        "loop over a range, an array, a tuple or a list of numbers",
    )  # fmt: skip


def _range_items(b: Builder, r: RangeValue) -> Items:
    start, stop, step = (number(b, a, I64) for a in (r.start, r.stop, r.step))
    counts = start == ZERO and step == ONE

    def at(k: Atom, name: str = "t") -> Atom:
        if step == index(-1):
            return b.sub(start, k, name)
        return b.add(start, b.mul(k, step), name)

    count = trips(b, start, stop, step)
    return Items(count, at, counts=counts, parallel=r.parallel, slots=r.slots)


def trips(b: Builder, start: Atom, stop: Atom, step: Atom) -> Atom:
    """len(range(start, stop, step)), or a negative number for an empty one."""
    if not isinstance(step, Const):
        b.raise_if(b.prim("eq", step, ZERO), ValueError, message("range() arg 3 must not be zero"))
        up = b.prim("gt", step, ZERO)
        span = b.select(up, b.sub(stop, start), b.sub(start, stop))
        stride = b.prim("abs", step)
    else:
        by = int(step.value)
        span = b.sub(stop, start, "n") if by > 0 else b.sub(start, stop, "n")
        stride = index(abs(by))
    if stride == ONE:
        return span
    return b.prim("floordiv", b.add(span, b.sub(stride, ONE)), stride, name="n")


def range_value(b: Builder, args: Sequence[Atom], parallel: bool = False) -> RangeValue:
    """range(*args)."""
    start, stop, step = ZERO, args[0], ONE
    if len(args) > 1:
        start, stop = args[0], args[1]
    if len(args) > 2:
        step = args[2]
    start, stop, step = (number(b, a, I64) for a in (start, stop, step))
    return RangeValue(start, stop, step, parallel)


def _rows(b: Builder, a: Atom) -> Items:
    """The elements of a vector, the rows of anything larger as views."""
    ndim = arrays.rank(a)
    if ndim == 1:
        return Items(b.dim(a, 0), lambda k, name="t": b.load(a, [k], name))
    rest = [full_slice()] * (ndim - 1)
    return Items(b.dim(a, 0), lambda k, name="row": views.view(b, a, [k, *rest], name=name))


def _enumerate(low: Lowering, v: IterValue) -> Items:
    inner = items_of(low, v.parts[0])
    start = v.start or ZERO
    counted = None
    if inner.unrolled is not None:
        counted = tuple(
            TupleValue((low.b.add(start, index(i)), x)) for i, x in enumerate(inner.unrolled)
        )
    return Items(
        inner.count,
        lambda k, name="t": TupleValue((low.b.add(start, k), inner.at(k))),
        counted,
        slots=inner.slots,
    )


def _zip(low: Lowering, v: IterValue) -> Items:
    inner = [items_of(low, part) for part in v.parts]
    count = reduce(partial(_shorter, low.b), [i.count for i in inner])
    unrolled = None
    if inner and all(i.unrolled is not None for i in inner):
        unrolled = tuple(TupleValue(row) for row in zip(*(i.unrolled or () for i in inner)))
    marks = [number(low.b, i.slots, I64) for i in inner if i.slots is not None]
    slots = reduce(partial(_shorter, low.b), marks) if marks else None
    return Items(
        count, lambda k, name="t": TupleValue(tuple(i.at(k) for i in inner)), unrolled, slots=slots
    )


def _shorter(b: Builder, m: Atom, n: Atom) -> Atom:
    return m if m == n else b.prim("min", m, n)


def _cells(b: Builder, shape: Sequence[Atom]) -> tuple[Atom, Callable[[Atom], list[Atom]]]:
    """How many cells a shape has, and the index of cell k in C order."""

    def at(k: Atom) -> list[Atom]:
        found: list[Atom] = []
        for n in reversed(shape[1:]):
            found.append(b.prim("mod", k, n))
            k = b.prim("floordiv", k, n)
        return [k, *reversed(found)]

    return arrays.product(b, shape), at


def _ndindex(low: Lowering, v: IterValue) -> Items:
    count, at = _cells(low.b, [number(low.b, a, I64) for a in leaves(TupleValue(v.parts))])
    return Items(count, lambda k, name="t": TupleValue(tuple(at(k))))


def _ndenumerate(low: Lowering, v: IterValue) -> Items:
    a = v.parts[0]
    count, at = _cells(low.b, arrays.shape(low.b, a))

    def item(k: Atom, name: str = "t") -> Value:
        where = at(k)
        return TupleValue((TupleValue(tuple(where)), low.b.load(a, where)))

    return Items(count, item)


def _flat(low: Lowering, v: IterValue) -> Items:
    a = v.parts[0]
    count, at = _cells(low.b, arrays.shape(low.b, a))
    return Items(count, lambda k, name="t": low.b.load(a, at(k), name))


ITERATORS = {
    "enumerate": _enumerate,
    "zip": _zip,
    "ndindex": _ndindex,
    "ndenumerate": _ndenumerate,
    "flat": _flat,
}

# ---- tuples ----------------------------------------------------------------------------------


def pick(b: Builder, values: Sequence[Value], k: Atom) -> Value:
    """values[k] for a k known only when the program runs, 0 <= k < len."""
    first = values[0]
    assert all(same_shape(first, v) for v in values)
    atoms = [_pick_atom(b, column, k) for column in zip(*(tuple(leaves(v)) for v in values))]
    return rebuild(first, iter(atoms))


def _pick_atom(b: Builder, atoms: Sequence[Atom], k: Atom) -> Atom:
    result = atoms[-1]
    for i in range(len(atoms) - 2, -1, -1):
        type = convert.unify(atoms[i].type, result.type)
        assert type is not None
        here, other = convert.to_type(b, atoms[i], type), convert.to_type(b, result, type)
        found = b.prim("eq", k, index(i))
        if isinstance(type, Scalar):
            result = b.select(found, here, other)
        else:
            (result,) = b.if_(found, Block(yields=(here,)), Block(yields=(other,)))
    return result


def tuple_item(low: Lowering, v: TupleValue, k: Value) -> Value:
    """v[k]; a computed k must be in range."""
    if isinstance(k, Const):
        return v.items[int(k.value)]
    b, n = low.b, index(len(v.items))
    k = wrapped(b, number(b, k, I64), n)
    outside(b, k, n, "tuple index out of range")
    return pick(b, v.items, k)


def wrapped(b: Builder, k: Atom, n: Atom) -> Atom:
    """An index counted from the start."""
    if isinstance(k, Const):
        return k if int(k.value) >= 0 else b.add(n, k)
    return b.select(b.prim("lt", k, ZERO), b.add(k, n), k)


def outside(b: Builder, k: Atom, n: Atom, text: str) -> None:
    wrong = b.prim("or", b.prim("lt", k, ZERO), b.prim("ge", k, n))
    b.raise_if(wrong, IndexError, message(text))


def compare(low: Lowering, op: str, v: TupleValue, w: TupleValue) -> Atom:
    """A comparison of tuples of numbers."""
    b = low.b
    pairs = list(zip(v.items, w.items))
    if op in ("eq", "ne"):
        same: Atom = Const(len(v.items) == len(w.items), BOOL)
        for x, y in pairs if len(v.items) == len(w.items) else ():
            same = b.prim("and", same, _item_test(low, "eq", x, y))
        return same if op == "eq" else b.prim("not", same)
    whole = {"lt": len(v.items) < len(w.items), "le": len(v.items) <= len(w.items),
             "gt": len(v.items) > len(w.items), "ge": len(v.items) >= len(w.items)}  # fmt: skip
    result: Atom = Const(whole[op], BOOL)
    for x, y in reversed(pairs):
        result = b.select(_item_test(low, "eq", x, y), result, _item_test(low, op, x, y))
    return result


def _item_test(low: Lowering, op: str, x: Value, y: Value) -> Atom:
    if isinstance(x, TupleValue) and isinstance(y, TupleValue):
        return compare(low, op, x, y)
    assert is_atom(x) and is_atom(y)
    return low.b.prim(op, *common(low.b, [x, y]), type=BOOL)


# ---- lists -----------------------------------------------------------------------------------


def new_list(low: Lowering, items: Sequence[Value], ty: types.List, name: str) -> Value:
    """[*items]. note [Lists]"""
    if ty.dtype not in low.facts.growing:
        return TupleValue(tuple(convert.coerce(low.b, i, ty.dtype) for i in items))
    if not isinstance(ty.dtype, types.Number | types.Boolean | types.Array):
        raise low.unsupported(
            f"a list of {ty.dtype} that grows", "only lists of numbers or arrays may grow",
            "use a list for each part, or one array with a further axis",
        )  # fmt: skip
    b, made = low.b, _empty_list(low.b, ir_type(ty.dtype, low.loc), name)
    for i, item in enumerate(items):
        b.store(made.cells, [index(i)], convert.coerce(b, item, ty.dtype))
    if items:
        b.store(made.length, [ZERO], index(len(items)))
    return made


def _empty_list(b: Builder, element: Type, name: str) -> ListValue:
    assert isinstance(element, Scalar | Array)
    cells = b.alloc([ZERO], Array(element, 1, grows=True), zero=False, name=name)
    length = b.alloc([ONE], Array(I64, 1), zero=True, name=f"n_{name}")
    return ListValue(cells, length)


def repeated(low: Lowering, v: Value, n: Atom, name: str) -> Value:
    """list * n."""
    b = low.b
    items = items_of(low, v)
    made = _empty_list(b, items.at(ZERO).type, name)
    with b.for_(number(b, n, I64)) as outer, b.for_(items.count) as inner:
        at = b.add(b.mul(outer.k, items.count), inner.k)
        b.store(made.cells, [at], items.at(inner.k))
        b.store(made.length, [ZERO], b.add(at, ONE))
    return made


def copied(low: Lowering, items: Items, ty: types.List, name: str) -> Value:
    """A list with the given items."""
    b, made = low.b, _empty_list(low.b, ir_type(ty.dtype, low.loc), name)
    with b.for_(items.count) as loop:
        b.store(made.cells, [loop.k], convert.coerce(b, items.at(loop.k), ty.dtype))
        b.store(made.length, [ZERO], b.add(loop.k, ONE))
    return made


def list_item(low: Lowering, v: ListValue, k: Atom) -> tuple[Atom, Atom]:
    """Where item k of a list is, and the list's length; raises IndexError outside it."""
    b = low.b
    n = b.load(v.length, [ZERO], "n")
    k = wrapped(b, number(b, k, I64), n)
    outside(b, k, n, "getitem out of range")
    return k, n


def list_append(low: Lowering, v: ListValue, call: Call) -> None:
    b = low.b
    n = b.load(v.length, [ZERO], "n")
    item = arrays.materialise(b, call.args[1]) if arrays.is_array(call.args[1]) else call.args[1]
    b.store(v.cells, [n], convert.to_type(b, item, array_of(v.cells).element))
    b.store(v.length, [ZERO], b.add(n, ONE))


def list_pop(low: Lowering, v: ListValue, call: Call) -> Value:
    if len(call.args) > 1 and call.args[1] != index(-1):
        raise low.unsupported("`pop` from the middle of a list", "the items behind it would move",
                              "pop the last item, or use an array")  # fmt: skip
    b = low.b
    n = b.sub(b.load(v.length, [ZERO], "n"), ONE)
    b.raise_if(b.prim("lt", n, ZERO), IndexError, message("pop from empty list"))
    b.store(v.length, [ZERO], n)
    return b.load(v.cells, [n], call.name)


LIST_METHODS = {"append": list_append, "pop": list_pop}
