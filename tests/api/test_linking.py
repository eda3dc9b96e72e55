"""Derivatives that compiled code calls: linked, and machine code only once Python calls them."""

import math

import numba
import numpy as np
import pytest
from numba import float64, types

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
