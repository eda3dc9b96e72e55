"""Forward: a loop of the reverse sweep counts up where the order of its iterations is free.

A loop that runs backward is slower several times over, since LLVM does not vectorise it.

    for k in range(n): i = n - 1 - k; ...   →   for i in range(n): ...
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import Atom, Block, For, Function, Prim, Stmt, Var
from numbaflux.ir.walk import map_regions, substitute, walk
from numbaflux.passes.dependence import Dependence, all_uses
from numbaflux.passes.forms import ONE, plus


@stage
def order(fn: Function) -> Function:
    """The function with loops of reverse sweeps made to count up."""
    if not any(isinstance(s, For) and s.reverse for s in walk(fn.block)):
        return fn
    return _Order(fn).run()


class _Order:
    def __init__(self, fn: Function) -> None:
        self.fn = fn
        self.dependence = Dependence.of(fn)
        self.trips: dict[Var, Atom] = {}  # n - 1 - k, of a loop that is turned round: k itself

    def run(self) -> Function:
        block = self.block(self.fn.block)
        return replace(self.fn, block=substitute(block, self.trips)) if self.trips else self.fn

    def block(self, block: Block) -> Block:
        return replace(block, stmts=tuple(self.stmt(s) for s in block.stmts))

    def stmt(self, stmt: Stmt) -> Stmt:
        if isinstance(stmt, For) and stmt.reverse:
            k, trip = stmt.body.params[0], self._trip(stmt)
            if trip is not None and self.dependence.orderless(stmt):
                self.trips[trip.result] = k
                rest = tuple(s for s in stmt.body.stmts if s is not trip)
                stmt = replace(stmt, body=replace(stmt.body, stmts=rest))
        return map_regions(stmt, self.block)

    def _trip(self, loop: For) -> Prim | None:
        """The statement n - 1 - k of a loop that uses its counter for nothing else."""
        k, form = loop.body.params[0], self.dependence.form
        backward = plus(plus(form(loop.count), {ONE: -1}), {k: -1})
        if sum(a is k for a in all_uses(loop.body)) != 1:
            return None
        for stmt in loop.body.stmts:
            match stmt:
                case Prim(op="sub", result=r) if form(r) == backward:
                    return stmt
                case _:
                    pass
        return None
