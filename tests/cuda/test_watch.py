"""What is found in a kernel that is watched: races, indices outside, barriers apart."""

import inspect
import itertools
import runpy
from pathlib import Path

import numpy as np
import pytest
from numba import cuda, float32, int32

import numbaflux as nf
from numbaflux import watch
from numbaflux.cuda import emulate

FULL = 0xFFFFFFFF
ORDERS = ("forward", "reverse", "random")


def lines(kernel, *marks):
    """The places of the lines of a kernel that end in `# mark`, as errors name them."""
    text, start = inspect.getsourcelines(kernel.py_func)
    numbered = [(n, line.rstrip()) for n, line in enumerate(text, start)]
    return [
        f"test_watch.py:{n} in" for mark in marks for n, x in numbered if x.endswith(f"# {mark}")
    ]


def fails(error, kernel, config, *args, marks=(), orders=ORDERS, **options):
    """The message with which a kernel fails in every order, after checking the lines it names."""
    for order in orders:
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
        with pytest.raises(error) as found:
            emulate(kernel, order=order, **options)[config](*copies)
        for place in lines(kernel, *marks):
            assert place in str(found.value), str(found.value)
    return str(found.value)


# ---- races in a block ----------------------------------------------------------------------------


@cuda.jit
def no_barrier(x):
    sh = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    sh[t] = x[t]  # write
    x[t] = sh[63 - t]  # read


@cuda.jit
def no_second_barrier(x):
    sh = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    v = x[t]
    for _ in range(3):
        sh[t] = v  # write
        cuda.syncthreads()
        v = sh[63 - t]  # read
    x[t] = v


@cuda.jit
def all_write(x):
    sh = cuda.shared.array(1, float32)
    sh[0] = x[cuda.threadIdx.x]  # write
    cuda.syncthreads()
    x[cuda.threadIdx.x] = sh[0]


@cuda.jit
def lost_updates(x, out):
    out[0] += x[cuda.threadIdx.x]  # update


@cuda.jit
def tree_without_barrier(x, out):
    sh = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    sh[t] = x[t]
    cuda.syncthreads()
    s = 32
    while s > 0:
        if t < s:
            sh[t] += sh[t + s]  # add
        s //= 2
    if t == 0:
        out[0] = sh[0]


@cuda.jit
def atomic_and_plain(x, out):
    cuda.atomic.add(out, 0, x[cuda.threadIdx.x])  # atomic
    if cuda.threadIdx.x == 5:
        x[5] = out[0]  # read


@cuda.jit
def atomic_and_write(x, out):
    if cuda.threadIdx.x == 5:
        out[0] = 0  # write
    cuda.atomic.add(out, 0, x[cuda.threadIdx.x])  # atomic


@cuda.jit
def two_readers(x):
    """Of the readers of sh[0], the first and the last are not those that race."""
    sh = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    sh[t] = x[t]
    cuda.syncthreads()
    x[t] = sh[0]  # read
    if t == 63:
        sh[0] = 2  # write


def test_a_missing_barrier():
    text = fails(nf.cuda.RaceError, no_barrier, (1, 64), np.ones(64), marks=("write", "read"))
    assert "a race for `sh[" in text and "no barrier that both pass" in text


def test_a_barrier_missing_at_the_end_of_a_loop():
    fails(nf.cuda.RaceError, no_second_barrier, (1, 64), np.ones(64), marks=("write", "read"))


def test_all_threads_write_one_element():
    text = fails(nf.cuda.RaceError, all_write, (1, 64), np.ones(64), marks=("write",))
    assert text.startswith("a race for `sh[0]`: thread")


def test_lost_updates():
    text = fails(
        nf.cuda.RaceError, lost_updates, (1, 64), np.ones(64), np.zeros(1), marks=["update"]
    )
    assert "reads and writes it" in text and "`out[0]`" in text


def test_a_tree_without_barriers():
    args = np.ones(64), np.zeros(1)
    fails(nf.cuda.RaceError, tree_without_barrier, (1, 64), *args, marks=["add"])


def test_an_atomic_operation_against_a_plain_one():
    args = np.ones(64), np.zeros(1)
    text = fails(nf.cuda.RaceError, atomic_and_plain, (1, 64), *args, marks=("atomic", "read"))
    assert "atomically changes it" in text
    fails(nf.cuda.RaceError, atomic_and_write, (1, 64), *args, marks=("atomic", "write"))


