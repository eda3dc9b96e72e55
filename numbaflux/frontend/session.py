"""What all functions read together share: constant arrays, and the functions being read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba.core import ir, types
from numba.core.dispatcher import Dispatcher

from numbaflux.frontend import fence, structure
from numbaflux.frontend.read import Run, Typed, capture, loc_of
from numbaflux.frontend.tree import Node
from numbaflux.frontend.values import (
    NONE,
    Known,
    TupleValue,
    Value,
    array_type,
    ir_type,
    tuple_parts,
)
from numbaflux.ir.build import const
from numbaflux.ir.nodes import Callee, Const, Global, Loc, Opaque, Scalar
from numbaflux.ir.trees import Tree

Key = tuple[Any, tuple[types.Type, ...]]  # a Python function and the types of its arguments


@dataclass(frozen=True, slots=True)
class Recursive:
    """A function that calls itself: `callee` and the trees of its arguments and of its result.

    The trees tell the structure; their variables are nobody's.
    """

    callee: Callee
    args: tuple[Tree, ...]
    result: Tree


@dataclass
class Session:
    """One call of `read`."""

    arrays: dict[int, Global] = field(default_factory=dict)
    stack: list[Key] = field(default_factory=list)
    callees: dict[Key, Recursive] = field(default_factory=dict)
    run: Run = field(default_factory=Run)

    def loc_of(self, loc: ir.Loc, py_func: Any) -> Loc:
        return loc_of(loc, py_func)

    @contextmanager
    def reading(
        self,
        py_func: Any,
        arg_types: tuple[types.Type, ...],
        dispatcher: Any,
        options: dict,
        again: bool = False,
    ) -> Iterator[Typed]:
        """A function's typed statements, checked; `with`, so that a function met again inside
        itself is recognised.  `again`: it is read as a function of its own."""
        outer = self.stack
        self.stack = [*([] if again else outer), (py_func, arg_types)]
        try:
            typed = capture(py_func, arg_types, options, dispatcher, self.run)
            fence.check(typed)
            yield typed
        finally:
            self.stack = outer

    def calls_itself(self, py_func: Any, arg_types: tuple[types.Type, ...]) -> bool:
        """Whether a call of this function is one that stays a call."""
        key = (py_func, arg_types)
        return key in self.stack or key in self.callees

    def structure(self, typed: Typed) -> tuple[Node, ...]:
        return structure.structure(typed)

    def lift(self, value: Any, ty: types.Type, name: str, loc: Loc) -> Value:
        """A Python object that is known while reading, as a value of a Numba type."""
        ty = types.unliteral(ty.type if isinstance(ty, types.Optional) else ty)
        if value is None:
            return NONE
        parts = tuple_parts(ty)
        if parts is not None and isinstance(value, tuple):
            items = zip(value, parts[0])
            return TupleValue(tuple(self.lift(v, t, name, loc) for v, t in items), parts[1])
        if isinstance(value, np.ndarray) and isinstance(ty, types.Array):
            if id(value) not in self.arrays:
                self.arrays[id(value)] = Global(name, value, array_type(ty, loc))
            return self.arrays[id(value)]
        if isinstance(value, str):
            return Const(value, Opaque(types.unicode_type))
        if isinstance(value, bool | int | float | np.number | np.bool_):
            type = ir_type(ty, loc)
            if isinstance(type, Scalar):
                return const(value, type)
        return Known(value)


def folded(signature: Any, types_given: tuple[types.Type, ...]) -> tuple[types.Type, ...]:
    """One type for each parameter: defaults omitted, further positional ones in a tuple."""
    found: list[types.Type] = []
    rest = list(types_given)
    for p in signature.parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            star = isinstance(rest[0], types.BaseTuple) if len(rest) == 1 else False
            ty = rest[0] if star else types.StarArgTuple.from_types(tuple(rest))
            assert ty is not None
            found.append(ty)
            rest = []
        elif rest:
            ty = rest.pop(0)
            found.append(ty if isinstance(ty, types.Omitted) else types.unliteral(ty))
        else:
            found.append(types.Omitted(p.default))
    return tuple(found)


def dispatcher_of(f: Any) -> tuple[Any, Dispatcher | None]:
    """The plain function and, if `f` is one, the dispatcher."""
    return (f.py_func, f) if isinstance(f, Dispatcher) else (f, None)
