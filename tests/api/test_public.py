"""The public face: what comes back, in which structure, and what is refused with which words."""

import math
from collections import namedtuple
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit

import numbaflux as nf

Pair = namedtuple("Pair", "a b")


class Model(NamedTuple):
    weights: np.ndarray
    rate: float


def product(x, y, z):
    return x * y * y * z * z * z


def weighted(x, w):
    s = 0.0
    for i in range(len(x)):
        s += w * x[i] * x[i]
    return s


def rows(x, a):
    out = np.zeros((2, 3))
    for i in range(2):
        for j in range(3):
            out[i, j] = a[i] * x[j] * x[j]
    return out


def polynomial(x):
    return 3 * x**2 + 2 * x + 1


X, W = np.array([1.0, 2.0, 3.0]), 0.5

# ---- argnums -----------------------------------------------------------------------------------


def test_partials_of_a_product():
    x, y, z = 2.0, 3.0, 2.0
    expected = (y**2 * z**3, 2 * x * y * z**3, 3 * x * y**2 * z**2)
    for n in range(3):
        assert nf.grad(product, n)(x, y, z) == expected[n]
        assert nf.grad(product, n - 3)(x, y, z) == expected[n]
        assert nf.grad(product, (n,))(x, y, z) == (expected[n],)
    assert nf.grad(product, argnums=(2, 0))(x, y, z) == (expected[2], expected[0])
    assert nf.grad(product, argnums=(-1, 1))(x, y, z) == (expected[2], expected[1])
    value, gradient = nf.value_and_grad(product, argnums=(1, 2))(x, y, z)
    assert (value, gradient) == (product(x, y, z), expected[1:])


@pytest.mark.parametrize("argnums", [3, -4, (0, 5)])
def test_argnums_out_of_range(argnums):
    with pytest.raises(TypeError, match="argnums=(.|\n)*3 argument"):
        nf.grad(product, argnums)(1.0, 2.0, 3.0)


@pytest.mark.parametrize("argnums", [(), (0, "x"), ("x",)])
def test_argnums_of_a_wrong_kind(argnums):
    with pytest.raises(TypeError, match="argnums is an int or a tuple of ints"):
        nf.grad(product, argnums)


def test_what_is_not_a_function():
    for f in (math.sin, np.sin, partial(product, 1.0), "f"):
        with pytest.raises(TypeError, match="grad.. takes a function, not"):
            nf.grad(f)


def test_argnums_may_be_any_integer():
    assert nf.grad(product, argnums=np.int64(1))(1.0, 2.0, 3.0) == 108.0
    assert nf.grad(product, argnums=[np.int32(1), 0])(1.0, 2.0, 3.0) == (108.0, 108.0)


# ---- structures --------------------------------------------------------------------------------


