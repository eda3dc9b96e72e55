"""Loops of `prange`: which stay parallel, what they promise, what they do not check."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit, prange

import numbaflux as nf
from numbaflux.ir.nodes import Accumulate, Alloc, Raise, Store
from numbaflux.ir.walk import walk
from numbaflux.passes import optimise
from numbaflux.passes.promise import promised
from numbaflux.transforms.overlap import with_promises
from tests.frontend.reading import program_of
from tests.passes.test_loops import backward, gradient, loops, read
from tests.transforms.checks import check_transforms

RNG = np.random.default_rng(5)


def dense(x, w, a):
    total = 0.0
    for i in prange(x.shape[0]):
        inner = a
        for j in range(w.size):
            inner += x[i, j] * w[j]
        total += math.tanh(inner)
    return total


def independent(x):
    y = np.empty(x.size)
    for i in prange(x.size):
        y[i] = math.exp(x[i])
    return y.sum()


def shifted(x):
    y = np.zeros(x.size)
    for i in prange(x.size):
        y[i] = x[i] * x[i - 1]
    return y[0] * y[1] + y[3]


def permuted(x, places):
    y = np.zeros(x.size)
    for i in prange(x.size):
        y[places[i]] = x[places[i]] * x[places[0]]
    return y[0] * y[1] + y[3]


def largest(x):
    found = 0.0
    for i in prange(x.size):
        found = max(found, x[i] * x[i])
    return found


def product(x):
    found = 1.0
    for i in prange(x.size):
        found *= x[i]
    return found


def steps_in_parallel(x):
    """A loop whose trips are counted in each iteration: its tape grows, and is read in parallel."""
    total = 0.0
    for i in prange(x.size):
        y = x[i]
        while y > 0.1:
            y = y * y * 0.9
        total += y
    return total


PARALLEL = {
    "dense": (dense, (RNG.random((7, 3)), RNG.random(3), 0.2)),
    "independent": (independent, (RNG.random(5),)),
    "shifted": (shifted, (RNG.random(6),)),
    "permuted": (permuted, (RNG.random(4), np.array([2, 0, 3, 1]))),
    "largest": (largest, (RNG.random(5),)),
    "product": (product, (RNG.random(4) + 0.5,)),
    "steps_in_parallel": (steps_in_parallel, (RNG.random(4),)),
}


@pytest.mark.parametrize("name", PARALLEL)
def test_parallel_loops(name):
    f, args = PARALLEL[name]
    check_transforms(read(njit(parallel=True)(f), *args), list(args), order=2)


@pytest.mark.parametrize("name", PARALLEL)
def test_parallel_loops_compiled(name):
    """On threads, against the same function on one; bitwise the same twice."""
    f, args = PARALLEL[name]
    argnums = tuple(i for i, a in enumerate(args) if np.asarray(a).dtype == float)
    both = nf.value_and_grad(njit(parallel=True)(f), argnums=argnums)
    value, gradient = both(*args)
    expected, serial = nf.value_and_grad(f, argnums=argnums)(*args)
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    tangents = tuple(RNG.standard_normal(np.shape(a))[()] for a in serial)
    for g, h, again in zip(gradient, serial, both(*args)[1], strict=True):
        np.testing.assert_allclose(g, h, rtol=1e-13)
        np.testing.assert_array_equal(g, again)
    directions = tuple(
        tangents[argnums.index(i)] if i in argnums else None for i in range(len(args))
    )
    _, tangent = nf.jvp(njit(parallel=True)(f), args, directions)
    right = sum(np.sum(g * t) for g, t in zip(serial, tangents))
    np.testing.assert_allclose(tangent, right, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "parallel"),
    [("dense", 2), ("independent", 2), ("largest", 0), ("product", 0), ("steps_in_parallel", 1)],
)
def test_which_loops_stay_parallel(name, parallel):
    f, args = PARALLEL[name]
    fn = gradient(njit(parallel=True)(f), *args)
    assert sum(loop.parallel for loop in loops(fn)) == parallel


def test_each_thread_keeps_its_own_work_array():
    def f(x):
        total = 0.0
        for i in prange(x.size):
            work = np.empty(20)
            work[0] = x[i]
            work[1] = work[0] * work[0]
            total += work[1] * work[0]
        return total

    fn = optimise(read(njit(parallel=True)(f), RNG.random(4)))
    (loop,) = [s for s in loops(fn) if s.parallel]
    assert [s for s in walk(loop.body) if isinstance(s, Alloc)]


# ---- what a division does on threads -----------------------------------------------------------


def reciprocals(x):
    total = 0.0
    for i in prange(x.size):
        total += 1.0 / x[i]
    return total


def inverse(t):
    return 1.0 / t


def by_a_helper(x):
    total = 0.0
    for i in prange(x.size):
        total += inverse(x[i])
    return total


def refusing(x):
    total = 0.0
    for i in prange(x.size):
        if x[i] < 0.0:
            raise ValueError("negative")
        total += 1.0 / x[i]
    return total


def checks(f, x, **options) -> int:
    return sum(isinstance(s, Raise) for s in walk(read(njit(**options)(f), x).block))


def test_threads_do_not_check_a_division():
    x = np.array([1.0, 0.0, 2.0])
    assert checks(reciprocals, x, parallel=True) == checks(by_a_helper, x, parallel=True) == 0
    assert checks(reciprocals, x) == checks(by_a_helper, x) == 1  # a prange is a range then
    assert checks(refusing, x, parallel=True) == 2  # and here Numba makes it one
    primal = njit(parallel=True)(reciprocals)
    value, slopes = nf.value_and_grad(primal)(x)
    assert value == primal(x) == math.inf
    np.testing.assert_array_equal(slopes, [-1.0, -math.inf, -0.25])
    with pytest.raises(ZeroDivisionError):
        nf.grad(njit(reciprocals))(x)


def test_a_loop_that_raises_runs_on_one_thread():
    g = nf.grad(njit(parallel=True)(refusing))  # a prange would warn
    np.testing.assert_allclose(g(np.array([1.0, 2.0])), [-1.0, -0.25])
    with pytest.raises(ValueError, match="negative"):
        g(np.array([1.0, -2.0]))
    with pytest.raises(ZeroDivisionError):
        g(np.array([1.0, 0.0]))


# ---- what a prange promises --------------------------------------------------------------------


def one_for_all(x, w, y):
    for i in prange(x.size):
        y[i] = x[i] * w[0]


def all_for_all(x, w, y):
    for i in prange(x.size):
        for j in range(w.size):
            y[i] += x[i] * w[j]


def neighbours(x, w, y):
    for i in prange(1, x.size - 1):
        y[i] = x[i] * w[i + 1]


def beyond(x, w, y):
    for i in prange(x.size - 1):
        y[i + 1] = x[i + 1] * w[0]


def now_and_then(x, w, y):
    for i in prange(x.size):
        if x[i] > 0.0:
            y[i] = x[i] * w[0]


def its_own(x, w, y):
    for i in prange(x.size):
        y[i] = x[i] * w[i]


def unknown_shift(x, w, y):
    n = x.size // 2
    for i in prange(n):
        y[i] = x[i] * w[i + n]


def by_an_array(x, w, y):
    for i in prange(x.size):
        y[int(x[i])] = w[int(x[i])]


@pytest.mark.parametrize(
    ("f", "names"),
    [
        (one_for_all, {("w", "y")}),
        (all_for_all, {("w", "y")}),
        (neighbours, {("w", "y")}),
        (beyond, set()),
        (now_and_then, set()),
        (its_own, set()),
        (unknown_shift, set()),
        (by_an_array, set()),
    ],
)
def test_arguments_that_are_apart(f, names):
    args = (RNG.random(5), RNG.random(5), np.zeros(5))

    def found(fn):
        return {tuple(sorted((p.name, q.name))) for p, q in promised(optimise(fn))}

    assert found(read(njit(parallel=True)(f), *args)) == names
    assert not found(read(f, *args))  # a prange is a range, which promises nothing


def rows(a, b, y):
    """Products of matrices, into an argument."""
    for i in prange(a.shape[0]):
        for j in range(b.shape[1]):
            for k in range(b.shape[0]):
                y[i, j] += a[i, k] * b[k, j]


def test_rows_of_matrices_that_are_apart():
    fn = optimise(read(njit(parallel=True)(rows), *(RNG.random((3, 3)) for _ in range(3))))
    assert {tuple(sorted((p.name, q.name))) for p, q in promised(fn)} == {("b", "y")}


def written_out(x, w, y):
    for i in prange(x.size):
        y[i] = np.exp(-x[i]) * w[0] + x[i] * w[1] + np.sin(x[i])
    total = 0.0
    for i in prange(x.size):
        total += y[i] * y[i]
    return total


def test_what_all_iterations_read_is_a_sum_on_threads():
    x, w = RNG.random(700), RNG.random(3)
    fn = gradient(njit(parallel=True)(written_out), x, w, x.copy())
    assert all(loop.parallel for loop in loops(fn) if loop.reverse)
    assert not [s for loop in loops(fn) for s in walk(loop.body) if isinstance(s, Alloc)]
    g = nf.grad(njit(parallel=True)(written_out), argnums=(0, 1))
    serial = nf.grad(written_out, argnums=(0, 1))
    assert nf.source(g, x, w, x.copy()).count("in numba.prange") == 3
    for one, other in [(np.zeros(700), np.zeros(700)), (x.copy(), x.copy())]:
        mine = g(one if one.any() else x, w, one)  # the second time, y is x
        his = serial(other if other.any() else x, w, other)
        np.testing.assert_allclose(mine[0], his[0], rtol=1e-13)
        np.testing.assert_allclose(mine[1], his[1], rtol=1e-13)
    with pytest.raises(ValueError, match="w and y overlap, and a prange needs them apart"):
        g(x, w, w)


def through_indices(x, w, y, old, new):
    """Arrays of integers, one written, are nobody's to tell apart."""
    for i in prange(x.size):
        y[i] = x[i] * w[0]
    for i in range(new.size - 1):
        new[i] = old[i + 1]
    return y[new[0]] * y[old[0]]


