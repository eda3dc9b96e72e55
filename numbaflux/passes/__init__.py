"""Passes: pure functions IR → IR, and analyses, a file each."""

from numbaflux.ir.nodes import Function
from numbaflux.passes.accumulate import accumulate
from numbaflux.passes.simplify import count, simplify


def optimise(fn: Function) -> Function:
    """What every program goes through before it is written."""
    fn = accumulate(simplify(fn))
    size = count(fn)
    while True:
        fn = simplify(fn)
        if size == (size := count(fn)):
            return fn
