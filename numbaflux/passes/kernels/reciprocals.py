"""Quotients of one divisor: one division, where derivatives are all that they are for.

    r = x / y                          w = 1.0 / y
    w = 1.0 / y                  →     r = x * w
    d = -(r * w)                       d = -(r * w)

The partial of a division asks for both; a GPU takes a dozen instructions for each.  It rounds once
more: a value that is compared with another one, or put into memory that is no shadow, stays what
the kernel itself has computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import (
    Accumulate,
    Atom,
    Block,
    Const,
    For,
    Function,
    If,
    Load,
    Prim,
    Stmt,
    Store,
    Var,
    While,
)
from numbaflux.ir.walk import defs, map_regions, uses, walk
from numbaflux.passes.alias import Aliases

EXACT = ("eq", "ne", "lt", "le", "gt", "ge", "floor", "ceil", "trunc", "rint", "cast")


@stage
def reciprocals(fn: Function, shadows: frozenset[Var]) -> Function:
    """The kernel that adds to `shadows` with such divisions as multiplications."""
    exact = _exact(fn, shadows)

    def visit(block: Block) -> Block:
        divisions = [s for s in block.stmts if isinstance(s, Prim) and s.op == "div"]
        wholes = {s.args[1]: s for s in divisions if _is_one(s.args[0]) and s.result not in exact}
        stmts: list[Stmt] = []
        done: set[Atom] = set()
        for stmt in block.stmts:
            if not isinstance(stmt, Prim) or stmt.op != "div" or stmt.args[1] not in wholes:
                stmts.append(map_regions(stmt, visit))
                continue
            whole = wholes[stmt.args[1]]
            if stmt is not whole and stmt.result in exact:
                stmts.append(stmt)
                continue
            if stmt.args[1] not in done:
                done.add(stmt.args[1])
                stmts.append(whole)
            if stmt is not whole:
                stmts.append(replace(stmt, op="mul", args=(stmt.args[0], whole.result)))
        return replace(block, stmts=tuple(stmts))

    return replace(fn, block=visit(fn.block))


def _is_one(a: Atom) -> bool:
    return isinstance(a, Const) and a.value == 1.0


def _exact(fn: Function, shadows: frozenset[Var]) -> set[Atom]:
    """What is compared, or comes to memory that is no shadow, and what that is computed from."""
    alias = Aliases(fn)
    sources: dict[Atom, set[Atom]] = {}  # what a variable is computed from
    found: set[Atom] = set()

    def flow(targets: Iterable[Var], origins: Iterable[Atom]) -> None:
        for v, a in zip(targets, origins, strict=True):
            sources.setdefault(v, set()).add(a)

    for stmt in walk(fn.block):
        match stmt:
            case Prim(result, op, args):
                sources.setdefault(result, set()).update(args)
                if op in EXACT and not any(isinstance(a, Const) and a.value == 0 for a in args):
                    found.update(args)
            case Store(array, index, value) | Accumulate(array, index, value):
                found.update(index)
                if not alias.of(array) <= shadows:
                    found.add(value)
            case Load():
                found.update(stmt.index)
            case If(results=results, then=then, orelse=orelse):
                flow(results, then.yields)
                flow(results, orelse.yields)
            case For(results, _, inits, body):
                for targets in (results, body.params[1:]):
                    flow(targets, inits)
                    flow(targets, body.yields)
            case While(results, inits, body):
                found.add(body.yields[0])
                for targets in (results, body.params):
                    flow(targets, inits)
                    flow(targets, body.yields[1:])
            case _:
                found.update(uses(stmt))
                for v in defs(stmt):
                    sources.setdefault(v, set()).update(uses(stmt))
    pending = list(found)
    while pending:
        more = sources.get(pending.pop(), set()) - found
        found |= more
        pending += more
    return found
