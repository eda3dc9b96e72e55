"""pow: e^(y log |x|), with the logarithm and the product as sums of two floats.

In single precision everything is computed in double precision and rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numbaflux.vecmath.bits import (
    fast_two_sum,
    magic,
    polynomial,
    power,
    two_product,
)
from numbaflux.vecmath.coefficients import F32, F64, Kind
from numbaflux.vecmath.exponential import kernel, scaled
from numbaflux.vecmath.logarithm import decompose
from numbaflux.vecmath.number import choose, clip, fma, mad, narrow, rint, widen


def _log_pair() -> Any:
    """(high, low) of log(x) for a normal double x > 0, n added to its exponent."""
    LN2H, LN2L, C3H, C3L, ONE, TWO = F64.constants("LN2H LN2L C3H C3L 1 2")
    split, P = decompose(F64), polynomial(F64.polynomials["powlog"])

    def log_pair(x, shift):
        m, n, _ = split(x)
        n = n + shift
        f = m - ONE
        d, d_lo = fast_two_sum(TWO, f)
        inverse = ONE / d
        s = f * inverse
        s_lo = (fma(-s, d, f) - s * d_lo) * inverse
        z, z_lo = two_product(s, s)
        z_lo = mad(TWO * s, s_lo, z_lo)
        c, c_lo = fast_two_sum(C3H, z * P(z))
        c_lo = c_lo + C3L
        cube, cube_lo = two_product(s, z)
        cube_lo = cube_lo + (s * z_lo + s_lo * z)
        w, w_lo = two_product(cube, c)
        w_lo = w_lo + (cube * c_lo + cube_lo * c)
        total, rest = fast_two_sum(n * LN2H, TWO * s)
        total, rest2 = fast_two_sum(total, w)
        return fast_two_sum(total, rest + (rest2 + (w_lo + (TWO * s_lo + n * LN2L))))

    return log_pair


def _ends() -> Any:
    """`value`, or log(|x|) where |x| is 0, infinite, or nan; `value` is the log of the rest."""
    ZERO, INF = F64.constants("0 inf")

    def ends(x, value):
        value = choose(x < INF, value, x)
        return choose(x == ZERO, -INF, value)

    return ends


def _signed(k: Kind) -> Any:
    """x^y from |x|^y: the sign of an odd power, nan for a negative number's broken power."""
    ZERO, HALF, ONE, INF, NAN = k.constants("0 0.5 1 inf nan")

    def signed(x, y, value):
        whole = rint(y) == y
        half = y * HALF
        odd = whole & (rint(half) != half)
        negative = (x < ZERO) | ((x == ZERO) & (ONE / x < ZERO))
        value = choose(negative & odd, -value, value)
        value = choose((x < ZERO) & (x > -INF) & ~whole, NAN, value)
        return choose((y == ZERO) | (x == ONE), ONE, value)

    return signed


def pow(k: Kind) -> Any:
    return _pow32() if k is F32 else _pow64()


def _pow64() -> Any:
    NORMAL, UP = F64.constants(f"{2.0**-1022} {2.0**54}")
    ZERO, FEW, LARGE, LIMIT = F64.constants(f"0 54 800 {2.0**80}")
    EXP_MIN, EXP_MAX, EXP_DEEP = F64.constants("EXP_MIN EXP_MAX EXP_DEEP")
    log_pair, ends, finish = _log_pair(), _ends(), _signed(F64)
    reduce, scale = kernel(F64), scaled(F64)

    def pow(x, y):
        a = abs(x)
        denormal = a < NORMAL
        log, log_lo = log_pair(choose(denormal, a * UP, a), choose(denormal, -FEW, ZERO))
        log = ends(a, log)
        b = clip(y, -LIMIT, LIMIT)  # so that 1^inf is 1
        p = b * log
        p_lo = choose(abs(p) <= LARGE, fma(b, log, -p) + b * log_lo, ZERO)
        hi, s, t = reduce(clip(p, EXP_MIN, EXP_MAX), p_lo)
        return finish(x, y, scale(hi, s, t, p < EXP_DEEP))

    return pow


def _pow32() -> Any:
    LOG2E, ONE, TWO, LOW, HIGH, LIMIT = F64.constants(f"LOG2E 1 2 -160 160 {2.0**80}")
    MAGIC, NORMAL = magic(F64), np.int64(0)
    P, Q = (polynomial(F32.polynomials[name]) for name in ("powlog", "exp2"))
    split, ends, finish, pow2 = decompose(F64), _ends(), _signed(F32), power(F64)

    def pow(x, y):
        a = abs(widen(x))
        m, n, _ = split(a)
        f = m - ONE
        s = f / (TWO + f)
        log = ends(a, mad(s * mad(s * s, P(s * s), TWO), LOG2E, n))
        b = clip(widen(y), -LIMIT, LIMIT)  # so that 1^inf is 1
        p = clip(b * log, LOW, HIGH)
        t = p + MAGIC
        r = p - (t - MAGIC)
        return finish(x, y, narrow(mad(r, Q(r), ONE) * pow2(t, NORMAL)))

    return pow
