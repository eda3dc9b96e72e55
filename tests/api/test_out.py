"""Gradients that are written into an array of the caller's."""

import math

import numba
import numpy as np
import pytest

import numbaflux as nf


def energy(x, k=2.0):
    return k * np.sum(x * x) + math.sin(k)


X = np.array([1.0, 2.0, 3.0])


def test_grad_writes():
    out = np.full(3, 7.0)
    assert nf.grad(energy, out=True)(X, 2.0, out) is None
    assert out.tolist() == [4.0, 8.0, 12.0]
    assert nf.value_and_grad(energy, out=True)(X, 2.0, out) == energy(X)


def test_several_arguments():
    dx, dk = np.empty(3), np.empty(1)
    nf.grad(energy, (0, 1), out=True)(X, 2.0, (dx, dk))
    expected = nf.grad(energy, (0, 1))(X, 2.0)
    assert dx.tolist() == expected[0].tolist()
    assert dk[0] == expected[1]


def test_auxiliary_outputs_are_returned():
    def f(x):
        return x @ x, x[0]

    out = np.empty(3)
    assert nf.grad(f, has_aux=True, out=True)(X, out) == 1.0
    assert nf.value_and_grad(f, has_aux=True, out=True)(X, out) == (14.0, 1.0)
    assert out.tolist() == [2.0, 4.0, 6.0]


def test_the_argument_itself_may_be_overwritten():
    x = X.copy()
    nf.grad(energy, out=True)(x, 2.0, x)
    assert x.tolist() == [4.0, 8.0, 12.0]


def test_strides_and_names():
    def f(out):
        return np.sum(out**3)

    buffer = np.zeros(6)
    nf.grad(f, out=True)(X, buffer[::2])
    nf.grad(f, out=True)(out_=buffer[1::2], out=X)
    assert buffer.tolist() == [3.0, 3.0, 12.0, 12.0, 27.0, 27.0]


def test_inside_njit():
    f = numba.njit(energy)

    @numba.njit
    def step(x, d):
        nf.grad(f, out=True)(x, 2.0, d)
        return x - 0.25 * d

    assert step(X, np.empty(3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "out", [np.empty(3, np.float32), np.empty((3, 1)), 1.0, (np.empty(3),) * 2]
)
def test_a_buffer_of_another_kind(out):
    with pytest.raises(nf.NotDifferentiableError, match="argument `out` does not have"):
        nf.grad(energy, out=True)(X, 2.0, out)


def test_a_buffer_of_another_length():
    with pytest.raises(ValueError, match="out does not have the shape"):
        nf.grad(energy, out=True)(X, 2.0, np.empty(4))


def test_any_number_of_arguments():
    with pytest.raises(TypeError, match=r"out=True.*\*args"):
        nf.grad(lambda *args: args[0], out=True)
