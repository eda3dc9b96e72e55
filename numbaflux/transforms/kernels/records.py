"""What a kernel has to write down while it runs, for an adjoint that runs after it.

A load of what the kernel overwrites later, and what an atomic operation returned, are not to be had
again.  `recording` is the kernel that stores them, `replaying` a program that computes the same and
reads them instead; both count trips in the same way, so that each value has its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import (
    Alloc,
    Array,
    Atom,
    Block,
    Function,
    Load,
    Scalar,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.walk import defs, map_regions, regions, walk
from numbaflux.passes.counters import Counted, Nest, counters


@dataclass(frozen=True, slots=True)
class Recorded:
    """A kernel with the arrays that it writes its record into, or reads it from, one a site."""

    fn: Function
    arrays: tuple[Var, ...]


def recording(fn: Function, sites: Sequence[Var]) -> Recorded:
    """The kernel that stores what the statements defining `sites` give."""
    return _Record(counters(fn), sites).run(play=False)


def replaying(fn: Function, sites: Sequence[Var]) -> Recorded:
    """The kernel that loads it instead."""
    return _Record(counters(fn), sites).run(play=True)


class _Record:
    def __init__(self, counted: Counted, sites: Sequence[Var]) -> None:
        self.fn, self.counted = counted.fn, counted
        self.nests: dict[Var, Nest | None] = {}
        self._find(counted.fn.block, None)
        self.sites = sites
        self.arrays = {v: self._array(v) for v in sites}

    def _find(self, block: Block, nest: Nest | None) -> None:
        for stmt in block.stmts:
            self.nests.update((v, nest) for v in defs(stmt))
            for region in regions(stmt):
                loop = region.params and region.params[0] in self.counted.nests
                inside = self.counted.nests[region.params[0]] if loop else nest
                self._find(region, inside)

    def _array(self, v: Var) -> Var:
        nest = self.nests[v]
        assert isinstance(v.type, Scalar)
        if nest is None:
            return Var(f"{v.name}_record", Array(v.type, 0))
        if nest.counts is None:
            return Var(f"{v.name}_record", Array(v.type, 1, grows=True))
        return Var(f"{v.name}_record", Array(v.type, len(nest.counts)))

    def run(self, play: bool) -> Recorded:
        first: dict[Stmt, list[Var]] = {}
        for stmt in self.fn.block.stmts:
            inside = (v for s in walk(Block((), (stmt,))) for v in defs(s))
            first[stmt] = [v for v in inside if v in self.arrays]
        b = Builder(self.fn.loc)
        for stmt in self.fn.block.stmts:
            b.loc = stmt.loc
            for v in first[stmt]:
                b.append(Alloc(self.arrays[v], self._shape(b, v), False, stmt.loc))
            b.stmts += self._stmt(stmt, play)
        block = replace(self.fn.block, stmts=tuple(b.stmts))
        return Recorded(replace(self.fn, block=block), tuple(self.arrays[v] for v in self.sites))

    def _shape(self, b: Builder, v: Var) -> tuple[Atom, ...]:
        nest = self.nests[v]
        if nest is None:
            return ()
        if nest.counts is None:
            return (index(0),)
        bounds = (self.counted.hoist.bound(b, n) for n in nest.counts)
        return tuple(b.prim("max", n, index(0)) for n in bounds)

    def _stmt(self, stmt: Stmt, play: bool) -> list[Stmt]:
        stmt = map_regions(stmt, lambda region: self._block(region, play))
        site = next((v for v in defs(stmt) if v in self.arrays), None)
        if site is None:
            return [stmt]
        nest, array = self.nests[site], self.arrays[site]
        place = () if nest is None else nest.index
        if play:
            return [Load(site, array, place, stmt.loc)]
        return [stmt, Store(array, place, site, stmt.loc)]

    def _block(self, block: Block, play: bool) -> Block:
        stmts = (made for stmt in block.stmts for made in self._stmt(stmt, play))
        return replace(block, stmts=tuple(stmts))
