"""What a read program computes, against what Numba computes: the check behind a table of cases."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import njit, typeof
from numba.core.dispatcher import Dispatcher

from numbaflux.frontend import read
from numbaflux.ir.interp import interpret
from numbaflux.ir.trees import Fixed, Leaf, Program, Tree, Tuple
from numbaflux.ir.verify import verify

CASES: dict[str, tuple[Callable, tuple]] = {}


def case(*args: Any, **more: tuple) -> Callable[[Callable], Callable]:
    """Enter a function into the table with its arguments, and with `more` sets of them."""

    def enter(f: Callable) -> Callable:
        name = f.__name__
        assert name not in CASES, f"two cases are called {name}"
        CASES[name] = (f, args)
        for label, others in more.items():
            CASES[f"{name}-{label}"] = (f, others)
        return f

    return enter


def program_of(f: Callable, *args: Any, **options: Any) -> Program:
    return read(f, tuple(typeof(a) for a in args), options or None)


def run(program: Program, args: tuple) -> Any:
    """The result of a program on Python values, interpreted."""
    flat = [x for (_, tree), v in zip(program.args, args) for x in _flat(tree, v)]
    return _built(program.result, iter(interpret(program.function, flat)))


def _flat(tree: Tree, value: Any) -> Iterator[Any]:
    match tree:
        case Leaf():
            yield value
        case Tuple(items):
            for item, part in zip(items, value):
                yield from _flat(item, part)
        case Fixed():
            return


def _built(tree: Tree, values: Iterator[Any]) -> Any:
    match tree:
        case Leaf():
            return next(values)
        case Tuple(items, cls):
            parts = [_built(i, values) for i in items]
            return tuple(parts) if cls is None else cls(*parts)
        case Fixed(value):
            return value


def check(f: Callable, args: tuple) -> Program:
    """The read program is well formed and does what Numba's compiled function does."""
    compiled = f if isinstance(f, Dispatcher) else njit(f)
    ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
    expected = compiled(*theirs)
    program = program_of(f, *args)
    verify(program.function)
    same(run(program, ours), expected, "result")
    for i, (mine, other) in enumerate(zip(ours, theirs)):
        same(mine, other, f"argument {i} afterwards")
    return program


def same(found: Any, expected: Any, where: str) -> None:
    if isinstance(expected, tuple):
        assert type(found) is type(expected), where
        assert len(found) == len(expected), where
        for i, (x, y) in enumerate(zip(found, expected)):
            same(x, y, f"{where}[{i}]")
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype, where
        assert found.shape == expected.shape, where
        np.testing.assert_allclose(found, expected, _ulps(expected.dtype), err_msg=where)
    elif isinstance(expected, float | int | bool | np.generic):
        kind = np.asarray(found).dtype.kind
        assert kind == np.asarray(expected).dtype.kind, f"{where}: {found!r}, not {expected!r}"
        np.testing.assert_allclose(found, expected, _ulps(np.asarray(found).dtype), err_msg=where)
    else:
        assert found == expected or callable(expected), where


def _ulps(dtype: np.dtype) -> float:
    return 0.0 if dtype.kind not in "f" else 16 * float(np.finfo(dtype).eps)
