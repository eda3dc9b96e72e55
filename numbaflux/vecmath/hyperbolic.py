"""tanh, sinh, cosh, and what neural networks use: sigmoid and softplus.

All are made of e^|x| or e^-|x| as the sum of two floats, never rounded to one.
"""

from __future__ import annotations

from typing import Any

from numbaflux.vecmath.bits import (
    fast_two_sum,
    power,
    quotient,
    two_sum,
    with_sign,
)
from numbaflux.vecmath.coefficients import Kind
from numbaflux.vecmath.exponential import kernel
from numbaflux.vecmath.logarithm import tail
from numbaflux.vecmath.number import choose, larger, mad, smaller


def _below_one(k: Kind) -> Any:
    """(high, low) with 1 + high + low = e^x / 2^shift, times 2^n; as (y, y_lo, t)."""
    (ZERO, ONE) = k.constants("0 1")
    reduce = kernel(k)

    def pair(x):
        hi, s, t = reduce(x, ZERO)
        y = ONE + hi
        return *fast_two_sum(y, ((ONE - y) + hi) + s), t

    return pair


def _less_one(k: Kind, shift: int) -> Any:
    """(high, low) of (e^x - 1) 2^shift."""
    (ZERO,) = k.constants("0")
    UNIT, SHIFT = k.float(2.0**shift), k.int(shift)
    reduce, pow2 = kernel(k), power(k)

    def less_one(x):
        hi, s, t = reduce(x, ZERO)
        scale = pow2(t, SHIFT)
        a, a_lo = two_sum(scale, -UNIT)
        total, rest = two_sum(a, scale * hi)
        return fast_two_sum(total, rest + mad(scale, s, a_lo))

    return less_one


def tanh(k: Kind) -> Any:
    TANH_MAX, TWO = k.constants("TANH_MAX 2")
    less_one, divide, signed = _less_one(k, 0), quotient(k), with_sign(k)

    def tanh(x):
        e, e_lo = less_one(-TWO * smaller(abs(x), TANH_MAX))
        d, d_lo = fast_two_sum(TWO, e)
        q, q_lo = divide(-e, -e_lo, d, d_lo + e_lo)
        return signed(q + q_lo, x)

    return tanh


def sinh(k: Kind) -> Any:
    SINH_MAX, TINY, QUARTER, TWO = k.constants("SINH_MAX TINY 0.25 2")
    less_one, divide, signed = _less_one(k, -2), quotient(k), with_sign(k)

    def sinh(x):
        e, e_lo = less_one(smaller(abs(x), SINH_MAX))
        d, d_lo = two_sum(QUARTER, e)
        q, q_lo = divide(e, e_lo, d, d_lo + e_lo)
        y, rest = fast_two_sum(e, QUARTER * q)
        y = TWO * (y + (rest + mad(QUARTER, q_lo, e_lo)))
        return choose(abs(x) < TINY, x, signed(y, x))

    return sinh


def cosh(k: Kind) -> Any:
    SINH_MAX, SIXTEENTH, TWO = k.constants("SINH_MAX 0.0625 2")
    pair, pow2, DOWN = _below_one(k), power(k), k.int(-2)

    def cosh(x):
        y, y_lo, t = pair(smaller(abs(x), SINH_MAX))
        quarter = pow2(t, DOWN)
        h = y * quarter
        return TWO * (h + mad(y_lo, quarter, SIXTEENTH / h))

    return cosh


def sigmoid(k: Kind) -> Any:
    EXP_MIN, EXP_DEEP, ZERO, ONE = k.constants("EXP_MIN EXP_DEEP 0 1")
    UP, DOWN = k.float(2.0**64), k.float(2.0**-64)
    pair, pow2, divide = _below_one(k), power(k), quotient(k)
    RAISED, PLAIN = k.int(64), k.int(0)

    def sigmoid(x):
        a = larger(-abs(x), EXP_MIN)
        y, y_lo, t = pair(a)
        deep = a < EXP_DEEP  # there the numerator is computed 2^64 times as large
        scale = pow2(t, choose(deep, RAISED, PLAIN))
        n, n_lo = y * scale, y_lo * scale
        down = choose(deep, DOWN, ONE)
        d, d_lo = fast_two_sum(ONE, n * down)
        d_lo = d_lo + n_lo * down
        right = x >= ZERO
        n, n_lo = choose(right, choose(deep, UP, ONE), n), choose(right, ZERO, n_lo)
        q, q_lo = divide(n, n_lo, d, d_lo)
        return (q + q_lo) * down

    return sigmoid


def softplus(k: Kind) -> Any:
    EXP_MIN, SOFT_MAX, LN2H, LN2L = k.constants("EXP_MIN SOFT_MAX LN2H LN2L")
    ZERO, HALF, ONE = k.constants("0 0.5 1")
    pair, pow2, parts = _below_one(k), power(k), tail(k, "log50")
    RAISED, PLAIN, EXP_DEEP = k.int(64), k.int(0), k.constants("EXP_DEEP")[0]
    DOWN = k.float(2.0**-64)

    def softplus(x):
        a = larger(-abs(x), EXP_MIN)
        y, y_lo, t = pair(a)
        deep = a < EXP_DEEP
        scale = pow2(t, choose(deep, RAISED, PLAIN))
        down = choose(deep, DOWN, ONE)
        z, z_lo = y * scale * down, y_lo * scale * down
        big = z > HALF  # then 1 + z = 2 (1 + f)
        f = choose(big, (z - ONE) * HALF, z)
        f_lo = choose(big, z_lo * HALF, z_lo)
        n = choose(big, ONE, ZERO)
        a, c = parts(f)
        c = mad(f_lo, ONE - f + f * f, c)
        total, rest = fast_two_sum(n * LN2H, a)
        rest = rest + (n * LN2L + c)
        total, lost = two_sum(larger(x, ZERO), total)
        result = total + (lost + rest)
        return choose(x > SOFT_MAX, x, result)

    return softplus
