"""Passes: pure functions IR → IR, and analyses, a file each."""

from numbaflux.ir.nodes import Function
from numbaflux.ir.walk import everywhere
from numbaflux.passes.accumulate import accumulate
from numbaflux.passes.simplify import count, simplify


def optimise(fn: Function) -> Function:
    """What every program goes through before it is written, and the functions it calls."""
    return everywhere(fn, _optimise)


def _optimise(fn: Function) -> Function:
    fn = accumulate(simplify(fn))
    size = count(fn)
    while True:
        fn = simplify(fn)
        if size == (size := count(fn)):
            return fn
