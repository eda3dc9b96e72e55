"""The public functions, each to 1 ulp or better in double and in single precision.

note [Calls]  In `@njit` code a call is resolved by the type of its argument, and inlined.  From
Python a function is a ufunc, compiled when it is first called with a type.  Where the processor
has no fused multiply-add, both are what `math` has.
note [Libraries]  A function's code is written once a process, into a module of its own, since
Numba would put a caller's `fastmath` on every instruction of the caller's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, overload, type_callable

from numbaflux.vecmath import error, exponential, hyperbolic, logarithm, power, trigonometric
from numbaflux.vecmath.bits import fused
from numbaflux.vecmath.coefficients import F32, F64, Kind
from numbaflux.vecmath.number import define, function_type

Function = Callable[..., Any]
Make = Callable[[Kind], Function]
ALIKE = {types.float64: F64, types.float32: F32}


def exp(x):
    """e^x, to 0.75 ulp (single precision: 0.78).

    Infinite from 709.79 (88.73), 0 below -745.2 (-104); denormal results are rounded once.

    >>> from numbaflux import vecmath
    >>> vecmath.exp(1.0)
    np.float64(2.718281828459...)
    """
    return _call(exp, x)


def expm1(x):
    """e^x - 1, to 0.89 ulp (single precision: 0.94), small where x is.

    >>> from numbaflux import vecmath
    >>> vecmath.expm1(1e-20)
    np.float64(1e-20)
    """
    return _call(expm1, x)


def log(x):
    """The natural logarithm, to 0.63 ulp (single precision: 0.64); -inf at 0, nan below.

    >>> from numbaflux import vecmath
    >>> vecmath.log(10.0)
    np.float64(2.302585092994...)
    """
    return _call(log, x)


def log1p(x):
    """log(1 + x), to 0.64 ulp (single precision: 0.69), small where x is; -inf at -1, nan below.

    >>> from numbaflux import vecmath
    >>> vecmath.log1p(1e-20)
    np.float64(1e-20)
    """
    return _call(log1p, x)


def sin(x):
    """sin(x), x in radians, to 0.72 ulp (single precision: 0.76).

    Beyond |x| = 2^45 (2^17), where doubles are 1/128 apart, it is the C library's, as double.

    >>> from numbaflux import vecmath
    >>> vecmath.sin(1.0)
    np.float64(0.841470984807896...)
    """
    return _call(sin, x)


def cos(x):
    """cos(x), x in radians, to 0.70 ulp (single precision: 0.75); see `sin`.

    >>> from numbaflux import vecmath
    >>> vecmath.cos(1.0)
    np.float64(0.54030230586813...)
    """
    return _call(cos, x)


def tan(x):
    """tan(x), x in radians, to 0.80 ulp (single precision: 0.91); see `sin`.

    >>> from numbaflux import vecmath
    >>> vecmath.tan(1.0)
    np.float64(1.55740772465490...)
    """
    return _call(tan, x)


def atan(x):
    """The angle between -pi/2 and pi/2 with tan(angle) = x, to 0.84 ulp (single precision: 0.96).

    >>> from numbaflux import vecmath
    >>> vecmath.atan(1.0)
    np.float64(0.7853981633974483)
    """
    return _call(atan, x)


def sinh(x):
    """(e^x - e^-x) / 2, to 0.84 ulp (single precision: 0.93); infinite from 710.48 (89.42).

    >>> from numbaflux import vecmath
    >>> vecmath.sinh(1.0)
    np.float64(1.1752011936438...)
    """
    return _call(sinh, x)


def cosh(x):
    """(e^x + e^-x) / 2, to 0.88 ulp (single precision: 0.88); infinite from 710.48 (89.42).

    >>> from numbaflux import vecmath
    >>> vecmath.cosh(1.0)
    np.float64(1.5430806348152...)
    """
    return _call(cosh, x)


def tanh(x):
    """sinh(x) / cosh(x), to 0.77 ulp (single precision: 0.86).

    >>> from numbaflux import vecmath
    >>> vecmath.tanh(1.0)
    np.float64(0.761594155955764...)
    """
    return _call(tanh, x)


def sigmoid(x):
    """1 / (1 + e^-x), to 0.78 ulp (single precision: 0.80), down to denormal results.

    >>> from numbaflux import vecmath
    >>> vecmath.sigmoid(0.0), vecmath.sigmoid(-700.0)
    (np.float64(0.5), np.float64(9.85967654375...e-305))
    """
    return _call(sigmoid, x)


def softplus(x):
    """log(1 + e^x), to 0.80 ulp (single precision: 0.80); never overflows.

    >>> from numbaflux import vecmath
    >>> vecmath.softplus(0.0), vecmath.softplus(1000.0)
    (np.float64(0.6931471805599453), np.float64(1000.0))
    """
    return _call(softplus, x)


def erf(x):
    """The error function, 2/sqrt(pi) times the integral of e^-t^2 from 0 to x, to 0.87 ulp (0.99).

    >>> from numbaflux import vecmath
    >>> vecmath.erf(1.0)
    np.float64(0.842700792949714...)
    """
    return _call(erf, x)


def pow(x, y):
    """x^y, to 0.84 ulp (single precision: 0.51); nan for x < 0 unless y is a whole number.

    Special values are those of C: pow(x, 0) = pow(1, y) = 1 even for nan.

    >>> from numbaflux import vecmath
    >>> vecmath.pow(2.0, 0.5), vecmath.pow(-2.0, 3.0)
    (np.float64(1.414213562373095...), np.float64(-8.0))
    """
    return _call(pow, x, y)


# ---- calls -------------------------------------------------------------------------------------


def _call(fn: Function, *args: Any) -> Any:
    """A call from Python.  note [Calls]"""
    arrays = [np.asarray(a) for a in args]
    kind = F32 if all(a.dtype == np.float32 for a in arrays) else F64
    with np.errstate(all="ignore"):  # the ways not taken leave their flags too
        return _ufunc(fn, kind)(*(a.astype(kind.float, copy=False) for a in arrays))


@functools.cache
def _ufunc(fn: Function, kind: Kind) -> Any:
    """A function as a ufunc for one type: one for both would take the wider when it is there."""
    del kind
    return numba.vectorize((lambda x, y: fn(x, y)) if fn is pow else (lambda x: fn(x)))


def _kind(*args: types.Type) -> Kind | None:
    """The type to compute with; None if an argument is no real number."""
    known = (*ALIKE, types.boolean)
    if all(isinstance(t, types.Integer) or t in known for t in args):
        return F32 if all(t == types.float32 for t in args) else F64
    return None


def _enter(fn: Function, make: Make, plain: Make) -> None:
    """Let `fn(x)` be called in `@njit` code; `plain` does without fma.  note [Calls]"""

    @type_callable(fn)
    def typed(context: Any) -> Any:
        del context
        return lambda x: x if x in ALIKE else None

    @overload(fn)
    def choose(x):
        if isinstance(x, types.Array) and (kind := _kind(x.dtype)):
            ufunc = _ufunc(fn, kind)
            return lambda x: ufunc(x)
        if x in ALIKE or _kind(x) is None:
            return None
        return lambda x: fn(np.float64(x))

    _enter_floats(fn, make, plain, 1)


def _enter_floats(fn: Function, make: Make, plain: Make, arity: int) -> None:
    for t, kind in ALIKE.items():
        lower_builtin(fn, *[t] * arity)(_lowered(fn.__name__, kind, make, plain, arity))


def _lowered(name: str, kind: Kind, make: Make, plain: Make, arity: int) -> Any:
    """Numba's lowering of a call.  note [Libraries]"""
    full = f"numbaflux_{name}_{np.dtype(kind.float).name}"

    @functools.cache
    def library(codegen: Any) -> Any:
        made = codegen.create_library(full)
        module = made.create_ir_module(full)
        define(module, full, np.dtype(kind.float), arity, make(kind))
        made.add_ir_module(module)
        made.finalize()
        return made

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not fused():
            return context.compile_internal(builder, plain(kind), signature, args)
        context.active_code_library.add_linking_library(library(context.codegen()))
        function = builder.module.globals.get(full) or ir.Function(
            builder.module, function_type(np.dtype(kind.float), arity), full
        )
        return builder.call(function, args)

    return lower


