"""One flat vector, its parts by name: all the parameters of a model, or any other set of numbers.

    layout = Layout.of("Net", l1={"W": (2, 16), "b": (16,)}, rate=())
    P = layout.unpack(p)          # in compiled code too
    P.l1.W                        # p[0:32].reshape((2, 16)), a view
    P.rate                        # p[48]

In compiled code a part is a view made where it is used, of a shape known to the compiler, and
`unpack` costs nothing but a look at the length (`frontend/parts.py`).
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Names for consecutive parts of a vector: a shape each, or a layout again."""

    name: str
    fields: tuple[tuple[str, Layout | Shape], ...]

    @classmethod
    def of(cls, name: str, **fields: Any) -> Layout:
        """A layout from shapes, dicts of shapes and layouts, in the order they are given.

        >>> Layout.of("Net", l1={"W": (2, 16), "b": (16,)}, rate=()).size
        49
        """
        return cls(name, tuple((key, _field(key, value)) for key, value in fields.items()))

    @cached_property
    def size(self) -> int:
        """How many numbers the vector has."""
        return sum(map(_size, dict(self.fields).values()))

    @cached_property
    def starts(self) -> dict[str, int]:
        """Where each part begins."""
        found, start = {}, 0
        for name, field in self.fields:
            found[name] = start
            start += _size(field)
        return found

    def leaves(self, prefix: str = "", start: int = 0) -> Iterator[tuple[str, int, Shape]]:
        """The arrays: dotted name, where it begins, shape."""
        for name, field in self.fields:
            here = start + self.starts[name]
            if isinstance(field, Layout):
                yield from field.leaves(f"{prefix}{name}.", here)
            else:
                yield f"{prefix}{name}", here, field

    def unpack(self, p: np.ndarray) -> Any:
        """The parts of `p` by name: views of it, a float where the shape is ().

        p: a contiguous vector of `size` floats. Raises ValueError for another length.

        >>> import numpy as np
        >>> P = Layout.of("Line", w=(2,), c=()).unpack(np.array([1.0, 2.0, 3.0]))
        >>> P.w, P.c
        (array([1., 2.]), np.float64(3.0))
        """
        if len(p) != self.size:
            raise ValueError(self.wrong)
        parts = []
        for name, field in self.fields:
            part = p[self.starts[name] :][: _size(field)]
            if isinstance(field, Layout):
                parts.append(field.unpack(part))
            else:
                parts.append(part.reshape(field) if field else part[0])
        return _record(self.name, tuple(self.starts))(*parts)

    def numbaflux_parts(self) -> Any:
        """What code that uses it depends on."""
        return self.name, self.fields

    @property
    def wrong(self) -> str:
        """What is said of a vector of another length."""
        return f"{self.name} has {self.size} parameters"


def _field(name: str, value: Any) -> Layout | Shape:
    if isinstance(value, Layout):
        return value
    return Layout.of(name, **value) if isinstance(value, dict) else tuple(value)


def _size(field: Layout | Shape) -> int:
    return field.size if isinstance(field, Layout) else prod(field)


@cache
def _record(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(name, fields)
