"""What one If chose, computed where another If of the same condition uses it.

    a = x[i] if c else 0.0            if c:
    ...                        →          a = x[i]
    if c:                                 .. a ..
        .. a ..

Reverse mode makes such pairs: the forward sweep hands out what the reverse sweep needs.  Only
arithmetic and loads of what nobody writes are repeated; the first If goes if it is not used then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import Atom, Block, Dim, Function, If, Load, Prim, Stmt, Var, View
from numbaflux.ir.ops import EXPENSIVE
from numbaflux.ir.walk import clone, defs, free, map_regions, substitute, uses
from numbaflux.passes.alias import Aliases
from numbaflux.passes.dead import dead_code


@stage
def branches(fn: Function) -> Function:
    """The function with such values computed in the arm that uses them."""
    return dead_code(replace(fn, block=_Branches(fn).block(fn.block, {})))


class _Branches:
    def __init__(self, fn: Function) -> None:
        self.alias = Aliases(fn)
        self.written = self.alias.written_in(fn.block)

    def block(self, block: Block, before: Mapping[Var, If]) -> Block:
        """`before`: by result, the Ifs that have been passed."""
        before, stmts = dict(before), []
        for stmt in block.stmts:
            if isinstance(stmt, If):
                then = self.arm(stmt.then, stmt.cond, before, 0)
                orelse = self.arm(stmt.orelse, stmt.cond, before, 1)
                stmt = replace(stmt, then=then, orelse=orelse)
                before.update((r, stmt) for r in stmt.results)
            stmts.append(map_regions(stmt, lambda region: self.block(region, before)))
        return replace(block, stmts=tuple(stmts))

    def arm(self, arm: Block, cond: Atom, before: Mapping[Var, If], which: int) -> Block:
        """The arm with what it uses of earlier Ifs of its condition computed at its beginning."""
        head: list[Stmt] = []
        env: dict[Var, Atom] = {}
        for v in free(arm):
            origin = before.get(v)
            if origin is None or origin.cond is not cond:
                continue
            source = origin.orelse if which else origin.then
            value = source.yields[origin.results.index(v)]
            needed = self.slice(source, value)
            if needed is not None:
                copy, new = clone(Block((), tuple(needed)))
                head += copy.stmts
                env[v] = new.get(value, value) if isinstance(value, Var) else value
        made = substitute(arm, env)
        return replace(made, stmts=(*head, *made.stmts))

    def slice(self, block: Block, value: Atom) -> list[Stmt] | None:
        """The statements of the block that compute the value; None if they cannot be repeated."""
        wanted, found = {value}, []
        for stmt in reversed(block.stmts):
            if wanted.isdisjoint(defs(stmt)):
                continue
            if not self.repeatable(stmt):
                return None
            wanted.update(uses(stmt))
            found.append(stmt)
        return found[::-1]

    def repeatable(self, stmt: Stmt) -> bool:
        match stmt:
            case Prim(op=op):
                return op not in EXPENSIVE
            case Load(array=array):
                return self.written.isdisjoint(self.alias.of(array))
            case View() | Dim():
                return True
            case _:
                return False
