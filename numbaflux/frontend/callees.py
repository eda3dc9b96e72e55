"""Calls: what is called is known by its type, never by its name."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core import types

from numbaflux import vecmath
from numbaflux.frontend import arrays, containers, convert, operators, recursion, rng
from numbaflux.frontend.builtins import BUILTINS
from numbaflux.frontend.numpy_calls import METHODS, NUMPY
from numbaflux.frontend.scalars import scalar
from numbaflux.frontend.session import folded
from numbaflux.frontend.values import (
    NONE,
    Call,
    Known,
    ListValue,
    Method,
    TupleValue,
    Value,
    ir_type,
    is_atom,
)
from numbaflux.ir.nodes import Array, Scalar
from numbaflux.ir.trees import Fixed, Leaf, Program, Tree, Tuple
from numbaflux.ir.walk import clone

if TYPE_CHECKING:
    from numba.core import ir

    from numbaflux.frontend.lower import Lowering


def call(low: Lowering, target: str, e: ir.Expr, name: str) -> Value:
    """The value of a call expression."""
    sig = low.typed.calltypes.get(e)
    callee = low.type_of(e.func.name)
    value = low.whole if _needs_memory(callee) else low.get
    args = tuple(value(v.name) for v in e.args)
    if e.vararg is not None:
        rest = low.get(e.vararg.name)
        args += rest.items if isinstance(rest, TupleValue) else (rest,)
    kwargs = {key: value(v.name) for key, v in dict(e.kws).items()}
    made = Call(args, kwargs, low.type_of(target), low.loc, sig, name, None, low)
    match callee:
        case types.BoundFunction():
            return _method(low, low.get(e.func.name), made)
        case types.NumberClass():
            return _number(low, callee.instance_type, made)
        case types.NamedTupleClass():
            cls = callee.instance_class
            bound = inspect.signature(cls).bind(*args, **kwargs)
            return TupleValue(tuple(bound.arguments.values()), cls)
        case types.RecursiveCall():
            return inlined(low, callee.dispatcher_type.dispatcher, made, True)
        case types.Dispatcher():
            return inlined(low, callee.dispatcher, made)
        case types.ExceptionClass():
            return NONE
        case types.Function():
            return function(low, callee.typing_key, made)
        case _:
            pass
    key = low.get(e.func.name)
    if isinstance(key, Known):
        return function(low, key.value, made)
    raise low.unsupported(
        f"a call of {callee}", "numbaflux cannot see what it computes",
        "call a function compiled by Numba",
    )  # fmt: skip


KEEPING = types.Dispatcher | types.RecursiveCall | types.NamedTupleClass


def _needs_memory(callee: types.Type) -> bool:
    """Whether what is called keeps its arguments; the others only look at their elements."""
    own = hasattr(getattr(callee, "typing_key", None), "numbaflux_lower")
    return own or isinstance(callee, KEEPING)


def function(low: Lowering, key: Any, made: Call) -> Value:
    """A call of a function that Numba knows: of Python, math or NumPy."""
    if key is not bool:
        made = replace(made, args=tuple(convert.given(low.b, a) for a in made.args))
    made = Call(made.args, made.kwargs, made.type, made.loc, made.signature, made.name, key, low)
    lower = getattr(key, "numbaflux_lower", None)
    if lower is not None:
        return lower(low.b, made)
    for table in (BUILTINS, rng.DRAWS):
        handle = _find(table, key)
        if handle is not None:
            found = handle(low, made)
            if found is not None:
                return found
    args = [*made.args, *made.kwargs.values()]
    numbers = all(is_atom(a) and isinstance(a.type, Scalar) for a in args)
    if numbers and scalar(key) is not None and isinstance(made.type, types.Number | types.Boolean):
        return operators.on_scalars(low, key, args, made.signature, made.type)
    if isinstance(key, np.ufunc) and scalar(key) is not None:
        return _ufunc(low, key, made)
    if scalar(key) is not None and key.__module__ == vecmath.exp.__module__:
        return operators.elementwise(low, key, args, made.type)
    handle = _find(NUMPY, key)
    if handle is not None:
        return handle(low.b, made)
    raise low.unsupported(
        f"`{_title(key)}`", "numbaflux has no rule for this function",
        "write it as a loop of arithmetic and of functions that have one",
    )  # fmt: skip


def _find(table: dict[Any, Any], key: Any) -> Any:
    try:
        return table.get(key)
    except TypeError:
        return None


def _title(key: Any) -> str:
    module = getattr(key, "__module__", None) or ""
    short = {"numpy": "np.", "math": "math.", "numpy.linalg": "np.linalg."}
    return short.get(module, "") + getattr(key, "__name__", str(key))


def _ufunc(low: Lowering, key: np.ufunc, made: Call) -> Value:
    """A ufunc over arrays; a further argument is where the result goes."""
    args = list(made.args[: key.nin])
    out = made.args[key.nin] if len(made.args) > key.nin else made.kwargs.get("out")
    if out is None:
        return operators.elementwise(low, key, args, made.type)
    value = operators.elementwise(low, key, args, low.array_type_of(out))
    arrays.assign(low.b, out, value, may_alias=low.may_alias(value, out))
    return out


def _number(low: Lowering, ty: types.Type, made: Call) -> Value:
    """float32(x) and its kin; of an array, as an array expression."""
    (x,) = made.args
    if arrays.is_array(x):
        result = ir_type(made.type, low.loc)
        assert isinstance(result, Array)
        return arrays.lazy_elementwise(low.b, [x], result, arrays.copied)
    return convert.coerce(low.b, x, ty, made.name)


def _method(low: Lowering, method: Value, made: Call) -> Value:
    assert isinstance(method, Method)
    owner = method.owner
    made = Call(
        (owner, *made.args), made.kwargs, made.type, made.loc, made.signature, made.name,
        method.name, low,
    )  # fmt: skip
    if isinstance(owner, ListValue) and method.name in containers.LIST_METHODS:
        return containers.LIST_METHODS[method.name](low, owner, made) or NONE
    if arrays.is_array(owner) and method.name in METHODS:
        return METHODS[method.name](low.b, made)
    if isinstance(owner, TupleValue) and method.name == "_replace" and owner.cls is not None:
        fields = dict(zip(owner.cls._fields, owner.items)) | made.kwargs
        return TupleValue(tuple(fields.values()), owner.cls)
    if isinstance(owner, Known) and callable(getattr(owner.value, method.name, None)):
        return function(low, getattr(owner.value, method.name), made)
    raise low.unsupported(
        f"the method `{method.name}` of {convert.describe(owner)}",
        "numbaflux has no rule for it", "write it as a loop",
    )  # fmt: skip


# ---- the user's functions --------------------------------------------------------------------


def inlined(low: Lowering, dispatcher: Any, made: Call, by_itself: bool = False) -> Value:
    """A compiled function of the user's, written in place of the call unless it calls itself."""
    signature = inspect.signature(dispatcher.py_func)
    bound = signature.bind(*made.args, **made.kwargs)
    values: list[Value] = []
    for p in signature.parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            values.append(TupleValue(tuple(bound.arguments.get(p.name, ()))))
        elif p.name in bound.arguments:
            values.append(bound.arguments[p.name])
        else:
            values.append(Known(p.default))
    arg_types = folded(signature, made.signature.args)
    if by_itself:
        values, arg_types = recursion.with_defaults(low, values, arg_types)
    program = getattr(dispatcher, "numbaflux_program", None)
    if program is not None:
        return _derivative(low, program(arg_types), values, arg_types)
    options = getattr(dispatcher, "targetoptions", {})
    if low.session.calls_itself(dispatcher.py_func, arg_types):
        return recursion.called(low, dispatcher, arg_types, values, made.name)
    with low.session.reading(dispatcher.py_func, arg_types, dispatcher, options) as typed:
        env: dict[str, Value] = {}
        for name, v, ty in zip(typed.arg_names, values, arg_types):
            env[f"arg.{name}"] = v if isinstance(v, Known) else convert.coerce(low.b, v, ty)
        return low.inline(typed, env, options)


def _derivative(
    low: Lowering, program: Program, values: list[Value], arg_types: tuple[types.Type, ...]
) -> Value:
    """A function this library made: its program is copied, not read again."""
    atoms: dict[Any, Any] = {}
    for (_, tree), v, ty in zip(program.args, values, arg_types):
        _bind(low, tree, convert.coerce(low.b, v, ty), atoms)
    body, new = clone(program.function.block, atoms)
    for stmt in body.stmts:
        low.b.append(stmt)
    return _result(program.result, lambda a: new.get(a, a))


def _bind(low: Lowering, tree: Tree, v: Value, atoms: dict[Any, Any]) -> None:
    match tree:
        case Leaf(atom):
            atoms[atom] = convert.to_type(low.b, v, atom.type)
        case Tuple(items):
            for item, part in zip(items, v.items):
                _bind(low, item, part, atoms)
        case Fixed():
            pass


def _result(tree: Tree, f: Any) -> Value:
    match tree:
        case Leaf(atom):
            return f(atom)
        case Tuple(items, cls):
            return TupleValue(tuple(_result(i, f) for i in items), cls)
        case Fixed(value):
            return Known(value)
