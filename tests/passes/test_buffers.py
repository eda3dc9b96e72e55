"""Programs that step between buffers: lengths asked for inside the loop, swaps, work left out.

Each program is checked at sizes around which a border can go wrong and with no step at all.
"""

from __future__ import annotations

import numpy as np
import pytest

import numbaflux as nf
from numbaflux.ir.build import array_of
from numbaflux.ir.nodes import Accumulate, Alloc, Dim, For, Function, Load, Store
from numbaflux.ir.walk import walk
from numbaflux.passes import optimise
from numbaflux.passes.loops.boxes import clearing
from numbaflux.passes.loops.renew import renew
from numbaflux.passes.loops.unseen import unseen
from numbaflux.transforms.compose import value_and_grad
from tests.frontend.reading import program_of
from tests.transforms.checks import check_transforms

RNG = np.random.default_rng(6)


def check(f, *args, order: int = 1) -> None:
    check_transforms(program_of(f, *args).function, list(args), order=order)


def gradient(f, *args) -> Function:
    return optimise(value_and_grad(program_of(f, *args), (0,), False).function)


def loops(fn: Function) -> list[For]:
    return [s for s in walk(fn.block) if isinstance(s, For)]


# ---- lengths asked for inside the loop ---------------------------------------------------------


def step(u, v):
    n, m = u.shape
    for i in range(1, n - 1):
        for j in range(1, m - 1):
            v[i, j] = u[i, j] * u[i - 1, j] + u[i, j + 1]


def swapped(start, steps):
    u, v = start.copy(), start.copy()
    for _ in range(steps):
        step(u, v)
        u, v = v, u
    return u[0, 0] * np.sum(u * u)


def made_anew(start, steps):
    u = start.copy()
    for _ in range(steps):
        new = np.zeros_like(u)
        step(u, new)
        u = new
    return np.sum(u * u)


def around_three(start, steps):
    a, b, c = start.copy(), start.copy(), 2.0 * start
    for _ in range(steps):
        for i in range(1, len(a)):
            c[i] = a[i] * b[i - 1]
        a, b, c = b, c, a
    return np.sum(a * b) + c[0]


def of_two_lengths(start, steps):
    """The lengths change from trip to trip."""
    u, v = start.copy(), np.zeros(2 * len(start))
    for _ in range(steps):
        for i in range(min(len(u), len(v))):
            v[i] += u[i] * len(u)
        u, v = v, u
    return np.sum(u * u) * len(u)


def shorter(start, steps):
    """Every trip makes an array of another length."""
    u = start.copy()
    for _ in range(steps):
        new = np.zeros(len(u) - 1)
        for i in range(len(new)):
            new[i] = u[i] * u[i + 1]
        u = new
    return np.sum(u * u) * len(u)


def three_of_two_lengths(start, steps):
    a, b, c = start.copy(), start.copy(), np.zeros(len(start) + 1)
    for _ in range(steps):
        for i in range(min(len(a), len(c))):
            c[i] = a[i] * a[-1]
        a, b, c = b, c, a
    return np.sum(a * a) * len(a) + len(b)


PLANE, LINE = (RNG.random((5, 4)),), (RNG.random(5),)
SAME = {swapped: PLANE, made_anew: PLANE, around_three: LINE}
OTHER = {of_two_lengths: LINE, shorter: LINE, three_of_two_lengths: LINE}


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("f", [*SAME, *OTHER])
def test_lengths_in_a_loop(f, steps):
    check(f, *(SAME | OTHER)[f], steps, order=2 if steps == 3 else 1)


@pytest.mark.parametrize("f", SAME)
def test_lengths_that_no_step_changes_are_asked_for_once(f):
    fn = gradient(f, *SAME[f], 3)
    assert not [s for loop in loops(fn) for s in walk(loop.body) if isinstance(s, Dim)]


@pytest.mark.parametrize("f", OTHER)
def test_lengths_that_change_are_asked_for_again(f):
    fn = gradient(f, *OTHER[f], 3)
    assert [s for loop in loops(fn) for s in walk(loop.body) if isinstance(s, Dim)]


def handed_in(u, v, steps):
    for _ in range(steps):
        for i in range(min(len(u), len(v)) - 1):
            v[i] = u[i] * u[i + 1]
        u, v = v, u
    return np.sum(u * u) * len(u)


