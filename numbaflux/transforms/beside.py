"""What a rule wants computed beside its primitive, since the two share their work.

`sigmoid(-x)`, the other factor of the derivative of `sigmoid(x)`, is one division more where the
sigmoid is computed, and an exponential of its own in the reverse sweep.  What no partial asks for
is dead code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from numbaflux.ir.build import Builder
from numbaflux.ir.nodes import Atom, Block, Function, Prim, Var
from numbaflux.ir.walk import map_regions
from numbaflux.passes.activity import Activity
from numbaflux.rules.table import Sym, companion


@dataclass(frozen=True, slots=True)
class Accompanied:
    """A function with companions, by what they accompany."""

    fn: Function
    of: Mapping[Var, Atom]


def accompany(fn: Function, active: Activity) -> Accompanied:
    """The function with its active primitives' companions beside them."""
    companions: dict[Var, Atom] = {}

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            b.append(map_regions(stmt, visit))
            if isinstance(stmt, Prim) and stmt.result in active:
                found = companion(stmt.op, [Sym(b, a) for a in stmt.args])
                if found is not None:
                    companions[stmt.result] = found.atom
        return replace(block, stmts=tuple(b.stmts))

    block = visit(fn.block)
    return Accompanied(replace(fn, block=block) if companions else fn, companions)
