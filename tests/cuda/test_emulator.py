"""Kernels on the CPU against NumPy's answers, in every order of threads and blocks."""

import math
import textwrap

import numba
import numpy as np
import pytest
from numba import cuda, float32, float64, int32, njit
from numba.cuda import atomic, blockDim, blockIdx, grid, shared, syncthreads, threadIdx

import numbaflux as nf
from numbaflux.backends import emulation
from numbaflux.cuda import emulate
from numbaflux.cuda.kernel import launched
from numbaflux.cuda.launch import Launch

RUNS = (("forward", True), ("reverse", False), ("random", True))  # order, whether it is watched
FULL = 0xFFFFFFFF
TPB = 64


def floats(n, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, n).astype(dtype)


@pytest.fixture(params=RUNS, ids=lambda run: run[0])
def run(request):
    """run(kernel, config, *args): in one order, watched or not."""
    order, check = request.param

    def launch(kernel, config, *args):
        emulate(kernel, check, order=order)[config](*args)

    return launch


# ---- indices -------------------------------------------------------------------------------------


@cuda.jit
def saxpy(a, x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] += a * x[i]


@cuda.jit
def add_early(x, y):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i >= x.size:
        return
    y[i] = x[i] + 1


@cuda.jit
def which_2d(out):
    i, j = cuda.grid(2)
    if i < out.shape[0] and j < out.shape[1]:
        out[i, j, 0] = cuda.threadIdx.x + 10 * cuda.blockIdx.x
        out[i, j, 1] = cuda.threadIdx.y + 10 * cuda.blockIdx.y
        out[i, j, 2] = cuda.gridsize(2)[1] + 100 * cuda.gridDim.x + 1000 * cuda.blockDim.y


@cuda.jit
def which_3d(out):
    i, j, k = cuda.grid(3)
    if i < out.shape[0] and j < out.shape[1] and k < out.shape[2]:
        out[i, j, k] = (
            cuda.threadIdx.x + 10 * cuda.threadIdx.y + 100 * cuda.threadIdx.z
            + 1000 * (cuda.blockIdx.x + 10 * cuda.blockIdx.y + 100 * cuda.blockIdx.z)
        )  # fmt: skip


@cuda.jit
def stride_range(x, y):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        y[i] = 2 * x[i]


@cuda.jit
def stride_while(x, y):
    i = cuda.grid(1)
    while i < x.size:
        y[i] = 2 * x[i]
        i += cuda.blockDim.x * cuda.gridDim.x


@cuda.jit
def lanes(out):
    i = cuda.grid(1)
    out[i] = cuda.laneid + 100 * cuda.warpsize


