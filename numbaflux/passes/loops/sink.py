"""Work arrays made where they are used: each iteration gets its own.

An array that is filled anew in every iteration of a loop before it is read is allocated in the
iteration.  Then nothing passes from one iteration to the next through it, and it can be kept for
the reverse sweep by giving each trip a row.  (`hoist` brings what allocations are left back out.)

    a = empty(n)                          for k in range(m):
    for k in range(m):              →         a = empty(n)
        for i in range(n): a[i] = ..          for i in range(n): a[i] = ..
        .. a[j] ..                            .. a[j] ..
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import Accumulate, Alloc, Block, Dim, For, Function, Stmt, Store, View
from numbaflux.ir.walk import map_regions, regions, walk, within
from numbaflux.passes.dependence import Dependence
from numbaflux.passes.loops.boxes import box


@stage
def sink(fn: Function) -> Function:
    """The function with its private arrays allocated in the innermost loop they belong to."""
    dependence = Dependence.of(fn)
    private = dependence.alias.private
    moved: dict[Block, list[Stmt]] = {}
    for stmt in walk(fn.block):
        if isinstance(stmt, Alloc) and stmt.result in private:
            home = dependence.places.home[stmt.result]
            target = _innermost(dependence, stmt, home)
            if target is not home:
                moved.setdefault(target, []).append(replace(stmt, zero=False))
    gone = {s.result for stmts in moved.values() for s in stmts if isinstance(s, Alloc)}

    def visit(block: Block) -> Block:
        kept = (s for s in block.stmts if not (isinstance(s, Alloc) and s.result in gone))
        stmts = (map_regions(s, visit) for s in kept)
        return replace(block, stmts=(*moved.get(block, ()), *stmts))

    return replace(fn, block=visit(fn.block)) if moved else fn


def _innermost(dependence: Dependence, alloc: Alloc, block: Block) -> Block:
    """The block of the innermost loop that has all uses of an array and fills it before them."""
    best = block
    while True:
        users = [s for s in block.stmts if s is not alloc and dependence.touches(s, alloc.result)]
        if len(users) != 1 or not isinstance(users[0], For):
            return best
        block = users[0].body
        if _filled_first(dependence, alloc, block):
            best = block


def _filled_first(dependence: Dependence, alloc: Alloc, block: Block) -> bool:
    """Whether the first statement of a block that touches an array stores every element of it."""
    for stmt in block.stmts:
        if not isinstance(stmt, View | Dim) and dependence.touches(stmt, alloc.result):
            return isinstance(visits_all(dependence, stmt, alloc), Store)
    return False


def visits_all(dependence: Dependence, stmt: Stmt, alloc: Alloc) -> Store | Accumulate | None:
    """What a nest of loops does first to each element of an array, if each has an iteration."""
    touching = [s for s in within(stmt) if dependence.touches(s, alloc.result) and not regions(s)]
    visited = box(dependence, stmt, touching, last=False)
    if visited is None or visited.stmt.array is not alloc.result or any(visited.low):
        return None
    shape = tuple(dependence.form(n) for n in alloc.shape)
    return visited.stmt if visited.counts == shape else None
