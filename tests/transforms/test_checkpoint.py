"""Checkpointed loops: the derivatives of unmarked ones, from few snapshots, in few trips."""

import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numba import njit, typeof

import numbaflux as nf
from numbaflux import runtime
from numbaflux.frontend import read
from numbaflux.ir.build import Builder, index
from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import For, Function
from numbaflux.ir.ops import OPS, ROUTINES
from numbaflux.ir.walk import map_regions, walk
from numbaflux.passes import optimise
from numbaflux.passes.counters import key_of
from numbaflux.transforms import checkpoint
from numbaflux.transforms.vjp import vjp
from tests.fuzz.checks import close, run
from tests.fuzz.generator import arguments, build, generate
from tests.transforms.checkpointed import PROGRAMS
from tests.transforms.checks import check_transforms

NAMES = sorted(PROGRAMS)


def function(f, args) -> Function:
    return optimise(read(f, tuple(typeof(a) for a in args)).function)


def with_slots(fn: Function, slots) -> Function:
    """`fn` with every loop marked as `slots(loop)` says."""

    def visit(block):
        stmts = (map_regions(s, visit) for s in block.stmts)
        marked = (replace(s, slots=slots(s)) if isinstance(s, For) else s for s in stmts)
        return replace(block, stmts=tuple(marked))

    return replace(fn, block=visit(fn.block))


def unmarked(fn: Function) -> Function:
    return with_slots(fn, lambda loop: None)


def pulled(fn: Function, args) -> list:
    """Arguments, shadows, results and cotangents after one vjp, interpreted."""
    made = optimise(vjp(fn, [p for p in fn.params if p.type.is_float]))
    floats = (a for a in args if isinstance(a, np.ndarray) and a.dtype.kind == "f")
    shadows = [np.cos(np.arange(a.size)).reshape(a.shape) for a in floats]
    seeds = [1.0 for r in fn.results if r.type.is_float]
    after, results = run(made, [*args, *shadows, *seeds])
    return [*after, *results]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", [1, 3, 1024])
