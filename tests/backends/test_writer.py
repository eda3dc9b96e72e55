"""Hand-made IR through verifier, interpreter, writer and Numba; and how what is written reads."""

from __future__ import annotations

import math

import numpy as np
import pytest

from numbaflux.ir.build import Builder, const, full_slice, index, zero_of
from numbaflux.ir.nodes import (
    BOOL,
    F32,
    F64,
    I64,
    TEXT,
    Array,
    Const,
    Global,
    Index,
    Reshape,
    Scalar,
    Slice,
    Transpose,
    Var,
)
from tests.backends.support import body, check, function, load, source_of

VECTOR, MATRIX = Array(F64, 1), Array(F64, 2)


def scalars(names, type=F64):
    return [Var(n, type) for n in names.split()]


def test_scalars_in_one_expression():
    b = Builder()
    x, y = scalars("x y")
    r = b.prim("sqrt", b.add(b.mul(x, x), b.mul(y, y)))
    text = check(function(b, [x, y], r), 3.0, 4.0)
    assert body(text) == "return math.sqrt(x * x + y * y)"


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (lambda b, x, y: b.mul(b.add(x, y), b.sub(x, y)), "(x + y) * (x - y)"),
        (lambda b, x, y: b.sub(x, b.sub(y, x)), "x - (y - x)"),
        (lambda b, x, y: b.sub(b.sub(x, y), x), "x - y - x"),
        (lambda b, x, y: b.prim("div", x, b.mul(x, y)), "x / (x * y)"),
        (lambda b, x, y: b.neg(b.add(x, y)), "-(x + y)"),
        (lambda b, x, y: b.neg(b.prim("pow", x, y)), "-x ** y"),
        (lambda b, x, y: b.prim("pow", b.neg(x), b.neg(y)), "(-x) ** -y"),
        (lambda b, x, y: b.prim("ipow", b.prim("ipow", x, index(2)), index(-2)), "(x ** 2) ** -2"),
        (lambda b, x, y: b.add(x, b.neg(y)), "x - y"),
        (lambda b, x, y: b.add(b.neg(x), y), "y - x"),
        (lambda b, x, y: b.sub(x, b.neg(b.add(x, y))), "x + (x + y)"),
        (lambda b, x, y: b.add(x, const(-2.0)), "x - 2.0"),
        (lambda b, x, y: b.mul(x, const(-2.0)), "x * -2.0"),
        (lambda b, x, y: b.prim("ipow", const(-2.5), b.cast(y, I64)), "(-2.5) ** int(y)"),
        (lambda b, x, y: b.add(x, const(-math.inf)), "x + -math.inf"),
        (lambda b, x, y: b.mul(b.select(b.prim("lt", x, y), x, y), y), "(x if x < y else y) * y"),
        (lambda b, x, y: b.select(b.prim("lt", x, y), x, b.neg(y)), "x if x < y else -y"),
        (
            lambda b, x, y: b.prim("eq", b.prim("lt", x, y), b.prim("gt", x, y)),
            "(x < y) == (x > y)",
        ),
        (
            lambda b, x, y: b.prim(
                "and", b.prim("or", b.prim("lt", x, y), b.prim("gt", x, y)), b.prim("isnan", x)
            ),
            "(x < y or x > y) and math.isnan(x)",
        ),
    ],
)
def test_brackets_only_where_needed(build, wanted):
    b = Builder()
    x, y = scalars("x y")
    text = check(function(b, [x, y], build(b, x, y)), 1.5, 3.0, compiled=False)
    assert body(text) == f"return {wanted}"


