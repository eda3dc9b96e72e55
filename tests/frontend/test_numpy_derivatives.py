"""The derivative of every NumPy call: both modes against each other and against differences.

Each is brought to one number, the sum of its elements with random weights.  The arguments are moved
a little first, so that no two are equal and no function stands at a kink.
"""

from typing import Any

import numpy as np
import pytest

from numbaflux.frontend.arrays import is_array
from numbaflux.frontend.linear import inner
from numbaflux.frontend.numpy_calls import NUMPY
from numbaflux.frontend.views import raveled
from numbaflux.ir.build import Builder, index
from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import F64, Array, Function, Var
from numbaflux.ir.verify import verify
from numbaflux.passes.simplify import simplify
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.vjp import vjp
from tests.frontend.run import lowered
from tests.frontend.test_numpy_calls import PLAIN


def is_smooth(case: Any) -> bool:
    """Whether a case takes and gives float64, all of it finite."""
    f, args, *rest = case
    result = f(*args, **(rest[0] if rest else {}))
    if isinstance(result, tuple) or np.asarray(result).dtype != np.float64:
        return False
    flat = [a for x in args for a in (x if isinstance(x, tuple) else (x,))]
    active = any(isinstance(a, float) or getattr(a, "dtype", None) == np.float64 for a in flat)
    return active and bool(np.all(np.isfinite(result)))


SMOOTH = [case for case in PLAIN if is_smooth(case)]


def weighted(b: Builder, result: Any, weights: Var) -> Any:
    if is_array(result):
        return inner(b, raveled(b, result), weights, F64, "dot")
    return b.mul(result, b.load(weights, [index(0)]))


def direction(rng: np.random.Generator, v: Any) -> Any:
    """A random tangent with the layout of the value."""
    if np.ndim(v) == 0:
        return rng.standard_normal()
    t = np.empty_like(v)
    t[...] = rng.standard_normal(v.shape)
    return t


def fresh(values: list[Any]) -> list[Any]:
    return [v.copy(order="K") if np.ndim(v) else v for v in values]


@pytest.mark.parametrize("case", SMOOTH, ids=lambda c: c[0].__name__)
def test_derivative(case):
    f, args, *rest = case
    kwargs = rest[0] if rest else {}
    rng = np.random.default_rng(5)
    expected = f(*args, **kwargs)
    b, params, values, result = lowered(NUMPY[f], args, kwargs, expected)
    weights = Var("w", Array(F64, 1))
    number = weighted(b, result, weights)
    fn = simplify(Function("f", b.block([*params, weights], [number])))
    wrt = [k for k, v in enumerate(values) if np.asarray(v).dtype == np.float64]
    for k in wrt:
        values[k] = values[k] + 1e-3 * direction(rng, values[k])
    values.append(rng.standard_normal(np.size(expected)))
    tangents = [direction(rng, values[k]) for k in wrt]

    def moved(h: float) -> float:
        at = list(values)
        for k, t in zip(wrt, tangents):
            at[k] = at[k] + h * t
        return interpret(fn, at)[0]

    forward = jvp(fn, [params[k] for k in wrt])
    verify(forward)
    _, tangent = interpret(forward, fresh(values) + tangents)
    difference = (moved(1e-6) - moved(-1e-6)) / 2e-6
    np.testing.assert_allclose(tangent, difference, rtol=1e-6, atol=1e-6)

    reverse = vjp(fn, [params[k] for k in wrt])
    verify(reverse)
    shadows = [np.zeros_like(values[k]) for k in wrt if np.ndim(values[k])]
    _, *cotangents = interpret(reverse, [*fresh(values), *shadows, 1.0])
    arrays, numbers = iter(shadows), iter(cotangents)
    pairing = sum(np.sum(t * next(arrays if np.ndim(t) else numbers)) for t in tangents)
    np.testing.assert_allclose(pairing, tangent, rtol=1e-10, atol=1e-10)
