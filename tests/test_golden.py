"""The code generated for small programs, as a reviewer reads it: tests/golden/*.txt.

After a change that is meant to change generated code: `pytest tests/test_golden.py --update-golden`
and look at the difference.
"""

import math
from typing import Any

import numpy as np
import pytest
from numba import njit

import numbaflux as nf
from numbaflux.api.public import derivative
from numbaflux.api.transforms import OfPairs
from tests.conftest import GOLDEN
from tests.cuda.kernels import SHOWN

VECTOR = np.array([1.0, 2.0, 3.0])


def scalar(x, y):
    return x * math.sin(y) + 3.0 * x**2


def loop(x, n):
    total = 0.0
    for i in range(n):
        total += math.sin(x * i)
    return total


def in_place(x):
    for i in range(1, len(x)):
        x[i] += x[i - 1] * x[i]
    return x[-1]


def branch(x):
    if x > 1.0:
        y = x * x
    else:
        y = math.exp(x)
    return y * x


def newton(a):
    x = a
    while abs(x * x - a) > 1e-12:
        x = 0.5 * (x + a / x)
    return x


def heat(u, r, steps):
    a, b = u.copy(), u.copy()
    for _ in range(steps):
        for i in range(1, len(a) - 1):
            b[i] = a[i] + r * (a[i - 1] - 2.0 * a[i] + a[i + 1])
        a, b = b, a
    return a.sum()


@njit
def square(x):
    return x * x


def helper(x, y):
    return square(x) * square(y - x)


def expression(x, y):
    return np.sum(x * np.exp(-y) + 1.0)


def squares(x, y):
    for i in range(len(x)):
        y[i] = x[i] * x[i]


def stretched(x, k):
    y = np.empty(len(x))
    for i in range(len(x)):
        y[i] = k * x[i] + math.sin(x[i - 1])
    return y


def polar(r, phi):
    return r * math.cos(phi), r * math.sin(phi)


def powers(x):
    return np.array([x, x * x, x * x * x])


CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "grad_scalar": (nf.grad(scalar, (0, 1)), (1.0, 2.0)),
    "value_and_grad_loop": (nf.value_and_grad(loop), (1.0, 3)),
    "grad_in_place": (nf.grad(in_place), (VECTOR,)),
    "grad_branch": (nf.grad(branch), (1.0,)),
    "grad_while": (nf.grad(newton), (2.0,)),
    "grad_swap": (nf.grad(heat), (VECTOR, 0.1, 3)),
    "grad_helper": (nf.grad(helper, (0, 1)), (1.0, 2.0)),
    "grad_expression": (nf.grad(expression, (0, 1)), (VECTOR, VECTOR)),
    "grad_float32": (nf.grad(in_place), (VECTOR.astype(np.float32),)),
    "second_order": (nf.grad(nf.grad(branch)), (1.0,)),
    "jvp_loop": (derivative(OfPairs("jvp"), loop), ((1.0, 3), (1.0, None))),
    "vjp_in_place": (derivative(OfPairs("vjp"), in_place), ((VECTOR,), 1.0)),
    "hvp_branch": (derivative(OfPairs("hvp"), branch), ((1.0,), (1.0,))),
    "adjoint_dup": (nf.adjoint(squares), (nf.Dup(VECTOR, VECTOR), nf.Dup(VECTOR, VECTOR))),
    "tangent_dup": (nf.tangent(squares), (nf.Dup(VECTOR, VECTOR), nf.Dup(VECTOR, VECTOR))),
    "jacfwd_powers": (nf.jacfwd(powers), (2.0,)),
    "jacfwd_lanes": (nf.jacfwd(stretched, (0, 1)), (VECTOR, 0.5)),
    "jacfwd_scalars": (nf.jacfwd(polar, (0, 1)), (1.0, 2.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_source(case, golden):
    transform, args = CASES[case]
    golden(nf.source(transform, *args))


def test_no_golden_is_left_over():
    wanted = {f"source_{case}" for case in CASES}
    wanted |= {f"source_of_adjoint_{kernel}" for kernel in SHOWN}  # of tests/cuda
    assert {path.stem for path in GOLDEN.iterdir()} == wanted
