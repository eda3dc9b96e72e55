"""Which values are the same for all threads of a block, and where its threads wait for each other.

note [Phases]  Barriers cut a kernel into segments.  Two accesses may be made in the same phase, by
threads that have passed as many barriers, if control comes from the one to the other without
passing a barrier: out of the last segment of a loop's body into its first, for example.
"""

from __future__ import annotations

from collections.abc import Iterable

from numbaflux.ir.nodes import (
    Atom,
    Atomic,
    Barrier,
    Block,
    Custom,
    Dim,
    Extern,
    For,
    Function,
    If,
    Load,
    Prim,
    Shuffle,
    Stmt,
    While,
)
from numbaflux.ir.ops import THREADS
from numbaflux.ir.walk import defs, regions, within
from numbaflux.passes.alias import Aliases

OF_LAUNCH = {
    name for name in THREADS if name.startswith(("block_dim", "grid_dim", "grid_size"))
} | {"dynamic_bytes"}  # the same for all threads of a grid
OF_BLOCK = OF_LAUNCH | {"block_x", "block_y", "block_z"}
VOTED = {"sync_count", "sync_and", "sync_or"}  # routines that tell all threads of a block the same


class Uniform:
    """`a in uniform`: whether all threads of a block that come by have one value of `a` there."""

    def __init__(self, fn: Function) -> None:
        self.alias = Aliases(fn)
        self.written = self.alias.written_in(fn.block)
        self.varying: set[Atom] = set()
        size = -1
        while size != len(self.varying):
            size = len(self.varying)
            self._block(fn.block, False)

    def __contains__(self, a: Atom) -> bool:
        return a not in self.varying

    def _add(self, variables: Iterable[Atom], varies: bool) -> None:
        if varies:
            self.varying.update(variables)

    def _block(self, block: Block, divided: bool) -> None:
        """`divided`: the threads that come here are not all of the block."""
        for stmt in block.stmts:
            self._stmt(stmt, divided)

    def _stmt(self, stmt: Stmt, divided: bool) -> None:
        match stmt:
            case Prim(result, op, args):
                own = op in THREADS and op not in OF_BLOCK
                self._add([result], own or any(a in self.varying for a in args))
            case Load(result, array, index):
                changes = not self.written.isdisjoint(self.alias.of(array))
                self._add([result], changes or any(a in self.varying for a in (array, *index)))
            case Extern(results, routine, args):
                self._add(results, routine not in VOTED)
            case Shuffle() | Atomic() | Custom():
                self._add(defs(stmt), True)
            case If(results, cond, then, orelse):
                apart = cond in self.varying
                self._block(then, divided or apart)
                self._block(orelse, divided or apart)
                for r, a, b in zip(results, then.yields, orelse.yields):
                    self._add([r], apart or a in self.varying or b in self.varying)
            case For(results, count, inits, body):
                self._loop(stmt, count in self.varying, divided)
                self._carried(results, inits, body.params[1:], body.yields, count in self.varying)
            case While(results, inits, body):
                apart = body.yields[0] in self.varying
                self._loop(stmt, apart, divided)
                self._carried(results, inits, body.params, body.yields[1:], apart)
            case Dim(result, array):
                self._add([result], array in self.varying)
            case _:
                pass

    def _loop(self, stmt: For | While, apart: bool, divided: bool) -> None:
        self._block(stmt.body, divided or apart)

    def _carried(self, results, inits, params, yields, apart: bool) -> None:
        for r, i, p, y in zip(results, inits, params, yields):
            varies = i in self.varying or y in self.varying
            self._add([p], varies)
            self._add([r], varies or apart)


def has_barrier(stmt: Stmt) -> bool:
    """Whether a statement is a barrier of the block or has one inside."""
    return any(isinstance(s, Barrier) and s.scope == "block" for s in within(stmt))


class Phases:
    """Which statements of a kernel may be in one phase. note [Phases]"""

    def __init__(self, fn: Function) -> None:
        self._segment: dict[Stmt, int] = {}
        self._next: list[set[int]] = []  # where control goes on to without a barrier
        self._block(fn.block, self._new())
        self._reached = [self._reachable(n) for n in range(len(self._next))]

    def together(self, a: Stmt, b: Stmt) -> bool:
        """Whether two threads of a block may do `a` and `b` without a barrier in between."""
        x, y = self._segment[a], self._segment[b]
        return y in self._reached[x] or x in self._reached[y]

    def once(self, stmts: Iterable[Stmt]) -> bool:
        """Whether statements are in one segment, which takes a barrier to come to again."""
        segments = {self._segment[s] for s in stmts}
        return len(segments) == 1 and not any(
            n in self._reached[after] for n in segments for after in self._next[n]
        )

    def _new(self, *after: int) -> int:
        self._next.append(set())
        for segment in after:
            self._next[segment].add(len(self._next) - 1)
        return len(self._next) - 1

    def _reachable(self, segment: int) -> set[int]:
        found, pending = {segment}, [segment]
        while pending:
            more = self._next[pending.pop()] - found
            found |= more
            pending += more
        return found

    def _block(self, block: Block, segment: int) -> int:
        """The segment at the end of a block that is entered in `segment`."""
        for stmt in block.stmts:
            self._segment[stmt] = segment
            if isinstance(stmt, Barrier):
                segment = self._new() if stmt.scope == "block" else segment
            elif regions(stmt):
                segment = self._regions(stmt, segment)
        return segment

    def _regions(self, stmt: Stmt, segment: int) -> int:
        if not has_barrier(stmt):
            for region in regions(stmt):
                self._block(region, segment)
            return segment
        ends = []
        for region in regions(stmt):
            first = self._new(segment)
            ends.append(self._block(region, first))
            if isinstance(stmt, For | While):
                self._next[ends[-1]].add(first)
        skipped = (segment,) if isinstance(stmt, For) else ()
        return self._new(*ends, *skipped)
