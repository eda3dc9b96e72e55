"""Numba's statements and expressions, one case each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numba.core import ir, types

from numbaflux.frontend import arrays, callees, containers, convert, subscripts
from numbaflux.frontend.operators import binary, in_place, unary
from numbaflux.frontend.parts import PartsType, part_of
from numbaflux.frontend.values import (
    NONE,
    IterValue,
    Known,
    Method,
    TupleValue,
    Value,
    is_atom,
)
from numbaflux.ir.build import const, index
from numbaflux.ir.nodes import BOOL, Array, Atom, Const, Opaque, Raise, Scalar

if TYPE_CHECKING:
    from numbaflux.frontend.lower import Lowering


def lower(low: Lowering, stmt: Any) -> None:
    """One statement that is not a jump."""
    match stmt:
        case ir.Assign():
            assign(low, stmt.target.name, stmt.value)
        case ir.SetItem():
            base, where = low.get(stmt.target.name), low.get(stmt.index.name)
            subscripts.put(low, base, where, low.get(stmt.value.name))
        case ir.StaticSetItem():
            base, where = low.get(stmt.target.name), _static_index(low, stmt)
            subscripts.put(low, base, where, low.get(stmt.value.name))
        case ir.Print():
            print_(low, stmt)
        case ir.Del():
            pass
        case _:
            raise low.unsupported(
                f"the statement `{stmt}`", "it has no meaning for derivatives",
                "use arrays and numbers",
            )  # fmt: skip


def assign(low: Lowering, name: str, value: Any) -> None:
    ty = low.type_of(name)
    wish = low.wish(name)
    result = evaluate(low, name, ty, value, wish)
    if isinstance(result, arrays.Lazy) and name not in low.facts.lazy:
        result = arrays.materialise(low.b, result, wish if wish != "t" else "array")
    low.env[name] = settle(low, result, ty, wish)


def settle(low: Lowering, v: Value, ty: types.Type, name: str) -> Value:
    """v with its scalars in the types Numba says; arrays keep what is known of their layout."""
    if is_atom(v) and isinstance(v.type, Array):
        return v
    return convert.coerce(low.b, v, ty, name)


def evaluate(low: Lowering, name: str, ty: types.Type, value: Any, wish: str) -> Value:
    match value:
        case ir.Var():
            return low.get(value.name)
        case ir.Arg():
            return _argument(low, name, value)
        case ir.Const() | ir.Global() | ir.FreeVar():
            label = getattr(value, "name", "t")
            return low.session.lift(value.value, ty, label, low.loc)
        case ir.Expr():
            known = _resolved(low, ty, value)
            if known is not None:
                return known
            handle = EXPRESSIONS.get(value.op)
            if handle is not None:
                return handle(low, name, value, wish)
        case _:
            pass
    raise low.unsupported(
        f"`{getattr(value, 'op', value)}`", "numbaflux does not read this construct",
        "use arrays, tuples and numbers",
    )  # fmt: skip


def _argument(low: Lowering, name: str, value: ir.Arg) -> Value:
    v = low.env[f"arg.{value.name}"]
    if isinstance(v, Known):  # an omitted argument: its default
        return low.session.lift(v.value, low.type_of(name), value.name, low.loc)
    return v


def _resolved(low: Lowering, ty: types.Type, e: ir.Expr) -> Value | None:
    """The Python object that an expression's type says it is."""
    if isinstance(ty, types.Literal) and isinstance(ty.literal_value, int | bool | str):
        return low.session.lift(ty.literal_value, ty, "t", low.loc)
    if isinstance(ty, types.BoundFunction):
        return Method(low.get(e.value.name), e.attr) if e.op == "getattr" else None
    if isinstance(ty, types.Module):
        return Known(ty.pymod)
    if isinstance(ty, types.Dispatcher) and e.op == "getattr":
        return Known(ty.dispatcher)
    if isinstance(ty, types.NumberClass):  # float32, type(x)
        return Known(ty)
    if isinstance(ty, types.Function) and e.op == "getattr":
        return Known(ty.typing_key)
    if isinstance(ty, types.NoneType) and e.op in ("cast", "getattr", "binop"):
        return NONE
    return None


# ---- expressions -----------------------------------------------------------------------------


