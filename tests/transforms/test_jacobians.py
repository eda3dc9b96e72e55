"""Jacobians with lanes: against one column a run (`chunk=1`), reverse mode and differences."""

import math

import numba
import numpy as np
import pytest

import numbaflux as nf
from tests import trees


def close(found, expected, rtol=1e-13):
    a, b = trees.vector(found), trees.vector(expected)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.max(np.abs(b), initial=1.0))


def chain(x, y):
    """Every output depends on some inputs only, so that there are zeros in the Jacobian."""
    out = np.empty(len(x) + 1)
    out[-1] = y
    for i in range(len(x)):
        out[i] = math.sin(x[i]) * x[i - 1] + math.sqrt(1.0 + x[i] * x[i]) / (2.0 + y)
    return out


def matrices(a, b):
    return a @ b + np.sin(a.T), (a * b).sum()


def overwritten(x):
    for i in range(1, len(x)):
        x[i] *= x[i - 1]
    return x[-1] * x


def newton(x):
    """A loop of unknown length: reverse mode keeps its states on a tape that grows."""
    total = 0.0
    for i in range(len(x)):
        y = x[i]
        while abs(y * y - x[i]) > 1e-12:
            y = 0.5 * (y + x[i] / y)
        total += y * x[i - 1]
    return total


def rows(x):
    kept = []
    for i in range(len(x)):
        kept.append(x * x[i])
    return kept[1] + kept[-1]


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 33])
def test_any_number_of_columns(n):
    x = np.random.default_rng(n).random(n)
    found = nf.jacfwd(chain, (0, 1))(x, 0.5)
    close(found, nf.jacfwd(chain, (0, 1), chunk=1)(x, 0.5))
    close(found, nf.jacrev(chain, (0, 1))(x, 0.5), 1e-12)


@pytest.mark.parametrize("chunk", [2, 8, 32, 64])
def test_any_number_of_lanes(chunk):
    x = np.random.default_rng(0).random(19)
    found = nf.jacfwd(chain, (1, 0), chunk=chunk)(x, 0.5)
    close(found, nf.jacfwd(chain, (1, 0), chunk=1)(x, 0.5))


def test_against_differences():
    x = np.random.default_rng(1).random(5)
    jacobian = nf.jacfwd(chain)(x, 0.5)
    steps = 1e-6 * np.eye(5)
    columns = [(chain(x + h, 0.5) - chain(x - h, 0.5)) / 2e-6 for h in steps]
    close(jacobian, np.array(columns).T, 1e-8)


def test_matrices_of_any_layout():
    rng = np.random.default_rng(2)
    a, b = rng.random((5, 5)), rng.random((5, 5))
    expected = nf.jacfwd(matrices, (0, 1), chunk=1)(a, b)
    strided = rng.random((5, 10))[:, ::2]
    strided[:] = b
    for left, right in ((a, b), (np.asfortranarray(a), b), (a, strided)):
        close(nf.jacfwd(matrices, (0, 1))(left, right), expected)


@pytest.mark.parametrize("f", [overwritten, rows])
def test_memory(f):
    x = np.random.default_rng(3).random(7) + 0.5
    args, others = x.copy(), x.copy()
    found = nf.jacfwd(f)(args)
    close(found, nf.jacfwd(f, chunk=1)(others))
    close(args, others)
    close(found, nf.jacrev(f)(x.copy()), 1e-12)


def energy(x):
    kept = x.copy()
    total = 0.0
    for i in range(1, len(kept)):
        kept[i] *= kept[i - 1] + math.exp(x[i])
        total += kept[i] * kept[i]
    return total


@pytest.mark.parametrize("f", [newton, energy])
def test_hessians(f):
    x = np.random.default_rng(4).random(5) + 0.5
    found = nf.hessian(f)(x)
    close(found, nf.hessian(f, chunk=1)(x), 1e-12)
    close(found, found.T, 1e-10)


def test_single_precision_stays_single():
    x = np.random.default_rng(5).random(9).astype(np.float32)
    found = nf.jacfwd(chain)(x, np.float32(0.5))
    assert found.dtype == np.float64  # what `chain` returns
    close(found, nf.jacfwd(chain, chunk=1)(x, np.float32(0.5)), 1e-6)
    squares = nf.jacfwd(lambda x: x * x)(x)
    assert squares.dtype == np.float32
    close(squares, np.diag(2 * x), 1e-6)


def many_scalars(a, b, c):
    return np.array([a * b, math.exp(c) / a, b - c * c]), a * c


