"""Which primitives a Python callable means on scalars.

`scalar(key)` is a function (b, args, type) -> atom for an operator, a function of `math`, a builtin
or a NumPy ufunc, found by identity; `args` have the types of Numba's signature and `type` is that
of its result.  The same functions serve array expressions, element by element.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from numbaflux import vecmath
from numbaflux.ir.build import Builder, const
from numbaflux.ir.nodes import BOOL, I64, Atom, Const, Scalar
from numbaflux.ir.ops import VECTOR

ScalarFn = Callable[[Builder, Sequence[Atom], Scalar], Atom]

TABLE: dict[Any, ScalarFn] = {}


def scalar(key: Any) -> ScalarFn | None:
    """What a callable does to scalars, None if it is not one of ours."""
    try:
        return TABLE.get(key)
    except TypeError:  # unhashable: not a function
        return None


def _means(*keys: Any) -> Callable[[ScalarFn], ScalarFn]:
    def enter(fn: ScalarFn) -> ScalarFn:
        TABLE.update(dict.fromkeys(keys, fn))
        return fn

    return enter


def convert(b: Builder, x: Atom, type: Scalar, name: str = "t") -> Atom:
    """x as a number of the given type; as a bool, whether it is not zero."""
    assert isinstance(x.type, Scalar), f"{x} is not a number"
    if type == BOOL and x.type != BOOL:
        return b.prim("ne", x, const(0, x.type), name=name)
    return b.cast(x, type, name)


def alike(b: Builder, args: Sequence[Atom], type: Scalar) -> list[Atom]:
    return [convert(b, x, type) for x in args]


def common(b: Builder, args: Sequence[Atom]) -> list[Atom]:
    """The arguments of a comparison in the type that holds them all."""
    dtypes = [np.dtype(x.type.numpy) for x in args if isinstance(x.type, Scalar)]
    return alike(b, args, Scalar(np.result_type(*dtypes).name))


# ---- one primitive each ----------------------------------------------------------------------


def _same(op: str) -> ScalarFn:
    """op of arguments converted to the result's type."""
    return lambda b, args, type: b.prim(op, *alike(b, args, type), type=type)