def test_a_gradient_has_the_structure_of_its_argument():
    def f(model, pair, nested):
        (u, v), w = nested
        return np.sum(model.weights) * model.rate + pair.a * pair.b + u * v[0] * w

    args = (Model(X, 2.0), Pair(3.0, 4.0), ((5.0, X), 6.0))
    model, pair, nested = nf.grad(f, argnums=(0, 1, 2))(*args)
    assert isinstance(model, Model) and isinstance(pair, Pair)
    assert model.weights.tolist() == [2.0, 2.0, 2.0] and model.rate == 6.0
    assert pair == Pair(4.0, 3.0)
    (u, v), w = nested
    assert (u, v.tolist(), w) == (6.0, [30.0, 0.0, 0.0], 5.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_and_dtype_are_kept(dtype):
    def f(x):
        return (x * x).sum()

    for shape in ((3,), (2, 3), (2, 1, 3), (2, 1, 3, 2)):
        x = np.arange(math.prod(shape), dtype=dtype).reshape(shape)
        gradient = nf.grad(f)(x)
        assert gradient.dtype == dtype and gradient.shape == shape
        np.testing.assert_array_equal(gradient, 2 * x)


def test_jacobians_have_the_shape_out_then_arg():
    a = np.array([2.0, 5.0])
    by_x = np.zeros((2, 3, 3))
    by_a = np.zeros((2, 3, 2))
    for i in range(2):
        for j in range(3):
            by_x[i, j, j], by_a[i, j, i] = 2 * a[i] * X[j], X[j] ** 2
    for jacobian in (nf.jacfwd, nf.jacrev, nf.jacobian):
        np.testing.assert_allclose(jacobian(rows)(X, a), by_x, rtol=1e-15)
        both = jacobian(rows, argnums=(1, 0))(X, a)
        assert isinstance(both, tuple)
        np.testing.assert_allclose(both[0], by_a, rtol=1e-15)
        np.testing.assert_allclose(both[1], by_x, rtol=1e-15)


def test_jacobians_of_scalars():
    for jacobian in (nf.jacfwd, nf.jacrev, nf.jacobian):
        assert jacobian(polynomial)(2.0) == 14.0
        assert jacobian(weighted)(X, W).tolist() == X.tolist()
        assert jacobian(lambda x: x * X)(2.0).tolist() == X.tolist()


def test_hessians():
    def f(x):
        return x[0, 0] ** 2 * x[1, 1] + x[0, 1]

    x = np.array([[3.0, 1.0], [2.0, 5.0]])
    hessian = nf.hessian(f)(x)
    assert hessian.shape == (2, 2, 2, 2)
    expected = np.zeros((2, 2, 2, 2))
    expected[0, 0, 0, 0] = 10.0
    expected[0, 0, 1, 1] = expected[1, 1, 0, 0] = 6.0
    np.testing.assert_allclose(hessian, expected)
    assert nf.hessian(polynomial)(2.0) == 6.0
    (xx, xw), (wx, ww) = nf.hessian(weighted, argnums=(0, 1))(X, W)
    np.testing.assert_allclose(xx, 2 * W * np.eye(3))
    np.testing.assert_allclose(xw, 2 * X)
    np.testing.assert_allclose(wx, 2 * X)
    assert ww == 0.0


# ---- jvp, vjp, hvp -----------------------------------------------------------------------------


def integer_power(x, n, label):
    return x**n if label == "power" else x


def test_pairs_have_an_entry_for_every_argument():
    args = (2.0, 3, "power")
    for constant in (None, 0):
        assert nf.jvp(integer_power, args, (1.0, constant, None)) == (8.0, 12.0)
        assert nf.hvp(integer_power, args, (1.0, constant, None)) == (12.0, None, None)
    assert nf.vjp(integer_power, args, 10.0) == (8.0, (120.0, None, None))


def test_a_constant_argument_may_be_an_array():
    assert nf.jvp(weighted, (X, W), (None, 1.0)) == (7.0, 14.0)
    by_x, by_w = nf.hvp(weighted, (X, W), (None, 1.0))
    assert by_x is None and by_w == 0.0
    out, tangent = nf.jvp(weighted, (X, W), (X, None))
    assert (out, tangent) == (7.0, 14.0)


def test_a_tangent_of_a_constant_that_is_not_zero_is_refused():
    with pytest.raises(ValueError, match="argument n is constant"):
        nf.jvp(lambda x, n: x[n], (X, 1), (X, 1))


def test_the_cotangent_is_structured_as_the_output():
    def f(x, y):
        return x * y, Pair(x, (y * y, X * x))

    cotangents = (1.0, Pair(10.0, (100.0, np.ones(3))))
    out, cts = nf.vjp(f, (2.0, 3.0), cotangents)
    assert out[0] == 6.0 and isinstance(out[1], Pair)
    assert cts == (3.0 + 10.0 + 6.0, 2.0 + 600.0)
    _, partly = nf.vjp(f, (2.0, 3.0), (1.0, None))
    assert partly == (3.0, 2.0)
    out, tangent = nf.jvp(f, (2.0, 3.0), (1.0, 0.0))
    assert tangent[0] == 3.0 and isinstance(tangent[1], Pair)
    assert tangent[1].b[1].tolist() == X.tolist()
    with pytest.raises(TypeError, match="cotangent is not structured like the output"):
        nf.vjp(f, (2.0, 3.0), (1.0, 2.0, 3.0))


def test_wrong_tangents():
    with pytest.raises(TypeError, match=r"2 tangent.s. for 3 argument"):
        nf.jvp(product, (1.0, 2.0, 3.0), (1.0, 2.0))
    with pytest.raises(TypeError, match="does not have the structure"):
        nf.jvp(weighted, (X, W), (np.ones((3, 3)), None))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="tangent of argument x does not have the shape"):
        nf.jvp(weighted, (X, W), (np.ones(2), None))
    with pytest.raises(ValueError, match="cotangent does not have the shape"):
        nf.vjp(lambda x: 2.0 * x, (X,), np.ones(2))
    for transform in (nf.adjoint, nf.tangent):
        with pytest.raises(ValueError, match="shadow of argument x does not have the shape"):
            transform(weighted)(nf.Dup(X, np.ones(2)), W)


