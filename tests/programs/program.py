"""What an entry of the corpus is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from tests import trees


@dataclass(frozen=True)
class Program:
    """A function, arguments at which it is smooth, and which of them to differentiate."""

    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: tuple[int, ...]
    float32: bool = False
    """Run it in float32 as well."""
    python: bool = True
    """CPython computes the same."""
    identity: float = 1e-12
    """How closely forward and reverse mode agree: a few ulp of what the program computes in."""

    def __str__(self) -> str:
        return self.name

    def fresh(self) -> tuple[Any, ...]:
        """Copies of the arguments, with their layouts and with what they share."""
        return trees.copy(self.args)

    def primal(self) -> Callable[..., Any]:
        """The program as Numba alone compiles it."""
        return self.f if hasattr(self.f, "py_func") else numba.njit(self.f)

    def interpreted(self, *args: Any) -> Any:
        """The result by CPython, of fresh arguments if none are given."""
        return getattr(self.f, "py_func", self.f)(*(args or self.fresh()))

    def narrowed(self) -> "Program":
        """The same program with float32 arguments."""
        args = tuple(trees.map_floats(np.float32, arg) for arg in self.args)
        return Program(f"{self.name}_float32", self.f, args, self.argnums, python=False)


def program(into: list[Program], *args: Any, argnums: Any = None, **options: Any):
    """Decorate a function to enter it into a corpus; by default all floats are differentiated."""
    chosen = argnums if argnums is not None else [i for i, a in enumerate(args) if trees.floats(a)]

    def enter(f: Callable[..., Any]) -> Callable[..., Any]:
        name = getattr(f, "py_func", f).__name__
        into.append(Program(name, f, args, tuple(chosen), **options))
        return f

    return enter
