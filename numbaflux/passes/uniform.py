"""Which values are the same for all threads of a block, and where its threads wait for each other.

note [Phases]  Barriers cut a kernel into phases: two accesses of one block are in the same phase if
a thread can do the one while another, which has passed as many barriers, does the other.  A loop
around a barrier joins what follows its last one with what comes before its first.
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
    """`phases[stmt]`: the number of the phase that a statement without barriers belongs to."""

    def __init__(self, fn: Function) -> None:
        self._joined: list[int] = []
        self._of: dict[Stmt, int] = {}
        self._block(fn.block, self._new())

    def __getitem__(self, stmt: Stmt) -> int:
        return self._find(self._of[stmt])

    def _new(self) -> int:
        self._joined.append(len(self._joined))
        return len(self._joined) - 1

    def _find(self, phase: int) -> int:
        while self._joined[phase] != phase:
            phase = self._joined[phase]
        return phase

    def _join(self, a: int, b: int) -> None:
        self._joined[self._find(a)] = self._find(b)

    def _block(self, block: Block, phase: int) -> int:
        """The phase at the end of a block that is entered in `phase`."""
        for stmt in block.stmts:
            self._of[stmt] = phase
            if isinstance(stmt, Barrier):
                phase = self._new() if stmt.scope == "block" else phase
            elif regions(stmt):
                phase = self._regions(stmt, phase)
        return phase

    def _regions(self, stmt: Stmt, phase: int) -> int:
        if not has_barrier(stmt):
            for region in regions(stmt):
                self._block(region, phase)
            return phase
        after = self._new()
        for region in regions(stmt):
            self._join(self._block(region, phase), after)
        if isinstance(stmt, For | While):
            self._join(after, phase)
        return after
