"""Derivatives of kernels, on the emulator: against differences, and one mode against the other."""

from functools import cache

import numpy as np
import pytest
from numba import cuda, float64

import numbaflux as nf
from numbaflux.cuda.kernel import for_launch
from numbaflux.cuda.launch import Launch
from numbaflux.ir.printer import show
from tests.cuda.hosts import halve
from tests.cuda.programs import PROGRAMS, single

STEP = 1e-6

adjoint, emulate = cache(nf.cuda.adjoint), cache(nf.cuda.emulate)  # each compiled once


def copies(args):
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]


def case(name, seed=0):
    """A program with its arguments, a direction and cotangents for those that are active."""
    program, rng = PROGRAMS[name], np.random.default_rng(seed)
    args = program.args(rng)
    directions = {i: rng.standard_normal(args[i].shape) for i in program.active}
    cotangents = {i: rng.standard_normal(args[i].shape) for i in program.active}
    return program, args, directions, cotangents


def run(program, args):
    """What the arguments are after the kernel."""
    args = copies(args)
    emulate(program.kernel)[program.launch](*args)
    return args


def moved(args, directions, step):
    return [a + step * directions[i] if i in directions else a for i, a in enumerate(args)]


def differences(program, args, directions):
    """The derivative along the directions, by central differences with two steps."""

    def slope(step):
        ahead = run(program, moved(args, directions, step))
        back = run(program, moved(args, directions, -step))
        return {i: (ahead[i] - back[i]) / (2 * step) for i in directions}

    coarse, fine = slope(8e-4), slope(4e-4)
    return {i: (4 * fine[i] - coarse[i]) / 3 for i in directions}


def dups(args, shadows):
    return [nf.Dup(a, shadows[i]) if i in shadows else a for i, a in enumerate(args)]


def pulled(program, args, cotangents, **options):
    """The cotangents of the arguments before the kernel, `args` being those after it."""
    shadows = {i: ct.copy() for i, ct in cotangents.items()}
    emulate(adjoint(program.kernel), **options)[program.launch](*dups(args, shadows))
    return shadows


def pushed(program, args, directions):
    """The arguments after the kernel, and their tangents."""
    primal, tangents = copies(args), {i: d.copy() for i, d in directions.items()}
    tangent = nf.cuda.emulate(nf.cuda.tangent(program.kernel))
    tangent[program.launch](*dups(primal, tangents))
    return primal, tangents


def inner(a, b):
    return sum(float(np.sum(a[i] * b[i])) for i in a)


@pytest.mark.parametrize("name", PROGRAMS)
def test_first_order(name):
    """Differences, the adjoint with its threads in any order, and the tangent."""
    program, args, directions, cotangents = case(name)
    after, slopes = run(program, args), differences(program, args, directions)
    reverse = inner(pulled(program, after, cotangents), directions)
    assert reverse == pytest.approx(inner(cotangents, slopes), rel=1e-7)
    for order in ("reverse", "random"):
        found = inner(pulled(program, after, cotangents, order=order), directions)
        assert found == pytest.approx(reverse, rel=1e-11)
    primal, tangents = pushed(program, args, directions)
    for a, b in zip(primal, after, strict=True):
        np.testing.assert_array_equal(a, b)
    for i, d in tangents.items():
        np.testing.assert_allclose(d, slopes[i], rtol=1e-6, atol=1e-8)
    assert reverse == pytest.approx(inner(cotangents, tangents), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("name", ["pointwise", "block_sum", "root", "trajectory", "shuffles"])
def test_second_order(name):
    """The tangent of the adjoint against differences of the adjoint."""
    program, args, directions, cotangents = case(name)

    primal = run(program, args)
    ahead, back = (pulled(program, moved(primal, directions, s), cotangents) for s in (STEP, -STEP))
    expected = {i: (ahead[i] - back[i]) / (2 * STEP) for i in directions}
    shadows = {i: ct.copy() for i, ct in cotangents.items()}
    tangents = {i: np.zeros_like(ct) for i, ct in cotangents.items()}
    given = [
        nf.Dup(nf.Dup(a, shadows[i]), nf.Dup(directions[i].copy(), tangents[i]))
        if i in directions
        else a
        for i, a in enumerate(primal)
    ]
    twice = nf.cuda.tangent(adjoint(program.kernel))
    nf.cuda.emulate(twice, check=False)[program.launch](*given)
    for i, d in tangents.items():
        np.testing.assert_allclose(d, expected[i], rtol=1e-5, atol=1e-7)


def test_single_precision_stays_single():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 64)).astype(np.float32)
    dx, dy = np.zeros_like(x), rng.standard_normal(64).astype(np.float32)
    rows, d = x.reshape(2, 32), dy.reshape(2, 32)
    expected = 2 * rows[:, ::-1] * (d + d[:, ::-1])
    nf.cuda.emulate(nf.cuda.adjoint(single))[2, 32](nf.Dup(x, dx), nf.Dup(y, dy.copy()))
    np.testing.assert_allclose(dx.reshape(2, 32), expected, rtol=1e-5)
    made = for_launch(nf.cuda.adjoint(single), (nf.Dup(x, dx), nf.Dup(y, dy)), Launch.of((2, 32)))
    assert "float64" not in show(made.program.function)


