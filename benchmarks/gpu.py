"""Kernels and their adjoints on a GPU: right, and how fast.  `python -m benchmarks.gpu`

First each derivative, a vjp and tapes are compared with the emulator's on small launches; then
kernels and their adjoints are timed by events, the median of several runs.  `ideal` is how many
times the primal's time the adjoint takes if it moves no byte twice.  A table goes to the screen,
the numbers to gpu.json.

Exit status: 0 if all agrees (or there is no GPU, which is said), 1 if something does not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numba import cuda

import numbaflux as nf
from tests.cuda.kernels import KERNELS, Case
from tests.cuda.simulate import arguments, host_programs, shadows

SMALL, LARGE = 1 << 10, 1 << 24  # elements: compared, timed
RUNS, TOGETHER = 11, 10
OUTPUT = Path("gpu.json")

Numbers = dict[str, Any]


def agrees(case: Case, form: str) -> float:
    """The largest relative difference between a derivative's shadows here and on the emulator."""
    derivative = getattr(nf.cuda, form)(case.kernel)
    wanted, found = (arguments(case, form, SMALL) for _ in range(2))
    nf.cuda.emulate(derivative)[case.launch(SMALL)](*wanted)
    derivative[case.launch(SMALL)](*found)
    return difference(shadows(wanted), shadows(found))


def difference(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """The largest of several arrays, relative where they are large."""
    pairs = zip(wanted, found, strict=True)
    return max(float(np.max(np.abs(a - b) / (1 + np.abs(a)))) for a, b in pairs)


def timed(launch: Callable[[], None]) -> float:
    """The median time of a launch, in seconds; the first ones compile and warm up.

    Several in a row, so that the host prepares one while the GPU runs another.
    """
    for _ in range(3):
        launch()
    times = []
    for _ in range(RUNS):
        start, end = cuda.event(), cuda.event()
        start.record()
        for _ in range(TOGETHER):
            launch()
        end.record()
        end.synchronize()
        times.append(cuda.event_elapsed_time(start, end) / 1000 / TOGETHER)
    return median(times)


def measured(case: Case) -> Numbers:
    """Times of a kernel and its adjoint on a large launch."""
    n = LARGE
    launch = case.launch(n)

    def there(arg: Any) -> Any:
        if isinstance(arg, nf.Dup):
            return nf.Dup(*(there(item) for item in arg))
        return cuda.to_device(arg) if isinstance(arg, np.ndarray) else arg

    args = [there(a) for a in arguments(case, "adjoint", n)]
    primals = [a.primal if isinstance(a, nf.Dup) else a for a in args]
    kernel, adjoint = case.kernel[launch], nf.cuda.adjoint(case.kernel)[launch].bind(*args)
    primal, reverse = timed(lambda: kernel(*primals)), timed(adjoint)
    found: Numbers = {"primal_us": primal * 1e6, "adjoint_us": reverse * 1e6}
    found |= {"ratio": reverse / primal, "ideal": case.ideal}
    if case.bytes is not None:
        found["primal_GBs"] = n * case.bytes / primal / 1e9
        found["adjoint_GBs"] = n * case.bytes * case.ideal / reverse / 1e9
    return found


def row(name: str, numbers: Numbers) -> str:
    if "error" in numbers:
        return f"{name:16}{numbers['error']}"
    rates = "".join(
        f"{numbers.get(key, float('nan')):10.0f}" for key in ("primal_GBs", "adjoint_GBs")
    )
    times = f"{numbers['primal_us']:12.1f}{numbers['adjoint_us']:12.1f}"
    return f"{name:16}{times}{numbers['ratio']:8.2f}{numbers['ideal']:8.2f}{rates}"


def main() -> int:
    if not cuda.is_available():
        print("no GPU was found: nothing is measured")
        return 0
    found: dict[str, Numbers] = {}
    wrong = []
    for case in KERNELS:
        for form in ("tangent", "adjoint"):
            off = agrees(case, form)
            if not off < 2e-3:
                wrong.append(f"{form} of {case.name} is off by {off:.1e}")
    for name, mine, emulated in host_programs():
        off = difference(emulated, mine)
        if not off < 1e-12:
            wrong.append(f"{name} is off by {off:.1e}")
    print(f"{cuda.get_current_device().name}, {LARGE} elements, float32, median of {RUNS}")
    print(f"{'kernel':16}{'primal us':>12}{'adjoint us':>12}{'ratio':>8}{'ideal':>8}", end="")
    print(f"{'GB/s':>10}{'adjoint':>10}")
    for case in KERNELS:
        try:
            found[case.name] = measured(case)
        except Exception as error:  # one that fails is a row, not the end
            found[case.name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
            wrong.append(f"{case.name}: {found[case.name]['error']}")
        print(row(case.name, found[case.name]))
    OUTPUT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print("\n".join(wrong) or "all agree with the emulator")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
