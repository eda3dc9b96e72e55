"""How a call of NumPy's reaches its handler, and what is said when the handler cannot take it.

A handler is an ordinary function `f(b, call, *args, **kwargs)` whose parameters are named as
NumPy names them: binding a user's call to it is Python's own argument binding.  It gets atoms,
`Lazy` expressions, and plain Python for what is known while reading: tuples, None, strings, dtypes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba.core import types

from numbaflux.errors import UnsupportedError
from numbaflux.frontend import values
from numbaflux.frontend.arrays import ZERO, Lazy
from numbaflux.ir.build import Builder, array_of
from numbaflux.ir.nodes import Array, Atom, Const, Loc, Opaque, Scalar, Type


@dataclass(frozen=True, slots=True)
class Call:
    """A call as a handler sees it: the IR's type of the result, the user's line and name."""

    type: Type | tuple[Any, ...] | None
    loc: Loc
    name: str
    title: str

    @property
    def array(self) -> Array:
        """The type of an array result."""
        assert isinstance(self.type, Array), f"{self.title} gives {self.type}"
        return self.type

    @property
    def scalar(self) -> Scalar:
        """The type of a scalar result, or of an array result's elements."""
        type = self.type.element if isinstance(self.type, Array) else self.type
        assert isinstance(type, Scalar), f"{self.title} gives {type}"
        return type

    def unsupported(self, what: str, why: str, instead: str) -> UnsupportedError:
        return UnsupportedError(f"`{self.title}` {what}", self.loc, why, instead)


Handler = Callable[[Builder, values.Call], Any]


def handler(title: str, f: Callable[..., Any]) -> Handler:
    """A registry's entry: a call of lowered values, bound to the parameters of `f`."""
    signature = inspect.signature(f)

    def handle(b: Builder, call: values.Call) -> Any:
        seen = Call(result_type(call.type, call.loc), call.loc, call.name, title)
        args = [plain(b, seen, v) for v in call.args]
        kwargs = {name: plain(b, seen, v) for name, v in call.kwargs.items()}
        try:
            bound = signature.bind(b, seen, *args, **kwargs)
        except TypeError as e:
            raise seen.unsupported(
                "with these arguments", f"{e}", "leave the argument out, or write the loop"
            ) from None
        return value(f(*bound.args, **bound.kwargs))

    return handle


def result_type(ty: types.Type, loc: Loc) -> Any:
    """Numba's type of a result in the IR's terms; a tuple of them for a tuple, None for None."""
    parts = values.tuple_parts(ty)
    if parts is not None:
        return tuple(result_type(t, loc) for t in parts[0])
    return None if isinstance(ty, types.NoneType) else values.ir_type(ty, loc)


def plain(b: Builder, call: Call, v: Any) -> Any:
    """A lowered value as a handler wants it."""
    match v:
        case values.TupleValue(items=items):
            return tuple(plain(b, call, i) for i in items)
        case values.Known(value=known):
            return known
        case Const(value=known, type=Opaque()):
            return known
        case values.ListValue() if isinstance(array_of(v.cells).element, Scalar):
            return _list(b, v)
        case values.ListValue() | values.RangeValue() | values.IterValue() | values.Method():
            raise call.unsupported(
                "of something that is not an array",
                "only arrays, tuples and lists of numbers are read here",
                "make an array of it first",
            )
        case _:
            return v


def _list(b: Builder, v: values.ListValue) -> Lazy:
    """A list of numbers as it is now, as an expression."""
    type = Array(array_of(v.cells).element, 1)
    return Lazy((b.load(v.length, [ZERO]),), type, lambda b, at: b.load(v.cells, at))


def value(v: Any) -> Any:
    """What a handler gives as a lowered value."""
    if isinstance(v, tuple):
        return values.TupleValue(tuple(value(i) for i in v))
    return values.NONE if v is None else v


# ---- arguments that must be known --------------------------------------------------------------


def integer(call: Call, v: Any, what: str) -> int:
    """An argument that must be an integer constant."""
    if isinstance(v, Const) and isinstance(v.value, int):
        return int(v.value)
    if isinstance(v, int):
        return v
    raise call.unsupported(
        f"with a computed {what}",
        f"the loops depend on the {what}",
        f"write the {what} as a number",
    )


def axis_of(call: Call, v: Any, ndim: int) -> int:
    """An axis as an index from 0; it must be a constant."""
    axis = integer(call, v, "axis")
    if not -ndim <= axis < ndim:
        raise call.unsupported(
            f"over axis {axis}", f"the array has {ndim} dimensions", "name one of its axes"
        )
    return axis % ndim


def lengths(call: Call, b: Builder, v: Any) -> list[Atom]:
    """A shape, one integer or a tuple of them, as int64 atoms."""
    items = v if isinstance(v, tuple) else (v,)
    return [as_index(b, i) for i in items]


def as_index(b: Builder, v: Any) -> Atom:
    """An integer as an int64 atom."""
    i64 = Scalar("int64")
    return Const(v, i64) if isinstance(v, int) else b.cast(v, i64)
