"""Parallel loops in derivatives: kept where iterations are apart, else chunks with their own sums.

note [Promise]  `prange` promises that the user's iterations do not depend on each other.  Nothing
follows for a reverse sweep: what all iterations read, all of its iterations add to.  And a carried
value is summed over the threads: if a loop does anything else to it, it has to run serially.

    for k in prange(n):                           parts = zeros(threads, m)
        for j in range(m): d[j] += ..      →      for t in prange(threads):
                                                      for k in the share of t:
                                                          for j in range(m): parts[t, j] += ..
                                                  for t in range(threads): d += parts[t]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, array_of, full_slice, index, zero_of
from numbaflux.ir.nodes import (
    I64,
    Accumulate,
    Array,
    Atom,
    Block,
    For,
    Function,
    Index,
    Prim,
    Raise,
    Slice,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.walk import map_regions, substitute, walk
from numbaflux.passes.dependence import Access, Dependence, accesses, only_sums, transparent


@stage
def threads(fn: Function) -> Function:
    """The function with its parallel loops safe. note [Promise]"""
    if not any(isinstance(s, For) and s.parallel for s in walk(fn.block)):
        return fn
    return replace(fn, block=_Threads(fn).block(fn.block))


class _Threads:
    def __init__(self, fn: Function) -> None:
        self.dependence = Dependence.of(fn)

    def block(self, block: Block) -> Block:
        return replace(block, stmts=tuple(t for s in block.stmts for t in self.stmt(s)))

    def stmt(self, stmt: Stmt) -> Iterable[Stmt]:
        if not isinstance(stmt, For) or not stmt.parallel:
            return (map_regions(stmt, self.block),)
        if not only_sums(stmt) or _on_one_thread(stmt):
            return (map_regions(replace(stmt, parallel=False), self.block),)
        if not stmt.reverse:
            return (stmt,)
        shared = self.shared(stmt)
        if shared is None:
            return (map_regions(replace(stmt, parallel=False), self.block),)
        return (stmt,) if not shared else _chunked(stmt, shared)

    def shared(self, loop: For) -> list[Var] | None:
        """The arrays that several iterations add to; None if they meet in any other way."""
        if not all(transparent(s) for s in walk(loop.body)):
            return None
        outer = [a for a in accesses(loop.body) if not self.dependence.private(a.array, loop)]
        found: dict[Var, None] = {}
        for a in outer:
            for b in outer:
                if a.writes and self.dependence.meet(a, b, loop):
                    if not (a.sums and b.sums):
                        return None
                    bases = [self.base(x, loop) for x in (a, b)]
                    if bases[0] is None or bases[1] is None:
                        return None
                    found.update((base, None) for base in bases if base is not None)
        apart = all(
            self.dependence.apart(p, a.array)
            for p in found
            for a in outer
            if self.base(a, loop) is not p
        )
        return list(found) if apart else None

    def base(self, access: Access, loop: For) -> Var | None:
        """The contiguous array outside the loop that an access goes to."""
        array, _ = self.dependence.element(access)
        if not isinstance(array, Var) or not self.dependence.invariant(array, loop):
            return None
        return array if array_of(array).layout == "C" else None


def _on_one_thread(loop: For) -> bool:
    """Whether an array grows in a loop, or an exception may leave it: no work for threads."""
    return any(
        isinstance(s, Raise) or (isinstance(s, Store | Accumulate) and array_of(s.array).grows)
        for s in walk(loop.body)
    )


def _chunked(loop: For, shared: list[Var]) -> list[Stmt]:
    """The loop over threads, each with an array of its own for every shared one."""
    b = Builder(loc=loop.loc)
    (number,) = b.extern("threads", types=[I64], name="threads")
    shapes = [[b.dim(a, axis) for axis in range(array_of(a).ndim)] for a in shared]
    parts = [_parts(b, a, number, shape) for a, shape in zip(shared, shapes)]
    share = b.prim("floordiv", b.sub(b.add(loop.count, number), index(1)), number)
    zeros = [zero_of(i.type) for i in loop.inits]
    names = [p.name for p in loop.body.params[1:]]
    with b.for_(number, zeros, index="thread", names=names, parallel=True) as chunk:
        first = b.mul(chunk.k, share)
        count = b.prim("min", b.sub(loop.count, first), share)
        rows: dict[Var, Atom] = {
            a: _row(b, p, chunk.k, a, shape) for a, p, shape in zip(shared, parts, shapes)
        }
        k, *carried = loop.body.params
        inner = Builder(loop.loc)
        trip = Var(k.name, I64)
        body = substitute(loop.body, {**rows, k: inner.add(first, trip, k.name)})
        inner.stmts += body.stmts
        results = tuple(Var(p.name, p.type) for p in carried)
        block = inner.block((trip, *carried), body.yields)
        b.append(For(results, count, chunk.carried, block, loc=loop.loc))
        chunk.yields = results
    chunk_sums = chunk.results
    for a, part, shape in zip(shared, parts, shapes):
        with b.for_(number, index="thread") as chunk, b.each(shape) as place:
            b.accumulate(a, place, b.load(part, [chunk.k, *place]))
    for r, i, total in zip(loop.results, loop.inits, chunk_sums):
        b.append(Prim(r, "add", (i, total), loop.loc))
    return b.stmts


def _parts(b: Builder, array: Var, threads: Atom, shape: Sequence[Atom]) -> Var:
    """Zeros for each thread, those of two threads a cache line apart."""
    type = Array(array_of(array).element, len(shape) + 1)
    lengths = [b.add(shape[0], index(8))] if len(shape) == 1 else shape
    return b.alloc([threads, *lengths], type, name=f"{array.name}_parts")


def _row(b: Builder, parts: Var, thread: Var, array: Var, shape: Sequence[Atom]) -> Var:
    type = replace(array_of(array), readonly=False)
    whole = [Slice(None, shape[0])] if len(shape) == 1 else [full_slice()] * type.ndim
    return b.view(parts, Index((thread, *whole)), type, array.name)
