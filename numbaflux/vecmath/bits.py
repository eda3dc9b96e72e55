"""What Numba's Python lacks: bit casts, fused multiply-add, polynomials; and what is made of them.

Everything is LLVM's own, so a loop over it becomes one over vectors.  A helper is compiled with
every flag written out: Numba would hand an unset one down from whoever compiles it first, and
reordering would destroy the error terms.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import extending, types

from numbaflux.vecmath.coefficients import Kind

STRICT: Any = {"forceinline": True, "error_model": "numpy", "fastmath": False}
helper = numba.njit(**STRICT)
intrinsic: Any = extending.intrinsic  # it fills in the first parameter of what it decorates

_INTEGER = {types.float64: types.int64, types.float32: types.int32}
_FLOAT = {types.int64: types.float64, types.int32: types.float32}

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


@intrinsic
def bits(context: Any, x: Any):
    """The bits of a float as an integer."""
    result = _INTEGER[x]
    return result(x), _cast


@intrinsic
def unbits(context: Any, n: Any):
    """The float with these bits."""
    result = _FLOAT[n]
    return result(n), _cast


def _cast(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.bitcast(args[0], context.get_value_type(signature.return_type))


@intrinsic
def mad(context: Any, x: Any, y: Any, z: Any):
    """x * y + z, with one rounding where that is faster."""
    return x(x, y, z), _ternary("llvm.fmuladd")


@intrinsic
def fma(context: Any, x: Any, y: Any, z: Any):
    """x * y + z with one rounding: with z = -x*y what that product has lost."""
    return x(x, y, z), _ternary("llvm.fma")


def _ternary(name: str) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.call(_llvm(builder, name, args[0].type), args)

    return generate


def _llvm(builder: Any, name: str, kind: Any) -> Any:
    """An intrinsic of LLVM's that takes three floats."""
    return builder.module.declare_intrinsic(name, [kind], ir.FunctionType(kind, [kind] * 3))


def polynomial(coefficients: Sequence[float]) -> Any:
    """x -> c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule."""

    @intrinsic
    def horner(context: Any, x: Any):
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            (x,) = args
            step = _llvm(builder, "llvm.fmuladd", x.type)
            *lower, value = (ir.Constant(x.type, c) for c in coefficients)
            for c in reversed(lower):
                value = builder.call(step, [value, x, c])
            return value

        return x(x), generate

    return horner


# ---- exact sums --------------------------------------------------------------------------------


@helper
def fast_two_sum(a, b):
    """a + b and what it has lost, where |a| >= |b| or a = 0."""
    s = a + b
    return s, (a - s) + b


@helper
def two_sum(a, b):
    """a + b and what it has lost."""
    s = a + b
    c = s - a
    return s, (a - (s - c)) + (b - c)


@helper
def two_product(a, b):
    """a * b and what it has lost."""
    p = a * b
    return p, fma(a, b, -p)


@functools.cache
def quotient(k: Kind) -> Any:
    """(n + n_lo) / (d + d_lo) as a sum of two floats, by one division."""
    (one,) = k.constants("1")

    @helper
    def divide(n, n_lo, d, d_lo):
        inverse = one / d
        q = n * inverse
        return q, (fma(-q, d, n) + (n_lo - q * d_lo)) * inverse

    return divide


# ---- floats as bits ----------------------------------------------------------------------------


@functools.cache
def power(k: Kind) -> Any:
    """2^(n + shift) from t = MAGIC + n, for |n| < 2^10: `rounding` has put n into t's last bits.

    The shift to the exponent's place pushes the bits of MAGIC out.
    """
    integer, digits, bias = k.int, k.int(k.digits), k.int(k.bias)

    @helper
    def power(t, shift):
        return unbits(integer(integer(bits(t) + integer(shift + bias)) << digits))

    return power


def magic(k: Kind) -> Any:
    """The float that, added to a smaller one, rounds it to an integer: its last bit counts 1."""
    return k.float(1.5 * 2.0**k.digits)


@functools.cache
def with_sign(k: Kind) -> Any:
    """|x| with the sign of y, for x >= 0."""
    integer, sign = k.int, k.int(-(2 ** (8 * k.int().itemsize - 1)))

    @helper
    def with_sign(x, y):
        return unbits(integer(bits(x) | integer(bits(y) & sign)))

    return with_sign
