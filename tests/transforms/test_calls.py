"""Functions that call themselves: what their derivatives do, and what is refused."""

import math

import numpy as np
import pytest
from numba import njit

import numbaflux as nf
from tests.transforms.programs import vector


@njit
def geometric(x, n):
    if n == 0:
        return x
    return geometric(x * 0.5, n - 1) + x * x


@njit
def reads(a, i):
    if i == a.size:
        return 0.0
    return a[i] * math.sin(reads(a, i + 1)) + a[i]


@njit
def says(x, n):
    if x > 100.0:
        raise ValueError("too large")
    if n == 0:
        return x
    print("at", n)
    return says(x * x, n - 1) + x


@njit
def exchanges(p, q, n):
    if n > 0:
        p[0] = p[0] * q[1] + 0.3
        exchanges(q, p, n - 1)


def test_what_is_linear_is_not_run_again():
    text = nf.source(nf.grad(geometric), 0.5, 3)
    assert "def pullback_geometric(" in text
    assert "def geometric(" not in text


def test_an_array_that_is_only_read_is_not_copied():
    text = nf.source(nf.grad(reads), vector(0.5, 0.3, 0.2), 0)
    assert text.count("np.zeros(") == 1  # the gradient
    second = nf.source(nf.jacrev(nf.grad(reads)), vector(0.5, 0.3, 0.2), 0)
    assert "] += a[" not in second


def test_effects_happen_once(capfd):
    value, gradient = nf.value_and_grad(says)(0.7, 2)
    assert capfd.readouterr().out.split() == ["at", "2", "at", "1"]
    assert (value, gradient) == pytest.approx((0.7**4 + 0.7**2 + 0.7, 4 * 0.7**3 + 2 * 0.7 + 1))
    with pytest.raises(ValueError, match="too large"):
        nf.grad(says)(11.0, 2)
    capfd.readouterr()
    assert nf.jvp(says, (0.7, 2), (1.0, None)) == pytest.approx((value, gradient))
    assert capfd.readouterr().out.split() == ["at", "2", "at", "1"]


def test_the_gradient_of_the_gradient():
    x = vector(0.4, -0.7, 0.2)
    hessian = nf.hessian(reads)(x, 0)
    np.testing.assert_allclose(nf.jacrev(nf.grad(reads))(x, 0), hessian, rtol=1e-13)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-13)
    v = vector(1.0, 2.0, -1.0)
    np.testing.assert_allclose(nf.hvp(reads, (x, 0), (v, None))[0], hessian @ v, rtol=1e-13)


def test_arguments_that_overlap():
    def same(x, n):
        exchanges(x[:2], x[1:], n)
        return x[0]

    def apart(x, n):
        exchanges(x[:2], x[2:], n)
        return x[0]

    x = np.array([0.3, 0.5, 0.2, 0.7])
    with pytest.raises(ValueError, match="of exchanges overlap, and one is written"):
        nf.grad(same)(x.copy(), 3)
    e = 1e-6 * np.eye(4)
    slopes = [(apart(x + d, 3) - apart(x - d, 3)) / 2e-6 for d in e]
    np.testing.assert_allclose(nf.grad(apart)(x.copy(), 3), slopes, rtol=1e-6, atol=1e-9)


def test_single_precision_and_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBAFLUX_CACHE_DIR", str(tmp_path))
    slope = nf.grad(geometric, cache=True)(np.float32(0.5), 3)
    assert list(tmp_path.glob("grad_geometric_*.py"))
    assert slope == pytest.approx(nf.grad(geometric)(0.5, 3), rel=1e-6)


def refusal(f, *args):
    with pytest.raises(nf.UnsupportedError) as caught:
        nf.grad(f)(*args)
    assert caught.value.loc.file == __file__
    return caught.value.what


def test_refused():
    @njit
    def array(x, n):
        return x if n == 0 else array(x * 2.0, n - 1)

    @njit
    def draws(x, n):
        return x if n == 0 else draws(x, n - 1) * np.random.random()

    @njit
    def named(x, n, kind):
        return x if n == 0 else named(x, n - 1, kind) * x

    assert refusal(lambda x: array(x, 2)[0], vector(1.0)) == (
        "the recursion of `array`, which returns an array"
    )
    assert "has an effect (`random`)" in refusal(draws, 0.5, 2)
    assert "as an argument of a function that calls itself" in refusal(named, 0.5, 2, "sin")
    value, tangent = nf.jvp(draws, (0.5, 2), (1.0, None))
    assert tangent == pytest.approx(value / 0.5)
