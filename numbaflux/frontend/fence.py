"""What Numba compiles and numbaflux does not differentiate: refused before anything is lowered."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NoReturn

from numba.core import ir, types
from numba.core.unsafe import eh

from numbaflux.errors import UnsupportedError
from numbaflux.frontend.read import Typed, loc_of

# (Numba's type, what it is, why, what to write instead); the first that fits is reported
TYPES: tuple[tuple[type[types.Type] | tuple[type[types.Type], ...], str, str, str], ...] = (
    (
        (types.DictType, types.LiteralStrKeyDict),
        "a dict",
        "what it holds is found by hashing, which has no derivative",
        "use an array with integer positions, or a namedtuple",
    ),
    (
        types.Set,
        "a set",
        "what it holds is found by hashing, which has no derivative",
        "use an array with a mark for each member",
    ),
    (
        types.Complex,
        "a complex number",
        "derivatives are of real numbers",
        "carry the real and the imaginary part as two floats",
    ),
    (
        types.Record,
        "a record of a structured array",
        "its fields are not numbers of one type",
        "use one array for each field",
    ),
    (
        (types.NPDatetime, types.NPTimedelta),
        "a date or a time span",
        "only real numbers have derivatives",
        "convert it to a float first, outside the function",
    ),
    (
        types.ObjModeDispatcher,
        "`with objmode`",
        "what runs in the interpreter is not seen by the compiler",
        "compute it before and pass it as an argument",
    ),
    (
        types.ListType,
        "a typed list",
        "it may hold anything, and change anywhere",
        "use an array, or a list that stays inside the function",
    ),
    (
        (types.DeferredType, types.ClassInstanceType, types.StructRef),
        "an object of a class",
        "its attributes may change anywhere",
        "use a namedtuple of numbers and arrays",
    ),
)


def check(typed: Typed) -> None:
    """Raise UnsupportedError for the first construct that cannot be differentiated."""
    _check_function(typed)
    stmts = [s for n in sorted(typed.blocks) for s in typed.blocks[n].body]
    for stmt in stmts:  # it puts branches everywhere, which would be reported as something else
        if isinstance(stmt, ir.Assign) and _marks_try(stmt.value):
            _refuse(
                typed, stmt.loc, "`try`/`except`",
                "the reverse sweep cannot tell which statement left the block",
                "test first, for example `if x <= 0.0: return 0.0`",
            )  # fmt: skip
    for stmt in stmts:
        _check_statement(typed, stmt)


def _check_function(typed: Typed) -> None:
    f = typed.py_func
    if inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f):
        what, instead = "an `async` function", "write it as a plain function"
    elif inspect.isgeneratorfunction(f) or isinstance(typed.return_type, types.Generator):
        what, instead = "a generator", "fill an array and return it"
    else:
        return
    where = next((loc for loc in _yields(typed)), None)
    why = "it stops and goes on, so there is no order in which to run it backwards"
    if where is None:
        raise UnsupportedError(what, typed.loc, why, instead)
    _refuse(typed, where, what, why, instead)


def _yields(typed: Typed) -> Iterator[ir.Loc]:
    for block in typed.blocks.values():
        for stmt in block.body:
            if isinstance(stmt, ir.Assign) and isinstance(stmt.value, ir.Yield):
                yield stmt.loc


def _marks_try(value: Any) -> bool:
    return isinstance(value, ir.Global) and value.value is eh.mark_try_block


def _check_statement(typed: Typed, stmt: Any) -> None:
    if isinstance(stmt, ir.EnterWith):
        _refuse(
            typed, stmt.loc, "a `with` block", "what its end does is not known",
            "write its statements without it",
        )  # fmt: skip
    if not isinstance(stmt, ir.Assign):
        return
    for ty in _within(typed.typemap.get(stmt.target.name)):
        for kinds, what, why, instead in TYPES:
            if isinstance(ty, kinds):
                argument = isinstance(stmt.value, ir.Arg)
                where = typed.loc if argument else loc_of(stmt.loc, typed.py_func)
                raise UnsupportedError(what, where, why, instead)


def _within(ty: Any) -> Iterator[types.Type]:
    """A type and those of what a value of it holds."""
    if ty is None:
        return
    yield ty
    items: Any = ty if isinstance(ty, types.BaseTuple) else ()
    for item in items:
        yield from _within(item)
    match ty:
        case types.Array() | types.List():
            yield from _within(ty.dtype)
        case types.Optional():
            yield from _within(ty.type)
        case _:
            pass


def _refuse(typed: Typed, loc: ir.Loc, what: str, why: str, instead: str) -> NoReturn:
    raise UnsupportedError(what, loc_of(loc, typed.py_func), why, instead)