def test_primals_and_tangents_are_tuples():
    with pytest.raises(TypeError, match="vjp: primals is a tuple"):
        nf.vjp(polynomial, 2.0, 1.0)
    for transform in (nf.jvp, nf.hvp):
        with pytest.raises(TypeError, match="tangents is a tuple"):
            transform(polynomial, (2.0,), 1.0)


def test_pairs_inside_njit():
    f = njit(weighted)

    @njit
    def inside(x, w):
        return (
            nf.jvp(f, (x, w), (x, None)),
            nf.vjp(f, (x, w), 2.0),
            nf.hvp(f, (x, w), (x, 0.0)),
        )

    forward, (value, (by_x, by_w)), (second, mixed) = inside(X, W)
    assert forward == (7.0, 14.0)
    assert value == 7.0 and by_w == 28.0
    np.testing.assert_allclose(by_x, 2 * 2 * W * X)
    np.testing.assert_allclose(second, 2 * W * X)
    assert mixed == 28.0


# ---- integers ----------------------------------------------------------------------------------


def test_integers_count_as_floats():
    df = nf.grad(polynomial)
    assert df(2) == 14.0 and type(df(2)) is float
    assert nf.value_and_grad(polynomial)(2) == (17.0, 14.0)
    assert nf.grad(df)(2) == nf.hessian(polynomial)(2) == 6.0
    assert nf.grad(product, argnums=(0, 2))(1, 2, 3) == (108.0, 108.0)
    assert nf.jvp(polynomial, (2,), (1.0,)) == (17.0, 14.0)
    assert nf.vjp(polynomial, (2.0,), 1) == (17.0, (14.0,))
    assert nf.hvp(polynomial, (2,), (1.0,)) == (6.0,)
    inside = njit(lambda: nf.grad(lambda x: 3 * x**2 + 2 * x + 1)(2) + df(2))
    assert inside() == 28.0


@pytest.mark.parametrize(
    ("argument", "what"),
    [(np.arange(3), "int64"), (True, "bool"), ("abc", "unicode_type"), (None, "constant")],
)
def test_what_has_no_derivative(argument, what):
    def f(x, y):
        return y * 2.0

    with pytest.raises(TypeError, match=rf"argument `x` of `f` is {what}(.|\n)*argnums=0"):
        nf.grad(f)(argument, 1.0)
    assert nf.grad(f, argnums=1)(argument, 1.0) == 2.0


# ---- outputs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [lambda x: x, lambda x: (x[0], x[1]), lambda x: None, lambda x: len(x), lambda x: x[0] > 1.0],
    ids=["array", "tuple", "none", "integer", "bool"],
)
def test_grad_of_what_is_not_a_scalar(f):
    for transform in (nf.grad, nf.value_and_grad, nf.hessian):
        with pytest.raises(TypeError, match=r"jacrev(.|\n)*vjp"):
            transform(f)(X)


def test_has_aux():
    def f(x, k):
        y = k * x
        return np.sum(y * y), (y, len(x))

    (value, (y, n)), gradient = nf.value_and_grad(f, has_aux=True)(X, 2.0)
    assert value == 56.0 and n == 3
    np.testing.assert_allclose(y, 2 * X)
    np.testing.assert_allclose(gradient, 8 * X)
    gradients, (y, n) = nf.grad(f, argnums=(1, 0), has_aux=True)(X, 2.0)
    assert gradients[0] == 56.0 and n == 3
    np.testing.assert_allclose(gradients[1], 8 * X)
    with pytest.raises(TypeError, match="does not return a pair"):
        nf.grad(weighted, has_aux=True)(X, W)


# ---- effects -----------------------------------------------------------------------------------


def step(x):
    """x[i] = x[i]**2, and the old contents count."""
    s = 0.0
    for i in range(len(x)):
        s += 3.0 * x[i]
        x[i] = x[i] * x[i]
        s += x[i]
    return s


def test_effects_happen_once_and_the_gradient_is_on_entry():
    def check(call, expected):
        x = X.copy()
        result = call(x)
        assert x.tolist() == [1.0, 4.0, 9.0]
        np.testing.assert_allclose(result, expected)

    first = 3.0 + 2.0 * X
    check(nf.grad(step), first)
    check(lambda x: nf.value_and_grad(step)(x)[1], first)
    check(nf.jacrev(step), first)
    check(nf.jacfwd(step), first)
    check(lambda x: nf.jvp(step, (x,), (np.ones(3),))[1], first.sum())
    check(lambda x: nf.vjp(step, (x,), 1.0)[1][0], first)
    check(nf.hessian(step), 2.0 * np.eye(3))
    check(lambda x: nf.hvp(step, (x,), (np.ones(3),))[0], 2.0 * np.ones(3))


