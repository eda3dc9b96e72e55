"""Loops over the functions become loops over vectors."""

import re

import numba
import numpy as np
import pytest

from numbaflux import vecmath
from numbaflux.vecmath.bits import fused
from numbaflux.vecmath.rare import LANES
from tests.vecmath.cases import CASES, KINDS

pytestmark = pytest.mark.skipif(not fused(), reason="without fma the functions are libm's")


def compiled(function, kind):
    """A loop over a function, compiled for arrays of a type."""

    @numba.njit
    def run(x, out):
        for i in range(len(x)):
            out[i] = function(x[i])

    x = np.linspace(0.1, 0.9, 100, dtype=kind)
    out = np.empty_like(x)
    run(x, out)
    return run, x, out


def optimised(run):
    """LLVM's code after its last pass, which `inspect_llvm` shows from before it."""
    (assembly,) = run.inspect_asm().values()
    return assembly


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_loops_multiply_vectors(case, kind):
    run, x, out = compiled(case.function, kind)
    packed = "vf[n]?m(add|sub)[0-9]+p" + "ds"[KINDS.index(kind)] + r"|fml[as]\s+v[0-9]+\.[24][sd]"
    assert len(re.findall(packed, optimised(run))) > 3
    np.testing.assert_array_equal(out, case.function(x))


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_powers_multiply_vectors(kind):
    run, _, _ = compiled(numba.njit(lambda x: vecmath.pow(x, x), forceinline=True), kind)
    assert len(re.findall(r"vf[n]?m(add|sub)[0-9]+pd|fml[as]\s+v", optimised(run))) > 3


def test_the_rare_case_is_one_call_a_vector():
    run, _, _ = compiled(vecmath.sin, np.float64)
    assert re.search(
        rf"numbaflux_sin_f64_beyond_2_45_x({'|'.join(map(str, LANES))})\b", optimised(run)
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_a_rare_element_anywhere(name, kind):
    function = getattr(vecmath, name)
    for at in range(37):
        x = np.linspace(-3, 3, 37).astype(kind)
        x[at] = 1e22
        wanted = [function(x[i : i + 1])[0] for i in range(37)]
        np.testing.assert_array_equal(function(x), wanted)
        exact = float(getattr(np, name)(float(x[at])))
        np.testing.assert_allclose(wanted[at], exact, rtol=2 * np.finfo(kind).eps)


def test_several_rare_functions_in_one_loop():
    @numba.njit
    def run(x, out):
        for i in range(len(x)):
            out[i] = vecmath.sin(x[i]) + 2 * vecmath.cos(x[i]) + 4 * vecmath.tan(x[i])

    x = np.array([0.5, 1e300, -2.0, 1e22] * 10)
    out = np.empty_like(x)
    run(x, out)
    np.testing.assert_allclose(out, np.sin(x) + 2 * np.cos(x) + 4 * np.tan(x), rtol=1e-14)