def test_the_mark_changes_nothing_but_the_cost(name, block, monkeypatch):
    monkeypatch.setattr(checkpoint, "BLOCK", block)
    f, (*args, n, _) = PROGRAMS[name]
    cases = {1: [(0, 2), (n, 2)], 3: [(n, 1), (n, 3)], 1024: [(1, 1), (n, 100)]}
    for trips, slots in cases[block]:
        given = [*args, trips, slots]
        fn = function(f, given)
        close(pulled(fn, given), pulled(unmarked(fn), given), 1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_against_differences_to_second_order(name, monkeypatch):
    monkeypatch.setattr(checkpoint, "BLOCK", 2)
    f, args = PROGRAMS[name]
    numbers = [a if isinstance(a, np.ndarray) else np.array(a)[()] for a in args]
    check_transforms(function(f, args), numbers, order=2, rtol=2e-4)


def test_random_programs(monkeypatch):
    """The loops of random programs, marked at random."""
    checked = 0
    for number in range(16):
        rng = np.random.default_rng(number)
        monkeypatch.setattr(checkpoint, "BLOCK", int(rng.integers(1, 4)))
        f, args = build(generate(number, 10)), arguments(number)
        fn = function(f, args)
        loops = (s for s in walk(fn.block) if isinstance(s, For) and rng.random() < 0.6)
        chosen = {key_of(s): index(int(rng.integers(1, 4))) for s in loops}
        marked = with_slots(fn, lambda loop, chosen=chosen: chosen.get(key_of(loop)))
        try:
            found = pulled(marked, args)
        except (nf.UnsupportedError, ValueError):  # arrays that overlap
            continue
        checked += bool(chosen)
        close(found, pulled(fn, args), 1e-9)
    assert checked > 8


# ---- the schedule ------------------------------------------------------------------------------


@cache
def fewest(blocks: int, slots: int) -> int:
    """How many blocks must be run to reverse so many, by trying every split."""
    if blocks == 1:
        return 0
    if slots == 1:
        return blocks * (blocks - 1) // 2
    return min(
        m + fewest(blocks - m, slots - 1) + fewest(m, slots) for m in range(1, blocks)
    )  # fmt: skip


def runs(blocks: int, slots: int) -> int:
    """The same with the splits of the schedule."""
    if blocks == 1:
        return 0
    m = runtime.stride(blocks, slots)
    if slots == 1:
        return m + runs(blocks - 1, 1)
    return m + runs(blocks - m, slots - 1) + runs(m, slots)


def test_the_schedule_is_optimal():
    oracle = ROUTINES["stride"].value
    for slots in range(1, 8):
        for blocks in range(1, 70):
            assert runs(blocks, slots) == fewest(blocks, slots)
            assert runtime.stride(blocks, slots) == oracle(blocks, slots)


def test_the_schedule_of_very_long_loops():
    for blocks, slots in ((10**9, 2), (10**9, 30), (2 * 10**9, 10**6), (2 * 10**9, 2 * 10**9)):
        assert 1 <= runtime.stride(blocks, slots) == ROUTINES["stride"].value(blocks, slots)


@pytest.mark.parametrize("slots", [1, 2, 5, 8, 29, 30, 50])
def test_how_often_a_trip_is_run(slots, monkeypatch):
    """The sine of a trip is computed when it is run, forward or on the way to a block."""
    monkeypatch.setattr(checkpoint, "BLOCK", 1)
    n, calls = 30, []
    sine = OPS["sin"]
    counted = replace(sine, value=lambda x: calls.append(1) or sine.value(x))
    monkeypatch.setitem(OPS, "sin", counted)

    def f(x, n, s):
        for _ in nf.checkpoint(range(n), slots=s):
            x = x * np.sin(x)
        return x

    args = [1.3, n, slots]
    fn = function(f, args)
    made = optimise(vjp(fn, fn.params[:1]))
    interpret(made, [*args, 1.0])
    last_snapshot = first_snapshots(n, slots)[-1]
    assert len(calls) == fewest(n, slots) + (n - last_snapshot) + n
    if slots >= n:
        assert len(calls) == 2 * n


def first_snapshots(blocks: int, slots: int) -> list[int]:
    """Where the forward sweep takes them."""
    slots = min(slots, blocks)
    found = [0]
    for free in range(slots, 1, -1):
        found.append(found[-1] + runtime.stride(blocks - found[-1], free))
    return found


def test_blocks_are_shorter_where_a_trip_does_more():
    def f(u, n, s):
        v = np.zeros(len(u))
        for _ in nf.checkpoint(range(n), slots=s):
            for i in range(1, len(u)):
                v[i] = u[i] * u[i - 1]
            for i in range(len(u)):
                u[i] = v[i]
        return u[0]

    assert block_size(f, np.ones(10)) == checkpoint.BLOCK
    assert block_size(f, np.ones(1000)) == checkpoint.BUDGET // 2000
    assert block_size(f, np.ones(checkpoint.BUDGET)) == 1


def block_size(f, u) -> int:
    fn = function(f, (u, 5, 2))
    b = Builder()
    (loop,) = (s for s in fn.block.stmts if isinstance(s, For))
    size = checkpoint.planned(b, loop).size
    before = fn.block.stmts[: fn.block.stmts.index(loop)]
    block = replace(fn.block, stmts=(*before, *b.stmts), yields=(size,))
    return int(interpret(replace(fn, block=block), [u.copy(), 5, 2])[0])


# ---- compiled ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["swapped_arguments", "replaced", "nested_in_loop", "in_an_arm"])
def test_compiled(name, monkeypatch):
    """What compiled code computes is what the interpreter says."""
    monkeypatch.setattr(checkpoint, "BLOCK", 2)
    f, args = PROGRAMS[name]
    derivative = nf.value_and_grad(
        f, tuple(i for i, a in enumerate(args) if not isinstance(a, int))
    )
    program = derivative.numbaflux_program(tuple(typeof(a) for a in args))
    after, expected = run(optimise(program.function), args)
    given = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    value, gradients = derivative(*given)
    close([*given, value, *gradients], [*after, *expected], 1e-12)


def test_jacobians_run_the_reverse_sweep_several_times(monkeypatch):
    monkeypatch.setattr(checkpoint, "BLOCK", 2)

    def f(u, n, s):
        for _ in nf.checkpoint(range(n), slots=s):
            u = np.sin(u) * u[0] + u
        return u

    def g(u, n, s):
        for _ in range(n):
            u = np.sin(u) * u[0] + u
        return u

    u = np.array([0.3, 0.5, 0.2])
    expected = nf.jacfwd(g)(u, 7, 3)
    np.testing.assert_allclose(nf.jacrev(f)(u, 7, 3), expected, rtol=1e-11)
    np.testing.assert_allclose(nf.jacfwd(f)(u, 7, 3), expected, rtol=1e-11)


MEMORY = """
import resource
import numbaflux as nf

def lorenz(x, y, z, n, slots):
    for _ in nf.checkpoint(range(n), slots=slots):
        dx, dy, dz = 10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z
        x, y, z = x + 1e-9 * dx, y + 1e-9 * dy, z + 1e-9 * dz
    return x + y + z

slope = nf.grad(lorenz, (0, 1, 2))
slope(1.0, 1.0, 1.0, 10, 10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
slope(1.0, 1.0, 1.0, 4_000_000, 100)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
def test_memory_does_not_grow_with_the_trips():
    """The caches of all trips would be 96 MB."""
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, check=True)
    assert int(found.stdout) < 8_000


# ---- effects and refusals ----------------------------------------------------------------------


def test_effects_happen_once(capfd):
    def f(x, n):
        for k in nf.checkpoint(range(n), slots=1):
            if x > 100.0:
                raise ValueError("too large")
            print(k)
            x = x * x
        return x

    assert nf.grad(f)(1.5, 3) == pytest.approx(8 * 1.5**7)
    assert capfd.readouterr().out.split() == ["0", "1", "2"]
    with pytest.raises(ValueError, match="too large"):
        nf.grad(f)(101.0, 3)


def test_arrays_of_the_users_are_not_written_again():
    def f(u, n):
        for _ in nf.checkpoint(range(n), slots=2):
            u[0] = u[0] * u[1]
        return u[0]

    u = np.array([2.0, 3.0])
    nf.grad(f)(u, 3)
    assert u.tolist() == [54.0, 3.0]


def test_arrays_that_overlap():
    @njit
    def steps(p, q, n):
        for _ in nf.checkpoint(range(n), slots=2):
            p[0] = p[0] * q[1] + 0.3
            p, q = q, p
        return p[0]

    x = np.array([0.3, 0.5, 0.2, 0.7])
    with pytest.raises(ValueError, match="arrays p and q of a checkpointed loop overlap"):
        nf.grad(lambda x, n: steps(x[:2], x[1:], n))(x.copy(), 3)
    slope = nf.grad(lambda x, n: steps(x[:2], x[2:], n))(x.copy(), 3)
    np.testing.assert_allclose(slope, [0.0, 0.2, 0.5, 0.0])


def refusal(f, *args):
    with pytest.raises(nf.UnsupportedError) as caught:
        nf.grad(f)(*args)
    assert caught.value.loc is not None and caught.value.loc.file == __file__
    return caught.value.what


def test_refused():
    def draws(x, n):
        for _ in nf.checkpoint(range(n), slots=2):
            x = x * np.random.random()
        return x

    def lists(x, n):
        items = [x]
        for _ in nf.checkpoint(range(n), slots=2):
            items.append(items[-1] * x)
        return items[n]

    def mixed(x, n):
        u = x * 1.0
        for k in nf.checkpoint(range(n), slots=2):
            if k % 2 == 0:
                u = u * x
            u[0] = u[1] * 2.0
        return u[0]

    assert refusal(draws, 0.5, 3) == "a checkpointed loop with an effect (`random`)"
    assert refusal(lists, 0.5, 3) == "a checkpointed loop over the list `items`"
    what = refusal(mixed, np.array([0.5, 0.2]), 3)
    assert what == "a checkpointed loop that both replaces and overwrites `u`"


def test_what_is_not_differentiated_is_not_refused():
    def f(x, n):
        noise = 0.0
        for _ in nf.checkpoint(range(n), slots=2):
            noise += np.random.random()
        return x * x if noise < 10.0 else x

    assert nf.grad(f)(3.0, 4) == 6.0