def test_scalars_are_lanes_of_one_run():
    args = (1.5, 0.5, 2.0)
    found = nf.jacfwd(many_scalars, (0, 1, 2))(*args)
    close(found, nf.jacfwd(many_scalars, (0, 1, 2), chunk=1)(*args))
    close(found, nf.jacfwd(many_scalars, (0, 1, 2), chunk=2)(*args))
    source = nf.source(nf.jacfwd(many_scalars, (0, 1, 2)), *args)
    assert source.count("math.exp") == 1
    assert "lanes.unit(2, 4)" in source


def test_effects_happen_once(capfd):
    @numba.njit
    def noisy(a, b, x):
        print("once")
        x[0] += a
        return a * b * x[0]

    x = np.ones(1)
    da, db = nf.jacfwd(noisy, (0, 1))(2.0, 3.0, x)
    assert (da, db, x[0]) == (15.0, 6.0, 3.0)
    x = np.ones(1)
    (dx,) = nf.jacfwd(noisy, (2,))(2.0, 3.0, x)
    assert (dx.tolist(), x[0]) == ([6.0], 3.0)
    assert capfd.readouterr().out.count("once") == 2


def test_an_infinite_partial_of_no_tangent_is_zero():
    def f(x):
        return np.array([math.sqrt(0.0 * x[0]) + x[1], x[0]])

    found = nf.jacfwd(f)(np.array([1.0, 2.0]))
    assert found.tolist() == nf.jacfwd(f, chunk=1)(np.array([1.0, 2.0])).tolist()
    assert found.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_a_parallel_loop_may_carry_tangents():
    @numba.njit(parallel=True)
    def f(x):
        total, out = 0.0, np.empty(len(x))
        for i in numba.prange(len(x)):
            out[i] = x[i] * x[i]
            total += out[i]
        out[0] = total
        return out

    x = np.random.default_rng(6).random(20)
    close(nf.jacfwd(f)(x), nf.jacrev(f)(x))


def test_what_is_compiled_with_lanes_can_be_differentiated():
    x = np.random.default_rng(7).random(3)

    def determinant(x):
        j = nf.jacfwd(lambda z: np.array([z[0] * z[1], math.sin(z[1]), z[2] * z[0]]))(x)
        return j[0, 0] * j[1, 1] * j[2, 2]

    expected = np.array(
        [-(x[1] ** 2) * 0.0 + x[1] * np.cos(x[1]), x[0] * (np.cos(x[1]) - x[1] * np.sin(x[1])), 0.0]
    )
    close(nf.grad(determinant)(x), expected)
    close(nf.jacfwd(nf.jacfwd(chain))(x, 0.5), nf.jacrev(nf.jacrev(chain))(x, 0.5), 1e-12)


def test_rules_of_the_users_have_no_lanes():
    @nf.custom_jvp
    def twice(x):
        return 2.0 * x

    @twice.defjvp
    def _(primals, tangents):
        return 2.0 * primals[0], 7.0 * tangents[0]

    def f(x):
        return np.array([twice(x[0]), x[1]])

    assert nf.jacfwd(f)(np.ones(2)).tolist() == [[7.0, 0.0], [0.0, 1.0]]


def test_inside_njit():
    f = numba.njit(lambda x: x * x)

    @numba.njit
    def trace(x):
        j = nf.jacfwd(f, chunk=8)(x)
        return j[0, 0] + j[1, 1]

    assert trace(np.array([1.0, 2.0, 3.0])) == 6.0


@pytest.mark.parametrize("chunk", [0, 3, 128, 1.5, "8"])
def test_chunks_are_powers_of_two(chunk):
    with pytest.raises(TypeError, match="chunk is one of 1, 2, 4, 8, 16, 32, 64"):
        nf.jacfwd(chain, chunk=chunk)


def two_of_many(x):
    return np.array([x.sum(), (x * x).sum()])


@pytest.mark.parametrize(
    ("f", "args", "argnums", "forward"),
    [
        (chain, (np.ones(3), 1.0), (0,), True),
        (two_of_many, (np.ones(3),), (0,), False),
        (many_scalars, (1.0, 1.0, 1.0), (0, 1, 2), True),
        (lambda x, y: x * y, (1.0, 1.0), (0, 1), True),
        (lambda x: x.sum(), (np.ones(3),), (0,), False),
    ],
)
def test_the_mode_follows_from_the_price(f, args, argnums, forward):
    found = nf.jacobian(f, argnums)
    source, chosen = nf.source(found, *args), nf.jacfwd if forward else nf.jacrev
    expected = nf.source(chosen(f, argnums), *args)
    assert source == expected.replace(chosen.__name__, "jacobian")
