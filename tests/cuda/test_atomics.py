"""Which additions of an adjoint are plain, and that they are right: in three orders, watched."""

from dataclasses import replace

import numpy as np
import pytest
from numba import cuda, float64

import numbaflux as nf
from numbaflux.cuda.kernel import Launch, for_launch
from numbaflux.ir.nodes import Accumulate
from numbaflux.ir.walk import walk

ORDERS = ("forward", "reverse", "random")


def given(args, shadows):
    return [nf.Dup(a, d) if d is not None else a for a, d in zip(args, shadows, strict=True)]


def atomics(kernel, launch, *arrays):
    """The arrays that the adjoint adds to atomically."""
    args = given(arrays, [a.copy() if a.dtype.kind == "f" else None for a in arrays])
    made = for_launch(nf.cuda.adjoint(kernel), args, Launch.of(launch))
    found = walk(made.program.function.block)
    return {s.array.name for s in found if isinstance(s, Accumulate) and s.atomic}


def check(kernel, launch, n, m, seed=0):
    """dy' J dx of x (n) to y (m): by the adjoint, watched, in three orders, and by differences."""
    rng = np.random.default_rng(seed)
    x, direction, ct = rng.uniform(0.5, 1.5, n), rng.standard_normal(n), rng.standard_normal(m)
    run = nf.cuda.emulate(kernel, check=False)[launch]

    def along(step):
        y = np.zeros(m)
        run(x + step * direction, y)
        return y @ ct

    h = 1e-3
    coarse, fine = ((along(s) - along(-s)) / (2 * s) for s in (2 * h, h))
    adjoint = nf.cuda.emulate(nf.cuda.adjoint(kernel))
    for order in ORDERS:
        machine = replace(adjoint.executor.machine, order=order)
        again = replace(adjoint, executor=replace(adjoint.executor, machine=machine))
        dx, dy, y = np.zeros(n), ct.copy(), np.zeros(m)
        again[launch](nf.Dup(x, dx), nf.Dup(y, dy))
        assert dx @ direction == pytest.approx((4 * fine - coarse) / 3, rel=1e-9)


# ---- shared memory: a phase for every neighbour ------------------------------------------------


@cuda.jit
def neighbours(x, y):
    s = cuda.shared.array(34, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    s[t] = x[i]
    if t < 2:
        s[t + 32] = x[(i + 32) % x.size]
    cuda.syncthreads()
    if i % 5 < 3:
        y[i] = s[t] * s[t + 1] * s[t + 2]


@cuda.jit
def own_row(x, y):
    """A thread reads and writes elements of its own while others read their neighbours'."""
    s = cuda.shared.array((2, 33), float64)
    t = cuda.threadIdx.x
    s[0, t] = x[t]
    if t == 0:
        s[0, 32] = x[3]
    cuda.syncthreads()
    s[1, t] = s[0, t] * s[0, t + 1]
    y[t] = s[1, t] * s[0, t]
    s[1, t] = s[1, t] * s[1, t]
    cuda.syncthreads()
    y[t] += s[1, 31 - t]


@cuda.jit
def tiles(x, y):
    s = cuda.shared.array(17, float64)
    t = cuda.threadIdx.x
    total = 0.0
    for k in range(x.size // 16 - 1):
        s[t] = x[k * 16 + t]
        if t == 0:
            s[16] = x[k * 16 + 16]
        cuda.syncthreads()
        if total < 1e9:
            total = total * s[t] + s[t + 1]
        cuda.syncthreads()
    y[t] = total


@cuda.jit
def ring(x, y):
    s = cuda.shared.array(32, float64)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncthreads()
    y[t] = s[(t + 1) % cuda.blockDim.x] * s[(t + 31) % 32]


@cuda.jit
def halves(x, y):
    s = cuda.shared.array(32, float64)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncthreads()
    n = 16
    while n > 0:
        if t < n:
            s[t] = s[t] * s[t + n]
        cuda.syncthreads()
        n //= 2
    if t < 16:
        y[t] = s[t] * s[t + 16]


@pytest.mark.parametrize(
    "kernel, launch, n, m",
    [(neighbours, (2, 32), 64, 64), (own_row, (1, 32), 32, 32), (tiles, (1, 16), 80, 16),
     (ring, (1, 32), 32, 32), (halves, (1, 32), 32, 16)],
    ids=lambda p: getattr(p, "__name__", None),
)  # fmt: skip
def test_shared_memory_is_added_to_plainly(kernel, launch, n, m):
    assert "d_s" not in atomics(kernel, launch, np.ones(n), np.ones(m))
    check(kernel, launch, n, m)


@cuda.jit
def broken_halves(x, y):
    """The parts of threads up to n and of those from n - 1 on overlap."""
    s = cuda.shared.array(32, float64)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncthreads()
    if t < 16:
        y[t] = s[t] * s[t + 15]


@cuda.jit
def from_the_end(x, y):
    """The first thread and the last one read the last element."""
    i = cuda.grid(1)
    if i <= x.size:
        y[i] = 2.0 * x[i - 1]


@cuda.jit
def apart(x, y):
    """Not all threads come to where they could wait."""
    s = cuda.shared.array(33, float64)
    t = cuda.threadIdx.x
    s[t] = x[t]
    if t == 0:
        s[32] = x[1]
    cuda.syncthreads()
    for k in range(t % 3):
        y[t] += s[t] * s[t + 1] + k * s[t + 1] * s[t + 1]


def test_what_is_not_alone_stays_atomic():
    x, y = np.ones(32), np.ones(32)
    assert atomics(from_the_end, (2, 32), x, np.ones(33)) == {"d_x"}
    check(from_the_end, (2, 32), 32, 33)
    assert "d_s" not in atomics(broken_halves, (1, 32), x, y)  # by a barrier, not by the parts
    check(broken_halves, (1, 32), 32, 32)
    check(apart, (1, 32), 32, 32)
