"""What one If chose, computed where another If of the same condition uses it.

    a = x[i] if c else 0.0            if c:
    ...                        →          a = x[i]
    if c:                                 .. a ..
        .. a ..

Reverse mode makes such pairs: the forward sweep hands out what the reverse sweep needs.  Only
arithmetic and loads of what nobody writes are repeated; the first If goes if it is not used then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import Atom, Block, Dim, Function, If, Load, Prim, Stmt, Var, View
from numbaflux.ir.ops import EXPENSIVE
from numbaflux.ir.walk import clone, defs, free, map_regions, regions, substitute, uses
from numbaflux.passes.alias import Aliases
from numbaflux.passes.simplify import simplify


@stage
def branches(fn: Function) -> Function:
    """The function with such values computed in the arm that uses them."""
    return simplify(replace(fn, block=_Branches(fn).block(fn.block, {})))


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
        used = [v for v in free(arm) if v in before and before[v].cond is cond]
        head: list[Stmt] = []
        env: dict[Var, Atom] = {}
        for origin in dict.fromkeys(before[v] for v in used):
            source = origin.orelse if which else origin.then
            values = {
                v: source.yields[origin.results.index(v)] for v in used if before[v] is origin
            }
            values = {v: a for v, a in values.items() if self.slice(source, [a]) is not None}
            needed = self.slice(source, values.values())
            copy, new = clone(Block((), tuple(needed or ())))
            head += copy.stmts
            env |= {v: new.get(a, a) if isinstance(a, Var) else a for v, a in values.items()}
        made = substitute(arm, env)
        return replace(made, stmts=(*head, *made.stmts))

    def slice(self, block: Block, values: Iterable[Atom]) -> list[Stmt] | None:
        """The statements of the block that compute values; None if they cannot be repeated."""
        wanted, found = set(values), []
        for stmt in reversed(block.stmts):
            if wanted.isdisjoint(defs(stmt)):
                continue
            if not self.repeatable(stmt):
                return None
            wanted.update(uses(stmt))
            for region in regions(stmt):
                wanted.update(free(region))
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
            case If(then=then, orelse=orelse):
                return all(map(self.repeatable, (*then.stmts, *orelse.stmts)))
            case _:
                return False
