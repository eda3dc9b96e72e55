"""Calls that are run and reversed at once: where they are, where they must not be."""

import math

import numba
import numpy as np
import pytest
from numba import njit

import numbaflux as nf
from tests.transforms.programs import vector

X = vector(0.7, -0.4, 1.1, 0.6)
FIRST, LAST = np.array([1, 3, 0, 0]), np.array([3, 4, 0, 0])


@njit
def minors(a, size, used):
    """A determinant; which columns are used is as before when it returns."""
    n = a.shape[0]
    if size == 0:
        return 1.0
    total, sign = 0.0, 1.0
    for j in range(n):
        if used[j] == 0:
            used[j] = 1
            total += sign * a[n - size, j] * minors(a, size - 1, used)
            used[j] = 0
            sign = -sign
    return total


def determinant(a):
    return minors(a, a.shape[0], np.zeros(a.shape[0], np.int64))


@njit(error_model="numpy")
def children(x, node, first, last, scale):
    """A sum over a tree in index arrays; scalars are differentiated too."""
    total = x[node] * scale
    for child in range(first[node], last[node]):
        total -= children(x, child, first, last, scale * 0.5) * x[node] / (1.0 + scale)
    return total


def tree(x, scale):
    return children(x, 0, FIRST, LAST, scale)


@njit
def halving(x, i):
    """The loop is a while."""
    if i >= x.size:
        return 0.4
    total, j = x[i], i + 1
    while j < x.size:
        total += halving(x, j) * x[j - 1]
        j *= 2
    return total


@njit
def factor_afterwards(x, i):
    if i == x.size:
        return 1.0
    return factor_afterwards(x, i + 1) * x[i] * 0.5 + 0.25 * x[i]


@njit
def conditional(x, scale, i):
    """Sums in an arm, in a nested loop, and negated after all."""
    if i == x.size:
        return scale
    total = scale
    for j in range(2):
        for k in range(j + 1):
            if x[i] > 0.0:
                total += conditional(x, scale * x[i], i + 1) * (k + 1.0)
            else:
                total -= conditional(x, scale + x[i], i + 1)
    return -total


@njit
def squared(x, i):
    """What is called is not linear in what it returns: run before it is reversed."""
    if i == x.size:
        return 0.3
    below = squared(x, i + 1)
    return below * below * x[i] + below


@njit
def scaled_by_another(x, i):
    """A product of two calls: each is the other's factor."""
    if i >= x.size:
        return x[0] + 0.5
    return scaled_by_another(x, i + 1) * scaled_by_another(x, i + 2)


@njit
def carried_on(x, i):
    """The loop does more than add up: a later trip scales what an earlier one has added."""
    if i >= x.size:
        return 0.5
    total = 1.0
    for j in range(2):
        total = total * x[j] + carried_on(x, i + 1 + j)
    return total


@njit
def overwritten(x, work, i):
    """It reads an array that is written in between."""
    if i == x.size:
        return work[0]
    work[0] = work[0] * x[i]
    first = overwritten(x, work, i + 1)
    work[0] = x[i] * x[i]
    return first + work[0] * 2.0


def writes_what_it_reads(x):
    return overwritten(x, x[:1].copy(), 0)


@njit
def swapped(x, i):
    """Two sums that change places every trip."""
    if i == x.size:
        return x[0]
    a, b = 0.5, x[i]
    for _ in range(3):
        a, b = b, a + swapped(x, i + 1) * 0.3
    return 2.0 * a + x[i] * b


PROGRAMS = [
    (determinant, (np.array([[0.5, 1.2, -0.3], [0.7, 0.2, 0.9], [-0.6, 0.4, 1.5]]),)),
    (tree, (X, 0.8)),
    (halving, (X, 0)),
    (factor_afterwards, (X, 0)),
    (conditional, (X, 0.9, 1)),
    (squared, (X, 0)),
    (scaled_by_another, (X, 0)),
    (carried_on, (X, 0)),
    (writes_what_it_reads, (X,)),
    (swapped, (X, 2)),
]


@pytest.mark.parametrize(("f", "args"), PROGRAMS, ids=[f.__name__ for f, _ in PROGRAMS])
def test_derivatives(f, args):
    """Reverse mode against forward mode and differences; its own tangents against hessian's."""
    which = tuple(i for i, a in enumerate(args) if not isinstance(a, int))
    value, gradient = nf.value_and_grad(f, which)(*args)
    assert value == pytest.approx(f(*args), rel=1e-14)
    tangents = [np.cos(1.0 + i + np.arange(np.size(args[i]))) for i in which]
    shifts = [t.reshape(np.shape(args[i])) for i, t in zip(which, tangents)]
    direction = [s if s.ndim else float(s) for s in shifts]
    given = (*direction, *(None for _ in args[len(which) :]))
    along = sum(np.sum(d * s) for d, s in zip(gradient, shifts))
    assert along == pytest.approx(nf.jvp(f, args, given)[1], rel=1e-12, abs=1e-13)
    up, down = (
        f(*(a + h * s for a, s in zip(args, direction)), *args[len(which) :]) for h in (1e-6, -1e-6)
    )
    assert along == pytest.approx((up - down) / 2e-6, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("f", "args"), PROGRAMS, ids=[f.__name__ for f, _ in PROGRAMS])
