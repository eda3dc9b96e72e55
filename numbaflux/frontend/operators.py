"""Operators and ufuncs on scalars, arrays, tuples and lists."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numba.core import types

from numbaflux.frontend import arrays, containers, convert
from numbaflux.frontend.numpy_calls import NUMPY
from numbaflux.frontend.scalars import DIVISIONS, ScalarFn, scalar
from numbaflux.frontend.values import (
    NONE,
    Call,
    Known,
    ListValue,
    Maybe,
    TupleValue,
    Value,
    ir_type,
    is_atom,
    known,
)
from numbaflux.ir.build import Builder, const
from numbaflux.ir.nodes import BOOL, Array, Atom, Const, Opaque, Scalar

if TYPE_CHECKING:
    from numbaflux.frontend.lower import Lowering

COMPARISONS = {
    operator.eq: "eq", operator.ne: "ne", operator.lt: "lt",
    operator.le: "le", operator.gt: "gt", operator.ge: "ge",
}  # fmt: skip


def binary(
    low: Lowering, op: Any, x: Value, y: Value, sig: Any, ty: types.Type, name: str
) -> Value:
    """x op y."""
    if NONE not in (x, y):
        x, y = convert.given(low.b, x), convert.given(low.b, y)
    if arrays.is_array(x) or arrays.is_array(y):
        if op in (operator.matmul, operator.imatmul):
            call = Call((x, y), {}, ty, low.loc, sig, name, op, low)
            return NUMPY[operator.matmul](low.b, call)
        if op not in (operator.is_, operator.is_not, operator.contains):
            return elementwise(low, op, [x, y], ty)
    if _is_number(x) and _is_number(y):
        return on_scalars(low, op, [x, y], sig, ty)
    if isinstance(x, TupleValue) and isinstance(y, TupleValue):
        return _on_tuples(low, op, x, y)
    if isinstance(x, ListValue | TupleValue) and op is operator.mul:
        return containers.repeated(low, x, y, name)
    if op is operator.contains:
        return _contains(low, x, y)
    return _on_known(low, op, x, y)


def unary(low: Lowering, op: Any, x: Value, sig: Any, ty: types.Type, name: str) -> Value:
    x = x if op is operator.not_ else convert.given(low.b, x)
    if arrays.is_array(x):
        return elementwise(low, op, [x], ty)
    if _is_number(x):
        return on_scalars(low, op, [x], sig, ty)
    if op is operator.not_:
        return low.b.prim("not", convert.truth(low.b, x, low.loc))
    raise _unknown(low, op, x)


def in_place(
    low: Lowering, op: Any, x: Value, y: Value, sig: Any, ty: types.Type, name: str
) -> Value:
    """x op= y: arrays are changed, everything else is made anew."""
    if not arrays.is_array(x):
        return binary(low, op, x, y, sig, ty, name)
    x = arrays.materialise(low.b, x)
    if op is operator.matmul:
        arrays.assign(low.b, x, binary(low, op, x, y, sig, ty, name), may_alias=True)
        return x
    if isinstance(y, arrays.Lazy) and low.may_alias(y, x):
        y = arrays.materialise(low.b, y)
    wide = convert.unify(arrays.element_type(x), arrays.element_type(y))
    assert isinstance(wide, Scalar)
    fn = _element_fn(low, op, [x, y], wide)
    return arrays.elementwise(low.b, [x, y], x.type, fn, out=x)


# ---- scalars ---------------------------------------------------------------------------------


def _is_number(v: Value) -> bool:
    return is_atom(v) and isinstance(v.type, Scalar)


def on_scalars(low: Lowering, op: Any, args: Sequence[Atom], sig: Any, ty: types.Type) -> Atom:
    """op(*args), each argument cast to the type that Numba's signature says."""
    b = low.b
    fn = scalar(op)
    if fn is None:
        raise _unknown(low, op, args[0])
    wanted = sig.args if sig is not None and len(sig.args) >= len(args) else ()
    cast = [convert.coerce(b, a, t) for a, t in zip(args, wanted)] or list(args)
    result = ir_type(sig.return_type if sig is not None else ty, low.loc)
    assert isinstance(result, Scalar)
    if op in DIVISIONS and not (low.ieee or low.threaded):
        _check_divisor(b, op, cast[1])
    return fn(b, cast, result)


