"""Arrays that are always alike: a value that is kept twice is kept once.

a[i] = x
b[i] = x        →        a[i] = x
y = b[j]                 y = a[j]
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import Alloc, Atom, Block, Const, Function, Stmt, Store, Var
from numbaflux.ir.walk import blocks, map_regions, substitute, walk, within
from numbaflux.passes.alias import Aliases, read_arrays


@stage
def twins(fn: Function) -> Function:
    """The function with one array for all that are made alike and stored to alike."""
    made = {s.result for s in walk(fn.block) if isinstance(s, Alloc)}
    if fn.kernel or len(made) < 2:
        return fn
    same = {other: kept for kept, *others in _alike(fn, Aliases(fn)) for other in others}
    gone = {
        s
        for s in walk(fn.block)
        if (isinstance(s, Alloc) and s.result in same) or (isinstance(s, Store) and s.array in same)
    }

    def visit(block: Block) -> Block:
        stmts = (map_regions(s, visit) for s in block.stmts if s not in gone)
        return replace(block, stmts=tuple(stmts))

    return replace(fn, block=substitute(visit(fn.block), same)) if same else fn


def _alike(fn: Function, alias: Aliases) -> Iterator[list[Var]]:
    """Arrays that hold the same wherever one of them is read, in the order in which they are made.

    Each is stored to by one statement, all of which are in one block, with no look between them.
    """
    writes = Counter(site for s in walk(fn.block) for site in alias.written(s))
    allocs = {
        s.result: (id(block), *map(_key, s.shape), s.zero, s.space, s.result.type)
        for block in blocks(fn.block)
        for s in block.stmts
        if isinstance(s, Alloc) and s.result in alias.private and writes[s.result] == 1
    }
    order = {array: k for k, array in enumerate(allocs)}
    for block in blocks(fn.block):
        groups: dict[object, dict[Var, int]] = defaultdict(dict)
        for k, s in enumerate(block.stmts):
            if isinstance(s, Store) and isinstance(s.array, Var) and s.array in allocs:
                key = (allocs[s.array], _key(s.value), *map(_key, s.index))
                groups[key][s.array] = k
        for group in groups.values():
            between = block.stmts[min(group.values()) : max(group.values())]
            if len(group) > 1 and not _read(between, set(group), alias):
                yield sorted(group, key=order.__getitem__)


def _read(stmts: Sequence[Stmt], arrays: set[Var], alias: Aliases) -> bool:
    """Whether any of the statements may look into one of the arrays."""
    looked = (a for stmt in stmts for s in within(stmt) for a in read_arrays(s))
    return any(not arrays.isdisjoint(alias.of(a)) for a in looked)


def _key(a: Atom) -> object:
    return (a.value, a.type) if isinstance(a, Const) else id(a)
