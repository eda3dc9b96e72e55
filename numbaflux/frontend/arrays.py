"""Array expressions as loops: shapes, broadcasting, and elements computed where they are needed.

note [Lazy]  A `Lazy` is an array expression whose loop has not been written: its shape is known
(and checked), its elements are computed at the index that asks.  A chain of them becomes one loop.
Whoever keeps one must see to it that nothing writes its operands before it is used.

note [Factors]  In NumPy an axis of length 1 repeats.  An operand whose length is not known to be
the result's is read at `factor * index`, with a factor of 0 or 1 computed once before the loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numba import types

from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import BOOL, Array, Atom, Const, Global, Opaque, Scalar, Type, Var

ZERO, ONE = index(0), index(1)
COUNTERS = "ijklmnpq"


@dataclass(frozen=True, slots=True)
class Lazy:
    """An array expression without memory: `at(b, index)` writes one element. note [Lazy]"""

    shape: tuple[Atom, ...]
    type: Array
    at: Callable[[Builder, Sequence[Atom]], Atom]


Operand = Atom | Lazy
ScalarFn = Callable[..., Atom]

# ---- operands ----------------------------------------------------------------------------------


def is_array(x: object) -> bool:
    return isinstance(x, Lazy) or (isinstance(x, Var | Global) and isinstance(x.type, Array))


def rank(x: Operand) -> int:
    return x.type.ndim if isinstance(x.type, Array) else 0


def element_type(x: Operand) -> Scalar:
    """The type of a scalar, or of an array's elements."""
    type = x.type.element if isinstance(x.type, Array) else x.type
    assert isinstance(type, Scalar), f"{x} holds no numbers"
    return type


def shape(b: Builder, x: Operand) -> list[Atom]:
    """The lengths of an operand's axes; none for a scalar."""
    if isinstance(x, Lazy):
        return list(x.shape)
    return [b.dim(x, axis) for axis in range(rank(x))]


def product(b: Builder, lengths: Sequence[Atom]) -> Atom:
    return reduce(b.mul, lengths, ONE)


def size(b: Builder, x: Operand) -> Atom:
    return product(b, shape(b, x))


def element(b: Builder, x: Operand, at: Sequence[Atom], type: Type | None = None) -> Atom:
    """The element of an array, or a scalar itself; cast to `type` if that is given."""
    if isinstance(x, Lazy):
        value = x.at(b, at)
    else:
        value = b.load(x, at) if is_array(x) else x
    return value if type is None else b.cast(value, type)


def as_array(b: Builder, v: Operand | tuple, type: Array | None = None) -> Operand:
    """An operand with an axis: an array itself, the items of a (nested) tuple, or one number."""
    items = v if isinstance(v, tuple) else (v,)
    if not isinstance(v, tuple) and is_array(v):
        return v
    found = list(_numbers(items, ()))
    depth = len(found[0][0]) if found else 1
    lengths = [
        index(1 + max(at[axis] for at, _ in found)) if found else ZERO for axis in range(depth)
    ]
    common = np.result_type(*(element_type(x).numpy for _, x in found)) if found else np.float64
    out = new(b, lengths, type or Array(Scalar(np.dtype(common).name), depth))
    for at, x in found:
        b.store(out, [index(k) for k in at], b.cast(x, element_type(out)))
    return out


def _numbers(items: tuple, at: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Atom]]:
    """The numbers in nested tuples, each with its index."""
    for k, item in enumerate(items):
        if isinstance(item, tuple):
            yield from _numbers(item, (*at, k))
        else:
            yield (*at, k), item


def check(b: Builder, wrong: Atom, exception: type[BaseException], message: str) -> None:
    """Raise exception(message) if `wrong`."""
    b.raise_if(wrong, exception, Const(message, Opaque(types.unicode_type)))


def any_of(b: Builder, conditions: Sequence[Atom]) -> Atom:
    return reduce(lambda x, y: b.prim("or", x, y), conditions, Const(False, BOOL))


def differ(b: Builder, m: Atom, n: Atom) -> Atom:
    return Const(False, BOOL) if m == n else b.prim("ne", m, n)


def truth(b: Builder, x: Atom) -> Atom:
    """x as a condition: not zero; nan is true."""
    return x if x.type == BOOL else b.prim("ne", x, Const(0, x.type))


# ---- loops -------------------------------------------------------------------------------------


