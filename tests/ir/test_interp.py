"""The oracle's own few promises; the rest is checked against compiled code in tests/backends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from numbaflux.ir.build import Builder, const, index
from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import F32, F64, I64, TEXT, Array, Const, Function, Var


def run(b, params, results, *args):
    return interpret(Function("f", b.block(params, results)), args)


def test_scalars_have_the_dtype_of_their_type():
    b = Builder()
    x = Var("x", F32)
    y = b.mul(x, const(0.1, F32))
    found = run(b, [x], [y, b.cast(y, I64)], 3.0)
    assert [type(v) for v in found] == [np.float32, np.int64]
    assert found[0] == np.float32(3) * np.float32(0.1)


def test_division_is_ieee():
    b = Builder()
    x = Var("x", F64)
    assert run(b, [x], [b.prim("div", x, const(0.0))], 1.0) == (math.inf,)


def test_unwarranted_reads_show():
    b = Builder()
    a = b.alloc([index(1)], Array(F64, 1), zero=False)
    assert math.isnan(run(b, [], [b.load(a, [index(0)])])[0])


def test_growing_array_extends_on_store_only():
    b = Builder()
    a = b.alloc([index(0)], Array(F64, 1, grows=True))
    b.store(a, [index(4)], const(1.0))
    b.accumulate(a, [index(6)], const(2.0))
    x, y = b.load(a, [index(6)]), b.load(a, [index(5)])
    assert run(b, [], [x, y, b.dim(a, 0)]) == (2.0, 0.0, 7)
    b.load(a, [index(7)])
    with pytest.raises(IndexError):
        run(b, [], [])


def test_loop_without_a_trip_gives_its_inits():
    b = Builder()
    n = Var("n", I64)
    with b.for_(n, [const(3.0)]) as loop:
        loop.yields = [const(4.0)]
    assert run(b, [n], loop.results, -1) == (3.0,)


def test_raise():
    b = Builder()
    x = Var("x", F64)
    b.raise_if(b.prim("lt", x, const(0.0)), ValueError, Const("no", TEXT))
    with pytest.raises(ValueError, match="no"):
        run(b, [x], [x], -1.0)