def handed_in_and_grown(u, v, steps):
    for _ in range(steps):
        for i in range(len(u) - 1):
            v[i] = u[i] * u[i + 1]
        u, v = v, np.append(u, 1.0)
    return np.sum(u * u) * len(u)


@pytest.mark.parametrize("f", [handed_in, handed_in_and_grown])
@pytest.mark.parametrize("lengths", [(4, 4), (3, 5), (0, 2)])
def test_lengths_of_buffers_handed_in(f, lengths):
    """Nobody knows which they are at which trip: the cache is as long as the longest."""
    n, m = lengths if f is handed_in else (min(lengths), max(lengths))
    args = RNG.random(n), RNG.random(m), 3
    check(f, *args)
    nf.check_grads(f, args)
    grows = [s for s in walk(gradient(f, *args).block) if isinstance(s, Alloc) and _grows(s)]
    assert bool(grows) == (f is handed_in_and_grown)


def _grows(alloc: Alloc) -> bool:
    return array_of(alloc.result).grows


# ---- zeros that a loop exchanges, arrays cleared for the next trip -----------------------------


def heat(start, steps):
    u, v = start.copy(), start.copy()
    for _ in range(steps):
        for i in range(1, len(u) - 1):
            v[i] = u[i] + 0.1 * (u[i - 1] - 2.0 * u[i] + u[i + 1])
        u, v = v, u
    return np.sum(u * u)


def plate(start, steps):
    u, v = start.copy(), start.copy()
    n, m = u.shape
    for _ in range(steps):
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                v[i, j] = u[i - 1, j] * u[i, j - 1] + u[i + 1, j] - u[i, j + 1] * u[i, j]
        u, v = v, u
    return np.sum(u * u)


def one_sided(start, steps):
    """The margins are wide, and not alike."""
    u, v = start.copy(), start.copy()
    n, m = u.shape
    for _ in range(steps):
        for i in range(n - 2):
            for j in range(3, m):
                v[i, j] = u[i + 2, j] * u[i, j - 3] + u[i, j]
        u, v = v, u
    return np.sum(u * u)


def waves(start, steps):
    """Three buffers go round."""
    old, u, new = start.copy(), start.copy(), start.copy()
    for _ in range(steps):
        for i in range(1, len(u) - 1):
            new[i] = 2.0 * u[i] - old[i] + 0.1 * (u[i - 1] * u[i] + u[i + 1])
        old, u, new = u, new, old
    return np.sum(u * u)


def two_fields(start, steps):
    a, b, c, d = start.copy(), start.copy(), 2.0 * start, 3.0 * start
    for _ in range(steps):
        for i in range(1, len(a) - 1):
            c[i] = a[i - 1] + b[i] * a[i + 1]
            d[i] = b[i - 1] - a[i] * b[i + 1]
        a, b, c, d = c, d, a, b
    return np.sum(a * b)


def twice(start, steps):
    """Two loops exchange the same buffers, another number of times."""
    u, v = start.copy(), start.copy()
    for _ in range(steps):
        for i in range(1, len(u) - 1):
            v[i] = u[i - 1] + u[i + 1]
        u, v = v, u
    for _ in range(2 * steps + 1):
        for i in range(1, len(u) - 1):
            v[i] = u[i - 1] * 0.5 - u[i + 1]
        u, v = v, u
    return np.sum(u * u)


def both_are_read(start, steps):
    """The shadow that a reverse step adds to holds something before the first of them."""
    u, v = start.copy(), start.copy()
    for _ in range(steps):
        for i in range(1, len(u) - 1):
            v[i] = u[i - 1] + 2.0 * u[i + 1]
        u, v = v, u
    return np.sum(u * u) + np.sum(v * v * v)


def shifted(start, steps):
    """Elements that a step does not write are read: what is cleared is less than what is added."""
    u, v = start.copy(), start.copy()
    for _ in range(steps):
        for i in range(len(u) - 4):
            v[i] = u[i + 3] + 2.0 * u[i + 4]
        u, v = v, u
    return np.sum(u * u)


