"""Which arrays that grow are made longer together.

Each store to one may be past its end.  Arrays that start empty, and are stored to at one place
each, in the same trips of the same block with the same index, are always of one length: the first
one's is asked, and all grow.  Where a loop stores to element i + k in trip k, they are made long
enough for all of its trips before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from itertools import groupby

from numbaflux.ir.build import array_of, index
from numbaflux.ir.nodes import Accumulate, Alloc, Array, Atom, For, Function, Prim, Store, Var
from numbaflux.ir.walk import blocks, defs, walk

Access = Store | Accumulate


@dataclass(frozen=True, slots=True)
class Growth:
    """Arrays to be made so long that they have element `first` + `count` - 1, or `first`."""

    arrays: tuple[Var, ...]
    first: Atom
    count: Atom | None = None


def growth(fn: Function) -> Mapping[Access | For, tuple[Growth, ...]]:
    """By a store, or a loop of stores: the arrays that grow before it."""
    stores = [s for s in walk(fn.block) if isinstance(s, Access) and _grows(s.array)]
    times = Counter(s.array for s in stores)
    empty = {s.result for s in walk(fn.block) if isinstance(s, Alloc) and s.shape == (index(0),)}
    found: dict[Access | For, tuple[Growth, ...]] = {}
    for s in stores:
        assert isinstance(s.array, Var)
        found[s] = (Growth((s.array,), s.index[0]),)
    for block in blocks(fn.block):
        inside = {v for stmt in block.stmts for v in defs(stmt)}
        free = [
            s
            for s in block.stmts
            if isinstance(s, Access) and s in found
            if s.array in empty and s.array not in inside and times[s.array] == 1
        ]
        for first, *rest in _alike(free):
            together = (first, *rest)
            arrays = tuple(s.array for s in together if isinstance(s.array, Var))
            found |= dict.fromkeys(rest, ())
            found[first] = (Growth(arrays, first.index[0]),)
    return found | _ahead(fn, found, times, empty)


def _ahead(
    fn: Function,
    found: Mapping[Access | For, tuple[Growth, ...]],
    times: Mapping[Atom, int],
    empty: Container[Atom],
) -> dict[Access | For, tuple[Growth, ...]]:
    """The same for the loops whose stores need no growth of their own then."""
    moved: dict[Access | For, tuple[Growth, ...]] = {}
    for loop in walk(fn.block):
        if not isinstance(loop, For):
            continue
        inside = {v for s in walk(loop.body) for v in defs(s)} | set(loop.body.params)
        ahead = []
        for stmt in (s for s in loop.body.stmts if isinstance(s, Access)):
            for one in found.get(stmt, ()):
                first = _start(loop, one.first)
                if (
                    first is not None
                    and first not in inside
                    and all(a in empty and a not in inside and times[a] == 1 for a in one.arrays)
                ):
                    ahead.append(Growth(one.arrays, first, loop.count))
                    moved[stmt] = ()
        if ahead:
            moved[loop] = tuple(ahead)
    return moved


def _start(loop: For, place: Atom) -> Atom | None:
    """i, of a place i + k in trip k of a loop."""
    for stmt in loop.body.stmts:
        match stmt:
            case Prim(result=result, op="add", args=(x, y)) if result is place:
                k = loop.body.params[0]
                return x if y is k else y if x is k else None
            case _:
                pass
    return None


def _alike(stores: list[Access]) -> list[list[Access]]:
    """The stores in groups of one index, each in the order of the block."""
    index_of = {s: tuple(map(id, s.index)) for s in stores}
    in_groups = sorted(stores, key=index_of.__getitem__)
    return [list(group) for _, group in groupby(in_groups, index_of.__getitem__)]


def _grows(array: Atom) -> bool:
    """Whether it is an array of numbers that grows: one of references is a list for Numba."""
    t = array_of(array)
    return t.grows and isinstance(array, Var) and not isinstance(t.element, Array)
