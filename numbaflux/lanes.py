"""Lanes: a fixed number of tangents as one value, which the machine keeps in vector registers.

What generated forward mode calls.  A value of K lanes is a Numba type of its own with the
arithmetic that a tangent needs; in memory it is the last axis of an array, K long and contiguous.
Run as plain Python a value of lanes is a NumPy array of length K, so the generated source also
runs, slowly, without Numba.
"""

from __future__ import annotations

import operator
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, models, register_model, type_callable

SMALL = 8  # matrices narrower than this are multiplied by loops, which beat BLAS's call

# ---- in Python ---------------------------------------------------------------------------------


def zeros(width):
    """No derivative in any lane."""
    return np.zeros(width)


def unit(lane, width):
    """A one in that lane, and in none if there is no such lane."""
    return (np.arange(width) == lane).astype(np.float64)


def lane(value, i):
    """The i-th of the lanes."""
    return value[i]


def single(value):
    """The lanes as float32."""
    return value.astype(np.float32)


def double(value):
    """The lanes as float64."""
    return value.astype(np.float64)


def gmul(value, factor):
    """value * factor, but 0 * factor is 0 even where the factor is infinite or nan."""
    with np.errstate(invalid="ignore"):
        return np.where(value != 0, value * factor, value)


def load(width, array, index):
    """array[index]: `width` lanes."""
    return array[index].copy()


def store(value, array, index):
    """array[index] = value."""
    array[index] = value


def add(value, array, index):
    """array[index] += value."""
    array[index] += value


def put(value, array, place, first, count):
    """`count` lanes from the `first` on into as many elements from `place` on, which is >= 0."""
    if count > 0:
        array[place : place + count] = value[first : first + count]


@numba.njit(cache=True)
def grow(buffer, index):
    """`buffer` if it has a row `index`, else a copy twice as long, or longer, zeroed behind."""
    size = buffer.shape[0]
    if index < size:
        return buffer
    longer = np.zeros((max(2 * size, index + 1, 16), buffer.shape[1]), dtype=buffer.dtype)
    for k in range(size):
        longer[k] = buffer[k]
    return longer


@numba.njit(cache=True)
def gemm(out, a, b):
    """out += a @ b for matrices, of which `out` and one of the others have lanes."""
    if out.shape[0] < SMALL or out.shape[1] < SMALL:
        _multiply(out, a, b)
    elif a.ndim == 2:
        wide = np.ascontiguousarray(b).reshape(b.shape[0], b.shape[1] * b.shape[2])
        product = np.dot(np.ascontiguousarray(a), wide)
        for i in range(out.shape[0]):
            _add(out[i], product[i].reshape(out.shape[1], out.shape[2]))
    else:
        turned = np.ascontiguousarray(b.T)
        for i in range(out.shape[0]):
            _add(out[i], np.dot(turned, np.ascontiguousarray(a[i])))


@numba.njit(cache=True)
def _multiply(out, a, b):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(a.shape[1]):
                for at in range(out.shape[2]):
                    if a.ndim == 2:
                        out[i, j, at] += a[i, k] * b[k, j, at]
                    else:
                        out[i, j, at] += a[i, k, at] * b[k, j]


@numba.njit(cache=True)
def _add(target, source):
    for i in range(target.shape[0]):
        for j in range(target.shape[1]):
            target[i, j] += source[i, j]


# ---- the type ----------------------------------------------------------------------------------