def test_second_derivatives(f, args):
    """The Hessian times a direction: reverse over reverse against forward over reverse."""
    direction = 0.3 * np.cos(np.arange(np.size(args[0]), dtype=float)).reshape(np.shape(args[0]))
    rest = (None,) * (len(args) - 1)
    gradient = nf.grad(f)
    forward = nf.jvp(gradient, args, (direction, *rest))[1]
    reverse = nf.vjp(gradient, args, direction)[1][0]
    np.testing.assert_allclose(reverse, forward, rtol=1e-11, atol=1e-12)


def test_one_run_does_for_both():
    """Nothing is kept, copied or run before where the factors are known; else the call runs."""
    text = nf.source(nf.grad(determinant), np.eye(3))
    assert "def minors(" not in text
    assert "_tape" not in text
    assert text.count("np.zeros(") == 2  # the gradient, and the user's
    assert "def children(" not in nf.source(nf.grad(tree), X, 0.8)
    assert "def factor_afterwards(" not in nf.source(nf.grad(factor_afterwards), X, 0)
    for f in (squared, scaled_by_another, carried_on):
        assert f"def {f.__name__}(" in nf.source(nf.grad(f), X, 0)


def test_what_is_not_differentiated_has_no_shadow():
    text = nf.source(nf.grad(tree, 1), X, 0.8)
    assert "np.zeros" not in text


def test_a_value_that_nobody_needs_is_not_computed():
    text = nf.source(nf.grad(lambda x: 3.0 * factor_only(x, 2)), 0.7)
    assert "math.exp" not in text
    assert nf.grad(lambda x: 3.0 * factor_only(x, 2))(0.7) == pytest.approx(2.1)


@njit
def factor_only(x, n):
    if n == 0:
        return 0.7 * x + math.exp(2.0)
    return factor_only(x, n - 1)


def test_a_factor_is_not_read_before_what_stops_it():
    @njit
    def stops(x, i):
        if i > x.size:
            raise IndexError("beyond")
        if i == x.size:
            return 1.0
        below = stops(x, i + 1)
        if below > 100.0:
            raise ValueError("too large")
        return below * x[i]

    np.testing.assert_allclose(nf.grad(stops)(X, 0), np.prod(X) / X, rtol=1e-13)
    with pytest.raises(ValueError, match="too large"):
        nf.grad(stops)(50.0 * X, 0)
    with pytest.raises(IndexError, match="beyond"):
        nf.grad(stops)(X, 5)


def test_draws_of_a_run_that_is_the_only_one():
    @njit
    def walk(x, n):
        return x if n == 0 else np.random.random() * walk(x, n - 1)

    @njit
    def seeded(x, n):
        np.random.seed(3)
        return walk(x, n)

    assert nf.grad(seeded)(0.5, 4) == pytest.approx(seeded(0.5, 4) / 0.5, rel=1e-13)


def test_loops_in_parallel():
    @njit(parallel=True)
    def branches(x):
        total = 0.0
        for i in numba.prange(x.size):
            total += x[i] * factor_afterwards(x, i)
        return total

    def one_by_one(x):
        total = 0.0
        for i in range(x.size):
            total += x[i] * factor_afterwards(x, i)
        return total

    expected = nf.grad(one_by_one)(X)
    np.testing.assert_allclose(nf.grad(branches)(X), expected, rtol=1e-12)


@njit
def exchanged(x, data, scale, offset, n):
    """What is differentiated changes places with what is not."""
    if n == 0:
        return x[0] * data[1] * scale + offset
    return x[1] * exchanged(data, x, offset, scale * 0.5, n - 1) + math.sin(
        exchanged(data, x, scale, offset, n - 1)
    )


@pytest.mark.parametrize("place", range(4))
def test_arguments_that_change_places(place):
    args = (vector(0.7, 0.4), vector(0.3, -1.2), 0.9, 0.6, 3)
    gradient = nf.grad(exchanged, place)(*args)
    for at in np.ndindex(np.shape(args[place])):
        unit = np.zeros(np.shape(args[place]))
        unit[at] = 1.0
        moving = tuple(unit[()] if i == place else None for i in range(len(args)))
        tangent = nf.jvp(exchanged, args, moving)[1]
        assert np.asarray(gradient)[at] == pytest.approx(tangent, rel=1e-12)


def test_versions_of_one_function_call_only_larger_ones():
    text = nf.source(nf.grad(scaled_by_another), X, 0)
    order = [line.split("(")[0] for line in text.splitlines() if line.startswith("def ")]
    bodies = text.split("\ndef ")[1:]
    for at, body in enumerate(bodies):
        for later in order[at + 1 :]:
            assert later.removeprefix("def ") + "(" not in body.split(":", 1)[1]
