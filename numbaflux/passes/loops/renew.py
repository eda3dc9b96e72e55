"""What is summed up anew in every trip is stored, instead of cleared and added to.

A loop of a reverse sweep clears the shadow of what a trip has overwritten, and the trip after it
adds to the cleared array, under the name that it has there.  If that is the first thing it does
with it and reaches every element once, it may store: only what it does not reach has to be cleared.

    b = zeros(n)                                  b = zeros(n)
    for t in range(m):                            for t in range(m):
        for k in range(n-2): b[k+1] += f(a, k)        for k in (0, n-1): b[k] = 0
        for k in range(n): a[k] = 0          →        for k in range(n-2): b[k+1] = f(a, k)
        a, b = b, a                                   a, b = b, a
                                                  for k in range(n): b[k] = 0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Atom,
    Block,
    For,
    Function,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.walk import map_regions, regions
from numbaflux.passes.dependence import Dependence
from numbaflux.passes.loops.boxes import Box, clear, clear_all, clearing, named, stores_zero


@stage
def renew(fn: Function) -> Function:
    """The function with arrays stored to that a loop cleared for its next trip."""
    while True:
        dependence = Dependence.of(fn)
        found = _first(dependence, fn.block)
        if found is None:
            return fn
        fn = replace(fn, block=_rewritten(fn.block, found))


@dataclass(frozen=True, slots=True)
class _Renewal:
    """An array cleared for the next trip of a loop, which then adds to it.

    `cleared` in the statement `last`; it is `array` for the next trip, where `first` adds to the
    box `added`. `after`: what it is after the loop.
    """

    loop: For
    last: Stmt
    cleared: Box
    array: Var
    first: Stmt
    added: Box
    margins: tuple[tuple[int, int], ...]
    after: Atom


def _first(dependence: Dependence, block: Block) -> _Renewal | None:
    for i, stmt in enumerate(block.stmts):
        if isinstance(stmt, For) and not stmt.parallel:
            for last, array in clearing(stmt.body):
                found = _renewal(dependence, block.stmts[:i], stmt, last, array)
                if found:
                    return found
        for region in regions(stmt):
            if found := _first(dependence, region):
                return found
    return None


def _renewal(
    dependence: Dependence, before: Sequence[Stmt], loop: For, last: Stmt, cleared: Var
) -> _Renewal | None:
    """How an array that `last` clears is renewed by the next trip, None if it is not."""
    stmts = loop.body.stmts
    outer = named(dependence, last, cleared, last=True)
    later = stmts[stmts.index(last) + 1 :]
    if outer is None or not stores_zero(outer.stmt) or _touched(dependence, later, cleared):
        return None
    if not all(dependence.invariant(a, loop) for n in outer.counts for a in n):
        return None
    name = _next_trip(dependence, loop, cleared)
    if name is None or not _zero_before(dependence, before, name.initial):
        return None
    first = next((s for s in stmts if dependence.touching(s, name.array)), last)
    if first is last and name.array is cleared:
        return None
    inner = named(dependence, first, name.array, last=False)
    if inner is None or not isinstance(inner.stmt, Accumulate):
        return None
    margins = outer.margins(inner)
    if margins is None:
        return None
    return _Renewal(loop, last, outer, name.array, first, inner, margins, name.after)


@dataclass(frozen=True, slots=True)
class _Name:
    """What an array is called before a loop, in its next trip, and after it."""

    initial: Atom
    array: Var
    after: Atom


def _next_trip(dependence: Dependence, loop: For, array: Var) -> _Name | None:
    if dependence.invariant(array, loop):
        return _Name(array, array, array)
    if dependence.places.permuted(array) is None or array not in loop.body.params:
        return None
    i = loop.body.yields.index(array)
    return _Name(loop.inits[i], loop.body.params[1 + i], loop.results[i])


def _zero_before(dependence: Dependence, before: Sequence[Stmt], array: Atom) -> bool:
    """Whether an array is new and nothing has been done to its zeros yet."""
    for i, stmt in enumerate(before):
        if isinstance(stmt, Alloc) and stmt.result is array:
            return stmt.zero and not any(
                dependence.touches(s, stmt.result) for s in before[i + 1 :]
            )
    return False


def _touched(dependence: Dependence, stmts: Sequence[Stmt], array: Var) -> bool:
    return any(dependence.touching(s, array) for s in stmts)


def _rewritten(block: Block, found: _Renewal) -> Block:
    b = Builder(found.loop.loc)
    for stmt in block.stmts:
        if stmt is found.loop:
            b.append(replace(found.loop, body=_body(found)))
            clear_all(b, found.after, found.cleared)
        else:
            b.append(map_regions(stmt, lambda region: _rewritten(region, found)))
    return replace(block, stmts=tuple(b.stmts))


def _body(found: _Renewal) -> Block:
    """The trip that clears what it does not store to, and leaves what it has used as it is."""
    b = Builder(found.first.loc)
    add = found.added.stmt
    changed: dict[Stmt, tuple[Stmt, ...]] = {
        add: (Store(add.array, add.index, add.value, add.loc),),
        found.cleared.stmt: (),
    }

    def visit(block: Block) -> Block:
        stmts = (changed.get(s, (map_regions(s, visit),)) for s in block.stmts)
        return replace(block, stmts=tuple(t for several in stmts for t in several))

    for stmt in found.loop.body.stmts:
        if stmt is found.first:
            clear(b, found.array, found.cleared, found.margins)
        b.append(map_regions(stmt, visit))
    return replace(found.loop.body, stmts=tuple(b.stmts))
