"""Gradients within a budget of memory: which version runs, and that both are right."""

from dataclasses import replace

import numpy as np
import pytest
from numba import njit

import numbaflux as nf
from numbaflux.api import memory as machine
from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import Extern, Function, If
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.walk import walk
from numbaflux.passes import optimise
from numbaflux.transforms import checkpoint
from numbaflux.transforms.budget import vjp_within
from numbaflux.transforms.vjp import vjp
from tests.fuzz.checks import close, run
from tests.transforms.checkpointed import PROGRAMS
from tests.transforms.checks import check_transforms
from tests.transforms.test_checkpoint import function, unmarked


def chain(x, n):
    for _ in range(n):
        x = x * (2.0 - x * x)
    return x


def arguments_of(fn: Function, args) -> list:
    floats = (a for a in args if isinstance(a, np.ndarray) and a.dtype.kind == "f")
    seeds = [1.0 for r in fn.results if r.type.is_float]
    return [*args, *(np.cos(np.arange(a.size)).reshape(a.shape) for a in floats), *seeds]


@pytest.mark.parametrize("name", sorted(PROGRAMS))
@pytest.mark.parametrize("budget", [0, 10**9])
def test_both_versions(name, budget, monkeypatch):
    monkeypatch.setattr(checkpoint, "BLOCK", 2)
    f, args = PROGRAMS[name]
    fn = unmarked(function(f, args))
    wrt = [p for p in fn.params if p.type.is_float]
    given = arguments_of(fn, args)
    found = run(optimise(vjp_within(fn, wrt, range(len(fn.results)), budget)), given)
    expected = run(optimise(vjp(fn, wrt)), given)
    close([*found[0], *found[1]], [*expected[0], *expected[1]], 1e-11)


def versions(f, args, budget) -> tuple[If | None, Function]:
    """The choice between two versions, if there is one."""
    fn = function(f, args)
    of = range(len(fn.results))
    made = optimise(vjp_within(fn, [p for p in fn.params if p.type.is_float], of, budget))
    found = next((s for s in made.block.stmts if isinstance(s, If)), None)
    return found, made


def snapshots(fn: Function) -> bool:
    return any(isinstance(s, Extern) and s.routine == "stride" for s in walk(fn.block))


@pytest.mark.parametrize(("n", "frugal"), [(1000, False), (1001, True)])
def test_the_choice_is_made_by_the_bytes_of_the_caches(n, frugal, monkeypatch):
    """The cache of `chain` has eight bytes a trip."""
    asked = []
    stride = ROUTINES["stride"]
    counted = replace(stride, value=lambda *args: asked.append(1) or stride.value(*args))
    monkeypatch.setitem(ROUTINES, "stride", counted)
    choice, made = versions(chain, (0.7, n), 8000)
    assert choice is not None
    interpret(made, [0.7, n, 1.0])
    assert bool(asked) == frugal


def test_without_loops_that_keep_anything_there_is_one_version():
    def product(x, y):
        return x * y

    choice, made = versions(product, (0.7, 0.3), 0)
    assert choice is None and not snapshots(made)


def test_where_an_array_grows_there_are_only_snapshots():
    def halved(x, n):
        for _ in range(n):
            y = x
            while y > 1.0:
                y = y * y * 0.5
            x = x + 0.1 * y
        return x

    choice, made = versions(halved, (1.5, 4), 10**9)
    assert choice is None and snapshots(made)


def test_second_order(monkeypatch):
    monkeypatch.setattr(checkpoint, "BLOCK", 2)
    _, made = versions(chain, (0.7, 5), 16)
    check_transforms(made, [np.float64(0.7), np.int64(5), np.float64(1.3)])


def test_the_option():
    slope = nf.grad(chain)(0.7, 5000)
    for memory in ("1 KB", "0.5 kB", 100, "1MB"):
        assert nf.grad(chain, memory=memory)(0.7, 5000) == pytest.approx(slope, rel=1e-12)
    assert nf.value_and_grad(chain, memory="1 KB")(0.7, 50)[1] == nf.grad(chain)(0.7, 50)
    for wrong in ("much", -1, "2 GiB"):
        with pytest.raises(TypeError, match="memory is a number of bytes or a string like '2 GB'"):
            nf.grad(chain, memory=wrong)


@pytest.fixture
def small_machine(monkeypatch):
    """A machine with 400 MB: the budget is 100 MB."""
    monkeypatch.setattr(machine, "MACHINE", 4 * 10**8)


LONG = 12_500_001  # trips, of eight bytes each


def test_a_quarter_of_the_memory_is_the_budget(small_machine):
    """From Python the frugal version runs; compiled callers are told."""

    def settles(x, n):
        """At x = x / 2 + 1 / (1 + x^2), where x + x^3 = 2."""
        for _ in range(n):
            x = 0.5 * x + 1.0 / (1.0 + x * x)
        return x

    slope = nf.grad(settles)

    @njit
    def caller(n):
        return slope(0.7, n)

    assert slope(0.7, 50) == caller(50)
    assert "> 100_000_000:" in nf.source(slope, 0.7, 50)
    assert abs(slope(0.7, LONG)) < 1e-9
    assert nf.value_and_grad(settles)(0.7, LONG)[0] == pytest.approx(1.0, rel=1e-9)
    with pytest.raises(MemoryError, match="memory='2 GB'"):
        caller(LONG)


def test_results_do_not_count(small_machine):
    def squares(x):
        s = 0.0
        for i in range(len(x)):
            s += x[i] * x[i]
        return s

    assert "MemoryError" not in nf.source(nf.grad(squares), np.ones(3))


def test_other_memory_errors_are_the_users(small_machine):
    def refuses(x, n):
        for _ in range(n):
            x = np.sin(x)
        if n > 10:
            raise MemoryError("mine")
        return x

    slope = nf.grad(refuses)
    assert slope(0.5, 3) == nf.grad(refuses, memory="1 KB")(0.5, 3)
    with pytest.raises(MemoryError, match="mine"):
        slope(0.5, 11)
