"""sin, cos, tan and atan.

x = n pi/2 + r with |r| <= pi/4, r as the sum of two floats, pi/2 in three parts; that is enough up
to |x| = HUGE, and beyond it libm is called.
"""

from __future__ import annotations

from typing import Any

from numbaflux.vecmath.bits import (
    fast_two_sum,
    magic,
    polynomial,
    quotient,
    two_product,
    two_sum,
    with_sign,
)
from numbaflux.vecmath.coefficients import Kind
from numbaflux.vecmath.number import bits, choose, fma, mad, smaller, unbits
from numbaflux.vecmath.rare import beyond


def reduction(k: Kind) -> Any:
    """(r, rest, t) with x = n pi/2 + r + rest and t = MAGIC + n."""
    TWO_OVER_PI, P1, P2, P3 = k.constants("TWO_OVER_PI P1 P2 P3")
    MAGIC = magic(k)

    def reduce(x):
        t = mad(x, TWO_OVER_PI, MAGIC)
        n = t - MAGIC
        a = fma(-n, P1, x)  # exact
        w, w_lo = two_product(n, P2)
        r, lost = two_sum(a, -w)
        return r, lost - mad(n, P3, w_lo), t

    return reduce


def kernels(k: Kind) -> Any:
    """(sin - r, 1 - r^2/2, cos - that) of r + rest."""
    ONE, HALF = k.constants("1 0.5")
    S, C = polynomial(k.polynomials["sin"]), polynomial(k.polynomials["cos"])

    def kernels(r, rest):
        z, z_lo = two_product(r, r)
        h = HALF * z
        w = ONE - h
        sine = mad(r * z, S(z), rest * w)
        return sine, w, ((ONE - w) - h) + mad(z * z, C(z), -mad(r, rest, HALF * z_lo))

    return kernels


def sin(k: Kind) -> Any:
    (TINY,) = k.constants("TINY")
    ONE, TURN, SIGN = _quadrants(k)
    reduce, parts, repaired = reduction(k), kernels(k), beyond(k, "sin")

    def sin(x):
        r, rest, t = reduce(x)
        s, w, c = parts(r, rest)
        n = bits(t)
        y = choose((n & ONE) == ONE, w + c, r + s)
        y = unbits(bits(y) ^ ((n << TURN) & SIGN))
        return repaired(x, choose(abs(x) < TINY, x, y))

    return sin


def cos(k: Kind) -> Any:
    ONE, TURN, SIGN = _quadrants(k)
    reduce, parts, repaired = reduction(k), kernels(k), beyond(k, "cos")

    def cos(x):
        r, rest, t = reduce(x)
        s, w, c = parts(r, rest)
        n = bits(t) + ONE
        y = choose((n & ONE) == ONE, w + c, r + s)
        y = unbits(bits(y) ^ ((n << TURN) & SIGN))
        return repaired(x, y)

    return cos


def _quadrants(k: Kind) -> tuple[Any, ...]:
    """(1, the way from the second bit to the sign bit, the sign bit)"""
    width = 8 * k.int().itemsize
    return k.int(1), k.int(width - 2), k.int(-(2 ** (width - 1)))


def tan(k: Kind) -> Any:
    (TINY,) = k.constants("TINY")
    ONE, _, _ = _quadrants(k)
    reduce, parts, divide, repaired = reduction(k), kernels(k), quotient(k), beyond(k, "tan")

    def tan(x):
        r, rest, t = reduce(x)
        s, w, c = parts(r, rest)
        sine, sine_lo = fast_two_sum(r, s)
        cosine, cosine_lo = fast_two_sum(w, c)
        odd = (bits(t) & ONE) == ONE
        n, n_lo = choose(odd, -cosine, sine), choose(odd, -cosine_lo, sine_lo)
        d, d_lo = choose(odd, sine, cosine), choose(odd, sine_lo, cosine_lo)
        q, q_lo = divide(n, n_lo, d, d_lo)
        return repaired(x, choose(abs(x) < TINY, x, q + q_lo))

    return tan


def atan(k: Kind) -> Any:
    ZERO, HALF, ONE, LARGE, P1, P2 = k.constants(f"0 0.5 1 {2.0**100} P1 P2")
    P, signed = polynomial(k.polynomials["atan"]), with_sign(k)

    def atan(x):
        a = smaller(abs(x), LARGE)
        big = a > ONE
        n, d = choose(big, -ONE, a), choose(big, a, ONE)
        t = n / d
        t_lo = choose(big, fma(-t, d, n) * -t, ZERO)
        base, base_lo = choose(big, P1, ZERO), choose(big, P2, ZERO)
        z = t * t
        cube, cube_lo = two_product(t, z)
        p = P(z - HALF)
        total, rest = fast_two_sum(base, t)
        rest = rest + mad(t_lo, ONE - HALF * z, mad(cube_lo, p, base_lo))
        return signed(total + mad(cube, p, rest), x)

    return atan