def test_print_happens_once(capsys):
    def f(x):
        print("x is", x)
        return x * x

    assert nf.grad(f)(3.0) == 6.0
    assert capsys.readouterr().out == "x is 3.0\n"
    assert nf.jacfwd(f)(3.0) == 6.0
    assert nf.hessian(f)(3.0) == 2.0
    assert capsys.readouterr().out == "x is 3.0\nx is 3.0\n"


GUARDED = """
def f(x):
    assert x < 10.0, "too large"
    if x < 0.0:
        raise ValueError("negative")
    return math.sqrt(x)
"""


def test_raise_and_assert_are_kept():
    names = {"math": math}
    exec(GUARDED, names)  # pytest rewrites an assert that it sees
    f = names["f"]
    for derivative in (nf.grad(f), nf.jacfwd(f), nf.hessian(f)):
        derivative(4.0)
        with pytest.raises(ValueError, match="negative"):
            derivative(-1.0)
        with pytest.raises(AssertionError, match="too large"):
            derivative(11.0)
    assert nf.grad(f)(4.0) == 0.25


def test_division_by_zero_raises_as_in_the_primal():
    def f(x, y):
        return x / y

    for g in (f, njit(f)):
        with pytest.raises(ZeroDivisionError):
            nf.grad(g)(1.0, 0.0)
    assert nf.grad(njit(error_model="numpy")(f))(1.0, 0.0) == math.inf
    assert nf.grad(f, error_model="numpy")(1.0, 0.0) == math.inf


# ---- in place ----------------------------------------------------------------------------------


def saxpy(a, x, y):
    for i in range(len(x)):
        y[i] += a * x[i]


def test_adjoint_adds_into_the_shadows():
    y = np.zeros(3)
    da, dx, dy = np.array([100.0]), np.full(3, 10.0), np.ones(3)
    result = nf.adjoint(saxpy)(nf.Dup(2.0, da), nf.Dup(X, dx), nf.Dup(y, dy))
    assert result is None
    assert y.tolist() == [2.0, 4.0, 6.0]
    assert da.tolist() == [106.0]
    assert dx.tolist() == [12.0] * 3
    assert dy.tolist() == [1.0] * 3


def test_adjoint_with_constants():
    dx = np.zeros(3)
    assert nf.adjoint(weighted)(nf.Dup(X, dx), W) == 7.0
    assert dx.tolist() == X.tolist()
    dw = np.zeros(1)
    assert nf.adjoint(weighted)(X, nf.Dup(W, dw)) == 7.0
    assert dw.tolist() == [14.0]


def test_tangent_updates_the_shadows():
    y, dy = np.zeros(3), np.ones(3)
    assert nf.tangent(saxpy)(2.0, nf.Dup(X, 10.0 * np.ones(3)), nf.Dup(y, dy)) is None
    assert y.tolist() == [2.0, 4.0, 6.0]
    assert dy.tolist() == [21.0] * 3
    assert nf.tangent(weighted)(nf.Dup(X, X), W) == nf.Dup(7.0, 14.0)
    assert nf.tangent(weighted)(X, nf.Dup(W, 1.0)) == nf.Dup(7.0, 14.0)


def test_in_place_inside_njit():
    adjoint = nf.adjoint(weighted)

    @njit
    def inside(x, dx):
        return adjoint(nf.Dup(x, dx), 0.5)

    dx = np.zeros(3)
    assert inside(X, dx) == 7.0
    assert dx.tolist() == X.tolist()


def test_in_place_refusals():
    with pytest.raises(TypeError, match="returns an array"):
        nf.adjoint(lambda x: 2.0 * x)(nf.Dup(X, np.zeros(3)))
    with pytest.raises(TypeError, match="does not have the structure"):
        nf.adjoint(lambda x: x[0][0])(nf.Dup((X, X), np.zeros(3)))
    with pytest.raises(TypeError, match=r"does not have the structure(.|\n)*array of one element"):
        nf.adjoint(polynomial)(nf.Dup(2.0, 0.0))
    with pytest.raises(TypeError, match="does not have the structure"):
        nf.adjoint(weighted)(nf.Dup(X, np.zeros(3, np.float32)), W)
    with pytest.raises(TypeError, match="does not have the structure"):
        nf.tangent(polynomial)(nf.Dup(2.0, np.zeros(1)))