def unjitted(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = math.sin(x[i])


def test_one_axis(run):
    x, y = floats(100), floats(100, seed=1)
    expected = y + np.float32(0.5) * x
    run(saxpy, (4, 32), np.float32(0.5), x, y)
    np.testing.assert_array_equal(y, expected)


def test_early_return(run):
    x, y = floats(100), np.zeros(100, np.float32)
    run(add_early, (4, 32), x, y)
    np.testing.assert_array_equal(y, x + 1)


def test_two_axes(run):
    out = np.full((7, 9, 3), -1)
    run(which_2d, ((2, 3), (4, 3)), out)
    i, j = np.indices((7, 9))
    np.testing.assert_array_equal(out[..., 0], i % 4 + 10 * (i // 4))
    np.testing.assert_array_equal(out[..., 1], j % 3 + 10 * (j // 3))
    np.testing.assert_array_equal(out[..., 2], 9 + 200 + 3000)


def test_three_axes(run):
    out = np.full((4, 6, 6), -1)
    run(which_3d, ((2, 3, 2), (2, 2, 3)), out)
    i, j, k = np.indices(out.shape)
    threads = i % 2 + 10 * (j % 2) + 100 * (k % 3)
    blocks = i // 2 + 10 * (j // 2) + 100 * (k // 3)
    np.testing.assert_array_equal(out, threads + 1000 * blocks)


@pytest.mark.parametrize("kernel", [stride_range, stride_while])
@pytest.mark.parametrize("config", [(1, 1), (3, 5), (64, 8)])
def test_grid_stride(run, kernel, config):
    x, y = floats(100), np.zeros(100, np.float32)
    run(kernel, config, x, y)
    np.testing.assert_array_equal(y, 2 * x)


def test_lanes(run):
    out = np.zeros(96, np.int64)
    run(lanes, (2, 48), out)
    np.testing.assert_array_equal(out, np.arange(96) % 48 % 32 + 3200)


def test_a_plain_function_is_a_kernel(run):
    x, y = floats(40, np.float64), np.zeros(40)
    run(unjitted, (2, 32), x, y)
    np.testing.assert_allclose(y, np.sin(x), rtol=1e-15)


# ---- shared and local memory ---------------------------------------------------------------------


@cuda.jit
def flip(x, y):
    i, t = grid(1), threadIdx.x
    tile = shared.array(TPB, float32)
    tile[t] = x[i]
    syncthreads()
    y[i] = tile[blockDim.x - 1 - t] + blockIdx.x


@cuda.jit
def transpose(x, y):
    tile = cuda.shared.array(shape=(8, 9), dtype=float64)
    i, j = cuda.grid(2)
    if i < x.shape[0] and j < x.shape[1]:
        tile[cuda.threadIdx.x, cuda.threadIdx.y] = x[i, j]
    cuda.syncthreads()
    k = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.x
    m = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.y
    if k < y.shape[0] and m < y.shape[1]:
        y[k, m] = tile[cuda.threadIdx.y, cuda.threadIdx.x]


@cuda.jit
def matmul(a, b, c):
    rows = cuda.shared.array((8, 8), float32)
    columns = cuda.shared.array((8, 8), float32)
    i, j = cuda.grid(2)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for start in range(0, a.shape[1], 8):
        rows[tx, ty] = a[i, start + ty]
        columns[tx, ty] = b[start + tx, j]
        cuda.syncthreads()
        for k in range(8):
            total += rows[tx, k] * columns[k, ty]
        cuda.syncthreads()
    c[i, j] = total


def make_tree(combine):
    @cuda.jit
    def tree(x, out):
        sh = cuda.shared.array(TPB, float64)
        t, i = cuda.threadIdx.x, cuda.grid(1)
        sh[t] = x[i]
        cuda.syncthreads()
        s = cuda.blockDim.x // 2
        while s > 0:
            if t < s:
                sh[t] = combine(sh[t], sh[t + s])
            cuda.syncthreads()
            s //= 2
        if t == 0:
            out[cuda.blockIdx.x] = sh[0]

    return tree


@cuda.jit(device=True)
def product(a, b):
    return a * b


TREES = {
    "sum": (make_tree(lambda a, b: a + b), np.sum),
    "product": (make_tree(product), np.prod),
    "max": (make_tree(njit(lambda a, b: max(a, b))), np.max),
}


@cuda.jit
def two_types(x, y):
    n = cuda.blockDim.x
    values = cuda.shared.array(0, float32)[:n]
    places = cuda.shared.array(0, int32)[n:]
    t = cuda.threadIdx.x
    values[t] = x[t]
    places[t] = n - 1 - t
    cuda.syncthreads()
    y[t] = values[places[t]]


@cuda.jit
def shifted_twice(x, y):
    """One tile for two rounds."""
    tile = cuda.shared.array(TPB, float64)
    t = cuda.threadIdx.x
    v = x[t]
    for _ in range(2):
        tile[t] = v
        cuda.syncthreads()
        v = tile[(t + 1) % cuda.blockDim.x]
        cuda.syncthreads()
    y[t] = v


@cuda.jit
def polynomial(x, y):
    powers = cuda.local.array(4, float64)
    i = cuda.grid(1)
    powers[0] = 1.0
    for k in range(1, 4):
        powers[k] = powers[k - 1] * x[i]
    total = 0.0
    for k in range(4):
        total += (k + 1) * powers[k]
    y[i] = total


def test_static_shared_memory(run):
    x, y = floats(128), np.zeros(128, np.float32)
    run(flip, (2, TPB), x, y)
    expected = x.reshape(2, TPB)[:, ::-1] + np.float32([[0], [1]])
    np.testing.assert_array_equal(y, expected.ravel())


def test_shared_memory_of_two_axes(run):
    x, y = floats((20, 30), np.float64), np.zeros((30, 20))
    run(transpose, ((3, 4), (8, 8)), x, y)
    np.testing.assert_array_equal(y, x.T)


def test_shared_memory_reused(run):
    a, b, c = floats((16, 24)), floats((24, 8), seed=1), np.zeros((16, 8), np.float32)
    run(matmul, ((2, 1), (8, 8)), a, b, c)
    np.testing.assert_allclose(c, a @ b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", TREES)
def test_block_reduction(run, kind):
    kernel, expected = TREES[kind]
    x, out = floats(4 * TPB, np.float64) + 1.5, np.zeros(4)
    run(kernel, (4, TPB), x, out)
    np.testing.assert_allclose(out, expected(x.reshape(4, TPB), axis=1), rtol=1e-12)


def test_dynamic_shared_memory_of_two_types(run):
    x, y = floats(48), np.zeros(48, np.float32)
    run(two_types, (1, 48, 0, 2 * 48 * 4), x, y)
    np.testing.assert_array_equal(y, x[::-1])


def test_a_tile_overwritten(run):
    x, y = floats(50, np.float64), np.zeros(50)
    run(shifted_twice, (1, 50), x, y)
    np.testing.assert_array_equal(y, np.roll(x, -2))


def test_local_memory(run):
    x, y = floats(32, np.float64), np.zeros(32)
    run(polynomial, (1, 32), x, y)
    np.testing.assert_allclose(y, 1 + 2 * x + 3 * x**2 + 4 * x**3, rtol=1e-14)


def test_what_is_read_unwritten_is_nan():
    @cuda.jit
    def unwritten(y):
        sh = cuda.shared.array(4, float32)
        dyn = cuda.shared.array(0, float64)
        own = cuda.local.array(4, float32)
        y[0] = sh[1]
        y[1] = dyn[2]
        y[2] = own[3]

    y = np.zeros(3)
    emulate(unwritten)[1, 1, 0, 32](y)
    assert np.isnan(y).all()


# ---- atomics -------------------------------------------------------------------------------------


@cuda.jit
def histogram(x, counts, sums):
    i = cuda.grid(1)
    if i < x.size:
        k = int(x[i] * 4) % 4
        cuda.atomic.add(counts, k, 1)
        cuda.atomic.add(sums, (k, 0), x[i])
        cuda.atomic.sub(sums, (k, 1), x[i])


@cuda.jit
def extremes(x, out):
    i = cuda.grid(1)
    cuda.atomic.max(out, 0, x[i])
    cuda.atomic.min(out, 1, x[i])
    cuda.atomic.nanmax(out, 2, x[i])
    cuda.atomic.nanmin(out, 3, x[i])


@cuda.jit
def compact(x, kept, count):
    i = cuda.grid(1)
    if i < x.size and x[i] > 0:
        kept[atomic.add(count, 0, 1)] = x[i]


@cuda.jit
def whole(out, seen):
    i = cuda.grid(1)
    cuda.atomic.and_(out, 0, ~(1 << i))
    cuda.atomic.or_(out, 1, 1 << i)
    cuda.atomic.xor(out, 2, i)
    cuda.atomic.inc(out, 3, 5)
    cuda.atomic.dec(out, 4, 5)
    seen[i] = cuda.atomic.exch(out, 5, i)
    cuda.atomic.cas(out, 6, 0, i + 1)
    cuda.atomic.compare_and_swap(out[7:], 0, i + 1)


@cuda.jit
def last_block(x, partial, done, out):
    """The block that comes last adds up what all have left."""
    sh = cuda.shared.array(1, int32)
    cuda.atomic.add(partial, cuda.blockIdx.x, x[cuda.grid(1)])
    cuda.threadfence()
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        sh[0] = cuda.atomic.add(done, 0, 1)
    cuda.syncthreads()
    if sh[0] == cuda.gridDim.x - 1 and cuda.threadIdx.x == 0:
        for k in range(cuda.gridDim.x):
            out[0] += cuda.atomic.add(partial, k, 0.0)


def test_atomic_sums(run):
    x = np.random.default_rng(0).random(100)
    counts, sums = np.zeros(4, np.int32), np.zeros((4, 2))
    run(histogram, (4, 32), x, counts, sums)
    k = (x * 4).astype(int)
    expected = np.bincount(k, x)
    np.testing.assert_array_equal(counts, np.bincount(k))
    np.testing.assert_allclose(sums, np.stack([expected, -expected], 1), rtol=1e-12)


def test_atomic_extremes(run):
    x = floats(64)
    out = np.array([-9, 9, np.nan, np.nan], np.float32)
    run(extremes, (2, 32), x, out)
    np.testing.assert_array_equal(out, [x.max(), x.min(), x.max(), x.min()])


def test_the_result_of_an_atomic(run):
    x, kept, count = floats(100), np.zeros(100, np.float32), np.zeros(1, np.int32)
    run(compact, (4, 32), x, kept, count)
    assert count[0] == (x > 0).sum()
    np.testing.assert_array_equal(np.sort(kept[: count[0]]), np.sort(x[x > 0]))


def test_atomics_of_integers(run):
    out = np.array([-1, 0, 0, 0, 0, 99, 0, 0], np.int64)
    seen = np.zeros(10, np.int64)
    run(whole, (1, 10), out, seen)
    assert out[0] == ~0b1111111111 and out[1] == 0b1111111111
    assert out[2] == np.bitwise_xor.reduce(np.arange(10))
    assert out[3] == 10 % 6 and out[4] == (0 - 10) % 6
    assert sorted([*seen, out[5]]) == [*range(10), 99]  # a chain of exchanges
    assert 1 <= out[6] <= 10 and 1 <= out[7] <= 10


def test_threadfence_and_the_last_block(run):
    x, out = np.arange(128.0), np.zeros(1)
    run(last_block, (4, 32), x, np.zeros(4), np.zeros(1, np.int32), out)
    assert out[0] == x.sum()


# ---- warps and votes -----------------------------------------------------------------------------


@cuda.jit
def shuffles(x, out):
    i = cuda.grid(1)
    out[0, i] = cuda.shfl_down_sync(FULL, x[i], 5)
    out[1, i] = cuda.shfl_up_sync(FULL, x[i], 5)
    out[2, i] = cuda.shfl_xor_sync(-1, x[i], 9)
    out[3, i] = cuda.shfl_sync(FULL, x[i], 7)
    out[4, i] = cuda.shfl_sync(FULL, x[i], (i * 3) % 32)


@cuda.jit
def warp_sum(x, out):
    i = cuda.grid(1)
    v = x[i]
    offset = 16
    while offset > 0:
        v += cuda.shfl_down_sync(FULL, v, offset)
        offset //= 2
    if cuda.laneid == 0:
        cuda.atomic.add(out, 0, v)


@cuda.jit
def votes(x, out):
    i = cuda.grid(1)
    yes = x[i] > 0
    out[0, i] = cuda.syncthreads_count(yes)
    out[1, i] = cuda.syncthreads_and(yes)
    out[2, i] = cuda.syncthreads_or(yes)
    out[3, i] = cuda.all_sync(FULL, yes)
    out[4, i] = cuda.any_sync(FULL, yes)
    out[5, i] = cuda.ballot_sync(FULL, yes)
    out[6, i] = cuda.lanemask_lt()


@cuda.jit
def vote_and_shuffle(x, out):
    """Warps wait between votes of the block, in a loop too."""
    i = cuda.grid(1)
    many = cuda.syncthreads_count(x[i] > 0)
    total = cuda.shfl_xor_sync(FULL, x[i], 1)
    for k in range(3):
        many = 10 * many + cuda.syncthreads_count(total > k)
        if cuda.any_sync(FULL, x[i] > 0):
            total += cuda.ballot_sync(FULL, total > k) % 2
    out[i] = many


@cuda.jit
def warp_tile(x, y):
    """A tile that only the threads of a warp share."""
    tile = cuda.shared.array((2, 32), float32)
    warp, lane = cuda.threadIdx.x // 32, cuda.laneid
    tile[warp, lane] = x[cuda.threadIdx.x]
    cuda.syncwarp()
    y[cuda.threadIdx.x] = tile[warp, 31 - lane]
    cuda.syncwarp(FULL)
    tile[warp, 31 - lane] = 0


def test_shuffles(run):
    x, out = floats(64), np.zeros((5, 64), np.float32)
    run(shuffles, (1, 64), x, out)
    lane = np.arange(32)
    x, out = x.reshape(2, 32), out.reshape(5, 2, 32)
    np.testing.assert_array_equal(out[0], x[:, np.where(lane + 5 < 32, lane + 5, lane)])
    np.testing.assert_array_equal(out[1], x[:, np.where(lane >= 5, lane - 5, lane)])
    np.testing.assert_array_equal(out[2], x[:, lane ^ 9])
    np.testing.assert_array_equal(out[3], x[:, [7] * 32])
    np.testing.assert_array_equal(out[4], x[:, lane * 3 % 32])


def test_a_sum_by_shuffles(run):
    x, out = floats(128), np.zeros(1, np.float32)
    run(warp_sum, (2, 64), x, out)
    np.testing.assert_allclose(out[0], x.sum(), rtol=1e-5)


def test_a_shuffle_from_a_thread_that_is_not_there_is_nan(run):
    out = np.zeros((5, 16), np.float32)
    run(shuffles, (1, 16), floats(16), out)
    np.testing.assert_array_equal(np.isnan(out[0]), np.arange(16) + 5 >= 16)


@pytest.mark.parametrize("low", [-1.0, 0.1, -2.0])
def test_votes(run, low):
    x = np.random.default_rng(0).uniform(low, low + 1.5, 48).astype(np.float32)
    out = np.zeros((7, 48), np.int64)
    run(votes, (1, 48), x, out)
    yes = x > 0
    assert (out[0] == yes.sum()).all() and (out[1] == yes.all()).all()
    assert (out[2] == yes.any()).all()
    for warp in (slice(0, 32), slice(32, 48)):
        bits = sum(1 << k for k, v in enumerate(yes[warp]) if v)
        assert (out[3, warp] == yes[warp].all()).all()
        assert (out[4, warp] == yes[warp].any()).all()
        assert (out[5, warp].astype(np.uint32) == bits).all()
    np.testing.assert_array_equal(out[6], (1 << np.arange(48) % 32) - 1)


def test_votes_beside_shuffles(run):
    x, out = np.random.default_rng(1).integers(-2, 3, 80).astype(np.float32), np.zeros(80, np.int64)
    run(vote_and_shuffle, (1, 80), x, out)
    many, total = np.sum(x > 0), x.reshape(40, 2)[:, ::-1].ravel().copy()
    for k in range(3):
        many = 10 * many + np.sum(total > k)
        for warp in (slice(0, 32), slice(32, 64), slice(64, 80)):
            total[warp] += float((x[warp] > 0).any() and total[warp][0] > k)
    np.testing.assert_array_equal(out, many)


def test_syncwarp(run):
    x, y = floats(64), np.zeros(64, np.float32)
    run(warp_tile, (1, 64), x, y)
    np.testing.assert_array_equal(y.reshape(2, 32), x.reshape(2, 32)[:, ::-1])


# ---- functions that are called -------------------------------------------------------------------


@cuda.jit(device=True)
def square(x):
    return x * x


@njit
def halved(x):
    return x / 2


def above(x):
    return x + square(halved(x))


def exchanged(tile, t, value):
    """A helper with barriers."""
    tile[t] = value
    cuda.syncthreads()
    found = tile[(t + 1) % cuda.blockDim.x]
    cuda.syncthreads()
    return found


d_above = nf.grad(above)
CONSTANTS = np.linspace(0.0, 1.0, 32)


@cuda.jit
def helpers(x, y):
    i = cuda.grid(1)
    y[i] = above(x[i]) + square(x[i])


@cuda.jit
def derivatives(x, y):
    i = cuda.grid(1)
    y[i] = d_above(x[i])


@cuda.jit
def waiting_helpers(x, y):
    tile = cuda.shared.array(TPB, float64)
    t = cuda.threadIdx.x
    y[t] = exchanged(tile, t, exchanged(tile, t, x[t]))


@cuda.jit
def constant_table(x, y):
    table = cuda.const.array_like(CONSTANTS)
    i = cuda.grid(1)
    y[i] = table[i] * x[i]


def test_functions_called_in_a_kernel(run):
    x, y = floats(32, np.float64), np.zeros(32)
    run(helpers, (1, 32), x, y)
    np.testing.assert_allclose(y, x + x**2 / 4 + x**2, rtol=1e-14)


def test_a_derivative_called_in_a_kernel(run):
    x, y = floats(32, np.float64), np.zeros(32)
    run(derivatives, (1, 32), x, y)
    np.testing.assert_allclose(y, 1 + x / 2, rtol=1e-14)


def test_a_helper_with_barriers(run):
    x, y = floats(40, np.float64), np.zeros(40)
    run(waiting_helpers, (1, 40), x, y)
    np.testing.assert_array_equal(y, np.roll(x, -2))


def test_constant_memory(run):
    x, y = floats(32, np.float64), np.zeros(32)
    run(constant_table, (1, 32), x, y)
    np.testing.assert_array_equal(y, CONSTANTS * x)


# ---- arguments -----------------------------------------------------------------------------------


def test_float32_stays_float32(run):
    @cuda.jit
    def rounded(x, y):
        i = cuda.grid(1)
        y[i] = (x[i] + float32(1e-8)) - x[i]

    x, y = np.ones(32, np.float32), np.full(32, 7.0)
    run(rounded, (1, 32), x, y)
    assert (y == 0).all()


def test_strided_arrays_and_fortran_order(run):
    x = floats((20, 30), np.float64)
    given = np.asfortranarray(x)[::2, ::-3]
    y = np.zeros((20, 20))[::2, ::2]
    run(which_part, ((2, 2), (8, 8)), given, y)
    np.testing.assert_array_equal(y, x[::2, ::-3])


@cuda.jit
def which_part(x, y):
    i, j = cuda.grid(2)
    if i < x.shape[0] and j < x.shape[1]:
        row = y[i]
        row[j] = x[i, j]


def test_what_a_launch_takes():
    x = np.zeros(4)
    with pytest.raises(TypeError, match="launched as"):
        emulate(add_early)[1](x, x.copy())
    with pytest.raises(ValueError, match="three positive"):
        emulate(add_early)[0, 32](x, x.copy())
    with pytest.raises(ValueError, match="share memory"):
        emulate(add_early)[1, 32](x, x)
    with pytest.raises(ValueError, match="forward, reverse, random"):
        emulate(add_early, order="sideways")
    with pytest.raises(ValueError, match='"nan" or "error"'):
        emulate(add_early, unwritten="zero")


# ---- the code ------------------------------------------------------------------------------------


def written(kernel, *args):
    types = tuple(numba.typeof(a) for a in args)
    program = launched(kernel, types, Launch.of((2, 32)).known()).program
    text = emulation.write("kernel", emulation.emulated(program)).text
    return text[text.index("def ") :]


def test_only_the_numbers_asked_for_are_computed():
    x = np.zeros(4, np.float32)
    expected = """\
        def kernel(order, launch, a, x, y):
            grid_dim_x = launch[6]
            block_dim_x = launch[3]
            threads = block_dim_x * launch[4] * launch[5]
            for at in range(order.shape[0]):
                number = order[at]
                block = number // threads
                thread = number - block * threads
                thread_x = thread % block_dim_x
                grid_x = block % grid_dim_x * block_dim_x + thread_x
                if grid_x < x.shape[0]:
                    y[grid_x] += a * x[grid_x]
        """
    assert written(saxpy, np.float32(1), x, x) == textwrap.dedent(expected)


def test_a_thread_yields_where_it_waits():
    x = np.zeros(4, np.float32)
    expected = """\
        def kernel(thread, launch, tile, x, y):
            block_dim_x = launch[3]
            thread_x = thread % block_dim_x
            while True:
                block_x = launch[0]
                grid_x = block_x * block_dim_x + thread_x
                tile[thread_x] = x[grid_x]
                yield 1
                t = np.float32(np.float64(tile[31 - thread_x]) + float(block_x))
                y[grid_x] = t
                yield 0
        """
    assert written(flip, x, x) == textwrap.dedent(expected)
