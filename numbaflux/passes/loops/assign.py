"""The first sum into a new array is its value: no zeros first.

d = zeros(n)                          d = empty(n)
for k in range(n): d[k] += ..   →     for k in range(n): d[k] = ..
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import Accumulate, Alloc, Block, Function, Stmt, Store
from numbaflux.ir.walk import map_regions
from numbaflux.passes.dependence import Dependence
from numbaflux.passes.loops.sink import visits_all


@stage
def assign(fn: Function) -> Function:
    """The function with arrays that are zeroed and then summed up once not zeroed."""
    dependence = Dependence.of(fn)
    changed: dict[Stmt, Stmt] = {}

    def find(block: Block) -> Block:
        for i, stmt in enumerate(block.stmts):
            if isinstance(stmt, Alloc) and stmt.zero:
                rest = (s for s in block.stmts[i + 1 :] if dependence.touches(s, stmt.result))
                first = next(rest, None)
                update = first and visits_all(dependence, first, stmt)
                if isinstance(update, Accumulate):
                    changed[stmt] = replace(stmt, zero=False)
                    changed[update] = Store(update.array, update.index, update.value, update.loc)
            map_regions(stmt, find)
        return block

    def rewrite(block: Block) -> Block:
        stmts = (changed[s] if s in changed else map_regions(s, rewrite) for s in block.stmts)
        return replace(block, stmts=tuple(stmts))

    find(fn.block)
    return replace(fn, block=rewrite(fn.block)) if changed else fn