def loops(
    b: Builder,
    lengths: Sequence[Atom],
    body: Callable[..., Sequence[Atom] | None],
    inits: Sequence[Atom] = (),
    names: Sequence[str] | None = None,
    order: Sequence[int] | None = None,
) -> tuple[Atom, ...]:
    """A nest of For over `lengths`, the last axis innermost unless `order` says otherwise.

    `body(index, *carried)` returns the next carried values; the last ones are the result.
    """
    axes = tuple(order if order is not None else range(len(lengths)))

    def level(depth: int, at: dict[int, Atom], carried: Sequence[Atom]) -> Sequence[Atom]:
        if depth == len(axes):
            return body([at[axis] for axis in range(len(lengths))], *carried) or ()
        axis = axes[depth]
        if lengths[axis] == ONE:
            return level(depth + 1, {**at, axis: ZERO}, carried)
        with b.for_(lengths[axis], carried, COUNTERS[axis % len(COUNTERS)], names) as loop:
            loop.yields = level(depth + 1, {**at, axis: loop.k}, loop.carried)
        return loop.results

    return tuple(level(0, {}, inits))


def memory_order(type: Type) -> tuple[int, ...]:
    """The axes from the outermost to the innermost in memory."""
    assert isinstance(type, Array)
    axes = tuple(range(type.ndim))
    return axes[::-1] if type.layout == "F" else axes


# ---- broadcasting ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Broadcast:
    """The shape several operands have together, and how each is read. note [Factors]"""

    shape: tuple[Atom, ...]
    factors: tuple[tuple[Atom, ...], ...]

    def elements(self, b: Builder, operands: Sequence[Operand], at: Sequence[Atom]) -> list[Atom]:
        return [
            element(b, x, _own_index(b, factors, at)) for x, factors in zip(operands, self.factors)
        ]


def broadcast(
    b: Builder, shapes: Sequence[Sequence[Atom]], onto: Sequence[Atom] | None = None
) -> Broadcast:
    """Broadcast shapes together, or onto a given one; raises ValueError where that is impossible.

    Equal lengths are known to be equal only if they are the same atom: see `shapes_of`.
    """
    ndim = max((len(s) for s in shapes), default=0) if onto is None else len(onto)
    wrong: list[Atom] = []
    lengths: list[Atom] = []
    for axis in range(ndim):
        own = [s[axis - ndim] for s in shapes if len(s) >= ndim - axis]
        length = _together(b, own) if onto is None else onto[axis]
        wrong += [_cannot(b, n, length) for n in dict.fromkeys(own)]
        lengths.append(length)
    wrong += [b.prim("ne", n, ONE) for s in shapes for n in s[: max(len(s) - ndim, 0)]]
    check(b, any_of(b, wrong), ValueError, "unable to broadcast arrays of these shapes")
    known: dict[tuple[Atom, Atom], Atom] = {}
    return Broadcast(tuple(lengths), tuple(_factors(b, own, lengths, known) for own in shapes))


def shapes_of(b: Builder, operands: Sequence[Operand]) -> list[list[Atom]]:
    """The operands' shapes; one operand met twice is asked once."""
    known: dict[int, list[Atom]] = {}
    for x in operands:
        if id(x) not in known:
            known[id(x)] = shape(b, x)
    return [known[id(x)] for x in operands]


def _together(b: Builder, lengths: Sequence[Atom]) -> Atom:
    """The common length of an axis, if there is one: that of any operand longer than 1."""
    total: Atom = ONE
    for n in dict.fromkeys(lengths):
        if total == ONE:
            total = n
        elif n != ONE and n != total:
            total = b.select(b.prim("eq", total, ONE), n, total)
    return total


def _cannot(b: Builder, n: Atom, length: Atom) -> Atom:
    if n in (length, ONE):
        return Const(False, BOOL)
    return b.prim("and", b.prim("ne", n, length), b.prim("ne", n, ONE))


def _factors(
    b: Builder,
    own: Sequence[Atom],
    lengths: Sequence[Atom],
    known: dict[tuple[Atom, Atom], Atom],
) -> tuple[Atom, ...]:
    extra = max(len(own) - len(lengths), 0)
    factors: list[Atom] = [ZERO] * extra
    own = own[extra:]
    for n, length in zip(own, lengths[len(lengths) - len(own) :]):
        if (n, length) not in known:
            one = b.prim("eq", n, ONE) if n != length else Const(False, BOOL)
            known[n, length] = b.select(one, ZERO, ONE)
        factors.append(known[n, length])
    return tuple(factors)