def test_a_reader_between_others():
    fails(nf.cuda.RaceError, two_readers, (1, 64), np.ones(64), marks=("write", "read"))


def test_the_check_can_be_left_out():
    x = np.ones(64)
    emulate(no_barrier, check=False)[1, 64](x)
    assert np.isnan(x).any()


@cuda.jit
def one_element(total):
    total[()] += 1.0


def test_an_array_without_axes():
    text = fails(nf.cuda.RaceError, one_element, (1, 2), np.array(0.0))
    assert "a race for `total[()]`" in text
    total = np.array(1.0)
    emulate(one_element)[1, 1](total)
    assert total == 2


def test_the_example_of_the_documentation(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "cuda.md").read_text("utf-8")
    _, code, _, message, *_ = text[text.index("```python") :].split("```")
    (tmp_path / "flip.py").write_text(code.removeprefix("python\n"))
    with pytest.raises(nf.cuda.RaceError) as found:
        runpy.run_path(str(tmp_path / "flip.py"))
    said = f"RaceError: {found.value}".replace(f"{tmp_path}/", "")
    assert said == message.strip()


# ---- races between blocks ------------------------------------------------------------------------


@cuda.jit
def neighbours(x):
    i = cuda.grid(1)
    if i + 1 < x.size:
        x[i] = x[i + 1]  # both


@cuda.jit
def at_the_border(x):
    """Right within a block, wrong between blocks."""
    i, t = cuda.grid(1), cuda.threadIdx.x
    v = x[(i + 1) % x.size]  # read
    cuda.syncthreads()
    w = x[i]
    cuda.syncthreads()
    if t == 0:
        x[i] = v + w  # write


@cuda.jit
def one_result(x, out):
    if cuda.threadIdx.x == 0:
        out[0] = x[cuda.blockIdx.x]  # write


@pytest.mark.parametrize("kernel", [neighbours, at_the_border])
def test_blocks_race(kernel):
    text = fails(nf.cuda.RaceError, kernel, (2, 1), np.ones(3), orders=["forward", "reverse"])
    assert "different blocks" in text and "block 0" in text and "block 1" in text


def test_blocks_race_where_threads_wait():
    fails(nf.cuda.RaceError, at_the_border, (3, 16), np.ones(48), marks=("read", "write"))


def test_blocks_write_one_element():
    fails(nf.cuda.RaceError, one_result, (2, 16), np.ones(2), np.zeros(1), marks=["write"])


# ---- races in a warp -----------------------------------------------------------------------------


