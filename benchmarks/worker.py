"""One case in a process of its own: `python -m benchmarks.worker CASE SIZE MODE`; prints JSON."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numba
from numba import njit

import numbaflux as nf
from benchmarks import cases, machine, rivals
from benchmarks.case import Case, compiled
from benchmarks.timing import Call, interleaved, seconds


def measure(case: Case, size: str, mode: str, store: Path) -> dict[str, Any]:
    """Check the derivative, then time it; leave both in the disk cache at `store`."""
    _warm_up()
    how = case.modes[mode]
    args = case.args(size)
    primal = Call(compiled(case.primal), args)
    derivative = Call(how.build(compiled(case.primal)), how.arguments(args))
    compile_primal, compile_derivative = seconds(primal), seconds(derivative)
    how.check(args, derivative())
    extra = machine.extra_bytes(primal, derivative)
    nf.keep_memory()  # for both: a warm process, whose allocator does not start anew at each call
    times, d_times = interleaved((primal, derivative))
    _use_disk_cache(store)
    for call in _cached(case, size, mode):
        call()
    return {
        "primal_s": times.fastest,
        "derivative_s": d_times.fastest,
        "ratio": d_times.fastest / times.fastest,
        "ratio_of_medians": d_times.median / times.median,
        "compile_primal_s": max(0.0, compile_primal - times.fastest),
        "compile_derivative_s": max(0.0, compile_derivative - d_times.fastest),
        "extra_bytes": extra,
    }


def second_process(case: Case, size: str, mode: str, store: Path) -> dict[str, float]:
    """The first calls of primal and derivative that another process has left in the cache."""
    njit(_nothing)(1.0)
    _use_disk_cache(store)
    begin_primal, begin_derivative = _cached(case, size, mode)
    return {
        "cached_primal_first_call_s": seconds(begin_primal),
        "cached_first_call_s": seconds(begin_derivative),
    }


def rival(case: Case, size: str, mode: str, name: str) -> dict[str, float]:
    """The same for another tool: its derivative is checked, then timed against its own primal."""
    args = case.args(size)
    primal, derivative = rivals.find(name, case.name, mode)(*args)
    case.modes[mode].check(args, derivative())
    nf.keep_memory()
    times, d_times = interleaved((Call(primal, ()), Call(derivative, ())))
    return {"primal_s": times.fastest, "derivative_s": d_times.fastest}


def _cached(case: Case, size: str, mode: str) -> tuple[Call, Call]:
    """Calls that make a function with cache=True and call it once."""
    how, args = case.modes[mode], case.args(size)
    arguments = how.arguments(args)
    return (
        Call(lambda: compiled(case.primal, cache=True)(*args), ()),
        Call(lambda: how.build(compiled(case.primal, cache=True))(*arguments), ()),
    )


def _use_disk_cache(store: Path) -> None:
    """From here on, what is compiled with cache=True lies in this folder."""
    numba.config.CACHE_DIR = os.environ["NUMBAFLUX_CACHE_DIR"] = str(store)


def _warm_up() -> None:
    """Compile something first, so that no case pays for Numba's own start."""
    njit(_nothing)(1.0)
    nf.grad(_nothing)(1.0)
    nf.tangent(_nothing)(nf.Dup(1.0, 1.0))


def _nothing(x):
    return 2.0 * x


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    parser.add_argument("case")
    parser.add_argument("size")
    parser.add_argument("mode")
    parser.add_argument("--core", type=int)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--second", action="store_true", help="call what is in the cache")
    parser.add_argument("--rival")
    given = parser.parse_args()
    machine.pin(given.core)
    case = cases.find(given.case)
    what = (case, given.size, given.mode)
    if given.rival:
        row = rival(*what, given.rival)
    else:
        row = (second_process if given.second else measure)(*what, given.store)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