def _own_index(b: Builder, factors: Sequence[Atom], at: Sequence[Atom]) -> list[Atom]:
    padded = [ZERO] * (len(factors) - len(at)) + list(at)[max(len(at) - len(factors), 0) :]
    return [b.mul(f, k) for f, k in zip(factors, padded)]


# ---- element-wise ------------------------------------------------------------------------------


def new(
    b: Builder, lengths: Sequence[Atom], type: Type, zero: bool = False, name: str = "array"
) -> Var:
    """A new array of a type that memory can have: C unless F is asked for, writable."""
    assert isinstance(type, Array)
    layout = "F" if type.layout == "F" else "C"
    return b.alloc(lengths, replace(type, layout=layout, readonly=False), zero, name)


def elementwise(
    b: Builder,
    operands: Sequence[Operand],
    result: Array,
    scalar_fn: ScalarFn,
    out: Atom | None = None,
    may_alias: bool = False,
    name: str = "array",
) -> Atom:
    """scalar_fn over broadcast operands, into a new array or into `out`.

    `may_alias`: `out` may overlap an operand in other places than element on element; then
    everything is computed before anything is stored, as in NumPy.
    """
    if out is not None and may_alias and any(map(is_array, operands)):
        value = elementwise(b, operands, result, scalar_fn)
        return elementwise(b, [value], result, copied, out)
    if out is None:
        return materialise(b, lazy_elementwise(b, operands, result, scalar_fn), name)
    whole, *shapes = shapes_of(b, [out, *operands])
    found = broadcast(b, shapes, whole)

    def body(at: list[Atom]) -> None:
        value = scalar_fn(b, *found.elements(b, operands, at))
        b.store(out, at, b.cast(value, element_type(out)))

    loops(b, found.shape, body, order=memory_order(out.type))
    return out


def lazy_elementwise(
    b: Builder, operands: Sequence[Operand], result: Array, scalar_fn: ScalarFn
) -> Lazy:
    """scalar_fn over broadcast operands: the shapes are checked now, the elements come later."""
    operands = tuple(_once(b, x, result.ndim) for x in operands)
    found = broadcast(b, shapes_of(b, operands))

    def at(b: Builder, index: Sequence[Atom]) -> Atom:
        return b.cast(scalar_fn(b, *found.elements(b, operands, index)), result.element)

    return Lazy(found.shape, result, at)


def _once(b: Builder, x: Operand, ndim: int) -> Operand:
    """An expression that a result of `ndim` axes would compute again and again, computed once."""
    return materialise(b, x) if isinstance(x, Lazy) and rank(x) < ndim else x


def copied(b: Builder, x: Atom) -> Atom:
    """The scalar function of a copy."""
    return x


def materialise(b: Builder, x: Operand, name: str = "array") -> Atom:
    """The array a Lazy stands for, computed into new memory; any other operand itself."""
    if not isinstance(x, Lazy):
        return x
    result = new(b, x.shape, x.type, name=name)
    loops(b, x.shape, lambda at: b.store(result, at, x.at(b, at)), order=memory_order(x.type))
    return result


def copy(b: Builder, x: Operand, type: Type, name: str = "copy") -> Atom:
    """A new array of the given type with the elements of `x`."""
    assert isinstance(type, Array)
    return elementwise(b, [x], type, copied, name=name)


def assign(b: Builder, out: Atom, value: Operand, may_alias: bool = False) -> None:
    """out[...] = value, broadcast."""
    assert isinstance(out.type, Array)
    elementwise(b, [value], out.type, copied, out, may_alias)


def add_to(b: Builder, out: Atom, value: Operand, may_alias: bool = False) -> None:
    """out[...] += value, broadcast."""
    if may_alias:
        value = elementwise(b, [value], _type_of(value), copied)
    found = broadcast(b, [shape(b, value)], shape(b, out))

    def body(at: list[Atom]) -> None:
        (v,) = found.elements(b, [value], at)
        b.accumulate(out, at, b.cast(v, element_type(out)))

    loops(b, found.shape, body, order=memory_order(out.type))


def _type_of(x: Operand) -> Array:
    return Array(element_type(x), rank(x))


def fibre(b: Builder, x: Operand, axis: int, at: Sequence[Atom]) -> Lazy:
    """The elements of `x` along one axis, as an expression; `at` indexes the other axes."""
    at = list(at)

    def along(b: Builder, k: Sequence[Atom]) -> Atom:
        return element(b, x, [*at[:axis], k[0], *at[axis:]])

    return Lazy((shape(b, x)[axis],), Array(element_type(x), 1), along)
