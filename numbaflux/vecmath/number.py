"""Numbers that write LLVM's code: an elementary function run on them once is compiled.

The functions of this package are ordinary Python without branches.  Called with a `Number`, each
operation becomes an instruction and gives the next `Number`; Numba's compiler, which takes 20 ms
for the smallest function, has no part in it.  Nothing is reordered and nothing contracted, whatever
the caller's flags say: that would destroy the error terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

_FLOATS = {np.dtype("f8"): ir.DoubleType(), np.dtype("f4"): ir.FloatType()}
_TYPES = {**_FLOATS, np.dtype("i8"): ir.IntType(64), np.dtype("i4"): ir.IntType(32)}


def _arithmetic(of_floats: str, of_integers: str) -> Any:
    def apply(self: Number, other: Any) -> Number:
        name = of_floats if self.is_float else of_integers
        return Number(self.builder, getattr(self.builder, name)(self.value, self.like(other)))

    return apply


def _reflected(of_floats: str, of_integers: str) -> Any:
    apply = _arithmetic(of_floats, of_integers)
    return lambda self, other: apply(Number(self.builder, self.like(other)), self)


def _comparison(relation: str) -> Any:
    def compare(self: Number, other: Any) -> Number:
        b, unequal = self.builder, relation == "!="
        of_floats = b.fcmp_unordered if unequal else b.fcmp_ordered
        apply = of_floats if self.is_float else b.icmp_signed
        return Number(b, apply(relation, self.value, self.like(other)))

    return compare


class Number:
    """A float, an integer or a truth value of the code that is being written.

    Its operators take a `Number` or a NumPy scalar of the same type.
    """

    __slots__ = ("builder", "value")
    __array_ufunc__ = None  # a NumPy scalar on the left leaves the operation to us
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    @property
    def type(self) -> Any:
        return self.value.type

    @property
    def is_float(self) -> bool:
        return not isinstance(self.type, ir.IntType)

    def like(self, other: Any) -> Any:
        """LLVM's value for an operand: a number, or a constant of this number's type."""
        return other.value if isinstance(other, Number) else ir.Constant(self.type, other)

    __add__, __radd__ = _arithmetic("fadd", "add"), _reflected("fadd", "add")
    __sub__, __rsub__ = _arithmetic("fsub", "sub"), _reflected("fsub", "sub")
    __mul__, __rmul__ = _arithmetic("fmul", "mul"), _reflected("fmul", "mul")
    __truediv__, __rtruediv__ = _arithmetic("fdiv", ""), _reflected("fdiv", "")
    __and__, __or__ = _arithmetic("", "and_"), _arithmetic("", "or_")
    __xor__ = _arithmetic("", "xor")
    __lshift__, __rshift__ = _arithmetic("", "shl"), _arithmetic("", "ashr")
    __lt__, __le__ = _comparison("<"), _comparison("<=")
    __gt__, __ge__ = _comparison(">"), _comparison(">=")
    __eq__, __ne__ = _comparison("=="), _comparison("!=")

    def __neg__(self) -> Number:
        return Number(self.builder, self.builder.fneg(self.value))

    def __invert__(self) -> Number:
        return Number(self.builder, self.builder.not_(self.value))

    def __abs__(self) -> Number:
        return _call("llvm.fabs", self)


def _call(intrinsic: str, *args: Any) -> Number:
    """A function of LLVM's whose arguments and result have one type."""
    first = next(a for a in args if isinstance(a, Number))
    kind = ir.FunctionType(first.type, [first.type] * len(args))
    function = first.builder.module.declare_intrinsic(intrinsic, [first.type], kind)
    return Number(first.builder, first.builder.call(function, [first.like(a) for a in args]))


def mad(x: Any, y: Any, z: Any) -> Number:
    """x * y + z, with one rounding where that is faster."""
    return _call("llvm.fmuladd", x, y, z)


def fma(x: Any, y: Any, z: Any) -> Number:
    """x * y + z with one rounding: with z = -x*y what that product has lost."""
    return _call("llvm.fma", x, y, z)


def rint(x: Number) -> Number:
    """The nearest whole number."""
    return _call("llvm.rint", x)


def choose(condition: Number, yes: Any, no: Any) -> Number:
    """`yes` where the condition holds, else `no`; both are computed."""
    known = next((a for a in (yes, no) if isinstance(a, Number)), None)
    kind = known.type if known is not None else _TYPES[yes.dtype]
    values = [a.value if isinstance(a, Number) else ir.Constant(kind, a) for a in (yes, no)]
    return Number(condition.builder, condition.builder.select(condition.value, *values))


def larger(x: Number, y: Any) -> Number:
    """y if it is larger, else x: nan if x is."""
    return choose(x < y, y, x)


def smaller(x: Number, y: Any) -> Number:
    """y if it is smaller, else x: nan if x is."""
    return choose(x > y, y, x)


def clip(x: Number, low: Any, high: Any) -> Number:
    """x between two bounds; nan if it is."""
    return smaller(larger(x, low), high)


# ---- other types -------------------------------------------------------------------------------


def bits(x: Number) -> Number:
    """The bits of a float as an integer."""
    width = 64 if isinstance(x.type, ir.DoubleType) else 32
    return Number(x.builder, x.builder.bitcast(x.value, ir.IntType(width)))


def unbits(n: Number) -> Number:
    """The float with these bits."""
    kind = ir.DoubleType() if n.type.width == 64 else ir.FloatType()
    return Number(n.builder, n.builder.bitcast(n.value, kind))


def widen(x: Number) -> Number:
    """A float as a double."""
    return Number(x.builder, x.builder.fpext(x.value, ir.DoubleType()))


def narrow(x: Number) -> Number:
    """A double rounded to a float."""
    return Number(x.builder, x.builder.fptrunc(x.value, ir.FloatType()))


# ---- functions ---------------------------------------------------------------------------------


def define(module: Any, name: str, kind: np.dtype, arity: int, f: Callable[..., Number]) -> None:
    """Write f, of so many floats of one type, into a module as a function to be inlined."""
    function = ir.Function(module, function_type(kind, arity), name)
    function.attributes.add("alwaysinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(f(*(Number(builder, arg) for arg in function.args)).value)


def function_type(kind: np.dtype, arity: int) -> Any:
    """LLVM's type of a function of so many floats of a type."""
    return ir.FunctionType(_FLOATS[kind], [_FLOATS[kind]] * arity)
