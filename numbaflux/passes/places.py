"""Where things are: the block a variable is defined in, what surrounds a block, what is intact.

note [Top]  A block is *top* if it runs at most once: the function's block, and the arms of an If in
a top block.  What a top block defines can be seen by the reverse sweep as it is.

note [Intact]  A load is intact if no statement that can run after it may write the memory it reads:
none in the rest of its block, nor of the blocks around it, nor, in a loop, anywhere in the loop's
body, unless each iteration makes the array anew.  The reverse sweep writes no primal memory, so it
can repeat an intact load.
"""

from __future__ import annotations

from functools import cached_property

from numbaflux.ir.nodes import (
    Alloc,
    Array,
    Atom,
    Block,
    For,
    Function,
    If,
    Stmt,
    Var,
    View,
    While,
)
from numbaflux.ir.walk import defs, regions, walk
from numbaflux.passes.alias import Aliases, Site


class Places:
    """Where every variable of a function is defined, and what lies around it."""

    def __init__(self, fn: Function) -> None:
        self.alias = Aliases(fn)
        self.home: dict[Var, Block] = {}
        self.definition: dict[Var, Stmt] = {}
        self.around: dict[Block, tuple[Stmt, Block]] = {}  # region: its statement, that one's block
        self.root = fn.block
        self._visit(fn.block)

    def _visit(self, block: Block) -> None:
        self.home.update((p, block) for p in block.params)
        for stmt in block.stmts:
            for v in defs(stmt):
                self.home[v] = block
                self.definition[v] = stmt
            for region in regions(stmt):
                self.around[region] = (stmt, block)
                self._visit(region)

    @cached_property
    def after(self) -> dict[Stmt, frozenset[Site]]:
        """For each statement what may be written by those that may run after it."""
        found: dict[Stmt, frozenset[Site]] = {}
        self._look_after(self.root, frozenset(), found)
        return found

    def _look_after(
        self, block: Block, later: frozenset[Site], found: dict[Stmt, frozenset[Site]]
    ) -> None:
        for stmt in reversed(block.stmts):
            found[stmt] = later
            written = self.alias.written(stmt)
            for region in regions(stmt):
                written |= self.alias.written_in(region)
            for region in regions(stmt):
                again = written - self._fresh(region) if isinstance(stmt, For | While) else ()
                self._look_after(region, later.union(again), found)
            later |= written

    def _fresh(self, body: Block) -> frozenset[Site]:
        """The arrays that each iteration makes for itself."""
        made = (s.result for s in walk(body) if isinstance(s, Alloc))
        return self.alias.private.intersection(made)

    def top(self, block: Block) -> bool:
        """Whether a block runs at most once. note [Top]"""
        if block is self.root:
            return True
        stmt, outer = self.around[block]
        return isinstance(stmt, If) and self.top(outer)

    def loops(self, block: Block) -> tuple[For | While, ...]:
        """The loops around a block, the outermost first."""
        found: list[For | While] = []
        while block is not self.root:
            stmt, block = self.around[block]
            if isinstance(stmt, For | While):
                found.append(stmt)
        return tuple(reversed(found))

    def intact(self, stmt: Stmt, array: Atom) -> bool:
        """Whether what `stmt` reads from `array` is still there in the reverse sweep."""
        return self.after[stmt].isdisjoint(self.alias.of(array))

    def lasting(self, array: Atom) -> bool:
        """Whether a reference can be had in the reverse sweep without having been kept."""
        if not isinstance(array, Var) or self.top(self.home[array]):
            return True
        stmt = self.definition.get(array)
        if isinstance(stmt, View):
            return self.lasting(stmt.base)
        return self.permuted(array) is not None

    def permuted(self, p: Var) -> tuple[tuple[int, int], ...] | None:
        """The cycle of carried references that p belongs to: pairs (carried, what it becomes).

        A pair (i, j) says that the i-th carried value of the next trip is the j-th of this one.
        None if p is not carried, or its loop does more than permute it.
        """
        block = self.home[p]
        if block is self.root or p not in block.params or not isinstance(p.type, Array):
            return None
        loop, _ = self.around[block]
        if not isinstance(loop, For | While):
            return None
        skip_params, skip_yields = (1, 0) if isinstance(loop, For) else (0, 1)
        carried, nexts = block.params[skip_params:], block.yields[skip_yields:]
        becomes = {i: carried.index(y) for i, y in enumerate(nexts) if y in carried}
        start = i = next((i for i, q in enumerate(carried) if q is p), -1)
        if start < 0:
            return None
        cycle: list[tuple[int, int]] = []
        while i in becomes and len(cycle) < len(carried):
            cycle.append((i, becomes[i]))
            i = becomes[i]
            if i == start:
                return tuple(cycle)
        return None