# ---- kinks -------------------------------------------------------------------------------------


@njit
def taken(x):
    return x if x >= 0.0 else 5.0 * x


@njit
def unused_root(x):
    t = np.empty(2)
    t[0] = math.sqrt(x)
    t[1] = x
    return t[1]


KINKS = [
    ("min, a tie", lambda x: min(x, 2.0 * x), 0.0, 1.0),
    ("min, a tie, other order", lambda x: min(2.0 * x, x), 0.0, 2.0),
    ("max, a tie", lambda x: max(x, 2.0 * x), 0.0, 1.0),
    ("max, a tie, other order", lambda x: max(2.0 * x, x), 0.0, 2.0),
    ("np.minimum, a tie", lambda x: np.minimum(x, 2.0 * x), 0.0, 1.0),
    ("np.maximum, a tie", lambda x: np.maximum(2.0 * x, x), 0.0, 2.0),
    ("clip at its bound", lambda x: min(max(x, 0.0), 1.0), 0.0, 1.0),
    ("abs at 0", lambda x: abs(x), 0.0, 0.0),
    ("sqrt of an unused 0", unused_root, 0.0, 1.0),
    ("sqrt at 0, used", lambda x: math.sqrt(x), 0.0, math.inf),
    ("a branch boundary", taken, 0.0, 1.0),
    ("x ** 2 at 0", lambda x: x**2, 0.0, 0.0),
    ("x ** 0 at 0", lambda x: x**0, 0.0, 0.0),
    ("x ** y at y = 0", lambda x: x**0.0, 3.0, 0.0),
    ("floor", lambda x: math.floor(x) * 2.0, 1.0, 0.0),
    ("an untaken logarithm", lambda x: math.log(x) if x > 0.0 else x, 0.0, 1.0),
    ("x * x at 0", lambda x: x * x, 0.0, 0.0),
    ("hypot at 0", lambda x: math.hypot(x, 0.0), 0.0, math.nan),
]


@pytest.mark.parametrize(("f", "x", "expected"), [k[1:] for k in KINKS], ids=[k[0] for k in KINKS])
def test_kinks(f, x, expected):
    f = njit(f) if not hasattr(f, "py_func") else f
    for derivative in (nf.grad(f), nf.jacfwd(f)):
        np.testing.assert_equal(derivative(x), expected)


def test_a_zero_cotangent_or_tangent_stays_zero():
    root = njit(lambda x: math.sqrt(x))
    assert nf.vjp(root, (0.0,), 0.0) == (0.0, (0.0,))
    assert nf.jvp(root, (0.0,), (0.0,)) == (0.0, 0.0)
    assert nf.grad(lambda x: x + 0.0 * math.sqrt(x))(0.0) == 1.0


def test_an_untaken_where_contributes_nothing():
    def f(x):
        return np.sum(np.where(x > 0.0, np.sqrt(x), 2.0 * x))

    x = np.array([4.0, 0.0, 1.0])
    assert nf.grad(f)(x).tolist() == [0.25, 2.0, 0.5]
    assert nf.jacfwd(f)(x).tolist() == [0.25, 2.0, 0.5]


def test_ties_of_arrays():
    x = np.array([2.0, 1.0, 1.0, 2.0])
    assert nf.grad(lambda x: x.min())(x).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert nf.grad(lambda x: x.max())(x).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert nf.grad(lambda x: np.clip(x, 1.0, 2.0).sum())(x).tolist() == [1.0] * 4


# ---- the rest ----------------------------------------------------------------------------------


def test_one_object_for_one_transform():
    assert nf.grad(weighted) is nf.grad(weighted)
    assert nf.grad(weighted) is not nf.grad(weighted, argnums=1)


def test_check_grads():
    nf.check_grads(weighted, (X, W), order=2)

    @nf.custom_vjp
    def wrong(x):
        return x * x

    wrong.defvjp(lambda x: (x * x, x), lambda x, ct: (3.0 * x * ct,))
    with pytest.raises(AssertionError):
        nf.check_grads(wrong, (2.0,), order=1, modes=("rev",))


def test_source():
    text = nf.source(nf.grad(weighted), X, W)
    assert "def grad_weighted(x, w):" in text
    compile(text, "generated", "exec")
    with pytest.raises(TypeError, match="takes what a transform returned"):
        nf.source(weighted, X, W)
