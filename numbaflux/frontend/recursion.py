"""Functions that call themselves: the call stays a call, of the function read on its own.

Where such a function is first called its statements are written in place of the call, as those of
any other function; the calls inside are calls of a `Callee`, whose own calls are of itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numba.core import types
from numba.core.typing.typeof import typeof

from numbaflux.frontend import convert
from numbaflux.frontend.session import Recursive
from numbaflux.frontend.signature import argument, value_of
from numbaflux.frontend.values import Value, ir_type, tuple_parts
from numbaflux.ir.nodes import Atom, Call, Callee, Opaque, Var
from numbaflux.ir.trees import Fixed, Leaf, Tree, Tuple, leaves, map_tree

if TYPE_CHECKING:
    from numbaflux.frontend.lower import Lowering

Types = tuple[types.Type, ...]


def with_defaults(
    low: Lowering, values: list[Value], arg_types: Types
) -> tuple[list[Value], Types]:
    """Numbers left out as if they had been given: what is called so or so is one function."""
    pairs = [_given(low, v, ty) for v, ty in zip(values, arg_types)]
    return [v for v, _ in pairs], tuple(ty for _, ty in pairs)


def _given(low: Lowering, v: Value, ty: types.Type) -> tuple[Value, types.Type]:
    if isinstance(ty, types.Omitted) and isinstance(ty.value, bool | int | float):
        ty = typeof(ty.value)
        v = low.session.lift(v.value, ty, "t", low.loc)
    return v, ty


def called(
    low: Lowering, dispatcher: Any, arg_types: Types, values: list[Value], name: str
) -> Value:
    """The value of a call of a function that calls itself."""
    found = _recursive(low, dispatcher, arg_types)
    if not found.callee.made and low.session.stack[0] != (dispatcher.py_func, arg_types):
        raise low.unsupported(
            f"the recursion of `{dispatcher.py_func.__name__}` by way of another function",
            "each of the two would have to be there before the other",
            "write both as one function, or the recursion as a loop",
        )  # fmt: skip
    args: list[Atom] = []
    for tree, v, ty in zip(found.args, values, arg_types):
        args += _atoms(low, tree, convert.coerce(low.b, v, ty))
    result = map_tree(lambda a: Leaf(Var(name, a.type)), found.result)
    results = tuple(a for a in leaves(result) if isinstance(a, Var))
    low.b.append(Call(results, found.callee, tuple(args), low.loc))
    return value_of(result)


def _recursive(low: Lowering, dispatcher: Any, arg_types: Types) -> Recursive:
    """The function, read once for these types."""
    session, py_func = low.session, dispatcher.py_func
    key = (py_func, arg_types)
    if key not in session.callees:
        options = dispatcher.targetoptions
        with session.reading(py_func, arg_types, dispatcher, options, again=True) as typed:
            callee = Callee(py_func.__name__, lambda: low.apart(typed, options).function)
            args = tuple(argument(n, t, typed.loc) for n, t in zip(typed.arg_names, arg_types))
            _refuse_opaque(low, args)
            result = _result(low, py_func.__name__, typed.return_type)
            session.callees[key] = Recursive(callee, args, result)
            callee.made["function"] = callee.make()  # now: what is wrong with it is said here
    return session.callees[key]


def _result(low: Lowering, name: str, ty: types.Type) -> Tree:
    """The variables of a result: numbers, and tuples of them."""
    parts = tuple_parts(ty)
    if parts is not None:
        return Tuple(tuple(_result(low, name, t) for t in parts[0]), parts[1])
    match types.unliteral(ty):
        case types.NoneType():
            return Fixed(None)
        case types.Number() | types.Boolean():
            return Leaf(Var(name, ir_type(ty, low.loc)))
        case types.Array():
            raise low.unsupported(
                f"the recursion of `{name}`, which returns an array",
                "a function that calls itself can return numbers, and write the arrays it is given",
                "pass it an array to write its result into",
            )  # fmt: skip
        case _:
            pass
    raise low.unsupported(
        f"the recursion of `{name}`, which returns {ty}",
        "a function that calls itself can return numbers and tuples of them", "return a number",
    )  # fmt: skip


def _refuse_opaque(low: Lowering, args: tuple[Tree, ...]) -> None:
    for a in leaves(Tuple(args)):
        if isinstance(a.type, Opaque):
            raise low.unsupported(
                f"a {a.type} as an argument of a function that calls itself",
                "only numbers, arrays and tuples of them are passed on", "leave it out",
            )  # fmt: skip


def _atoms(low: Lowering, tree: Tree, v: Value) -> list[Atom]:
    """The atoms of an argument, of the types that the function takes."""
    match tree:
        case Leaf(atom):
            return [convert.to_type(low.b, v, atom.type)]
        case Tuple(items):
            return [a for item, part in zip(items, v.items) for a in _atoms(low, item, part)]
        case Fixed():
            return []
