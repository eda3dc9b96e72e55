"""The passes over loops: sink, snapshots, order, fuse, contract, gather, hoist.

Each program is checked to second order at sizes around which a border can go wrong, and for having
been transformed at all.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import numbaflux as nf
from numbaflux.ir.nodes import I64, Accumulate, Alloc, Const, For, Function, If, Prim
from numbaflux.ir.walk import regions, walk
from numbaflux.passes import optimise
from numbaflux.transforms.compose import value_and_grad
from tests.frontend.reading import program_of
from tests.transforms.checks import check_transforms

RNG = np.random.default_rng(5)


def read(f, *args) -> Function:
    return program_of(f, *args).function


def gradient(f, *args) -> Function:
    program = program_of(f, *args)
    wrt = tuple(i for i, p in enumerate(program.function.params) if p.type.is_float)
    return optimise(value_and_grad(program, wrt, False).function)


def loops(fn: Function) -> list[For]:
    return [s for s in walk(fn.block) if isinstance(s, For)]


def backward(fn: Function) -> list[For]:
    """The loops of reverse sweeps that still count down."""

    def counts_down(loop: For) -> bool:
        trips = [s for s in loop.body.stmts if isinstance(s, Prim) and s.op == "sub"]
        return any(loop.body.params[0] is s.args[1] for s in trips)

    return [s for s in loops(fn) if s.reverse and counts_down(s)]


# ---- gather ------------------------------------------------------------------------------------


def row(u):
    """Two shifts to one side, one to the other."""
    v = np.zeros(u.size)
    for i in range(2, u.size - 1):
        v[i] = u[i] * u[i - 2] + 0.5 * u[i + 1]
    total = 0.0
    for i in range(u.size):
        total += v[i] * v[i] * (i + 1.0)
    return total


def overlapping(u):
    """The element itself is read and written: old values are those before the loop."""
    for i in range(u.size - 1):
        u[i] = u[i] * u[i + 1]
    return u[0] * u[u.size - 1]


def plane(u, c):
    n, m = u.shape
    v = u.copy()
    for i in range(1, n - 1):
        for j in range(1, m - 1):
            v[i, j] = u[i, j] + c[i, j] * (u[i - 1, j] + u[i + 1, j] - u[i, j - 1] * u[i, j + 1])
    total = 0.0
    for i in range(n):
        for j in range(m):
            total += v[i, j] * v[i, j] * (1.0 + i + 2.0 * j)
    return total


def one_axis(u):
    n, m = u.shape
    v = np.zeros((n, m))
    for i in range(n):
        for j in range(m - 2):
            v[i, j] = u[i, j] * u[i, j + 2]
    total = 0.0
    for i in range(n):
        for j in range(m):
            total += v[i, j] * (i - j)
    return total


def space(u):
    n, m, k = u.shape
    v = np.zeros((n, m, k))
    for i in range(1, n):
        for j in range(m - 1):
            for q in range(1, k - 1):
                ends = u[i, j, q - 1] * u[i, j, q + 1]
                v[i, j, q] = u[i, j, q] * u[i - 1, j, q] + u[i, j + 1, q] * ends
    total = 0.0
    for i in range(n):
        for j in range(m):
            for q in range(k):
                total += v[i, j, q] * (i + 2.0 * j - q)
    return total


def swapped(u0, r, steps):
    u, v = u0.copy(), u0.copy()
    for _ in range(steps):
        for i in range(1, u.size - 1):
            v[i] = u[i] + r * u[i] * (u[i - 1] - 2.0 * u[i] + u[i + 1])
        u, v = v, u
    total = 0.0
    for i in range(u.size):
        total += u[i] * u[i]
    return total


def rows_of(u):
    """Through views of rows."""
    n, m = u.shape
    total = 0.0
    v = np.zeros((n, m))
    for i in range(1, n):
        above, here, out = u[i - 1], u[i], v[i]
        for j in range(m - 1):
            out[j] = above[j] * here[j + 1] + here[j]
    for i in range(n):
        for j in range(m):
            total += v[i, j] * (i + j * j)
    return total


def wrapping(u):
    """A negative index counts from the end: u[-1] and u[n-1] are one element."""
    v = np.zeros(u.size)
    for i in range(u.size):
        v[i] = u[i] * u[i - 1]
    total = 0.0
    for i in range(u.size):
        total += v[i] * (i + 1.0)
    return total


def along_rows(u):
    """The inner loop carries a dependence through v, in the primal and backward."""
    n, m = u.shape
    v = u.copy()
    for i in range(1, n - 1):
        for j in range(1, m):
            v[i, j] = v[i, j - 1] * u[i - 1, j] + u[i + 1, j]
    total = 0.0
    for i in range(n):
        for j in range(m):
            total += v[i, j] * (i + j)
    return total


STENCILS = {
    "along_rows": (along_rows, lambda n: (RNG.random((n, n)),)),
    "row": (row, lambda n: (RNG.random(n),)),
    "overlapping": (overlapping, lambda n: (RNG.random(n) + 0.5,)),
    "plane": (plane, lambda n: (RNG.random((n, n + 1)), RNG.random((n, n + 1)))),
    "one_axis": (one_axis, lambda n: (RNG.random((3, n)),)),
    "space": (space, lambda n: (RNG.random((4, n, 5)),)),
    "swapped": (swapped, lambda n: (RNG.random(n), 0.1, 3)),
    "rows_of": (rows_of, lambda n: (RNG.random((n, n)),)),
    "wrapping": (wrapping, lambda n: (RNG.random(n),)),
}


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("name", STENCILS)
def test_stencils(name, n):
    f, inputs = STENCILS[name]
    args = inputs(n)
    check_transforms(read(f, *args), list(args), order=2 if n in (3, 6) else 1)


@pytest.mark.parametrize("name", ["row", "plane", "one_axis", "space", "swapped", "rows_of"])
def test_stencils_are_gathered(name):
    """Inside, an element is updated once; updates under a condition are left at the borders."""
    f, inputs = STENCILS[name]
    fn = gradient(f, *inputs(6))
    conditional = [s for s in walk(fn.block) if isinstance(s, If)]
    assert conditional
    for loop in loops(fn):
        updates = [s for s in loop.body.stmts if isinstance(s, Accumulate)]
        assert len({id(s.array) for s in updates}) == len(updates)


@pytest.mark.parametrize(("trips", "gathered"), [(39, False), (40, False), (41, True)])
def test_parts_of_an_array_are_not_gathered(trips, gathered):
    """No element gets both updates where the loop is no longer than they are apart."""

    def f(u):
        v = np.zeros(u.size)
        for i in range(trips):
            v[i] = u[i] * u[i + 40]
        return np.sum(v * v)

    args = (RNG.random(81),)
    assert any(isinstance(s, If) for s in walk(gradient(f, *args).block)) == gathered
    check_transforms(read(f, *args), list(args), order=2)


def test_sums_over_another_axis_are_not_gathered():
    def f(u):
        total = 0.0
        for i in range(u.size - 1):
            for j in range(3):
                total += u[i] * u[i + 1] * j
        return total

    args = (RNG.random(5),)
    assert not [s for s in walk(gradient(f, *args).block) if isinstance(s, If)]
    check_transforms(read(f, *args), list(args), order=2)


# ---- order and fuse ----------------------------------------------------------------------------


def sum_of_sines(x):
    total = 0.0
    for i in range(x.size):
        total += math.sin(x[i]) * x[i]
    return total


def mixture(x, means, scale):
    """Per point a work array, a sum over the points: tape and sweeps of one point."""
    total = 0.0
    terms = np.empty(means.size)
    for i in range(x.size):
        for k in range(means.size):
            terms[k] = math.exp(-scale * (x[i] - means[k]) ** 2)
        inner = 0.0
        for k in range(means.size):
            inner += terms[k] * terms[k]
        total += math.log(inner)
    return total


def two_parameters(a, b, x):
    """Scalars that are used in the loop and after it."""
    total = 0.0
    for i in range(x.size):
        t = math.exp(a * x[i])
        total += t * b + t
    return a * total + b


def needs_the_sum(x):
    """The reverse sweep depends on the whole sum: the sweeps stay apart."""
    total = 0.0
    for i in range(x.size):
        total += math.exp(x[i])
    return math.log(total)


def recurrence(x):
    """Carries a dependence: stays backward."""
    y = 1.0
    for i in range(x.size):
        y = math.sin(y * x[i])
    return y


def prefix(x):
    for i in range(1, x.size):
        x[i] += x[i - 1] * x[i]
    return x[x.size - 1]


def conditional_reset(x):
    """Only adds on one path."""
    total = 0.0
    for i in range(x.size):
        if x[i] > 0.5:
            total = x[i] * x[i]
        else:
            total += math.sin(x[i])
    return total


def inner_reset(x):
    total = 0.0
    for i in range(x.size):
        for j in range(2):
            total = total * 0.5 if j == 0 else total + x[i] * x[i]
    return total


def carried_work(x, y):
    """The work array hands something on from trip to trip: it cannot be made anew."""
    work = np.zeros(3)
    total = 0.0
    for i in range(x.size):
        for k in range(2):
            work[k] = x[i] * y
        work[2] += work[0] * work[1]
        total += math.sin(work[2])
    return total


def elimination(a, b):
    a, b = a.copy(), b.copy()
    n = b.size
    for k in range(n):
        for i in range(k + 1, n):
            factor = a[i, k] / a[k, k]
            for j in range(k, n):
                a[i, j] -= factor * a[k, j]
            b[i] -= factor * b[k]
    total = 0.0
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            b[k] -= a[k, j] * b[j]
        b[k] /= a[k, k]
        total += b[k]
    return total


def buffers_in_a_loop(x):
    """Two buffers that an inner loop swaps, made outside of the outer loop: one memory for all."""
    u, v = x.copy(), x.copy()
    total = 0.0
    for k in range(2):
        a, b = u, v
        for _ in range(3):
            for i in range(a.size):
                b[i] = a[i] * a[i] * 0.9
            a, b = b, a
        total += a[0] * (k + 1.0)
    return total


def two_pairs_of_buffers(x):
    """The pairs share an array, so u and b are one array in every second trip."""
    first, shared, last = x.copy(), x * 0.5, x * 0.25
    u, v, a, b = first, shared, shared, last
    for _ in range(3):
        for i in range(x.size - 1):
            b[i] = u[i + 1] * u[i] + 0.1
        u, v = v, u
        a, b = b, a
    return u[0] + v[1] * a[2] + b[0]


def histogram(x, places):
    bins = np.zeros(4)
    for i in range(x.size):
        bins[places[i]] += x[i] * x[i]
    return bins[0] * bins[1] + bins[3]


def trajectory(x0, n):
    x = np.empty(n + 1)
    x[0] = x0
    for i in range(n):
        x[i + 1] = math.sin(x[i]) + x[i]
    total = 0.0
    for i in range(n + 1):
        total += x[i] * x[i]
    return total


LOOPS = {
    "sum_of_sines": (sum_of_sines, (RNG.random(5),)),
    "mixture": (mixture, (RNG.random(4), RNG.random(3), 0.7)),
    "two_parameters": (two_parameters, (0.3, 0.8, RNG.random(4))),
    "needs_the_sum": (needs_the_sum, (RNG.random(4),)),
    "recurrence": (recurrence, (RNG.random(4),)),
    "prefix": (prefix, (RNG.random(4),)),
    "conditional_reset": (conditional_reset, (RNG.random(6),)),
    "inner_reset": (inner_reset, (RNG.random(3),)),
    "carried_work": (carried_work, (RNG.random(4), 0.4)),
    "elimination": (elimination, (RNG.random((4, 4)) + 4.0 * np.eye(4), RNG.random(4))),
    "buffers_in_a_loop": (buffers_in_a_loop, (RNG.random(3),)),
    "two_pairs_of_buffers": (two_pairs_of_buffers, (RNG.random(5) + 0.5,)),
    "histogram": (histogram, (RNG.random(5), np.array([0, 3, 1, 1, -1]))),
    "trajectory": (trajectory, (0.4, 4)),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops(name):
    f, args = LOOPS[name]
    check_transforms(read(f, *args), list(args), order=2)


def test_a_loop_that_does_not_run_allocates_nothing():
    def f(x, n, m):
        total = 0.0
        for _ in range(n):
            work = np.zeros(m)
            for k in range(m):
                work[k] = x * k
            total += work[0] * work[m - 1]
        return total

    assert nf.grad(f)(2.0, 0, -3) == 0.0
    assert nf.grad(f)(2.0, 1, 3) == 0.0


@pytest.mark.parametrize("name", ["sum_of_sines", "mixture", "two_parameters"])
def test_sweeps_are_fused(name):
    """One loop over the points, and no array as long as they are many."""
    f, args = LOOPS[name]
    fn = gradient(f, *args)
    assert len([s for s in fn.block.stmts if isinstance(s, For)]) == 1
    assert not backward(fn)


@pytest.mark.parametrize("name", ["recurrence", "prefix", "conditional_reset", "inner_reset"])
def test_what_carries_a_dependence_counts_down(name):
    f, args = LOOPS[name]
    assert backward(gradient(f, *args))


def test_sweeps_that_need_the_sum_stay_apart():
    f, args = LOOPS["needs_the_sum"]
    fn = gradient(f, *args)
    assert len([s for s in fn.block.stmts if isinstance(s, For)]) == 2
    assert not backward(fn)


# ---- skip --------------------------------------------------------------------------------------


def nearest(points, centres, weight):
    total = 0.0
    for i in range(points.shape[0]):
        found = math.inf
        for j in range(centres.shape[0]):
            distance = 0.0
            for k in range(points.shape[1]):
                distance += (points[i, k] - centres[j, k]) ** 2 * weight
            found = min(found, distance)
        total += found
    return total


def largest_of_two(x):
    """The loop adds to what it is given whichever side was chosen."""
    total = 0.0
    for i in range(x.shape[0]):
        a, b = 0.0, 0.0
        for k in range(x.shape[1]):
            a += x[i, k] * x[i, k]
            b += math.sin(x[i, k])
        total += max(a, b) + 0.1 * a
    return total


SKIPPED = {
    "nearest": (nearest, (RNG.random((4, 2)), RNG.random((3, 2)), 0.7)),
    "largest_of_two": (largest_of_two, (RNG.random((3, 3)),)),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_loops_that_pass_zeros_on(name):
    f, args = SKIPPED[name]
    check_transforms(read(f, *args), list(args), order=2)


@pytest.mark.parametrize(("name", "skipped"), [("nearest", True), ("largest_of_two", False)])
def test_which_loops_are_skipped(name, skipped):
    f, args = SKIPPED[name]
    arms = [s.then for s in walk(gradient(f, *args).block) if isinstance(s, If)]
    assert any(isinstance(s, For) for arm in arms for s in arm.stmts) == skipped


def test_a_loop_is_skipped_where_a_later_trip_took_it_all():
    """Not only where the minimum was another's: also where it was one's own, but not to the end."""
    f, args = SKIPPED["nearest"]
    stmts = list(walk(gradient(f, *args).block))
    (guard,) = (s.cond for s in stmts if isinstance(s, If) and s.then.stmts)
    (asked,) = (s for s in stmts if isinstance(s, Prim) and s.result is guard)
    assert asked.op == "ne" and asked.args[1] == Const(0.0)


# ---- assign ------------------------------------------------------------------------------------


def reset_in_a_loop_that_may_not_run(x, m):
    """The loop over m may have no trips: then nothing is filled, the array stays as it was."""
    total = 0.0
    work = np.zeros(x.size)
    for k in range(3):
        for _ in range(m):
            for i in range(x.size):
                work[i] = x[i] * k
        total += work[0] * work[1] + k
        for i in range(x.size):
            work[i] += x[i]
    return total


@pytest.mark.parametrize("m", [0, 1, 2])
def test_an_array_that_is_not_filled_is_not_made_anew(m):
    x = RNG.random(3)
    check_transforms(read(reset_in_a_loop_that_may_not_run, x, m), [x, m], order=2)
    nf.check_grads(reset_in_a_loop_that_may_not_run, (x, m))


def carried_vector(p, n):
    c, h = np.zeros(3), np.zeros(3)
    for _ in range(n):
        for j in range(3):
            c[j] = p[j] * c[j] + 1.0
            h[j] = p[j] * c[j]
    return np.sum(h * h)


def carried_rows(p, n):
    c, h = np.zeros((3, 2)), np.zeros(3)
    for _ in range(n):
        for j in range(3):
            for i in range(2):
                c[j, i] = p[j] * c[j, i] + 1.0
            h[j] = p[j] * c[j, 1]
    return np.sum(h * h)


@pytest.mark.parametrize("f", [carried_vector, carried_rows])
def test_what_one_trip_hands_to_the_next_stays_an_array(f):
    """Each iteration of the inner loop sees its own part only, but in every outer trip again."""
    p = np.array([0.5, 0.6, 0.7])
    c, slope = 1 + p + p**2 + p**3, 1 + 2 * p + 3 * p**2
    value, d_p = nf.value_and_grad(f)(p, 4)
    np.testing.assert_allclose(value, np.sum((p * c) ** 2), rtol=1e-14)
    np.testing.assert_allclose(d_p, 2 * p * c * (c + p * slope), rtol=1e-14)


def test_the_first_sum_into_zeros_is_a_store():
    fn = gradient(sum_of_sines, RNG.random(4))
    assert not [s for s in walk(fn.block) if isinstance(s, Alloc) and s.zero]
    assert not [s for s in walk(fn.block) if isinstance(s, Accumulate)]


# ---- allocations -------------------------------------------------------------------------------


def test_work_arrays_are_made_once():
    f, args = LOOPS["mixture"]
    fn = gradient(f, *args)
    inside = [t for s in fn.block.stmts for r in regions(s) for t in walk(r)]
    assert not [s for s in inside if isinstance(s, Alloc)]


def costly(u0, steps):
    """A value that is kept, since it is not cheap to compute again."""
    u, v = u0.copy(), u0.copy()
    for _ in range(steps):
        for i in range(1, u.size - 1):
            v[i] = u[i] * math.exp(0.2 * u[i - 1] + u[i + 1])
        u, v = v, u
    return u[1] * u[2]


def from_two(u0, steps):
    """A value that a copy of one array does not give back."""
    u, v, w = u0.copy(), u0.copy(), u0.copy()
    for _ in range(steps):
        for i in range(1, u.size - 1):
            v[i] = u[i] * (0.2 * u[i - 1] + w[i + 1])
        for i in range(u.size):
            w[i] = w[i] * v[i]
        u, v = v, u
    return u[1] * u[2] + w[2]


@pytest.mark.parametrize(("f", "copied"), [(swapped, True), (costly, False), (from_two, False)])
def test_a_copy_in_place_of_sums(f, copied):
    """Of what an array is, and of sums of its elements, which a copy gives back."""
    args = (RNG.random(6), 0.2, 3) if f is swapped else (RNG.random(6), 3)
    check_transforms(read(f, *args), list(args), order=2)
    made = {s.result.name for s in walk(gradient(f, *args).block) if isinstance(s, Alloc)}
    assert any("_then" in name for name in made) == copied
    assert any("_cache" in name for name in made) != copied


def test_snapshots_at_full_size():
    """Compiled: a stencil on swapped buffers, against differences along a direction."""
    u, v = RNG.random(300), RNG.standard_normal(300)
    g = nf.grad(swapped)(u, 0.1, 50)
    h = 1e-6
    expected = (swapped(u + h * v, 0.1, 50) - swapped(u - h * v, 0.1, 50)) / (2 * h)
    np.testing.assert_allclose(g @ v, expected, rtol=1e-6)


# ---- promote and induction ---------------------------------------------------------------------


def packed_triangle(packed, x):
    """An index that counts through the rows of a triangle, and one element added to in a loop."""
    y = np.zeros(x.size)
    at = 0
    for j in range(x.size):
        for i in range(j + 1, x.size):
            y[i] += packed[at] * x[j]
            at += 1
    total = 0.0
    for i in range(x.size):
        total += y[i] * y[i] + x[i]
    return total + at


def no_trips(x, n):
    """The inner loop does not run: the element it would add to is not there."""
    total = 0.0
    for i in range(x.size):
        for k in range(n):
            total += x[i + 3] * x[k]
    return total + x[0] * x[1]


def two_steps(x):
    up, down = 0, x.size - 1
    total = 0.0
    for _ in range(x.size):
        total += x[up] * x[down] * up
        up += 1
        down -= 1
    return total * up - down


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (packed_triangle, (RNG.random(6), RNG.random(4))),
        (packed_triangle, (RNG.random(6), RNG.random(1))),
        (no_trips, (RNG.random(4), 0)),
        (no_trips, (RNG.random(4), -2)),
        (two_steps, (RNG.random(5),)),
    ],
    ids=["triangle", "one_row", "no_trips", "negative", "two_steps"],
)
def test_sums_and_steps(f, args):
    check_transforms(read(f, *args), list(args), order=2)
    nf.check_grads(f, args)


def test_an_element_is_added_to_after_the_loop():
    fn = gradient(packed_triangle, RNG.random(6), RNG.random(4))
    inner = [s for s in loops(fn) if s.reverse and not any(regions(t) for t in s.body.stmts)]
    assert any(len(s.inits) == 1 and isinstance(s.inits[0], Const) for s in inner)


def test_an_index_that_counts_is_not_kept():
    fn = gradient(two_steps, RNG.random(5))
    assert not [s for s in walk(fn.block) if isinstance(s, Alloc) and s.result.type.element == I64]


def test_an_array_that_carries_from_trip_to_trip_is_not_contracted():
    """`c` has an entry for every j, and each trip over t goes on with what the one before left."""

    def cell(p, xs):
        h, c = np.zeros(3), np.zeros(3)
        for t in range(xs.size):
            z = p * xs[t] + h
            for j in range(3):
                c[j] = 0.5 * c[j] + z[j]
                h[j] = math.tanh(c[j])
        return h.sum()

    args = np.array([0.3, 0.5, -0.2]), np.array([1.0, 0.5, -0.3, 0.7])
    assert nf.value_and_grad(cell)(*args)[0] == pytest.approx(cell(*args), rel=1e-14)
    nf.check_grads(cell, args)
