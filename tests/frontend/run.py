"""Running what lowering writes: a program made of NumPy values and a function on a Builder."""

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np

from numbaflux.frontend.arrays import Lazy, materialise
from numbaflux.frontend.values import NONE, Call, Known, TupleValue, ir_type, leaves
from numbaflux.ir.build import Builder, index
from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import Const, Function, Var
from numbaflux.ir.verify import verify


def run(build: Callable[..., Any], *args: Any) -> Any:
    """build(b, *atoms) interpreted; the atoms are parameters with the values of `args`."""
    params = [Var(f"x{k}", ir_type(nb.typeof(a))) for k, a in enumerate(args)]
    b = Builder()
    result = build(b, *params)
    return _interpret(b, params, args, result)


def _interpret(b: Builder, params: list[Var], args: Any, result: Any) -> Any:
    result = materialise(b, result) if isinstance(result, Lazy) else result
    atoms = tuple(leaves(result)) if isinstance(result, TupleValue) else (result,)
    atoms = () if result is None or result == NONE else atoms
    fn = Function("f", b.block(params, atoms))
    verify(fn)
    found = interpret(fn, list(args))
    return found if isinstance(result, TupleValue) else (found[0] if found else None)


def lowered(
    handler: Callable, args: tuple, kwargs: dict[str, Any], expected: Any
) -> tuple[Builder, list[Var], list[Any], Any]:
    """A call of a handler of NUMPY or METHODS, typed as `expected` is.

    Arrays and floats become parameters; integers, None, strings and dtypes are constants.
    """
    params: list[Var] = []
    values: list[Any] = []

    def lower(v: Any) -> Any:
        match v:
            case tuple():
                return TupleValue(tuple(lower(i) for i in v))
            case bool() | str() | None | type():
                return Known(v)
            case int():
                return index(v)
            case float() if np.isinf(v):
                return Const(v)
        params.append(Var(f"x{len(params)}", ir_type(nb.typeof(v))))
        values.append(v)
        return params[-1]

    b = Builder()
    seen = Call(
        tuple(lower(a) for a in args),
        {name: lower(a) for name, a in kwargs.items()},
        nb.typeof(expected),
    )
    return b, params, values, handler(b, seen)


def call(handler: Callable, args: tuple, kwargs: dict[str, Any], expected: Any) -> Any:
    """The result of a handler on Python values, interpreted."""
    b, params, values, result = lowered(handler, args, kwargs, expected)
    return _interpret(b, params, values, result)


def same(got: Any, expected: Any, ulps: int = 4) -> None:
    """Equal in kind, shape and dtype, and in value to a few units in the last place."""
    if isinstance(expected, tuple):
        assert len(got) == len(expected)
        for g, e in zip(got, expected):
            same(g, e, ulps)
        return
    g, e = np.asarray(got), np.asarray(expected)
    assert (g.shape, g.dtype) == (e.shape, e.dtype)
    if e.dtype.kind == "f":
        tiny = ulps * np.finfo(e.dtype).eps
        np.testing.assert_allclose(g, e, rtol=tiny, atol=tiny)
    else:
        np.testing.assert_array_equal(g, e)
