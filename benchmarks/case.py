"""What a case is: a primal, its sizes, and for each mode a derivative with an independent check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numba import njit

import numbaflux as nf
from benchmarks import check

Function = Callable[..., Any]
Args = tuple[Any, ...]
Check = Callable[[Args, Any], None]


@dataclass(frozen=True)
class Mode:
    """How a primal is differentiated, and how the result is known to be right.

    `build(f)` makes the derivative of `f`, a dispatcher of the primal that has compiled nothing;
    `arguments(args)` are what it is called with; `check(args, result)` raises AssertionError if
    the result is wrong. `goal` is the ratio this project has set itself.
    """

    build: Callable[[Function], Function]
    check: Check
    goal: float | None = None
    arguments: Callable[[Args], Args] = lambda args: args


@dataclass(frozen=True)
class Case:
    """A primal that leaves its arguments as they are, with inputs from a fixed seed."""

    name: str
    primal: Function
    inputs: Callable[..., Args]
    sizes: Mapping[str, Args]
    """The parameters of `inputs`; the smallest, "small", is for `--small` and for tests."""
    modes: Mapping[str, Mode]

    def args(self, size: str) -> Args:
        return self.inputs(*self.sizes[size])


def compiled(f: Function, **options: Any) -> Function:
    """A new dispatcher of f that has compiled nothing; f's own options are kept."""
    known = dict(getattr(f, "targetoptions", {}))
    known.pop("nopython", None)
    return njit(**{**known, **options})(getattr(f, "py_func", f))


def gradient(
    argnums: int | tuple[int, ...], check: Check, goal: float | None = None, value: bool = False
) -> Mode:
    """Reverse mode: `nf.grad`, or with the value `nf.value_and_grad`."""
    transform = nf.value_and_grad if value else nf.grad
    return Mode(lambda f: transform(f, argnums=argnums), check, goal)


def forward(f: Function, argnums: tuple[int, ...], goal: float | None = None, **how: Any) -> Mode:
    """Forward mode along one direction: `nf.tangent`, with check.slope(f, argnums, **how)."""

    def arguments(args: Args) -> Args:
        tangents = check.direction(args, argnums)
        return tuple(
            nf.Dup(arg, tangents[i]) if i in argnums else arg for i, arg in enumerate(args)
        )

    return Mode(nf.tangent, check.slope(f, argnums, **how), goal, arguments)


def beside(derivative: Function) -> Callable[[Function], Function]:
    """For a derivative that is an `njit` function itself: it is compiled with f's options."""
    return lambda f: compiled(derivative, cache=is_cached(f))


def is_cached(f: Function) -> bool:
    """Whether a dispatcher keeps its code on disk."""
    return type(f._cache).__name__ != "NullCache"  # type: ignore[attr-defined]
