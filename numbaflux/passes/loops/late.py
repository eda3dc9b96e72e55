"""Arrays made when they are first used: not before a loop that has nothing to do with them.

The shadows of two buffers that a loop swaps are swapped beside them, forward and backward.  Before
the reverse sweep has written to them they are zeros, one like the other: they can as well be made
after the forward loop, and what they are after the backward one is what they would have been.

    a, b = zeros(n), zeros(n)             for k in range(m):
    for k in range(m):                        ...
        ...                               a, b = zeros(n), zeros(n)
        a, b = b, a                →      ...
    ...                                   for k in range(m):
    for k in range(m):                        ...
        ...                                   a, b = b, a
        a, b = b, a

What was freed meanwhile is then there to be used again, still in the caches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from numbaflux.debug import stage
from numbaflux.ir.build import array_of
from numbaflux.ir.nodes import Alloc, Atom, Block, For, Function, Stmt, Var
from numbaflux.ir.walk import defs, map_regions, regions, substitute, walk
from numbaflux.passes.dependence import Dependence, all_uses
from numbaflux.passes.simplify import drop


@stage
def late(fn: Function) -> Function:
    """The function with its arrays made where they are first used."""
    if not any(isinstance(s, Alloc) for s in walk(fn.block)):
        return fn
    while found := _first(Dependence.of(fn), fn.block):
        fn = replace(fn, block=_after_the_loop(fn.block, found))
    dependence = Dependence.of(fn)
    moved = _moved(dependence, fn.block)
    return fn if _order(moved) == _order(fn.block) else replace(fn, block=moved)


# ---- zeros that a loop exchanges ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Exchange:
    """Zeros that a loop of a block does nothing with but exchange them.

    `zeros`: by place among the carried values of the loop, how they are made. `same`: for an array
    as it was before the loop, the one that it is after another loop has exchanged them back.
    """

    block: Block
    loop: For
    zeros: Mapping[int, Alloc]
    same: Mapping[Var, Atom]


def _first(dependence: Dependence, block: Block) -> _Exchange | None:
    for i, stmt in enumerate(block.stmts):
        if isinstance(stmt, For) and not stmt.parallel:
            for p in stmt.body.params[1:]:
                cycle = dependence.places.permuted(p)
                if cycle and (found := _exchange(dependence, block, i, dict(cycle))):
                    return found
        for region in regions(stmt):
            if found := _first(dependence, region):
                return found
    return None


def _exchange(
    dependence: Dependence, block: Block, i: int, becomes: Mapping[int, int]
) -> _Exchange | None:
    """What the i-th statement does to the carried references `becomes`, if it is but this."""
    loop, later = block.stmts[i], block.stmts[i + 1 :]
    assert isinstance(loop, For)
    made: dict[Atom, Alloc] = {s.result: s for s in block.stmts if isinstance(s, Alloc) and s.zero}
    zeros = {m: made[loop.inits[m]] for m in becomes if loop.inits[m] in made}
    names = {alloc.result for alloc in zeros.values()}
    if len(names) < len(becomes) or not _alike(dependence, list(zeros.values())):
        return None
    used = list(all_uses(loop.body))
    idle = all(used.count(loop.body.params[1 + m]) == 1 for m in becomes)
    others = {a for m, a in enumerate(loop.inits) if m not in becomes}
    if not idle or not names.isdisjoint((*used, *others)) or _ask(block.stmts[:i], names):
        return None
    if not _ask(later, names) and names.isdisjoint(block.yields):
        return _Exchange(block, loop, zeros, {})
    for back in later:
        if _ask((back,), names):
            return None
        if isinstance(back, For) and back.count == loop.count:
            same = _back(dependence, loop, becomes, back)
            if same is not None:
                return _Exchange(block, loop, zeros, same)
    return None


def _back(
    dependence: Dependence, loop: For, becomes: Mapping[int, int], back: For
) -> dict[Var, Atom] | None:
    """What each array is after `back`, if that exchanges them the other way."""
    before = {b: a for a, b in becomes.items()}
    if any(back.inits.count(loop.results[m]) != 1 for m in becomes):
        return None
    at = {m: back.inits.index(loop.results[m]) for m in becomes}
    for m in becomes:
        cycle = dependence.places.permuted(back.body.params[1 + at[m]])
        if cycle is None or dict(cycle)[at[m]] != at[before[m]]:
            return None
    return {array: back.results[at[m]] for m in becomes if isinstance(array := loop.inits[m], Var)}


def _alike(dependence: Dependence, allocs: list[Alloc]) -> bool:
    """Whether the arrays have one type and one shape."""

    def kind(alloc: Alloc) -> list[object]:
        return [alloc.result.type, *(dependence.form(n) for n in alloc.shape)]

    return all(kind(alloc) == kind(allocs[0]) for alloc in allocs)


def _ask(stmts: Sequence[Stmt], names: set[Var]) -> bool:
    """Whether statements use any of the variables."""
    return not names.isdisjoint(all_uses(Block((), tuple(stmts))))


def _after_the_loop(block: Block, found: _Exchange) -> Block:
    """The block with the exchange left out."""
    if block is not found.block:
        stmts = (map_regions(s, lambda b: _after_the_loop(b, found)) for s in block.stmts)
        return replace(block, stmts=tuple(stmts))
    gone, stmts = set(found.zeros.values()), list[Stmt]()
    for stmt in block.stmts:
        if isinstance(stmt, For) and stmt is found.loop:
            stmts.append(drop(stmt, [m in found.zeros for m in range(len(found.loop.inits))]))
            stmts += (replace(a, result=found.loop.results[m]) for m, a in found.zeros.items())
        elif stmt not in gone:
            stmts.append(stmt)
    return substitute(replace(block, stmts=tuple(stmts)), found.same)


# ---- the rest ----------------------------------------------------------------------------------


def _moved(dependence: Dependence, block: Block) -> Block:
    """The block with each array made just before the statement that uses it first."""
    stmts: list[Stmt] = []
    waiting: list[Alloc] = []
    for stmt in block.stmts:
        stmt = map_regions(stmt, lambda b: _moved(dependence, b))
        if isinstance(stmt, Alloc) and _never_fails(dependence, stmt):
            waiting.append(stmt)
            continue
        wanted = [alloc for alloc in waiting if _ask((stmt,), {alloc.result})]
        waiting = [alloc for alloc in waiting if alloc not in wanted]
        stmts += [*wanted, stmt]
    return replace(block, stmts=(*stmts, *waiting))


def _never_fails(dependence: Dependence, alloc: Alloc) -> bool:
    """Whether it makes no difference to what the caller sees when the array is made."""
    lengths = (dependence.form(n) for n in alloc.shape)
    return not array_of(alloc.result).grows and all(dependence.nonnegative(n) for n in lengths)


def _order(block: Block) -> list[tuple[type, tuple[Var, ...]]]:
    """The statements in order, by what they define."""
    return [(type(s), defs(s)) for s in walk(block)]
