"""Loops of a few trips in a loop, written out, where that lets others go.

    for k in range(n):                        for k in range(n):
        for i in range(2):                        s = 0.0
            s = 0.0                               for j in range(16): s += W[0, j] * x[j]
            for j in range(16):        →          y[0] = s
                s += W[i, j] * x[j]               s = 0.0
            y[i] = s                              for j in range(16): s += W[1, j] * x[j]
                                                  y[1] = s

LLVM unrolls loops that have no others within, and only those.  What is read in every trip, here
`x`, is read once when the copies of the inner loop are one (`fuse`), in the reverse sweep too.  And
a small array like `y` that only such loops and constants index is none any more (`registers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import index
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Atom,
    Block,
    Const,
    Dim,
    For,
    Function,
    Load,
    Stmt,
    Store,
    Var,
    While,
)
from numbaflux.ir.walk import clone, defs, map_regions, regions, substitute, uses, walk, within
from numbaflux.passes.alias import Aliases
from numbaflux.passes.forms import ONE, form
from numbaflux.passes.loops.registers import small

MOST_TRIPS = 4
MOST_STATEMENTS = 64  # that a loop may become
LONG = 8  # trips of an inner loop that are worth it


@stage
def unroll(fn: Function) -> Function:
    """The function with such loops written out, where they are in another loop."""
    chosen = _Choice(fn).made()
    return replace(fn, block=_block(fn.block, chosen)) if chosen else fn


# ---- which -------------------------------------------------------------------------------------


class _Choice:
    """The counters of the loops that are written out.

    `few`: loops that could be, by counter; `hot`: those of them in a loop that is not; `arrays`:
    small ones that such a loop uses, with the counters that index them.
    """

    def __init__(self, fn: Function) -> None:
        self.fn = fn
        self.few: dict[Var, For] = {}
        self.hot: set[Var] = set()
        self.arrays: dict[Var, set[Var]] = {}
        self.used: set[Var] = set()  # arrays, in a loop

    def made(self) -> set[Var]:
        self.loops(self.fn.block, False)
        if not self.few or self.fn.kernel:
            return set()
        self.indices()
        named = {k for a in self.used & self.arrays.keys() for k in self.arrays[a]}
        return named | {k for k in self.hot if _around_long(self.few[k])}

    def loops(self, block: Block, inside: bool) -> None:
        for stmt in block.stmts:
            few = isinstance(stmt, For) and _few(stmt)
            if isinstance(stmt, For) and few:
                self.few[stmt.body.params[0]] = stmt
                self.hot.update((stmt.body.params[0],) if inside else ())
            if inside:
                self.used.update(a for a in uses(stmt) if isinstance(a, Var))
            for region in regions(stmt):
                self.loops(region, inside or (isinstance(stmt, For | While) and not few))

    def indices(self) -> None:
        """Find the arrays that constants and counters of short loops alone index."""
        made = {s.result for s in walk(self.fn.block) if small(s)}
        if made.isdisjoint(self.used):
            return
        self.arrays = {a: set() for a in Aliases(self.fn).private if a in made}
        definition = {v: s for s in walk(self.fn.block) for v in defs(s)}
        for stmt in walk(self.fn.block):
            for a in uses(stmt):
                if isinstance(a, Var) and a in self.arrays:
                    at = _index(stmt)
                    atoms = {x for i in at or () for x in form(i, definition)} - {ONE}
                    if at is None or not atoms <= self.few.keys():
                        del self.arrays[a]
                    else:
                        self.arrays[a] |= {k for k in atoms if isinstance(k, Var)}


def _few(loop: For) -> bool:
    """Whether a loop makes a few trips and is small."""
    trips = int(loop.count.value) if isinstance(loop.count, Const) else 0
    little = 0 < trips <= MOST_TRIPS and trips * sum(1 for _ in within(loop)) <= MOST_STATEMENTS
    makes = any(isinstance(s, Alloc) for s in walk(loop.body))
    return little and not makes and not loop.parallel and loop.slots is None


def _around_long(loop: For) -> bool:
    """Whether the loops in a loop are longer ones that have none within."""
    inner = [s for s in loop.body.stmts if regions(s)]
    return bool(inner) and all(map(_long, inner))


def _long(stmt: Stmt) -> bool:
    if not isinstance(stmt, For) or not isinstance(stmt.count, Const):
        return False
    return int(stmt.count.value) >= LONG and not any(map(regions, stmt.body.stmts))


def _index(stmt: Stmt) -> tuple[Atom, ...] | None:
    """Where a statement uses an array, if that is at one element or none."""
    match stmt:
        case Load(index=at) | Store(index=at) | Accumulate(index=at):
            return at
        case _:
            return () if isinstance(stmt, Dim) else None


# ---- code --------------------------------------------------------------------------------------


def _block(block: Block, chosen: set[Var]) -> Block:
    """The block with loops written out."""
    stmts: list[Stmt] = []
    ends: dict[Var, Atom] = {}
    for stmt in block.stmts:
        stmt = map_regions(stmt, lambda region: _block(region, chosen))
        if isinstance(stmt, For) and stmt.body.params[0] in chosen:
            written, values = _written_out(stmt)
            stmts += written
            ends |= {r: ends.get(a, a) if isinstance(a, Var) else a for r, a in values.items()}
        else:
            stmts.append(stmt)
    return substitute(replace(block, stmts=tuple(stmts)), ends)


def _written_out(loop: For) -> tuple[list[Stmt], dict[Var, Atom]]:
    """The trips of a loop one after the other, and the values of its results."""
    assert isinstance(loop.count, Const)
    stmts: list[Stmt] = []
    values: Sequence[Atom] = loop.inits
    for trip in range(int(loop.count.value)):
        start = dict(zip(loop.body.params, (index(trip), *values)))
        body, _ = clone(loop.body, start)
        stmts += body.stmts
        values = body.yields
    return stmts, dict(zip(loop.results, values))
