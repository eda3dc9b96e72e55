"""GradBench's `saddle`: min over (x, y) of max over (p, q) of (x^2 + y^2) - (p^2 + q^2).

Both by gradient descent, so that the derivative of the outer cost runs through a descent that
takes derivatives itself. In a mode's name the first letter says how the outer derivative is made,
the second how the inner one is: `r` by reverse, `f` by forward mode.
"""

from numba import njit

import numbaflux as nf
from benchmarks.case import Case, Mode, beside
from benchmarks.cases.descent import smallest_of_two
from benchmarks.check import exactly


@njit
def depth(p, q, x, y):
    """The function itself with its sign changed: its minimum over (p, q) is sought."""
    return (p * p + q * q) - (x * x + y * y)


slope_r = nf.grad(depth, argnums=(0, 1))
slope_f = nf.jacfwd(depth, argnums=(0, 1))


@njit
def highest_r(x, y, start_p, start_q):
    """The maximum over (p, q); the inner derivative in reverse mode."""
    p, q = smallest_of_two(depth, slope_r, start_p, start_q, x, y)
    return -depth(p, q, x, y)


@njit
def highest_f(x, y, start_p, start_q):
    """The same in forward mode."""
    p, q = smallest_of_two(depth, slope_f, start_p, start_q, x, y)
    return -depth(p, q, x, y)


outer_rr = nf.grad(highest_r, argnums=(0, 1))
outer_rf = nf.grad(highest_f, argnums=(0, 1))
outer_fr = nf.jacfwd(highest_r, argnums=(0, 1))
outer_ff = nf.jacfwd(highest_f, argnums=(0, 1))


@njit
def rr(p, q):
    x, y = smallest_of_two(highest_r, outer_rr, p, q, p, q)
    p, q = smallest_of_two(depth, slope_r, p, q, x, y)
    return x, y, p, q


@njit
def rf(p, q):
    x, y = smallest_of_two(highest_f, outer_rf, p, q, p, q)
    p, q = smallest_of_two(depth, slope_f, p, q, x, y)
    return x, y, p, q


@njit
def fr(p, q):
    x, y = smallest_of_two(highest_r, outer_fr, p, q, p, q)
    p, q = smallest_of_two(depth, slope_r, p, q, x, y)
    return x, y, p, q


@njit
def ff(p, q):
    x, y = smallest_of_two(highest_f, outer_ff, p, q, p, q)
    p, q = smallest_of_two(depth, slope_f, p, q, x, y)
    return x, y, p, q


# ---- the primal: every derivative by hand --------------------------------------------------------


@njit
def twice(p, q, x, y):
    return 2.0 * p, 2.0 * q


@njit
def highest(x, y, start_p, start_q):
    p, q = smallest_of_two(depth, twice, start_p, start_q, x, y)
    return -depth(p, q, x, y)


@njit
def by_hand(p, q):
    x, y = smallest_of_two(highest, twice, p, q, p, q)
    p, q = smallest_of_two(depth, twice, p, q, x, y)
    return x, y, p, q


CASES = (
    Case(
        "saddle",
        by_hand,
        lambda *start: start,
        {"1,1": (1.0, 1.0), "small": (0.1, 0.1)},
        {f.__name__: Mode(beside(f), exactly(by_hand)) for f in (rr, ff, fr, rf)},
    ),
)
