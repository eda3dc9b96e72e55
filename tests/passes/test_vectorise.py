"""Loops over vectors: which loops, and that values and errors stay what they were."""

import math
import re

import numba
import numpy as np
import pytest

import numbaflux as nf
from numbaflux import runtime, vecmath
from numbaflux.api import pipeline
from numbaflux.vecmath.bits import fused

pytestmark = pytest.mark.skipif(not fused(), reason="without fma the functions are libm's")
VECTOR = np.linspace(0.1, 0.9, 777)  # three blocks and a rest


def total(x):
    s = 0.0
    for i in range(len(x)):
        s += math.exp(x[i]) * x[i]
    return s


def recurrence(x):
    t = 0.5
    for i in range(len(x)):
        t = math.sin(t) + x[i]
    return t


def through_memory(x):
    y = x.copy()
    for i in range(1, len(y)):
        y[i] = math.sin(y[i - 1]) + x[i]
    return y[-1]


def scattered(x):
    y = np.zeros(10)
    for i in range(len(x)):
        y[(i * i) % 10] += math.log(x[i])
    return y[3] * y[6]


def two_arrays(x):
    y, z = np.zeros(len(x)), np.zeros(len(x))
    for i in range(len(x)):
        y[i] = math.tanh(x[i])
        z[i] = y[i] ** 1.5 + math.erf(x[i])
    return y.sum() * z.sum()


def running(x):
    s, most = 0.0, -1.0
    y = np.zeros(len(x))
    for i in range(len(x)):
        t = math.exp(-x[i])
        y[i] = s * t
        s = s * 0.5 + t
        most = max(most, t * s)
    return y.sum() + most


def divided(x):
    s = 0.0
    for i in range(len(x)):
        s += math.log(1.0 / x[i]) / (2.0 - x[i])
    return s


def with_gamma(x):
    s = 0.0
    for i in range(len(x)):
        s += math.exp(x[i]) * math.lgamma(1.0 + x[i])
    return s


def in_rows(x):
    a = x[:776].reshape(8, 97)
    s = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            s += math.cos(a[i, j] * a[i, 0])
    return s


PROGRAMS = (
    total, recurrence, through_memory, scattered, two_arrays, running, divided, with_gamma, in_rows,
)  # fmt: skip


@pytest.mark.parametrize("f", [total, running, divided], ids=lambda f: f.__name__)
def test_every_length(f):
    fast, slow = nf.value_and_grad(f), nf.value_and_grad(f, vecmath=False)
    for n in (0, 1, 255, 256, 257, 777):
        x = VECTOR[:n].copy()
        for found, wanted in zip(fast(x), slow(x)):
            np.testing.assert_allclose(found, wanted, rtol=1e-13)


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_same_derivatives(f):
    check_derivatives(f, np.float64)


@pytest.mark.parametrize("f", [total, two_arrays, divided], ids=lambda f: f.__name__)
def test_same_derivatives_in_single_precision(f):
    check_derivatives(f, np.float32)


def check_derivatives(f, kind):
    f, x = numba.njit(f), VECTOR.astype(kind)
    rtol = 50 * np.finfo(kind).eps
    found = [*nf.value_and_grad(f)(x), nf.tangent(f)(nf.Dup(x, x)).shadow]
    off = {"vecmath": False}
    wanted = [*nf.value_and_grad(f, **off)(x), nf.tangent(f, **off)(nf.Dup(x, x)).shadow]
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


def test_the_option():
    x = VECTOR.copy()
    assert "vecmath.exp" in nf.source(nf.grad(total), x)
    assert "vecmath" not in nf.source(nf.grad(total, vecmath=False), x)


def test_sums_keep_their_order():
    def f(x):
        s = 0.0
        for i in range(len(x)):
            s += math.exp(x[i])
        return s

    x = np.linspace(-30.0, 30.0, 777)
    wanted = 0.0
    for t in vecmath.exp(x):
        wanted += t
    assert nf.value_and_grad(f)(x)[0] == wanted


@pytest.mark.parametrize("f", [recurrence, through_memory], ids=lambda f: f.__name__)
def test_chains_stay_with_math(f):
    source = nf.source(nf.value_and_grad(f), VECTOR)
    assert "math.sin" in source and "vecmath.sin" not in source


def test_reverse_sweeps_of_chains_use_vectors_for_what_is_no_chain():
    source = nf.source(nf.grad(recurrence), VECTOR)
    assert "vecmath.cos" in source


def test_what_is_not_over_vectors_waits():
    source = nf.source(nf.value_and_grad(with_gamma), VECTOR)
    first, second = re.split(r"for j in range\(trips\):", source)[1:3]
    assert "vecmath.exp" in first and "lgamma" not in first and "lgamma" in second


def test_division_by_zero_is_still_found():
    x = VECTOR.copy()
    x[700] = 0.0
    source = nf.source(nf.grad(divided), x)
    assert "vecmath.log" in source and "raise ZeroDivisionError" in source
    with pytest.raises(ZeroDivisionError):
        nf.grad(divided)(x)


def test_what_a_caller_can_see_is_not_written_before_an_error():
    def f(x, y):
        for i in range(len(x)):
            y[i] = math.exp(1.0 / x[i])
        return y.sum()

    x, y = np.array([1.0, 2.0, 0.0, 3.0] * 4), np.zeros(16)
    shadows = nf.Dup(x, np.zeros(16)), nf.Dup(y, np.zeros(16))
    with pytest.raises(ZeroDivisionError):
        nf.adjoint(f)(*shadows)
    assert (y != 0).sum() == 2


def test_arrays_that_are_one():
    @numba.njit
    def f(x, y):
        for i in range(len(x) - 1):
            y[i + 1] = math.sin(x[i])

    both = VECTOR.copy()
    wanted = both.copy()
    f(wanted, wanted)
    tangents = np.ones_like(both)
    dup = nf.Dup(both, tangents)
    nf.tangent(f)(dup, dup)
    np.testing.assert_allclose(both, wanted, rtol=1e-14)


def test_short_known_loops_are_left_alone():
    def f(x):
        s = 0.0
        for i in range(4):
            s += math.exp(x[i])
        return s

    assert "vecmath" not in nf.source(nf.value_and_grad(f), VECTOR)


def sixteen(x):
    s = 0.0
    for i in range(16):
        s += math.tanh(x[i])
    return s


def hundred(x):
    s = 0.0
    for i in range(100):
        s += math.tanh(x[i])
    return s


def test_llvm_is_not_told_how_few_trips_a_loop_over_vectors_has():
    assert "range(runtime.veiled(16))" in nf.source(nf.value_and_grad(sixteen), VECTOR)
    assert "veiled" not in nf.source(nf.value_and_grad(hundred), VECTOR)
    check_derivatives(sixteen, np.float64)
    assert runtime.veiled(16) == numba.njit(lambda: runtime.veiled(16))() == 16


@pytest.mark.parametrize("f", [total, sixteen], ids=lambda f: f.__name__)
def test_it_is_faster(f):
    """The loop really runs over vectors: packed multiplications in the machine code."""
    derivative = nf.value_and_grad(f)
    derivative(VECTOR)
    generated = pipeline.generate(
        f"value_and_grad_{f.__name__}", derivative.numbaflux_program(derivative.signatures[0]), {}
    )
    generated.function(VECTOR)
    (assembly,) = generated.function.inspect_asm().values()
    assert len(re.findall(r"vf[n]?m(add|sub)[0-9]+pd|fml[as]\s+v", assembly)) > 5
