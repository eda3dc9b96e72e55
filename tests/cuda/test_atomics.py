"""Which additions of an adjoint are plain, and that they are right: in three orders, watched."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numba import cuda, float64

import numbaflux as nf
from numbaflux.cuda.kernel import Launch, for_launch
from numbaflux.ir.nodes import Accumulate, Alloc, For, Prim, While
from numbaflux.ir.walk import walk
from numbaflux.passes.kernels.uniform import has_barrier

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
        run(x, y)
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


# ---- global memory: gathered -------------------------------------------------------------------


@cuda.jit
def behind(x, y):
    """The last thread reads an element that has no thread."""
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] * x[i + 1] * x[i + 3]


@cuda.jit
def channels(u, v):
    j, i = cuda.grid(2)
    if i > 0 and j > 1 and i < u.shape[1] - 1 and j < u.shape[2]:
        a, b = u[0, i, j] * u[0, i - 1, j], u[1, i, j] * u[1, i + 1, j - 2]
        v[0, i, j] = a * b
        v[1, i, j] = a - 2.0 * b if i % 2 == 0 else b * b


@cuda.jit
def walls(x, y):
    """Borders of their own, and a step that depends on the data."""
    i = cuda.grid(1)
    if i >= x.size:
        return
    if i == 0:
        y[i] = x[i] * x[i + 1]
    elif i == x.size - 1:
        y[i] = x[i] * x[i - 1]
    elif x[i] > 1.0:
        y[i] = x[i + 1] * x[i]
    else:
        for k in range(3):
            y[i] += x[i - 1] * x[i] * k


def launches(kernel, launch, *arrays, **options):
    args = given(arrays, [a.copy() for a in arrays])
    made = for_launch(nf.cuda.adjoint(kernel, **options), args, Launch.of(launch))
    left = (s for part in made.launches for s in walk(part.program.function.block))
    return len(made.launches), any(isinstance(s, Accumulate) and s.atomic for s in left)


@pytest.mark.parametrize(
    "kernel, launch, n, m",
    [(behind, (1, 32), 35, 32), (behind, (3, 16), 35, 32), (behind, (1, 16), 35, 32),
     (walls, (3, 16), 40, 40)],
    ids=["all", "more", "fewer", "walls"],
)  # fmt: skip
def test_stencils_are_gathered(kernel, launch, n, m):
    assert launches(kernel, launch, np.ones(n), np.ones(m), deterministic=True) == (2, False)
    check(kernel, launch, n, m)


def sweep(kernel, launch, arrays, transform=nf.cuda.adjoint, seed=1):
    """Random shadows of arrays, and what they are after the adjoint, watched."""
    rng = np.random.default_rng(seed)
    shadows = [rng.standard_normal(a.shape) for a in arrays]
    after = [d.copy() for d in shadows]
    nf.cuda.emulate(transform(kernel))[launch](*map(nf.Dup, arrays, after))
    return shadows, after


def test_stencils_of_two_axes_and_channels():
    u, launch = np.random.default_rng(2).uniform(0.5, 1.5, (2, 9, 11)), ((2, 3), (8, 4))
    assert launches(channels, launch, u, u) == (2, False)
    direction = np.random.default_rng(3).standard_normal(u.shape)
    ahead, back = np.zeros_like(u), np.zeros_like(u)
    for step, v in ((1e-6, ahead), (-1e-6, back)):
        nf.cuda.emulate(channels, check=False)[launch](u + step * direction, v)
    (du, ct), (after, left) = sweep(channels, launch, [u, np.zeros_like(u)])
    expected = np.sum(ct * (ahead - back)) / 2e-6
    assert np.sum((after - du) * direction) == pytest.approx(expected, rel=1e-8)
    assert np.count_nonzero(left) == np.count_nonzero(ahead == 0.0)  # where nothing was stored


def test_a_gathered_adjoint_is_differentiated():
    """Forward over reverse, both of them in two launches, against differences."""
    rng, launch = np.random.default_rng(4), (3, 16)
    x, y, direction = rng.uniform(0.5, 1.5, 35), np.zeros(32), rng.standard_normal(35)

    def gradient(at):
        dx, dy = np.zeros(35), np.ones(32)
        nf.cuda.emulate(nf.cuda.adjoint(behind), check=False)[launch](nf.Dup(at, dx), nf.Dup(y, dy))
        return dx

    expected = (gradient(x + 1e-6 * direction) - gradient(x - 1e-6 * direction)) / 2e-6
    twice = nf.cuda.tangent(nf.cuda.adjoint(behind))
    dx, moved, dy, still = np.zeros(35), np.zeros(35), np.ones(32), np.zeros(32)
    nf.cuda.emulate(twice)[launch](
        nf.Dup(nf.Dup(x, dx), nf.Dup(direction, moved)),
        nf.Dup(nf.Dup(y, dy), nf.Dup(y.copy(), still)),
    )
    np.testing.assert_allclose(dx, gradient(x), rtol=1e-12)
    np.testing.assert_allclose(moved, expected, rtol=1e-7, atol=1e-8)


@cuda.jit
def replaced(x, y):
    """Where it is stored twice the first one gets nothing."""
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] * x[i + 1]
        if x[i] > 1.0:
            y[i] = x[i] * x[i + 2]


@cuda.jit
def of_the_block(x, y):
    i = cuda.grid(1)
    if i + 1 < x.size:
        y[i] = x[i] * x[i + 1] * cuda.threadIdx.x


@cuda.jit
def strided(x, y):
    for i in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        y[i] = x[i] * x[i + 1]


@cuda.jit
def counted(x, y):
    i = cuda.grid(1)
    if i < y.size:
        for k in range(3):
            y[i] += x[i + k] ** 2


@cuda.jit
def through_shared(x, y):
    s = cuda.shared.array(32, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    s[31 - t] = x[i] * x[i + 1]
    cuda.syncthreads()
    y[i] = s[t] ** 2


@cuda.jit
def wrapping(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] * x[i - 1]


@pytest.mark.parametrize(
    "kernel", [replaced, of_the_block, strided, counted, through_shared, wrapping],
    ids=lambda kernel: kernel.__name__,
)  # fmt: skip
def test_what_is_not_gathered(kernel):
    """For each a reason why the neighbour's part cannot be computed, or its place is not known."""
    assert launches(kernel, (1, 32), np.ones(34), np.ones(32)) == (1, True)
    if kernel in (replaced, through_shared, wrapping):
        check(kernel, (1, 32), 34, 32)


