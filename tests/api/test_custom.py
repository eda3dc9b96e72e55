"""Rules of the user's own, in both modes, nested, in loops, with memory that changes."""

import math

import numpy as np
import pytest
from numba import njit

import numbaflux as nf


@nf.custom_jvp
def softplus(x):
    return math.log(1.0 + math.exp(x))


@softplus.defjvp
def softplus_rule(primals, tangents):
    x, dx = primals[0], tangents[0]
    return softplus(x), dx / (1.0 + math.exp(-x))


@nf.custom_vjp
def clipped(x):
    return x


clipped.defvjp(lambda x: (x, None), lambda kept, ct: (min(max(ct, -1.0), 1.0),))


@nf.custom_jvp
def scaled(a, s):
    return a * s


@scaled.defjvp
def scaled_rule(primals, tangents):
    a, s = primals
    da, ds = tangents
    return a * s, da * s + a * ds


@nf.custom_vjp
def norm2(a, power):
    return np.sum(a**2)


norm2.defvjp(
    lambda a, power: (np.sum(a**2), (a, power)),
    lambda kept, ct: (2.0 * ct * kept[0] * kept[1], None),
)


@njit
def uses_memory(a, s):
    a[0] = a[1] * s
    b = scaled(a, s)
    a[:] = 0.0
    return np.sum(b * b)


@njit
def in_a_loop(a):
    total = 0.0
    for i in range(len(a)):
        total += softplus(a[i]) * clipped(a[i])
    return total


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def test_the_function_itself():
    assert softplus(0.0) == math.log(2.0)
    assert clipped(3.0) == 3.0


@pytest.mark.parametrize("x", [-1.0, 0.0, 2.0])
def test_custom_jvp(x):
    s = sigmoid(x)
    assert nf.jvp(softplus, (x,), (2.0,)) == pytest.approx((softplus(x), 2 * s), rel=1e-14)
    assert nf.grad(softplus)(x) == pytest.approx(s, rel=1e-14)
    assert nf.grad(nf.grad(softplus))(x) == pytest.approx(s * (1 - s), rel=1e-14)
    assert nf.hvp(softplus, (x,), (1.0,))[0] == pytest.approx(s * (1 - s), rel=1e-14)


def test_custom_vjp():
    assert nf.grad(lambda x: 100.0 * clipped(x))(2.0) == 1.0
    a = np.array([1.0, 2.0])
    np.testing.assert_allclose(nf.grad(norm2)(a, 3), 6.0 * a)  # the rule, not the derivative


def test_custom_vjp_has_no_forward_mode():
    with pytest.raises(nf.UnsupportedError, match="custom_jvp"):
        nf.jvp(clipped, (1.0,), (1.0,))


def test_in_a_loop():
    a = np.array([0.3, -2.0, 5.0])
    expected = [sigmoid(x) * x + min(max(math.log(1 + math.exp(x)), -1.0), 1.0) for x in a]
    np.testing.assert_allclose(nf.grad(in_a_loop)(a), expected, rtol=1e-14)


def test_arrays_that_change_afterwards():
    a = np.array([1.0, 2.0])
    nf.check_grads(uses_memory, (a, 3.0), order=2)
    gradient = nf.grad(uses_memory, (0, 1))(a.copy(), 3.0)
    np.testing.assert_allclose(gradient[0], [0.0, 2 * 2.0 * 3.0**2 * (1 + 3.0**2)])


def test_a_rule_of_the_wrong_structure_is_refused():
    @nf.custom_vjp
    def f(x, y):
        return x * y

    f.defvjp(lambda x, y: (x * y, None), lambda kept, ct: (ct,))
    with pytest.raises(nf.NotDifferentiableError, match="cotangent for each argument"):
        nf.grad(f)(1.0, 2.0)


def test_a_function_that_writes_has_no_rule():
    @nf.custom_jvp
    def f(x):
        x[0] = 1.0
        return x[1]

    @f.defjvp
    def rule(primals, tangents):
        return primals[0][1], tangents[0][1]

    with pytest.raises(nf.UnsupportedError, match="writes"):
        nf.grad(f)(np.ones(2))


def prints(x):
    print(x)
    return x * x


def draws(x):
    return x * np.random.random()


def raises(x):
    if x < 0.0:
        raise ValueError("negative")
    return x * x


@njit
def counts_down(x, n):
    if n == 0:
        print(n)
        return x
    return 2.0 * counts_down(x, n - 1)


def calls(x):
    return counts_down(x, 3)


@pytest.mark.parametrize(
    ("f", "what", "line"),
    [
        (prints, "prints", 1),
        (draws, "draws random numbers (`random`)", 1),
        (raises, "raises ValueError", 2),
        (calls, "prints", -5),
    ],
)
def test_a_function_with_effects_has_no_rule(f, what, line):
    by_jvp, by_vjp, by_fwd = nf.custom_jvp(f), nf.custom_vjp(f), nf.custom_vjp(lambda x: x * x)
    by_jvp.defjvp(lambda primals, tangents: (primals[0], tangents[0]))
    by_vjp.defvjp(lambda x: (x, None), lambda kept, ct: (ct,))
    effect = njit(f)
    by_fwd.defvjp(lambda x: (effect(x), None), lambda kept, ct: (ct,))
    for ruled in (by_jvp, by_vjp, by_fwd):
        with pytest.raises(nf.UnsupportedError) as caught:
            nf.grad(ruled)(2.0)
        assert caught.value.what.endswith(f"`, which {what}")
        assert caught.value.loc.line == f.__code__.co_firstlineno + line


def test_what_numba_checks_is_no_effect():
    @nf.custom_vjp
    def inverse(x):
        return 1.0 / x

    inverse.defvjp(lambda x: (1.0 / x, x), lambda x, ct: (-ct / (x * x),))
    assert nf.grad(inverse)(2.0) == -0.25


def test_stop_gradient():
    assert nf.grad(lambda x: x * nf.stop_gradient(x))(3.0) == 3.0
    a = np.array([3.0, 4.0])
    np.testing.assert_array_equal(nf.grad(lambda x: np.sum(x * nf.stop_gradient(x)))(a), a)
    np.testing.assert_array_equal(njit(lambda x: nf.stop_gradient(x))(a), a)
