"""What Numba says when it cannot compile a function, as an error of ours."""

from __future__ import annotations

import re
from typing import Any

from numba.core import errors

from numbaflux.errors import UnsupportedError
from numbaflux.ir.nodes import Loc

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
HEADERS = ("Failed in ", "Internal error at", "- Resolution failure", "During: ", "[1] During")
LINE = re.compile(r"\((\d+)\)")  # "... f.py (40)"


def refusal(error: Exception, py_func: Any, start: Loc) -> UnsupportedError:
    """Numba's error about a function that starts at `start`."""
    text = COLOURS.sub("", str(getattr(error, "msg", None) or error))
    what = _what(text)
    return UnsupportedError(
        what,
        _loc(error, text, py_func, start),
        "Numba cannot compile it",
        _instead(what),
    )


def _what(text: str) -> str:
    """The line that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(HEADERS)] or ["this function"]
    if said[0].startswith("No implementation of function"):
        calls = [line.removeprefix(">>>").strip() for line in said if line.startswith(">>>")]
        if calls:
            return f"a call that Numba does not know: `{calls[0]}`"
    return said[0].rstrip(".:")


def _loc(error: Exception, text: str, py_func: Any, start: Loc) -> Loc:
    loc = getattr(error, "loc", None)
    if loc is not None:
        return Loc(loc.filename, loc.line, py_func.__name__)
    found = LINE.search(text)
    return Loc(start.file, int(found[1]), start.function) if found else start


def _instead(what: str) -> str:
    if "Untyped global name" in what or "NameError" in what:
        return "define the name before, or pass it as an argument"
    if "unify" in what:
        return "give the name one type on every path"
    return "write what `numba.njit` compiles: https://numba.readthedocs.io"
