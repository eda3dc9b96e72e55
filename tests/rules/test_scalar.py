"""Every rule at points of every sign and branch: against mpmath, in both modes, to second order."""

from __future__ import annotations

from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest

from numbaflux.ir.build import Builder, index
from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import F32, F64, Function, Scalar, Var
from numbaflux.ir.ops import OPS, PLAIN, THREADS
from numbaflux.passes import optimise
from numbaflux.rules.table import RULES
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.vjp import vjp
from tests.transforms.checks import check_transforms

SIGNS = [(1.3, 0.4), (-1.3, 0.4), (1.3, -0.4), (-1.3, -0.4), (0.4, 1.3), (-0.4, 1.3)]
UNIT = [-0.7, 0.2, 0.8]
ANY = [-1.7, -0.3, 0.4, 2.6]
POSITIVE = [0.2, 1.4, 3.7]

# op: (the function in mpmath, points)
UNARY = {
    "neg": (lambda x: -x, ANY),
    "abs": (lambda x: abs(x), ANY),
    "sqrt": (mp.sqrt, POSITIVE),
    "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), ANY),
    "exp": (mp.exp, ANY),
    "exp2": (lambda x: mp.mpf(2) ** x, ANY),
    "expm1": (mp.expm1, ANY),
    "log": (mp.log, POSITIVE),
    "log2": (lambda x: mp.log(x, 2), POSITIVE),
    "log10": (mp.log10, POSITIVE),
    "log1p": (mp.log1p, [-0.6, 0.3, 4.0]),
    "sin": (mp.sin, ANY),
    "cos": (mp.cos, ANY),
    "tan": (mp.tan, ANY),
    "asin": (mp.asin, UNIT),
    "acos": (mp.acos, UNIT),
    "atan": (mp.atan, ANY),
    "sinh": (mp.sinh, ANY),
    "cosh": (mp.cosh, ANY),
    "tanh": (mp.tanh, ANY),
    "asinh": (mp.asinh, ANY),
    "acosh": (mp.acosh, [1.2, 3.4]),
    "atanh": (mp.atanh, UNIT),
    "erf": (mp.erf, ANY),
    "erfc": (mp.erfc, ANY),
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), ANY),
    "softplus": (lambda x: mp.log(1 + mp.exp(x)), ANY),
    "gamma": (mp.gamma, [-1.6, 0.4, 3.3]),
    "lgamma": (lambda x: mp.log(abs(mp.gamma(x))), [-1.6, 0.4, 3.3]),
    "digamma": (mp.digamma, [0.4, 3.3]),
    "stop_gradient": (lambda x: mp.mpf(1), ANY),
}
BINARY = {
    "add": (lambda x, y: x + y, SIGNS),
    "sub": (lambda x, y: x - y, SIGNS),
    "mul": (lambda x, y: x * y, SIGNS),
    "gmul": (lambda x, y: x * y, SIGNS),
    "div": (lambda x, y: x / y, SIGNS),
    "mod": (lambda x, y: x - y * mp.floor(x / y), SIGNS),
    "fmod": (lambda x, y: x - y * (mp.floor if x / y > 0 else mp.ceil)(x / y), SIGNS),
    "copysign": (lambda x, y: abs(x) * mp.sign(y), SIGNS),
    "pow": (lambda x, y: x**y, [(1.3, 0.4), (0.7, -2.2), (2.0, 3.0)]),
    "atan2": (mp.atan2, SIGNS),
    "hypot": (mp.hypot, SIGNS),
    "min": (min, SIGNS),
    "max": (max, SIGNS),
    "minimum": (min, SIGNS),
    "maximum": (max, SIGNS),
    "fmin": (min, SIGNS),
    "fmax": (max, SIGNS),
}
UNARY |= {twin: UNARY[op] for twin, op in PLAIN.items() if op in UNARY}
BINARY |= {twin: BINARY[op] for twin, op in PLAIN.items() if op in BINARY}
OTHERS = {"ipow", "select", "cast", "polygamma"}  # with an argument that is not a float

UNARY_CASES = [(op, x) for op, (_, points) in UNARY.items() for x in points]
BINARY_CASES = [(op, x, y) for op, (_, points) in BINARY.items() for x, y in points]


def unary(op: str, type: Scalar = F64) -> Function:
    x, b = Var("x", type), Builder()
    return Function(op, b.block([x], [b.prim(op, x)]))


def binary(op: str) -> Function:
    x, y, b = Var("x", F64), Var("y", F64), Builder()
    return Function(op, b.block([x, y], [b.prim(op, x, y)]))


def partials(fn: Function, args: list[np.float64]) -> list[float]:
    """∂f/∂x for every argument, by forward mode and by reverse mode, which agree to a few ulp."""
    forward, reverse = optimise(jvp(fn, fn.params)), optimise(vjp(fn, fn.params))
    units = np.eye(len(args))
    by_jvp = [float(interpret(forward, [*args, *unit])[1]) for unit in units]
    by_vjp = [float(d) for d in interpret(reverse, [*args, np.float64(1)])[1:]]
    np.testing.assert_allclose(by_jvp, by_vjp, rtol=4e-16, atol=0)
    return by_jvp


