"""`checkpoint`: the mark on a loop whose reverse keeps snapshots instead of every trip's values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numba import types
from numba.extending import overload

from numbaflux.errors import UnsupportedError
from numbaflux.frontend.values import RangeValue
from numbaflux.ir.build import Builder
from numbaflux.ir.nodes import BOOL, TEXT, Const

TOO_FEW = "checkpoint: slots must be at least 1"


def checkpoint(trips: range, slots: int) -> range:
    """The same range; a `for` over it is reversed with at most `slots` snapshots of its state.

    Without the mark reverse mode keeps values of every trip of a loop. With it, memory does not
    grow with the number of trips: the state (what the loop carries, and the arrays it writes) is
    saved at most `slots` times at once, and the trips in between are run again, no trip more often
    than it must be: with s slots and blocks of trips, C(s + r, s) blocks are run at most r times
    more (the binomial schedule of Griewank and Walther, ACM TOMS 26, 2000). Forward mode and the
    function itself do not see it. `slots` may be computed.

    >>> import math, numbaflux as nf
    >>> def f(x):
    ...     for _ in nf.checkpoint(range(100_000), slots=10):
    ...         x += 1e-5 * math.sin(x)
    ...     return x
    >>> round(nf.grad(f)(1.0), 6)
    1.101185
    """
    if not isinstance(trips, range):
        raise TypeError(f"checkpoint: {type(trips).__name__} is not a range")
    if slots < 1:
        raise ValueError(TOO_FEW)
    return trips


@overload(checkpoint, inline="always")
def _(trips, slots):
    if not isinstance(trips, types.RangeType) or not isinstance(slots, types.Integer):
        return None

    def same(trips, slots):
        if slots < 1:
            raise ValueError(TOO_FEW)
        return trips

    return same


def _lower(b: Builder, call: Any) -> RangeValue:
    trips, slots = _arguments(*call.args, **call.kwargs)
    if trips.parallel:
        raise UnsupportedError(
            "checkpoint of a prange",
            call.loc,
            "its trips have no order",
            "mark a loop whose trips depend on each other",
        )
    few = b.prim("lt", slots, Const(1, slots.type), type=BOOL)
    b.raise_if(few, ValueError, Const(TOO_FEW, TEXT))
    return replace(trips, slots=slots)


def _arguments(trips: Any, slots: Any) -> tuple[Any, Any]:
    return trips, slots


checkpoint.numbaflux_lower = _lower