# ---- what the kernel overwrites ----------------------------------------------------------------


@cuda.jit
def in_place(x):
    i = cuda.grid(1)
    if i < x.size:
        x[i] = np.sin(x[i])


@cuda.jit
def steps(x, c, n):
    i = cuda.grid(1)
    if i < x.size:
        for _ in range(n):
            x[i] = x[i] + 0.1 * np.sin(x[i] * c)


@cuda.jit
def compaction(x, count, out):
    i = cuda.grid(1)
    if i < x.size and x[i] > 0.0:
        k = cuda.atomic.add(count, 0, 1)
        out[k] = x[i] * x[i]


@cuda.jit
def until(x, y):
    i = cuda.grid(1)
    if i < x.size:
        while y[i] < 3.0:
            y[i] = y[i] * 1.2 + 0.1 * x[i] * x[i]


@pytest.mark.parametrize(
    "kernel", [in_place, steps, compaction], ids=["in_place", "steps", "compaction"]
)
def test_adjoint_says_what_is_lost(kernel):
    args = {
        in_place: (np.ones(3),),
        steps: (np.ones(3), 1.0, 2),
        compaction: (np.ones(3), np.zeros(1, np.int64), np.zeros(3)),
    }[kernel]
    floats = [isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in args]
    given = [nf.Dup(a, a.copy()) if f else a for a, f in zip(args, floats, strict=True)]
    with pytest.raises(nf.NotDifferentiableError, match=r"numbaflux\.cuda\.vjp") as caught:
        nf.cuda.emulate(nf.cuda.adjoint(kernel))[1, 32](*given)
    assert caught.value.loc.file == __file__


@pytest.mark.parametrize(
    "kernel, args, active",
    [
        (in_place, lambda r: [r.standard_normal(30)], (0,)),
        (steps, lambda r: [r.standard_normal(30), 1.3, 5], (0,)),
        (
            compaction,
            lambda r: [r.standard_normal(30), np.zeros(1, np.int64), np.zeros(30)],
            (0, 2),
        ),
        (PROGRAMS["bodies"].kernel, PROGRAMS["bodies"].args, (0, 1, 2)),
        (halve, lambda r: [r.uniform(0.0, 1.7, 30), np.zeros(30)], (0, 1)),
    ],
    ids=["in_place", "steps", "compaction", "bodies", "halves"],
)
def test_vjp(kernel, args, active):
    rng = np.random.default_rng(5)
    args, launch = args(rng), (3, 16)
    directions = {i: rng.standard_normal(args[i].shape) for i in active}
    cotangents = {i: rng.standard_normal(args[i].shape) for i in active}

    def out(step):
        moving = copies(moved(args, directions, step))
        emulate(kernel)[launch](*moving)
        return moving

    ahead, back = out(STEP), out(-STEP)
    slopes = {i: (ahead[i] - back[i]) / (2 * STEP) for i in active}
    expected = inner(cotangents, slopes)
    primal = copies(args)
    nothing, pullback = nf.cuda.emulate(nf.cuda.vjp(kernel))[launch](*primal)
    assert nothing is None
    np.testing.assert_array_equal(primal[0], run_once(kernel, launch, args)[0])
    for _ in range(2):  # as often as one likes
        shadows = {i: ct.copy() for i, ct in cotangents.items()}
        pullback(*(shadows.get(i) for i in range(len(args))))
        assert inner(shadows, directions) == pytest.approx(expected, rel=1e-6)


def run_once(kernel, launch, args):
    args = copies(args)
    emulate(kernel)[launch](*args)
    return args


def test_a_while_over_what_is_stored_is_refused():
    x, y = np.ones(3), np.ones(3)
    with pytest.raises(nf.UnsupportedError, match="trips depend on what the kernel stores"):
        nf.cuda.emulate(nf.cuda.vjp(until))[1, 32](x, y)


# ---- who adds ----------------------------------------------------------------------------------


def verdicts(kernel, launch, *args):
    made = for_launch(nf.cuda.adjoint(kernel), args, Launch.of(launch))
    return {(v.array, v.plain) for v in made.verdicts}


