"""Running a hand-made IR function every way there is, and comparing."""

from __future__ import annotations

import copy
import re

import numpy as np

from numbaflux.backends.cpu import Source, write
from numbaflux.ir.build import Builder
from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import Function
from numbaflux.ir.trees import Fixed, Leaf, Program, Tuple
from numbaflux.ir.verify import verify


def function(b: Builder, params, *results) -> Function:
    return Function("f", b.block(params, results))


def program(fn: Function) -> Program:
    """The function with plain arguments and, if it has more than one result, a tuple."""
    results = tuple(Leaf(a) for a in fn.results)
    result = results[0] if len(results) == 1 else Tuple(results) if results else Fixed()
    return Program(fn, tuple((p.name, Leaf(p)) for p in fn.params), result)


def source_of(fn: Function, **options) -> str:
    return write("f", program(fn), options).text


def load(source: Source | str, compiled: bool, directory=None):
    """The written function; `directory` holds the constants beside it."""
    text = source if isinstance(source, str) else source.text
    if not compiled:
        text = re.sub(r"^@numba\.njit.*\n", "", text, flags=re.M)
        text = text.replace("numba.prange", "range")
        text = text.replace("runtime.put(", "runtime.put.py_func(")  # lists of arrays stay Python's
    space = {"__file__": f"{directory}/written.py", "__name__": "written"}
    exec(compile(text, "<written>", "exec"), space)
    return space["f"]


def agree(found, wanted) -> None:
    found = found if isinstance(found, tuple) else (found,)
    assert len(found) == len(wanted)
    for x, y in zip(found, wanted):
        np.testing.assert_allclose(x, y, rtol=1e-6 if _single(y) else 1e-13, atol=0)


def _single(y) -> bool:
    return np.asarray(y).dtype == np.float32


def check(fn: Function, *args, compiled: bool = True, plain: bool = True, **options) -> str:
    """Interpreter, written source and compiled source agree, in results and in what they write."""
    verify(fn)
    wanted_args = copy.deepcopy(args)
    wanted = interpret(fn, wanted_args)
    text = source_of(fn, **options)
    assert max(map(len, text.splitlines())) <= 100, text
    for how in [False] * plain + [True] * compiled:
        found_args = copy.deepcopy(args)
        found = load(text, how)(*found_args)
        try:
            agree(found, wanted) if fn.results else None
            agree(tuple(found_args), wanted_args)
        except AssertionError as error:
            raise AssertionError(f"{error}\ncompiled: {how}\n{text}") from error
    return text


def body(text: str) -> str:
    """What is below the signature, without the common indentation."""
    lines = text.split("):\n", 1)[1].rstrip().split("\n")
    return "\n".join(line.removeprefix("    ") for line in lines)
