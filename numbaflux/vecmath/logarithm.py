"""log and log1p.

x = 2^n (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2); log(1 + f) = f - f^2/2 + s (f^2/2 + R), where
s = f / (2 + f) and R is a polynomial in s^2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbaflux.vecmath.bits import fast_two_sum, polynomial, two_sum
from numbaflux.vecmath.coefficients import Kind
from numbaflux.vecmath.number import bits, choose, fma, unbits


def decompose(k: Kind) -> Any:
    """(m, n, w) for a normal x > 0: x = m 2^n with m in [sqrt(1/2), sqrt(2)), w the bits of 2^n.

    n becomes a float without a conversion: its bits are the last ones of a large number's.
    """
    one = _bits_of(k, 1.0)
    ONE, DIGITS = k.int(one), k.int(k.digits)
    OFFSET = k.int(one - _bits_of(k, math.sqrt(0.5)))
    EXPONENT = k.int(-(2**k.digits))  # all bits but the significand's
    FIELD = k.int(2 ** (8 * k.int().itemsize - k.digits) - 1)
    LARGE, BIAS = k.int(_bits_of(k, 2.0**k.digits)), k.float(2.0**k.digits + k.bias)

    def decompose(x):
        v = bits(x) + OFFSET
        power = v & EXPONENT
        m = unbits(bits(x) - power + ONE)
        n = unbits((v >> DIGITS) & FIELD | LARGE) - BIAS
        return m, n, power

    return decompose


def _bits_of(k: Kind, x: float) -> int:
    return int(k.float(x).view(k.int))


def tail(k: Kind, name: str = "log") -> Any:
    """(a, c) with log(1 + f) = a + c, where a = f - f^2/2."""
    HALF, TWO = k.constants("0.5 2")
    P = polynomial(k.polynomials[name])

    def log_tail(f):
        s = f / (TWO + f)
        z = s * s
        h = HALF * f
        q = h * f
        q_lo = fma(h, f, -q)
        a = f - q
        a_lo = ((f - a) - q) - q_lo
        return a, s * (q + z * P(z)) + a_lo

    return log_tail


def special(k: Kind) -> Any:
    """`y`, which is log(u), or what that is where u is no positive number."""
    ZERO, INF, NAN = k.constants("0 inf nan")

    def special(u, y):
        y = choose(u < INF, y, u)
        y = choose(u == ZERO, -INF, y)
        return choose(u < ZERO, NAN, y)

    return special


def log(k: Kind) -> Any:
    LN2H, LN2L, ZERO, FEW = k.constants("LN2H LN2L 0 54")
    NORMAL, UP = k.float(np.finfo(k.float).tiny), k.float(2.0**54)
    split, parts, ends = decompose(k), tail(k), special(k)
    ONE = k.float(1.0)

    def log(x):
        denormal = x < NORMAL
        m, n, _ = split(choose(denormal, x * UP, x))
        n = n - choose(denormal, FEW, ZERO)
        a, c = parts(m - ONE)
        total, rest = fast_two_sum(n * LN2H, a)
        return ends(x, total + (rest + (n * LN2L + c)))

    return log


def log1p(k: Kind) -> Any:
    LN2H, LN2L, NEAR, RADIUS, ZERO, ONE = k.constants("LN2H LN2L NEAR RADIUS 0 1")
    LARGE = k.float(2.0 ** (60 if k.digits == 52 else 30))  # above, 1 is nothing
    INVERSE = k.int(2 * k.bias << k.digits)
    split, parts, ends = decompose(k), tail(k), special(k)

    def log1p(x):
        u, lost = two_sum(ONE, x)
        near = abs(x - NEAR) < RADIUS
        m, n, power = split(u)
        f = choose(near, x, m - ONE)
        n = choose(near, ZERO, n)
        lost = choose(near | (x > LARGE), ZERO, lost * unbits(INVERSE - power))
        a, c = parts(f)
        c = c + lost * (ONE - f + f * f)
        total, rest = fast_two_sum(n * LN2H, a)
        y = ends(u, total + (rest + (n * LN2L + c)))
        return choose(x == ZERO, x, y)

    return log1p
