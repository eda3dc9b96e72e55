"""Arrays with an entry for every trip of a loop, of which each trip only sees its own.

    c = empty(n, m)                       for k in range(n):
    for k in range(n):              →         c = empty(m)
        c[k, j] = ..; .. c[k, j] ..           c[j] = ..; .. c[j] ..

An array that no dimension is left of keeps one element, which `simplify` makes a variable.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import array_of, full_slice, index
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Atom,
    Block,
    For,
    Function,
    Index,
    Load,
    Stmt,
    Store,
    Var,
    View,
)
from numbaflux.ir.walk import map_regions, regions, substitute, uses, walk
from numbaflux.passes.dependence import Dependence


@stage
def contract(fn: Function) -> Function:
    """The function with such arrays made in the loop, a dimension less."""
    while True:
        dependence = Dependence(fn)
        found = next(
            (
                (stmt, *at)
                for stmt in walk(fn.block)
                if isinstance(stmt, Alloc) and (at := _per_trip(dependence, stmt))
            ),
            None,
        )
        if found is None:
            return fn
        fn = _contracted(fn, *found)


def _per_trip(dependence: Dependence, alloc: Alloc) -> tuple[For, int] | None:
    """The loop that has all accesses to an array, each with its counter in one position.

    Within a loop that the array is made before, trips must not see what earlier ones have left.
    """
    if alloc.result not in dependence.alias.private:
        return None
    home = block = dependence.places.home[alloc.result]
    while True:
        users = [s for s in block.stmts if s is not alloc and dependence.touches(s, alloc.result)]
        if len(users) != 1 or not isinstance(users[0], For) or users[0].parallel:
            return None
        loop = users[0]
        inside = [s for s in walk(loop.body) if not regions(s)]
        touching = [s for s in inside if dependence.touches(s, alloc.result)]
        direct = [s for s in touching if alloc.result in uses(s)]
        visible = all(dependence.invariant(n, loop) for n in alloc.shape)
        for axis in range(len(alloc.shape)):
            own = visible and direct and all(_own(s, alloc.result, axis, loop) for s in direct)
            if own and (block is home or _written_first(dependence, alloc, loop)):
                return loop, axis
        block = loop.body


def _written_first(dependence: Dependence, alloc: Alloc, loop: For) -> bool:
    """Whether each trip writes its one element of a vector before anything else touches it."""
    touching = (s for s in loop.body.stmts if dependence.touches(s, alloc.result))
    return len(alloc.shape) == 1 and isinstance(next(touching, None), Store)


def _own(stmt: Stmt, array: Var, axis: int, loop: For) -> bool:
    """Whether a statement accesses the array itself, with the loop's counter at an axis."""
    k = loop.body.params[0]
    match stmt:
        case Load(array=a, index=i) | Store(array=a, index=i) | Accumulate(array=a, index=i):
            return a is array and i[axis] is k
        case View(base=a, how=Index(items)):
            plain = len(items) == array_of(array).ndim and None not in items
            return a is array and plain and items[axis] is k
        case _:
            return False


def _contracted(fn: Function, alloc: Alloc, loop: For, axis: int) -> Function:
    """The function with an array made in the body of a loop, without one of its axes."""
    old = array_of(alloc.result)
    rank = max(old.ndim - 1, 1)
    new = Var(alloc.result.name, replace(old, ndim=rank))
    shape = _without(alloc.shape, axis) or (index(1),)
    made = replace(alloc, result=new, shape=shape)
    whole: dict[Var, Atom] = {}

    def one(stmt: Stmt) -> Stmt | None:
        match stmt:
            case Load() | Store() | Accumulate() if stmt.array is alloc.result:
                return replace(stmt, array=new, index=_without(stmt.index, axis) or (index(0),))
            case View(base=base, how=Index(items)) if base is alloc.result:
                items = _without(items, axis)
                if all(item == full_slice() for item in items) and stmt.result.type == new.type:
                    whole[stmt.result] = new
                    return None
                return replace(stmt, base=new, how=Index(items))
            case _:
                return stmt

    def visit(block: Block) -> Block:
        mine = (made,) if block is loop.body else ()
        kept = (one(map_regions(s, visit)) for s in block.stmts if s is not alloc)
        return replace(block, stmts=(*mine, *(s for s in kept if s is not None)))

    return replace(fn, block=substitute(visit(fn.block), whole))


def _without(items: tuple, axis: int) -> tuple:
    return (*items[:axis], *items[axis + 1 :])
