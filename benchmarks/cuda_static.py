"""What kernels and their derivatives are on a GPU, counted without one: `python -m
benchmarks.cuda_static`, with `--update` to rewrite tests/cuda/static_table.json, which the tests
compare; with `--mlir` by numba-cuda-mlir, beside the registers and instructions that numba-cuda's
table has, and static_table_mlir.json.  Machine code is for sm_90; `by hand` are registers and
instructions of an adjoint that a programmer wrote.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numbaflux as nf
from numbaflux.cuda.report import analysed
from numbaflux.cuda.static import counted
from tests.cuda.kernels import KERNELS, Case
from tests.cuda.mlir import of_mlir

FOLDER = Path(__file__).parents[1] / "tests" / "cuda"
TABLES = {
    "numba_cuda": FOLDER / "static_table.json",
    "numba_cuda_mlir": FOLDER / "static_table_mlir.json",
}  # of each compiler
N = 1 << 16  # elements: of the launch that is meant
FORMS = ("primal", "tangent", "adjoint")
SHOWN = ("registers", "instructions", "barriers", "reductions", "shared_atomics", "loops", "local")
HEAD = ("regs", "SASS", "BAR", "RED", "ATOMS", "loops", "local")
MORE_REGISTERS, MORE_INSTRUCTIONS = 8, 1.1  # than in the table: a regression

Numbers = dict[str, int]
Row = dict[str, Numbers | str]  # form -> numbers, or the class of the error that it raises
Table = dict[str, Row]


def measured(case: Case, form: str) -> Numbers | str:
    """The numbers of a kernel or of a derivative of it, or the error that refuses it."""
    if form == "primal":
        return counted(case.kernel, signature(case)).numbers()
    derivative = getattr(nf.cuda, form)(case.kernel)
    try:
        return analysed(derivative[case.launch(N)], *pairs(case, form)).numbers()
    except (nf.UnsupportedError, nf.NotDifferentiableError) as error:
        return type(error).__name__


def signature(case: Case) -> str:
    """The types of a kernel's arguments as either compiler reads them; arrays are contiguous."""
    written = (
        f"{t.dtype}[{':, ' * (t.ndim - 1)}::1]" if hasattr(t, "ndim") else str(t)
        for t in case.types
    )  # fmt: skip
    return f"void({', '.join(written)})"


def pairs(case: Case, form: str) -> Iterator[Any]:
    """The types of a derivative's arguments; in an adjoint a scalar's shadow is an array."""
    for i, given in enumerate(case.types):
        scalar = not hasattr(given, "ndim")
        shadow = given[::1] if scalar and form == "adjoint" else given
        yield nf.Dup(given, shadow) if i in case.active else given


def kernels(compiler: str) -> list[Case]:
    """The kernels, made by a compiler."""
    return KERNELS if compiler == "numba_cuda" else of_mlir("tests.cuda.kernels").KERNELS


def kept(compiler: str) -> Table:
    """The table that is checked in."""
    return json.loads(TABLES[compiler].read_text("utf-8"))


def table(compiler: str) -> Table:
    return {case.name: {f: measured(case, f) for f in FORMS} for case in kernels(compiler)}


def worse(before: Numbers | str, now: Numbers | str) -> list[str]:
    """In what a kernel is worse than the table says."""
    if isinstance(now, str):
        return [] if now == before else [f"refused: {now}"]
    if isinstance(before, str):
        return []
    found = [
        f"{key}: {now[key]}, not {before[key]}"
        for key in ("spills", "stack", "float64", "loops", "local")
        if now[key] > before[key]
    ]
    if now["registers"] > before["registers"] + MORE_REGISTERS:
        found.append(f"registers: {now['registers']}, not {before['registers']}")
    if now["instructions"] > before["instructions"] * MORE_INSTRUCTIONS:
        found.append(f"instructions: {now['instructions']}, not {before['instructions']}")
    return found


def lines(found: Table, beside: Table) -> Iterator[str]:
    """A line for each kernel; registers and instructions of another table are `numba-cuda`'s."""
    other = "   numba-cuda" if beside else ""
    yield f"{'kernel':16}{'form':9}" + "".join(f"{h:>7}" for h in HEAD) + other + "   by hand"
    by_hand = {case.name: case.by_hand for case in KERNELS}
    for name, row in found.items():
        for form, numbers in row.items():
            start = f"{name if form == FORMS[0] else '':16}{form:9}"
            if isinstance(numbers, str):
                yield f"{start}  {numbers}"
                continue
            line = start + "".join(f"{numbers[key]:7}" for key in SHOWN)
            theirs = beside.get(name, {}).get(form)
            if isinstance(theirs, dict):
                line += f"{theirs['registers']:7}/{theirs['instructions']:<5}"
            hand = by_hand[name] if form == "adjoint" else None
            yield line + (f"   {hand[0]}/{hand[1]}" if hand else "")


def main(arguments: list[str]) -> int:
    compiler = "numba_cuda_mlir" if "--mlir" in arguments else "numba_cuda"
    found = table(compiler)
    print("\n".join(lines(found, kept("numba_cuda") if "--mlir" in arguments else {})))
    if "--update" in arguments:
        TABLES[compiler].write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
