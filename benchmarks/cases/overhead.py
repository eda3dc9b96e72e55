"""What a call from Python costs: a derivative by hand is the primal, `nf.grad` the derivative."""

import numbaflux as nf
from benchmarks.case import Case, Mode, compiled, is_cached
from benchmarks.check import exactly


def polynomial(x):
    return 3.0 * x * x + 2.0 * x + 1.0


def by_hand(x):
    return 6.0 * x + 2.0


CASES = (
    Case(
        "call",
        by_hand,
        lambda x: (x,),
        {"scalar": (2.0,), "small": (2.0,)},
        {
            "gradient": Mode(
                lambda f: nf.grad(compiled(polynomial, cache=is_cached(f))),
                exactly(by_hand),
                goal=1.15,
            )
        },
    ),
)
