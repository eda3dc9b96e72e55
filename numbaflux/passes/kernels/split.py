"""Additions of a thread to its neighbours' elements of shared memory, one neighbour at a time.

    if c:                                 if c: v, w = ..
        atomic d[t] += ..                 else: v, w = 0.0, 0.0
        atomic d[t + 1] += ..     →       if v != 0.0: d[t] += v
                                          barrier
                                          if w != 0.0: d[t + 1] += w

In each phase all threads add to elements of their own, as the owner rule proves then.  An atomic
addition of floats to shared memory is a loop of compare and swap; a barrier costs less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder
from numbaflux.ir.nodes import (
    Accumulate,
    Atom,
    Barrier,
    Block,
    For,
    Function,
    If,
    Stmt,
    Var,
    While,
)
from numbaflux.ir.walk import map_regions, regions, within
from numbaflux.passes.dependence import Access, accesses
from numbaflux.passes.forms import atom_of
from numbaflux.passes.kernels.carry import Carrier, Key, Pending, Sums
from numbaflux.passes.kernels.owner import Known, contested
from numbaflux.passes.kernels.uniform import Uniform, has_barrier


@stage
def split(fn: Function, shadows: frozenset[Var], launch: Known) -> Function:
    """The kernel with phases for those additions to `shadows` that need no more then."""
    arrays = contested(fn, shadows, launch)
    while arrays:
        made = _Splitter(fn, arrays).root(fn.block)
        candidate = replace(fn, block=made)
        left = arrays & contested(candidate, shadows, launch)
        if not left:
            return candidate
        arrays -= left
    return fn


class _Splitter(Carrier):
    """note [Between]  An addition stays behind what the same thread has taken out of the array
    before, and before what it takes out later: only those of other threads can be moved."""

    def __init__(self, fn: Function, arrays: frozenset[Var]) -> None:
        super().__init__(fn)
        self.uniform, self.arrays = Uniform(fn), arrays

    def root(self, block: Block) -> Block:
        """A block that all threads come to, or none."""
        b = Builder()
        sums: Sums = {}
        dirty: set[Atom] = set()  # arrays that have been added to since the last barrier
        for stmt in block.stmts:
            b.loc = stmt.loc
            if has_barrier(stmt):
                self._flush(b, sums, sums, dirty)
                together = all(map(self._together, regions(stmt)))
                b.append(map_regions(stmt, self.root) if together else stmt)
                dirty.clear()
                continue
            if isinstance(stmt, Accumulate) and self._wanted(stmt):
                self.join(b, sums, self.direct(stmt))
                continue
            self._flush(b, sums, [k for k in sums if self._takes(stmt, k[0])], dirty)
            made, found = self.stmt(stmt)
            b.append(made)
            for p in found.values():
                self.join(b, sums, p)
        self._flush(b, sums, sums, dirty)
        return replace(block, stmts=tuple(b.stmts))

    def _together(self, region: Block) -> bool:
        """Whether all threads of the block run a region equally often, if all come to it."""
        if any(isinstance(s, Barrier) and s.scope == "block" for s in region.stmts):
            return True
        match self.places.around[region][0]:
            case If(cond=a) | For(count=a):
                return a in self.uniform
            case While(body=body):
                return body.yields[0] in self.uniform
            case _:
                return False

    def _wanted(self, stmt: Accumulate) -> bool:
        sites = self.alias.of(stmt.array)
        return stmt.atomic and bool(sites) and sites <= self.arrays

    def _takes(self, stmt: Stmt, array: Atom) -> bool:
        return any(self._other(a, array) for a in accesses(Block((), (stmt,))))

    def _other(self, access: Access, array: Atom) -> bool:
        return not access.sums and self.alias.meet(access.array, array)

    def leaving(self, region: Block) -> list[Accumulate]:
        """note [Between]"""
        found: list[Accumulate] = []
        for stmt in region.stmts:
            found = [s for s in found if not self._takes(stmt, s.array)]
            for s in within(stmt):
                if isinstance(s, Accumulate) and self._wanted(s) and self._movable(s, region):
                    found.append(s)
        if isinstance(self.places.around[region][0], If):
            return found
        taken = [s for s in found if any(self._takes(t, s.array) for t in region.stmts)]
        return [s for s in found if s not in taken]

    def _movable(self, stmt: Accumulate, region: Block) -> bool:
        forms = (self.dependence.form(a) for a in stmt.index)
        atoms = (a for form in forms for a in form)
        return all(self.known_outside(a, region) for a in (stmt.array, *atoms))

    def add(self, b: Builder, p: Pending) -> None:
        """The place is computed again, where it may not have been."""
        place = tuple(atom_of(b, self.dependence.form(a)) for a in p.index)
        super().add(b, replace(p, index=place))

    def _flush(self, b: Builder, sums: Sums, keys: Iterable[Key], dirty: set[Atom]) -> None:
        """Make additions now: of each array one, then a barrier, then of each the next one."""
        rest = [sums.pop(k) for k in list(keys)]
        while rest:
            if any(p.array in dirty for p in rest[:1]):
                b.append(Barrier("block", rest[0].loc))
                dirty.clear()
            later: list[Pending] = []
            for p in rest:
                if p.array in dirty:
                    later.append(p)
                else:
                    self.add(b, p)
                    dirty.add(p.array)
            rest = later
