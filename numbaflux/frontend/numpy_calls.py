"""Which of NumPy's functions and array methods are read, and by which handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbaflux.frontend import creation, indexing, joining, linear, ordering, reductions
from numbaflux.frontend.calls import Handler, handler

_MODULES = (creation, joining, linear, ordering, indexing, reductions)


def _title(f: Callable[..., Any]) -> str:
    """The function as a user writes it."""
    linalg = "linalg." if f.__module__ == "numpy.linalg" else ""
    return f"np.{linalg}{f.__name__}"


NUMPY: dict[Callable[..., Any], Handler] = {
    f: handler(_title(f), h) for m in _MODULES for f, h in m.FUNCTIONS.items()
}
METHODS: dict[str, Handler] = {
    name: handler(f".{name}", h) for m in _MODULES for name, h in m.METHODS.items()
}
