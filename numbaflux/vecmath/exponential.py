"""exp and expm1, and the kernel that the hyperbolic functions and pow share.

x = n log 2 + r with |r| <= log(2) / 2, e^x = 2^n (1 + r + r^2 P(r)); r = hi - lo, where hi is
exact.
"""

from __future__ import annotations

from typing import Any

from numbaflux.vecmath.bits import fast_two_sum, magic, polynomial, power
from numbaflux.vecmath.coefficients import Kind
from numbaflux.vecmath.number import choose, clip, fma, mad


def kernel(k: Kind) -> Any:
    """(hi, s, t) for x and a small tail: e^(x + tail) = 2^n (1 + hi + s), t = MAGIC + n."""
    LOG2E, LN2H, LN2L = k.constants("LOG2E LN2H LN2L")
    MAGIC, P = magic(k), polynomial(k.polynomials["exp"])

    def exp_kernel(x, tail):
        t = mad(x, LOG2E, MAGIC)
        n = t - MAGIC
        hi = mad(n, -LN2H, x)
        lo = n * LN2L - tail
        r = hi - lo
        return hi, r * r * P(r) - lo, t

    return exp_kernel


def scaled(k: Kind) -> Any:
    """2^n (1 + hi + s), rounded once even where it is denormal; `deep` where it may be."""
    ONE, TWO, DOWN = k.constants(f"1 2 {2.0**-63}")
    UP, NORMAL = k.int(63), k.int(-1)
    pow2 = power(k)

    def scaled(hi, s, t, deep):
        y = ONE + hi
        e = (ONE - y) + hi
        y = y + (e + s)
        return y * pow2(t, choose(deep, UP, NORMAL)) * choose(deep, DOWN, TWO)

    return scaled


def exp(k: Kind) -> Any:
    EXP_MIN, EXP_MAX, EXP_DEEP, ZERO = k.constants("EXP_MIN EXP_MAX EXP_DEEP 0")
    reduce, scale = kernel(k), scaled(k)

    def exp(x):
        hi, s, t = reduce(clip(x, EXP_MIN, EXP_MAX), ZERO)
        return scale(hi, s, t, x < EXP_DEEP)

    return exp


def expm1(k: Kind) -> Any:
    LOG2E, LN2H, LN2L, TINY = k.constants("LOG2E LN2H LN2L TINY")
    LOW, HIGH, HALF, TWO = k.constants("EXPM1_MIN EXP_MAX 0.5 2")
    MAGIC, P, pow2 = magic(k), polynomial(k.polynomials["expm1"]), power(k)
    DOWN = k.int(-1)

    def expm1(x):
        y = clip(x, LOW, HIGH)
        t = mad(y, LOG2E, MAGIC)
        n = t - MAGIC
        hi = mad(n, -LN2H, y)
        lo = n * LN2L
        r = hi - lo
        z = r * r
        s = mad(z * r, P(r), z * HALF - lo)
        half = pow2(t, DOWN)  # half of 2^n, which can be too large itself
        a = half - HALF
        a_lo = (half - a) - HALF
        total, rest = fast_two_sum(a, half * hi)
        y = TWO * (total + fma(half, s, rest + a_lo))
        return choose(abs(x) < TINY, x, y)

    return expm1
