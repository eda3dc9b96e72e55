"""Which arrays that grow are made longer together.

Each store to one may be past its end.  Arrays that start empty, and are stored to at one place
each, in the same trips of the same block with the same index, are always of one length: the first
one's is asked, and all grow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby

from numbaflux.ir.build import array_of, index
from numbaflux.ir.nodes import Accumulate, Alloc, Array, Atom, Function, Store, Var
from numbaflux.ir.walk import blocks, defs, walk

Access = Store | Accumulate


def growth(fn: Function) -> Mapping[Access, tuple[Atom, ...]]:
    """For each store to an array that may be too short: the arrays that grow before it."""
    stores = [s for s in walk(fn.block) if isinstance(s, Access) and _grows(s.array)]
    times = Counter(s.array for s in stores)
    empty = {s.result for s in walk(fn.block) if isinstance(s, Alloc) and s.shape == (index(0),)}
    found: dict[Access, tuple[Atom, ...]] = {s: (s.array,) for s in stores}
    for block in blocks(fn.block):
        inside = {v for stmt in block.stmts for v in defs(stmt)}
        free = [
            s
            for s in block.stmts
            if isinstance(s, Access) and s in found
            if s.array in empty and s.array not in inside and times[s.array] == 1
        ]
        for first, *rest in _alike(free):
            found[first] = (first.array, *(s.array for s in rest))
            found |= dict.fromkeys(rest, ())
    return found


def _alike(stores: list[Access]) -> list[list[Access]]:
    """The stores in groups of one index, each in the order of the block."""
    index_of = {s: tuple(map(id, s.index)) for s in stores}
    in_groups = sorted(stores, key=index_of.__getitem__)
    return [list(group) for _, group in groupby(in_groups, index_of.__getitem__)]


def _grows(array: Atom) -> bool:
    """Whether it is an array of numbers that grows: one of references is a list for Numba."""
    t = array_of(array)
    return t.grows and isinstance(array, Var) and not isinstance(t.element, Array)
