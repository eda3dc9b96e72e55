"""Passes over kernels: signs of subscripts, strides, shares, loops of constants, a launch."""

from dataclasses import replace

import numpy as np
import pytest
from numba import cuda, types

from numbaflux.frontend import read_kernel
from numbaflux.ir.build import index
from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import For, If, Load, Prim, While
from numbaflux.ir.printer import show
from numbaflux.ir.walk import substitute, walk
from numbaflux.passes.kernels.indices import indices
from numbaflux.passes.kernels.integers import integers
from numbaflux.passes.kernels.shares import shares
from numbaflux.passes.kernels.signs import decided, nonnegative
from numbaflux.passes.kernels.strides import strides
from numbaflux.passes.kernels.trips import bounds, counted, launched, sized, sizes, trips
from numbaflux.passes.simplify import simplify

VECTOR, I64 = types.float64[::1], types.int64
BLOCK = (128, 1, 1)


def read(kernel, *arg_types):
    return simplify(sizes(indices(read_kernel(kernel, arg_types, BLOCK).function)))


def signs(fn):
    """For each load, in order, whether its subscript is proven not to be negative."""
    proven = nonnegative(fn, bounds(BLOCK))
    return [(s, 0) in proven for s in walk(fn.block) if isinstance(s, Load)]


def kinds(fn, kind):
    return sum(isinstance(s, kind) for s in walk(fn.block))


# ---- signs -------------------------------------------------------------------------------------


