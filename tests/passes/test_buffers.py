"""Programs that step between buffers: lengths asked for inside the loop, swaps, work left out.

Each program is checked at sizes around which a border can go wrong and with no step at all.
"""

from __future__ import annotations

import numpy as np
import pytest

from numbaflux.ir.nodes import Dim, For, Function
from numbaflux.ir.walk import walk
from numbaflux.passes import optimise
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
