"""NumPy's calls that lay arrays side by side, repeat them, or view them in another shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from numbaflux.frontend.arrays import (
    ONE,
    ZERO,
    Lazy,
    Operand,
    any_of,
    as_array,
    check,
    copy,
    differ,
    element,
    element_type,
    loops,
    materialise,
    new,
    rank,
    shape,
)
from numbaflux.frontend.calls import Call, as_index, axis_of, integer, lengths
from numbaflux.frontend.reductions import total
from numbaflux.frontend.views import flattened, flipped, raveled, reshaped, transposed, with_axis
from numbaflux.ir.build import Builder, array_of
from numbaflux.ir.nodes import I64, Array, Atom

# ---- side by side ------------------------------------------------------------------------------


def joined(b: Builder, parts: Sequence[Operand], axis: int, type: Array, name: str) -> Atom:
    """The parts one after another along an axis; their other lengths must agree."""
    shapes = [shape(b, p) for p in parts]
    wrong = [
        differ(b, m, n)
        for s in shapes[1:]
        for other, (m, n) in enumerate(zip(s, shapes[0]))
        if other != axis
    ]
    check(b, any_of(b, wrong), ValueError, "input sizes do not match over the other axes")
    offsets: list[Atom] = [ZERO]
    for s in shapes:
        offsets.append(b.add(offsets[-1], s[axis]))
    out = new(b, [*shapes[0][:axis], offsets.pop(), *shapes[0][axis + 1 :]], type, name=name)
    for part, own, offset in zip(parts, shapes, offsets):
        loops(b, own, _copy_at(b, out, part, axis, offset))
    return out


def _copy_at(
    b: Builder, out: Atom, part: Operand, axis: int, offset: Atom
) -> Callable[[list[Atom]], None]:
    def body(at: list[Atom]) -> None:
        target = [*at[:axis], b.add(at[axis], offset), *at[axis + 1 :]]
        b.store(out, target, element(b, part, at, element_type(out)))

    return body


def widened(b: Builder, x: Operand, axis: int) -> Lazy:
    """x with a new axis of length 1, as an expression."""
    own = shape(b, x)
    lengths = (*own[:axis], ONE, *own[axis:])

    def at(b: Builder, k: Sequence[Atom]) -> Atom:
        return element(b, x, [*k[:axis], *k[axis + 1 :]])

    return Lazy(lengths, Array(element_type(x), len(lengths)), at)


def parts_of(b: Builder, call: Call, arrays: Any) -> list[Operand]:
    """The arrays of a tuple, or the rows of one array."""
    if not isinstance(arrays, tuple):
        raise call.unsupported(
            "of one array", "the number of parts is not known", "give a tuple of arrays"
        )
    return [as_array(b, a) for a in arrays]


def concatenate(b: Builder, call: Call, arrays: Any, axis: Any = ZERO) -> Atom:
    parts = parts_of(b, call, arrays)
    return joined(b, parts, axis_of(call, axis, rank(parts[0])), call.array, call.name)


def stack(b: Builder, call: Call, arrays: Any, axis: Any = ZERO) -> Atom:
    """The parts along a new axis."""
    parts = parts_of(b, call, arrays)
    at = axis_of(call, axis, rank(parts[0]) + 1)
    return joined(b, [widened(b, p, at) for p in parts], at, call.array, call.name)


def hstack(b: Builder, call: Call, tup: Any) -> Atom:
    parts = parts_of(b, call, tup)
    return joined(b, parts, min(rank(parts[0]) - 1, 1), call.array, call.name)


def vstack(b: Builder, call: Call, tup: Any) -> Atom:
    parts = [widened(b, p, 0) if rank(p) == 1 else p for p in parts_of(b, call, tup)]
    return joined(b, parts, 0, call.array, call.name)


def column_stack(b: Builder, call: Call, tup: Any) -> Atom:
    parts = [widened(b, p, 1) if rank(p) == 1 else p for p in parts_of(b, call, tup)]
    return joined(b, parts, 1, call.array, call.name)


def dstack(b: Builder, call: Call, tup: Any) -> Atom:
    parts = [widened(b, p, 0) if rank(p) == 1 else p for p in parts_of(b, call, tup)]
    parts = [widened(b, p, 2) if rank(p) == 2 else p for p in parts]
    return joined(b, parts, 2, call.array, call.name)


def append(b: Builder, call: Call, arr: Any, values: Any, axis: Any = None) -> Atom:
    """np.append: both flattened, unless there is an axis."""
    parts = [as_array(b, arr), as_array(b, values)]
    if axis is None:
        return joined(b, [raveled(b, p) for p in parts], 0, call.array, call.name)
    return joined(b, parts, axis_of(call, axis, rank(parts[0])), call.array, call.name)


# ---- again and shifted -------------------------------------------------------------------------


def repeat(b: Builder, call: Call, a: Any, repeats: Any) -> Atom:
    """Each element `repeats` times, which may be an array of numbers."""
    x = raveled(b, as_array(b, a))
    n = b.dim(x, 0)
    if isinstance(repeats, tuple) or rank(repeats) > 0:
        return _repeat_each(b, call, x, materialise(b, as_array(b, repeats)))
    times = as_index(b, repeats)
    negative = b.prim("lt", times, ZERO)
    check(b, negative, ValueError, "negative dimensions are not allowed")
    out = new(b, [b.mul(n, times)], call.array, name=call.name)
    with b.for_(n, index="i") as loop:
        v, start = b.load(x, [loop.k]), b.mul(loop.k, times)
        loops(b, [times], lambda at: b.store(out, [b.add(start, at[0])], v))
    return out


def _repeat_each(b: Builder, call: Call, x: Atom, times: Atom) -> Atom:
    n = b.dim(x, 0)
    wrong = differ(b, b.dim(times, 0), n)
    check(b, wrong, ValueError, "operands could not be broadcast together")
    out = new(b, [total(b, times, I64)], call.array, name=call.name)

    def body(at: list[Atom], start: Atom) -> list[Atom]:
        v, count = b.load(x, at), b.cast(b.load(times, at), I64)
        loops(b, [count], lambda k: b.store(out, [b.add(start, k[0])], v))
        return [b.add(start, count)]

    loops(b, [n], body, [ZERO], ["start"])
    return out


def roll(b: Builder, call: Call, a: Any, shift: Any) -> Atom:
    """np.roll of the elements in C order: two loops, neither of which wraps around."""
    whole = as_array(b, a)
    x = raveled(b, whole)
    out = new(b, shape(b, whole), replace(call.array, layout="C"), name=call.name)
    flat = raveled(b, out)
    n = b.dim(x, 0)
    by = b.prim("mod", as_index(b, shift), b.prim("max", n, ONE))
    rest = b.sub(n, by)
    loops(b, [rest], lambda k: b.store(flat, [b.add(k[0], by)], b.load(x, k)))
    loops(b, [by], lambda k: b.store(flat, k, b.load(x, [b.add(k[0], rest)])))
    return out


def diff(b: Builder, call: Call, a: Any, n: Any = ONE) -> Atom:
    """Differences of neighbours along the last axis, n times."""
    times = integer(call, n, "order")
    x: Operand = as_array(b, a)
    if times == 0:
        return copy(b, x, call.array, call.name)
    for _ in range(times):
        x = _neighbours(b, call, materialise(b, x))
    return materialise(b, x)


def _neighbours(b: Builder, call: Call, x: Atom) -> Atom:
    *outer, last = shape(b, x)
    count = b.prim("max", b.sub(last, ONE), ZERO)
    out = new(b, [*outer, count], call.array, name=call.name)

    def body(at: list[Atom]) -> None:
        following = [*at[:-1], b.add(at[-1], ONE)]
        b.store(out, at, b.sub(b.load(x, following), b.load(x, at)))

    loops(b, [*outer, count], body)
    return out


# ---- views -------------------------------------------------------------------------------------


def reshape(b: Builder, call: Call, a: Any, *shape: Any) -> Atom:
    """a.reshape(n, m) and np.reshape(a, (n, m))."""
    x = materialise(b, a)
    if array_of(x).layout != "C":
        raise call.unsupported(
            f"of an array of layout {array_of(x).layout}",
            "only the elements of a C array have another shape in the same memory",
            "copy it first: np.ascontiguousarray(a).reshape(...)",
        )
    wanted = shape[0] if len(shape) == 1 else shape
    return reshaped(b, x, lengths(call, b, wanted), call.array)


def ravel(b: Builder, call: Call, a: Any) -> Atom:
    """A view of a C array, a copy of any other."""
    return raveled(b, as_array(b, a))


def flatten(b: Builder, call: Call, a: Any) -> Atom:
    return flattened(b, a, call.array)


def transpose(b: Builder, call: Call, a: Any, *axes: Any) -> Atom:
    """np.transpose(a, axes), a.transpose(*axes): a view."""
    x = materialise(b, a)
    given = axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], tuple)) else axes
    order = [axis_of(call, i, rank(x)) for i in given or ()]
    return transposed(b, x, order or None, call.array)


def swapaxes(b: Builder, call: Call, a: Any, axis1: Any, axis2: Any) -> Atom:
    x = materialise(b, a)
    order = list(range(rank(x)))
    i, j = (axis_of(call, axis, rank(x)) for axis in (axis1, axis2))
    order[i], order[j] = order[j], order[i]
    return transposed(b, x, order, call.array)


def flip(axes: Sequence[int] | None) -> Callable[..., Atom]:
    """The handler of a flip of the given axes, None: of all."""

    def call(b: Builder, call: Call, m: Any) -> Atom:
        x = materialise(b, m)
        return flipped(b, x, range(rank(x)) if axes is None else axes, call.array)

    return call


def expand_dims(b: Builder, call: Call, a: Any, axis: Any) -> Atom:
    x = materialise(b, a)
    return with_axis(b, x, axis_of(call, axis, rank(x) + 1))


def atleast(ndim: int) -> Callable[..., Atom]:
    """The handler of np.atleast_1d or np.atleast_2d of one array."""

    def call(b: Builder, call: Call, a: Any) -> Atom:
        x = materialise(b, as_array(b, a))
        return with_axis(b, x, 0) if rank(x) < ndim else x

    return call


FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.concatenate: concatenate,
    np.stack: stack,
    np.hstack: hstack,
    np.vstack: vstack,
    np.column_stack: column_stack,
    np.dstack: dstack,
    np.append: append,
    np.repeat: repeat,
    np.roll: roll,
    np.diff: diff,
    np.reshape: reshape,
    np.ravel: ravel,
    np.transpose: transpose,
    np.swapaxes: swapaxes,
    np.flip: flip(None),
    np.flipud: flip((0,)),
    np.fliplr: flip((1,)),
    np.expand_dims: expand_dims,
    np.atleast_1d: atleast(1),
    np.atleast_2d: atleast(2),
}
METHODS: dict[str, Callable[..., Any]] = {
    "repeat": repeat,
    "reshape": reshape,
    "ravel": ravel,
    "flatten": flatten,
    "transpose": transpose,
}
