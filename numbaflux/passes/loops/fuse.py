"""Loops of the same trips made one: what the first leaves for the second stays in cache.

The forward sweep of a loop whose iterations only meet in sums, and its reverse sweep once it counts
up (`order`), become one loop: each iteration is reversed right after it has run.  What they
pass on, an array with an entry for every trip, then only lives for one (`contract`).

    for k in range(n): s += t*x[k]; c[k] = t          for k in range(n):
    for k in range(n): d_x[k] += d*c[k]          →        s += t*x[k]; d_x[k] += d*t

The statements between the two go before if the second needs them, after if not.  Every element and
every sum sees its operations in the old order, so no value changes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from numbaflux.debug import stage
from numbaflux.ir.build import zero_of
from numbaflux.ir.nodes import (
    Array,
    Block,
    Call,
    Const,
    Custom,
    Extern,
    For,
    Function,
    Prim,
    Print,
    Raise,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.walk import defs, free, map_regions, regions, substitute, uses, walk, within
from numbaflux.passes.alias import Site
from numbaflux.passes.dependence import Access, Dependence, accesses, only_sums
from numbaflux.passes.loops.vectorise import elementary

SHORT = 64  # trips


@stage
def fuse(fn: Function) -> Function:
    """The function with loops fused that touch the same elements."""
    fuser = _Fuser()
    while (fused := fuser.once(fn)) is not None:
        fn = fused
    return fn


@dataclass(frozen=True, slots=True)
class _Touch:
    """The memory that a statement, its regions included, reads and writes."""

    read: frozenset[Site]
    written: frozenset[Site]
    how: tuple[Access, ...]

    def meets(self, other: _Touch) -> bool:
        """Whether one writes to an array that the other one reads or writes."""
        return not (
            self.written.isdisjoint(other.read | other.written)
            and other.written.isdisjoint(self.read)
        )


class _Fuser:
    """What is found out about statements holds as long as they stand in the function."""

    def __init__(self) -> None:
        self._apart: set[tuple[Stmt, ...]] = set()  # from one loop to another that stays apart
        self._touches: dict[Stmt, _Touch] = {}
        self._shared: dict[Block, list[Access]] = {}  # by a loop's body
        self._bars: dict[Stmt, bool] = {}

    def once(self, fn: Function) -> Function | None:
        """The function with a pair of loops fused, if there is one."""
        self.dependence, self.changed = Dependence.of(fn), False
        block = self.block(fn.block)
        return replace(fn, block=block) if self.changed else None

    def block(self, block: Block) -> Block:
        """The block with at most one pair of its own loops fused, else one pair further in."""
        stmts = list(block.stmts)
        loops = [i for i, s in enumerate(stmts) if _fusible(s)]
        for i in loops:
            for j in loops:
                if j <= i or self.changed:
                    continue
                span = tuple(stmts[i : j + 1])
                fused = None if span in self._apart else self.pair(span)
                if fused is not None:
                    self.changed = True
                    stmts[i : j + 1] = fused
                    return replace(block, stmts=tuple(stmts))
                self._apart.add(span)
        return replace(
            block, stmts=tuple(s if self.changed else map_regions(s, self.block) for s in stmts)
        )

    def pair(self, stmts: tuple[Stmt, ...]) -> list[Stmt] | None:
        """The statements with the first and the last, two loops, made one; None if impossible."""
        first, *between, second = stmts
        assert isinstance(first, For) and isinstance(second, For)
        second, sums = self.from_zero(second)
        form = self.dependence.form
        if form(first.count) != form(second.count) or any(map(self.bars, (*between, stmts[-1]))):
            return None
        if not self.worthwhile(first, second) or not self.independent(first, second):
            return None
        before = self.needed(between, second)
        after = [s for s in between if s not in before]
        if any(self.depends(s, first) for s in (*before, second) if s is not second):
            return None
        if not set(_operands(second)).isdisjoint(defs(first)):
            return None
        late: list[Stmt] = []
        for s in between:  # what goes before must not have waited for what goes after
            if s in before and any(self.conflict(self.touch(s), self.touch(t)) for t in late):
                return None
            late += [s] if s not in before else []
        return [*before, _joined(first, second), *after, *sums]

    def from_zero(self, loop: For) -> tuple[For, list[Stmt]]:
        """A loop of a reverse sweep with sums that start from nothing, and what they started from
        added afterwards: it may not be known earlier."""
        if not loop.reverse or not only_sums(loop):
            return loop, []
        known = [isinstance(i, Const) for i in loop.inits]
        fresh = [r if k else Var(r.name, r.type) for r, k in zip(loop.results, known)]
        inits = [i if k else zero_of(i.type) for i, k in zip(loop.inits, known)]
        sums: list[Stmt] = [
            Prim(r, "add", (i, f), loop.loc)
            for r, i, f, k in zip(loop.results, loop.inits, fresh, known)
            if not k
        ]
        return replace(loop, results=tuple(fresh), inits=tuple(inits)), sums

    def needed(self, between: list[Stmt], second: For) -> list[Stmt]:
        """The statements that have to come before the second loop."""
        wanted, touched, found = set(_operands(second)), [self.touch(second)], []
        for stmt in reversed(between):
            touch = self.touch(stmt)
            if not wanted.isdisjoint(defs(stmt)) or any(self.conflict(touch, t) for t in touched):
                wanted.update(_operands(stmt))
                touched.append(touch)
                found.insert(0, stmt)
        return found

    def depends(self, stmt: Stmt, on: Stmt) -> bool:
        return not set(_operands(stmt)).isdisjoint(defs(on)) or self.conflict(
            self.touch(stmt), self.touch(on)
        )

    def bars(self, stmt: Stmt) -> bool:
        """Whether nothing may move past a statement."""
        if stmt not in self._bars:
            self._bars[stmt] = any(
                isinstance(s, Raise | Print | Call | Custom)
                or (isinstance(s, Extern) and not ROUTINES[s.routine].pure)
                for s in within(stmt)
            )
        return self._bars[stmt]

    def touch(self, stmt: Stmt) -> _Touch:
        if stmt not in self._touches:
            self._touches[stmt] = self._touch(stmt)
        return self._touches[stmt]

    def _touch(self, stmt: Stmt) -> _Touch:
        read: set[Site] = set()
        written: set[Site] = set()
        how = tuple(dict.fromkeys(accesses(Block((), (stmt,)))))
        for a in how:
            (written if a.writes else read).update(self.dependence.alias.of(a.array))
        return _Touch(frozenset(read), frozenset(written), how)

    def conflict(self, one: _Touch, other: _Touch) -> bool:
        """Whether one writes to what the other one reads or writes."""
        return one.meets(other) and any(
            (a.writes or b.writes)
            and self.dependence.alias.meet(a.array, b.array)
            and not self.dependence.disjoint(a, b)
            for a in one.how
            for b in other.how
        )

    def shared(self, loop: For) -> list[Access]:
        """What a loop does to memory that outlives an iteration."""
        if loop.body not in self._shared:
            private = self.dependence.private
            found = dict.fromkeys(accesses(loop.body))
            self._shared[loop.body] = [a for a in found if not private(a.array, loop)]
        return self._shared[loop.body]

    def worthwhile(self, first: For, second: For) -> bool:
        """Whether the second loop reads or adds to what an iteration of the first has written.

        Or reads what it has read, if they are short: LLVM has no loop left to gain from.  A loop
        over vectors stays one, apart from a loop that has others within.
        """
        nests = [any(map(regions, loop.body.stmts)) for loop in (first, second)]
        if nests[0] != nests[1] and elementary(second if nests[0] else first):
            return False
        short = isinstance(first.count, Const) and int(first.count.value) <= SHORT
        alike = elementary(first) == elementary(second)
        mine, others = self.shared(first), self.shared(second)
        passed_on = defaultdict(list)  # by array
        for b in others:
            if b.sums or not b.writes:
                passed_on[self.dependence.element(b)[0]].append(b)
        return any(
            self.dependence.tied(a, b, first, second)
            for a in mine
            if a.writes or (short and alike)
            for b in passed_on.get(self.dependence.element(a)[0], ())
        )

    def independent(self, first: For, second: For) -> bool:
        """Whether no iteration of one depends on another iteration of the other."""
        mine, others = self.shared(first), self.shared(second)
        return not any(self.dependence.meet(a, b, first, second) for a in mine for b in others)


def _fusible(stmt: Stmt) -> bool:
    """Whether a loop's iterations can be run between those of another."""
    if (
        not isinstance(stmt, For)
        or stmt.parallel
        or any(isinstance(i.type, Array) for i in stmt.inits)
    ):
        return False
    return not any(
        isinstance(s, Custom | Call | Print)
        or (isinstance(s, Store) and isinstance(s.value.type, Array))
        or (isinstance(s, Extern) and not ROUTINES[s.routine].pure)
        for s in walk(stmt.body)
    )


def _operands(stmt: Stmt) -> list[Var]:
    found = [a for a in uses(stmt) if isinstance(a, Var)]
    return [*found, *(v for region in regions(stmt) for v in free(region))]


def _joined(first: For, second: For) -> For:
    """One loop that runs each iteration of the first, then that of the second."""
    k, *mine = first.body.params
    q, *others = second.body.params
    body = substitute(second.body, {q: k})
    return replace(
        first,
        results=(*first.results, *second.results),
        inits=(*first.inits, *second.inits),
        body=Block(
            (k, *mine, *others),
            (*first.body.stmts, *body.stmts),
            (*first.body.yields, *body.yields),
        ),
    )
