"""erf: x + x P(x^2 - 1/2) for |x| <= 1, 1 - e^Q(|x| - 1) beyond, where Q is log erfc."""

from __future__ import annotations

from typing import Any

from numbaflux.vecmath.bits import polynomial, power, with_sign
from numbaflux.vecmath.coefficients import Kind
from numbaflux.vecmath.exponential import kernel
from numbaflux.vecmath.number import choose, mad, smaller


def erf(k: Kind) -> Any:
    ERF_MAX, ZERO, HALF, ONE = k.constants("ERF_MAX 0 0.5 1")
    INNER, OUTER = (polynomial(k.polynomials[name]) for name in ("erfs", "erfl"))
    reduce, pow2, signed, PLAIN = kernel(k), power(k), with_sign(k), k.int(0)

    def erf(x):
        near = mad(x, INNER(mad(x, x, -HALF)), x)
        a = smaller(abs(x), ERF_MAX)
        hi, s, t = reduce(OUTER(a - ONE), ZERO)
        far = ONE - (ONE + (hi + s)) * pow2(t, PLAIN)
        return choose(a > ONE, signed(far, x), near)

    return erf
