"""Arguments and results: which variables they are made of."""

from __future__ import annotations

from numba.core import types

from numbaflux.errors import UnsupportedError
from numbaflux.frontend import convert
from numbaflux.frontend.parts import LayoutType
from numbaflux.frontend.values import Known, TupleValue, Value, ir_type, is_atom, tuple_parts
from numbaflux.ir.nodes import Loc, Var
from numbaflux.ir.trees import Fixed, Leaf, Tree, Tuple


def argument(name: str, ty: types.Type, loc: Loc) -> Tree:
    """The variables that an argument of a type is made of."""
    parts = tuple_parts(ty)
    if parts is not None:
        names = getattr(parts[1], "_fields", range(len(parts[0])))
        items = tuple(argument(f"{name}_{n}", t, loc) for n, t in zip(names, parts[0]))
        return Tuple(items, parts[1])
    match ty:
        case types.Omitted():
            return Fixed(ty.value)
        case types.NoneType():
            return Fixed(None)
        case types.Dispatcher():
            return Fixed(ty.dispatcher)
        case LayoutType():
            return Fixed(ty.layout)
        case types.StringLiteral():
            return Fixed(ty.literal_value)
        case types.Function():
            return Fixed(ty.typing_key)
        case types.Optional():
            raise UnsupportedError(
                f"the argument `{name}` that may be None or {ty.type}", loc,
                "which it is decides what is differentiated",
                "pass None or a number: each is read on its own",
            )  # fmt: skip
        case types.List() | types.ListType() | types.Set() | types.DictType():
            raise UnsupportedError(
                f"the argument `{name}` of type {ty}", loc,
                "derivatives are of numbers, arrays and tuples of them", "pass an array or a tuple",
            )  # fmt: skip
        case _:
            return Leaf(Var(name, ir_type(ty, loc)))


def value_of(tree: Tree) -> Value:
    """A tree as a value of the user's."""
    match tree:
        case Leaf(atom):
            return atom
        case Tuple(items, cls):
            return TupleValue(tuple(value_of(i) for i in items), cls)
        case Fixed(value):
            return Known(value)


def tree_of(v: Value, loc: Loc) -> Tree:
    """A result as a tree."""
    if is_atom(v):
        return Leaf(v)
    match v:
        case TupleValue(items, cls):
            return Tuple(tuple(tree_of(i, loc) for i in items), cls)
        case Known(None):
            return Fixed(None)
        case _:
            pass
    raise UnsupportedError(
        f"{convert.describe(v)} as a result", loc,
        "derivatives are of numbers, arrays and tuples of them", "return an array or a tuple",
    )  # fmt: skip