# ---- shared memory: loop and thread change their roles ------------------------------------------


@cuda.jit
def pairs(x, y):
    """In the loop a row of the thread's own, which others must not see too early or too late."""
    s, mine = cuda.shared.array((16, 2), float64), cuda.shared.array(16, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    s[t, 0], s[t, 1] = x[i], x[i] * x[i]
    cuda.syncthreads()
    total, square = 0.0, x[i] ** 2
    for _ in range(2):
        mine[t] = 2.0 * total + square
        for k in range(16):
            if (k + t) % 3 > 0:
                total += s[k, 0] * square + s[15 - k, 1] * mine[t]
            total -= s[k, 1] * (t - k)
        mine[t] = 0.0
    y[i] = total


@cuda.jit
def table(x, y):
    """As many rows as threads along y, and columns as along x."""
    s = cuda.shared.array((4, 8), float64)
    i, j = cuda.threadIdx.y, cuda.threadIdx.x
    s[i, j] = x[8 * i + j]
    cuda.syncthreads()
    total = 0.0
    for k in range(cuda.blockDim.x):
        total += s[i, k] * x[8 * i + j] * k
    for k in range(4):
        total += s[k, j] ** 2 * x[8 * i + j]
    y[8 * i + j] = total


def test_loops_over_a_tile_are_turned():
    assert "d_s" not in atomics(pairs, (2, 16), np.ones(32), np.ones(32))
    check(pairs, (2, 16), 32, 32)
    assert "d_s" not in atomics(table, (1, (8, 4)), np.ones(32), np.ones(32))
    check(table, (1, (8, 4)), 32, 32)


@cuda.jit
def recurrence(x, y):
    """What is added depends on the trips before."""
    s = cuda.shared.array(16, float64)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncthreads()
    total = x[t]
    for k in range(16):
        total = math.sin(total) * s[k]
    y[t] = total


@cuda.jit
def half_of_them(x, y):
    s = cuda.shared.array(16, float64)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncthreads()
    for k in range(8):
        y[t] += s[k] * x[t]


@cuda.jit
def some_come(x, y):
    s = cuda.shared.array(16, float64)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncthreads()
    if x[t] > 1.0:
        for k in range(16):
            y[t] += s[k] * x[t] * k


@pytest.mark.parametrize("kernel", [recurrence, half_of_them, some_come], ids=lambda k: k.__name__)
def test_what_is_not_turned(kernel):
    """A trip that another thread cannot make, or no thread for each element, or not all threads."""
    assert "d_s" in atomics(kernel, (1, 16), np.ones(16), np.ones(16))


# ---- shared memory: threads take turns -----------------------------------------------------------


@cuda.jit
def forces(x, y):
    """A force takes longer than a barrier, and counts for both of a pair."""
    s = cuda.shared.array((2, 16), float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    s[0, t], s[1, 15 - t] = x[i], x[i] ** 2
    cuda.syncthreads()
    total = 0.0
    for k in range(cuda.blockDim.x):
        r = s[0, k] - x[i]
        if k != t:
            total += r / math.sqrt(r * r + 3.0) + s[0, k]
    for k in range(16):
        total += math.exp(-0.1 * s[1, 15 - k] * x[i]) * k
    y[i] = total


@cuda.jit
def of_rows(x, y):
    """A row of the block for every row of the tile, which no thread but its own can compute."""
    s = cuda.shared.array((4, 8), float64)
    mine = cuda.local.array(1, float64)
    i, j = cuda.threadIdx.y, cuda.threadIdx.x
    s[i, j] = mine[0] = x[8 * i + j]
    cuda.syncthreads()
    total = 0.0
    for k in range(8):
        total += s[i, k] * mine[0]
    y[8 * i + j] = total


def loops_with_barriers(kernel, launch, *arrays):
    """How many loops of the adjoint have a barrier, and how many roots it takes."""
    args = given(arrays, [a.copy() for a in arrays])
    made = for_launch(nf.cuda.adjoint(kernel), args, Launch.of(launch)).program.function
    found = list(walk(made.block))
    waiting = sum(isinstance(s, For) and has_barrier(s) for s in found)
    return waiting, sum(isinstance(s, Prim) and s.op == "sqrt" for s in found)


def test_threads_take_turns():
    assert "d_s" not in atomics(forces, (2, 16), np.ones(32), np.ones(32))
    assert loops_with_barriers(forces, (2, 16), np.ones(32), np.ones(32)) == (2, 1)
    check(forces, (2, 16), 32, 32)
    assert "d_s" not in atomics(of_rows, (1, (8, 4)), np.ones(32), np.ones(32))
    check(of_rows, (1, (8, 4)), 32, 32)


@cuda.jit
def of_elements(x, y):
    """Nothing is for the thread: an element for each costs no more, and no barrier."""
    s = cuda.shared.array(16, float64)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncthreads()
    total = 0.0
    for k in range(16):
        total += math.sqrt(s[k] + t) / (s[k] + 1.0)
    y[t] = total


@cuda.jit
def of_parameters(x, y):
    """All threads add to a parameter at once, for which a warp has its sum."""
    s = cuda.shared.array(16, float64)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncthreads()
    total = 0.0
    for k in range(16):
        total += math.sqrt(s[k] * x[16 + k] * (1.0 + t)) / x[t]
    y[t] = total


@pytest.mark.parametrize(("kernel", "n"), [(of_elements, 16), (of_parameters, 32)])
def test_where_threads_do_not_take_turns(kernel, n):
    assert loops_with_barriers(kernel, (1, 16), np.ones(n), np.ones(16))[0] == 0
    check(kernel, (1, 16), n, 16)


# ---- what is kept in registers -------------------------------------------------------------------


@cuda.jit
def product(x, y):
    s = cuda.shared.array(32, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    s[t] = x[i] + 0.5
    cuda.syncthreads()
    h = cuda.blockDim.x // 2
    while h > 0:
        if t < h:
            s[t] *= s[t + h]
        cuda.syncthreads()
        h //= 2
    if t == 0:
        y[cuda.blockIdx.x] = s[0]


@pytest.mark.parametrize(("threads", "spaces"), [(16, ["local", "local"]), (32, ["local", ""])])
def test_a_few_words_are_kept_in_registers(threads, spaces):
    """Two factors for each halving: of 16 threads 16 words, of 32 threads 20."""
    x, y = np.ones(2 * threads), np.ones(2)
    made = for_launch(nf.cuda.adjoint(product), given((x, y), (x, y)), Launch.of((2, threads)))
    found = [s for s in walk(made.program.function.block) if isinstance(s, Alloc)]
    assert [s.space for s in found if s.space != "shared"] == spaces
    check(product, (2, threads), 2 * threads, 2)


# ---- sums of a block: read by all ----------------------------------------------------------------


@cuda.jit
def halving(x, y):
    s = cuda.shared.array(40, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    s[t] = x[i] ** 2
    cuda.syncthreads()
    n = cuda.blockDim.x // 2
    while n > 0:
        if t < n:
            s[t] += s[t + n]
        cuda.syncthreads()
        n //= 2
    if t == 3:
        y[cuda.blockIdx.x] = s[0]


@cuda.jit
def interleaved(x, y):
    s, c = cuda.shared.array(32, float64), cuda.shared.array(32, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    s[t], c[t] = x[i] ** 2, math.cos(x[i])
    n = 1
    while n < 32:
        cuda.syncthreads()
        if t % (2 * n) == 0:
            s[t] += s[t + n]
            c[t] += c[t + n]
        n *= 2
    if t == 0:
        y[cuda.blockIdx.x] = s[0] + c[0]


def tree(first, weight, results):
    """A sum by halving, from `first` on, of weighted terms, of which some results are read."""

    @cuda.jit
    def kernel(x, y):
        s = cuda.shared.array(32, float64)
        t, i = cuda.threadIdx.x, cuda.grid(1)
        s[t] = x[i] ** 2
        cuda.syncthreads()
        n = first
        while n > 0:
            if t < n:
                s[t] += weight * s[t + n]
            cuda.syncthreads()
            n //= 2
        if t == 0:
            y[cuda.blockIdx.x] = s[0]
            if results > 1:
                y[cuda.blockIdx.x] += s[1]

    return kernel


def loops_that_wait(kernel, launch, *arrays):
    args = given(arrays, [a.copy() for a in arrays])
    made = for_launch(nf.cuda.adjoint(kernel), args, Launch.of(launch))
    found = walk(made.program.function.block)
    return sum(isinstance(s, For | While) and has_barrier(s) for s in found)


@pytest.mark.parametrize(
    "kernel, left",
    [(halving, 0), (interleaved, 0), (tree(16, 1.0, 1), 0), (tree(16, 0.5, 1), 1),
     (tree(8, 1.0, 1), 1), (tree(16, 1.0, 2), 1)],
    ids=["halving", "interleaved", "tree", "weighted", "of_a_part", "two_results"],
)  # fmt: skip
def test_sums_of_a_block(kernel, left):
    """A broadcast, unless terms have weights, threads none, or several elements are read."""
    assert loops_that_wait(kernel, (2, 32), np.ones(64), np.ones(2)) == left
    if not left:
        check(kernel, (2, 32), 64, 2)


# ---- one division for a divisor ----------------------------------------------------------------


@cuda.jit
def quotient(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] / (1.0 + x[i + 1] * x[i + 1])


@cuda.jit
def largest_quotient(x, y):
    """Whose quotient is the largest is seen by comparing it."""
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.max(y, i % 2, x[i] / (3.1 + x[i] * x[i]))


def divisions(kernel, launch, *arrays):
    args = given(arrays, [a.copy() for a in arrays])
    made = for_launch(nf.cuda.adjoint(kernel), args, Launch.of(launch))
    found = (walk(part.program.function.block) for part in (made, *made.parts))
    return [sum(isinstance(s, Prim) and s.op == "div" for s in stmts) for stmts in found]


def test_partials_of_a_division_take_one():
    assert divisions(quotient, (1, 32), np.ones(33), np.ones(32))[0] == 1
    check(quotient, (1, 32), 33, 32)
    assert divisions(largest_quotient, (1, 32), np.ones(32), np.ones(2))[-1] == 2
    check(largest_quotient, (1, 32), 32, 2)
