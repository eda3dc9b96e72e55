"""`python -m benchmarks.long_run [STEPS]`: the gradient of a long simulation in little memory.

Lorenz' system, three states and three parameters, by a Runge-Kutta method of order four: time as a
multiple of the function's own, and memory at the peak beyond the function's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import numbaflux as nf
from benchmarks import machine
from benchmarks.cases.recurrences import fast_lorenz, lorenz_inputs
from benchmarks.timing import Call, seconds

WRT = (0, 1, 2, 3, 4, 5)
RUNS = 3
STATE = 3 * 8  # bytes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_run")
    parser.add_argument("steps", nargs="?", type=int, default=10**7)
    parser.add_argument("--memory", default="100 MB", help="the budget of the gradient")
    options = parser.parse_args(arguments)
    gradient = nf.grad(fast_lorenz, WRT, memory=options.memory)
    checkpointed = nf.grad(fast_lorenz, WRT, memory=0)
    args = lorenz_inputs(1000)
    np.testing.assert_allclose(checkpointed(*args), nf.grad(fast_lorenz, WRT)(*args), rtol=1e-9)
    gradient(*args)  # compiles
    args = lorenz_inputs(options.steps)
    primal, derivative = Call(fast_lorenz, args), Call(gradient, args)
    own, times = zip(*((seconds(primal), seconds(derivative)) for _ in range(RUNS)))
    print(
        f"{options.steps} steps, memory={options.memory!r}: function {min(own):.2f} s, gradient "
        f"{min(times):.2f} s, {min(times) / min(own):.2f} x"
    )
    extra = machine.extra_bytes(primal, derivative)
    peak = "cannot be measured here" if extra is None else f"{extra / 1e6:.1f} MB"
    print(f"peak {peak}; the states alone, kept, would take {STATE * options.steps / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
