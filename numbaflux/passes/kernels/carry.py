"""Additions to memory carried out of branches and loops, to be made after them.

    if c:                              if c: v = ..
        d[i] += ..             →       else: v = 0.0
                                       if v != 0.0: d[i] += v

That nothing has been added, when there may be no such element, is seen by a value of zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from numbaflux.ir.build import Builder, zero_of
from numbaflux.ir.nodes import (
    Accumulate,
    Atom,
    Barrier,
    Block,
    For,
    Function,
    Gemm,
    If,
    Loc,
    Stmt,
    Store,
    Var,
    While,
)
from numbaflux.ir.walk import blocks, map_regions, regions
from numbaflux.passes.dependence import Dependence

Key = tuple[Atom, tuple[frozenset, ...]]  # an array and the place in it


@dataclass(frozen=True, slots=True)
class Pending:
    """A sum that has not been added to memory yet; `of`: the additions that it is of.

    `sure`: one of them is made whatever happens, so there is such an element.
    """

    array: Atom
    index: tuple[Atom, ...]
    value: Atom
    loc: Loc
    of: frozenset[Accumulate]
    sure: bool = False


Sums = dict[Key, Pending]


class Carrier(ABC):
    """Takes additions out of statements; which, says `leaving`."""

    def __init__(self, fn: Function) -> None:
        self.dependence = Dependence.of(fn)
        self.places, self.alias = self.dependence.places, self.dependence.alias

    @abstractmethod
    def leaving(self, region: Block) -> list[Accumulate]:
        """The additions of a region that can be made after it."""

    def stmt(self, stmt: Stmt) -> tuple[Stmt, Sums]:
        """The statement without the additions that can be made after it, and those."""
        if not regions(stmt):
            return stmt, {}
        free = frozenset(s for region in regions(stmt) for s in self.leaving(region))
        match stmt:
            case If():
                return self._if(stmt, free)
            case For() | While():
                return self._loop(stmt, free)
            case _:
                return stmt, {}

    def known_outside(self, a: Atom, region: Block) -> bool:
        inside = {id(b) for b in blocks(region)}
        return not isinstance(a, Var) or id(self.places.home[a]) not in inside

    def direct(self, stmt: Accumulate) -> Pending:
        """An addition where it stands."""
        return Pending(stmt.array, stmt.index, stmt.value, stmt.loc, frozenset((stmt,)), True)

    def join(self, b: Builder, sums: Sums, p: Pending) -> None:
        """Add a sum to one of the same element."""
        key = p.array, tuple(frozenset(self.dependence.form(a).items()) for a in p.index)
        if key in sums:
            q = sums[key]
            value = b.add(q.value, p.value, "sum")
            p = replace(q, value=value, of=q.of | p.of, sure=q.sure or p.sure)
        sums[key] = p

    def add(self, b: Builder, p: Pending) -> None:
        """if value != 0: atomic array[index] += value"""
        addition = Accumulate(p.array, p.index, p.value, p.loc, True)
        if p.sure:
            b.append(addition)
            return
        with b.arm() as then:
            b.append(addition)
        with b.arm() as nothing:
            pass
        b.if_(b.prim("ne", p.value, zero_of(p.value.type)), then.block, nothing.block)

    def _block(self, block: Block, free: frozenset[Accumulate]) -> tuple[Builder, Sums]:
        """A region's statements without the additions `free`, and their sums."""
        b, sums = Builder(), {}
        for stmt in block.stmts:
            b.loc = stmt.loc
            if isinstance(stmt, Accumulate) and stmt in free:
                self.join(b, sums, self.direct(stmt))
                continue
            made, inner = self.stmt(stmt)
            b.append(made)
            for p in inner.values():
                if p.of <= free:
                    self.join(b, sums, p)
                else:
                    self.add(b, p)
        return b, sums

    def _if(self, stmt: If, free: frozenset[Accumulate]) -> tuple[Stmt, Sums]:
        (b_then, then), (b_orelse, orelse) = (
            self._block(stmt.then, free),
            self._block(stmt.orelse, free),
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
        found: Sums = {}
        for k, r in zip(keys, results, strict=True):
            arms = [sums[k] for sums in (then, orelse) if k in sums]
            of = frozenset(s for p in arms for s in p.of)
            sure = len(arms) == 2 and all(p.sure for p in arms)
            found[k] = replace(either[k], value=r, of=of, sure=sure)
        return made, found

    def _loop(self, stmt: For | While, free: frozenset[Accumulate]) -> tuple[Stmt, Sums]:
        b, sums = self._block(stmt.body, free)
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
        return made, {k: replace(p, value=r, sure=False) for (k, p), r in pairs}


def silent(block: Block) -> Block:
    """The block without what it does to memory."""
    gone = Store | Accumulate | Gemm | Barrier
    stmts = (map_regions(s, silent) for s in block.stmts if not isinstance(s, gone))
    return replace(block, stmts=tuple(stmts))


def without(block: Block, gone: frozenset[Accumulate]) -> Block:
    """The block without some additions."""
    stmts = (map_regions(s, lambda r: without(r, gone)) for s in block.stmts if s not in gone)
    return replace(block, stmts=tuple(stmts))
