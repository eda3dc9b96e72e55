"""Loops of launches on a tape, reversed from snapshots."""

from collections import Counter
from math import comb
from weakref import WeakSet

import numpy as np
import pytest

import numbaflux as nf
from numbaflux.cuda import loops
from tests.cuda.steps import grid, misfit, shift, square, stencil

N = 13
P = np.array([0.2, 0.3])


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def swapped(p):
    """Two buffers that swap."""

    def step(t, state):
        u, v = state
        stencil[grid(u)](p, u, v)
        return v, u

    return step


def gradients(loop, p, u, *more):
    """Gradients of the misfit of what `loop(p, u, *more)` returns."""
    p, u, loss = p.copy(), u.copy(), np.zeros(1)
    more = [a.copy() for a in more]
    with nf.cuda.Tape() as tape:
        last = loop(p, u, *more)
        misfit[grid(last)](last, np.full(N, 0.4), loss)
    grads = tape.backward(loss)
    return [loss, *(grads[a] for a in (p, u, *more))]


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def unrolled(step_of, n):
    def loop(p, *state):
        for t in range(n):
            state = step_of(p)(t, state) or state
        return state[0]

    return loop


@pytest.mark.parametrize(("n", "slots"), [(1, 1), (2, 1), (7, 1), (7, 2), (12, 3), (5, 9)])
def test_as_without_checkpoints(n, slots):
    def loop(p, *state):
        return nf.cuda.checkpoint(swapped(p), n, state, slots)[0]

    state = random(N), np.zeros(N)
    same(gradients(loop, P, *state), gradients(unrolled(swapped, n), P, *state))


def evaluations(n, slots):
    """Griewank and Walther: how many steps the reverse of n runs ahead, the forward sweep too."""
    r = next(r for r in range(n + 1) if comb(slots + r, slots) >= n)
    return r * n - (comb(slots + r, r - 1) if r else 0)


@pytest.mark.parametrize(("n", "slots"), [(1, 1), (6, 1), (10, 2), (10, 3), (35, 4), (40, 5)])
def test_steps_are_run_as_often_as_they_must_be(n, slots, monkeypatch):
    runs, most, snapshots, made = Counter(), Counter(), WeakSet(), loops.Snapshot.of
    taken = []

    def of(at, state):
        snapshot = made(at, state)
        taken.append(at)
        snapshots.add(snapshot)
        return snapshot

    def step(t, state):
        runs[t] += 1
        most[len(snapshots)] += 1
        square[grid(state[0])](state[0])

    monkeypatch.setattr(loops.Snapshot, "of", of)
    u = random(N)
    with nf.cuda.Tape() as tape:
        nf.cuda.checkpoint(step, n, (u,), slots)
    assert runs.total() == n
    again = n - max(taken)  # from the last snapshot to the end, since the result is wanted first
    tape.backward(u, 1.0)
    assert runs.total() == evaluations(n, slots) + n + again  # each once more to be reversed
    assert max(most) == min(slots, max(n - 1, 1))


def test_no_steps_and_no_tape():
    u, v = random(N), np.zeros(N)
    w = u.copy()
    assert nf.cuda.checkpoint(swapped(P), 0, (u, v), 1) == (u, v)
    last = nf.cuda.checkpoint(swapped(P), 3, (u, v), 1)
    assert last[0] is v
    expected = unrolled(swapped, 3)(P, w, np.zeros(N))
    np.testing.assert_array_equal(v, expected)
    with nf.cuda.Tape() as tape:
        assert nf.cuda.checkpoint(swapped(P), 0, (u, v), 1) == (u, v)
        square[grid(u)](u)
    np.testing.assert_allclose(tape.backward(u, 1.0)[u], 2.0 * np.sqrt(u - 0.1), rtol=1e-12)


def fresh(p):
    """Each step makes its arrays, what it returns and what it does not."""

    def step(t, state):
        (u,) = state
        middle, after = np.zeros(N), np.zeros(N)
        shift[grid(u)](u, middle)
        stencil[grid(u)](p, middle, after)
        return (after,)

    return step