def derivative(f, args, i: int) -> float:
    def along(t):
        return f(*(t if j == i else mp.mpf(a) for j, a in enumerate(args)))

    with mp.workdps(40):
        return float(mp.diff(along, mp.mpf(args[i]), h=mp.mpf(10) ** -15))


@pytest.mark.parametrize(("op", "x"), UNARY_CASES)
def test_unary(op, x):
    expected = 0.0 if op == "stop_gradient" else derivative(UNARY[op][0], [x], 0)
    np.testing.assert_allclose(partials(unary(op), [np.float64(x)]), [expected], rtol=2e-14)
    if op != "stop_gradient":
        check_transforms(unary(op), [np.float64(x)], order=2, rtol=2e-5)


@pytest.mark.parametrize(("op", "x", "y"), BINARY_CASES)
def test_binary(op, x, y):
    expected = [derivative(BINARY[op][0], [x, y], i) for i in range(2)]
    found = partials(binary(op), [np.float64(x), np.float64(y)])
    np.testing.assert_allclose(found, expected, rtol=2e-14, atol=1e-15)
    check_transforms(binary(op), [np.float64(x), np.float64(y)], order=2, rtol=2e-5)


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 5])
@pytest.mark.parametrize("x", [-1.3, 0.7])
def test_integer_power(x, n):
    fixed = Var("x", F64)
    b = Builder()
    fn = Function("ipow", b.block([fixed], [b.prim("ipow", fixed, index(n))]))
    np.testing.assert_allclose(partials(fn, [np.float64(x)]), [n * x ** (n - 1)], rtol=1e-15)
    check_transforms(fn, [np.float64(x)], order=2, rtol=2e-5)


def test_polygamma():
    x, b = Var("x", F64), Builder()
    fn = Function("p", b.block([x], [b.prim("digamma", x)]))
    second = jvp(optimise(jvp(fn, [x])), [x])
    found = interpret(second, [np.float64(1.7), np.float64(1), np.float64(1)])[-1]
    np.testing.assert_allclose(found, float(mp.polygamma(2, 1.7)), rtol=1e-13)


def test_every_primitive_has_a_rule_and_every_rule_a_test():
    # not transformed again, or an integer
    bare = {"unit", "lane", "veiled"} | set(THREADS)
    assert set(OPS) - bare == set(RULES)
    with_partials = {op for op, rule in RULES.items() if rule.partials}
    assert with_partials | {"stop_gradient"} == UNARY.keys() | BINARY.keys() | OTHERS


@pytest.mark.parametrize("op", [op for op in UNARY if RULES[op].partials])
def test_a_wrong_sign_is_noticed(op, monkeypatch):
    right = RULES[op]
    wrong = replace(right, partials=tuple(lambda *a, p=p: _negative(p(*a)) for p in right.partials))
    monkeypatch.setitem(RULES, op, wrong)
    x = UNARY[op][1][1]
    with pytest.raises(AssertionError):
        test_unary(op, x)


def _negative(partial):
    return -partial


@pytest.mark.parametrize("op", ["exp", "sin", "mul", "sqrt", "atan2", "pow"])
def test_float32_stays_float32(op):
    if op in UNARY:
        fn = unary(op, F32)
        args = [np.float32(0.5)]
    else:
        x, y, b = Var("x", F32), Var("y", F32), Builder()
        fn = Function(op, b.block([x, y], [b.prim(op, x, y)]))
        args = [np.float32(0.5), np.float32(1.5)]
    for r in interpret(vjp(fn, fn.params), [*args, np.float32(1)]):
        assert r.dtype == np.float32


# ---- singular points: a cotangent of zero stays zero; ties go to the first ---------------------


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("sqrt", (0.0,)), ("cbrt", (0.0,)), ("log", (0.0,)), ("exp", (1e4,)), ("asin", (1.0,)),
        ("acos", (-1.0,)), ("acosh", (1.0,)), ("atanh", (1.0,)), ("log1p", (-1.0,)),
        ("div", (1.0, 0.0)), ("div", (0.0, 0.0)), ("pow", (0.0, 0.5)), ("pow", (0.0, 0.0)),
        ("hypot", (0.0, 0.0)), ("atan2", (0.0, 0.0)),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_cotangent_no_nan(op, args):
    fn = unary(op) if len(args) == 1 else binary(op)
    reverse = vjp(fn, fn.params)
    cotangents = interpret(reverse, [*map(np.float64, args), np.float64(0)])[1:]
    assert all(c == 0.0 for c in cotangents)


def test_zero_cotangent_does_not_hide_the_second_derivative():
    """(sqrt(x) - 1)² has gradient 0 and second derivative 1/2 at 1: a guard must not say 0."""
    x, b = Var("x", F64), Builder()
    s = b.sub(b.prim("sqrt", x), b.prim("cast", index(1), type=F64))
    fn = Function("f", b.block([x], [b.mul(s, s)]))
    hvp = jvp(optimise(vjp(fn, [x])), [x])
    assert interpret(hvp, [np.float64(1), np.float64(1), np.float64(1)])[-1] == 0.5


@pytest.mark.parametrize("op", ["min", "max", "minimum", "maximum", "fmin", "fmax"])
def test_ties_go_to_the_first(op):
    assert partials(binary(op), [np.float64(2), np.float64(2)]) == [1.0, 0.0]


def test_absolute_value_is_flat_at_zero():
    assert partials(unary("abs"), [np.float64(0)]) == [0.0]
