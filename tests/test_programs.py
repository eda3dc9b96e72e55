"""Every program of the corpus: its value, both modes, differences, second order, side effects.

note [Shared arguments]: an array passed twice has two cotangents, whose sum is the derivative, or
one, counted once.  Written, it would need one shadow under two names: a ValueError.
"""

import math

import numpy as np
import pytest

import numbaflux as nf
from tests import trees
from tests.programs import MODULES, PROGRAMS

FLOAT32 = [p.narrowed() for p in PROGRAMS if p.float32]
SECOND = [
    pytest.param(p, marks=[] if at % 3 == 0 else pytest.mark.slow, id=p.name)
    for at, p in enumerate(PROGRAMS)
]
ARRAY_VALUED = [p for p in PROGRAMS if isinstance(p.interpreted(), np.ndarray)]


def close(actual, expected, rtol):
    """Trees agree within rtol of the largest magnitude."""
    a, b = trees.vector(actual), trees.vector(expected)
    assert a.shape == b.shape
    scale = max(1e-3, np.max(np.abs(b), initial=0.0))
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)


def pairing(args, cotangents, tangents):
    """<cotangents, tangents> and the sum of its magnitudes; see note [Shared arguments]."""
    terms, counted = [], []
    for arg, cotangent, tangent in zip(args, cotangents, tangents, strict=True):
        if tangent is None or any(arg is a and cotangent is c for a, c in counted):
            continue
        counted.append((arg, cotangent))
        terms.extend(trees.vector(cotangent) * trees.vector(tangent))
    return math.fsum(terms), math.fsum(map(abs, terms))


def check_first_order(p, identity, rtol, step):
    """Value, side effects, forward against reverse, both against differences."""
    primal, tangents = p.primal(), trees.tangents(p.args, p.argnums, seed=1)
    args, forward_args, reverse_args = p.fresh(), p.fresh(), p.fresh()
    value = primal(*args)
    cotangent = trees.random_like(value, np.random.default_rng(2))
    out, tangent = nf.jvp(p.f, forward_args, trees.copy(tangents))
    again, cotangents = nf.vjp(p.f, reverse_args, cotangent)
    for result, written in ((out, forward_args), (again, reverse_args)):
        close(result, value, identity)
        close(written, args, identity)

    forward = trees.dot(cotangent, tangent)
    reverse, magnitude = pairing(p.args, cotangents, tangents)
    assert abs(forward - reverse) <= identity * (magnitude + abs(forward))
    approximate = trees.differences(primal, p.args, tangents, step)
    close((tangent,), (approximate,), rtol)


def test_the_corpus_has_no_name_twice():
    names = [p.name for p in PROGRAMS]
    assert len(set(names)) == len(names) > 90
    assert all(module.PROGRAMS for module in MODULES)


@pytest.mark.parametrize("p", PROGRAMS, ids=str)
def test_primal(p):
    args, python_args = p.fresh(), p.fresh()
    value = p.primal()(*args)
    assert np.all(np.isfinite(trees.vector(value)))
    if p.python:
        close(p.interpreted(*python_args), value, 1e-13)
        close(python_args, args, 1e-13)


@pytest.mark.parametrize("p", FLOAT32, ids=str)
def test_float32_primal(p):
    wide = next(q for q in PROGRAMS if p.name == f"{q.name}_float32")
    close(p.primal()(*p.fresh()), wide.primal()(*wide.fresh()), 1e-4)


@pytest.mark.parametrize("p", PROGRAMS, ids=str)
def test_first_order(p):
    single = p.identity > 1e-12
    check_first_order(p, p.identity, rtol=1e-2 if single else 1e-6, step=2e-2 if single else 1e-3)


def twice_written(x, y):
    for i in range(x.size):
        x[i] = x[i] * y[i] + 1.0
    return y[0] * x[1]


def test_an_array_passed_twice_and_written():
    """One array has one shadow, whatever it is called."""
    x = np.array([0.4, 0.9, -0.3])
    gradient = nf.grad(twice_written)(x.copy(), x.copy())
    np.testing.assert_allclose(gradient, [0.0, 0.4 * 0.9, 0.0])
    same = x.copy()
    squares = x**2 + 1.0
    expected = [2 * x[0] * squares[1], 2 * x[1] * squares[0], 0.0]
    np.testing.assert_allclose(nf.grad(twice_written)(same, same), expected)
    both = nf.grad(twice_written, argnums=(0, 1))(*(2 * (x.copy(),)))
    np.testing.assert_allclose(both[0], expected)
    assert both[0] is both[1] or np.array_equal(both[0], both[1])


def test_arrays_that_overlap_in_part_and_are_written_are_refused():
    x = np.array([0.4, 0.9, -0.3])
    with pytest.raises(ValueError, match="overlap"):
        nf.grad(twice_written)(x, x[::-1])


@pytest.mark.parametrize("p", FLOAT32, ids=str)
def test_first_order_in_float32(p):
    check_first_order(p, identity=2e-5, rtol=1e-2, step=2e-2)


@pytest.mark.parametrize("p", FLOAT32, ids=str)
def test_float32_is_kept(p):
    value = p.primal()(*p.fresh())
    _, tangent = nf.jvp(p.f, p.fresh(), trees.tangents(p.args, p.argnums, seed=1))
    _, cotangents = nf.vjp(p.f, p.fresh(), trees.random_like(value, np.random.default_rng(2)))
    for leaf in trees.floats(tuple(cotangents[i] for i in p.argnums)):
        assert not isinstance(leaf, np.ndarray) or leaf.dtype == np.float32
    if isinstance(value, np.ndarray):
        assert tangent.dtype == value.dtype


@pytest.mark.parametrize("p", ARRAY_VALUED, ids=str)
def test_jacobians(p):
    tangents = trees.tangents(p.args, p.argnums, seed=1)
    value, tangent = nf.jvp(p.f, p.fresh(), trees.copy(tangents))
    forward = nf.jacfwd(p.f, argnums=p.argnums)(*p.fresh())
    reverse = nf.jacrev(p.f, argnums=p.argnums)(*p.fresh())
    product = 0.0
    for i, left, right in zip(p.argnums, forward, reverse, strict=True):
        assert left.shape == right.shape == value.shape + np.shape(p.args[i])
        close((left,), (right,), 1e-12)
        product = product + np.tensordot(left, tangents[i], axes=np.ndim(p.args[i]))
    close((product,), (tangent,), 1e-12)


@pytest.mark.parametrize("p", SECOND)
def test_second_order(p):
    scalar = not isinstance(p.primal()(*p.fresh()), (np.ndarray, tuple))
    derivative = (nf.grad if scalar else nf.jacrev)(p.f, argnums=p.argnums)
    tangents = trees.tangents(p.args, p.argnums, seed=3)
    first, second = nf.jvp(derivative, p.fresh(), trees.copy(tangents))
    single = p.identity > 1e-12
    close(first, derivative(*p.fresh()), p.identity)
    approximate = trees.differences(derivative, p.args, tangents, 2e-2 if single else 1e-3)
    close((second,), (approximate,), 1e-2 if single else 1e-6)
