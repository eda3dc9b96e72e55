"""What compiled code calls instead of a gradient that would keep too much: one with a budget.

Compiled code knows it by a name, and calls it as it calls objects of Python's, of which Numba has a
form: the dispatcher of object mode.  So it is made and compiled when it is called, and costs the
code that may call it next to nothing.
"""

# Numba's classes declare few of their attributes.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from numba import types
from numba.core.serialize import ReduceMixin
from numba.core.typing.templates import make_concrete_template, signature

Types = tuple[types.Type, ...]


class Frugal(ReduceMixin):
    """A function that `make` gives, for the compiled code of this process that knows `name`."""

    is_compiling = False
    known: ClassVar[WeakValueDictionary[str, Frugal]] = WeakValueDictionary()

    def __init__(self, name: str, result: types.Type, make: Callable[[], Callable]) -> None:
        self.name, self.output_types, self.make = name, result, make
        self.known[name] = self

    @property
    def _numba_type_(self) -> types.Type:
        return types.ObjModeDispatcher(self)

    def get_call_template(self, args: Types, kws: Any) -> Any:
        """What Numba's typing asks a dispatcher for: (template, pysig, args, kws)."""
        found = signature(self.output_types, *args)
        template = make_concrete_template(self.name, key=self.name, signatures=[found])
        return template, None, args, kws

    def compile(self, args: Types) -> Callable:
        """What is called, once for each place in compiled code, with objects of Python's."""
        return self.make()

    def _reduce_states(self) -> dict[str, Any]:
        return {"name": self.name}

    @classmethod
    def _rebuild(cls, name: str) -> Frugal:
        if name not in cls.known:
            raise MemoryError(
                "a gradient would keep more than a quarter of this machine's memory, and code that "
                "another process has compiled calls it: call the gradient from Python first, or "
                "give it a budget, nf.grad(f, memory='4 GB')"
            )
        return cls.known[name]


def unique() -> str:
    """A name that no other has in this process."""
    return f"{next(_numbers)}"


_numbers = count()


def callable_with(args: Iterable[types.Type]) -> bool:
    """Whether compiled code can hand over such arguments."""
    return all(
        callable_with(t.types) if isinstance(t, types.BaseTuple)
        else isinstance(t.dtype if isinstance(t, types.Array) else t, types.Number | types.Boolean)
        for t in args
    )  # fmt: skip
