"""`nf.checkpoint` where no derivative is taken, and how it is read."""

import numpy as np
import pytest
from numba import TypingError, njit, prange, typeof

import numbaflux as nf
from numbaflux.frontend import read
from numbaflux.ir.build import index
from numbaflux.ir.nodes import For
from numbaflux.ir.walk import walk


def total(n, slots):
    found = 0
    for k in nf.checkpoint(range(2, n, 3), slots=slots):
        found += k
    return found


def test_it_is_the_range_itself():
    trips = range(2, 20, 3)
    assert nf.checkpoint(trips, 4) is trips
    assert total(20, 4) == njit(total)(20, 4) == sum(trips)


@pytest.mark.parametrize("run", [total, njit(total)])
def test_there_is_at_least_one_slot(run):
    assert run(20, 1) == 57
    with pytest.raises(ValueError, match="slots must be at least 1"):
        run(20, 0)


def test_derivatives_want_a_slot_too():
    def f(x, slots):
        for _ in nf.checkpoint(range(3), slots):
            x = x * x
        return x

    assert nf.grad(f)(1.5, 2) == pytest.approx(8 * 1.5**7)
    with pytest.raises(ValueError, match="slots must be at least 1"):
        nf.grad(f)(1.5, 0)


def test_only_a_range_is_marked():
    with pytest.raises(TypeError, match="list is not a range"):
        nf.checkpoint([1, 2], 3)

    @njit
    def items(x):
        total = 0.0
        for v in nf.checkpoint(x, 3):
            total += v
        return total

    with pytest.raises(TypingError):
        items(np.ones(3))


def loops(f, *args):
    fn = read(f, tuple(typeof(a) for a in args)).function
    return [s for s in walk(fn.block) if isinstance(s, For)]


def test_the_mark_is_on_the_loop():
    (marked,) = loops(total, 20, 4)
    assert marked.slots is not None

    def fixed(x):
        for _ in nf.checkpoint(slots=7, trips=range(5)):
            for _ in range(3):
                x = x * x
        return x

    outer, inner = loops(fixed, 1.0)
    assert (outer.slots, inner.slots) == (index(7), None)


def counted(x, n):
    for i, _ in enumerate(nf.checkpoint(range(n), slots=2), 1):
        x = x * x + i
    return x


def beside(x, n):
    for i, _, _ in zip(range(9), nf.checkpoint(range(n), 3), nf.checkpoint(range(n), n - 1)):
        x = x * x + i
    return x


def chosen(x, n):
    trips = nf.checkpoint(range(n), n + 1) if x > 1.0 else nf.checkpoint(range(n), 2)
    for _ in trips:
        x = x * x
    return x


@pytest.mark.parametrize("f", [counted, beside, chosen])
def test_the_mark_goes_with_the_range(f):
    (marked,) = loops(f, 1.1, 3)
    assert marked.slots is not None
    nf.check_grads(lambda x: f(x, 3), (1.1,), order=1)


def test_a_loop_that_raises_is_still_a_loop():
    def f(x, n):
        for _ in nf.checkpoint(range(n), slots=2):
            if x > 100.0:
                raise OverflowError("too large")
            x = x * x
        return x

    assert len(loops(f, 1.5, 3)) == 1
    assert nf.grad(f)(1.5, 3) == pytest.approx(8 * 1.5**7)
    with pytest.raises(OverflowError, match="too large"):
        nf.grad(f)(1.5, 5)


def leaves(x, n):
    for _ in nf.checkpoint(range(n), slots=2):
        if x > 100.0:
            break
        x = x * x
    return x


def half_marked(x, n):
    if x > 1.0:
        trips = nf.checkpoint(range(n), 2)
    else:
        trips = range(n)
    for _ in trips:
        x = x * x
    return x


def parallel(x, n):
    for _ in nf.checkpoint(prange(n), slots=2):
        x = x * x
    return x


@pytest.mark.parametrize(
    ("f", "what"),
    [
        (leaves, "a checkpointed loop that may be left early"),
        (parallel, "checkpoint of a prange"),
        (half_marked, "`trips` is a checkpointed range on one path and a range on another"),
    ],
)
def test_refused(f, what):
    with pytest.raises(nf.UnsupportedError) as caught:
        nf.grad(f)(1.5, 3)
    assert caught.value.what == what
    assert caught.value.loc is not None and caught.value.loc.file == __file__


def test_forward_mode_does_not_see_it():
    def f(x, n):
        for _ in nf.checkpoint(range(n), slots=2):
            x = x * x
        return x

    assert nf.jvp(f, (1.5, 3), (1.0, None))[1] == pytest.approx(8 * 1.5**7)
    reverse = nf.grad(lambda x, n: nf.jvp(f, (x, n), (1.0, None))[1])
    assert reverse(1.5, 3) == pytest.approx(8 * 7 * 1.5**6)
