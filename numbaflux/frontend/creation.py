"""NumPy's calls that make arrays: of a value, of a range, of another array's part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numbaflux.frontend.arrays import (
    ONE,
    ZERO,
    Operand,
    as_array,
    assign,
    check,
    copied,
    copy,
    differ,
    element,
    element_type,
    elementwise,
    is_array,
    lazy_elementwise,
    loops,
    materialise,
    new,
    rank,
    shape,
    truth,
)
from numbaflux.frontend.calls import Call, as_index, lengths
from numbaflux.ir.build import Builder, array_of, const, index
from numbaflux.ir.nodes import F64, I64, Atom, Const, Scalar

# ---- of one value ------------------------------------------------------------------------------


def zeros(b: Builder, call: Call, shape: Any, dtype: Any = None) -> Atom:
    return new(b, lengths(call, b, shape), call.array, True, call.name)


def empty(b: Builder, call: Call, shape: Any, dtype: Any = None) -> Atom:
    return new(b, lengths(call, b, shape), call.array, False, call.name)


def ones(b: Builder, call: Call, shape: Any, dtype: Any = None) -> Atom:
    return full(b, call, shape, const(1, call.scalar))


def full(b: Builder, call: Call, shape: Any, fill_value: Any, dtype: Any = None) -> Atom:
    out = empty(b, call, shape)
    assign(b, out, fill_value)
    return out


def zeros_like(b: Builder, call: Call, a: Any, dtype: Any = None) -> Atom:
    return new(b, shape(b, as_array(b, a)), call.array, True, call.name)


def empty_like(b: Builder, call: Call, a: Any, dtype: Any = None) -> Atom:
    return new(b, shape(b, as_array(b, a)), call.array, False, call.name)


def ones_like(b: Builder, call: Call, a: Any, dtype: Any = None) -> Atom:
    return full_like(b, call, a, const(1, call.scalar))


def full_like(b: Builder, call: Call, a: Any, fill_value: Any, dtype: Any = None) -> Atom:
    out = empty_like(b, call, a)
    assign(b, out, fill_value)
    return out


def fill(b: Builder, call: Call, a: Atom, value: Atom) -> None:
    """a.fill(value)"""
    assign(b, a, value)


# ---- of a range --------------------------------------------------------------------------------


def arange(
    b: Builder, call: Call, start: Atom, stop: Any = None, step: Any = None, dtype: Any = None
) -> Atom:
    """start + k * step while that is before stop."""
    if stop is None:
        start, stop = Const(0, I64), start
    step = index(1) if step is None else step
    number = F64 if any(element_type(v).is_float for v in (start, stop, step)) else I64
    start, stop, step = (b.cast(v, number) for v in (start, stop, step))
    count = b.prim("max", _steps(b, start, stop, step), ZERO)
    out = new(b, [count], call.array, name=call.name)

    def body(at: list[Atom]) -> None:
        value = b.add(start, b.mul(b.cast(at[0], number), step))
        b.store(out, at, b.cast(value, call.scalar))

    loops(b, [count], body)
    return out


def _steps(b: Builder, start: Atom, stop: Atom, step: Atom) -> Atom:
    """ceil((stop - start) / step), computed as Numba does unless the step is the integer 1."""
    if step == ONE:
        return b.sub(stop, start)
    zero = b.prim("eq", step, const(0, step.type))
    check(b, zero, ValueError, "Maximum allowed size exceeded")
    quotient = b.prim("div", b.cast(b.sub(stop, start), F64), b.cast(step, F64))
    return b.cast(b.prim("ceil", quotient), I64)


def linspace(b: Builder, call: Call, start: Atom, stop: Atom, num: Any = 50) -> Atom:
    """num points from start to stop, both included."""
    start, stop = b.cast(start, F64), b.cast(stop, F64)
    count = as_index(b, num)
    out = new(b, [count], call.array, name=call.name)
    last = b.sub(count, ONE)
    step = b.prim("div", b.sub(stop, start), b.cast(b.prim("max", last, ONE), F64))

    def body(at: list[Atom]) -> None:
        b.store(out, at, b.add(start, b.mul(b.cast(at[0], F64), step)))

    loops(b, [count], body)
    with b.arm() as then:
        b.store(out, [last], stop)
    with b.arm() as orelse:
        pass
    b.if_(b.prim("gt", count, ONE), then.block, orelse.block)
    return out


# ---- matrices ----------------------------------------------------------------------------------


def eye(b: Builder, call: Call, N: Atom, M: Any = None, k: Any = ZERO, dtype: Any = None) -> Atom:
    """Ones on the k-th diagonal."""
    rows = as_index(b, N)
    columns = rows if M is None else as_index(b, M)
    out = new(b, [rows, columns], call.array, True, call.name)
    one = const(1, call.scalar)
    on_diagonal(b, rows, columns, as_index(b, k), lambda _, at: b.store(out, at, one))
    return out


def identity(b: Builder, call: Call, n: Atom, dtype: Any = None) -> Atom:
    return eye(b, call, n)


def on_diagonal(
    b: Builder,
    rows: Atom,
    columns: Atom,
    k: Atom,
    body: Callable[[Atom, list[Atom]], None],
) -> None:
    """body(q, [i, j]) for the elements of the k-th diagonal of a matrix."""
    down, right, count = diagonal(b, rows, columns, k)
    loops(b, [count], lambda at: body(at[0], [b.add(at[0], down), b.add(at[0], right)]))


def diagonal(b: Builder, rows: Atom, columns: Atom, k: Atom) -> tuple[Atom, Atom, Atom]:
    """Where the k-th diagonal begins, and how long it is."""
    down, right = b.prim("max", b.neg(k), ZERO), b.prim("max", k, ZERO)
    count = b.prim("min", b.sub(rows, down), b.sub(columns, right))
    return down, right, b.prim("max", count, ZERO)


def diag(b: Builder, call: Call, v: Any, k: Any = ZERO) -> Atom:
    """The matrix with v on its k-th diagonal, or the k-th diagonal of a matrix, copied."""
    x, k = materialise(b, as_array(b, v)), as_index(b, k)
    if rank(x) == 1:
        n = b.add(b.dim(x, 0), b.prim("abs", k))
        out = new(b, [n, n], call.array, True, call.name)
        on_diagonal(b, n, n, k, lambda q, at: b.store(out, at, b.load(x, [q])))
        return out
    rows, columns = shape(b, x)
    out = new(b, [diagonal(b, rows, columns, k)[2]], call.array, name=call.name)
    on_diagonal(b, rows, columns, k, lambda q, at: b.store(out, [q], b.load(x, at)))
    return out


def triangle(lower: bool) -> Callable[..., Atom]:
    """The handler of np.tril or np.triu: zero beyond the k-th diagonal."""

    def call(b: Builder, call: Call, m: Any, k: Any = ZERO) -> Atom:
        x, k = as_array(b, m), as_index(b, k)
        if rank(x) != 2:
            raise call.unsupported(
                f"of {rank(x)} dimensions", "only matrices have a triangle here", "loop over them"
            )
        rows, columns = shape(b, x)
        out = new(b, [rows, columns], call.array, True, call.name)
        with b.for_(rows, index="i") as loop:
            cut = b.add(loop.k, b.add(k, ONE) if lower else k)
            cut = b.prim("max", b.prim("min", cut, columns), ZERO)
            begin, count = (ZERO, cut) if lower else (cut, b.sub(columns, cut))
            with b.for_(count, index="j") as inner:
                at = [loop.k, b.add(inner.k, begin)]
                b.store(out, at, element(b, x, at, call.scalar))
        return out

    return call


# ---- of other arrays ---------------------------------------------------------------------------


def array(b: Builder, call: Call, object: Any, dtype: Any = None) -> Atom:
    """np.array: a copy of an array, or of (nested) tuples of numbers."""
    if isinstance(object, tuple) and not any(map(is_array, object)):
        return materialise(b, as_array(b, object, call.array))
    if isinstance(object, tuple):
        return rows_of(b, call, object)
    return copy(b, object, call.array, call.name)


def rows_of(b: Builder, call: Call, rows: tuple[Operand, ...]) -> Atom:
    """An array whose rows are the given arrays, of one shape."""
    lengths = shape(b, rows[0])
    out = new(b, [index(len(rows)), *lengths], call.array, name=call.name)
    for k, row in enumerate(rows):
        for n, m in zip(shape(b, row), lengths):
            check(b, differ(b, n, m), ValueError, "inhomogeneous shape")
        loops(
            b, lengths,
            lambda at, k=k, row=row: b.store(
                out, [index(k), *at], element(b, row, at, call.scalar)
            ),
        )  # fmt: skip
    return out


def asarray(b: Builder, call: Call, a: Any, dtype: Any = None) -> Atom:
    """np.asarray: the array itself if it has the type already."""
    if isinstance(a, tuple):
        return array(b, call, a)
    if not is_array(a):
        return array(b, call, (a,))
    x = materialise(b, a)
    same = element_type(x) == call.scalar and call.array.layout in (array_of(x).layout, "A")
    return x if same else copy(b, x, call.array, call.name)


def copy_of(b: Builder, call: Call, a: Any) -> Atom:
    """a.copy(), and np.copy."""
    return copy(b, as_array(b, a), call.array, call.name)


def astype(b: Builder, call: Call, a: Operand, dtype: Any) -> Operand:
    """a.astype(dtype): never the array itself."""
    return lazy_elementwise(b, [a], call.array, copied)


def item(b: Builder, call: Call, a: Operand) -> Atom:
    """a.item(): the only element."""
    wrong = [b.prim("ne", n, ONE) for n in shape(b, a)]
    for w in wrong:
        check(b, w, ValueError, "item(): cannot convert array of size != 1 to Python scalar")
    return element(b, a, [ZERO] * rank(a))


def clip(
    b: Builder, call: Call, a: Any, a_min: Any = None, a_max: Any = None, out: Any = None
) -> Operand:
    """min(max(a, a_min), a_max)"""
    bounds = [x for x in (a_min, a_max) if x is not None]
    elements = {element_type(x) for x in (a, *bounds)}
    wide = F64 if any(t.is_float for t in elements) else I64
    number = elements.pop() if len(elements) == 1 else wide
    suffix = "imum" if any(map(is_array, bounds)) else ""

    def scalar(b: Builder, x: Atom, *limits: Atom) -> Atom:
        x, rest = b.cast(x, number), [b.cast(v, number) for v in limits]
        if a_min is not None:
            x = b.prim(f"max{suffix}", x, rest.pop(0))
        return b.prim(f"min{suffix}", x, rest.pop(0)) if a_max is not None else x

    if not is_array(a) and not any(map(is_array, bounds)):
        return scalar(b, a, *bounds)
    if out is None:
        return lazy_elementwise(b, [a, *bounds], call.array, scalar)
    return elementwise(b, [a, *bounds], call.array, scalar, out, may_alias=True)


def where(b: Builder, call: Call, condition: Any, x: Any = None, y: Any = None) -> Operand:
    """np.where(condition, x, y), element by element."""
    if x is None:
        raise call.unsupported(
            "of a condition alone", "the number of results is not known", "use np.flatnonzero"
        )

    def scalar(b: Builder, c: Atom, x: Atom, y: Atom) -> Atom:
        return b.select(truth(b, c), b.cast(x, call.scalar), b.cast(y, call.scalar))

    if isinstance(call.type, Scalar):
        return scalar(b, condition, x, y)
    return lazy_elementwise(b, [condition, x, y], call.array, scalar)


FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.zeros: zeros,
    np.empty: empty,
    np.ones: ones,
    np.full: full,
    np.zeros_like: zeros_like,
    np.empty_like: empty_like,
    np.ones_like: ones_like,
    np.full_like: full_like,
    np.arange: arange,
    np.linspace: linspace,
    np.eye: eye,
    np.identity: identity,
    np.diag: diag,
    np.tril: triangle(lower=True),
    np.triu: triangle(lower=False),
    np.array: array,
    np.asarray: asarray,
    np.ascontiguousarray: asarray,
    np.asfortranarray: asarray,
    np.copy: copy_of,
    np.clip: clip,
    np.where: where,
}
METHODS: dict[str, Callable[..., Any]] = {
    "fill": fill,
    "copy": copy_of,
    "astype": astype,
    "item": item,
    "clip": clip,
}
