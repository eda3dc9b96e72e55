"""Arrays that are always alike: a value that is kept twice is kept once.

a[i] = x
b[i] = x        →        a[i] = x
y = b[j]                 y = a[j]

What reads arrays that became one can make others alike: it is done until nothing more goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Atom,
    Block,
    Const,
    Function,
    Gemm,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.walk import blocks, map_regions, substitute, walk, within
from numbaflux.passes.alias import Aliases, Site, read_arrays
from numbaflux.passes.simplify import simplify


@stage
def twins(fn: Function) -> Function:
    """The function with one array for all that are made alike and written alike."""
    made = {s.result for s in walk(fn.block) if isinstance(s, Alloc)}
    if fn.kernel or len(made) < 2:
        return fn
    same = {other: kept for kept, *others in _alike(fn, Aliases(fn)) for other in others}
    return twins(simplify(_without(fn, same))) if same else fn


def _without(fn: Function, same: dict[Var, Var]) -> Function:
    """The function with arrays replaced by others that are alike."""

    def gone(stmt: Stmt) -> bool:
        return (isinstance(stmt, Alloc) and stmt.result in same) or _target(stmt) in same

    def visit(block: Block) -> Block:
        stmts = (map_regions(s, visit) for s in block.stmts if not gone(s))
        return replace(block, stmts=tuple(stmts))

    return replace(fn, block=substitute(visit(fn.block), same))


@dataclass(frozen=True, slots=True)
class _Write:
    """The statement of a block that writes an array, and where it stands."""

    block: Block
    place: int

    @property
    def stmt(self) -> Stmt:
        return self.block.stmts[self.place]


def _alike(fn: Function, alias: Aliases) -> Iterator[list[Var]]:
    """Arrays that hold the same wherever one of them is read, in the order in which they are made.

    What writes one has, in the same block, its like for the others, with no look between them.
    """
    writes: dict[Site, list[_Write]] = defaultdict(list)
    for block in blocks(fn.block):
        for k, s in enumerate(block.stmts):
            for site in alias.written(s):
                writes[site].append(_Write(block, k))
    groups: dict[object, list[Var]] = defaultdict(list)
    for block in blocks(fn.block):
        for s in block.stmts:
            if isinstance(s, Alloc) and s.result in alias.private:
                how = tuple(_how(w, s.result) for w in writes[s.result])
                if how and None not in how:
                    shape = tuple(map(_key, s.shape))
                    key = (id(block), shape, s.zero, s.space, s.result.type, how)
                    groups[key].append(s.result)
    for group in groups.values():
        together = zip(*(writes[array] for array in group))
        if len(group) > 1 and all(_at_once(each, set(group), alias) for each in together):
            yield group


def _target(stmt: Stmt) -> Atom | None:
    """The array that a statement writes, if it writes one and nothing else."""
    match stmt:
        case Store(array=array) | Accumulate(array=array):
            return array
        case Gemm(out=out):
            return out
        case _:
            return None


def _how(write: _Write, array: Var) -> object:
    """What is equal for writes that do the same to their arrays; None if that cannot be said."""
    stmt = write.stmt
    if _target(stmt) is not array:
        return None
    match stmt:
        case Store(index=i, value=v) | Accumulate(index=i, value=v):
            return (id(write.block), type(stmt), _key(v), *map(_key, i))
        case Gemm(a=a, b=b):
            return (id(write.block), Gemm, _key(a), _key(b))
        case _:
            return None


def _at_once(writes: Sequence[_Write], arrays: set[Var], alias: Aliases) -> bool:
    """Whether writes of arrays may as well happen together: nothing looks into the arrays between
    them, and no factor of a product changes.
    """
    places = [w.place for w in writes]
    between = writes[0].block.stmts[min(places) : max(places) + 1]
    own = [w.stmt for w in writes]
    factors = [a for s in own if isinstance(s, Gemm) for a in (s.a, s.b)]
    others = [s for stmt in between for s in within(stmt) if stmt not in own]
    looked = [*factors, *(a for s in others for a in read_arrays(s))]
    changed = frozenset(site for s in others for site in alias.written(s))
    return all(arrays.isdisjoint(alias.of(a)) for a in looked) and all(
        changed.isdisjoint(alias.of(a)) for a in factors
    )


def _key(a: Atom) -> object:
    return (a.value, a.type) if isinstance(a, Const) else id(a)
