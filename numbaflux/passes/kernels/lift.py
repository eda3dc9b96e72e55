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

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
    Loc,
    Prim,
    Shuffle,
    Stmt,
    Var,
    While,
)
from numbaflux.ir.ops import WARP
from numbaflux.ir.walk import blocks, regions, walk
from numbaflux.passes.alias import Site
from numbaflux.passes.dependence import Dependence, accesses
from numbaflux.passes.kernels.uniform import Uniform, has_barrier

Key = tuple[Atom, tuple[object, ...]]  # an array and the place in it


@dataclass(frozen=True, slots=True)
class Pending:
    """A sum that has not been added to memory yet."""

    array: Atom
    index: tuple[Atom, ...]
    value: Atom
    loc: Loc


Sums = dict[Key, Pending]


@stage
def lift(fn: Function, shadows: frozenset[Site], threads: int) -> Function:
    """The kernel with such additions to `shadows`; `threads` are those of a block."""
    lifter = _Lifter(fn, shadows)
    fn = replace(fn, block=lifter.root(fn.block))
    return _over_warps(fn, shadows) if threads % WARP == 0 else fn


class _Lifter:
    def __init__(self, fn: Function, shadows: frozenset[Site]) -> None:
        self.dependence = Dependence.of(fn)
        self.places, self.alias = self.dependence.places, self.dependence.alias
        self.shadows = shadows

    def root(self, block: Block) -> Block:
        """A block that sums do not leave."""
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            if has_barrier(stmt):
                self._inside(b, stmt)
                continue
            made, sums = self.stmt(stmt)
            b.append(made)
            for p in sums.values():
                _add(b, p)
        return replace(block, stmts=tuple(b.stmts))

    def _inside(self, b: Builder, stmt: Stmt) -> None:
        match stmt:
            case If():
                b.append(replace(stmt, then=self.root(stmt.then), orelse=self.root(stmt.orelse)))
            case For() | While():
                b.append(replace(stmt, body=self.root(stmt.body)))
            case _:
                b.append(stmt)

    def stmt(self, stmt: Stmt) -> tuple[Stmt, Sums]:
        """The statement without the additions that can be made after it, and those."""
        if not regions(stmt):
            return stmt, {}
        free = {id(s): s for region in regions(stmt) for s in self.leaving(region)}
        match stmt:
            case If():
                return self.if_(stmt, free)
            case For() | While():
                return self.loop(stmt, free)
            case _:
                return stmt, {}

    def leaving(self, region: Block) -> list[Accumulate]:
        """Additions of a region whose element is known outside and untouched otherwise."""
        found = []
        touched = list(accesses(region))
        for s in walk(region):
            if not isinstance(s, Accumulate) or not s.atomic:
                continue
            if not self.alias.of(s.array) <= self.shadows or not self.known_outside(s, region):
                continue
            others = [a for a in touched if self.alias.meet(a.array, s.array) and not a.sums]
            if not others:
                found.append(s)
        return found

    def known_outside(self, s: Accumulate, region: Block) -> bool:
        inside = {id(b) for b in blocks(region)}
        atoms = (a for a in (s.array, *s.index) if isinstance(a, Var))
        return all(id(self.places.home[a]) not in inside for a in atoms)

    def block(self, block: Block, free: Mapping[int, Stmt]) -> tuple[Builder, Sums]:
        """A region's statements without the additions `free`, and their sums."""
        b, sums = Builder(), {}
        for stmt in block.stmts:
            b.loc = stmt.loc
            if id(stmt) in free and isinstance(stmt, Accumulate):
                _join(b, sums, Pending(stmt.array, stmt.index, stmt.value, stmt.loc))
                continue
            made, inner = self.stmt(stmt)
            b.append(made)
            for p in inner.values():
                if self._goes_on(p, free):
                    _join(b, sums, p)
                else:
                    _add(b, p)
        return b, sums

    def _goes_on(self, p: Pending, free: Mapping[int, Stmt]) -> bool:
        key = _key(p.array, p.index)
        return any(
            isinstance(s, Accumulate) and _key(s.array, s.index) == key for s in free.values()
        )

    def if_(self, stmt: If, free: Mapping[int, Stmt]) -> tuple[Stmt, Sums]:
        (b_then, then), (b_orelse, orelse) = (
            self.block(stmt.then, free),
            self.block(stmt.orelse, free),
        )
        keys = list(dict.fromkeys([*then, *orelse]))
        either = {**orelse, **then}
        results = tuple(Var("sum", either[k].value.type) for k in keys)

        def arm(old: Block, b: Builder, sums: Sums) -> Block:
            values = (sums[k].value if k in sums else zero_of(either[k].value.type) for k in keys)
            return b.block((), (*old.yields, *values))

        made = replace(
            stmt,
            results=(*stmt.results, *results),
            then=arm(stmt.then, b_then, then),
            orelse=arm(stmt.orelse, b_orelse, orelse),
        )
        pairs = zip(keys, results, strict=True)
        return made, {k: replace(either[k], value=r) for k, r in pairs}

    def loop(self, stmt: For | While, free: Mapping[int, Stmt]) -> tuple[Stmt, Sums]:
        b, sums = self.block(stmt.body, free)
        types = [p.value.type for p in sums.values()]
        params = [Var("sum", t) for t in types]
        results = tuple(Var("sum", t) for t in types)
        nexts = [b.add(q, p.value, "sum") for q, p in zip(params, sums.values(), strict=True)]
        body = b.block((*stmt.body.params, *params), (*stmt.body.yields, *nexts))
        made = replace(
            stmt,
            results=(*stmt.results, *results),
            inits=(*stmt.inits, *(zero_of(t) for t in types)),
            body=body,
        )
        pairs = zip(sums.items(), results, strict=True)
        return made, {k: replace(p, value=r) for (k, p), r in pairs}


def _add(b: Builder, p: Pending) -> None:
    """if value != 0: atomic array[index] += value"""
    with b.arm() as then:
        b.append(Accumulate(p.array, p.index, p.value, p.loc, True))
    with b.arm() as nothing:
        pass
    b.if_(b.prim("ne", p.value, zero_of(p.value.type)), then.block, nothing.block)


def _key(array: Atom, place: tuple[Atom, ...]) -> Key:
    return array, tuple((a.value, a.type) if isinstance(a, Const) else a for a in place)


def _join(b: Builder, sums: Sums, p: Pending) -> None:
    key = _key(p.array, p.index)
    if key in sums:
        p = replace(p, value=b.add(sums[key].value, p.value, "sum"))
    sums[key] = p


# ---- over the warp -----------------------------------------------------------------------------


def _over_warps(fn: Function, shadows: frozenset[Site]) -> Function:
    """One addition a warp where all its threads add to one element."""
    uniform, alias = Uniform(fn), Dependence.of(fn).alias
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
