"""Functions of numbers that only devices have: `cuda.fma`, `cuda.popc`, `cuda.libdevice.sinf`, ...

A function of libdevice means the primitive that it approximates; `fast_sinf` is as `sinf`.  Those
that round up or down (`fadd_ru`) are left out: their results differ from the nearest in a way
that a derivative does not follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from numba.core import types

from numbaflux.frontend import scalars
from numbaflux.frontend.kernels import register
from numbaflux.frontend.values import Call, TupleValue, Value, scalar_type
from numbaflux.ir.build import const
from numbaflux.ir.nodes import BOOL, I64, Atom, Scalar

Compute = Callable[..., Any]  # (builder, *arguments) -> the atom of the result, or a list of them
F32, F64, I32, U32 = types.float32, types.float64, types.int32, types.uint32

# ---- of cuda itself ----------------------------------------------------------------------------


@register("selp", lambda a, b, c: types.unliteral(b))
def _select(b: Any, call: Call) -> Value:
    cond, x, y = call.args
    return b.select(scalars.convert(b, cond, BOOL), x, scalars.convert(b, y, x.type), call.name)


@register("fma", lambda a, b, c: types.unliteral(a))
def _fma(b: Any, call: Call) -> Value:
    x, y, z = call.args
    return _fused(b, x, y, z, call.name)


def _fused(b: Any, x: Atom, y: Atom, z: Atom, name: str = "t") -> Atom:
    return b.add(b.mul(x, y), z, name=name)


register("cbrt", lambda a: F32 if a == F32 else F64)(
    lambda b, call: b.prim("cbrt", *_converted(b, call), name=call.name)
)


def _integer(x: types.Type) -> Any:
    if not isinstance(x, types.Integer):
        raise TypeError("the argument is an integer")
    return types.unliteral(x)


def _unsigned(x: types.Type) -> types.Type:
    return types.uint32 if _integer(x).bitwidth <= 32 else types.uint64


def _bits(op: str) -> Callable[[Any, Call], Value]:
    """`op` of the bits of an integer, which the primitives take as the low ones of 64."""

    def lower(b: Any, call: Call) -> Value:
        (x,) = call.args
        result, width = scalar_type(call.type, call.loc), 8 * x.type.numpy.itemsize
        if op == "brev":
            x, width = b.cast(x, result), 8 * result.numpy.itemsize
        x = b.cast(x, Scalar(f"uint{width}"))
        found = b.prim(op, b.cast(x, Scalar("uint64")))
        if op == "clz":
            found = b.sub(found, const(64 - width, found.type))
        if op == "brev":
            found = b.prim("rshift", found, const(64 - width, found.type))
        return b.cast(found, result, call.name)

    return lower


register("popc", _integer)(_bits("popc"))
register("clz", _integer)(_bits("clz"))
register("brev", _unsigned)(_bits("brev"))
register("ffs", lambda x: types.uint32 if _integer(x) else types.none)(_bits("ffs"))

# ---- libdevice ---------------------------------------------------------------------------------


def _converted(b: Any, call: Call) -> list[Atom]:
    """The arguments in the type of the result."""
    return scalars.alike(b, call.args, scalar_type(call.type, call.loc))


def _device(name: str, args: tuple[types.Type, ...], result: types.Type, f: Compute) -> None:
    """libdevice's `name`, from arguments of these types."""

    def typed(*given: types.Type) -> types.Type:
        if len(given) != len(args):
            raise TypeError(f"{len(args)} arguments, not {len(given)}")
        return result

    @register(f"libdevice.{name}", typed)
    def lower(b: Any, call: Call) -> Value:
        wanted = [scalar_type(t, call.loc) for t in args]
        given = [scalars.convert(b, x, t) for x, t in zip(call.args, wanted, strict=True)]
        found = f(b, *given)
        if isinstance(result, types.UniTuple):
            return TupleValue((*found,))
        return scalars.convert(b, found, scalar_type(result, call.loc), call.name)


def _both(name: str, arity: int, f: Compute) -> None:
    """A function of float64 and, with an f behind its name, of float32."""
    _device(name, (F64,) * arity, F64, f)
    _device(f"{name}f", (F32,) * arity, F32, f)


def _is(op: str) -> Compute:
    return lambda b, *args: b.prim(op, *args)


def _of(x: Atom, value: float) -> Atom:
    return const(value, x.type)


def _reciprocal(b: Any, x: Atom) -> Atom:
    return b.prim("div", _of(x, 1), x)


def _half_away(b: Any, x: Atom) -> Atom:
    """The nearest integer, of two the one farther from zero."""
    whole = b.prim("trunc", x)
    rest = b.prim("abs", b.sub(x, whole))
    step = b.prim("copysign", _of(x, 1), x)
    return b.select(b.prim("ge", rest, _of(x, 0.5)), b.add(whole, step), whole)


def _difference(b: Any, x: Atom, y: Atom) -> Atom:
    return b.select(b.prim("le", x, y), _of(x, 0), b.sub(x, y))


def _scaled(b: Any, x: Atom, n: Atom) -> Atom:
    return b.mul(x, b.prim("ipow", _of(x, 2), b.cast(n, I64), type=x.type))


def _sign_bit(b: Any, x: Atom) -> Atom:
    return b.prim("lt", b.prim("copysign", _of(x, 1), x), _of(x, 0))


def _normal(b: Any, x: Atom) -> Atom:
    """The distribution function of the normal distribution."""
    return b.mul(_of(x, 0.5), b.prim("erfc", b.mul(x, _of(x, -math.sqrt(0.5)))))


