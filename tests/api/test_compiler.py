"""The pipeline that compiles generated code: the same results by fewer compilations."""

import gc
import math

import numba
import numpy as np
import pytest
from numba.core import event

import numbaflux as nf
from numbaflux.api import machine_code
from numbaflux.api.compiler import compile_so


def both(f):
    """A function compiled by our pipeline, and by Numba's own."""
    ours, theirs = numba.njit(error_model="numpy")(f), numba.njit(error_model="numpy")(f)
    compile_so(ours)
    return ours, theirs


def compilations(f, *args):
    """How many functions Numba compiles for the first call of one."""
    with event.install_recorder("numba:compile") as recorder:
        f(*args)
    return sum(e.is_start for _, e in recorder.buffer)


def zeros(n, m):
    return np.zeros(n), np.zeros((n, m), np.float32), np.zeros((m, 2, n), dtype=np.bool_)


def filled(n, m):
    a = np.empty((n, m), dtype=np.int32)
    b = np.empty(n)
    for i in range(n):
        b[i] = i
        for j in range(m):
            a[i, j] = i - j
    return a, b


@pytest.mark.parametrize("f", [zeros, filled])
@pytest.mark.parametrize("shape", [(3, 4), (0, 2), (1, 1)])
def test_new_arrays(f, shape):
    for ours, theirs in zip(*(made(*shape) for made in both(f))):
        assert ours.dtype == theirs.dtype and ours.strides == theirs.strides
        np.testing.assert_array_equal(ours, theirs)


def elements(a, i, j, u, out):
    out[i, j] = a[i, j] + a[-1, u]
    out[u, -j] += a[u, j] * a[0, 1]
    out[-1, 0] = 2


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "?"])
@pytest.mark.parametrize("order", ["C", "F", "A"])
def test_elements(dtype, order):
    """Negative and unsigned indices, every layout, casts."""
    wide = np.arange(48).reshape(6, 8) % 5
    a = np.array(wide, dtype, order="F" if order == "F" else "C")
    a = a[::2, ::2] if order == "A" else a
    results = []
    for f in both(elements):
        out = np.zeros_like(a)
        f(a, -2, 2, np.uint8(1), out)
        results.append(out)
    np.testing.assert_array_equal(*results)
    assert results[0].any()


def test_elements_of_vectors_and_blocks():
    def f(x, y, k):
        x[k] = y[k, 0, -1] + x[-1]
        y[-1, k, 0] -= x[k]
        return x[np.uint32(0)]

    made = []
    for g in both(f):
        x, y = np.arange(3.0), np.arange(24.0).reshape(3, 2, 4)
        made.append((g(x, y, -2), x, y))
    for ours, theirs in zip(*made):
        np.testing.assert_array_equal(ours, theirs)


def test_elements_are_checked_where_that_is_asked_for():
    f = numba.njit(boundscheck=True)(lambda x, i: x[i])
    compile_so(f)
    assert f(np.arange(3.0), -3) == 0.0
    with pytest.raises(IndexError):
        f(np.arange(3.0), 3)


def test_reshaped_arrays():
    a = np.arange(12.0).reshape(3, 4)
    for made in both(lambda a, n, m: (a.reshape(n * m), a.reshape((n, m)))):
        flat, other = made(a, 2, 6)
        assert flat.base is not None and other.shape == (2, 6) and other.strides == (48, 8)
        flat[0] = -1.0
        assert a[0, 0] == other[0, 0] == -1.0
        with pytest.raises(ValueError, match="negative"):
            made(a, -2, -6)


@pytest.mark.parametrize("shape", [(-1, 2), (2, -1), (2**40, 2**40), (-(2**40), 2**40)])
@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_shapes_that_cannot_be(shape, dtype):
    for made in both(lambda n, m: np.zeros((n, m), dtype)):
        with pytest.raises(ValueError, match="negative dimensions|too big"):
            made(*shape)


def test_memory_that_there_is_not():
    for made in both(lambda n: np.empty(n)):
        with pytest.raises(MemoryError):
            made(2**56)


@pytest.mark.parametrize("y", [2.0, -1.0, math.nan, np.float32(0.1), 3])
@pytest.mark.parametrize("x", [1.0, math.nan, 0.0, 7])
def test_minimum_and_maximum(x, y):
    ours, theirs = both(lambda x, y: (min(x, y), max(x, y), min(y, 2), max(x, 0.5)))
    np.testing.assert_array_equal(ours(x, y), theirs(x, y))
    assert ours.nopython_signatures == theirs.nopython_signatures


@pytest.mark.parametrize("y", [3, -2, 2.5, 0.0])
@pytest.mark.parametrize("x", [2, 7.0, np.float32(0.3), True])
def test_arithmetic(x, y):
    def f(x, y):
        z = x
        z += y
        return z, x - 2, x / y, x * y, x == y, x < 3, y <= 1, (x + y) ** 2, x // 2, -x * y

    ours, theirs = both(f)
    np.testing.assert_array_equal(ours(x, y), theirs(x, y))
    assert ours.nopython_signatures == theirs.nopython_signatures


def test_names_that_only_look_like_numpys():
    class np:
        zeros = staticmethod(numba.njit(lambda n: n + 1))

    made = np.zeros
    ours, _ = both(lambda n: made(n))
    assert ours(1) == 2


def test_a_derivative_is_one_compilation():
    @numba.njit
    def f(x):
        total = 0.0
        for i in range(1, len(x)):
            x[i] += 0.5 * x[i - 1] * x[i]
            total += math.sin(x[i])
        return total

    x = np.linspace(0.1, 1.0, 64)
    gradient = nf.grad(f)
    assert compilations(gradient, x) == 1
    source = nf.source(gradient, x)
    assert "min(" in source and "np.zeros(" in source and "vecmath.cos(" in source


def test_the_garbage_collector_is_left_as_it_was():

    def refused(x):
        return open(x)

    assert gc.isenabled()
    nf.grad(lambda x: x * x)(1.0)
    assert gc.isenabled()
    with pytest.raises(nf.NumbafluxError):
        nf.grad(refused)(1.0)
    assert gc.isenabled()
    gc.disable()
    try:
        nf.grad(lambda x: x * x + 1.0)(1.0)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_machine_code_is_for_the_types_it_was_made_for():
    d = nf.grad(lambda x: x * x)
    d(1.0)
    data = machine_code.dump(d.overloads[numba.float64,], "text")
    result, text = machine_code.load(data, d.targetctx, (numba.float64,))
    assert text == "text" and result.entry_point(3.0) == 6.0
    assert machine_code.load(data, d.targetctx, (numba.float32,)) is None
    assert machine_code.load(data[:-10], d.targetctx, (numba.float64,)) is None