def _float(op: str) -> ScalarFn:
    """op computed in floating point, then converted: math.floor gives an int."""

    def fn(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
        inner = next((x.type for x in args if x.type.is_float), Scalar("float64"))
        kind = type if type.is_float else inner
        assert isinstance(kind, Scalar)
        return convert(b, b.prim(op, *alike(b, args, kind), type=kind), type)

    return fn


def _test(op: str) -> ScalarFn:
    """A comparison."""
    return lambda b, args, type: b.prim(op, *common(b, args), type=BOOL)


def _classify(op: str, of_int: bool) -> ScalarFn:
    """isnan and its kin, known for integers."""
    return lambda b, args, type: (
        b.prim(op, args[0], type=BOOL) if args[0].type.is_float else Const(of_int, BOOL)
    )


SAME = {
    "add": (operator.add, operator.iadd, np.add),
    "sub": (operator.sub, operator.isub, np.subtract),
    "mul": (operator.mul, operator.imul, np.multiply),
    "div": (operator.truediv, operator.itruediv, np.divide),
    "floordiv": (operator.floordiv, operator.ifloordiv, np.floor_divide),
    "mod": (operator.mod, operator.imod, np.remainder),
    "neg": (operator.neg, np.negative),
    "minimum": (np.minimum,),
    "maximum": (np.maximum,),
    "fmin": (np.fmin,),
    "fmax": (np.fmax,),
    "fmod": (np.fmod,),
    "copysign": (math.copysign, np.copysign),
    "sign": (np.sign,),
    "sqrt": (math.sqrt, np.sqrt),
    "cbrt": (np.cbrt,),
    "exp": (math.exp, np.exp),
    "exp2": (np.exp2, getattr(math, "exp2", np.exp2)),
    "expm1": (math.expm1, np.expm1),
    "log2": (math.log2, np.log2),
    "log10": (math.log10, np.log10),
    "log1p": (math.log1p, np.log1p),
    "sin": (math.sin, np.sin),
    "cos": (math.cos, np.cos),
    "tan": (math.tan, np.tan),
    "asin": (math.asin, np.arcsin),
    "acos": (math.acos, np.arccos),
    "atan": (math.atan, np.arctan),
    "atan2": (math.atan2, np.arctan2),
    "sinh": (math.sinh, np.sinh),
    "cosh": (math.cosh, np.cosh),
    "tanh": (math.tanh, np.tanh),
    "asinh": (math.asinh, np.arcsinh),
    "acosh": (math.acosh, np.arccosh),
    "atanh": (math.atanh, np.arctanh),
    "hypot": (math.hypot, np.hypot),
    "erf": (math.erf,),
    "erfc": (math.erfc,),
    "gamma": (math.gamma,),
    "lgamma": (math.lgamma,),
    "bitand": (operator.and_, operator.iand, np.bitwise_and),
    "bitor": (operator.or_, operator.ior, np.bitwise_or),
    "bitxor": (operator.xor, operator.ixor, np.bitwise_xor),
    "lshift": (operator.lshift, operator.ilshift, np.left_shift),
    "rshift": (operator.rshift, operator.irshift, np.right_shift),
    "invert": (operator.invert, np.invert),
}
ROUNDINGS = {
    "floor": (math.floor, np.floor),
    "ceil": (math.ceil, np.ceil),
    "trunc": (math.trunc, np.trunc),
    "rint": (np.rint,),
}
TESTS = {
    "eq": (operator.eq, np.equal),
    "ne": (operator.ne, np.not_equal),
    "lt": (operator.lt, np.less),
    "le": (operator.le, np.less_equal),
    "gt": (operator.gt, np.greater),
    "ge": (operator.ge, np.greater_equal),
}
for _op, _keys in SAME.items():
    _means(*_keys)(_same(_op))
for _name in vecmath.__all__:
    _means(getattr(vecmath, _name))(_same(VECTOR.get(_name, _name)))
for _op, _keys in ROUNDINGS.items():
    _means(*_keys)(_float(_op))
for _op, _keys in TESTS.items():
    _means(*_keys)(_test(_op))
_means(math.isnan, np.isnan)(_classify("isnan", False))
_means(math.isinf, np.isinf)(_classify("isinf", False))
_means(math.isfinite, np.isfinite)(_classify("isfinite", True))
_means(operator.pos, np.positive, float, int, np.conjugate, np.real)(
    lambda b, args, type: convert(b, args[0], type)
)
_means(np.deg2rad, np.radians, math.radians)(
    lambda b, args, type: b.mul(convert(b, args[0], type), const(math.pi / 180, type))
)
_means(np.rad2deg, np.degrees, math.degrees)(
    lambda b, args, type: b.mul(convert(b, args[0], type), const(180 / math.pi, type))
)

# ---- truth -----------------------------------------------------------------------------------


@_means(bool, operator.truth)
def _truth(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    return convert(b, args[0], BOOL)


@_means(operator.not_, np.logical_not)
def _not(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    return b.prim("not", convert(b, args[0], BOOL))


@_means(np.logical_and)
def _and(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    return b.prim("and", *alike(b, args, BOOL))


@_means(np.logical_or)
def _or(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    return b.prim("or", *alike(b, args, BOOL))


@_means(np.logical_xor)
def _xor(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    return b.prim("ne", *alike(b, args, BOOL))


@_means(np.signbit)
def _signbit(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    x = args[0]
    if not x.type.is_float:
        return b.prim("lt", x, const(0, x.type))
    return b.prim("lt", b.prim("copysign", const(1, x.type), x), const(0, x.type))


# ---- a few primitives each -------------------------------------------------------------------


@_means(abs, math.fabs, np.absolute, np.fabs)
def _abs(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    x = convert(b, args[0], type)
    return x if type.dtype.startswith("u") or type == BOOL else b.prim("abs", x)


@_means(operator.pow, operator.ipow, pow, math.pow, np.power, np.float_power)
def _pow(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    x, n = convert(b, args[0], type), args[1]
    if isinstance(n, Const) and n.type.is_float and _is_small_whole(float(n.value)):
        n = Const(int(n.value), I64)  # x ** 2.0 is x ** 2
    if n.type.is_float:
        return b.prim("pow", x, convert(b, n, type), type=type)
    whole = isinstance(n.type, Scalar) and n.type.is_int
    return b.prim("ipow", x, n if whole else convert(b, n, I64), type=type)


def _is_small_whole(x: float) -> bool:
    return abs(x) <= 64 and x % 1 == 0


@_means(math.log, np.log)
def _log(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    logs = [b.prim("log", x, type=type) for x in alike(b, args, type)]
    return reduce(lambda x, base: b.prim("div", x, base), logs)


@_means(min)
def _min(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    return reduce(lambda x, y: b.prim("min", x, y), alike(b, args, type))


@_means(max)
def _max(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    return reduce(lambda x, y: b.prim("max", x, y), alike(b, args, type))


@_means(round, np.round, np.around)
def _round(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    """Half to even, to a number of decimals if there is a second argument."""
    x = args[0]
    if not x.type.is_float:
        return convert(b, x, type)
    if len(args) == 1 or args[1] == Const(0, I64):
        return convert(b, b.prim("rint", x), type)
    n = convert(b, args[1], I64)
    scale = b.prim("ipow", const(10, x.type), b.prim("abs", n), type=x.type)
    finer = b.prim("div", b.prim("rint", b.mul(x, scale)), scale)
    coarser = b.mul(b.prim("rint", b.prim("div", x, scale)), scale)
    return convert(b, b.select(b.prim("ge", n, const(0, I64)), finer, coarser), type)


@_means(np.square)
def _square(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    x = convert(b, args[0], type)
    return b.mul(x, x)


@_means(np.reciprocal)
def _reciprocal(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    op = "div" if type.is_float else "floordiv"
    return b.prim(op, const(1, type), convert(b, args[0], type))


def _logaddexp(b: Builder, args: Sequence[Atom], type: Scalar, exp: str, unit: float) -> Atom:
    """high + log(1 + exp(low - high)), written so that a tie halves the derivative."""
    x, y = alike(b, args, type)
    swap = b.prim("gt", x, y)
    high, low = b.select(swap, x, y), b.select(swap, y, x)
    infinite = b.prim("and", b.prim("eq", x, y), b.prim("isinf", x))
    gap = b.select(infinite, const(0, type), b.sub(low, high))
    log = b.prim("log1p", b.prim(exp, gap))
    return b.add(high, log if unit == 1 else b.mul(log, const(unit, type)))


_means(np.logaddexp)(lambda b, args, type: _logaddexp(b, args, type, "exp", 1.0))
_means(np.logaddexp2)(lambda b, args, type: _logaddexp(b, args, type, "exp2", 1 / math.log(2)))


@_means(math.ldexp, np.ldexp)
def _ldexp(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    scale = b.prim("ipow", const(2, type), convert(b, args[1], I64), type=type)
    return b.mul(convert(b, args[0], type), scale)


@_means(np.sinc)
def _sinc(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    """sin(pi x) / (pi x), 1 at 0; near 0 its Taylor series, whose derivatives are right there."""
    x = b.mul(convert(b, args[0], type), const(math.pi, type))
    small = b.prim("lt", b.prim("abs", x), const(1e-4, type))
    safe = b.select(small, const(1, type), x)
    series = b.sub(const(1, type), b.prim("div", b.mul(x, x), const(6, type)))
    return b.select(small, series, b.prim("div", b.prim("sin", safe), safe))


@_means(np.where)
def _where(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    x, y = alike(b, args[1:], type)
    return b.select(convert(b, args[0], BOOL), x, y)


@_means(np.clip)
def _clip(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    x, low, high = alike(b, args, type)
    return b.prim("minimum", b.prim("maximum", x, low), high)


@_means(np.nan_to_num)
def _nan_to_num(b: Builder, args: Sequence[Atom], type: Scalar) -> Atom:
    x = convert(b, args[0], type)
    if not type.is_float:
        return x
    info = np.finfo(type.numpy)
    nan = alike(b, args[1:2], type)[0] if len(args) > 1 else const(0, type)
    big = b.select(b.prim("gt", x, const(0, type)), const(info.max, type), const(info.min, type))
    finite = b.select(b.prim("isinf", x), big, x)
    return b.select(b.prim("isnan", x), nan, finite)


# ---- division --------------------------------------------------------------------------------

DIVISIONS = {
    operator.truediv: "division by zero",
    operator.itruediv: "division by zero",
    operator.floordiv: "division by zero",
    operator.ifloordiv: "division by zero",
    operator.mod: "modulo by zero",
    operator.imod: "modulo by zero",
}