def _plain(fn: Function) -> Make:
    return lambda kind: lambda x: fn(x)


def _plain_sigmoid(kind: Kind) -> Function:
    ZERO, ONE = kind.constants("0 1")

    def sigmoid(x):
        z = math.exp(-abs(x))
        return (ONE if x >= ZERO else z) / (ONE + z)

    return sigmoid


def _plain_softplus(kind: Kind) -> Function:
    (ZERO,) = kind.constants("0")
    return lambda x: max(x, ZERO) + math.log1p(math.exp(-abs(x)))


def _plain_pow(kind: Kind) -> Function:
    del kind
    return lambda x, y: x**y


@type_callable(pow)
def _type_pow(context: Any) -> Any:
    del context
    return lambda x, y: x if x == y and x in ALIKE else None


@overload(pow)
def _convert_pow(x, y):
    kind = _kind(x, y)
    if kind is None or (x == y and x in ALIKE):
        return None
    convert = kind.float
    return lambda x, y: pow(convert(x), convert(y))


for _fn, _make, _libm in (
    (exp, exponential.exp, math.exp),
    (expm1, exponential.expm1, math.expm1),
    (log, logarithm.log, math.log),
    (log1p, logarithm.log1p, math.log1p),
    (sin, trigonometric.sin, math.sin),
    (cos, trigonometric.cos, math.cos),
    (tan, trigonometric.tan, math.tan),
    (atan, trigonometric.atan, math.atan),
    (sinh, hyperbolic.sinh, math.sinh),
    (cosh, hyperbolic.cosh, math.cosh),
    (tanh, hyperbolic.tanh, math.tanh),
    (erf, error.erf, math.erf),
):
    _enter(_fn, _make, _plain(_libm))
_enter(sigmoid, hyperbolic.sigmoid, _plain_sigmoid)
_enter(softplus, hyperbolic.softplus, _plain_softplus)
_enter_floats(pow, power.pow, _plain_pow, 2)
