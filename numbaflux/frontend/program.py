"""From a user's function and the types of its arguments to a program of the IR."""

from __future__ import annotations

import inspect
from typing import Any

from numba.core import types

from numbaflux.frontend.lower import whole
from numbaflux.frontend.session import Session, dispatcher_of, folded
from numbaflux.ir.trees import Program


def read(
    f: Any, arg_types: tuple[types.Type, ...], options: dict[str, Any] | None = None
) -> Program:
    """The program of a plain function or dispatcher for arguments of the given Numba types.

    `options` are Numba's compiler options for a plain function, and add to a dispatcher's own.
    Raises UnsupportedError where the function uses what has no derivative here.
    """
    py_func, dispatcher = dispatcher_of(f)
    options = {**getattr(f, "targetoptions", {}), **(options or {})}
    arg_types = folded(inspect.signature(py_func), tuple(arg_types))
    session = Session()
    with session.reading(py_func, arg_types, dispatcher, options) as typed:
        return whole(typed, session, options)