def _binop(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    return binary(low, e.fn, low.get(e.lhs.name), low.get(e.rhs.name), signature(low, e),
                  low.type_of(name), wish)  # fmt: skip


def _inplace(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    x, y = low.get(e.lhs.name), low.get(e.rhs.name)
    return in_place(low, e.immutable_fn, x, y, signature(low, e), low.type_of(name), wish)


def _unary(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    return unary(low, e.fn, low.get(e.value.name), signature(low, e), low.type_of(name), wish)


def signature(low: Lowering, e: ir.Expr) -> Any:
    return low.typed.calltypes.get(e)


def _call(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    return callees.call(low, name, e, wish)


def _getitem(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    base, where = low.get(e.value.name), low.get(e.index.name)
    return subscripts.get(low, base, where, low.type_of(name), wish)


def _static_getitem(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    base, where = low.get(e.value.name), _static_index(low, e)
    return subscripts.get(low, base, where, low.type_of(name), wish)


def _static_index(low: Lowering, e: Any) -> Value:
    return subscripts.constant_index(low, e.index)


def _tuple(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    return TupleValue(tuple(low.whole(v.name) for v in e.items))


def _list(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    ty = low.type_of(name)
    assert isinstance(ty, types.List)
    return containers.new_list(low, [low.whole(v.name) for v in e.items], ty, wish)


def _same(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    """getiter, exhaust_iter: what is iterated over stays what it is."""
    v = low.whole(e.value.name)
    if e.op == "exhaust_iter" and not isinstance(v, TupleValue):
        items = containers.items_of(low, v)
        return TupleValue(tuple(items.at(index(i)) for i in range(e.count)))
    return v


def _cast(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    return convert.coerce(low.b, low.get(e.value.name), low.type_of(name), wish)


def _getattr(low: Lowering, name: str, e: ir.Expr, wish: str) -> Value:
    v, ty = low.get(e.value.name), low.type_of(name)
    owner = low.type_of(e.value.name)
    if isinstance(owner, PartsType):
        return part_of(low.b, v, owner, e.attr)
    if isinstance(v, Known):
        return low.session.lift(getattr(v.value, e.attr, None), ty, e.attr, low.loc)
    if isinstance(v, TupleValue) and v.cls is not None:
        return v.items[v.cls._fields.index(e.attr)]
    if arrays.is_array(v):
        if e.attr in ATTRIBUTES:
            return ATTRIBUTES[e.attr](low, v, ty)
    elif is_atom(v) and isinstance(v.type, Scalar) and e.attr in ("real", "imag"):
        return v if e.attr == "real" else const(0, v.type)
    raise low.unsupported(
        f"the attribute `{e.attr}` of {owner}", "numbaflux does not know it",
        "use arrays, tuples and numbers",
    )  # fmt: skip


def _transposed(low: Lowering, v: Any, ty: types.Type) -> Value:
    v = arrays.materialise(low.b, v)
    return low.b.transposed(v) if arrays.rank(v) > 1 else v


def _dtype(low: Lowering, v: Any, ty: types.Type) -> Value:
    return Known(arrays.element_type(v).numpy)


ATTRIBUTES: dict[str, Callable[[Any, Any, types.Type], Value]] = {
    "shape": lambda low, v, ty: TupleValue(tuple(arrays.shape(low.b, v))),
    "size": lambda low, v, ty: arrays.size(low.b, v),
    "ndim": lambda low, v, ty: index(arrays.rank(v)),
    "T": _transposed,
    "real": lambda low, v, ty: v,
    "dtype": _dtype,
    "itemsize": lambda low, v, ty: index(arrays.element_type(v).numpy.itemsize),
    "flat": lambda low, v, ty: IterValue("flat", (arrays.materialise(low.b, v),)),
}

EXPRESSIONS: dict[str, Callable[..., Value]] = {
    "binop": _binop,
    "inplace_binop": _inplace,
    "unary": _unary,
    "call": _call,
    "getitem": _getitem,
    "static_getitem": _static_getitem,
    "typed_getitem": _getitem,
    "build_tuple": _tuple,
    "build_list": _list,
    "getiter": _same,
    "exhaust_iter": _same,
    "cast": _cast,
    "getattr": _getattr,
}

# ---- effects ---------------------------------------------------------------------------------


def print_(low: Lowering, stmt: ir.Print) -> None:
    if stmt.vararg is not None:
        raise low.unsupported("print(*args)", "it prints a tuple", "print the items one by one")
    values = [low.whole(v.name) for v in stmt.args]
    for v in values:
        if not is_atom(v):
            raise low.unsupported(
                f"print of {convert.describe(v)}", "only numbers, arrays and strings are printed",
                "print its parts",
            )  # fmt: skip
    low.b.print(*values)


def lower_raise(low: Lowering, stmt: Any) -> None:
    """raise Class(*args); without a class, whatever the assertion said."""
    exception = stmt.exc_class or RuntimeError
    found = (_message(low, a) for a in stmt.exc_args or ())
    args = tuple(a for a in found if a is not None)
    low.b.append(Raise(Const(True, BOOL), exception, args, low.b.loc, stated=True))


def _message(low: Lowering, arg: Any) -> Atom | None:
    if isinstance(arg, ir.Var):
        v = low.get(arg.name)
        return v if is_atom(v) and not isinstance(v.type, Array) else None
    match arg:
        case str():
            return Const(arg, Opaque(types.unicode_type))
        case bool():
            return Const(arg, BOOL)
        case int():
            return index(arg)
        case float():
            return const(arg)
        case _:
            return None
