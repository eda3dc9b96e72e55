"""Products and norms.  Those of matrices are one `Gemm`; a vector enters it as a row or column."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from numbaflux.frontend.arrays import (
    ONE,
    ZERO,
    Lazy,
    Operand,
    any_of,
    as_array,
    assign,
    check,
    differ,
    element,
    element_type,
    lazy_elementwise,
    loops,
    materialise,
    new,
    rank,
    shape,
)
from numbaflux.frontend.calls import Call, as_index, axis_of
from numbaflux.frontend.creation import diagonal
from numbaflux.frontend.reductions import extreme_of, folded, sum_of, total
from numbaflux.frontend.views import raveled, with_axis
from numbaflux.ir.build import Builder, const, index
from numbaflux.ir.nodes import Array, Atom, Const, Scalar

# ---- products ----------------------------------------------------------------------------------


def dot(b: Builder, call: Call, a: Any, b_: Any, out: Any = None) -> Atom:
    """np.dot, a @ b: of vectors a number, else a Gemm."""
    x, y = as_array(b, a), as_array(b, b_)
    if rank(x) == rank(y) == 1:
        return inner(b, x, y, call.scalar, "dot")
    if max(rank(x), rank(y)) > 2:
        raise call.unsupported(
            "of more than two dimensions", "Numba multiplies vectors and matrices", "loop over them"
        )
    return matrix_product(b, call, materialise(b, x), materialise(b, y), out)


def matrix_product(b: Builder, call: Call, x: Atom, y: Atom, out: Atom | None) -> Atom:
    """x @ y where one is a matrix, the other a matrix or a vector."""
    m, n = shape(b, x), shape(b, y)
    wrong = differ(b, m[-1], n[0])
    check(b, wrong, ValueError, "incompatible array sizes for np.dot(a, b)")
    lengths = [*m[:-1], *n[1:]]
    if out is None:
        out = new(b, lengths, call.array, zero=True, name=call.name)
    else:
        wrong = any_of(b, [differ(b, p, q) for p, q in zip(shape(b, out), lengths)])
        check(b, wrong, ValueError, "incompatible output array size for np.dot(a, b, out)")
        assign(b, out, const(0, element_type(out)))
    target = out
    if rank(x) == 1:
        x, target = with_axis(b, x, 0), with_axis(b, out, 0)
    if rank(y) == 1:
        y, target = with_axis(b, y, 1), with_axis(b, out, 1)
    b.gemm(target, x, y)
    return out


def inner(b: Builder, x: Operand, y: Operand, type: Scalar, title: str) -> Atom:
    """The sum of products of two vectors of one length."""
    n = shape(b, x)[0]
    wrong = differ(b, n, shape(b, y)[0])
    check(b, wrong, ValueError, f"incompatible array sizes for np.{title}(a, b)")

    def at(b: Builder, k: Any) -> Atom:
        return b.mul(element(b, x, k, type), element(b, y, k, type))

    return total(b, Lazy((n,), Array(type, 1), at), type)


def vdot(b: Builder, call: Call, a: Any, b_: Any) -> Atom:
    return inner(b, as_array(b, a), as_array(b, b_), call.scalar, "vdot")


def outer(b: Builder, call: Call, a: Any, b_: Any, out: Any = None) -> Atom:
    """The matrix a[i] * b[j]."""
    x, y = raveled(b, as_array(b, a)), raveled(b, as_array(b, b_))
    lengths = [b.dim(x, 0), b.dim(y, 0)]
    result = new(b, lengths, call.array, name=call.name) if out is None else out
    type = call.scalar

    def body(at: list[Atom]) -> None:
        b.store(result, at, b.mul(element(b, x, at[:1], type), element(b, y, at[1:], type)))

    loops(b, lengths, body)
    return result


def kron(b: Builder, call: Call, a: Any, b_: Any) -> Atom:
    """The Kronecker product of two matrices or two vectors."""
    x, y = materialise(b, as_array(b, a)), materialise(b, as_array(b, b_))
    if rank(x) != rank(y):
        raise call.unsupported(
            "of a vector and a matrix", "Numba has none", "give the vector a second axis"
        )
    m, n, type = shape(b, x), shape(b, y), call.scalar
    result = new(b, [b.mul(p, q) for p, q in zip(m, n)], call.array, name=call.name)

    def body(at: list[Atom]) -> None:
        i, k = at[: len(m)], at[len(m) :]
        to = [b.add(b.mul(p, q), r) for p, q, r in zip(i, n, k)]
        b.store(result, to, b.mul(element(b, x, i, type), element(b, y, k, type)))

    loops(b, [*m, *n], body)
    return result


def trace(b: Builder, call: Call, a: Any, offset: Any = ZERO) -> Atom:
    """The sum of the offset-th diagonal."""
    x = as_array(b, a)
    rows, columns = shape(b, x)
    down, right, count = diagonal(b, rows, columns, as_index(b, offset))

    def at(b: Builder, k: Any) -> Atom:
        return element(b, x, [b.add(k[0], down), b.add(k[0], right)])

    return total(b, Lazy((count,), Array(element_type(x), 1), at), call.scalar)


def cross(b: Builder, call: Call, a: Any, b_: Any) -> Atom:
    """The cross product of two vectors in space."""
    x, y = materialise(b, as_array(b, a)), materialise(b, as_array(b, b_))
    if rank(x) != 1 or rank(y) != 1:
        raise call.unsupported("of many vectors", "only of two vectors here", "loop over them")
    three = index(3)
    wrong = any_of(b, [differ(b, b.dim(v, 0), three) for v in (x, y)])
    check(b, wrong, ValueError, "both vectors of np.cross must have 3 components")
    out = new(b, [three], call.array, name=call.name)
    u, v = ([element(b, w, [index(k)], call.scalar) for k in range(3)] for w in (x, y))
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        b.store(out, [index(k)], b.sub(b.mul(u[i], v[j]), b.mul(u[j], v[i])))
    return out


def trapezoid(b: Builder, call: Call, y: Any, x: Any = None, dx: Any = None) -> Atom:
    """The integral of a vector of values by the trapezoidal rule."""
    values = materialise(b, as_array(b, y))
    if rank(values) != 1:
        raise call.unsupported("over many rows", "only of a vector here", "loop over the rows")
    type, half = call.scalar, const(0.5, call.scalar)
    places = None if x is None else materialise(b, as_array(b, x))
    n = b.dim(values, 0)
    if places is not None:
        wrong = differ(b, n, b.dim(places, 0))
        check(b, wrong, ValueError, "y and x of np.trapezoid must have one length")

    def at(b: Builder, k: Any) -> Atom:
        after = [b.add(k[0], ONE)]
        both = b.add(element(b, values, k, type), element(b, values, after, type))
        if places is not None:
            width = b.sub(element(b, places, after, type), element(b, places, k, type))
        else:
            width = const(1, type) if dx is None else b.cast(dx, type)
        return b.mul(width, b.mul(both, half))

    count = b.prim("max", b.sub(n, ONE), ZERO)
    return total(b, Lazy((count,), Array(type, 1), at), type)


# ---- running sums and products -----------------------------------------------------------------


def running(op: str) -> Callable[..., Atom]:
    """The handler of np.cumsum ("add") or np.cumprod ("mul")."""

    def call(b: Builder, call: Call, a: Any, axis: Any = None, dtype: Any = None) -> Atom:
        x = as_array(b, a)
        along = None if axis is None else axis_of(call, axis, rank(x))
        x = raveled(b, x) if along is None else x
        along = along or 0
        lengths = shape(b, x)
        out = new(b, lengths, call.array, name=call.name)

        def fibre(rest: list[Atom]) -> None:
            def body(k: list[Atom], acc: Atom) -> list[Atom]:
                at = [*rest[:along], *k, *rest[along:]]
                acc = b.prim(op, acc, element(b, x, at, call.scalar))
                b.store(out, at, acc)
                return [acc]

            init = const(0 if op == "add" else 1, call.scalar)
            loops(b, [lengths[along]], body, [init], ["s" if op == "add" else "p"])

        loops(b, lengths[:along] + lengths[along + 1 :], fibre)
        return out

    return call


# ---- norms -------------------------------------------------------------------------------------


def norm(b: Builder, call: Call, x: Any, ord: Any = None) -> Atom:
    """np.linalg.norm of a vector or a matrix; `ord` must be a constant."""
    a, type = as_array(b, x), call.scalar
    order = ord.value if isinstance(ord, Const) else ord
    if not (order is None or isinstance(order, int | float)):
        raise call.unsupported(
            "with a computed order", "the loops depend on it", "write the order as a number"
        )
    if order is None or (order == 2 and rank(a) == 1):
        return b.prim("sqrt", _sum_of(b, a, type, lambda b, v: b.mul(v, v)))
    if rank(a) == 1:
        return _vector_norm(b, a, type, float(order))
    if abs(order) == 1 or math.isinf(order):
        return _matrix_norm(b, a, type, float(order))
    raise call.unsupported(
        f"of a matrix with order {order}", "it needs singular values", "use orders 1, inf, or none"
    )


def _absolute(b: Builder, a: Operand, type: Scalar) -> Lazy:
    absolute = Array(type, rank(a))
    return lazy_elementwise(b, [a], absolute, lambda b, v: b.prim("abs", b.cast(v, type)))


def _sum_of(b: Builder, a: Operand, type: Scalar, f: Callable[[Builder, Atom], Atom]) -> Atom:
    def step(b: Builder, s: Atom, v: Atom) -> Atom:
        return b.add(s, f(b, b.cast(v, type)))

    return folded(b, a, const(0, type), step, "s")


def _vector_norm(b: Builder, a: Operand, type: Scalar, order: float) -> Atom:
    if math.isinf(order):
        return _zero_if_empty(b, a, type, "gt" if order > 0 else "lt", _absolute(b, a, type))
    absolute = _absolute(b, a, type)
    if order == 1:
        return total(b, absolute, type)
    if order == 0:
        zero = const(0, type)
        return _sum_of(b, a, type, lambda b, v: b.cast(b.prim("ne", v, zero), type))
    p = const(order, type)
    s = _sum_of(b, absolute, type, lambda b, v: b.prim("pow", v, p))
    return b.prim("pow", s, const(1.0 / order, type))


def _matrix_norm(b: Builder, a: Operand, type: Scalar, order: float) -> Atom:
    axis = 0 if abs(order) == 1 else 1
    sums = sum_of(b, _absolute(b, a, type), Array(type, 1), axis)
    return _zero_if_empty(b, sums, type, "gt" if order > 0 else "lt", sums)


def _zero_if_empty(b: Builder, a: Operand, type: Scalar, op: str, values: Operand) -> Atom:
    """The extreme of `values`, or 0.0 if there are none: Numba's norm of nothing."""
    empty = any_of(b, [b.prim("eq", n, ZERO) for n in shape(b, a)])
    with b.arm() as nothing:
        nothing.yields = [const(0, type)]
    with b.arm() as some:
        some.yields = [extreme_of(b, values, type, op)]
    return b.if_(empty, nothing.block, some.block, ["norm"])[0]


FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.dot: dot,
    np.matmul: dot,
    operator.matmul: dot,
    np.vdot: vdot,
    np.outer: outer,
    np.kron: kron,
    np.trace: trace,
    np.cross: cross,
    np.trapezoid: trapezoid,
    np.cumsum: running("add"),
    np.cumprod: running("mul"),
    np.linalg.norm: norm,
}
METHODS: dict[str, Callable[..., Any]] = {
    "dot": dot,
    "cumsum": running("add"),
    "cumprod": running("mul"),
}
