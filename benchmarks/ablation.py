"""`python -m benchmarks.ablation [CASE...]`: what each pass over loops is worth.

Every pass is left out in turn of the derivatives it changes: the time without it, in multiples of
the time with all of them, checked against an independent answer.  A pass may have no effect of its
own here and yet be what another one needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numbaflux as nf
from benchmarks import cases
from benchmarks.case import Case, compiled
from benchmarks.timing import Call, interleaved
from numbaflux.passes import LOOP_PASSES

PASSES = tuple(each.__name__ for each in LOOP_PASSES)
SHOWN = 0.05  # an effect below is noise
DEFAULT = ["logistic", "lorenz", "sin-product", "heat", "heat-nonlinear", "gmm", "lstm", "ode"]
DEFAULT += ["llsq", "lse", "det", "tridiagonal", "particle-in-cell", "n-body"]


def without(case: Case, mode: str, args: tuple, left_out: str) -> Any:
    """The derivative compiled without a pass, or without any of the functions of `vecmath`."""
    off = left_out == "vecmath"
    with nf.debug(skip="" if off else left_out):
        derivative: Any = case.modes[mode].build(compiled(case.primal))
        if off:
            derivative = type(derivative)(
                derivative.transform, derivative.primal, {"vecmath": False}
            )
        case.modes[mode].check(args, derivative(*case.modes[mode].arguments(args)))
    return derivative


def effects(case: Case, mode: str, size: str) -> Iterator[tuple[str, float]]:
    """For each pass that changes the code: how many times as long it takes without."""
    args = case.args(size)
    given = case.modes[mode].arguments(args)
    best = without(case, mode, args, "")
    text = nf.source(best, *given)
    for name in (*PASSES, "vecmath"):
        other = without(case, mode, args, name)
        if nf.source(other, *given) == text:
            continue
        ours, theirs = interleaved((Call(best, given), Call(other, given)), budget=0.6)
        yield name, theirs.fastest / ours.fastest


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation")
    parser.add_argument("case", nargs="*", default=DEFAULT)
    options = parser.parse_args(arguments)
    known = {case.name: case for case in cases.everything()}
    nf.keep_memory()
    for name in options.case:
        case = known[name]
        size = next(s for s in case.sizes if s != "small")
        found = effects(case, "gradient", size)
        shown = [f"{n} {x:.2f}" for n, x in found if abs(x - 1) > SHOWN]
        print(f"{name} {size}: {', '.join(shown) or 'nothing above noise'}", flush=True)


if __name__ == "__main__":
    main()
