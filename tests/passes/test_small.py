"""Small arrays and short loops: unroll, registers, anew, outward, and what of them fuse joins."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit, prange

from numbaflux.ir.nodes import Alloc, For, Function, Load
from numbaflux.ir.walk import regions, walk
from numbaflux.passes import optimise
from numbaflux.passes.loops.anew import anew
from numbaflux.passes.loops.outward import outward
from numbaflux.passes.loops.registers import registers
from numbaflux.passes.loops.sink import sink
from numbaflux.passes.loops.unroll import unroll
from numbaflux.passes.simplify import simplify
from tests.passes.test_loops import gradient, loops, read
from tests.transforms.checks import check_transforms

RNG = np.random.default_rng(11)


def allocs(fn: Function) -> list[Alloc]:
    return [s for s in walk(fn.block) if isinstance(s, Alloc)]


def apart(fn: Function) -> Function:
    """Short loops written out and small arrays taken apart, as reverse mode does it."""
    return simplify(registers(simplify(unroll(simplify(fn)))))


# ---- registers ---------------------------------------------------------------------------------


def runge_kutta(x, n):
    u, w, k1, k2 = np.empty(2), np.empty(2), np.empty(2), np.empty(2)
    for i in range(2):
        u[i] = x[i]
    for _ in range(n):
        k1[0], k1[1] = u[1], -u[0] * u[1]
        for i in range(2):
            w[i] = u[i] + 0.1 * k1[i]
        k2[0], k2[1] = w[1], -w[0] * w[1]
        for i in range(2):
            u[i] += 0.05 * (k1[i] + k2[i])
    return u[0] * u[-1]


def in_a_while(x):
    u = np.zeros(2)
    u[0] = x[0]
    while u[0] < 5.0:
        u[1] += u[0] * x[1]
        u[0] = u[0] * 1.5 + 0.5
    return u[0] * u[1]


def in_a_branch(x):
    w, total = np.zeros(2), 0.0
    for i in range(x.size):
        if x[i] > 0.4:
            w[0] = x[i] * w[1] + 1.0
        else:
            w[1] += x[i]
        total += w[0] * w[1]
    return total


def read_before_it_is_written(x):
    w, total = np.zeros(1), 0.0
    for i in range(x.size):
        total += w[0] * x[i]
        w[0] = x[i] * x[i]
    return total


NAMED = {
    "runge_kutta": (runge_kutta, (RNG.random(2), 4)),
    "in_a_while": (in_a_while, (RNG.random(2) + 0.5,)),
    "in_a_branch": (in_a_branch, (np.array([0.2, 0.7, 0.9, 0.3, 0.6]),)),
    "read_before_it_is_written": (read_before_it_is_written, (RNG.random(5),)),
}


def by_counter(x):
    w, total = np.zeros(2), 0.0
    for i in range(x.size):
        w[i % 2] += x[i] * x[i]
        total += w[0] * w[1]
    return total


def seen_outside(x):
    w = np.zeros(2)
    for i in range(x.size):
        w[0] += x[i] * w[1]
        w[1] += x[i]
    return w


def viewed(x):
    w, total = np.zeros(2), 0.0
    for i in range(x.size):
        part = w[: i % 3]
        w[0], w[1] = x[i], x[i] * x[i]
        for j in range(part.size):
            total += part[j] * w[1]
    return total


def long(x):
    w, total = np.zeros(9), 0.0
    for i in range(x.size):
        w[0] = x[i] * w[8]
        w[8] = x[i]
        total += w[0]
    return total


UNNAMED = {
    "by_counter": (by_counter, (RNG.random(5),)),
    "seen_outside": (seen_outside, (RNG.random(4),)),
    "viewed": (viewed, (RNG.random(5),)),
    "long": (long, (RNG.random(4),)),
}


@pytest.mark.parametrize("name", NAMED)
def test_elements_become_variables(name):
    f, args = NAMED[name]
    assert not allocs(apart(read(f, *args)))
    check_transforms(read(f, *args), list(args), order=2)


@pytest.mark.parametrize("name", UNNAMED)
def test_arrays_that_stay(name):
    f, args = UNNAMED[name]
    fn = apart(read(f, *args))
    assert len(allocs(fn)) == 1
    check_transforms(read(f, *args), list(args))


def test_an_array_that_threads_share_stays():
    def f(x):
        w, total = np.zeros(1), 0.0
        for i in prange(x.size):
            w[0] = x[i]
            total += x[i] * x[i]
        return total + w[0]

    assert len(allocs(apart(read(njit(parallel=True)(f), RNG.random(4))))) == 1


def test_the_caller_sees_no_array_of_an_argument():
    def f(x, n):
        for _ in range(n):
            x[0] = x[0] * x[1]
            x[1] += x[0]
        return x[0]

    check_transforms(read(f, RNG.random(2), 3), [RNG.random(2), 3])


# ---- unroll ------------------------------------------------------------------------------------


def layers(p, x):
    """Two dense layers on each row, their parameters in one vector."""
    W, V = p[0:32].reshape((2, 16)), p[32:64].reshape((16, 2))
    h, a, total = np.empty(16), np.empty(16), 0.0
    for k in range(x.shape[0]):
        for j in range(16):
            h[j] = 0.5
        for i in range(2):
            for j in range(16):
                h[j] += x[k, i] * W[i, j]
        for j in range(16):
            a[j] = h[j] * h[j]
        for i in range(2):
            s = 0.0
            for j in range(16):
                s += a[j] * V[j, i]
            total += s * s
        for j in range(16):
            a[j] = h[j] * total
        for j in range(16):
            total += 0.01 * a[j] * V[j, 0]
    return total


def many(p, x):
    """As `layers`, with five columns."""
    W, s = p[0:60].reshape((5, 12)), 0.0
    for k in range(x.shape[0]):
        for i in range(5):
            for j in range(12):
                s += W[i, j] * W[i, j] * x[k, 0]
    return s


def test_layers_have_few_loops():
    args = (RNG.random(64), RNG.random((3, 2)))
    fn = gradient(layers, *args)
    nests = [s for s in loops(fn) if any(map(regions, s.body.stmts))]
    assert not any(isinstance(s, For) and s in nests for n in nests for s in n.body.stmts)
    assert len([s for s in loops(fn) if s.reverse and s not in nests]) == 2  # of eight
    check_transforms(read(layers, *args), list(args))


def test_the_order_of_values_is_kept_when_a_loop_is_written_out():
    def f(x, n):
        y, s, t = np.empty(12), 1.0, x[0]
        for _ in range(n):
            for i in range(3):
                s, t = t, s + x[i]
                for j in range(12):
                    y[j] = s * x[j] + t
                s += y[11 - i]
        return s * t

    args = (RNG.random(12), 2)
    fn = simplify(read(f, *args))
    assert len(loops(unroll(fn))) == 4 > len(loops(fn))
    check_transforms(read(f, *args), list(args), order=2)


def test_longer_loops_and_those_that_run_once_stay():
    args = (RNG.random(60), RNG.random((3, 2)))
    fn = simplify(read(many, *args))
    assert unroll(fn) is fn

    def once(x):
        s = 0.0
        for i in range(2):
            for j in range(16):
                s += x[i, j] * x[i, j]
        return s

    fn = simplify(read(once, RNG.random((2, 16))))
    assert unroll(fn) is fn


# ---- fuse --------------------------------------------------------------------------------------


def even_and_odd(x, n):
    for _ in range(n):
        for i in range(8):
            x[2 * i + 1] = 0.5 * x[2 * i] * x[2 * i + 1]
        for i in range(8):
            x[2 * i] = x[2 * i] + x[2 * i + 1]
    return x.sum()


def a_step_apart(x, n):
    for _ in range(n):
        for i in range(8):
            x[2 * i + 2] = 0.5 * x[2 * i + 2] * x[2 * i + 2]
        for i in range(8):
            x[2 * i] = x[2 * i] + x[2 * i + 2]
    return x.sum()


def overlapping(x, n):
    """The second loop reads at 8 + i what the first one stores at 8 + i and later."""
    v, w, s = x[0:16], x[8:24], 0.0
    for _ in range(n):
        for i in range(16):
            v[i] = 0.5 * v[i] * v[i]
        for i in range(16):
            s += v[i] * w[i]
    return s


def beside(x, n):
    """As `overlapping`, the parts apart."""
    v, w, s = x[0:8], x[8:16], 0.0
    for _ in range(n):
        for i in range(8):
            v[i] = 0.5 * v[i] * w[i]
        for i in range(8):
            w[i] = w[i] + v[i]
            s += w[i] * v[i]
    return s


@pytest.mark.parametrize(("f", "many"), [(even_and_odd, 1), (a_step_apart, 2), (overlapping, 2)])
def test_loops_that_meet_in_other_iterations_stay_apart(f, many):
    args = (RNG.random(24), 2)
    outer = next(s for s in loops(optimise(read(f, *args))) if any(map(regions, s.body.stmts)))
    assert sum(isinstance(s, For) for s in outer.body.stmts) == many
    check_transforms(read(f, *args), list(args))


def test_parts_that_lie_apart_are_known_to():
    args = (RNG.random(16), 2)
    outer = next(s for s in loops(optimise(read(beside, *args))) if any(map(regions, s.body.stmts)))
    assert sum(isinstance(s, For) for s in outer.body.stmts) == 1
    check_transforms(read(beside, *args), list(args), order=2)


# ---- anew ------------------------------------------------------------------------------------


def filled_twice(x, last, first):
    a, s = np.empty(12), 0.0
    for k in range(x.size):
        for j in range(12):
            a[j] = x[k] * j
        for j in range(12):
            s += a[j] * a[j]
        for j in range(last):
            a[first + j] = s + x[k] * a[j]
        for j in range(12):
            s += a[j]
    return s


def again(f, *args) -> int:
    """How many arrays `anew` makes of one."""
    return len(allocs(anew(sink(simplify(read(f, *args))))))


def test_what_is_filled_anew_is_a_new_array():
    def f(x):
        a, s = np.empty(12), 0.0
        for k in range(x.size):
            for j in range(12):
                a[j] = x[k] * j
            for j in range(12):
                s += a[j] * a[j]
            for j in range(12):
                a[j] = s + x[k]
            for j in range(12):
                s += a[j] * 0.01
        return s

    assert again(f, RNG.random(3)) == 2
    check_transforms(read(f, RNG.random(3)), [RNG.random(3)], order=2)


def test_what_is_not_filled_by_new_values_is_the_old_one():
    def in_part(x):
        a, s = np.empty(12), 0.0
        for k in range(x.size):
            for j in range(12):
                a[j] = x[k] * j
            for j in range(11):
                a[j] = s + x[k]
            s += a[0] * a[11]
        return s

    def changed(x):
        a, s = np.empty(12), 0.0
        for k in range(x.size):
            for j in range(12):
                a[j] = x[k] * j
            for j in range(12):
                a[j] = a[j] * x[k]
            s += a[0] + a[11]
        return s

    def sometimes(x):
        a, s = np.empty(12), 0.0
        for k in range(x.size):
            for j in range(12):
                a[j] = x[k] * j
            if s > 1.0:
                for j in range(12):
                    a[j] = s
            s += a[5] * a[5]
        return s

    for f in (in_part, changed, sometimes):
        assert again(f, RNG.random(4)) == 1
        check_transforms(read(f, RNG.random(4)), [RNG.random(4)])


# ---- outward -----------------------------------------------------------------------------------


def in_loops(fn: Function) -> int:
    return sum(isinstance(s, Load) for loop in loops(fn) for s in loop.body.stmts)


def test_elements_that_nobody_writes_are_read_before_the_loop():
    def f(x, y):
        s = 0.0
        for j in range(8):
            s += x[0] * y[j]
        return s

    args = (RNG.random(2), RNG.random(8))
    assert in_loops(outward(simplify(read(f, *args)))) == 1
    check_transforms(read(f, *args), list(args))


def test_elements_that_are_written_or_may_not_be_there_are_read_inside():
    def written(x, y):
        for j in range(8):
            y[j] = x[0] * y[j]
            x[0] = y[j]
        return x[0]

    def missing(x, n):
        s = 0.0
        for j in range(n):
            s += x[0] * j
        return s

    def guarded(x, d):
        s = 0.0
        for j in range(8):
            if d == 0:
                raise ValueError
            s += x[d] * j
        return s

    for f, args in (
        (written, (RNG.random(1), RNG.random(8))),
        (missing, (np.empty(0), 0)),
        (guarded, (RNG.random(3), 2)),
    ):
        fn = simplify(read(f, *args))
        assert in_loops(outward(fn)) == in_loops(fn) > 0
