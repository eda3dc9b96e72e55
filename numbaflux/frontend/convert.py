"""Values made into what Numba's types say: implicit casts, zero values, truth, description."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types

from numbaflux.errors import UnsupportedError
from numbaflux.frontend import scalars
from numbaflux.frontend.values import (
    NONE,
    IterValue,
    Known,
    ListValue,
    Maybe,
    RangeValue,
    SliceValue,
    TupleValue,
    Value,
    ir_type,
    is_atom,
    tuple_parts,
)
from numbaflux.ir.build import Builder, const, full_slice, index
from numbaflux.ir.nodes import BOOL, Array, Atom, Const, Index, Loc, Opaque, Scalar, Type


def coerce(b: Builder, v: Value, ty: types.Type, name: str = "t") -> Value:
    """v as a value of Numba's type `ty`: scalars cast, references of another layout viewed."""
    ty = _source(types.unliteral(ty))
    if isinstance(ty, types.Optional):
        return v if v == NONE or isinstance(v, Maybe) else coerce(b, v, ty.type, name)
    v = given(b, v)
    if isinstance(v, TupleValue):
        parts = tuple_parts(ty)
        if parts is None or len(parts[0]) != len(v.items):
            return v
        items = tuple(coerce(b, i, t, name) for i, t in zip(v.items, parts[0]))
        return TupleValue(items, v.cls)
    if not is_atom(v) or not isinstance(ty, types.Number | types.Boolean | types.Array):
        return v
    if isinstance(v.type, Array) != isinstance(ty, types.Array) or isinstance(v.type, Opaque):
        return v
    return to_type(b, v, ir_type(ty, b.loc), name)


def carried(b: Builder, v: Value, ty: types.Type, name: str = "t") -> Value:
    """v in the form that a loop carries for Numba's type `ty`."""
    v = coerce(b, v, ty, name)
    if not isinstance(ty, types.Optional) or isinstance(v, Maybe):
        return v
    if v != NONE:
        return Maybe(Const(True, BOOL), v)
    nothing = placeholder(b, ty.type, name)
    return v if nothing is None else Maybe(Const(False, BOOL), nothing)


def given(b: Builder, v: Value) -> Value:
    """The value itself where one is wanted; raises TypeError if it is None, as Numba does."""
    if not isinstance(v, Maybe):
        return v
    text = Const("expected a value, got None", Opaque(types.unicode_type))
    b.raise_if(b.prim("not", v.present), TypeError, text)
    return v.value


def to_type(b: Builder, a: Atom, type: Type, name: str = "t") -> Atom:
    """The atom in an IR type of the same kind."""
    if a.type == type:
        return a
    match a.type, type:
        case Scalar(), Scalar():
            return scalars.convert(b, a, type, name)
        case Array(), Array() if a.type.ndim == type.ndim:
            return b.view(a, Index((full_slice(),) * type.ndim), type, name)
        case _:
            return a


def unify(a: Type, c: Type) -> Type | None:
    """The type of a value that is one or the other."""
    match a, c:
        case Scalar(), Scalar():
            return Scalar(np.result_type(a.numpy, c.numpy).name)
        case Array(), Array() if a.ndim == c.ndim and a.element == c.element:
            layout = a.layout if a.layout == c.layout else "A"
            return Array(a.element, a.ndim, layout, readonly=a.readonly or c.readonly)
        case _:
            return a if a == c else None


def placeholder(b: Builder, ty: types.Type, name: str = "t") -> Value | None:
    """A value nobody reads; None for types that have none."""
    ty = _source(types.unliteral(ty))
    if isinstance(ty, types.RangeType | types.RangeIteratorType):
        return RangeValue(index(0), index(0), index(1))
    if isinstance(ty, types.EnumerateType | types.ZipType):
        sources = ty.source_types if isinstance(ty, types.ZipType) else (ty.source_type,)
        parts = tuple(placeholder(b, t, name) for t in sources)
        if any(p is None for p in parts):
            return None
        if isinstance(ty, types.ZipType):
            return IterValue("zip", parts)
        return IterValue("enumerate", parts, index(0))
    if isinstance(ty, types.NoneType | types.Omitted):
        return NONE
    if isinstance(ty, types.Optional):
        return placeholder(b, ty.type, name)
    parts = tuple_parts(ty)
    if parts is not None:
        items = tuple(placeholder(b, t, name) for t in parts[0])
        return None if any(i is None for i in items) else TupleValue(items, parts[1])
    if isinstance(ty, types.Number | types.Boolean | types.Array):
        return empty(b, ir_type(ty, b.loc), name)
    return None


def _source(ty: types.Type) -> types.Type:
    """An iterator over an array or a tuple is lowered as that."""
    if isinstance(ty, types.ArrayIterator):
        return ty.array_type
    return ty.container if isinstance(ty, types.UniTupleIter) else ty


def empty(b: Builder, type: Type, name: str = "t") -> Atom | None:
    """An atom nobody reads, of an IR type."""
    match type:
        case Scalar():
            return const(0, type)
        case Array(grows=False):
            fresh = Array(type.element, type.ndim, "C")
            return to_type(b, b.alloc([index(0)] * type.ndim, fresh, name=name), type, name)
        case _:
            return None


def truth(b: Builder, v: Value, loc: Loc) -> Atom:
    """bool(v)."""
    match v:
        case TupleValue(items):
            return Const(len(items) > 0, BOOL)
        case Known(value):
            return Const(bool(value), BOOL)
        case Maybe(present, value):
            return b.prim("and", present, truth(b, value, loc))
        case ListValue(_, length):
            return b.prim("gt", b.load(length, [index(0)]), index(0))
        case _ if is_atom(v) and isinstance(v.type, Scalar):
            return scalars.convert(b, v, BOOL)
        case Const(value):
            return Const(bool(value), BOOL)
        case _:
            pass
    raise UnsupportedError(
        f"the truth of {describe(v)}", loc, "it is not a number", "compare it with something"
    )


def describe(v: Any) -> str:
    """A value in the user's words."""
    match v:
        case Known(None):
            return "None"
        case Maybe(value=value):
            return f"None or {describe(value)}"
        case Known(value):
            return f"`{getattr(value, '__name__', value)}`"
        case TupleValue(items):
            return f"a tuple of {len(items)}"
        case SliceValue():
            return "a slice"
        case RangeValue(slots=slots):
            return "a range" if slots is None else "a checkpointed range"
        case ListValue():
            return "a list"
        case IterValue(kind):
            return f"an iterator ({kind})"
        case _ if is_atom(v):
            return f"an array {v.type}" if isinstance(v.type, Array) else f"a {v.type}"
        case _:
            return "an array expression"


def movable(v: Value) -> bool:
    """Whether a value is made of atoms that a region can carry: not a list, nor anything known."""
    return not isinstance(v, Known | ListValue)
