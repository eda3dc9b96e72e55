"""Calls without the results that nobody needs.

A function that is called has a version for each choice of its results, without what it computes
for the others.  Inside a version for some results a call of the function itself keeps at least
those: so versions call themselves and larger ones, and none is called by one that it calls.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.ir.nodes import Block, Call, Callee, Function, Stmt, Var
from numbaflux.ir.walk import map_regions, regions, uses, walk
from numbaflux.passes.dead import dead_code

Results = frozenset[int]


def trim(fn: Function, whole: Callee | None = None, kept: Results | None = None) -> Function:
    """The function, whose calls compute no result that it does not need.

    `whole`: whose function it is, if anybody calls it; `kept`: which results of that at least are
    kept where it is called, by default all.
    """
    if not any(isinstance(s, Call) for s in walk(fn.block)):
        return fn
    fn = dead_code(fn)
    used = _used(fn.block)

    def visit(block: Block) -> Block:
        return replace(block, stmts=tuple(map_regions(one(s), visit) for s in block.stmts))

    def one(stmt: Stmt) -> Stmt:
        if not isinstance(stmt, Call):
            return stmt
        needed = frozenset(i for i, r in enumerate(stmt.results) if r in used)
        if stmt.callee is whole:
            needed |= frozenset(range(len(stmt.results))) if kept is None else kept
        if len(needed) == len(stmt.results):
            return stmt
        keep = sorted(needed)
        results = tuple(stmt.results[i] for i in keep)
        return replace(stmt, results=results, callee=_version(stmt.callee, tuple(keep)))

    return replace(fn, block=visit(fn.block))


def _version(callee: Callee, keep: tuple[int, ...]) -> Callee:
    """The callee with those of its results only, made once."""
    whole, kept = callee.made.get("whole", (callee, None))
    keep = keep if kept is None else tuple(kept[i] for i in keep)
    kind = f"results {keep}"
    if kind not in whole.made:

        def make() -> Function:
            block = whole.function.block
            yields = tuple(block.yields[i] for i in keep)
            cut = replace(whole.function, block=replace(block, yields=yields))
            return trim(cut, whole, frozenset(keep))

        whole.made[kind] = Callee(whole.name, make, {"whole": (whole, keep)})
    return whole.made[kind]


def _used(block: Block) -> set[Var]:
    """The variables that a block and the regions in it read."""
    atoms = [*block.yields]
    for stmt in walk(block):
        atoms += uses(stmt)
        for region in regions(stmt):
            atoms += region.yields
    return {a for a in atoms if isinstance(a, Var)}
