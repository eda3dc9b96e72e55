"""Every function against mpmath: a few thousand points each, and a million under `-m slow`.

    python -m pytest tests/vecmath -m slow -n 2 --durations=0 -s

prints the largest error of each function; the documentation quotes it.
"""

import mpmath as mp
import numpy as np
import pytest

from numbaflux import vecmath
from tests.vecmath.cases import BITS, CASES, KINDS, points, ulps

MANY = 10**6


def worst(case, kind, count):
    """The largest error, in ulps, and where."""
    rng = np.random.default_rng(len(case.name))
    x = points(case, kind, count, rng)
    with mp.workprec(BITS):
        exact = [case.exact(mp.mpf(float(v))) for v in x]
        errors = ulps(case.function(x), exact)
    at = np.argmax(errors)
    return errors[at], x[at]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_within_an_ulp(case, kind):
    error, x = worst(case, kind, 400)
    assert error <= 1.0, f"{case}({x!r}): {error} ulp"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_within_an_ulp_at_a_million_points(case, kind):
    error, x = worst(case, kind, MANY // 4)
    print(f"\n{case} {kind.__name__}: {error:.3f} ulp at {x!r}")
    assert error <= 1.0


def powers(kind, count):
    """Bases and exponents whose power is a number of the type, of every size."""
    rng = np.random.default_rng(3)
    limits = np.finfo(kind)
    low, high = np.log(float(limits.smallest_subnormal)), np.log(float(limits.max))
    size = np.log2(float(limits.smallest_subnormal)) + 1, np.log2(float(limits.max))
    x = np.concatenate([rng.uniform(0.3, 3, count), np.exp2(rng.uniform(*size, count))])
    x = np.concatenate([x, 1 + rng.choice([-1, 1], count) * np.exp2(rng.uniform(-20, -2, count))])
    x = x.astype(kind)
    y = rng.uniform(low, high, len(x)) / np.log(x.astype(float))
    return x, np.clip(y, -float(limits.max), float(limits.max)).astype(kind)


def worst_power(kind, count):
    x, y = powers(kind, count)
    with mp.workprec(BITS):
        exact = [mp.power(mp.mpf(float(a)), mp.mpf(float(b))) for a, b in zip(x, y)]
        fits = np.array([abs(e) <= float(np.finfo(kind).max) for e in exact])
        errors = np.where(fits, ulps(vecmath.pow(x, y), exact), 0.0)
    at = np.argmax(errors)
    return errors[at], x[at], y[at]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_powers_within_an_ulp(kind):
    error, x, y = worst_power(kind, 700)
    assert error <= 1.0, f"pow({x!r}, {y!r}): {error} ulp"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_powers_within_an_ulp_at_a_million_points(kind):
    error, x, y = worst_power(kind, MANY // 3)
    print(f"\npow {kind.__name__}: {error:.3f} ulp at {x!r}, {y!r}")
    assert error <= 1.0
