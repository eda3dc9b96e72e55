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


def call(handler: Callable, args: tuple, kwargs: dict[str, Any], expected: Any) -> Any:
    """A handler of NUMPY or METHODS on Python values, typed as `expected` is, interpreted.

    Arrays and floats become parameters; integers, None, strings and dtypes are constants.
    """
    params: list[Var] = []
    values: list[Any] = []

    def lowered(v: Any) -> Any:
        match v:
            case tuple():
                return TupleValue(tuple(lowered(i) for i in v))
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
        tuple(lowered(a) for a in args),
        {name: lowered(a) for name, a in kwargs.items()},
        nb.typeof(expected),
    )
    result = handler(b, seen)
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