def test_steps_that_make_new_arrays():
    def loop(p, u):
        return nf.cuda.checkpoint(fresh(p), 9, (u,), 3)[0]

    same(gradients(loop, P, random(N)), gradients(unrolled(fresh, 9), P, random(N)))


def with_scratch(scratch):
    def of(p):
        def step(t, state):
            (u,) = state
            shift[grid(u)](u, scratch)
            stencil[grid(u)](p, scratch, u)

        return step

    return of


def test_scratch():
    scratch = np.zeros(N)

    def loop(p, u):
        return nf.cuda.checkpoint(with_scratch(scratch)(p), 6, (u,), 2, scratch=(scratch,))[0]

    expected = gradients(unrolled(with_scratch(np.zeros(N)), 6), P, random(N))
    same(gradients(loop, P, random(N)), expected)
    with nf.cuda.Tape(), pytest.raises(ValueError, match="neither"):
        nf.cuda.checkpoint(with_scratch(scratch)(P), 6, (random(N),), 2)
    u, v = random(N), np.zeros(N)
    with nf.cuda.Tape() as tape:
        nf.cuda.checkpoint(with_scratch(scratch)(P), 6, (u,), 2, scratch=(scratch,))
        shift[grid(u)](scratch, v)
    with pytest.raises(ValueError, match="left behind"):
        tape.backward(v, 1.0)


def test_before_and_after_the_loop_and_twice():
    """The loop is one entry among others that read and overwrite its arrays."""

    def around(run):
        def program(p, u, v):
            square[grid(u)](u)
            stencil[grid(u)](p, u, v)
            last, other = run(p, u, v)
            shift[grid(u)](last, other)
            nf.cuda.copy(p, np.array([0.1, 0.1]))
            stencil[grid(u)](p, other, last)
            return last

        return program

    def checkpointed(p, u, v):
        return nf.cuda.checkpoint(swapped(p), 8, (u, v), 2)

    def recorded(p, u, v):
        for t in range(8):
            u, v = swapped(p)(t, (u, v))
        return u, v

    arrays = P.copy(), random(N), random(N, seed=1)
    expected = gradients(around(recorded), *arrays)
    same(gradients(around(checkpointed), *arrays), expected)
    with nf.cuda.Tape() as tape:
        last = around(checkpointed)(*arrays)
    before = [a.copy() for a in arrays]
    first = [tape.backward(last, 1.0)[a] for a in arrays]
    same([tape.backward(last, 1.0)[a] for a in arrays], first)
    same(arrays, before)


def test_loops_in_loops():
    def outer(p):
        def step(t, state):
            return nf.cuda.checkpoint(swapped(p), 3, state, 1)

        return step

    def loop(p, *state):
        return nf.cuda.checkpoint(outer(p), 4, state, 2)[0]

    state = random(N), np.zeros(N)
    same(gradients(loop, P, *state), gradients(unrolled(swapped, 12), P, *state))


def test_copies_and_what_depends_on_the_step():
    weights = random(6, 2, seed=2)

    def of(p):
        def step(t, state):
            u, v = state
            nf.cuda.copy(v, u)
            stencil[grid(u)](p if t % 2 else weights[t], v, u)

        return step

    def loop(p, *state):
        return nf.cuda.checkpoint(of(p), 6, state, 2)[0]

    state = random(N), np.zeros(N)
    same(gradients(loop, P, *state), gradients(unrolled(of, 6), P, *state))


def test_what_is_no_state():
    u = random(N)
    with pytest.raises(ValueError, match="slots"):
        nf.cuda.checkpoint(swapped(P), 2, (u, np.zeros(N)), 0)
    with pytest.raises(TypeError, match="tuple of arrays"):
        nf.cuda.checkpoint(swapped(P), 2, u, 1)
    with pytest.raises(ValueError, match="twice"):
        nf.cuda.checkpoint(swapped(P), 2, (u, u), 1)
    with pytest.raises(ValueError, match="returned 1"):
        nf.cuda.checkpoint(lambda t, s: s[:1], 2, (u, np.zeros(N)), 1)