@pytest.mark.parametrize("target", ["float64", "float32", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("source", ["float64", "float32", "int64", "int32", "uint8", "bool"])
def test_casts(source, target):
    b = Builder()
    x = Var("x", Scalar(source))
    y = b.cast(x, Scalar(target), name="y")
    out = Var("out", Array(Scalar(target), 1))
    b.store(out, [index(0)], y)
    value = Scalar(source).numpy.type(1 if source == "bool" else 3)
    check(function(b, [x, out], y), value, np.zeros(1, dtype=target))


def test_single_precision_stays_single():
    b = Builder()
    x, n = Var("x", F32), Var("n", I64)
    y = b.add(b.mul(x, const(0.5, F32)), b.prim("digamma", x))
    y = b.add(y, b.prim("ipow", x, n))
    y = b.add(y, b.prim("sqrt", b.prim("abs", b.prim("fmod", x, const(2.0, F32)))))
    out = b.alloc([index(2)], Array(F32, 1), name="out")
    b.store(out, [index(1)], y)
    text = check(function(b, [x, n], y, out), np.float32(2.75), 3, plain=False)
    assert "np.float32(0.5)" in text and "np.float32(runtime.digamma(x))" in text


def test_nested_loops_share_the_names_of_what_they_carry():
    b = Builder()
    a = Var("a", MATRIX)
    n, m = b.dim(a, 0), b.dim(a, 1)
    with b.for_(n, [const(0.0)], index="i", names=["total"]) as outer:
        with b.for_(m, outer.carried, index="j") as inner:
            e = b.load(a, [outer.k, inner.k])
            inner.yields = [b.add(inner.carried[0], b.mul(e, e), name="total")]
        outer.yields = inner.results
    text = check(function(b, [a], *outer.results), np.arange(6.0).reshape(2, 3))
    assert body(text) == "\n".join(
        [
            "n = a.shape[1]",
            "total = 0.0",
            "for i in range(a.shape[0]):",
            "    for j in range(n):",
            "        t = a[i, j]",
            "        total += t * t",
            "return total",
        ]
    )


def test_swap_of_carried_arrays():
    b = Builder()
    u, v, n = Var("u", VECTOR), Var("v", VECTOR), Var("n", I64)
    with b.for_(n, [u, v]) as loop:
        p, q = loop.carried
        b.store(p, [index(0)], b.add(b.load(q, [index(0)]), const(1.0)))
        loop.yields = [q, p]
    first = b.load(loop.results[0], [index(0)], name="first")
    text = check(function(b, [u, v, n], first), np.zeros(1), np.ones(1), 3)
    assert "    u, v = v, u\n" in text


def test_rotation_of_many_breaks_the_ring():
    b = Builder()
    params = scalars("p q r s")
    n = Var("n", I64)
    with b.for_(n, params) as loop:
        p, q, r, s = loop.carried
        loop.yields = [q, r, s, p]
    text = check(function(b, [*params, n], *loop.results), 1.0, 2.0, 3.0, 4.0, 3)
    assert "p_next = q" in text


def test_fibonacci():
    b = Builder()
    n = Var("n", I64)
    with b.for_(n, [index(0), index(1)], names=["x", "y"]) as loop:
        x, y = loop.carried
        loop.yields = [y, b.add(x, y)]
    text = check(function(b, [n], loop.results[0]), 10)
    assert "x, y = y, x + y" in text


def test_lost_copy():
    """The param is used after its next value is known, and after the loop the old one too."""
    b = Builder()
    x, n = Var("x", F64), Var("n", I64)
    with b.for_(n, [x, x], names=["x", "last"]) as loop:
        now, _ = loop.carried
        after = b.mul(now, const(2.0), name="x")
        b.print(after)
        loop.yields = [after, now]
    r = b.sub(*loop.results)
    check(function(b, [x, n], b.add(r, x)), 1.5, 3)


def test_value_of_before_the_loop_is_used_after_it():
    b = Builder()
    x, n = Var("x", F64), Var("n", I64)
    with b.for_(n, [x]) as loop:
        loop.yields = [b.add(loop.carried[0], const(1.0), name="x")]
    text = check(function(b, [x, n], b.mul(x, loop.results[0])), 1.5, 3)
    assert "x_1 = x\n" in text


def test_one_armed_if():
    b = Builder()
    x, y = scalars("x y")
    with b.arm() as then:
        then.yields = [b.mul(x, const(2.0), name="x")]
    with b.arm() as orelse:
        orelse.yields = [x]
    (r,) = b.if_(b.prim("lt", x, y), then.block, orelse.block, names=["x"])
    text = check(function(b, [x, y], b.add(r, y)), 1.0, 2.0)
    assert body(text) == "if x < y:\n    x *= 2.0\nreturn x + y"


def test_arm_that_assigns_nothing_turns_the_condition():
    b = Builder()
    x, y = scalars("x y")
    with b.arm() as then:
        then.yields = [x]
    with b.arm() as orelse:
        orelse.yields = [b.add(x, y)]
    (r,) = b.if_(b.prim("lt", x, y), then.block, orelse.block, names=["x"])
    text = check(function(b, [x, y], r), 3.0, 2.0)
    assert body(text) == "if not x < y:\n    x += y\nreturn x"


def test_elif():
    b = Builder()
    x = Var("x", F64)
    arms = []
    for value in (1.0, 2.0, 3.0):
        with b.arm() as arm:
            arm.yields = [const(value)]
        arms.append(arm.block)
    with b.arm() as rest:
        rest.yields = b.if_(b.prim("lt", x, const(5.0)), arms[1], arms[2], names=["r"])
    (r,) = b.if_(b.prim("lt", x, const(0.0)), arms[0], rest.block, names=["r"])
    fn = function(b, [x], b.mul(r, r))
    for value in (-1.0, 1.0, 9.0):
        text = check(fn, value)
    assert "elif x < 5.0:\n        r = 2.0\n    else:\n" in text


def test_while_tests_after_its_copies():
    """The condition reads what the loop carried before this trip, so it is computed before."""
    b = Builder()
    n = Var("n", I64)
    with b.while_([index(0)], names=["i"]) as loop:
        (i,) = loop.params
        loop.yields = [b.prim("lt", i, n), b.add(i, index(1))]
    text = check(function(b, [n], *loop.results), 5)
    assert "if not t:" in text or "go" in text


def test_while_with_a_readable_exit():
    b = Builder()
    n = Var("n", I64)
    with b.while_([index(0)], names=["i"]) as loop:
        after = b.add(loop.params[0], index(1), name="i")
        loop.yields = [b.prim("lt", after, n), after]
    text = check(function(b, [n], *loop.results), 5)
    assert body(text) == "\n".join(
        ["i = 0", "while True:", "    i += 1", "    if i >= n:", "        break", "return i"]
    )


def test_while_whose_condition_reads_a_namesake():
    """A variable of the condition keeps its name while the carried values are assigned."""
    b = Builder()
    n = Var("n", I64)
    with b.while_([const(8.0), index(0)], names=["x", "i"]) as loop:
        x, i = loop.params
        y = b.mul(x, const(0.5), name="x")
        b.print(y)
        go = b.prim("gt", b.mul(y, y), const(1.0))
        after = b.add(i, index(1))
        loop.yields = [go, b.sub(const(6.0), b.cast(after, F64)), after]
    check(function(b, [n], *loop.results), 5)


def test_views():
    b = Builder()
    a, i = Var("a", MATRIX), Var("i", I64)
    row = b.view(a, Index((i, full_slice())), VECTOR, name="row")
    b.store(row, [index(1)], const(7.0))
    some = Index((Slice(index(1), None, None), Slice(None, index(-1), index(2))))
    part = b.view(a, some, Array(F64, 2, "A"), name="part")
    b.accumulate(part, [index(0), index(1)], const(0.5))
    turned = b.transposed(a, name="turned")
    b.store(turned, [index(0), index(0)], const(9.0))
    flat = b.view(a, Reshape((index(12),)), VECTOR, name="flat")
    b.store(flat, [index(11)], const(4.0))
    grid = b.view(flat, Reshape((index(2), index(6))), MATRIX, name="grid")
    tall = b.view(flat, Index((full_slice(), None)), MATRIX, name="tall")
    total = b.add(b.load(grid, [index(-1), index(0)]), b.load(tall, [index(1), index(0)]))
    text = check(function(b, [a, i], total), np.arange(12.0).reshape(3, 4), 1)
    for piece in ("row = a[i, :]", "a[1:, :-1:2]", "a.T", "a.reshape(12)", "reshape((2, 6))"):
        assert piece in text
    assert "flat[:, None]" in text


def test_transposed_axes():
    b = Builder()
    a = Var("a", Array(F64, 3))
    v = b.view(a, Transpose((1, 0, 2)), Array(F64, 3, "A"))
    text = check(
        function(b, [a], b.load(v, [index(1), index(0), index(2)])),
        np.arange(24.0).reshape(2, 3, 4),
    )
    assert "np.transpose(a, (1, 0, 2))" in text


def test_load_is_not_moved_over_a_store():
    b = Builder()
    a, c = Var("a", VECTOR), Var("c", Array(I64, 1))
    x = b.load(a, [index(0)])
    k = b.load(c, [index(0)])
    b.store(a, [index(0)], const(5.0))
    b.store(a, [index(1)], b.mul(x, b.cast(k, F64)))
    text = check(function(b, [a, c]), np.array([2.0, 3.0]), np.array([4]))
    assert body(text) == "t = a[0]\na[0] = 5.0\na[1] = t * float(c[0])"


def test_fortran_order_and_zero_dimensions():
    b = Builder()
    n = Var("n", I64)
    a = b.alloc([n, index(2)], Array(F64, 2, "F"))
    b.store(a, [index(1), index(1)], const(3.0))
    cell = b.alloc([], Array(F32, 0), name="cell")
    b.store(cell, [], const(2.0, F32))
    x = b.load(cell, [], name="x")
    text = check(function(b, [n], a, x, b.load(a, [index(1), index(1)])), 3)
    assert "np.zeros((2, n)).T" in text and "cell[()] = np.float32(2.0)" in text


def test_growing_array():
    b = Builder()
    n = Var("n", I64)
    tape = b.alloc([index(0)], Array(F64, 1, grows=True), name="tape")
    with b.for_(n, index="i") as loop:
        b.store(tape, [loop.k], b.cast(loop.k, F64))
        b.accumulate(tape, [b.mul(loop.k, index(2))], const(1.0))
    with b.for_(n, [const(0.0)], index="i", names=["s"]) as back:
        back.yields = [b.add(back.carried[0], b.load(tape, [back.k]))]
    text = check(function(b, [n], *back.results), 40)
    assert "tape = runtime.grow(tape, i)" in text


@pytest.mark.parametrize("apart", ["", "stored twice", "another index", "another arm", "not empty"])
def test_arrays_that_grow_together(apart):
    b = Builder()
    n = Var("n", I64)
    first = index(1) if apart == "not empty" else index(0)
    one = b.alloc([first], Array(F64, 1, grows=True), name="one")
    other = b.alloc([index(0)], Array(F64, 1, grows=True), name="other")
    with b.for_(n, index="i") as loop:
        i, x = loop.k, b.cast(loop.k, F64)
        b.store(one, [i], x)
        if apart == "another arm":
            with b.arm() as odd:
                b.store(other, [i], x)
            with b.arm() as even:
                pass
            b.if_(b.prim("gt", x, const(3.0)), odd.block, even.block)
        else:
            b.store(other, [b.mul(i, index(3)) if apart == "another index" else i], x)
        if apart == "stored twice":
            b.store(other, [b.mul(i, index(2))], x)
    last = b.sub(n, index(1))
    text = check(function(b, [n], b.load(one, [last]), b.load(other, [last])), 40)
    assert text.count(".shape[0]:") == (3 if apart == "stored twice" else 2 if apart else 1)


@pytest.mark.parametrize("why", ["", "of the loop", "another step", "stored twice", "in the loop"])
def test_arrays_grow_before_a_loop(why):
    b = Builder()
    n = Var("n", I64)
    one, other = (b.alloc([index(0)], Array(F64, 1, grows=True), name=v) for v in ("one", "other"))
    with b.for_(n, index="i") as loop:
        first, fixed = b.mul(loop.k, index(5)), why in ("", "stored twice")
        with b.for_(index(5) if fixed else n, index="j") as inner:
            j = inner.k
            base = b.mul(first, index(2)) if why == "in the loop" else first
            at = b.add(base, b.mul(j, index(2)) if why == "another step" else j)
            b.store(one, [at], b.cast(j, F64))
            b.store(other, [at], b.cast(loop.k, F64))
            if why == "stored twice":
                b.store(other, [first], const(3.0))
                b.store(one, [first], const(4.0))
    with b.for_(n, [const(0.0)], index="k", names=["s"]) as back:
        s = b.add(back.carried[0], b.load(one, [back.k]))
        back.yields = [b.add(s, b.load(other, [back.k]))]
    text = check(function(b, [n], *back.results), 40)
    ahead = {"": "+ 4 >= one.shape[0]", "of the loop": "+ n - 1 >= one.shape[0]"}.get(why)
    outer = text[: text.index("for j in")]
    assert ("runtime.grow" in outer) == (ahead is not None)
    assert ahead is None or ahead in outer


@pytest.mark.parametrize("layout", ["C", "F", "A"])
def test_growing_array_of_references(layout):
    b = Builder()
    a, n = Var("a", MATRIX), Var("n", I64)
    element = Array(F64, 2, layout)
    tape = b.alloc([index(0)], Array(element, 1, grows=True), name="tape")
    with b.for_(n) as loop:
        new = b.alloc(
            [index(2), index(2)], Array(F64, 2, "F" if layout == "F" else "C"), name="new"
        )
        b.store(new, [index(0), index(0)], b.cast(loop.k, F64))
        b.store(tape, [loop.k], new)
        if layout == "A":
            b.store(tape, [loop.k], a)
    with b.for_(n, [const(0.0)], names=["s"]) as back:
        kept = b.load(tape, [back.k], name="kept")
        back.yields = [b.add(back.carried[0], b.load(kept, [index(0), index(0)]))]
    check(function(b, [a, n], *back.results), np.full((2, 2), 3.0), 4)


def test_array_of_references():
    b = Builder()
    u, v = Var("u", VECTOR), Var("v", VECTOR)
    pair = b.alloc([index(2)], Array(VECTOR, 1), name="pair")
    b.store(pair, [index(0)], v)
    b.store(pair, [index(1)], u)
    b.store(b.load(pair, [index(0)], name="w"), [index(1)], const(5.0))
    check(function(b, [u, v], b.dim(pair, 0)), np.zeros(2), np.ones(2))


@pytest.mark.parametrize("n", [3, 12])
def test_gemm(n):
    b = Builder()
    out, x, y = (Var(name, MATRIX) for name in ("out", "x", "y"))
    b.gemm(out, b.transposed(x), y)
    random = np.random.default_rng(n)
    args = [random.standard_normal((n, n)) for _ in range(3)]
    text = check(function(b, [out, x, y]), *args)
    assert body(text) == "runtime.gemm(out, x.T, y)"


class Unhappy(Exception):
    pass


@pytest.mark.parametrize("compiled", [False, True])
def test_raise(compiled):
    b = Builder()
    x = Var("x", F64)
    b.raise_if(b.prim("lt", x, const(0.0)), ValueError, Const("negative", TEXT))
    b.raise_if(b.prim("eq", x, const(0.0)), Unhappy, Const("zero", TEXT), index(3))
    fn = function(b, [x], b.prim("sqrt", x))
    check(fn, 4.0, compiled=False)
    text = source_of(fn)
    f = load(text, compiled)
    with pytest.raises(ValueError, match="negative"):
        f(-1.0)
    with pytest.raises(Unhappy) as caught:
        f(0.0)
    assert caught.value.args == ("zero", 3)
    assert "from tests.backends.test_writer import Unhappy" in text


def test_prange_reduction():
    b = Builder()
    a = Var("a", VECTOR)
    with b.for_(b.dim(a, 0), [const(0.0)], index="i", names=["s"], parallel=True) as loop:
        x = b.load(a, [loop.k], name="x")
        b.store(a, [loop.k], b.mul(x, const(2.0)))
        loop.yields = [b.add(b.mul(x, x), loop.carried[0], name="s")]
    text = check(function(b, [a], *loop.results), np.arange(100.0), parallel=True)
    assert "for i in numba.prange(a.shape[0]):" in text and "s += x * x" in text


def test_globals(tmp_path):
    from numbaflux.backends.cpu import write
    from tests.backends.support import program

    b = Builder()
    i = Var("i", I64)
    small = Global("table", np.array([1.0, -math.inf, 2.5]), VECTOR)
    whole = Global("table", np.array([[1, 2], [3, 4]], dtype=np.int32), Array(Scalar("int32"), 2))
    large = Global("large", np.arange(100.0), VECTOR)
    n = b.cast(b.load(whole, [i, i]), F64)
    fn = function(b, [i], b.add(b.add(b.load(small, [i]), b.load(large, [i])), n))
    source = write("f", program(fn), {})
    assert list(source.constants) == ["large"]
    np.save(tmp_path / "written.large.npy", source.constants["large"])
    for compiled in (False, True):
        assert load(source, compiled, tmp_path)(0) == 2.0
    assert "table = np.array([[1, 2], [3, 4]], dtype=np.int32)" in source.text


def test_long_expressions_are_taken_apart():
    b = Builder()
    params = [Var(f"a_rather_long_name_{i}", F64) for i in range(6)]
    out = Var("out", VECTOR)
    total = params[0]
    for p in params[1:]:
        total = b.mul(b.add(total, p), b.sub(p, params[0]))
    b.store(out, [index(0)], b.prim("max", total, b.add(params[0], params[1])))
    check(function(b, [*params, out]), *map(float, range(6)), np.zeros(1))


def test_reserved_and_odd_names():
    b = Builder()
    params = [Var(n, F64) for n in ("lambda", "np", "math", "x.1", "$2load", "abs", "f", "3")]
    total = zero_of(F64)
    for p in params:
        total = b.add(total, b.prim("abs", p))
    text = check(function(b, params, total), *map(float, range(8)))
    assert "def f(lambda_1, np_1, math_1, x, t, abs_1, f_1, v3):" in text


def test_options_are_keywords():
    b = Builder()
    (x,) = scalars("x")
    fn = function(b, [x], x)
    text = source_of(fn, fastmath={"nnan", "contract"}, boundscheck=True, error_model="python")
    wanted = '@numba.njit(boundscheck=True, error_model="numpy", fastmath={"contract", "nnan"})'
    assert wanted in text


def test_bool_carried():
    b = Builder()
    n = Var("n", I64)
    with b.for_(n, [Const(False, BOOL)], names=["found"]) as loop:
        hit = b.prim("eq", loop.k, index(3))
        loop.yields = [b.prim("or", loop.carried[0], hit, name="found")]
    check(function(b, [n], *loop.results), 5)


def test_two_long_rings_at_once():
    b = Builder()
    params = scalars("p q r s t u v w")
    n = Var("n", I64)
    with b.for_(n, params) as loop:
        p, q, r, s, t, u, v, w = loop.carried
        loop.yields = [q, r, s, p, w, t, u, v]
    check(function(b, [*params, n], *loop.results), *map(float, range(8)), 3)
