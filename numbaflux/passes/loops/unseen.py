"""Zeros that nobody sees: shadows cleared at the end of a reverse sweep.

for k in range(n):                    for k in range(n):
    d[k] += a[k]             →            d[k] += a[k]
    a[k] = 0
return d                              return d
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import Alloc, Block, Function, Stmt
from numbaflux.ir.walk import blocks, map_regions, walk
from numbaflux.passes.dependence import Dependence, accesses
from numbaflux.passes.loops.boxes import clearing, named, stores_zero


@stage
def unseen(fn: Function) -> Function:
    """The function without the zeros that it stores to arrays of its own it is done with."""
    gone = _unseen(Dependence.of(fn), fn)

    def visit(block: Block) -> Block:
        stmts = (map_regions(s, visit) for s in block.stmts if s not in gone)
        return replace(block, stmts=tuple(stmts))

    return replace(fn, block=visit(fn.block)) if gone else fn


def _unseen(dependence: Dependence, fn: Function) -> set[Stmt]:
    """Stores of zeros in the outermost nests of a block that has made the array for itself.

    Each is the last thing done to its element.
    """
    alias = dependence.alias
    found: set[Stmt] = set()
    for block in blocks(fn.block):
        if block is fn.block:
            own = {s.result for s in walk(block) if isinstance(s, Alloc)}
        else:
            own = alias.private & {s.result for s in block.stmts if isinstance(s, Alloc)}
        seen = {site for a in fn.results for site in alias.of(a) | alias.held(a)}
        for stmt in reversed(block.stmts) if own else ():
            for nest, array in clearing(Block((), (stmt,))):
                box = named(dependence, nest, array, last=True)
                done = alias.of(array) <= own and alias.of(array).isdisjoint(seen)
                if box and done and stores_zero(box.stmt):
                    found.add(box.stmt)
            seen.update(site for a in accesses(Block((), (stmt,))) for site in alias.of(a.array))
    return found
