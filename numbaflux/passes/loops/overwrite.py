"""What is stored and nobody reads before it is written again is not stored.

a[i] = x                        a[i] = x
a[i] += y   →   a[i] = x + y    a[i] = y    →   a[i] = y

A read that gets what was stored before it is none: it is done until nothing more goes.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import (
    Accumulate,
    Array,
    Atom,
    Block,
    Const,
    Function,
    Prim,
    Raise,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.walk import map_regions, within
from numbaflux.passes.alias import Aliases, read_arrays, written_arrays
from numbaflux.passes.simplify import simplify

Place = tuple[object, ...]


@stage
def overwrite(fn: Function) -> Function:
    """The function with stores that are seen, in its blocks."""
    if fn.kernel:
        return fn
    rewriter = _Rewriter(fn)
    block = rewriter.block(fn.block)
    return overwrite(simplify(replace(fn, block=block))) if rewriter.changed else fn


class _Rewriter:
    def __init__(self, fn: Function) -> None:
        self.alias = Aliases(fn)
        self.changed = False

    def block(self, block: Block) -> Block:
        stmts: list[Stmt | None] = []
        unseen: dict[Place, int] = {}  # where the store to a place stands that nobody has read
        for stmt in block.stmts:
            stmt, place = map_regions(stmt, self.block), _place(stmt)
            earlier = stmts[unseen[place]] if place in unseen else None
            if isinstance(earlier, Store) and isinstance(stmt, Store | Accumulate):
                self.changed, stmts[unseen[place]] = True, None
                stmt = _together(earlier, stmt, stmts)
            unseen = self.still(unseen, stmts, stmt)
            if isinstance(stmt, Store) and place is not None:
                unseen[place] = len(stmts)
            stmts.append(stmt)
        return replace(block, stmts=tuple(s for s in stmts if s is not None))

    def still(
        self, unseen: dict[Place, int], stmts: list[Stmt | None], stmt: Stmt
    ) -> dict[Place, int]:
        """The stores that a statement neither reads nor may write over."""
        inner = list(within(stmt)) if unseen else []
        if any(isinstance(s, Raise) for s in inner):
            return {}
        touched = {
            site
            for s in inner
            for a in (*read_arrays(s), *written_arrays(s))
            for site in self.alias.of(a)
        }
        return {
            place: k
            for place, k in unseen.items()
            if isinstance(store := stmts[k], Store)
            and touched.isdisjoint(self.alias.of(store.array))
        }


def _place(stmt: Stmt) -> Place | None:
    """The element of an array that a statement writes, if it writes a number."""
    match stmt:
        case Store(array=array, index=i, value=v) | Accumulate(array=array, index=i, value=v):
            return None if isinstance(v.type, Array) else (id(array), *map(_key, i))
        case _:
            return None


def _together(earlier: Store, later: Store | Accumulate, before: list[Stmt | None]) -> Store:
    """The store that does both."""
    if isinstance(later, Store):
        return later
    total = later.value
    if not (isinstance(earlier.value, Const) and earlier.value.value == 0):
        total = Var("t", later.value.type)
        before.append(Prim(total, "add", (earlier.value, later.value), later.loc))
    return Store(later.array, later.index, total, later.loc)


def _key(a: Atom) -> object:
    return (a.value, a.type) if isinstance(a, Const) else id(a)
