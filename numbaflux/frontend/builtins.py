"""Python's builtins and the iterators: what they make exists only while reading.

A handler (low, call) gives the value, or None to leave the call to the tables of scalars and NumPy.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba.core import types
from numba.core.inline_closurecall import length_of_iterator
from numba.np.unsafe.ndarray import empty_inferred

from numbaflux.frontend import arrays, containers, convert, operators, subscripts
from numbaflux.frontend.scalars import convert as number
from numbaflux.frontend.values import (
    Call,
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
    tuple_parts,
)
from numbaflux.ir.build import index
from numbaflux.ir.nodes import I64, Array, Const, Opaque, Scalar

if TYPE_CHECKING:
    from numbaflux.frontend.lower import Lowering


def _range(low: Lowering, call: Call) -> Value:
    return _counted(low, call, parallel=False)


def _prange(low: Lowering, call: Call) -> Value:
    return _counted(low, call, parallel=True)


def _counted(low: Lowering, call: Call, parallel: bool) -> Value:
    if any(is_atom(a) and a.type.is_float for a in call.args):
        raise low.unsupported(
            "a `range` of a floating point number", "Python refuses it, and Numba rounds it",
            "make it an integer with int()",
        )  # fmt: skip
    return containers.range_value(low.b, call.args, parallel)


def _slice(low: Lowering, call: Call) -> Value:
    parts = [None if a == Known(None) else number(low.b, a, I64) for a in call.args]
    return SliceValue(None, parts[0]) if len(parts) == 1 else SliceValue(*parts)


def _len(low: Lowering, call: Call) -> Value:
    (x,) = call.args
    match x:
        case TupleValue(items):
            return index(len(items))
        case ListValue(_, length):
            return low.b.load(length, [index(0)], call.name)
        case RangeValue():
            return low.b.prim("max", containers.items_of(low, x).count, index(0))
        case Const(value=str() as text):
            return index(len(text))
        case _:
            pass
    if arrays.is_array(x):
        return arrays.shape(low.b, x)[0]
    raise low.unsupported(
        f"the length of {convert.describe(x)}", "numbaflux does not know it", "use an array"
    )


def _count(low: Lowering, call: Call) -> Value:
    """How many items a comprehension runs over."""
    return low.b.prim("max", containers.items_of(low, call.args[0]).count, index(0))


def _empty_inferred(low: Lowering, call: Call) -> Value:
    """The array that a comprehension fills; what it holds was inferred from that."""
    (n,) = call.args
    lengths = n.items if isinstance(n, TupleValue) else (n,)
    return low.b.alloc(lengths, ir_type(call.type, low.loc), zero=False, name=call.name)


def _iterator(kind: str) -> Callable[..., Value]:
    def handle(low: Lowering, call: Call) -> Value:
        parts = tuple(arrays.materialise(low.b, a) for a in call.args)
        return IterValue(kind, parts)

    return handle


def _enumerate(low: Lowering, call: Call) -> Value:
    sequence, *more = call.args
    start = more[0] if more else call.kwargs.get("start", index(0))
    part = arrays.materialise(low.b, sequence)
    return IterValue("enumerate", (part,), number(low.b, start, I64))


def _ndindex(low: Lowering, call: Call) -> Value:
    lengths = [n for a in call.args for n in (a.items if isinstance(a, TupleValue) else (a,))]
    return IterValue("ndindex", tuple(lengths))


def _tuple(low: Lowering, call: Call) -> Value | None:
    if not call.args:
        return TupleValue(())
    return call.args[0] if isinstance(call.args[0], TupleValue) else None


def _list(low: Lowering, call: Call) -> Value | None:
    """list(x) of numbers: one that grows."""
    ty = call.type
    if not isinstance(ty, types.List):
        return None
    if not call.args:
        return containers.new_list(low, [], ty, call.name)
    items = containers.items_of(low, call.args[0])
    if items.unrolled is not None:
        return containers.new_list(low, items.unrolled, ty, call.name)
    return containers.copied(low, items, ty, call.name)


def _extreme(op: Any) -> Callable[..., Value | None]:
    """min or max of several numbers, or of the items of one tuple or list."""

    def handle(low: Lowering, call: Call) -> Value | None:
        if len(call.args) != 1 or not isinstance(call.args[0], TupleValue | ListValue):
            return None
        return _folded(low, call, op, None)

    return handle


def _sum(low: Lowering, call: Call) -> Value | None:
    x = call.args[0]
    if not isinstance(x, TupleValue | ListValue) and not arrays.is_array(x):
        return None
    start = call.args[1] if len(call.args) > 1 else call.kwargs.get("start", index(0))
    return _folded(low, call, operator.add, start)


def _folded(low: Lowering, call: Call, op: Any, start: Value | None) -> Value:
    """op over items from left to right."""
    b, type = low.b, ir_type(call.type, low.loc)
    assert isinstance(type, Scalar)

    def both(x: Any, y: Any) -> Any:
        return operators.on_scalars(low, op, [number(b, x, type), number(b, y, type)], None,
                                    call.type)  # fmt: skip

    items = containers.items_of(low, call.args[0])
    if items.unrolled is not None:
        values = [*([] if start is None else [start]), *items.unrolled]
        return reduce(both, values)
    first = number(b, items.at(index(0)) if start is None else start, type)
    with b.for_(items.count, [first], names=[call.name]) as loop:
        loop.yields = [both(loop.carried[0], items.at(loop.k))]
    return loop.results[0]


def _divmod(low: Lowering, call: Call) -> Value:
    x, y = call.args
    parts = tuple_parts(call.type)
    assert parts is not None
    quotient, rest = parts[0]
    pair = [
        operators.on_scalars(low, op, [x, y], None, ty)
        for op, ty in ((operator.floordiv, quotient), (operator.mod, rest))
    ]
    return TupleValue(tuple(pair))


def _identity(low: Lowering, call: Call) -> Value:
    return call.args[0]


def _getitem(low: Lowering, call: Call) -> Value:
    base, where = call.args
    return subscripts.get(low, base, where, call.type, call.name)


def _string(low: Lowering, call: Call) -> Value | None:
    text = known(call.args[0]) if call.args else ""
    if not isinstance(text, str | int | float):
        return None
    return Const(str(text), Opaque(types.unicode_type))


def _operator(key: Any) -> Callable[..., Value | None]:
    """operator.add and its kin called by name, on anything but numbers."""

    def handle(low: Lowering, call: Call) -> Value | None:
        if all(is_atom(a) and not isinstance(a.type, Array) for a in call.args):
            return None
        x, *rest = call.args
        if not rest:
            return operators.unary(low, key, x, call.signature, call.type, call.name)
        (y,) = rest
        return operators.binary(low, key, x, y, call.signature, call.type, call.name)

    return handle


BUILTINS: dict[Any, Callable[..., Value | None]] = {
    range: _range,
    numba.prange: _prange,
    slice: _slice,
    len: _len,
    length_of_iterator: _count,
    empty_inferred: _empty_inferred,
    enumerate: _enumerate,
    zip: _iterator("zip"),
    np.ndindex: _ndindex,
    np.ndenumerate: _iterator("ndenumerate"),
    tuple: _tuple,
    list: _list,
    min: _extreme(min),
    max: _extreme(max),
    sum: _sum,
    divmod: _divmod,
    numba.literal_unroll: _identity,
    operator.getitem: _getitem,
    str: _string,
    **{
        key: _operator(key)
        for key in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow,
                    operator.neg, operator.matmul)
    },
}  # fmt: skip