def sometimes(start, steps):
    """A trip may leave out the step, and so what it would clear."""
    u, v = start.copy(), start.copy()
    for k in range(steps):
        if k % 2 == 0:
            for i in range(1, len(u) - 1):
                v[i] = u[i - 1] + 2.0 * u[i + 1]
        u, v = v, u
    return np.sum(u * u)


def seen_on_the_way(start, steps):
    """The buffer that is written is read before, at every step."""
    u, v, total = start.copy(), start.copy(), 0.0
    for _ in range(steps):
        for i in range(len(u)):
            total += v[i] * v[i]
        for i in range(1, len(u) - 1):
            v[i] = u[i - 1] + 2.0 * u[i + 1]
        u, v = v, u
    return total


def of_another_length_each_time(start, steps):
    u, v = start.copy(), start.copy()
    for k in range(steps):
        for i in range(1, len(u) - k):
            v[i] = u[i - 1] + 2.0 * u[i]
        u, v = v, u
    return np.sum(u * u)


def of_one_buffer(start, steps):
    """One of the buffers is a part of the other."""
    both = np.concatenate((start, start))
    u, v = both[: len(start)], both[1 : len(start) + 1]
    for _ in range(steps):
        for i in range(1, len(u) - 1):
            v[i] = u[i - 1] + 2.0 * u[i + 1]
        u, v = v, u
    return np.sum(both * both)


RENEWED = (heat, plate, one_sided, waves, two_fields, twice)
KEPT = (
    both_are_read, shifted, sometimes, seen_on_the_way, of_another_length_each_time, of_one_buffer,
)  # fmt: skip


def given(f, n: int, steps: int):
    return RNG.random((n, n + 1) if f in (plate, one_sided) else n), steps


@pytest.mark.parametrize("f", [*RENEWED, *KEPT])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 9])
def test_buffers(f, n):
    for steps in (0, 1, 2, 3):
        check(f, *given(f, n, steps), order=2 if (n, steps) == (5, 2) else 1)


@pytest.mark.parametrize("f", [*RENEWED, *KEPT])
def test_buffers_compiled(f):
    for n in (3, 8):
        nf.check_grads(f, given(f, n, 3))


@pytest.mark.parametrize("f", [*RENEWED, *KEPT])
def test_what_is_renewed(f):
    with nf.debug(skip="renew"):
        fn = gradient(f, *given(f, 5, 3))
    assert (renew(fn) is not fn) == (f in RENEWED)


@pytest.mark.parametrize("f", RENEWED)
def test_shadows_are_not_carried_forward(f):
    fn = gradient(f, *given(f, 5, 3))
    made = next(i for i, s in enumerate(fn.block.stmts) if isinstance(s, Alloc) and s.zero)
    assert [s for s in fn.block.stmts[:made] if isinstance(s, For)]


# ---- work arrays that a trip fills again and again ----------------------------------------------


def stages(x, steps, m):
    """The first element apart: it is cleared apart too."""
    n = len(x)
    y, slope, between = x.copy(), np.empty(n), np.empty(n)
    for _ in range(steps):
        slope[0] = x[0] * y[0]
        for i in range(n - 1):
            slope[i + 1] = x[i + 1] * y[i]
        for i in range(n):
            between[i] = y[i] - 0.5 * slope[i]
        slope[0] = x[0] * between[0]
        for i in range(n - 1):
            slope[i + 1] = x[i + 1] * between[i]
        for i in range(n):
            between[i] = y[i] * slope[i]
        for i in range(n - 1):
            y[i + 1] += 0.1 * between[i] * between[i]
    return np.sum(y * y)


def of_two_elements(x, steps, m):
    n = len(x)
    y, slope = x.copy(), np.empty(n)
    for _ in range(steps):
        slope[0] = x[0] * y[0]
        slope[1] = x[0] * x[1]
        for i in range(n - 2):
            slope[i + 2] = x[i + 1] * y[i]
        for i in range(n):
            y[i] += 0.1 * slope[i]
    return np.sum(y * y)


def not_so_far(x, steps, m):
    """A number of trips that is not the array's length, and may be less than none."""
    n = len(x)
    y, slope = x.copy(), np.zeros(n)
    for _ in range(steps):
        slope[0] = x[0] * y[0] * slope[0] + x[1]
        for i in range(m):
            slope[i + 1] = x[i + 1] * y[i]
        for i in range(m + 1):
            y[i] += 0.1 * slope[i]
        y[0] += slope[0]
    return np.sum(y * y)


