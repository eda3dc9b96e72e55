"""Zeros, infinities, nan, denormals and limits, wherever in a vector they stand."""

import math

import numba
import numpy as np
import pytest
from scipy import special

from numbaflux import vecmath
from tests.vecmath.cases import CASES, KINDS

INF, NAN = math.inf, math.nan

# what the functions are at 0, -0, inf, -inf
ENDS = {
    "exp": (1, 1, INF, 0),
    "expm1": (0.0, -0.0, INF, -1),
    "log": (-INF, -INF, INF, NAN),
    "log1p": (0.0, -0.0, INF, NAN),
    "sin": (0.0, -0.0, NAN, NAN),
    "cos": (1, 1, NAN, NAN),
    "tan": (0.0, -0.0, NAN, NAN),
    "atan": (0.0, -0.0, math.pi / 2, -math.pi / 2),
    "sinh": (0.0, -0.0, INF, -INF),
    "cosh": (1, 1, INF, INF),
    "tanh": (0.0, -0.0, 1, -1),
    "sigmoid": (0.5, 0.5, 1, 0),
    "softplus": (math.log(2), math.log(2), INF, 0),
    "erf": (0.0, -0.0, 1, -1),
}
REFERENCE = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "sigmoid": lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))),
    "softplus": lambda x: np.logaddexp(x, 0),
    "erf": special.erf,
}


def same(found, wanted):
    """Equal to the sign of a zero; any nan is like any other."""
    np.testing.assert_array_equal(found, wanted)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(wanted[known]))


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_ends(case, kind):
    x = np.array([0.0, -0.0, INF, -INF, NAN] * 9, kind)  # in whole vectors and in what is left
    wanted = np.array([*ENDS[case.name], NAN] * 9).astype(kind)
    same(case.function(x), wanted)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_beyond_every_limit(case, kind):
    limits = np.finfo(kind)
    least = float(limits.smallest_subnormal)
    sizes = [least, 3 * least, float(limits.tiny), 1e-20, 17, 19, 21, 23, 37, 55, 88, 89, 90, 104]
    sizes += [105, 150, 709, 711, 746, 800, 1e30, float(limits.max)]
    x = np.array([s * size for size in sizes for s in (1, -1)]).astype(kind)
    with np.errstate(all="ignore"):
        wanted = REFERENCE[case.name](x.astype(float)).astype(kind)
    np.testing.assert_allclose(case.function(x), wanted, rtol=4 * limits.eps, atol=least)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_powers_as_in_c(kind):
    x = [0.0, -0.0, 1, -1, INF, -INF, NAN, 0.5, -0.5, 2, -2, 1e-40, -3.5, 1e30, -1e30]
    y = [0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, INF, -INF, NAN, 1e10, 2.0**24 - 1, -2.5]
    x, y = (a.ravel().astype(kind) for a in np.meshgrid(x, y))
    with np.errstate(all="ignore"):
        wanted = np.power(x.astype(float), y.astype(float)).astype(kind)
    found = vecmath.pow(x, y)
    np.testing.assert_allclose(found, wanted, rtol=2 * np.finfo(kind).eps, atol=0)
    known = ~np.isnan(wanted)
    assert (np.signbit(found[known]) == np.signbit(wanted[known])).all()


@pytest.mark.parametrize("fastmath", [False, True, {"reassoc"}], ids=str)
def test_callers_flags_do_not_reach_inside(fastmath):
    @numba.njit(fastmath=fastmath)
    def run(x, out):
        for i in range(len(x)):
            out[i] = vecmath.exp(x[i])

    x = np.array([NAN, INF, -INF, -740.0, 700.0] * 9)
    out = np.empty_like(x)
    run(x, out)
    same(out, vecmath.exp(x))


def test_denormal_results_are_rounded_once():
    x = np.linspace(-745.0, -708.5, 999)
    exact = np.exp(x.astype(np.longdouble)).astype(float)
    least = 5e-324
    assert (np.abs(vecmath.exp(x) - exact) <= least).all()
    assert (vecmath.exp(x) == exact).mean() > 0.9
