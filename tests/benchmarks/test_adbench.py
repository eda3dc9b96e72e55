"""The ADBench objectives: their values and derivatives against independent ones."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

import numbaflux as nf
from benchmarks.adbench import ba, ht, lstm
from tests.benchmarks import adbench_numpy as reference


class Case(NamedTuple):
    """An objective, what it must equal, its arguments, and which to differentiate."""

    f: Any
    expected: Any
    args: tuple
    argnums: tuple[int, ...]


CASES = {
    "ba": Case(ba.objective, reference.ba, ba.inputs(), ba.ARGNUMS),
    "lstm": Case(lstm.objective, reference.lstm, lstm.inputs(), lstm.ARGNUMS),
    "ht": Case(ht.objective, reference.ht, ht.inputs(), ht.ARGNUMS),
    "ht_on_surface": Case(
        ht.objective_on_surface, reference.ht_on_surface, ht.surface_inputs(), (0, 1)
    ),
}
SCALAR = ("lstm",)
VECTOR = ("ba", "ht", "ht_on_surface")


def complex_step(f, args, argnum):
    """The derivative of f with respect to args[argnum], shape out.shape + arg.shape."""
    arg = args[argnum]
    columns = []
    for index in np.ndindex(arg.shape):
        moved = arg.astype(complex)
        moved[index] += 1e-200j
        out = f(*args[:argnum], moved, *args[argnum + 1 :])
        columns.append(np.imag(out) * 1e200)
    return np.stack(columns, axis=-1).reshape(np.shape(columns[0]) + arg.shape)


@pytest.mark.parametrize("name", CASES)
def test_value(name):
    f, expected, args, _ = CASES[name]
    np.testing.assert_allclose(f(*args), expected(*args), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("module", [ba, lstm, ht])
def test_inputs_follow_seed_and_size(module):
    first, again, other = (module.inputs("small", seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert all(isinstance(size, tuple) for size in module.SIZES.values())


def test_a_camera_that_does_not_turn():
    cameras, points, weights, observed, features = ba.inputs()
    tiny = cameras.copy()
    tiny[:, :3] = 1e-9
    cameras[:, :3] = 0.0
    exact = ba.objective(cameras, points, weights, observed, features)
    np.testing.assert_allclose(
        exact, reference.ba(tiny, points, weights, observed, features), rtol=1e-6
    )


def test_one_block_of_the_bundle_is_a_residual():
    cameras, points, weights, observed, features = args = ba.inputs()
    camera, point = observed[3]
    block = ba.residual(cameras[camera], points[point], weights[3], features[3])
    np.testing.assert_array_equal(block, ba.objective(*args)[6:8])


@pytest.mark.parametrize("name", SCALAR)
def test_gradient(name):
    f, expected, args, argnums = CASES[name]
    gradients = nf.grad(f, argnums=argnums)(*args)
    for argnum, gradient in zip(argnums, gradients, strict=True):
        exact = complex_step(expected, args, argnum)
        np.testing.assert_allclose(gradient, exact, rtol=1e-6, atol=1e-10)


def every_jacobian():
    """Hand tracking by forward mode is in GradBench's sessions too."""
    for name in VECTOR:
        for transform in ("jacfwd", "jacrev"):
            quick = (name, transform) in {("ba", "jacfwd"), ("ba", "jacrev"), ("ht", "jacrev")}
            yield pytest.param(name, transform, marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize("name, transform", list(every_jacobian()))
def test_jacobian(name, transform):
    f, expected, args, argnums = CASES[name]
    for argnum in argnums:
        jacobian = getattr(nf, transform)(f, argnums=argnum)(*args)
        exact = complex_step(expected, args, argnum)
        np.testing.assert_allclose(jacobian, exact, rtol=1e-6, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_forward_against_reverse(name):
    f, _, args, argnums = CASES[name]
    random = np.random.default_rng(5)
    tangents = tuple(
        random.standard_normal(arg.shape) if i in argnums else None for i, arg in enumerate(args)
    )
    value, tangent = nf.jvp(f, args, tangents)
    cotangent = random.standard_normal(np.shape(value)) if np.ndim(value) else 1.3
    _, cotangents = nf.vjp(f, args, cotangent)
    forward = np.sum(np.multiply(cotangent, tangent))
    reverse = math.fsum(np.sum(cotangents[i] * tangents[i]) for i in argnums)
    assert forward == pytest.approx(reverse, rel=1e-11, abs=1e-12)
