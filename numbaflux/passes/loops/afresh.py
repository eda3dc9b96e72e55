"""What is cleared and then added to is stored: no zeros first.

The shadow of a work array that a trip fills several times is cleared each time it has been read,
and the loop before, in the order of the trip, adds to the zeros.  If that loop reaches every
element once, it may store: only what it does not reach has to be cleared.

    for k in range(n):                            for k in range(n):
        d[k] += b[k]                                  d[k] += b[k]
        b[k] = 0                         →        for k in (n-1,): b[k] = 0
    for k in range(n-1): b[k] += f(a, k)          for k in range(n-1): b[k] = f(a, k)

An array that a trip makes of zeros for itself is another that has been cleared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder
from numbaflux.ir.nodes import Accumulate, Alloc, Block, For, Function, Stmt, Store, Var
from numbaflux.ir.walk import blocks, map_regions
from numbaflux.passes.dependence import Dependence
from numbaflux.passes.loops.boxes import (
    Box,
    Margins,
    Part,
    clear,
    clearing,
    named,
    stores_zero,
)


@stage
def afresh(fn: Function) -> Function:
    """The function with arrays stored to that the same block has cleared before."""
    dependence = Dependence.of(fn)
    found = [each for block in blocks(fn.block) for each in _in_block(dependence, block)]
    return replace(fn, block=_rewritten(fn.block, found)) if found else fn


@dataclass(frozen=True, slots=True)
class _Start:
    """An array of which `zeros` has cleared a part; next, `first` adds to the box `added`."""

    array: Var
    zeros: Stmt
    cleared: Part
    first: Stmt
    added: Box
    margins: Margins


def _in_block(dependence: Dependence, block: Block) -> Iterator[_Start]:
    in_loop = bool(dependence.places.loops(block))
    for i, stmt in enumerate(block.stmts):
        for array, cleared, zeros in _cleared(dependence, stmt, in_loop):
            rest = (s for s in block.stmts[i + 1 :] if dependence.touching(s, array))
            first = next(rest, None)
            added = first and named(dependence, first, array, last=False)
            if first is None or added is None or not isinstance(added.stmt, Accumulate):
                continue
            margins = cleared.margins(added)
            if margins is not None:
                yield _Start(array, zeros, cleared, first, added, margins)


def _cleared(dependence: Dependence, stmt: Stmt, in_loop: bool) -> Iterator[tuple[Var, Part, Stmt]]:
    """The arrays that a statement leaves as zeros, where they are, and what makes them so."""
    if isinstance(stmt, Alloc):
        if stmt.zero and in_loop and not stmt.space:
            counts = tuple(dependence.form(n) for n in stmt.shape)
            yield stmt.result, Part((0,) * len(counts), counts), stmt
        return
    for nest, array in clearing(Block((), (stmt,))):
        found = named(dependence, nest, array, last=True)
        if found is None or not stores_zero(found.stmt) or not isinstance(nest, For):
            continue
        if all(dependence.invariant(a, nest) for form in found.counts for a in form):
            yield array, found, found.stmt


def _rewritten(block: Block, found: list[_Start]) -> Block:
    changed: dict[Stmt, tuple[Stmt, ...]] = {}
    for each in found:
        add, zeros = each.added.stmt, each.zeros
        changed[add] = (Store(add.array, add.index, add.value, add.loc),)
        changed[zeros] = (replace(zeros, zero=False),) if isinstance(zeros, Alloc) else ()

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            for each in found:
                if each.first is stmt:
                    b.loc = each.added.stmt.loc
                    clear(b, each.array, each.cleared, each.margins)
            for s in changed.get(stmt, (map_regions(stmt, visit),)):
                b.append(s)
        return replace(block, stmts=tuple(b.stmts))

    return visit(block)
