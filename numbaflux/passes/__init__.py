"""Passes: pure functions IR → IR, and analyses, a file each."""

from collections.abc import Callable, Sequence

from numbaflux.debug import skipped
from numbaflux.ir.nodes import Function
from numbaflux.ir.walk import everywhere
from numbaflux.passes.accumulate import accumulate
from numbaflux.passes.loops.afresh import afresh
from numbaflux.passes.loops.assign import assign
from numbaflux.passes.loops.chain import chain
from numbaflux.passes.loops.contract import contract
from numbaflux.passes.loops.fuse import fuse
from numbaflux.passes.loops.gather import gather
from numbaflux.passes.loops.hoist import hoist
from numbaflux.passes.loops.late import late
from numbaflux.passes.loops.order import order
from numbaflux.passes.loops.outward import outward
from numbaflux.passes.loops.overwrite import overwrite
from numbaflux.passes.loops.promote import promote, promote_parallel
from numbaflux.passes.loops.registers import registers
from numbaflux.passes.loops.renew import renew
from numbaflux.passes.loops.skip import skip
from numbaflux.passes.loops.threads import threads
from numbaflux.passes.loops.twins import twins
from numbaflux.passes.loops.unseen import unseen
from numbaflux.passes.simplify import count, simplify
from numbaflux.passes.trim import trim

# What makes derivatives fast, in this order; each does nothing where it does not apply.
LOOP_PASSES = (
    order, fuse, twins, overwrite, contract, registers, gather, promote, promote_parallel, threads,
    chain, skip, late, renew, afresh, unseen, assign, hoist,
)  # fmt: skip
THREADED = (promote_parallel, threads)  # what becomes of parallel loops


def optimise(fn: Function) -> Function:
    """What every program goes through before it is written, and the functions it calls."""
    return everywhere(trim(fn), lambda f: _optimised(f, LOOP_PASSES))


def optimise_to_transform(fn: Function) -> Function:
    """The same for one that will be transformed again: parallel loops stay as they are."""
    passes = tuple(each for each in LOOP_PASSES if each not in THREADED)
    return everywhere(trim(fn), lambda f: _optimised(f, passes))


def _optimised(fn: Function, passes: Sequence[Callable[[Function], Function]]) -> Function:
    fn = _settle(accumulate(outward(simplify(fn))))
    for each in passes:
        made = fn if skipped(each.__name__) else each(fn)
        fn = fn if made is fn else _settle(made)
    return fn


def _settle(fn: Function) -> Function:
    """Simplify until nothing more goes."""
    size = count(fn)
    while True:
        fn = simplify(fn)
        if size == (size := count(fn)):
            return fn
