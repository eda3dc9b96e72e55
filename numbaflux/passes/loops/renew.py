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
    Load,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.walk import map_regions, regions
from numbaflux.passes.dependence import Dependence
from numbaflux.passes.forms import ONE, plus
from numbaflux.passes.loops.boxes import (
    Box,
    Margins,
    Part,
    clear,
    clear_all,
    clearing,
    named,
    stores_zero,
)


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
    """An array of which the part `cleared` is zeros for the next trip of a loop, made by `zeros`.

    It is `array` for the next trip, where `first` adds to the box `added`. `after`: what it is
    after the loop.
    """

    loop: For
    zeros: tuple[Store, ...]
    cleared: Part
    array: Var
    first: Stmt
    added: Box
    margins: Margins
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
    if outer is None or not stores_zero(outer.stmt):
        return None
    later = stmts[stmts.index(last) + 1 :]
    zeros = _zeros(dependence, later, cleared, outer)
    if zeros is None or not all(dependence.invariant(a, loop) for n in outer.counts for a in n):
        return None
    whole = _whole(dependence, cleared, outer, len(zeros) - 1)
    if whole is None:
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
    margins = whole.margins(inner)
    if margins is None:
        return None
    return _Renewal(loop, zeros, whole, name.array, first, inner, margins, name.after)


def _whole(dependence: Dependence, array: Var, outer: Box, below: int) -> Part | None:
    """A box with so many elements below it, if it ends where the array does.

    The elements below are there, and so it has no negative length.
    """
    if not below:
        return outer
    low, count = outer.low[0] - below, plus(outer.counts[0], {ONE: below})
    shape = dependence.shape_of(array)
    if shape is None or dependence.form(shape[0]) != plus(count, {ONE: low}):
        return None
    return Part((low,), (count,))


def _zeros(
    dependence: Dependence, later: Sequence[Stmt], array: Var, outer: Box
) -> tuple[Store, ...] | None:
    """What clears a box, and then the elements of a vector just below it, one by one.

    None if anything else is done to the array afterwards.
    """
    found, low = [outer.stmt], outer.low[0]
    for stmt in later:
        for s in dependence.touching(stmt, array):
            if s is not stmt or not isinstance(s, Load | Store) or s.array is not array:
                return None
            place = [dependence.form(i) for i in s.index]
            at = place[0].get(ONE, 0)
            if len(place) > 1 or not set(place[0]) <= {ONE} or not 0 <= at < low:
                return None
            if isinstance(s, Store):
                if not stores_zero(s) or at != low - 1:
                    return None
                found.append(s)
                low = at
    return tuple(s for s in found if isinstance(s, Store))


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
        **dict.fromkeys(found.zeros, ()),
    }

    def visit(block: Block) -> Block:
        stmts = (changed.get(s, (map_regions(s, visit),)) for s in block.stmts)
        return replace(block, stmts=tuple(t for several in stmts for t in several))

    for stmt in found.loop.body.stmts:
        if stmt is found.first:
            clear(b, found.array, found.cleared, found.margins)
        for s in changed.get(stmt, (map_regions(stmt, visit),)):
            b.append(s)
    return replace(found.loop.body, stmts=tuple(b.stmts))
