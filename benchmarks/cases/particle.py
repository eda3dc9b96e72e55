"""GradBench's `particle`: where must a charge stand for a particle to hit the origin?

The particle's acceleration is a derivative of a potential; the landing place is differentiated with
respect to the charge's place w, and gradient descent minimises its square. In a mode's name the
first letter says how the outer derivative is made, the second how the inner one is: `r` by reverse,
`f` by forward mode.
"""

import math

from numba import njit

import numbaflux as nf
from benchmarks.case import Case, Mode, beside
from benchmarks.cases.descent import smallest
from benchmarks.check import close

STEP = 0.1


@njit
def potential(x, y, w):
    """Of two charges, at (10, 10 - w) and (10, 0)."""
    first = math.sqrt((x - 10.0) ** 2 + (y - 10.0 + w) ** 2)
    second = math.sqrt((x - 10.0) ** 2 + y**2)
    return 1.0 / first + 1.0 / second


@njit
def flight(w, push):
    """The square of the place where the particle lands: naive Euler steps, the last one cut."""
    x, y, vx, vy = 0.0, 8.0, 0.75, 0.0
    while True:
        push_x, push_y = push(x, y, w)
        x += STEP * vx
        y += STEP * vy
        if y <= 0.0:
            landed = x - y / vy * vx
            return landed * landed
        vx -= STEP * push_x
        vy -= STEP * push_y


push_r = nf.grad(potential, argnums=(0, 1))
push_f = nf.jacfwd(potential, argnums=(0, 1))


@njit
def miss_r(w):
    """The inner derivative in reverse mode."""
    return flight(w, push_r)


@njit
def miss_f(w):
    """The inner derivative in forward mode."""
    return flight(w, push_f)


outer_rr = nf.grad(miss_r)
outer_rf = nf.grad(miss_f)
outer_fr = nf.jacfwd(miss_r)
outer_ff = nf.jacfwd(miss_f)


@njit
def rr(w):
    return smallest(miss_r, outer_rr, w)


@njit
def rf(w):
    return smallest(miss_f, outer_rf, w)


@njit
def fr(w):
    return smallest(miss_r, outer_fr, w)


@njit
def ff(w):
    return smallest(miss_f, outer_ff, w)


# ---- the primal: every derivative by hand --------------------------------------------------------


@njit
def push(x, y, w):
    """The gradient of the potential."""
    a, b = x - 10.0, y - 10.0 + w
    r, s = a * a + b * b, a * a + y * y
    first, second = 1.0 / (r * math.sqrt(r)), 1.0 / (s * math.sqrt(s))
    return -a * (first + second), -b * first - y * second


@njit
def miss(w):
    return flight(w, push)


@njit
def slope_of_miss(w):
    """The flight with its derivative by w carried along."""
    x, y, vx, vy = 0.0, 8.0, 0.75, 0.0
    dx, dy, dvx, dvy = 0.0, 0.0, 0.0, 0.0
    while True:
        a, b, c = x - 10.0, y - 10.0 + w, y
        da, db, dc = dx, dy + 1.0, dy
        r, s = a * a + b * b, a * a + c * c
        first, second = 1.0 / (r * math.sqrt(r)), 1.0 / (s * math.sqrt(s))
        d_first = -3.0 * first / r * (a * da + b * db)
        d_second = -3.0 * second / s * (a * da + c * dc)
        x, y = x + STEP * vx, y + STEP * vy
        dx, dy = dx + STEP * dvx, dy + STEP * dvy
        if y <= 0.0:
            landed = x - y / vy * vx
            d_time = (dy * vy - y * dvy) / (vy * vy)
            return 2.0 * landed * (dx - d_time * vx - y / vy * dvx)
        vx += STEP * a * (first + second)
        vy += STEP * (b * first + c * second)
        dvx += STEP * (da * (first + second) + a * (d_first + d_second))
        dvy += STEP * (db * first + b * d_first + dc * second + c * d_second)


@njit
def by_hand(w):
    return smallest(miss, slope_of_miss, w)


def check(args, result):
    """Against the descent by hand; from w = 0 also against the number GradBench expects."""
    close(result, by_hand(*args), 1e-6)
    if args[0] == 0.0:
        close(result, 0.2071918746486116, 1e-9)


CASES = (
    Case(
        "particle",
        by_hand,
        lambda w: (w,),
        {"w0": (0.0,), "small": (0.2,)},
        {f.__name__: Mode(beside(f), check) for f in (rr, ff, fr, rf)},
    ),
)