def _check_divisor(b: Builder, op: Any, y: Atom) -> None:
    """Python's ZeroDivisionError."""
    b.raise_if(
        b.prim("eq", y, const(0, y.type)),
        ZeroDivisionError,
        Const(DIVISIONS[op], Opaque(types.unicode_type)),
    )


# ---- arrays ----------------------------------------------------------------------------------


def elementwise(low: Lowering, op: Any, args: Sequence[Value], ty: types.Type) -> Value:
    """A ufunc or operator over arrays as an expression, whose loop is written when it is used."""
    args = [arrays.as_array(low.b, tuple(a.items)) if isinstance(a, TupleValue) else a
            for a in args]  # fmt: skip
    result = ir_type(ty, low.loc)
    if not isinstance(result, Array):  # arrays without an axis
        args = [arrays.element(low.b, a, []) for a in args]
        return on_scalars(low, op, args, None, ty)
    assert isinstance(result.element, Scalar)
    fn = _element_fn(low, op, args, result.element)
    value = arrays.lazy_elementwise(low.b, args, result, fn)
    low.remember_operands(value, args)
    return value


def _element_fn(low: Lowering, op: Any, args: Sequence[Value], type: Scalar) -> Any:
    """op on elements, computed in the type that the elements have together."""
    fn: ScalarFn | None = scalar(op)
    if fn is None:
        raise _unknown(low, op, args[0])

    def at(b: Builder, *elements: Atom) -> Atom:
        return fn(b, elements, type)

    return at


# ---- tuples, None, strings -------------------------------------------------------------------


def _on_tuples(low: Lowering, op: Any, x: TupleValue, y: TupleValue) -> Value:
    if op in (operator.add, operator.iadd):
        return TupleValue(x.items + y.items)
    if op in COMPARISONS:
        return containers.compare(low, COMPARISONS[op], x, y)
    raise _unknown(low, op, x)


def _contains(low: Lowering, x: Value, y: Value) -> Atom:
    """y in x."""
    b = low.b
    if isinstance(x, TupleValue):
        found: Atom = Const(False, BOOL)
        for item in x.items:
            same = binary(low, operator.eq, item, y, None, types.boolean, "t")
            found = b.prim("or", found, same)
        return found
    raise _unknown(low, operator.contains, x)


def _on_known(low: Lowering, op: Any, x: Value, y: Value) -> Value:
    """Comparisons of what is known while reading: None, dtypes, strings."""
    if op in (operator.is_, operator.is_not, operator.eq, operator.ne):
        negated = op in (operator.is_not, operator.ne)
        none = Known(None)
        for v, w in ((x, y), (y, x)):
            if isinstance(v, Maybe) and w == none:
                return v.present if negated else low.b.prim("not", v.present)
        if x == none or y == none:
            return Const((x == y) != negated, BOOL)
        missing = object()
        v, w = known(x, missing), known(y, missing)
        if v is not missing and w is not missing:
            return Const((v == w) != negated, BOOL)
        if _is_string(x) and _is_string(y):
            (same,) = low.b.extern("same_string", x, y, types=[BOOL])
            return low.b.prim("not", same) if negated else same
    raise _unknown(low, op, x)


def _is_string(v: Value) -> bool:
    return is_atom(v) and isinstance(v.type, Opaque)


def _unknown(low: Lowering, op: Any, x: Value) -> Exception:
    return low.unsupported(
        f"`{getattr(op, '__name__', op)}` of {convert.describe(x)}",
        "numbaflux does not know what it computes",
        "write it with arithmetic and the functions of math and NumPy",
    )
