"""Every pass by itself: what it makes is well formed, and computes what it was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from numbaflux.ir.build import Builder, const, index
from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import (
    F64,
    I64,
    TEXT,
    Accumulate,
    Alloc,
    Array,
    Const,
    Function,
    Load,
    Prim,
    Reshape,
    Store,
    Var,
    View,
    While,
)
from numbaflux.ir.verify import verify
from numbaflux.ir.walk import defs, walk
from numbaflux.passes.accumulate import accumulate
from numbaflux.passes.counters import counters
from numbaflux.passes.dead import dead_code
from numbaflux.passes.exits import exits
from numbaflux.passes.loops.overwrite import overwrite
from numbaflux.passes.loops.twins import twins
from numbaflux.passes.simplify import simplify
from numbaflux.passes.storage import cheapest_cut
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.vjp import vjp
from tests.transforms.checks import check_transforms
from tests.transforms.programs import PROGRAMS

VECTOR = Array(F64, 1)
PASSES: dict[str, Callable[[Function], Function]] = {
    "dead_code": dead_code,
    "simplify": simplify,
    "accumulate": accumulate,
    "counters": lambda fn: counters(fn).fn,
}


def outcome(fn: Function, args: list) -> list:
    args = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    return [*interpret(fn, args), *args]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("which", PASSES)
def test_pass_keeps_the_meaning(which, name):
    make, args = PROGRAMS[name]
    fn = make()
    rng = np.random.default_rng(0)
    tangents = [rng.standard_normal(np.shape(a))[()] for a in args]
    for program, given in ((fn, args), (jvp(fn, fn.params), [*args, *tangents])):
        verify(program)
        made = PASSES[which](program)
        verify(made)
        for a, b in zip(outcome(made, given), outcome(program, given), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_vjp_makes_is_well_formed(name):
    make, _ = PROGRAMS[name]
    fn = make()
    verify(vjp(fn, fn.params))


# ---- simplify ----------------------------------------------------------------------------------


def written(build: Callable, *types) -> Function:
    params = [Var(f"p{i}", t) for i, t in enumerate(types)]
    b = Builder()
    return Function("f", b.block(params, build(b, *params)))


def test_equal_expressions_are_computed_once():
    def build(b, x):
        return [b.add(b.prim("sin", x), b.prim("sin", x))]

    assert len(simplify(written(build, F64)).block.stmts) == 2


def test_a_difference_squared_has_no_sign():
    def squares(b, x, y):
        d, e = b.sub(x, y), b.sub(y, x)
        return [b.mul(d, d), b.mul(e, e), b.mul(d, e), b.prim("div", const(1.0), e)]

    fn = written(squares, F64, F64)
    found = simplify(fn)
    assert sum(isinstance(s, Prim) and s.op == "mul" for s in walk(found.block)) == 2
    for x, y in ((0.1, 0.7), (0.3, 0.3), (np.inf, 1.0)):
        with np.errstate(divide="ignore"):
            np.testing.assert_array_equal(outcome(found, [x, y]), outcome(fn, [x, y]))


def test_a_load_is_not_shared_across_a_store():
    def build(b, a):
        before = b.load(a, [index(0)])
        b.store(a, [index(1)], const(2.0))
        return [before, b.load(a, [index(0)]), b.load(a, [index(0)])]

    fn = simplify(written(build, VECTOR))
    assert sum(isinstance(s, Load) for s in walk(fn.block)) == 2


def test_a_decided_branch_is_taken():
    def build(b, x):
        with b.arm() as then:
            then.yields = [b.prim("sin", x)]
        with b.arm() as orelse:
            orelse.yields = [b.prim("cos", x)]
        return b.if_(b.prim("lt", const(1.0), const(2.0)), then.block, orelse.block)

    (stmt,) = simplify(written(build, F64)).block.stmts
    assert isinstance(stmt, Prim)
    assert stmt.op == "sin"


def test_negative_zero_is_not_zero():
    def build(b, x):
        return [b.mul(x, const(0.0)), b.mul(x, const(-0.0))]

    assert len(simplify(written(build, F64)).block.stmts) == 2


# ---- dead code ---------------------------------------------------------------------------------


def test_an_array_that_is_only_written_dies():
    def build(b, x):
        local = b.alloc([index(3)], VECTOR)
        with b.for_(index(3)) as loop:
            b.store(local, [loop.k], x)
        return [x]

    assert dead_code(written(build, F64)).block.stmts == ()


def test_a_store_to_the_callers_memory_lives():
    def build(b, a):
        b.store(a, [index(0)], const(1.0))
        return []

    assert len(dead_code(written(build, VECTOR)).block.stmts) == 1


def test_a_counter_that_counts_itself_dies():
    def build(b, x):
        with b.for_(index(3), [x, const(0.0)]) as loop:
            y, n = loop.carried
            loop.yields = [b.mul(y, y), b.add(n, const(1.0))]
        return [loop.results[0]]

    (loop,) = dead_code(written(build, F64)).block.stmts
    assert len(loop.results) == 1


# ---- exits -------------------------------------------------------------------------------------


def search(b, x):
    """A loop as the front end makes one: a value for the next trip, another for after it."""
    with b.while_([x, const(0.0)]) as loop:
        p, q = loop.params
        new = b.mul(const(0.5), b.add(p, b.prim("div", x, p)))
        go = b.prim("gt", b.sub(b.mul(new, new), x), const(1e-3))
        loop.yields = [go, b.select(go, new, p), b.select(go, q, new)]
    return [loop.results[1]]


def test_a_search_carries_one_value():
    fn = written(search, F64)
    found = simplify(fn)
    (loop,) = (s for s in walk(found.block) if isinstance(s, While))
    assert len(loop.results) == 1 and not any(s.op == "select" for s in loop.body.stmts)
    assert outcome(found, [7.0]) == outcome(fn, [7.0])


def any_loop(rng):
    """Three values are carried: what they were, new ones, or one of two as the loop goes on."""

    def build(b, x):
        with b.while_([x, const(2.0), const(3.0), index(0)]) as loop:
            *params, k = loop.params
            some = range(rng.integers(1, 3))
            new = [b.add(params[i], b.mul(const(0.25), const(i + 1.0))) for i in some]
            after = b.add(k, index(1))
            go = b.prim("lt", after, index(4))
            stop = b.prim("not", go)
            pool = [*params, *new]

            def either():
                x, y = rng.choice(len(pool), 2)
                with b.arm() as then, b.arm() as orelse:
                    pass
                return [
                    lambda: b.select(go, pool[x], pool[y]),
                    lambda: b.select(stop, pool[x], pool[y]),
                    lambda: b.if_(
                        go,
                        replace(then.block, yields=(pool[x],)),
                        replace(orelse.block, yields=(pool[y],)),
                    )[0],
                ][rng.integers(3)]()

            pool += [either() for _ in range(2)]
            chosen = [pool[-i] for i in rng.choice(5, 3)]
            loop.yields = [go, *chosen, after]
        return [r for r in loop.results[:3] if rng.random() < 0.6]

    return written(build, F64)


def test_exits_keep_the_meaning():
    fewer = 0
    for seed in range(150):
        fn = any_loop(np.random.default_rng(seed))
        found = dead_code(exits(fn))
        verify(found)
        assert outcome(found, [1.5]) == outcome(fn, [1.5]), seed
        fewer += sum(1 for _ in walk(found.block)) < sum(1 for _ in walk(dead_code(fn).block))
    assert fewer > 5


# ---- accumulate --------------------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [False, True])
def test_an_update_is_recognised(swapped):
    def build(b, a, x):
        old = b.load(a, [index(0)])
        b.store(a, [index(0)], b.add(x, old) if swapped else b.add(old, x))
        return []

    (stmt,) = accumulate(written(build, VECTOR, F64)).block.stmts
    assert isinstance(stmt, Accumulate)


@pytest.mark.parametrize("between", ["nothing", "a write", "another place"])
def test_what_is_stored_where_it_was_read_is_not_stored(between):
    def build(b, x, y):
        old = b.load(x, [index(1)])
        if between == "a write":
            b.store(x, [index(1)], y)
        b.store(x, [index(2 if between == "another place" else 1)], old)
        return [b.mul(old, y)]

    fn = written(build, VECTOR, F64)
    made = accumulate(fn)
    stores = [s for s in walk(made.block) if isinstance(s, Store)]
    assert len(stores) == {"nothing": 0, "a write": 2, "another place": 1}[between]
    args = [np.array([1.0, 2.0, 3.0]), 4.0]
    np.testing.assert_array_equal(outcome(made, args)[1], outcome(fn, args)[1])


def test_an_update_whose_old_value_is_used_again_is_not():
    def build(b, a, x):
        old = b.load(a, [index(0)])
        b.store(a, [index(0)], b.add(old, x))
        return [old]

    fn = accumulate(written(build, VECTOR, F64))
    assert not any(isinstance(s, Accumulate) for s in fn.block.stmts)


# ---- overwrite ---------------------------------------------------------------------------------

BETWEEN = ["nothing", "a read", "a view read", "a loop that reads", "a place read", "a raise"]


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("between", BETWEEN)
def test_what_is_written_again_unread_is_not_stored(between, added):
    def build(b, x, y, k):
        seen, at = const(0.0), [index(1)]
        other = b.alloc([index(3)], VECTOR, zero=True)
        b.store(x, at, y)
        b.store(other, at, b.add(y, y))
        if between == "a read":
            seen = b.load(x, [k])
        elif between == "a view read":
            seen = b.load(b.view(x, Reshape((index(3),)), VECTOR), at)
        elif between == "a loop that reads":
            with b.for_(index(2), [const(0.0)]) as loop:
                loop.yields = [b.add(*loop.carried, b.load(x, [k]))]
            (seen,) = loop.results
        elif between == "a place read":
            seen = b.load(other, at)
        elif between == "a raise":
            b.raise_if(b.prim("gt", y, const(5.0)), ValueError, Const("large", TEXT))
        (b.accumulate if added else b.store)(x, at, b.prim("sin", y))
        return [b.mul(b.add(seen, y), b.load(other, [k]))]

    fn = written(build, VECTOR, F64, I64)
    made = overwrite(fn)
    verify(made)
    unseen = between in ("nothing", "a place read")
    writes = [s for s in walk(made.block) if isinstance(s, Store | Accumulate)]
    assert len(writes) == (2 if unseen else 3)
    assert all(isinstance(s, Store) for s in writes) or not unseen
    args = [np.array([1.0, 2.0, 3.0]), 4.0, 1]
    for a, b in zip(outcome(made, args), outcome(fn, args), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_place_may_be_the_same():
    def build(b, x, y, k):
        b.store(x, [index(1)], y)
        b.accumulate(x, [k], y)
        b.accumulate(x, [index(1)], y)
        return []

    fn = written(build, VECTOR, F64, I64)
    assert overwrite(fn) is fn


# ---- storage -----------------------------------------------------------------------------------


def test_one_cheap_source_is_kept_instead_of_what_is_made_of_it():
    operands = {"a": ["x"], "b": ["x"], "x": None}
    assert cheapest_cut(["a", "b"], operands.get, lambda v: 8.0) == ("x",)


def test_one_value_is_kept_instead_of_its_sources():
    operands = {"a": ["x", "y"], "x": None, "y": None}
    assert cheapest_cut(["a"], operands.get, lambda v: 8.0) == ("a",)


def test_what_is_free_is_not_kept():
    assert cheapest_cut(["a"], {"a": []}.get, lambda v: 8.0) == ()


# ---- counters ----------------------------------------------------------------------------------

COUNTS = {
    "triangle": lambda b, n, k: k,
    "from_the_diagonal": lambda b, n, k: b.sub(n, k),
    "growing_twice_as_fast": lambda b, n, k: b.add(b.mul(k, index(2)), index(1)),
    "falling_fast": lambda b, n, k: b.sub(n, b.mul(index(3), k)),
    "negative_factor": lambda b, n, k: b.add(n, b.mul(k, index(-2))),
    "between": lambda b, n, k: b.prim("min", b.prim("max", b.sub(k, index(1)), index(0)), n),
    "negated": lambda b, n, k: b.add(b.neg(k), n),
}


def jagged(count: Callable) -> Function:
    """A chain through an inner loop whose trip count depends on the outer counter."""

    def build(b, a, x):
        n = b.dim(a, 0)
        with b.for_(n, [x]) as outer:
            with b.for_(count(b, n, outer.k), outer.carried) as inner:
                (y,) = inner.carried
                inner.yields = [b.prim("sin", b.mul(y, b.load(a, [outer.k])))]
            outer.yields = inner.results
        return outer.results

    return written(build, VECTOR, F64)


@pytest.mark.parametrize("which", COUNTS)
def test_a_jagged_nest_is_kept_in_a_box(which):
    fn = jagged(COUNTS[which])
    made = vjp(fn, fn.params)
    caches = [s for s in walk(made.block) if isinstance(s, Alloc) and not s.zero]
    assert {s.result.type.ndim for s in caches} == {2}
    assert not any(s.result.type.grows for s in caches)
    check_transforms(fn, [np.array([0.3, 1.2, 0.7, 0.9]), np.float64(0.8)], order=2)


def test_a_count_out_of_memory_has_no_bound():
    def build(b, lengths, x):
        with b.for_(b.dim(lengths, 0), [x]) as outer:
            n = b.cast(b.load(lengths, [outer.k]), I64)
            with b.for_(n, outer.carried) as inner:
                inner.yields = [b.prim("sin", *inner.carried)]
            outer.yields = inner.results
        return outer.results

    fn = written(build, Array(I64, 1), F64)
    made = vjp(fn, fn.params[1:])
    assert any(isinstance(s, Alloc) and s.result.type.grows for s in walk(made.block))


LENGTHS = {  # of a loop in a while, and whether all its trips have one number times a length
    "constant": (lambda b, n, k: index(3), True),
    "known": (lambda b, n, k: n, True),
    "none": (lambda b, n, k: index(0), True),
    "of_the_trip": (lambda b, n, k: b.prim("min", k, n), False),
}


def repeated(length: Callable, twice: bool = False, sometimes: bool = False) -> Function:
    """x through `length` trips of sin in every trip of a while, or a nest of two, or in an arm."""

    def chain(b, count, y, a, deep):
        with b.for_(count, [y]) as inner:
            (z,) = inner.carried
            if deep:
                z = chain(b, index(2), z, a, False)
            inner.yields = [b.prim("sin", b.mul(z, b.load(a, [index(0)])))]
        return inner.results[0]

    def build(b, a, x):
        n = b.dim(a, 0)
        with b.while_([x, index(0)]) as loop:
            y, k = loop.params
            count = length(b, n, k)
            if sometimes:
                with b.arm() as odd:
                    odd.yields = [chain(b, count, y, a, twice)]
                with b.arm() as even:
                    even.yields = [b.mul(y, y)]
                (y,) = b.if_(b.prim("gt", k, index(1)), odd.block, even.block)
            else:
                y = chain(b, count, y, a, twice)
            k = b.add(k, index(1))
            loop.yields = [b.prim("lt", k, index(4)), b.mul(y, const(1.1)), k]
        return loop.results[:1]

    return written(build, VECTOR, F64)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("sometimes", [False, True])
@pytest.mark.parametrize("which", LENGTHS)
def test_even_loops_in_a_while_are_not_counted(which, sometimes, twice):
    length, even = LENGTHS[which]
    fn = repeated(length, twice, sometimes)
    counted = {v.name for s in walk(counters(fn).fn.block) for v in defs(s)}
    assert ("count" in counted) == (sometimes or not even)
    check_transforms(fn, [np.array([0.9, 1.2]), np.float64(0.8)], order=2)


# ---- twins -------------------------------------------------------------------------------------

APART = ["", "value", "place", "length", "zero", "read between", "stored again", "through a view"]


def kept_twice(apart: str) -> Function:
    """sin of each element in two arrays, which `apart` differ; sums of products of both."""

    def build(b, x):
        n = b.dim(x, 0)
        one = b.alloc([n], VECTOR, zero=False, name="one")
        longer = b.add(n, index(1)) if apart == "length" else n
        other = b.alloc([longer], VECTOR, zero=apart == "zero", name="other")
        with b.for_(n, [const(0.0)]) as loop:
            (seen,), k = loop.carried, loop.k
            y = b.prim("sin", b.load(x, [k]))
            b.store(one, [k], y)
            if apart == "read between":
                with b.arm() as later:
                    later.yields = [b.load(other, [b.sub(k, index(1))])]
                with b.arm() as first:
                    first.yields = [const(1.0)]
                (last,) = b.if_(b.prim("gt", k, index(0)), later.block, first.block)
                seen = b.add(seen, last)
            at = b.sub(b.sub(n, index(1)), k) if apart == "place" else k
            b.store(other, [at], b.neg(y) if apart == "value" else y)
            if apart == "stored again":
                b.store(other, [index(0)], const(3.0))
            loop.yields = [seen]
        if apart == "through a view":
            b.store(b.view(other, Reshape((n,)), VECTOR), [index(0)], const(3.0))
        with b.for_(n, loop.results) as back:
            z = b.mul(b.load(one, [back.k]), b.load(other, [back.k]))
            back.yields = [b.add(*back.carried, b.mul(z, b.cast(back.k, F64)))]
        return back.results

    return written(build, VECTOR)


@pytest.mark.parametrize("apart", APART)
def test_a_value_kept_twice_is_kept_once(apart):
    fn = kept_twice(apart)
    verify(fn)
    made = twins(fn)
    verify(made)
    arrays = [s for s in walk(made.block) if isinstance(s, Alloc)]
    assert len(arrays) == (2 if apart else 1)
    args = [np.array([0.3, 1.2, 0.7, 2.0])]
    assert outcome(made, args)[0] == outcome(fn, args)[0]


MATRIX = Array(F64, 2)
UNLIKE = ["", "factor", "order", "more", "read between", "factor changed", "of each other"]


def products_kept_twice(apart: str) -> Function:
    """x @ y and a number added to an element of it in two arrays, which `apart` differ."""

    def build(b, x, y):
        two = [index(2), index(2)]
        one, other = (b.alloc(two, MATRIX, zero=True, name=n) for n in ("one", "other"))
        x_copy = b.alloc(two, MATRIX, zero=True, name="copy")
        b.gemm(x_copy, x, y)
        factors = (y, x) if apart == "order" else (x_copy if apart == "factor" else x, y)
        corner = [index(0), index(1)]
        seen = const(0.0)
        b.gemm(one, x, y)
        if apart == "factor changed":
            b.store(x, corner, const(5.0))
        if apart == "read between":
            seen = b.load(other, corner)
        b.gemm(other, *((one, y) if apart == "of each other" else factors))
        b.accumulate(one, corner, b.load(x, corner))
        b.accumulate(other, corner, const(1.0) if apart == "more" else b.load(x, corner))
        return [seen, b.mul(b.load(one, corner), b.load(other, corner))]

    return written(build, MATRIX, MATRIX)


@pytest.mark.parametrize("apart", UNLIKE)
def test_a_product_kept_twice_is_kept_once(apart):
    fn = simplify(products_kept_twice(apart))
    verify(fn)
    made = twins(fn)
    verify(made)
    names = [s.result.name for s in walk(made.block) if isinstance(s, Alloc)]
    assert ("other" in names) == bool(apart)
    args = [np.array([[0.3, 1.2], [0.7, 2.0]]), np.array([[1.5, 0.2], [0.6, 1.0]])]
    assert outcome(made, args)[:2] == outcome(fn, args)[:2]


def test_arrays_made_of_arrays_that_are_alike_are_alike():
    def build(b, x):
        first, second = [index(0), index(0)], [index(0), index(1)]
        made = [b.alloc([index(2), index(2)], MATRIX, zero=True, name=n) for n in "abcd"]
        for product in made[:2]:
            b.gemm(product, x, x)
        for product, total in zip(made[:2], made[2:]):
            b.accumulate(total, first, b.load(product, second))
        return [b.mul(*(b.load(total, first) for total in made[2:]))]

    made = twins(simplify(written(build, MATRIX)))
    assert [s.result.name for s in walk(made.block) if isinstance(s, Alloc)] == ["a", "c"]
    assert outcome(made, [np.array([[0.0, 1.5], [1.0, 0.5]])])[0] == 0.75**2


def test_a_vector_in_its_own_shape_is_itself():
    def build(b, x):
        same = b.view(x, Reshape((b.dim(x, 0),)), VECTOR)
        b.store(same, [index(0)], const(2.0))
        return [b.load(x, [index(0)])]

    fn = written(build, VECTOR)
    made = simplify(fn)
    assert not any(isinstance(s, View) for s in walk(made.block))
    assert outcome(made, [np.ones(3)])[0] == 2.0