def test_owned_elements_are_added_to_plainly():
    x, y = np.ones((4, 40)), np.ones((4, 40))
    given = (2.0, nf.Dup(x[0], x[1]), nf.Dup(y[0], y[1]))
    assert verdicts(PROGRAMS["pointwise"].kernel, (2, 32), *given) == {("d_x", True)}
    strided = (nf.Dup(x[0], x[1]), nf.Dup(y[0], y[1]))
    assert verdicts(PROGRAMS["grid_stride_while"].kernel, (2, 32), *strided) == {("d_x", True)}


def test_a_launch_with_more_threads_than_the_kernel_asks_for_is_atomic():
    """Threads that differ in y only do the same: there are two of each."""
    x, y = np.ones((4, 40)), np.ones((4, 40))
    given = (2.0, nf.Dup(x[0], x[1]), nf.Dup(y[0], y[1]))
    assert verdicts(PROGRAMS["pointwise"].kernel, ((2, 2), 32), *given) == {("d_x", False)}


@cuda.jit
def overlapping(x, y):
    i = cuda.grid(1)
    if i + 1 < x.size:
        y[i] = x[i] * x[i + 1]


@cuda.jit
def pairs(x, y):
    i = cuda.grid(1)
    if 2 * i + 1 < x.size:
        y[i] = x[2 * i] * x[2 * i + 1]


@cuda.jit
def one_thread(x, y):
    if cuda.grid(1) == 3:
        y[0] = x[0] * x[1]


@cuda.jit
def shifting(x, y):
    """The end of one trip and the beginning of the next are in one phase."""
    shared = cuda.shared.array(64, float64)
    t = cuda.threadIdx.x
    shared[t], shared[t + 32] = x[t], x[t + 32]
    cuda.syncthreads()
    total = 0.0
    for k in range(3):
        total += shared[t + k] ** 2
        cuda.syncthreads()
        total += shared[t + k] ** 3
    y[t] = total


def test_verdicts_of_the_owner_rule():
    x, y = np.ones((4, 64)), np.ones((4, 64))
    given = (nf.Dup(x[0], x[1]), nf.Dup(y[0], y[1]))
    assert verdicts(overlapping, (2, 32), *given) == {("d_x", True)}  # gathered
    assert verdicts(overlapping, ((2, 2), 32), *given) == {("d_x", False)}
    assert verdicts(pairs, (2, 32), *given) == {("d_x", True)}
    assert verdicts(one_thread, (2, 32), *given) == {("d_x", True)}
    assert ("d_shared", False) in verdicts(shifting, (1, 32), *given)


def test_shifting_tile():
    rng = np.random.default_rng(2)
    x, dx, y, dy = rng.standard_normal((4, 64))
    dx[:] = 0.0
    nf.cuda.emulate(nf.cuda.adjoint(shifting))[1, 32](nf.Dup(x, dx), nf.Dup(y[:32], dy[:32].copy()))
    expected = np.zeros(64)
    for k in range(3):
        expected[k : k + 32] += dy[:32] * (2 * x[k : k + 32] + 3 * x[k : k + 32] ** 2)
    np.testing.assert_allclose(dx, expected, rtol=1e-12)


# ---- what is refused ---------------------------------------------------------------------------


@cuda.jit
def scratch(x, between, y):
    i = cuda.grid(1)
    between[i] = x[i] * x[i]
    cuda.syncthreads()
    y[i] = between[(i + 1) % x.size] * 2.0


@cuda.jit
def exchange(x, y):
    i = cuda.grid(1)
    y[i] = cuda.atomic.exch(y, 0, x[i])


def test_an_array_between_needs_a_shadow():
    x, y, between = np.ones(4), np.ones(4), np.ones(4)
    with pytest.raises(nf.NotDifferentiableError, match="`between` of the kernel `scratch`"):
        nf.cuda.emulate(nf.cuda.adjoint(scratch))[1, 4](
            nf.Dup(x, x.copy()), between, nf.Dup(y, y.copy())
        )


def test_what_depends_on_the_order_is_refused():
    x, y = np.ones(4), np.ones(4)
    with pytest.raises(nf.UnsupportedError, match=r"cuda\.atomic\.exch"):
        nf.cuda.emulate(nf.cuda.adjoint(exchange))[1, 4](nf.Dup(x, x.copy()), nf.Dup(y, y.copy()))


def test_arrays_that_share_memory_are_refused():
    x = np.ones(8)
    with pytest.raises(ValueError, match="share memory"):
        nf.cuda.emulate(PROGRAMS["early_return"].kernel)[1, 8](x, x)


def test_a_shadow_of_another_shape_is_refused():
    x, y = np.ones(8), np.ones(8)
    with pytest.raises(ValueError, match="shape"):
        nf.cuda.emulate(nf.cuda.adjoint(PROGRAMS["early_return"].kernel))[1, 8](
            nf.Dup(x, np.zeros(7)), nf.Dup(y, np.ones(8))
        )
