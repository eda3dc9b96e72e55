"""Extrema of many threads: one source of each, in both modes, in three orders, watched."""

import math
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import cuda, float32, float64

import numbaflux as nf
from numbaflux.errors import NotDifferentiableError, UnsupportedError

ORDERS = ("forward", "reverse", "random")


@cuda.jit
def of_the_grid(x, out):
    """An element of the result may have several values of one thread."""
    for k in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        cuda.atomic.min(out, k % 2, x[k] * x[k])


@cuda.jit
def of_blocks(x, out):
    """Of a block first, then of the grid; some threads end before they meet."""
    largest = cuda.shared.array(1, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i >= x.size:
        return
    if t == 0:
        largest[0] = -1e300
    cuda.syncthreads()
    cuda.atomic.max(largest, 0, 2.0 * x[i])
    cuda.syncthreads()
    if t == 0:
        cuda.atomic.max(out, 0, largest[0] * largest[0])


@cuda.jit
def of_tiles(x, out):
    """Begun anew in every trip, and read by all."""
    largest = cuda.shared.array(2, float64)
    t, n = cuda.threadIdx.x, cuda.blockDim.x
    total = 0.0
    for k in range(x.size // n):
        if t < 2:
            largest[t] = 0.5
        cuda.syncthreads()
        if t % 3 != 1:
            cuda.atomic.nanmax(largest, t % 2, x[k * n + t])
        cuda.syncthreads()
        total += math.exp(x[k * n + t] - largest[0]) * largest[1] ** 2
        cuda.syncthreads()
    if t < out.size:
        out[t] = total


@cuda.jit
def so_far(x, out):
    """Read between two operations, of which the second may leave it as it is."""
    least = cuda.shared.array(1, float64)
    t, n = cuda.threadIdx.x, cuda.blockDim.x
    if t == 0:
        least[0] = 9.0
    cuda.syncthreads()
    cuda.atomic.min(least, 0, x[t])
    cuda.syncthreads()
    first = least[0]
    cuda.syncthreads()
    cuda.atomic.min(least, 0, x[n + t] + x[t])
    cuda.syncthreads()
    if t < out.size:
        out[t] = first * x[t] + least[0] ** 2


@cuda.jit
def of_rows(x, out):
    """Of a view, in a loop and in branches, the least beside the largest; blocks of two axes."""
    i, j = cuda.grid(2)
    if i < x.shape[0]:
        row = out[i % 2]
        for k in range(j, x.shape[1], cuda.gridsize(2)[1]):
            if k % 4 != 3:
                cuda.atomic.max(row, k % 2, x[i, k] * x[i, k])
            else:
                cuda.atomic.min(row, 2, x[i, k] * x[i, 0])


@cuda.jit
def in_dynamic_memory(x, out):
    """By the first warp, whose threads wait for each other only."""
    tile = cuda.shared.array(0, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if t < 4:
        tile[t] = float32(-9.0)
    cuda.syncthreads()
    if t < 32:
        cuda.atomic.max(tile, t % 4, x[i])
        cuda.syncwarp()
    cuda.syncthreads()
    if t < 4:
        out[4 * cuda.blockIdx.x + t] = tile[t] * tile[t]


class Case(NamedTuple):
    kernel: Any
    launch: tuple
    shape: tuple
    out: np.ndarray
    dtype: type = np.float64


CASES = [
    Case(of_the_grid, (2, 16), (90,), np.full(2, 9.0)),
    Case(of_blocks, (3, 16), (45,), np.full(1, -9.0)),
    Case(of_tiles, (1, 8), (24,), np.zeros(3)),
    Case(so_far, (1, 16), (32,), np.zeros(4)),
    Case(of_rows, ((2, 1), (2, 8)), (4, 20), np.array([[-9.0, -9.0, 9.0]] * 2)),
    Case(in_dynamic_memory, (2, 48, 0, 16), (96,), np.zeros(8), np.float32),
]


def inner(a, b):
    return sum(float(np.sum(x.astype(float) * y)) for x, y in zip(a, b, strict=True))


def arrays(case, seed, ties):
    """Arguments of a kernel; `ties`: so few values that many threads have the extreme one."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 4, case.shape) / 2 if ties else rng.uniform(0.1, 1.5, case.shape)
    return [x.astype(case.dtype), case.out.astype(case.dtype)]


def directions(case, seed):
    rng = np.random.default_rng(seed)
    shapes = (case.shape, case.out.shape)
    return [rng.standard_normal(shape).astype(case.dtype) for shape in shapes]


@cache
def emulated(kernel, transform=None, check=True):
    """The kernel, or a derivative of it, compiled once."""
    return nf.cuda.emulate(transform(kernel) if transform else kernel, check)


def launched(case, args):
    args = [a.copy() for a in args]
    emulated(case.kernel, check=False)[case.launch](*args)
    return args


def both(case, transform, args, shadows, order="forward"):
    """Arguments and shadows after a derivative of a kernel."""
    run = emulated(case.kernel, transform)
    machine = replace(run.executor.machine, order=order)
    run = replace(run, executor=replace(run.executor, machine=machine))
    args, shadows = [a.copy() for a in args], [d.copy() for d in shadows]
    run[case.launch](*map(nf.Dup, args, shadows))
    return args, shadows


@pytest.mark.parametrize("ties", [False, True], ids=["one", "ties"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kernel.__name__)
def test_both_modes_agree(case, ties):
    """A tie has one source, the same in both modes and whatever the order; no tie, differences."""
    args, along, ct = arrays(case, 1, ties), directions(case, 2), directions(case, 3)
    after = launched(case, args)
    rel = 1e-12 if case.dtype is np.float64 else 2e-6
    found = []
    for order in ORDERS:
        primal, pushed = both(case, nf.cuda.tangent, args, along, order)
        assert all(map(np.array_equal, primal, after))
        _, pulled = both(case, nf.cuda.adjoint, after, ct, order)
        found.append(pushed)
        assert inner(ct, pushed) == pytest.approx(inner(pulled, along), rel=rel)
    for pushed in found[1:]:
        np.testing.assert_allclose(pushed[1], found[0][1], rtol=rel)
    if ties or case.dtype is np.float32:
        return
    ahead, back = (launched(case, [a + h * d for a, d in zip(args, along)]) for h in (1e-6, -1e-6))
    slope = (ahead[1] - back[1]) / 2e-6
    np.testing.assert_allclose(found[0][1], slope, rtol=1e-7, atol=1e-9)


def test_second_order():
    """Forward over reverse and reverse over forward, against differences of the adjoint."""
    case = CASES[1]
    args, along, ct = arrays(case, 4, False), directions(case, 5), directions(case, 6)
    along[1][...] = ct[0][...] = 0.0
    zeros = [np.zeros_like(a) for a in args]

    def gradient(step):
        after = launched(case, [a + step * d for a, d in zip(args, along)])
        return both(case, nf.cuda.adjoint, after, ct)[1][0]

    expected = (gradient(1e-6) - gradient(-1e-6)) / 2e-6
    after = launched(case, args)
    _, pushed = both(case, nf.cuda.tangent, args, along)

    over_reverse = nf.cuda.emulate(nf.cuda.tangent(nf.cuda.adjoint(case.kernel)), check=False)
    shadows, moved = [d.copy() for d in ct], [d.copy() for d in zeros]
    pairs = zip(after, shadows, (along[0].copy(), pushed[1].copy()), moved, strict=True)
    over_reverse[case.launch](*(nf.Dup(nf.Dup(a, d), nf.Dup(e, f)) for a, d, e, f in pairs))
    np.testing.assert_allclose(moved[0], expected, rtol=1e-6, atol=1e-8)

    over_forward = nf.cuda.emulate(nf.cuda.adjoint(nf.cuda.tangent(case.kernel)), check=False)
    values, slopes = [d.copy() for d in zeros], [d.copy() for d in ct]
    pairs = zip(after, pushed, values, slopes, strict=True)
    over_forward[case.launch](*(nf.Dup(nf.Dup(a, e), nf.Dup(d, f)) for a, e, d, f in pairs))
    np.testing.assert_allclose(values[0], expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(slopes[0], gradient(0.0), rtol=1e-12)


def test_where_nobody_has_more_all_stays_with_what_was_there():
    case = CASES[0]._replace(out=np.array([1e-9, 9.0]))
    args, along, ct = arrays(case, 7, False), directions(case, 8), directions(case, 9)
    _, pushed = both(case, nf.cuda.tangent, args, along)
    _, pulled = both(case, nf.cuda.adjoint, launched(case, args), ct)
    assert pushed[1][0] == along[1][0]
    assert pulled[1][0] == ct[1][0]
    assert pulled[1][1] == 0.0


def test_ties_on_a_tape_and_in_vjp():
    """They are of the same thread as in the adjoint: the last one."""
    x, out = np.array([1.0, -1.0, 1.0, 2.0, 5.0, -1.0]), np.full(2, 9.0)
    _, pullback = nf.cuda.emulate(nf.cuda.vjp(of_the_grid))[1, 8](x, out)
    dx = np.zeros(6)
    pullback(dx, np.ones(2))
    np.testing.assert_array_equal(dx, [0, 0, 2.0, 0, 0, -2.0])
    with nf.cuda.Tape() as tape:
        out[:] = 9.0
        nf.cuda.emulate(of_the_grid)[1, 8](x, out)
    np.testing.assert_array_equal(tape.backward(out, np.ones(2))[x], dx)


@cuda.jit
def softmax(x):
    """In place."""
    largest, total = cuda.shared.array(1, float64), cuda.shared.array(1, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if t == 0:
        largest[0], total[0] = -1e300, 0.0
    cuda.syncthreads()
    cuda.atomic.max(largest, 0, x[i])
    cuda.syncthreads()
    e = math.exp(x[i] - largest[0])
    cuda.atomic.add(total, 0, e)
    cuda.syncthreads()
    x[i] = e / total[0] * largest[0]


def test_what_is_recorded():
    """Values that are loaded before they are overwritten."""
    rng = np.random.default_rng(10)
    x, along, ct = rng.integers(0, 3, 32) / 2, *rng.standard_normal((2, 32))
    primal, pushed, pulled = x.copy(), along.copy(), ct.copy()
    nf.cuda.emulate(nf.cuda.tangent(softmax))[2, 16](nf.Dup(primal, pushed))
    _, pullback = nf.cuda.emulate(nf.cuda.vjp(softmax))[2, 16](x)
    pullback(pulled)
    np.testing.assert_array_equal(x, primal)
    assert pulled @ along == pytest.approx(ct @ pushed, rel=1e-13)


# ---- where values cannot be computed again ------------------------------------------------------


@cuda.jit
def in_place(x, out):
    i = cuda.grid(1)
    if i < x.size:
        x[i] = x[i] * x[i]
        cuda.atomic.max(out, 0, x[i])


@cuda.jit
def emptied(x, out):
    """The first extreme is read before there is another one."""
    least = cuda.shared.array(1, float64)
    t = cuda.threadIdx.x
    if t == 0:
        least[0] = 9.0
    cuda.syncthreads()
    if t < 8:
        cuda.atomic.min(least, 0, x[t])
        x[t] = 0.0
    cuda.syncthreads()
    first = least[0]
    cuda.syncthreads()
    if t >= 8:
        cuda.atomic.min(least, 0, x[t])
        x[t] = 0.0
    cuda.syncthreads()
    if t == 0:
        out[0] = first * least[0]


@cuda.jit
def returned(x, out):
    i = cuda.grid(1)
    before = cuda.atomic.max(out, 0, x[i])
    x[i] = before


def test_values_that_are_overwritten():
    x, out = np.array([1.0, -3.0, 2.0]), np.zeros(1)
    with pytest.raises(UnsupportedError, match=r"x\[i\]\)") as error:
        nf.cuda.emulate(nf.cuda.tangent(in_place))[1, 8](nf.Dup(x, x + 1.0), nf.Dup(out, out + 1.0))
    assert "computing the values again" in str(error.value)
    _, pullback = nf.cuda.emulate(nf.cuda.vjp(in_place))[1, 8](x, out)
    dx = np.zeros(3)
    pullback(dx, np.ones(1))
    np.testing.assert_array_equal(dx, [0.0, -6.0, 0.0])


@cuda.jit
def with_a_sum(x, out):
    i = cuda.grid(1)
    cuda.atomic.max(out, 0, x[i])
    cuda.atomic.add(out, 0, x[i])


@pytest.mark.parametrize(
    "kernel", [emptied, returned, with_a_sum], ids=["emptied", "returned", "with_a_sum"]
)
def test_what_is_refused(kernel):
    x, out = np.arange(16.0), np.zeros(1)
    args = nf.Dup(x, x.copy()), nf.Dup(out, out.copy())
    for transform in (nf.cuda.tangent, nf.cuda.adjoint):
        with pytest.raises((UnsupportedError, NotDifferentiableError), match="atomic"):
            nf.cuda.emulate(transform(kernel))[1, 16](*args)