class Lanes(types.Type):
    """Numba's type of `width` floating point numbers in one value."""

    def __init__(self, element: types.Float, width: int) -> None:
        self.element, self.width = element, width
        super().__init__(f"Lanes({element}, {width})")


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, ty: Lanes) -> None:
        number = ir.DoubleType() if ty.element == types.float64 else ir.FloatType()
        super().__init__(manager, ty, ir.VectorType(number, ty.width))


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    """A value in all lanes of a vector."""
    undefined, bit32 = ir.Constant(vector, ir.Undefined), ir.IntType(32)
    one = builder.insert_element(undefined, value, ir.Constant(bit32, 0))
    first = ir.Constant(ir.VectorType(bit32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, undefined, first)


def _numbers(width: int) -> Any:
    """The number of each lane."""
    return ir.Constant(ir.VectorType(ir.IntType(64), width), list(range(width)))


def _operand(context: Any, builder: Any, value: Any, ty: Any, to: Lanes) -> Any:
    """An operand as a vector: a number counts in all lanes."""
    if isinstance(ty, Lanes):
        return value
    number = context.cast(builder, value, ty, to.element)
    return _splat(builder, number, context.get_value_type(to))


def _of_lanes(*operands: Any) -> Lanes | None:
    """The type of an operation with lanes among its operands; they are of one type."""
    found = [t for t in operands if isinstance(t, Lanes)]
    fits = all(t == found[0] if isinstance(t, Lanes) else isinstance(t, types.Float)
               for t in operands)  # fmt: skip
    return found[0] if found and fits else None


def _arithmetic(op: Any, instruction: str) -> None:
    @type_callable(op)
    def type_op(context):
        def typer(x, y):
            return _of_lanes(x, y)

        return typer

    def lower(context, builder, sig, args):
        vectors = [
            _operand(context, builder, a, t, sig.return_type) for a, t in zip(args, sig.args)
        ]
        return getattr(builder, instruction)(*vectors)

    for signature in ((Lanes, Lanes), (Lanes, types.Float), (types.Float, Lanes)):
        lower_builtin(op, *signature)(lower)


for _op, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _arithmetic(_op, _instruction)


@type_callable(operator.neg)
def _type_neg(context):
    def typer(x):
        return x if isinstance(x, Lanes) else None

    return typer


@lower_builtin(operator.neg, Lanes)
def _lower_neg(context, builder, sig, args):
    return builder.fneg(args[0])


# ---- functions ---------------------------------------------------------------------------------


def _literal(t: Any) -> int | None:
    return t.literal_value if isinstance(t, types.IntegerLiteral) else None


@type_callable(zeros)
def _type_zeros(context):
    def typer(width):
        return None if _literal(width) is None else Lanes(types.float64, width.literal_value)

    return typer


@lower_builtin(zeros, types.Integer)
def _lower_zeros(context, builder, sig, args):
    ty = sig.return_type
    return ir.Constant(context.get_value_type(ty), [0.0] * ty.width)


@type_callable(unit)
def _type_unit(context):
    def typer(lane, width):
        if _literal(width) is None or not isinstance(lane, types.Integer):
            return None
        return Lanes(types.float64, width.literal_value)

    return typer


@lower_builtin(unit, types.Integer, types.Integer)
def _lower_unit(context, builder, sig, args):
    lanes = sig.return_type
    at = context.cast(builder, args[0], sig.args[0], types.int64)
    numbers = _numbers(lanes.width)
    chosen = builder.icmp_signed("==", numbers, _splat(builder, at, numbers.type))
    one, zero = (ir.Constant(context.get_value_type(lanes), [v] * lanes.width) for v in (1.0, 0.0))
    return builder.select(chosen, one, zero)


@type_callable(lane)
def _type_lane(context):
    def typer(value, i):
        return value.element if isinstance(value, Lanes) else None

    return typer


@lower_builtin(lane, Lanes, types.Integer)
def _lower_lane(context, builder, sig, args):
    i = context.cast(builder, args[1], sig.args[1], types.int64)
    return builder.extract_element(args[0], i)


def _conversion(fn: Any, element: types.Float, instruction: str) -> None:
    @type_callable(fn)
    def type_conversion(context):
        def typer(value):
            return Lanes(element, value.width) if isinstance(value, Lanes) else None

        return typer

    @lower_builtin(fn, Lanes)
    def lower(context, builder, sig, args):
        if sig.args[0] == sig.return_type:
            return args[0]
        return getattr(builder, instruction)(args[0], context.get_value_type(sig.return_type))


_conversion(single, types.float32, "fptrunc")
_conversion(double, types.float64, "fpext")


@type_callable(gmul)
def _type_gmul(context):
    def typer(value, factor):
        return _of_lanes(value, factor) if isinstance(value, Lanes) else None

    return typer


@lower_builtin(gmul, Lanes, types.Any)
def _lower_gmul(context, builder, sig, args):
    ty = sig.return_type
    factor = _operand(context, builder, args[1], sig.args[1], ty)
    zero = ir.Constant(context.get_value_type(ty), [0.0] * ty.width)
    nonzero = builder.fcmp_unordered("!=", args[0], zero)
    return builder.select(nonzero, builder.fmul(args[0], factor), args[0])


# ---- memory ------------------------------------------------------------------------------------


def _entries(index: Any) -> tuple[Any, ...]:
    """The types of an index: one integer, or a tuple of them."""
    items: Any = index  # BaseTuple does not declare that all its subclasses iterate
    return tuple(items) if isinstance(index, types.BaseTuple) else (index,)


def _indexes(array: Any, index: Any) -> bool:
    entries = _entries(index)
    return (
        isinstance(array, types.Array)
        and len(entries) == array.ndim - 1
        and all(isinstance(i, types.Integer) for i in entries)
    )


@type_callable(load)
def _type_load(context):
    def typer(width, array, index):
        if _literal(width) is None or not _indexes(array, index):
            return None
        return Lanes(array.dtype, width.literal_value)

    return typer


def _type_write(context):
    def typer(value, array, index):
        if not isinstance(value, Lanes) or not _indexes(array, index):
            return None
        return types.void

    return typer


type_callable(store)(_type_write)
type_callable(add)(_type_write)


def _address(context: Any, builder: Any, lanes: Lanes, array: Any, index: Any) -> Any:
    """Where array[index] begins; `array` and `index` are pairs of a type and a value."""
    (ty, value), (index_type, index_value) = array, index
    entries = _entries(index_type)
    if isinstance(index_type, types.BaseTuple):
        values = [builder.extract_value(index_value, i) for i in range(len(entries))]
    else:
        values = [index_value]
    made = context.make_array(ty)(context, builder, value)
    word = ir.IntType(64)
    offset = ir.Constant(word, 0)
    for axis, (t, i) in enumerate(zip(entries, values)):
        at = context.cast(builder, i, t, types.intp)
        size = builder.extract_value(made.shape, axis)
        if t.signed:  # Python's meaning: from the end
            negative = builder.icmp_signed("<", at, ir.Constant(word, 0))
            at = builder.select(negative, builder.add(at, size), at)
        if ty.layout == "C":
            offset = builder.add(builder.mul(offset, size), at)
        else:
            stride = builder.extract_value(made.strides, axis)
            offset = builder.add(offset, builder.mul(at, stride))
    if ty.layout == "C":
        start = builder.gep(made.data, [builder.mul(offset, ir.Constant(word, lanes.width))])
    else:
        byte = builder.bitcast(made.data, ir.IntType(8).as_pointer())
        start = builder.gep(byte, [offset])
    return builder.bitcast(start, context.get_value_type(lanes).as_pointer())


def _read(context: Any, builder: Any, lanes: Lanes, address: Any) -> Any:
    value = builder.load(address)
    value.align = lanes.element.bitwidth // 8
    return value


def _write(builder: Any, lanes: Lanes, address: Any, value: Any) -> None:
    builder.store(value, address).align = lanes.element.bitwidth // 8


@lower_builtin(load, types.Any, types.Array, types.Any)
def _lower_load(context, builder, sig, args):
    pairs = list(zip(sig.args, args))
    address = _address(context, builder, sig.return_type, *pairs[1:])
    return _read(context, builder, sig.return_type, address)


@lower_builtin(store, types.Any, types.Array, types.Any)
def _lower_store(context, builder, sig, args):
    pairs = list(zip(sig.args, args))
    address = _address(context, builder, sig.args[0], *pairs[1:])
    _write(builder, sig.args[0], address, args[0])
    return context.get_dummy_value()


@lower_builtin(add, types.Any, types.Array, types.Any)
def _lower_add(context, builder, sig, args):
    pairs = list(zip(sig.args, args))
    address = _address(context, builder, sig.args[0], *pairs[1:])
    total = builder.fadd(_read(context, builder, sig.args[0], address), args[0])
    _write(builder, sig.args[0], address, total)
    return context.get_dummy_value()


@type_callable(put)
def _type_put(context):
    def typer(value, array, place, first, count):
        fits = isinstance(value, Lanes) and isinstance(array, types.Array) and array.ndim == 1
        return types.void if fits and array.layout == "C" else None

    return typer


@lower_builtin(put, Lanes, types.Array, types.Integer, types.Integer, types.Integer)
def _lower_put(context, builder, sig, args):
    """One masked store, which leaves the memory beside the lanes that are put as it is."""
    lanes = sig.args[0]
    place, first, count = (
        context.cast(builder, a, t, types.int64) for a, t in zip(args[2:], sig.args[2:])
    )
    made = context.make_array(sig.args[1])(context, builder, args[1])
    start = builder.gep(made.data, [builder.sub(place, first)])
    numbers = _numbers(lanes.width)
    mask = builder.and_(
        builder.icmp_signed(">=", numbers, _splat(builder, first, numbers.type)),
        builder.icmp_signed("<", numbers, _splat(builder, builder.add(first, count), numbers.type)),
    )
    vector, align = args[0].type, ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [vector, vector.as_pointer(), align, mask.type])
    name = f"llvm.masked.store.v{lanes.width}f{lanes.element.bitwidth}.p0"
    store = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    start = builder.bitcast(start, vector.as_pointer())
    builder.call(store, [args[0], start, ir.Constant(align, lanes.element.bitwidth // 8), mask])
    return context.get_dummy_value()