def test_integers_may_be_one_array():
    places = np.array([0, 1, 2, 3])
    args = (RNG.random(4), RNG.random(2), np.zeros(4), places, places)
    program = with_promises(program_of(njit(parallel=True)(through_indices), *args))
    apart = [{p.name for p in group} for group in program.function.apart]
    assert sorted(apart, key=len) == [{"w"}, {"x", "y"}]


def constants(x, w):
    """Elements of one array that differ by their constants, and one that may be any of them."""
    total = 0.0
    for i in prange(x.size):
        total += x[i] * w[0] + x[i] * x[i] * w[1]
    return total


def constants_and_more(x, w):
    total = 0.0
    for i in prange(x.size):
        total += x[i] * w[0] + x[i] * x[i] * w[i % 2]
    return total


@pytest.mark.parametrize(("f", "alone"), [(constants, True), (constants_and_more, False)])
def test_elements_that_are_different_are_sums_of_their_own(f, alone):
    args = (RNG.random(6), RNG.random(2))
    check_transforms(read(njit(parallel=True)(f), *args), list(args), order=2)
    fn = gradient(njit(parallel=True)(f), *args)
    inside = [s for loop in loops(fn) if loop.parallel for s in walk(loop.body)]
    scattered = [s for s in inside if isinstance(s, Accumulate) and s.array.name.startswith("d_w")]
    assert (not scattered) == alone