@cuda.jit
def warp_waits(x, y):
    tile = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    tile[t] = x[t]  # write
    cuda.syncwarp()
    y[t] = tile[t ^ y.shape[0] // 2 - 1]  # read


@cuda.jit
def shuffle_is_no_barrier(x, y):
    tile = cuda.shared.array(32, float32)
    t = cuda.threadIdx.x
    tile[t] = x[t]  # write
    v = cuda.shfl_xor_sync(FULL, x[t], 1)
    y[t] = tile[31 - t] + v  # read


def test_a_barrier_of_the_warp_is_for_the_warp():
    x, y = np.arange(64.0), np.zeros(64)
    emulate(warp_waits)[1, 64](x, y)
    np.testing.assert_array_equal(y, x[np.arange(64) ^ 31])
    fails(nf.cuda.RaceError, warp_waits, (1, 64), x, np.zeros(128), marks=("write", "read"))


def test_a_shuffle_orders_no_memory():
    args = np.ones(32), np.zeros(32)
    fails(nf.cuda.RaceError, shuffle_is_no_barrier, (1, 32), *args, marks=("write", "read"))


# ---- no race -------------------------------------------------------------------------------------


@cuda.jit
def own_elements(x, y):
    i = cuda.grid(1)
    y[i] = x[i]
    y[i] += x[i]
    x[i] = y[i]


@cuda.jit
def counted_sum(x, out):
    votes = cuda.shared.array(1, int32)
    t = cuda.threadIdx.x
    if t == 0:
        votes[0] = 0
    if cuda.syncthreads_count(x[t] > 0) > 0:
        cuda.atomic.add(votes, 0, 1)
    cuda.syncthreads()
    out[t] = votes[0]


@cuda.jit
def guarded(x, out):
    """The threads that have ended do not keep the others from waiting."""
    sh = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    if t >= x.size:
        return
    sh[t] = x[t]
    cuda.syncthreads()
    out[t] = sh[x.size - 1 - t]


@pytest.mark.parametrize("order", ORDERS)
def test_kernels_without_races(order):
    x, y = np.ones(64), np.zeros(64)
    emulate(own_elements, order=order)[2, 32](x, y)
    assert (x == 2).all()
    emulate(counted_sum, order=order)[1, 64](x, y)
    assert (y == 64).all()
    emulate(guarded, order=order)[1, 64](np.arange(40.0), y)
    np.testing.assert_array_equal(y[:40], np.arange(39.0, -1, -1))


# ---- the memory of accesses against all of them --------------------------------------------------


def races(accesses, threads):
    """Whether any two of the accesses race. note [Races] in watch.py"""
    for a, b in itertools.combinations(accesses, 2):
        (kind, block, warp, thread, phase, step), (kind2, block2, warp2, thread2, phase2, step2) = (
            a,
            b,
        )
        if (block, thread) == (block2, thread2):
            continue
        if "write" not in (kind, kind2) and {kind, kind2} != {"read", "atomic"}:
            continue
        if block != block2 or (phase == phase2 and (warp != warp2 or step == step2)):
            return True
    return False


def remembered(accesses, threads):
    """The same as watch.py finds it, one access after the other."""
    x = np.zeros(1)
    start = x.ctypes.data
    seen = watch.watch_of([(start, start + 8, 8, 0, 0)], 1, True, threads)
    for kind, block, _, thread, phase, step in accesses:
        seen.now[thread] = (phase << watch.INTERVAL) + step
        try:
            getattr(watch, kind)(seen.table, x, (0,), 1, thread, block * threads)
        except RuntimeError:
            return True
    return False


def history(rng, warps=2, lanes=3, blocks=2):
    """Accesses in an order in which they may run: blocks and phases in turn, warps mixed."""
    made = []
    rate, plain = rng.choice([0.05, 0.1, 0.3]), rng.choice([0.0, 0.1, 0.5, 1.0])
    for block in range(blocks):
        for phase in range(2):
            steps = [[(w, s) for s in range(2)] for w in range(warps)]
            while any(steps):
                warp, step = steps[rng.choice([w for w in range(warps) if steps[w]])].pop(0)
                for lane in rng.permutation(lanes):
                    if rng.random() < rate:
                        odds = [0.9 * plain, 0.1, 0.9 * (1 - plain)]
                        kind = rng.choice(["read", "write", "atomic"], p=odds)
                        thread = int(warp * watch.WARP + lane)
                        made.append((str(kind), block, warp, thread, phase, step))
    return made


@pytest.mark.parametrize("seed", range(4))
def test_no_race_is_lost(seed):
    rng = np.random.default_rng(seed)
    threads = 2 * watch.WARP
    found = [
        (races(h, threads), remembered(h, threads)) for h in (history(rng) for _ in range(2000))
    ]
    assert [a for a, _ in found] == [b for _, b in found]
    assert 500 < sum(a for a, _ in found) < 1500


# ---- indices -------------------------------------------------------------------------------------


@cuda.jit
def no_guard(x, y):
    i = cuda.grid(1)
    y[i] = 2 * x[i + 1]  # here


@cuda.jit
def past_the_row(x):
    i, j = cuda.grid(2)
    row = x[i]  # row
    row[j] = 1  # element


@cuda.jit
def before_the_start(x, out):
    i = cuda.grid(1)
    out[i] = x[i - 2]


@cuda.jit
def past_local(out):
    own = cuda.local.array(4, float32)
    for k in range(5):
        own[k] = k  # here
    out[cuda.grid(1)] = own[0]


def test_an_index_outside():
    args = np.ones(40), np.zeros(64)
    text = fails(nf.cuda.OutOfBoundsError, no_guard, (2, 32), *args, marks=["here"])
    assert "axis 0 of `x`, which has length 40" in text
    with pytest.raises(IndexError, match="index 40 is out of bounds for axis 0 of `x`"):
        emulate(no_guard)[2, 32](*args)
    assert "thread 7 of block 1" in fails(nf.cuda.OutOfBoundsError, no_guard, (2, 32), *args,
                                          orders=["forward"])  # fmt: skip


def test_an_index_outside_of_a_part():
    fails(nf.cuda.OutOfBoundsError, past_the_row, (1, (2, 4)), np.ones((2, 3)), marks=["element"])
    text = fails(
        nf.cuda.OutOfBoundsError, past_the_row, (1, (3, 3)), np.ones((2, 3)), marks=["row"],
        orders=["forward"],
    )  # fmt: skip
    assert "thread (2, 0, 0) of block 0" in text and "axis 0 of `x`" in text


def test_an_index_outside_local_memory():
    text = fails(nf.cuda.OutOfBoundsError, past_local, (1, 2), np.ones(2), marks=["here"])
    assert "`own`" in text


def test_a_negative_index_counts_from_the_end():
    x, out = np.arange(8.0), np.zeros(8)
    emulate(before_the_start)[1, 8](x, out)
    np.testing.assert_array_equal(out, np.roll(x, 2))
    fails(nf.cuda.OutOfBoundsError, before_the_start, (1, 1), x[:1], out)


# ---- memory that nobody has written --------------------------------------------------------------


@cuda.jit
def half_filled(x, y):
    sh = cuda.shared.array(8, int32)
    t = cuda.threadIdx.x
    if t < x.size:
        sh[t] = x[t]
    cuda.syncthreads()
    y[t] = sh[t]  # here


def test_what_is_unwritten():
    x, y = np.ones(5, np.int32), np.ones(8, np.int32)
    emulate(half_filled)[1, 8](x, y)
    assert y.tolist() == [1] * 5 + [0] * 3
    text = fails(
        nf.cuda.UnwrittenError, half_filled, (1, 8), x, y, marks=["here"], unwritten="error"
    )
    assert "reads `sh[" in text
    emulate(half_filled, unwritten="error")[1, 5](x, y)


# ---- barriers ------------------------------------------------------------------------------------


@cuda.jit
def two_barriers(x):
    if cuda.threadIdx.x < 3:
        cuda.syncthreads()  # one
    else:
        cuda.syncthreads()  # other
    x[cuda.threadIdx.x] = 1


@cuda.jit
def one_goes_on(x):
    t = cuda.threadIdx.x
    if t % 2 == 0:
        cuda.syncthreads()  # one
    x[t] = 1
    cuda.syncthreads()  # other


@cuda.jit
def warp_apart(x):
    t = cuda.threadIdx.x
    if t % 2 == 0:
        x[t] = cuda.shfl_xor_sync(FULL, x[t], 2)  # one
    cuda.syncthreads()  # other


@cuda.jit
def within_a_warp(x):
    """Each warp waits for itself as often as it wants."""
    t = cuda.threadIdx.x
    for _ in range(1 + t // 32):
        cuda.syncwarp()
    cuda.syncthreads()
    x[t] = cuda.shfl_xor_sync(FULL, x[t], 1)


@pytest.mark.parametrize("kernel", [two_barriers, one_goes_on, warp_apart])
@pytest.mark.parametrize("check", [True, False])
def test_divergent_barriers(kernel, check):
    error = nf.cuda.DivergentBarrierError
    text = fails(error, kernel, (1, 64), np.ones(64), marks=("one", "other"), check=check)
    assert "wait at different barriers" in text


def test_warps_wait_apart():
    x = np.arange(96.0)
    emulate(within_a_warp)[1, 96](x)
    np.testing.assert_array_equal(x, np.arange(96) ^ 1)


# ---- derivatives ---------------------------------------------------------------------------------


@cuda.jit
def scatter(x, places, out):
    i = cuda.grid(1)
    out[places[i]] += x[i]


def test_a_derivative_is_watched_too():
    x, places, out = np.ones(8), np.zeros(8, np.int64), np.zeros(8)
    tangent = emulate(nf.cuda.tangent(scatter))
    with pytest.raises(nf.cuda.RaceError, match="out"):
        tangent[1, 8](nf.Dup(x, x.copy()), places, nf.Dup(out, out.copy()))
