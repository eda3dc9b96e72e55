"""Vectors with named parts, in Python, in compiled code and in derivatives."""

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

import numbaflux as nf

LAYOUT = nf.Layout.of("Net", l1={"W": (2, 3), "b": (3,)}, l2={"W": (2, 3), "b": (3,)}, c=())


@numba.njit
def layer(P, x):
    out = np.empty(P.b.shape[0])
    for j in range(out.size):
        out[j] = P.b[j]
        for i in range(x.size):
            out[j] += x[i] * P.W[i, j]
    return out


@numba.njit
def model(p, x):
    P = LAYOUT.unpack(p)
    return P.c * np.sum(layer(P.l1, x) * layer(P.l2, x)) / LAYOUT.size


@pytest.fixture
def p():
    return np.random.default_rng(0).normal(size=LAYOUT.size)


X = np.array([0.3, -1.2])


def by_numpy(p, x):
    P = LAYOUT.unpack(p)
    return P.c * np.sum((x @ P.l1.W + P.l1.b) * (x @ P.l2.W + P.l2.b)) / LAYOUT.size


def test_parts_are_views(p):
    P = LAYOUT.unpack(p)
    P.l2.W[1, 2] = 7.0
    assert p[14] == 7.0
    assert [(name, start) for name, start, _ in LAYOUT.leaves()] == [
        ("l1.W", 0), ("l1.b", 6), ("l2.W", 9), ("l2.b", 15), ("c", 18),
    ]  # fmt: skip


def test_compiled_code_sees_the_same(p):
    np.testing.assert_allclose(model(p, X), by_numpy(p, X), rtol=1e-14)


def test_layers_of_one_shape_are_compiled_once(p):
    model(p, X)
    assert len(layer.signatures) == 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradient(p, dtype):
    p = p.astype(dtype)
    d_p = nf.grad(model)(p, X)
    assert d_p.dtype == dtype
    shifted = p + 1e-20j * np.eye(len(p))  # complex steps
    expected = [by_numpy(row, X).imag / 1e-20 for row in shifted]
    np.testing.assert_allclose(d_p, expected, rtol=1e-13 if dtype is np.float64 else 1e-5)


def test_forward_against_reverse_and_second_order(p):
    nf.check_grads(model, (p, X))


def test_parts_can_be_written(p):
    def scaled(p):
        p = p.copy()
        P = LAYOUT.unpack(p)
        P.l1.W[0, 1] *= p[2]
        return p.sum() + P.l1.W[0, 1] ** 2

    nf.check_grads(scaled, (p,))


def test_an_argument_can_be_the_layout(p):
    @numba.njit
    def total(layout, p):
        return np.sum(layout.unpack(p).l2.b ** 2)

    np.testing.assert_allclose(nf.grad(total, argnums=1)(LAYOUT, p)[15:18], 2 * p[15:18])


def test_the_length_is_looked_at(p):
    for f in (model, nf.grad(model)):
        with pytest.raises(ValueError, match="Net has 19 parameters"):
            f(p[:-1].copy(), X)


@pytest.mark.parametrize("wrong", [np.zeros((19, 1)), np.zeros(38)[::2], np.zeros(19, int)])
def test_what_is_no_vector_of_floats_is_refused(wrong):
    with pytest.raises(TypingError, match="contiguous vector of floats"):
        model(wrong, X)
    with pytest.raises(nf.UnsupportedError, match="unpack"):
        nf.grad(lambda q: LAYOUT.unpack(wrong).c * q)(1.0)


def test_what_is_unpacked_may_be_an_expression(p):
    @numba.njit
    def doubled(p):
        return np.sum(LAYOUT.unpack(2.0 * p).l2.b ** 2)

    np.testing.assert_allclose(nf.grad(doubled)(p)[15:18], 8.0 * p[15:18])


def test_an_unknown_name_is_refused(p):
    @numba.njit
    def misspelt(p):
        return LAYOUT.unpack(p).l3.b[0]

    with pytest.raises(nf.UnsupportedError, match="l3"):
        nf.grad(misspelt)(p)


def test_the_type_of_a_number_makes_a_number():
    @numba.njit
    def halved(x):
        return type(x)(0.5) * x * x

    d = nf.grad(halved)(np.float32(3.0))
    assert d == 3.0 and "float64" not in nf.source(nf.grad(halved), np.float32(3.0))


def test_rows_of_an_array_of_three_axes_can_be_reshaped():
    """Numba takes h[-1] to be contiguous, h[-1, :, :] not."""

    def ends(s):
        h = np.zeros((3, 2, 4))
        for t in range(3):
            h[t] = s[t] ** 2
        last, first = h[-1].reshape(8), h[:2].reshape(16)
        return np.sum(last**2) + np.sum(first)

    s = np.random.default_rng(1).normal(size=(3, 2, 4))
    expected = np.concatenate([2.0 * s[:2], 4.0 * s[2:] ** 3])
    np.testing.assert_allclose(nf.grad(ends)(s), expected, rtol=1e-13)