def into_another(x, y):
    for i in range(x.size):
        y[i] = np.sin(x[i]) * x[i]
    return y[0] + y[1] * y[2]


def into_a_part(x, y):
    z = x[1:] if x[0] > 0.0 else y
    for i in range(y.size):
        z[i] = np.sin(x[i]) * x[i]
    return z[0] + z[1] * z[2]


@pytest.mark.parametrize(("f", "counts_up"), [(into_another, True), (into_a_part, False)])
def test_two_names_for_one_array(f, counts_up):
    """A shadow that is another one or new: an iteration keeps to its elements either way."""
    x, y = RNG.random(5) + 0.5, np.zeros(4)
    y = y if f is into_a_part else np.zeros(5)
    check_transforms(read(f, x, y), [x, y], order=2)
    assert (not backward(gradient(f, x, y))) == counts_up
    if counts_up:
        one, two = x.copy(), x.copy()
        np.testing.assert_allclose(nf.grad(f)(one, one), nf.grad(f)(two, np.zeros(5)))


def diffused(u0, steps):
    u, v = u0.copy(), u0.copy()
    for _ in range(steps):
        for i in prange(1, u.shape[0] - 1):
            for j in range(u.shape[1]):
                v[i, j] = u[i, j] * (u[i - 1, j] - 2.0 * u[i, j] + u[i + 1, j])
        u, v = v, u
    return u[1, 0] * u[2, 1]


def test_a_copy_is_made_by_the_threads_it_is_for():
    args = (RNG.random((6, 2)), 3)
    check_transforms(read(njit(parallel=True)(diffused), *args), list(args), order=2)
    fn = gradient(njit(parallel=True)(diffused), *args)
    (made,) = [s.result for s in walk(fn.block) if isinstance(s, Alloc) and "then" in s.result.name]
    filling = [
        loop
        for loop in loops(fn)
        if any(isinstance(s, Store) and s.array.name.startswith("u_then") for s in walk(loop.body))
    ]
    parallel = [loop.parallel for loop in filling]
    assert made and parallel == [False, True, False]  # over steps, over rows, over a row


def curved(w, x):
    total = 0.0
    for i in prange(x.size):
        total += math.exp(w[0] * x[i]) * w[1] + math.sin(x[i] * w[2])
    return total


def test_threads_do_not_add_up_lanes():
    """Sixteen columns of a Hessian at once: each thread adds to a copy in memory."""
    w, x = RNG.random(3), RNG.random(40)
    h = nf.hessian(njit(parallel=True)(curved))
    np.testing.assert_allclose(h(w, x), nf.hessian(curved)(w, x), rtol=1e-13)
    assert "for thread in numba.prange" in nf.source(h, w, x)
