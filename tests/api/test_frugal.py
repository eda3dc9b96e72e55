"""Gradients without a budget: what would take more than the machine has is checkpointed."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit

import numbaflux as nf
from numbaflux import runtime
from numbaflux.api.frugal import Frugal


@njit
def chain(x, n):
    for _ in range(n):
        x = x * (2.0 - x * x)
    return x


def heated(u, rates, n):
    """Overwrites its argument; the second is a tuple."""
    a, b = rates
    for _ in range(n):
        for i in range(1, len(u)):
            u[i] += a * np.sin(u[i - 1]) * u[i] + b
    return u.sum(), u[0]


@pytest.fixture
def limit(monkeypatch):
    """Sets the bytes that may be kept; `limit.called`: for each piece of code, once, its types."""
    before, called, compile = runtime.LIMIT.value, [], Frugal.compile

    def set_to(size):
        runtime.LIMIT.value = size

    set_to.called = called
    monkeypatch.setattr(
        Frugal, "compile", lambda self, args: called.append(args) or compile(self, args)
    )
    yield set_to
    runtime.LIMIT.value = before


def test_the_budgets_version_is_made_when_more_is_needed(limit):
    slope = nf.grad(chain, memory="1 GB")
    gradient = nf.grad(chain, error_model="numpy")
    limit(8000)
    assert gradient(0.7, 1000) == slope(0.7, 1000)
    assert not limit.called
    for n in (1001, 1001, 5000):
        assert gradient(0.7, n) == pytest.approx(slope(0.7, n), rel=1e-12)
    assert len(limit.called) == 1
    assert "stride" not in nf.source(gradient, 0.7, 1000)


def test_compiled_code_and_threads(limit):
    @njit
    def cubic(x, n):
        for _ in range(n):
            x = x * (1.5 - x * x)
        return x

    gradient = nf.grad(cubic)

    @njit(nogil=True)
    def doubled(x, n):
        return 2.0 * gradient(x, n)

    expected = [2.0 * gradient(x, 3000) for x in (0.1, 0.2, 0.3, 0.4)]
    limit(8000)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: doubled(x, 3000), (0.1, 0.2, 0.3, 0.4)))
    assert found == pytest.approx(expected, rel=1e-12)
    assert limit.called


def test_effects_tuples_and_aux(limit):
    """The argument is overwritten once; what is returned has the same structure."""
    given = np.linspace(0.1, 0.9, 5), (0.3, 0.2), 40
    gradient = nf.value_and_grad(heated, (0, 1), has_aux=True)
    found = []
    for size in (10**6, 0):
        limit(size)
        u = given[0].copy()
        found.append((*gradient(u, *given[1:]), u))
    assert limit.called
    (value, (d_u, d_rates), u), (value_, (d_u_, d_rates_), u_) = found
    assert value == pytest.approx(value_, rel=1e-12)
    assert d_rates == pytest.approx(d_rates_, rel=1e-11)
    np.testing.assert_allclose(d_u, d_u_, rtol=1e-11)
    np.testing.assert_array_equal(u, u_)


def test_out_and_second_order(limit):
    def square(x, n):
        y = x.copy()
        for _ in range(n):
            for i in range(len(y)):
                y[i] = np.sin(y[i]) * 1.5
        return y.sum()

    x, expected = np.array([0.3, 1.1]), nf.grad(square)(np.array([0.3, 1.1]), 30)
    second = nf.grad(nf.grad(chain))
    slope = second(0.7, 30)
    limit(0)
    out = np.empty(2)
    assert nf.grad(square, out=True)(x, 30, out) is None
    np.testing.assert_allclose(out, expected, rtol=1e-12)
    assert second(0.7, 30) == pytest.approx(slope, rel=1e-10)
    assert len(limit.called) == 2


def test_an_error_in_it_is_raised(limit, monkeypatch):
    def quartic(x, n):
        for _ in range(n):
            x = x * (1.5 - x * x * x)
        return x

    def refuse(self, args):
        raise ValueError("no")

    limit(0)
    monkeypatch.setattr(Frugal, "compile", refuse)
    with pytest.raises(ValueError, match="no"):
        nf.grad(quartic)(0.7, 10)


@pytest.mark.parametrize(
    "f, args, options",
    [
        pytest.param(lambda x: x * x, (0.5,), {}, id="nothing kept"),
        pytest.param(lambda x: chain(x, 50), (0.5,), {}, id="constant length"),
        pytest.param(chain, (0.5, 50), {"memory": "1 KB"}, id="a budget"),
        pytest.param(lambda x, p: chain(x, len(p)), (0.5, (1, None)), {}, id="None"),
        pytest.param(lambda x: np.sin(x).sum(), (np.ones(50),), {}, id="only the result"),
    ],
)
def test_who_does_not_ask(f, args, options):
    assert "frugal" not in nf.source(nf.grad(f, **options), *args)


def test_this_machines_memory():
    assert 2**26 < runtime.machines_memory() < 2**48
    assert runtime.limit() == runtime.machines_memory() // 4


MODULE = """
import sys, numbaflux as nf
from numba import njit
from numbaflux import runtime

@njit(cache=True)
def chain(x, n):
    for _ in range(n):
        x = x * (2.0 - x * x)
    return x

gradient = nf.grad(chain, cache=True)

@njit(cache=True)
def doubled(x, n):
    return 2.0 * gradient(x, n)

if __name__ == "__main__":
    import kept  # not __main__: what is kept on disk must be found in a module
    if sys.argv[1] == "first":
        print(kept.gradient(0.7, 3000), kept.doubled(0.7, 3000) / 2)
    else:
        runtime.LIMIT.value = 8000
        try:
            kept.doubled(0.7, 3000)
        except MemoryError as error:
            assert "call the gradient from Python first" in str(error)
        else:
            raise AssertionError
        print(kept.gradient(0.7, 3000), kept.doubled(0.7, 3000) / 2)
        assert not kept.gradient.stats.cache_misses and not kept.doubled.stats.cache_misses
"""


def test_code_kept_on_disk(tmp_path):
    (tmp_path / "kept.py").write_text(MODULE)
    env = {**os.environ, "NUMBAFLUX_CACHE_DIR": str(tmp_path / "cache")}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    said = [
        subprocess.run(
            [sys.executable, str(tmp_path / "kept.py"), which],
            env=env, capture_output=True, text=True, check=True,
        ).stdout.split()
        for which in ("first", "second")
    ]  # fmt: skip
    expected = [float(said[0][0])] * 4
    assert [float(x) for x in (*said[0], *said[1])] == pytest.approx(expected, rel=1e-11)
