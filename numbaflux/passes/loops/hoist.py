"""Allocations moved out of loops: an iteration clears its work array instead of making one.

for k in range(n):                    a = empty(m)
    a = zeros(m)              →       for k in range(n):
    ...                                   for i in range(m): a[i] = 0
                                          ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, array_of, index, zero_of
from numbaflux.ir.nodes import Alloc, Atom, Block, For, Function, Stmt, Var, While
from numbaflux.ir.walk import defs, map_regions, walk
from numbaflux.passes.dependence import Dependence


@stage
def hoist(fn: Function) -> Function:
    """The function with its private arrays made outside the loops that leave their shape alone."""
    if not any(isinstance(s, Alloc) for loop in _loops(fn.block) for s in walk(loop.body)):
        return fn
    return replace(fn, block=_Hoist(fn).straight(fn.block))


def _loops(block: Block) -> Iterator[For | While]:
    return (s for s in walk(block) if isinstance(s, For | While))


class _Hoist:
    def __init__(self, fn: Function) -> None:
        self.dependence = Dependence.of(fn)

    def block(self, block: Block) -> tuple[Block, list[Alloc]]:
        """The block, and the allocations that could be made before the loop it is the body of."""
        inner = set(block.params)
        stmts: list[Stmt] = []
        out: list[Alloc] = []
        for stmt in block.stmts:
            b = Builder(stmt.loc)
            stmt, freed = self.stmt(stmt)
            for alloc in freed:  # freed by a loop in this block
                if inner.isdisjoint(alloc.shape):
                    out.append(alloc)
                else:
                    shape = tuple(self.length(b, n) for n in alloc.shape)
                    b.append(replace(alloc, shape=shape))
            if self._free(stmt, inner):
                assert isinstance(stmt, Alloc)
                out.append(replace(stmt, zero=False))
                if stmt.zero:
                    with b.each(stmt.shape) as place:
                        b.store(stmt.result, place, zero_of(array_of(stmt.result).element))
            else:
                b.append(stmt)
            inner.update(v for s in b.stmts for v in defs(s))
            stmts += b.stmts
        return replace(block, stmts=tuple(stmts)), out

    def stmt(self, stmt: Stmt) -> tuple[Stmt, list[Alloc]]:
        """The statement, and the allocations that are to be made before it."""
        if isinstance(stmt, For | While) and not (isinstance(stmt, For) and stmt.parallel):
            body, out = self.block(stmt.body)
            return replace(stmt, body=body), out

        return map_regions(stmt, self.straight), []

    def straight(self, block: Block) -> Block:
        """A block that is not the body of a loop."""
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            stmt, freed = self.stmt(stmt)
            b = Builder(stmt.loc)
            for alloc in freed:
                shape = tuple(self.length(b, n) for n in alloc.shape)
                b.append(replace(alloc, shape=shape))
            stmts += [*b.stmts, stmt]
        return replace(block, stmts=tuple(stmts))

    def length(self, b: Builder, n: Atom) -> Atom:
        """A length that may be negative where the loop does not run."""
        known = self.dependence.nonnegative(self.dependence.form(n))
        return n if known else b.prim("max", n, index(0))

    def _free(self, stmt: Stmt, inner: set[Var]) -> bool:
        """Whether a statement makes a private array whose shape is known outside."""
        return (
            isinstance(stmt, Alloc)
            and stmt.result in self.dependence.alias.private
            and not array_of(stmt.result).grows
            and inner.isdisjoint(stmt.shape)
        )
