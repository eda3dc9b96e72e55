"""From a user's function and the types of its arguments to a program of the IR."""

from __future__ import annotations

import inspect
from typing import Any

from numba.core import types

from numbaflux.errors import UnsupportedError
from numbaflux.frontend import convert
from numbaflux.frontend.lower import Lowering
from numbaflux.frontend.session import Session, dispatcher_of, folded
from numbaflux.frontend.values import Known, TupleValue, Value, ir_type, is_atom, tuple_parts
from numbaflux.frontend.writer import Writer
from numbaflux.ir.nodes import Function, Loc, Var
from numbaflux.ir.trees import Fixed, Leaf, Program, Tree, Tuple, leaves


def read(
    f: Any, arg_types: tuple[types.Type, ...], options: dict[str, Any] | None = None
) -> Program:
    """The program of a plain function or dispatcher for arguments of the given Numba types.

    `options` are Numba's compiler options for a plain function, and add to a dispatcher's own.
    Raises UnsupportedError where the function uses what has no derivative here.
    """
    py_func, dispatcher = dispatcher_of(f)
    options = {**getattr(f, "targetoptions", {}), **(options or {})}
    arg_types = folded(inspect.signature(py_func), tuple(arg_types))
    session = Session()
    with session.reading(py_func, arg_types, dispatcher, options) as typed:
        loc = typed.loc
        b = Writer(loc)
        args = [(n, argument(n, ty, loc)) for n, ty in zip(typed.arg_names, arg_types)]
        env = {f"arg.{name}": _value(tree) for name, tree in args}
        params = [a for _, tree in args for a in leaves(tree) if isinstance(a, Var)]
        b.arguments.update(params)
        low = Lowering(typed, session, b, env, options.get("error_model") == "numpy")
        result = convert.coerce(b, low.body(), typed.return_type, "result")
        tree = _tree(result, loc)
        block = b.block(params, tuple(leaves(tree)))
    return Program(Function(py_func.__name__, block, loc, options), tuple(args), tree)


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


def _value(tree: Tree) -> Value:
    match tree:
        case Leaf(atom):
            return atom
        case Tuple(items, cls):
            return TupleValue(tuple(_value(i) for i in items), cls)
        case Fixed(value):
            return Known(value)


def _tree(v: Value, loc: Loc) -> Tree:
    """A result as a tree."""
    if is_atom(v):
        return Leaf(v)
    match v:
        case TupleValue(items, cls):
            return Tuple(tuple(_tree(i, loc) for i in items), cls)
        case Known(None):
            return Fixed(None)
        case _:
            pass
    raise UnsupportedError(
        f"{convert.describe(v)} as a result", loc,
        "derivatives are of numbers, arrays and tuples of them", "return an array or a tuple",
    )  # fmt: skip
