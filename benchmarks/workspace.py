"""`python -m benchmarks.workspace`: what fresh memory costs a gradient, and who saves that.

The logistic map, whose gradient keeps 8 bytes a step: with memory that is fresh in every call, with
a workspace, and (for the whole process, so last) with `nf.keep_memory()`.
"""

from __future__ import annotations

import numba

import numbaflux as nf
from benchmarks.cases.recurrences import ONSET_OF_CHAOS, logistic
from benchmarks.timing import Call, interleaved

STEPS = (100_000, 1_000_000, 5_000_000, 20_000_000)


def main() -> None:
    primal = numba.njit(logistic)
    workspace = nf.Workspace()
    gradients = (nf.grad(primal, (0, 1)), nf.grad(primal, (0, 1), workspace=workspace))
    print(
        f"{'steps':>10} {'tape':>9} {'function':>9} {'fresh':>9} {'workspace':>9} {'kept':>9}  ms"
    )
    rows = []
    for n in STEPS:
        args = (0.3, ONSET_OF_CHAOS, n)
        calls = [Call(f, args) for f in (primal, *gradients)]
        rows.append([1e3 * t.fastest for t in interleaved(calls)])
        workspace.clear()
    kept = nf.keep_memory()
    for n, row in zip(STEPS, rows):
        fresh = Call(gradients[0], (0.3, ONSET_OF_CHAOS, n))
        row += [1e3 * interleaved([fresh])[0].fastest] if kept else []
        print(f"{n:10} {8e-6 * n:6.1f} MB", *(f"{t:9.2f}" for t in row))


if __name__ == "__main__":
    main()
