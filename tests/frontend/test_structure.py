"""Structuring: a tree, run statement by statement, does what the function it came from does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from numba.core import ir, types

from numbaflux.errors import UnsupportedError
from numbaflux.frontend.names import assigned, live
from numbaflux.frontend.read import capture
from numbaflux.frontend.structure import structure
from numbaflux.frontend.tree import (
    RESULT,
    Branch,
    Do,
    Each,
    Goto,
    Node,
    Raise,
    Repeat,
    Set,
    When,
)
from numbaflux.frontend.values import GO
from tests.frontend.control_programs import PROGRAMS
from tests.frontend.evaluate import Evaluator, same
from tests.frontend.random_control import generate

X = types.float64[::1]
ARRAYS = [(3.5, -1.5, 0.5), (0.0, 2.0, -1.0), (2.25, 0.75, 3.0), (1.0, 1.0, 1.0)]
NOWHERE = ir.Loc("f.py", 1)


def tree(f: Callable, *arg_types: types.Type) -> tuple[Node, ...]:
    return structure(capture(f, arg_types or (X, types.int64)))


def check(f: Callable, nodes: Sequence[Node], values: tuple[float, ...], *args: object) -> None:
    x = np.array(values)
    y = x.copy()
    expected = f(x, *args)
    assert same((expected, x), (Evaluator((y, *args)).run(nodes), y)), (values, args)


def every(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        match node:
            case When(_, body) | Repeat(body) | Each(body=body):
                yield from every(body)
            case Branch(_, then, orelse):
                yield from every(then)
                yield from every(orelse)


def kinds(nodes: Sequence[Node]) -> list[type]:
    """The node kinds in a tree, without statements and phi halves."""
    return [type(n) for n in every(nodes) if not isinstance(n, Do | Set)]


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_program(f):
    nodes = tree(f)
    for values in ARRAYS:
        for n in (0, 1, 2, 5):
            check(f, nodes, values, n)


def check_random(seed: int, deepest: int) -> None:
    names: dict = {}
    source = generate(seed, deepest)
    exec(source, names)
    f = names["f"]
    nodes = tree(f, X)
    for values in ARRAYS:
        check(f, nodes, values)


@pytest.mark.parametrize("seed", range(0, 200, 20))
def test_random_programs(seed):
    for k in range(seed, seed + 20):
        check_random(k, 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 3000, 20))
def test_many_random_programs(seed):
    for k in range(seed, seed + 20):
        check_random(k, 3)


# ---- the shape of trees ------------------------------------------------------------------------


def named(name: str) -> Callable:
    return next(f for f in PROGRAMS if f.__name__ == name)


def test_one_exit_needs_no_flag():
    for name in ("straight", "one_arm", "plain_for", "nested_for", "swap_in_loop"):
        assert not {Goto, When, Repeat} & set(kinds(tree(named(name)))), name


def test_early_return_outside_of_loops_needs_no_flag():
    def f(x, n):
        if n == 0:
            return x[0]
        if n == 1:
            x[1] = 2.0
            return x[2]
        return 3.0

    assert kinds(tree(f)) == [Branch, Branch]


def test_continue_needs_no_flag():
    assert kinds(tree(named("continues"))) == [Each, Branch, Branch]


def test_a_while_asks_before_and_at_the_end():
    assert kinds(tree(named("plain_while"))) == [Branch, Repeat, Branch, Goto, Goto]


def test_a_raise_with_several_ways_to_it_is_part_of_the_loop():
    def f(x, n):
        for i in range(n):
            if not 0 <= i < 5:
                raise IndexError("i")
            x[i] = 2.0
        return x[0]

    found = kinds(tree(f))
    assert Each in found and Repeat not in found


def test_what_follows_a_raise_stays_outside():
    def f(x, n):
        if n < 0:
            raise ValueError("n")
        return x[0]

    branch = next(n for n in tree(f) if isinstance(n, Branch))
    assert isinstance(branch.then[-1], Raise)
    assert branch.orelse == ()


def test_a_for_that_may_be_left_says_so():
    plain, leaves = (
        next(n for n in every(tree(named(name))) if isinstance(n, Each))
        for name in ("plain_for", "return_in_loop")
    )
    assert not plain.exits
    assert leaves.exits


def test_each_names_the_iterator_and_the_item():
    nodes = tree(named("plain_for"))
    each = next(n for n in nodes if isinstance(n, Each))
    getiter = next(
        n.stmt for n in nodes
        if isinstance(n, Do) and isinstance(n.stmt.value, ir.Expr) and n.stmt.value.op == "getiter"
    )  # fmt: skip
    assert each.iterator == getiter.target.name
    assert each.item in {v.name for n in each.body if isinstance(n, Do) for v in n.stmt.list_vars()}


def test_iterator_statements_and_phis_are_gone():
    for f in PROGRAMS:
        for node in every(tree(f)):
            if isinstance(node, Do):
                assert not isinstance(node.stmt, ir.Del | ir.Jump | ir.Branch | ir.Return)
                op = getattr(getattr(node.stmt, "value", None), "op", "")
                assert op not in ("phi", "iternext", "pair_first", "pair_second")


def test_an_iterator_shared_by_two_loops_is_refused():
    def f(x, n):
        pairs = enumerate(x)
        s = 0.0
        for i, v in pairs:
            if v > 1.0:
                break
            s += i
        for _, v in pairs:
            s += v
        return s

    with pytest.raises(UnsupportedError, match="several loops share"):
        tree(f)


# ---- names -------------------------------------------------------------------------------------


def half(target: str, source: str | None) -> Set:
    return Set(target, source, NOWHERE)


def test_assigned_names():
    loop = Each("it", "i", (half("a!", "i"), When(3, (half("b", "a"),))), 3, True, NOWHERE)
    assert assigned((loop,)) == {"i", "a!", "b"}
    assert assigned((Repeat((Goto(1),), 1, NOWHERE),)) == {GO}
    assert assigned((Branch("c", (half("x", None),), (), NOWHERE),)) == {"x"}


def test_live_through_branches():
    branch = Branch("c", (half("x", "y"),), (half("x", "z"),), NOWHERE)
    assert live((branch,), frozenset({"x", "w"})) == {"c", "y", "z", "w"}
    assert live((When(1, (half("x", "y"),)),), frozenset({"x"})) == {"x", "y", GO}
    assert live((Goto(1), When(1, ())), frozenset()) == frozenset()


def test_live_through_loops():
    body = (half("v", "v!"), half("t", "i"), half("v!", "t"))
    assert live((Each("it", "i", body, 1, False, NOWHERE),), frozenset({"v"})) == {"it", "v", "v!"}
    assert live((Repeat((*body, Goto(2)), 1, NOWHERE),), frozenset({"v"})) == {"v!", "i"}
    assert live((Repeat(body, 1, NOWHERE),), frozenset({RESULT})) == {"v!", "i", GO, RESULT}


def test_nothing_lives_on_after_a_raise():
    stmt = ir.StaticRaise(ValueError, ("no",), NOWHERE)
    assert live((half("x", "y"), Raise(stmt)), frozenset({"z"})) == {"y"}


def test_nothing_lives_before_a_tree_without_flags():
    trees = [tree(named(name)) for name in ("two_arms", "nested_for", "conditional_variable")]
    for nodes in trees:
        assert live(nodes, frozenset({RESULT})) == frozenset()