def with_a_gap(x, steps, m):
    n = len(x)
    y, slope = x.copy(), x.copy()
    for _ in range(steps):
        slope[0] = x[0] * y[0]
        for i in range(n - 2):
            slope[i + 2] = x[i + 1] * y[i]
        for i in range(n):
            y[i] += 0.1 * slope[i] * slope[i]
    return np.sum(y * y)


def read_in_between(x, steps, m):
    n = len(x)
    y, slope = x.copy(), np.empty(n)
    for _ in range(steps):
        slope[0] = x[0] * y[0]
        y[0] += slope[0] * slope[0]
        for i in range(n - 1):
            slope[i + 1] = x[i + 1] * y[i] + slope[i]
        for i in range(n):
            y[i] += 0.1 * slope[i]
    return np.sum(y * y)


def of_a_part(x, steps, m):
    """What is added to the work array's shadow goes beyond what has been cleared."""
    n = len(x)
    y, work = x.copy(), x.copy()
    for _ in range(steps):
        for i in range(n - 2):
            work[i] = x[i] * y[i + 1]
        for i in range(n):
            y[i] += 0.1 * work[i] * work[i]
    return np.sum(y * y)


STORED = {stages: 3, of_two_elements: 1, not_so_far: 0, with_a_gap: 0, read_in_between: 0}
STORED |= {of_a_part: 0}


@pytest.mark.parametrize("f", STORED)
def test_work_arrays(f):
    for n, steps, m in ((2, 2, 1), (3, 0, 2), (3, 1, -1), (4, 3, -4), (6, 2, 5)):
        check(f, RNG.random(n) + 0.1, steps, m)


@pytest.mark.parametrize("f", STORED)
def test_which_work_arrays_are_stored_to(f):
    x = RNG.random(5)
    with nf.debug(skip="renew,afresh,unseen,assign"):
        before = gradient(f, x, 3, 2)
    with nf.debug(skip="unseen,assign"):
        after = gradient(f, x, 3, 2)
    assert _sums(before) - _sums(after) == STORED[f]


def _sums(fn: Function) -> int:
    return sum(isinstance(s, Accumulate) for s in walk(fn.block))


def test_zeros_of_a_trip_that_nobody_sees():
    """The shadow of `between` is stored to and read twice a trip, and left as it is."""
    fn = gradient(stages, RNG.random(5), 3, 2)
    sweep = [s for s in loops(fn) if any(isinstance(t, For) for t in s.body.stmts)][-1]
    zeros = [nest for nest, array in clearing(sweep.body) if array.name == "d_between"]
    assert len(zeros) == 2  # of the last element, which no other adds to


# ---- zeros that nobody sees --------------------------------------------------------------------


def for_the_caller(x):
    total = 0.0
    for i in range(len(x)):
        total += x[i] * x[i]
        x[i] = 0.0
    return total


def in_the_result(x):
    out = x.copy()
    for i in range(len(x)):
        out[i] = 0.0
    return out


def read_afterwards(x):
    a = x.copy()
    for i in range(len(x)):
        a[i] = 0.0
    return a[0] + x[1] * x[1]


def zeros_of_its_own(x):
    a, total = x.copy(), 0.0
    for i in range(len(x)):
        total += a[i] * a[i]
        a[i] = 0.0
    return total


@pytest.mark.parametrize("f", [for_the_caller, in_the_result, read_afterwards, zeros_of_its_own])
def test_zeros_that_nobody_sees(f):
    fn = program_of(f, RNG.random(4)).function
    stored = len(list(clearing(fn.block)))
    left = len(list(clearing(unseen(fn).block)))
    assert (stored, left) == (1, 0 if f is zeros_of_its_own else 1)
    check(f, RNG.random(4), order=2)


def test_shadows_are_summed_in_one_loop():
    """Those of both buffers, which were copies of one array, without a look back at either."""
    fn = gradient(heat, RNG.random(6), 3)
    last = fn.block.stmts[-1]
    assert isinstance(last, For)
    kinds = [type(s) for s in last.body.stmts if not isinstance(s, Load)]
    assert kinds == [Store, Accumulate]
