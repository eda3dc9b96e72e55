"""Looking at the IR between stages: printing and verifying it.

    with nf.debug(print_after="vjp"):          # or NUMBAFLUX_PRINT=vjp,simplify in the environment
        nf.grad(f)(x)

A stage is `read`, a transform of the user's (`grad`, `jvp`, ...), a transform of the IR (`vjp`), a
pass (`simplify`, `accumulate`, `duplicate`, `counters`), or `optimise`, which is all that is done
before the code is written; `all` is each.  NUMBAFLUX_VERIFY=1 checks the invariants of the IR
after every stage.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec

from numbaflux.ir.nodes import Function
from numbaflux.ir.printer import show
from numbaflux.ir.verify import verify

P = ParamSpec("P")


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


PRINT = _names(os.environ.get("NUMBAFLUX_PRINT", ""))
VERIFY = os.environ.get("NUMBAFLUX_VERIFY", "0") not in ("", "0")

_printed: ContextVar[frozenset[str]] = ContextVar("printed", default=PRINT)
_verified: ContextVar[bool] = ContextVar("verified", default=VERIFY)
_skipped: ContextVar[frozenset[str]] = ContextVar("skipped", default=frozenset())
_looking: ContextVar[bool] = ContextVar("looking", default=False)


@contextmanager
def debug(print_after: str = "", verify: bool | None = None, skip: str = "") -> Iterator[None]:
    """Print the IR (to stderr) after the stages named, and verify it after every stage.

    `print_after`: names separated by commas, or "all". `skip`: passes over loops to leave out, to
    see what they are worth. Holds for what is compiled inside, in this thread; what is compiled
    already is not compiled again.
    """
    printed = _printed.set(_printed.get() | _names(print_after))
    verified = _verified.set(_verified.get() if verify is None else verify)
    skipped = _skipped.set(_skipped.get() | _names(skip))
    try:
        yield
    finally:
        _printed.reset(printed)
        _verified.reset(verified)
        _skipped.reset(skipped)


def stage(make: Callable[P, Function]) -> Callable[P, Function]:
    """A pass or transform whose result is printed and verified where that is asked for."""

    @wraps(make)
    def staged(*args: P.args, **kwargs: P.kwargs) -> Function:
        return after(make.__name__, make(*args, **kwargs))

    return staged


def skipped(stage: str) -> bool:
    """Whether a pass is to be left out."""
    return stage in _skipped.get()


def after(stage: str, fn: Function) -> Function:
    """What the road does after each stage; returns `fn` itself.

    Looking at a recursive function makes the derivatives it calls, which are not looked at then.
    """
    if _looking.get():
        return fn
    looking = _looking.set(True)
    try:
        printed = _printed.get()
        if stage in printed or "all" in printed:
            print(f"# {fn.name} after {stage}\n{show(fn)}", file=sys.stderr)
        if _verified.get():
            verify(fn)
    finally:
        _looking.reset(looking)
    return fn
