"""Atomic sums of a kernel: one a thread, then one a warp.

    for k in range(n):                    s = 0.0
        if c: atomic d[0] += x[k]   →     for k in range(n): s += x[k] if c else 0.0
                                          s = the sum of s over the warp, by shuffles
                                          if lane == 0 and s != 0.0: atomic d[0] += s

An addition to an element that is known further out leaves the loops and branches around it, as long
as they have no barrier.  That nothing has been added, when there may be no such element, is seen by
a sum of zero.  Where all threads of the block come by and add to one element, a warp adds
up before one of its threads goes to memory; that takes a block of whole warps.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, index, zero_of
from numbaflux.ir.nodes import (
    I64,
    Accumulate,
    Atom,
    Block,
    Const,
    For,
    Function,
    If,
    Prim,
    Shuffle,
    Stmt,
    Var,
)
from numbaflux.ir.ops import WARP
from numbaflux.ir.walk import map_regions, walk
from numbaflux.passes.alias import Site
from numbaflux.passes.dependence import Dependence, accesses
from numbaflux.passes.kernels.carry import Carrier
from numbaflux.passes.kernels.uniform import Uniform, has_barrier


@stage
def lift(fn: Function, shadows: frozenset[Site], threads: int) -> Function:
    """The kernel with such additions to `shadows`; `threads` are those of a block."""
    lifter = _Lifter(fn, shadows)
    fn = replace(fn, block=lifter.root(fn.block))
    return _over_warps(fn, shadows) if threads % WARP == 0 else fn


class _Lifter(Carrier):
    def __init__(self, fn: Function, shadows: frozenset[Site]) -> None:
        super().__init__(fn)
        self.shadows = shadows

    def root(self, block: Block) -> Block:
        """A block that sums do not leave."""
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            if has_barrier(stmt):
                b.append(map_regions(stmt, self.root))
                continue
            made, sums = self.stmt(stmt)
            b.append(made)
            for p in sums.values():
                self.add(b, p)
        return replace(block, stmts=tuple(b.stmts))

    def leaving(self, region: Block) -> list[Accumulate]:
        """Additions of a region whose element is known outside and untouched otherwise."""
        found = []
        touched = list(accesses(region))
        for s in walk(region):
            if not isinstance(s, Accumulate) or not s.atomic:
                continue
            known = all(self.known_outside(a, region) for a in (s.array, *s.index))
            if not known or not self.alias.of(s.array) <= self.shadows:
                continue
            others = [a for a in touched if self.alias.meet(a.array, s.array) and not a.sums]
            if not others:
                found.append(s)
        return found


# ---- over the warp -----------------------------------------------------------------------------


def _over_warps(fn: Function, shadows: frozenset[Site]) -> Function:
    """One addition a warp where all its threads add to one element."""
    uniform, alias = Uniform(fn), Dependence(fn).alias
    definition: dict[Atom, Prim] = {s.result: s for s in walk(fn.block) if isinstance(s, Prim)}

    def together(stmt: Stmt) -> bool:
        if not isinstance(stmt, Accumulate) or not stmt.atomic:
            return False
        same = all(a in uniform for a in (stmt.array, *stmt.index))
        return same and alias.of(stmt.array) <= shadows

    def lifted(stmt: If) -> Accumulate | None:
        """What `_add` has written, if it is an addition of all threads."""
        match definition.get(stmt.cond), stmt.then.stmts, stmt.orelse.stmts:
            case Prim(op="ne", args=(value, Const(value=0.0))), (Accumulate() as inner,), ():
                return inner if inner.value is value and together(inner) else None
            case _:
                return None

    def visit(block: Block) -> Block:
        """A block that all threads of the block come to."""
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            match stmt:
                case Accumulate() if together(stmt):
                    _add_of_warp(b, stmt)
                case If() if (inner := lifted(stmt)) is not None:
                    _add_of_warp(b, inner)
                case For(count=count) if count in uniform:
                    b.append(replace(stmt, body=visit(stmt.body)))
                case If(cond=cond) if cond in uniform:
                    b.append(replace(stmt, then=visit(stmt.then), orelse=visit(stmt.orelse)))
                case _:
                    b.append(stmt)
        return replace(block, stmts=tuple(b.stmts))

    return replace(fn, block=visit(fn.block))


def _add_of_warp(b: Builder, stmt: Accumulate) -> None:
    """if lane == 0 and it is not 0: atomic array[index] += the sum of the value over the warp"""
    total: Atom = stmt.value
    step = WARP // 2
    while step:
        other = Var("other", total.type)
        b.append(Shuffle(other, "down", total, index(step), stmt.loc))
        total = b.add(total, other, "total")
        step //= 2
    lane = b.prim("warp_lane", type=I64, name="lane")
    with b.arm() as then:
        b.append(replace(stmt, value=total))
    with b.arm() as nothing:
        pass
    first = b.prim("eq", lane, index(0))
    some = b.prim("ne", total, zero_of(total.type))
    b.if_(b.prim("and", first, some), then.block, nothing.block)
