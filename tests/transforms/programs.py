"""Small IR programs, each the hard case of one rule of the transforms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numbaflux.ir.build import Builder, const, index
from numbaflux.ir.nodes import F64, I64, Array, Atom, Call, Callee, Function, Index, Slice, Var

VECTOR, MATRIX = Array(F64, 1), Array(F64, 2)
PROGRAMS: dict[str, tuple[Callable[[], Function], list]] = {}


def program(*args) -> Callable:
    """Register a builder of statements, called with the builder and a parameter for each arg."""

    def register(build: Callable) -> Callable:
        def make() -> Function:
            params = [Var(f"p{i}", _type(a)) for i, a in enumerate(args)]
            b = Builder()
            results = build(b, *params)
            return Function(build.__name__, b.block(params, results))

        PROGRAMS[build.__name__] = (make, list(args))
        return build

    return register


def _type(a):
    return {0: F64, 1: VECTOR, 2: MATRIX}[np.ndim(a)]


def sin(b: Builder, x: Atom) -> Atom:
    return b.prim("sin", x)


def vector(*values: float) -> np.ndarray:
    return np.array(values)


@program(np.float64(0.7))
def scalars(b, x):
    return [b.mul(sin(b, x), b.prim("exp", x))]


@program(np.float64(0.3), np.float64(3.1))
def carried_chain(b, x, r):
    with b.for_(index(5), [x]) as loop:
        (y,) = loop.carried
        loop.yields = [b.mul(b.mul(r, y), b.sub(const(1), y))]
    return loop.results


@program(np.float64(0.3), vector(0.2, 0.9, 0.4, 0.8))
def branch_that_stores(b, x, a):
    with b.for_(b.dim(a, 0), [x, const(0)]) as loop:
        y, s = loop.carried
        e = b.load(a, [loop.k])
        with b.arm() as then:
            then.yields = [b.mul(sin(b, e), y)]
        with b.arm() as orelse:
            b.store(a, [loop.k], b.mul(e, e))
            orelse.yields = [b.add(y, e)]
        (z,) = b.if_(b.prim("gt", e, const(0.5)), then.block, orelse.block)
        loop.yields = [z, b.add(s, b.mul(z, b.load(a, [loop.k])))]
    return loop.results


@program(vector(0.3, 0.5, 0.8), vector(0.1, 0.7, 0.2))
def swapped_buffers(b, u, v):
    first, second = (b.alloc([index(3)], VECTOR) for _ in range(2))
    with b.for_(index(3)) as loop:
        b.store(first, [loop.k], b.load(u, [loop.k]))
        b.store(second, [loop.k], b.load(v, [loop.k]))
    with b.for_(index(4), [first, second]) as loop:
        p, q = loop.carried
        with b.for_(index(2)) as inner:
            left, right = b.load(p, [inner.k]), b.load(p, [b.add(inner.k, index(1))])
            b.store(q, [inner.k], b.mul(left, sin(b, right)))
        loop.yields = [q, p]
    p, q = loop.results
    product = b.mul(b.load(q, [index(1)]), b.load(p, [index(1)]))
    return [b.add(b.load(p, [index(0)]), product)]


@program(np.float64(0.9), np.float64(0.3))
def while_with_inner_loop(b, x, c):
    with b.while_([x, const(0)]) as loop:
        y, s = loop.params
        z = b.mul(b.mul(y, y), const(0.9))
        s = b.add(s, b.mul(sin(b, z), c))
        with b.for_(index(2), [s]) as inner:
            (t,) = inner.carried
            inner.yields = [b.mul(t, b.prim("cos", t))]
        loop.yields = [b.prim("gt", z, const(0.1)), z, *inner.results]
    return loop.results


@program(vector(0.2, 0.9, 0.4, 0.8, 0.6))
def triangular_with_branch(b, a):
    with b.for_(b.dim(a, 0), [const(1)]) as loop:
        (s,) = loop.carried
        with b.for_(loop.k, [s]) as inner:
            (t,) = inner.carried
            inner.yields = [b.mul(t, b.prim("cos", b.mul(b.load(a, [inner.k]), t)))]
        with b.arm() as then:
            with b.for_(index(2), inner.results) as twice:
                twice.yields = [sin(b, *twice.carried)]
            then.yields = twice.results
        with b.arm() as orelse:
            orelse.yields = [s]
        high = b.prim("gt", b.load(a, [loop.k]), const(0.5))
        (z,) = b.if_(high, then.block, orelse.block)
        b.store(a, [loop.k], b.mul(z, b.load(a, [loop.k])))
        loop.yields = [z]
    return loop.results


@program(np.float64(0.9), vector(0.2, 0.9, 0.4))
def loops_under_a_top_branch(b, x, a):
    with b.arm() as then:
        y = b.mul(x, b.prim("exp", x))
        with b.for_(b.dim(a, 0), [y]) as loop:
            with b.for_(index(2), loop.carried) as inner:
                (t,) = inner.carried
                inner.yields = [b.mul(t, sin(b, t))]
            b.accumulate(a, [loop.k], *inner.results)
            loop.yields = inner.results
        with b.arm() as log:
            log.yields = [b.mul(y, b.prim("log", y))]
        with b.arm() as same:
            same.yields = [y]
        (w,) = b.if_(b.prim("gt", y, const(0.2)), log.block, same.block)
        then.yields = [b.mul(w, *loop.results)]
    with b.arm() as orelse:
        orelse.yields = [x]
    (z,) = b.if_(b.prim("gt", x, const(0.5)), then.block, orelse.block)
    return [b.mul(z, b.load(a, [index(1)]))]


@program(np.array([[0.2, 0.9, 0.4], [0.8, 0.6, 0.3]]))
def rows_and_private_memory(b, a):
    total = b.alloc([index(3)], VECTOR)
    with b.for_(index(2)) as loop:
        row = b.view(a, Index((loop.k, Slice())), VECTOR)
        private = b.alloc([index(3)], VECTOR)
        with b.for_(index(3)) as i:
            b.store(private, [i.k], sin(b, b.load(row, [i.k])))
        with b.for_(index(3)) as i:
            other = b.load(private, [b.sub(index(2), i.k)])
            b.accumulate(total, [i.k], b.mul(b.load(private, [i.k]), other))
            b.store(row, [i.k], b.load(private, [i.k]))
    return [total]


@program(vector(0.7, 0.9, 0.8))
def memory_carried_out_of_its_trip(b, a):
    start = b.alloc([index(3)], VECTOR)
    with b.for_(index(3)) as loop:
        b.store(start, [loop.k], b.load(a, [loop.k]))
    with b.for_(index(3), [start]) as loop:
        (p,) = loop.carried
        q = b.alloc([index(3)], VECTOR)
        with b.for_(index(3)) as i:
            mirrored = b.load(p, [b.sub(index(2), i.k)])
            b.store(q, [i.k], b.mul(b.load(p, [i.k]), sin(b, mirrored)))
        with b.arm() as then:
            then.yields = [q]
        with b.arm() as orelse:
            orelse.yields = [p]
        high = b.prim("gt", b.load(q, [index(0)]), const(0.25))
        loop.yields = b.if_(high, then.block, orelse.block)
    return loop.results


@program(np.array([[0.2, 0.9, 0.4], [0.8, 0.6, 0.3]]), np.array([[0.1, 0.5], [0.2, 0.7], [1, 2]]))
def products_of_what_changes(b, x, y):
    out = b.alloc([index(2), index(2)], MATRIX)
    with b.for_(index(2)) as loop:
        b.gemm(out, x, y)
        b.store(x, [loop.k, index(0)], b.load(out, [loop.k, loop.k]))
    return [out]


def halving() -> Callee:
    """x, a, n -> x, a[n - 1] overwritten on the way down and added to on the way up."""
    x, a, n = Var("x", F64), Var("a", VECTOR), Var("n", I64)

    def make() -> Function:
        b = Builder()
        with b.arm() as stop:
            stop.yields = [x]
        with b.arm() as go_on:
            last = b.sub(n, index(1))
            t = b.load(a, [last])
            b.store(a, [last], b.mul(sin(b, t), x))
            r = Var("r", F64)
            b.append(Call((r,), callee, (b.mul(x, t), a, last)))
            b.accumulate(a, [last], b.mul(b.load(a, [index(0)]), r))
            go_on.yields = [b.mul(r, b.load(a, [last]))]
        results = b.if_(b.prim("eq", n, index(0)), stop.block, go_on.block)
        return Function("halving", b.block([x, a, n], results))

    callee = Callee("halving", make)
    return callee


@program(np.float64(0.9), vector(0.2, 0.9, 0.4))
def recursion_in_a_loop(b, x, a):
    callee = halving()
    with b.for_(index(2), [x]) as loop:
        r = Var("r", F64)
        b.append(Call((r,), callee, (b.mul(x, *loop.carried), a, index(3))))
        loop.yields = [b.add(r, b.load(a, [loop.k]))]
    return [b.mul(x, *loop.results)]


@program(np.float64(0.9), vector(0.2, 0.9, 0.4))
def recursion_on_views(b, x, a):
    callee = halving()
    results = [Var("r", F64), Var("s", F64)]
    for r, part in zip(results, (Slice(None, index(2)), Slice(index(1)))):
        view = b.view(a, Index((part,)), VECTOR)
        b.append(Call((r,), callee, (x, view, index(2))))
    return results
