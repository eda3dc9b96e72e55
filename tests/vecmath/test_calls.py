"""How the functions can be called."""

import math
import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from numbaflux import vecmath
from tests.vecmath.cases import CASES


@pytest.mark.parametrize("case", CASES, ids=str)
def test_types_from_python(case):
    f = case.function
    assert f(0.5).dtype == np.float64
    assert f(np.float32(0.5)).dtype == np.float32
    assert f(np.array([0.5], np.float32)).dtype == np.float32
    assert f(1) == f(1.0) == f(True)
    np.testing.assert_array_equal(f([[0.5, 1.0]]), [[f(0.5), f(1.0)]])


@pytest.mark.parametrize("f", [vecmath.exp, vecmath.sin, vecmath.softplus])
def test_types_in_compiled_code(f):
    @numba.njit
    def run(x):
        return f(x)

    for x in (0.5, np.float32(0.5), 1, True):
        assert run(x) == f(x)
    results = {s.args[0]: s.return_type for s in run.nopython_signatures}
    assert results.pop(numba.float32) == numba.float32
    assert set(results.values()) == {numba.float64}
    for kind in (np.float64, np.float32):
        x = np.array([[0.5, 1.0], [0.25, 2.0]], kind)
        np.testing.assert_array_equal(run(x), f(x))
        assert run(x).dtype == kind


def test_powers_mix_types():
    @numba.njit
    def run(x, y):
        return vecmath.pow(x, y)

    assert run(2, 3) == 8.0 and run(np.float32(2.0), 0.5) == math.sqrt(2.0)
    run(np.float32(2.0), np.float32(0.5))
    assert run.nopython_signatures[-1].return_type == numba.float32
    np.testing.assert_array_equal(vecmath.pow([[2.0], [3.0]], [1, 2]), [[2, 4], [3, 9]])


def test_what_is_no_number():
    with pytest.raises(numba.TypingError):
        numba.njit(lambda x: vecmath.exp(x))(1j)


WITHOUT = """
import numpy as np
from numbaflux import vecmath
from numbaflux.vecmath.bits import fused
assert not fused()
for kind in (np.float64, np.float32):
    x = np.array([-0.75, 0.5, 2.0], kind)
    for f, g in ((vecmath.exp, np.exp), (vecmath.sin, np.sin), (vecmath.tanh, np.tanh)):
        assert f(x).dtype == kind
        np.testing.assert_allclose(f(x), g(x), rtol=2 * np.finfo(kind).eps)
    z = np.exp(-x.astype(float))
    np.testing.assert_allclose(vecmath.sigmoid(x), 1 / (1 + z), rtol=1e-6)
    np.testing.assert_allclose(vecmath.softplus(x), np.log1p(1 / z), rtol=1e-6)
    assert vecmath.sigmoid(x).dtype == vecmath.softplus(x).dtype == kind
    assert vecmath.pow(kind(2), kind(3)) == 8
"""


def test_a_processor_without_fma():
    env = {**os.environ, "NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""}
    subprocess.run([sys.executable, "-c", WITHOUT], check=True, env=env)
