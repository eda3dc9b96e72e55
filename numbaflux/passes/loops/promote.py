"""Sums kept in a variable while a loop of a reverse sweep adds to one element of an array.

    for k in range(n):                    s = 0.0
        d[j] += x[k]*y            →       for k in range(n): s += x[k]*y
                                          if n > 0: d[j] += s

An addition in memory takes the processor twice as long as one in a register.  If threads share the
loop, each has such a variable, but of plain numbers: Numba adds up no lanes over threads.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, array_of, index, zero_of
from numbaflux.ir.nodes import Accumulate, Atom, Block, For, Function, Scalar, Stmt, Var
from numbaflux.ir.walk import map_regions, walk
from numbaflux.passes.dependence import Access, Dependence, accesses, transparent


@stage
def promote(fn: Function) -> Function:
    """The function with such sums in variables."""
    return _Promoter(fn, parallel=False).run()


@stage
def promote_parallel(fn: Function) -> Function:
    """The function with such sums of parallel loops in a variable for every thread."""
    return _Promoter(fn, parallel=True).run()


class _Promoter:
    """For loops that are parallel or for those that are not."""

    def __init__(self, fn: Function, parallel: bool) -> None:
        self.fn, self.parallel = fn, parallel
        self.dependence = Dependence.of(fn)
        self.changed = False

    def run(self) -> Function:
        block = self.block(self.fn.block)
        return replace(self.fn, block=block) if self.changed else self.fn

    def block(self, block: Block) -> Block:
        return replace(block, stmts=tuple(t for s in block.stmts for t in self.stmt(s)))

    def stmt(self, stmt: Stmt) -> list[Stmt]:
        sums = self.sums(stmt) if isinstance(stmt, For) and stmt.reverse else []
        inner = map_regions(stmt, self.block)
        if not sums:
            return [inner]
        self.changed = True
        assert isinstance(inner, For)
        return _promoted(inner, sums)

    def sums(self, loop: For) -> list[Accumulate]:
        """The updates of elements that nothing else in the loop touches."""
        if loop.parallel != self.parallel or not all(transparent(s) for s in walk(loop.body)):
            return []
        return [s for s in loop.body.stmts if isinstance(s, Accumulate) and self.alone(s, loop)]

    def alone(self, update: Accumulate, loop: For) -> bool:
        place = (update.array, *update.index)
        element = array_of(update.array).element
        if not isinstance(element, Scalar) or array_of(update.array).grows:
            return False
        if self.parallel and element.lanes:
            return False
        if not all(self.dependence.invariant(a, loop) for a in place):
            return False
        mine = Access(update.array, update.index, writes=True, sums=True)
        touching = [
            a
            for a in accesses(loop.body)
            if not self.dependence.apart(a.array, update.array)
            and not self.dependence.disjoint(a, mine)
        ]
        return len(touching) == 1


def _promoted(loop: For, sums: list[Accumulate]) -> list[Stmt]:
    """The loop carrying the sums, and the updates after it."""
    b, tail = Builder(loc=loop.loc), Builder(loc=loop.loc)
    types = [s.value.type for s in sums]
    params = [Var("sum", t) for t in types]
    results = [Var("sum", t) for t in types]
    gone = set(sums)
    b.stmts += [s for s in loop.body.stmts if s not in gone]
    nexts: list[Atom] = [b.add(p, s.value, "sum") for p, s in zip(params, sums)]
    body = b.block((*loop.body.params, *params), (*loop.body.yields, *nexts))
    with tail.arm() as then:
        for s, total in zip(sums, results):
            tail.accumulate(s.array, s.index, total)
    with tail.arm() as nothing:
        pass
    tail.if_(tail.prim("gt", loop.count, index(0)), then.block, nothing.block)
    carrying = replace(
        loop,
        results=(*loop.results, *results),
        inits=(*loop.inits, *(zero_of(t) for t in types)),
        body=body,
    )
    return [carrying, *tail.stmts]
