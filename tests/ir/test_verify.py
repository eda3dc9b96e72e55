"""Each invariant is noticed when it is broken, and the report shows where."""

from __future__ import annotations

import pytest

from numbaflux.errors import InternalError
from numbaflux.ir.build import Builder, const, index
from numbaflux.ir.nodes import (
    BOOL,
    F32,
    F64,
    I64,
    Alloc,
    Array,
    Block,
    Const,
    Dim,
    For,
    Function,
    Gemm,
    If,
    Index,
    Load,
    Prim,
    Store,
    Transpose,
    Var,
    View,
    While,
)
from numbaflux.ir.printer import show
from numbaflux.ir.verify import verify

X, Y, C, K = Var("x", F64), Var("y", F32), Var("c", BOOL), Var("i", I64)
A = Var("a", Array(F64, 1))
G = Var("g", Array(F64, 1, grows=True))
R = Var("r", Array(F64, 1, readonly=True))
T = Var("t", F64)
NEW = Alloc(G, (index(0),))

BROKEN = {
    "assigned once": [Prim(T, "neg", (X,)), Prim(T, "neg", (X,))],
    "where it is visible": [Prim(T, "neg", (Var("other", F64),))],
    "has its type": [Prim(T, "neg", (Const(1, BOOL),))],
    "in the table": [Prim(T, "nothing", (X,))],
    "number of arguments": [Prim(T, "add", (X,))],
    "type of its operands": [Prim(T, "add", (X, Y))],
    "operands of lt": [Prim(Var("t", BOOL), "lt", (X, K))],
    "lt is a bool": [Prim(T, "lt", (X, X))],
    "of bools": [Prim(T, "and", (C, C))],
    "condition is a bool": [Prim(T, "select", (K, X, X))],
    "exponent": [Prim(T, "ipow", (X, X))],
    "is an array": [Load(T, X, (K,))],
    "1 indices": [Load(T, A, (K, K))],
    "index is an integer": [Load(T, A, (X,))],
    "type of the elements": [Load(Var("t", F32), A, (K,))],
    "holds no": [Store(A, (K,), Y)],
    "read-only": [Store(R, (K,), X)],
    "axis exists": [Dim(Var("n", I64), A, 1)],
    "gemm of matrices": [Gemm(A, A, A)],
    "never viewed": [NEW, View(Var("v", Array(F64, 1)), G, Transpose((0,)))],
    "axes are permuted": [View(Var("v", Array(F64, 1)), A, Transpose((1,)))],
    "not more items": [View(Var("v", Array(F64, 1)), A, Index((K, K)))],
    "0 dimensions": [View(Var("v", Array(F64, 1)), A, Index((K,)))],
    "then arm's yields": [If((T,), C, Block((), (), ()), Block((), (), (X,)))],
    "else arm's yields": [If((T,), C, Block((), (), (X,)), Block((), (), (Y,)))],
    "has a counter": [For((), index(2), (), Block())],
    "loop's yields": [For((T,), K, (X,), Block((Var("k", I64), Var("p", F64)), (), ()))],
    "loop's inits": [For((T,), K, (Y,), Block((Var("k", I64), Var("p", F64)), (), (X,)))],
    "yields whether": [While((), (), Block())],
    "never carried": [
        NEW,
        For((Var("h", G.type),), K, (G,), Block((Var("k", I64), Var("p", G.type)), (), (A,))),
    ],
}


def broken(stmts) -> Function:
    return Function("f", Block((X, Y, C, K, A, R), tuple(stmts), (X,)))


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_invariant_is_noticed(what):
    with pytest.raises(InternalError, match=what) as caught:
        verify(broken(BROKEN[what]))
    assert any(line.startswith("> ") for line in str(caught.value).splitlines())


def test_what_a_region_defines_is_not_visible_outside():
    b = Builder()
    with b.for_(index(3)) as loop:
        inner = b.cast(loop.k, F64)
    with pytest.raises(InternalError, match="visible"):
        verify(Function("f", b.block((), (inner,))))


def test_a_growing_array_is_never_yielded():
    with pytest.raises(InternalError, match="never yielded"):
        verify(Function("f", Block((), (NEW,), (G,))))


def test_printer_makes_names_unique():
    b = Builder()
    x = Var("x", F64)
    with b.for_(index(3), [x]) as loop:
        loop.yields = [b.add(loop.carried[0], const(1.0), name="x")]
    fn = Function("f", b.block([x], loop.results))
    verify(fn)
    assert show(fn).splitlines() == [
        "def f(x: float64) -> (float64):",
        "    x_2: float64 = for k in range(3) with x_1 = x:",
        "        x_3 = x_1 + 1.0",
        "        yield x_3",
        "    return x_2",
    ]