def _pi(b: Any, x: Atom) -> Atom:
    return b.mul(x, _of(x, math.pi))


def _saturated(b: Any, x: Atom) -> Atom:
    return b.prim("fmin", b.prim("fmax", x, _of(x, 0)), _of(x, 1))


ONE: dict[str, Compute] = {
    **{
        name: _is(name)
        for name in (
            "acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "ceil", "cos", "cosh",
            "erf", "erfc", "exp", "exp2", "expm1", "floor", "lgamma", "log", "log10", "log1p",
            "log2", "rint", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
        )
    },
    "fabs": _is("abs"),
    "tgamma": _is("gamma"),
    "nearbyint": _is("rint"),
    "round": _half_away,
    "exp10": lambda b, x: b.prim("pow", _of(x, 10), x),
    "rsqrt": lambda b, x: _reciprocal(b, b.prim("sqrt", x)),
    "rcbrt": lambda b, x: _reciprocal(b, b.prim("cbrt", x)),
    "sinpi": lambda b, x: b.prim("sin", _pi(b, x)),
    "cospi": lambda b, x: b.prim("cos", _pi(b, x)),
    "normcdf": _normal,
}  # fmt: skip
TWO: dict[str, Compute] = {
    **{name: _is(name) for name in ("atan2", "copysign", "fmax", "fmin", "fmod", "hypot", "pow")},
    "fdim": _difference,
}
NEAREST: dict[str, tuple[int, Compute]] = {
    "add": (2, _is("add")), "sub": (2, _is("sub")), "mul": (2, _is("mul")), "div": (2, _is("div")),
    "rcp": (1, _reciprocal), "sqrt": (1, _is("sqrt")),
}  # fmt: skip
FAST = ("sin", "cos", "tan", "exp", "exp10", "log", "log2", "log10")

for _name, _f in ONE.items():
    _both(_name, 1, _f)
for _name, _f in TWO.items():
    _both(_name, 2, _f)
for _name, (_arity, _f) in NEAREST.items():
    for _letter, _type in (("f", F32), ("d", F64)):
        _device(f"{_letter}{_name}_rn", (_type,) * _arity, _type, _f)
for _name in FAST:
    _device(f"fast_{_name}f", (F32,), F32, ONE[_name])
_device("fast_powf", (F32, F32), F32, TWO["pow"])
_device("fast_fdividef", (F32, F32), F32, _is("div"))
_device("frsqrt_rn", (F32,), F32, ONE["rsqrt"])
_device("saturatef", (F32,), F32, _saturated)
for _suffix, _type in (("", F64), ("f", F32)):
    _device(f"fma{_suffix}", (_type,) * 3, _type, _fused)
    _device(f"fma{_suffix}_rn", (_type,) * 3, _type, _fused)
    for _name in ("ldexp", "scalbn"):
        _device(f"{_name}{_suffix}", (_type, I32), _type, _scaled)
    _device(
        f"powi{_suffix}", (_type, I32), _type,
        lambda b, x, n: b.prim("ipow", x, b.cast(n, I64), type=x.type),
    )  # fmt: skip
    for _name, _made in (("sincos", lambda b, x: x), ("sincospi", _pi)):
        _device(
            f"{_name}{_suffix}", (_type,), types.UniTuple(_type, 2),
            lambda b, x, f=_made: [b.prim(op, f(b, x)) for op in ("sin", "cos")],
        )  # fmt: skip
_device(
    "fast_sincosf", (F32,), types.UniTuple(F32, 2),
    lambda b, x: [b.prim(op, x) for op in ("sin", "cos")],
)  # fmt: skip
for _suffix, _type in (("d", F64), ("f", F32)):
    _device(f"signbit{_suffix}", (_type,), I32, _sign_bit)
for _name, _type, _op in (
    ("isnand", F64, "isnan"), ("isnanf", F32, "isnan"), ("isinfd", F64, "isinf"),
    ("isinff", F32, "isinf"), ("isfinited", F64, "isfinite"), ("finitef", F32, "isfinite"),
):  # fmt: skip
    _device(_name, (_type,), I32, _is(_op))

# Integers, and numbers of one type as those of another.
for _prefix, _type in (("", I32), ("ll", types.int64), ("u", U32), ("ull", types.uint64)):
    for _op in ("max", "min"):
        _device(f"{_prefix}{_op}", (_type, _type), _type, _is(_op))
    for _target, _float in (("float", F32), ("double", F64)):
        _kind = {"": "int", "u": "uint"}.get(_prefix, _prefix)
        _device(f"{_kind}2{_target}_rn", (_type,), _float, lambda b, x: x)
        _device(f"{_target}2{_kind}_rz", (_float,), _type, lambda b, x: b.prim("trunc", x))
        _device(f"{_target}2{_kind}_rn", (_float,), _type, lambda b, x: b.prim("rint", x))
        _device(f"{_target}2{_kind}_rd", (_float,), _type, lambda b, x: b.prim("floor", x))
        _device(f"{_target}2{_kind}_ru", (_float,), _type, lambda b, x: b.prim("ceil", x))
for _name, _type in (("abs", I32), ("llabs", types.int64)):
    _device(_name, (_type,), _type, _is("abs"))
_device("double2float_rn", (F64,), F32, lambda b, x: x)
for _suffix, _type in (("", I32), ("ll", types.int64)):
    for _op in ("popc", "clz", "ffs", "brev"):
        _result = _type if _op == "brev" else I32
        register(f"libdevice.{_op}{_suffix}", partial(lambda t, x: t, _result))(_bits(_op))
