"""A small work array that is filled anew: from there on it is another one.

    a = empty(16)                             a = empty(16)
    for j in range(16): a[j] = f(j)           for j in range(16): a[j] = f(j)
    .. a[i] ..                         →      .. a[i] ..
    for j in range(16): a[j] = g(j)           b = empty(16)
    .. a[i] ..                                for j in range(16): b[j] = g(j)
                                              .. b[i] ..

Then nothing overwrites what the reverse sweep needs, and no copies of it are kept.  Only in loops,
where `sink` has put what each trip fills for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import Alloc, Atom, Block, Dim, Function, Stmt, Store, Var, View
from numbaflux.ir.walk import map_regions, regions, substitute, uses, walk, within
from numbaflux.passes.dependence import Dependence
from numbaflux.passes.loops.registers import small
from numbaflux.passes.loops.sink import visits_all

SMALL = 64  # elements


@stage
def anew(fn: Function) -> Function:
    """The function with an array for each time that a small one is filled."""
    top = set(fn.block.stmts)
    made = [s for s in walk(fn.block) if small(s, SMALL) and s not in top]
    if not made:
        return fn
    dependence = Dependence.of(fn)
    again: dict[Stmt, list[Alloc]] = {}
    for alloc in made:
        for stmt in _fillings(dependence, alloc):
            again.setdefault(stmt, []).append(alloc)
    return replace(fn, block=_block(fn.block, again)) if again else fn


def _fillings(dependence: Dependence, alloc: Alloc) -> Iterator[Stmt]:
    """The statements that fill an array again, in the block where it is made."""
    array = alloc.result
    if array not in dependence.alias.private:
        return
    block = dependence.places.home[array]
    users = [s for s in block.stmts if s is not alloc and dependence.touches(s, array)]
    inside = [
        t for s in users for t in within(s) if not regions(t) and dependence.touches(t, array)
    ]
    if any(isinstance(t, View) or array not in uses(t) for t in inside):
        return
    touched = False
    for stmt in users:
        if touched and isinstance(visits_all(dependence, stmt, alloc), Store):
            yield stmt
        touched = touched or not isinstance(stmt, Dim)


def _block(block: Block, again: dict[Stmt, list[Alloc]]) -> Block:
    """The block with new arrays before the statements that fill them."""
    stmts: list[Stmt] = []
    now: dict[Var, Atom] = {}
    for stmt in block.stmts:
        for alloc in again.get(stmt, ()):
            now[alloc.result] = new = Var(alloc.result.name, alloc.result.type)
            stmts.append(replace(alloc, result=new, zero=False))
        stmt = map_regions(stmt, lambda region: _block(region, again))
        stmts += substitute(Block((), (stmt,)), now).stmts
    return replace(block, stmts=tuple(stmts))
