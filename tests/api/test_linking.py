"""Derivatives that compiled code calls: linked, and machine code only once Python calls them."""

import gc
import math

import numba
import numpy as np
import pytest
from numba import float64, types
from numba.core import event

import numbaflux as nf
from numbaflux.api.linking import is_linked_only


@numba.njit
def work(x):
    if x < 0.0:
        raise ValueError("negative", x)
    return math.sin(x) * x


def slope(x):
    return math.cos(x) * x + math.sin(x)


def made(derivative):
    return derivative.overloads[float64,]


def test_linked_until_python_calls():
    derivative = nf.grad(work)
    caller = numba.njit(lambda x: 2.0 * derivative(x))
    assert math.isclose(caller(0.7), 2.0 * slope(0.7))
    assert is_linked_only(made(derivative))
    assert derivative(0.7) == caller(0.7) / 2.0
    assert not is_linked_only(made(derivative))
    again = numba.njit(lambda x: derivative(x) + 1.0)
    assert again(0.7) == derivative(0.7) + 1.0 and caller(0.7) == 2.0 * derivative(0.7)


def test_machine_code_first():
    derivative = nf.grad(work)
    assert math.isclose(derivative(0.7), slope(0.7))
    assert not is_linked_only(made(derivative))
    assert numba.njit(lambda x: derivative(x))(0.7) == derivative(0.7)


def test_asked_for_by_its_signature():
    derivative = nf.grad(work)
    derivative.compile((float64,))
    assert not is_linked_only(made(derivative))


def test_what_is_raised_and_printed_comes_through(capfd):
    @numba.njit
    def f(x):
        print("at", x)
        return work(x)

    derivative = nf.grad(f)
    caller = numba.njit(lambda x: derivative(x))
    with pytest.raises(ValueError) as raised:
        caller(-1.0)
    assert raised.value.args == ("negative", -1.0) and is_linked_only(made(derivative))
    with pytest.raises(ValueError) as raised:
        derivative(-1.0)
    assert raised.value.args == ("negative", -1.0)
    assert capfd.readouterr().out == "at -1.0\nat -1.0\n"


def test_callers_of_callers():
    derivative = nf.grad(lambda x: x.sum() ** 2)
    inner = numba.njit(lambda x: derivative(x)[0])
    outer = nf.grad(numba.njit(lambda x: inner(x)))
    x = np.array([1.0, 2.0])
    assert numba.njit(lambda x: inner(x) + outer(x)[1])(x) == 8.0


@pytest.mark.parametrize("called_before", [False, True])
def test_called_by_its_address(called_before):
    derivative = nf.grad(work)
    if called_before:
        numba.njit(lambda x: derivative(x))(0.7)
    kind = types.FunctionType(float64(float64))
    apply = numba.njit(float64(kind, float64))(lambda f, x: f(x))
    assert math.isclose(apply(derivative, 0.7), slope(0.7))


def test_a_default_is_a_default():
    def f(x, k=3.0):
        return k * x * x

    derivative = nf.grad(f)
    assert numba.njit(lambda x: derivative(x))(2.0) == 12.0 == derivative(2.0)
    assert derivative(2.0, 1.0) == 4.0


def test_the_same_text_is_compiled_once_and_outlives_whoever_asked_first():
    first, second, third = (nf.grad(numba.njit(work.py_func)) for _ in range(3))
    assert first(0.7) == second(0.7)
    with event.install_recorder("numba:compile") as recorder:
        assert numba.njit(lambda x: second(x))(0.7) == first(0.7)
    assert sum(e.is_start for _, e in recorder.buffer) == 1
    value = first(0.7)
    del first
    gc.collect()
    assert third(0.7) == value == numba.njit(lambda x: second(x) + third(x))(0.7) / 2.0


def test_threads_and_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBAFLUX_CACHE_DIR", str(tmp_path))

    def f(x):
        total = 0.0
        for i in numba.prange(len(x)):
            total += x[i] ** 2
        return total

    derivative = nf.grad(f, parallel=True, cache=True)
    x = np.arange(3.0)
    np.testing.assert_array_equal(derivative(x), 2.0 * x)
    np.testing.assert_array_equal(numba.njit(lambda x: derivative(x))(x), 2.0 * x)