def of_threads(x, y):
    i = cuda.grid(1)
    y[0] = x[i] + x[2 * i + 3] + x[i // 4] + x[i % 7] + x[cuda.blockDim.x * 2]


def of_counters(x, y):
    for k in range(x.shape[0]):
        for j in range(k):
            y[0] += x[k] + x[x.shape[0] - 1 - k] + x[k - j] + x[k - 1 - j]


def of_tiles(x, y):
    tiles = x.shape[0] // 16
    for tile in range(tiles):
        first = (tiles - 1 - tile) * 16
        y[0] += x[first + cuda.threadIdx.x] + x[3 * tiles - 3 * tile - 3] + x[2 * first]


def of_while(x, y):
    i = cuda.threadIdx.x
    while i < x.shape[0]:
        y[0] += x[i]
        i += cuda.gridsize(1)


@pytest.mark.parametrize("kernel", [of_threads, of_counters, of_tiles, of_while])
def test_proven(kernel):
    found = signs(read(kernel, VECTOR, VECTOR))
    assert all(found) and len(found) > 1


def of_differences(x, y):
    i = cuda.grid(1)
    y[0] = x[i - 1] + x[x.shape[0] - 1 - i] + x[3 - i]


def of_counters_past_zero(x, y):
    for k in range(x.shape[0]):
        y[0] += x[k - 1] + x[x.shape[0] - 2 - k]


def of_tiles_past_zero(x, y):
    tiles = x.shape[0] // 16
    for tile in range(tiles):
        y[0] += x[(tiles - 1 - tile) * 16 - 1] + x[(tiles - 2 - tile) * 16 + cuda.threadIdx.x]


def of_falling_while(x, y):
    i = cuda.threadIdx.x
    while i > -x.shape[0]:
        y[0] += x[i]
        i -= 1


def of_data(x, y):
    y[0] = x[int(x[0])]


@pytest.mark.parametrize(
    ("kernel", "negative"),
    [
        (of_differences, 3), (of_counters_past_zero, 2), (of_tiles_past_zero, 2),
        (of_falling_while, 1), (of_data, 1),
    ],
)  # fmt: skip
def test_not_proven(kernel, negative):
    assert signs(read(kernel, VECTOR, VECTOR)).count(False) == negative


def narrow(x, y, n):
    i = np.int32(cuda.grid(1) * n)
    y[0] = x[i]


def test_a_narrow_integer_may_have_wrapped():
    assert signs(read(narrow, VECTOR, VECTOR, I64)) == [False]


def asked(x, y, n):
    t = cuda.threadIdx.x
    if t < 128:
        y[t] = x[t]
    if t < 100:
        y[t] += x[t]
    if n > 0 and n < 5 and n < 5:
        y[t] += x[n]


def test_comparisons_are_decided_where_they_are_proven():
    fn = read(asked, VECTOR, VECTOR, I64)
    found = simplify(decided(fn, bounds(BLOCK)))
    assert kinds(found, If) < kinds(fn, If)
    assert "< 100" in show(found) and "< 128" not in show(found)
    assert "< 128" in show(simplify(decided(fn, bounds((256, 1, 1)))))


# ---- strides -----------------------------------------------------------------------------------


def grid_stride(x, y):
    total = 0.0
    for i in range(cuda.grid(1), x.shape[0], cuda.gridsize(1)):
        total += x[i]
    y[0] = total


def test_a_stride_of_threads_needs_no_division():
    fn = read(grid_stride, VECTOR, VECTOR)
    found = simplify(strides(fn))
    assert any(isinstance(s, Prim) and s.op == "floordiv" for s in walk(fn.block))
    assert not any(isinstance(s, Prim) and s.op == "floordiv" for s in walk(found.block))
    assert kinds(found, While) == 1 and all(signs(found))


def tiled(x, y):
    for tile in range(x.shape[0] // 16):
        y[0] += x[tile * 16 + cuda.threadIdx.x]


def unknown_step(x, y, step):
    for i in range(0, x.shape[0], step):
        y[0] += x[i]


@pytest.mark.parametrize(("kernel", "more"), [(tiled, ()), (unknown_step, (I64,))])
def test_other_loops_are_left_alone(kernel, more):
    fn = read(kernel, VECTOR, VECTOR, *more)
    assert kinds(strides(fn), For) == kinds(fn, For) == 1


# ---- shares ------------------------------------------------------------------------------------


def share(y):
    last = 0.0
    for k in range(cuda.threadIdx.x, 300, cuda.blockDim.x):
        last = last + k
        y[k] += 2.0 * last
    y[cuda.threadIdx.x] += last


def of_thread(fn, thread):
    """The kernel as one thread of it runs it."""
    env = {s.result: index(thread) for s in walk(fn.block) if getattr(s, "op", "") == "thread_x"}
    return replace(fn, block=substitute(fn.block, env))


def test_a_few_shares_are_written_out():
    fn = simplify(launched(read(share, VECTOR), BLOCK, {"thread_x"}))
    found = simplify(shares(fn, bounds(BLOCK)))
    assert kinds(fn, For) == 1 and kinds(found, For) == 0 and kinds(found, If) == 1
    for thread in (0, 1, 43, 44, 127):  # the first 44 have three trips, the others two
        wanted, y = np.zeros(300), np.zeros(300)
        interpret(of_thread(fn, thread), [wanted])
        interpret(of_thread(found, thread), [y])
        np.testing.assert_array_equal(y, wanted)


def many_shares(y):
    for k in range(cuda.threadIdx.x, 700, cuda.blockDim.x):
        y[k] += 1.0


def shares_that_wait(y):
    for k in range(cuda.threadIdx.x, 256, cuda.blockDim.x):
        y[k] += 1.0
        cuda.syncthreads()


def unknown_shares(y):
    for k in range(cuda.threadIdx.x, y.shape[0], cuda.blockDim.x):
        y[k] += 1.0


@pytest.mark.parametrize("kernel", [many_shares, shares_that_wait, unknown_shares])
def test_other_shares_stay_a_loop(kernel):
    fn = simplify(launched(read(kernel, VECTOR), BLOCK, {"thread_x"}))
    assert kinds(shares(fn, bounds(BLOCK)), For) == kinds(fn, For) == 1


# ---- integers ----------------------------------------------------------------------------------


def of_powers(y, n):
    total = 0
    for k in range(9):
        total += (n + k) % 4 + 10 * ((n - k) // 8) + 100 * (k % 3)
        y[k] = total
    y[9] = total
    for k in range(n):
        y[k] += 1.0


def test_integers_are_counted_as_a_gpu_does():
    fn = read(of_powers, VECTOR, I64)
    found = integers(fn)
    assert kinds(found, While) == 1 and kinds(found, For) == 1  # no trip may be made of the other
    assert {"bitand", "rshift", "mod"} <= {s.op for s in walk(found.block) if isinstance(s, Prim)}
    for n in (-13, -4, 0, 5):
        wanted, y = np.zeros(10), np.zeros(10)
        interpret(fn, [wanted, n])
        interpret(found, [y, n])
        np.testing.assert_array_equal(y, wanted)


# ---- what is known -----------------------------------------------------------------------------


def halving(y):
    s, trip = 64, 0
    while s > 0:
        s //= 2
        trip += 1
    y[0] = trip


def test_a_constant_loop_is_run():
    fn = read(halving, VECTOR)
    found = simplify(trips(fn))
    assert kinds(fn, While) == 1 and kinds(found, While) == 0
    y = np.zeros(1)
    interpret(found, [y])
    assert y[0] == 7


def tree(x, y):
    t, s = cuda.threadIdx.x, cuda.blockDim.x // 2
    while s > 0:
        if t < s:
            y[t] *= x[t + s]
        s //= 2


def uneven_tree(x, y):
    s = 9
    while s > 1:
        s = s // 2 + s % 2
        y[s] += x[s]
        if s == 3:
            s += 1
            y[0] = s


def until_it_is_small(x, y):
    s = 64
    while s > 0 and x[s] > 0.5:
        y[s] += 1.0
        s //= 2


@pytest.mark.parametrize(("kernel", "count"), [(tree, 7), (uneven_tree, 0), (until_it_is_small, 0)])
def test_a_while_of_known_trips_is_a_for(kernel, count):
    """Whatever else it does; not if that is what ends it, or a branch is between."""
    fn = simplify(sized(read(kernel, VECTOR, VECTOR), BLOCK))
    found = simplify(counted(fn))
    loops = [s for s in walk(found.block) if isinstance(s, For)]
    assert [s.count.value for s in loops] == [count] * bool(count)
    assert kinds(found, While) == kinds(fn, While) - bool(count)
    for thread in (0, 5, 100):
        results = []
        for program in (fn, found):
            x, y = np.linspace(0.0, 1.0, 256), np.ones(256)
            interpret(of_thread(program, thread), [x, y])
            results.append(y)
        np.testing.assert_array_equal(*results)


def of_argument(y, n):
    while n > 0:
        n //= 2
        y[0] += 1.0


def endless(y, n):
    s = 1
    while s != 0:
        s += 2
    y[0] = s


@pytest.mark.parametrize("kernel", [of_argument, endless])
def test_other_whiles_are_kept(kernel):
    fn = read(kernel, VECTOR, I64)
    assert kinds(simplify(trips(fn)), While) == 1


def blocks(x, y):
    y[0] = x[cuda.blockDim.x] + x[cuda.threadIdx.y] + x[cuda.blockIdx.x] + x[cuda.blockIdx.y]


def test_what_a_launch_says():
    text = show(simplify(launched(read(blocks, VECTOR, VECTOR), BLOCK, {"thread_x", "block_x"})))
    assert "x[128]" in text and text.count("x[0]") == 1
