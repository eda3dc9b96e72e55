"""`python -m benchmarks`: compile times, and gradients in multiples of their primals."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from numba import njit

import numbaflux as nf
from benchmarks import cases
from benchmarks.timing import Ratio, first_call, ratio


class Row(NamedTuple):
    """One line of the table."""

    name: str
    compile_primal: float
    compile_gradient: float
    run: Ratio


def fresh(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a new dispatcher that has compiled nothing, its options kept."""
    options = dict(getattr(f, "targetoptions", {}))
    options.pop("nopython", None)
    return njit(**options)(getattr(f, "py_func", f))


def measure(case: cases.Case) -> Row:
    """Compile and time a case and its value and gradient."""
    primal = fresh(case.f)
    argnums: Any = case.argnums if len(case.argnums) > 1 else case.argnums[0]
    gradient = nf.value_and_grad(fresh(case.f), argnums=argnums)
    primal_seconds = first_call(primal, case.args)
    gradient_seconds = first_call(gradient, case.args)
    return Row(case.name, primal_seconds, gradient_seconds, ratio(gradient, primal, case.args))


def table(rows: Iterable[Row]) -> None:
    """Print each row as soon as it is measured."""
    print(
        f"{'program':16} {'compile f':>10} {'grad':>8} {'ratio':>6}   "
        f"{'f':>10} {'grad':>10} {'ratio':>6} {'median':>7}"
    )
    for name, compile_primal, compile_gradient, run in rows:
        print(
            f"{name:16} {compile_primal:8.2f} s {compile_gradient:6.2f} s "
            f"{compile_gradient / compile_primal:6.1f}   "
            f"{1e6 * run.base_seconds:7.1f} us {1e6 * run.seconds:7.1f} us "
            f"{run.best:6.2f} {run.median:7.2f}",
            flush=True,
        )


def call_overhead() -> Ratio:
    """nf.grad of a polynomial called from Python, against a hand-written njit derivative."""
    return ratio(nf.grad(cases.polynomial), cases.polynomial_derivative, (2.0,), repeats=15)


def warm_up() -> None:
    """Compile something first, so that the first row does not pay for Numba's own start."""
    njit(cases.polynomial)(1.0)
    nf.value_and_grad(cases.polynomial)(1.0)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--small", action="store_true", help="ADBench at its smallest sizes")
    options = parser.parse_args()
    warm_up()
    table(map(measure, (*cases.programs(), *cases.adbench("small" if options.small else None))))
    call = call_overhead()
    print(
        f"\ncall from Python: grad {1e9 * call.seconds:.0f} ns, hand-written "
        f"{1e9 * call.base_seconds:.0f} ns, ratio {call.best:.2f} (median {call.median:.2f})"
    )


if __name__ == "__main__":
    main()
