"""What the functions are made of: exact sums, polynomials, powers of two."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numba

from numbaflux.vecmath.coefficients import Kind
from numbaflux.vecmath.number import Number, bits, fma, mad, unbits

_FUSED = """
define double @f(double %x, double %y, double %z) {
  %r = call double @llvm.fma.f64(double %x, double %y, double %z)
  ret double %r
}
declare double @llvm.fma.f64(double, double, double)
"""


@functools.cache
def fused() -> bool:
    """Whether the processor that Numba compiles for has an instruction for x * y + z.

    Without one, every exact product error costs a call, and the functions of libm are faster.
    """
    name = numba.config.CPU_NAME or llvm.get_host_cpu_name()  # type: ignore[attr-defined]
    features = numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    if features is None:
        ours = name == llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features().flatten() if ours else ""
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=name, features=features)
    return not re.search(r"\b_?fma\b", machine.emit_assembly(llvm.parse_assembly(_FUSED)))


def polynomial(coefficients: Sequence[float]) -> Callable[[Number], Number]:
    """x -> c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule."""
    *lower, highest = coefficients

    def horner(x: Number) -> Number:
        value: Any = highest
        for c in reversed(lower):
            value = mad(value, x, c)
        return value

    return horner


# ---- exact sums --------------------------------------------------------------------------------


def fast_two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b and what it has lost, where |a| >= |b| or a = 0."""
    s = a + b
    return s, (a - s) + b


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b and what it has lost."""
    s = a + b
    c = s - a
    return s, (a - (s - c)) + (b - c)


def two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """a * b and what it has lost."""
    p = a * b
    return p, fma(a, b, -p)


def quotient(k: Kind) -> Any:
    """(n + n_lo) / (d + d_lo) as a sum of two floats, by one division."""
    (one,) = k.constants("1")

    def divide(n, n_lo, d, d_lo):
        inverse = one / d
        q = n * inverse
        return q, (fma(-q, d, n) + (n_lo - q * d_lo)) * inverse

    return divide


# ---- floats as bits ----------------------------------------------------------------------------


def power(k: Kind) -> Any:
    """2^(n + shift) from t = MAGIC + n, for |n| < 2^10: `rounding` has put n into t's last bits.

    The shift to the exponent's place pushes the bits of MAGIC out.
    """
    digits, bias = k.int(k.digits), k.int(k.bias)
    return lambda t, shift: unbits((bits(t) + (shift + bias)) << digits)


def magic(k: Kind) -> Any:
    """The float that, added to a smaller one, rounds it to an integer: its last bit counts 1."""
    return k.float(1.5 * 2.0**k.digits)


def with_sign(k: Kind) -> Any:
    """|x| with the sign of y, for x >= 0."""
    sign = k.int(-(2 ** (8 * k.int().itemsize - 1)))
    return lambda x, y: unbits(bits(x) | (bits(y) & sign))
