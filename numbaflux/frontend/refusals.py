"""What Numba says when it cannot compile a function, as an error of ours."""

from __future__ import annotations

import re
from typing import Any

from numbaflux.errors import UnsupportedError
from numbaflux.ir.nodes import Loc

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
HEADERS = ("Failed in ", "Internal error at", "- Resolution failure", "During: ", "[1] During")
LINE = re.compile(r"\((\d+)\)")  # "... f.py (40)"
OTHERWISE = "write what `numba.njit` compiles: https://numba.readthedocs.io"

# (what Numba's message holds, what it is, what to write instead); \1 is what the pattern found
KNOWN = (
    (
        r"(`cuda\.[\w.]+`): (.*)",
        r"\1 called with other arguments than it takes: \2",
        "pass what https://numba.readthedocs.io/en/stable/cuda-reference/kernel.html says",
    ),
    (
        r"NameError: name '(\w+)' is not defined",
        r"the name `\1` is not defined",
        "define it before, or pass it as an argument",
    ),
    (
        r"intrinsic exception_match",
        "`try`/`except`",
        "test first, for example `if x <= 0.0: return 0.0`",
    ),
    (r"opcode \(IMPORT_NAME\)", "an `import` inside the function", "import it outside"),
    (
        r"Use of unsupported opcode \((\w+)\)",
        r"a construct whose byte code is \1",
        OTHERWISE,
    ),
    (
        r"use of cell variable",
        "a function inside the function that refers to itself",
        "define it outside",
    ),
    (
        r"use of getiter with parameters \((.*)\)",
        r"a loop over \1",
        "loop over a range, an array, or a tuple whose items have one type",
    ),
    (r"(Cannot unify .*)", r"\1", "give the name one type on every path"),
    (
        r"No implementation of function .* found for signature:\s*>>> (.*)",
        r"a call that Numba does not know: `\1`",
        OTHERWISE,
    ),
)


def refusal(error: Exception, py_func: Any, start: Loc) -> UnsupportedError:
    """Numba's error about a function that starts at `start`."""
    text = COLOURS.sub("", str(error))
    what, instead = _what(text)
    loc = _loc(error, text, py_func, start)
    return UnsupportedError(what, loc, "Numba cannot compile it", instead)


def _what(text: str) -> tuple[str, str]:
    """What is wrong, and what to write instead."""
    for pattern, what, instead in KNOWN:
        found = re.search(pattern, text)
        if found:
            return found.expand(what).strip(), instead
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in lines if not line.startswith(HEADERS)), "this function")
    return said.rstrip(".:"), OTHERWISE


def _loc(error: Exception, text: str, py_func: Any, start: Loc) -> Loc:
    loc = getattr(error, "loc", None)
    if loc is not None:
        return Loc(loc.filename, loc.line, py_func.__name__)
    found = LINE.search(text)
    return Loc(start.file, int(found[1]), start.function) if found else start
