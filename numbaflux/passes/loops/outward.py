"""What is the same in every trip, done before the loop: views, and elements that nobody writes.

    for k in range(16):                   W = p[0:32].reshape((2, 16))
        W = p[0:32].reshape((2, 16))  →   w = x[0]
        s += W[0, k] * x[0]               for k in range(16):
                                              s += W[0, k] * w

A view by slices or by a shape touches no memory and cannot fail: what a loop does not do when it
makes no trip is not missed.  A view of a row, `a[i]`, stays: the index may be out of bounds.  So
does an element, unless the loop is known to make a trip: in reverse mode it would be kept for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from numbaflux.debug import stage
from numbaflux.ir.nodes import (
    Array,
    Block,
    Const,
    Dim,
    For,
    Function,
    Index,
    Load,
    Raise,
    Reshape,
    Slice,
    Stmt,
    View,
    While,
)
from numbaflux.ir.walk import defs, map_regions, uses, walk, within
from numbaflux.passes.alias import Aliases


@stage
def outward(fn: Function) -> Function:
    """The function with views and elements before the loops that leave them alone."""
    if not any(_harmless(s) or isinstance(s, Load) for s in _in_loops(fn.block)):
        return fn
    return replace(fn, block=_Outward(fn).block(fn.block))


def _in_loops(block: Block) -> Iterator[Stmt]:
    return (s for loop in walk(block) if isinstance(loop, For | While) for s in walk(loop.body))


class _Outward:
    def __init__(self, fn: Function) -> None:
        self.fn = fn

    @cached_property
    def alias(self) -> Aliases:
        return Aliases(self.fn)

    def block(self, block: Block) -> Block:
        return replace(block, stmts=tuple(new for s in block.stmts for new in self.stmt(s)))

    def stmt(self, stmt: Stmt) -> Sequence[Stmt]:
        """The statement behind what leaves it."""
        stmt = map_regions(stmt, self.block)
        if not isinstance(stmt, For | While):
            return (stmt,)
        inner = set(stmt.body.params)
        runs = self.runs(stmt)
        leaves: list[Stmt] = []
        stays: list[Stmt] = []
        for s in stmt.body.stmts:
            same = inner.isdisjoint(uses(s))
            if same and (_harmless(s) or (runs and isinstance(s, Load) and self.still(s, stmt))):
                leaves.append(s)
            else:
                stays.append(s)
                inner.update(defs(s))
                runs = runs and not any(isinstance(t, Raise) for t in within(s))
        return *leaves, replace(stmt, body=replace(stmt.body, stmts=tuple(stays)))

    def runs(self, loop: For | While) -> bool:
        """Whether a loop of one thread is known to make a trip."""
        few = isinstance(loop, For) and isinstance(loop.count, Const) and int(loop.count.value) > 0
        return few and self.fn.kernel is None

    def still(self, load: Load, loop: For | While) -> bool:
        """Whether a loop leaves alone what a statement in it reads."""
        number = not isinstance(load.result.type, Array)
        written = self.alias.written_in(loop.body) if number else frozenset()
        return number and written.isdisjoint(self.alias.of(load.array))


def _harmless(stmt: Stmt) -> bool:
    match stmt:
        case View(how=Index(items)):
            return all(isinstance(i, Slice) for i in items)
        case View(how=Reshape()) | Dim():
            return True
        case _:
            return False
