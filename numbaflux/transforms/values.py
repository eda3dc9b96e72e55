"""The forward sweep's values in the reverse sweep: kept, computed again, or simply still there.

note [Two runs]  The reverse sweep is written twice.  The first time `need` only takes down what is
asked for; then a minimum cut (passes/storage.py) decides what to keep; the second time `need`
fetches it.  What is kept in a loop goes to a cache, an array with a place for every trip
(passes/counters.py); what is kept in an arm of an If at the top becomes one of its results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from numbaflux.ir.build import Builder, array_of, full_slice, index, zero_of
from numbaflux.ir.nodes import (
    Alloc,
    Array,
    Atom,
    Block,
    Const,
    Dim,
    For,
    If,
    Index,
    Load,
    Prim,
    Scalar,
    Stmt,
    Var,
    View,
    While,
)
from numbaflux.ir.ops import EXPENSIVE
from numbaflux.ir.walk import defs, map_atoms, map_regions, regions, uses
from numbaflux.passes.counters import Counted, Nest, key_of
from numbaflux.passes.dependence import Dependence
from numbaflux.passes.storage import cheapest_cut
from numbaflux.transforms.memory import clear_array, new_array


@dataclass(eq=False)
class Scope:
    """The part of the reverse sweep that mirrors one block, while it is written."""

    block: Block
    b: Builder
    memo: dict[Var, Atom] = field(default_factory=dict)
    shadows: dict[Var, Atom] = field(default_factory=dict)  # of arrays private to the block


@dataclass(frozen=True, slots=True)
class Cache:
    """Where the values of a variable are kept; `shape` of a static nest, atoms of the root.

    `rows`: the variable is an array that is allocated there, a row for every trip.
    """

    array: Var
    nest: Nest
    shape: tuple[Atom, ...]
    rows: bool


class Values:
    """What the reverse sweep may ask of the forward sweep. note [Two runs]

    `snapshots`: by what a load defines, an array that has it. note [Snapshots]
    """

    def __init__(self, counted: Counted, snapshots: Mapping[Var, Var]) -> None:
        self.snapshots = snapshots
        self.nests, self.hoist = counted.nests, counted.hoist
        self.fn = counted.fn
        self.dependence = Dependence.of(counted.fn)
        self.places = self.dependence.places
        self.positions = {a for nest in self.nests.values() for a in nest.index}
        self.scopes: dict[Block, Scope] = {}
        self.needed: dict[Var, None] = {}
        self.dry = True
        self.fetched: frozenset[Var] = frozenset()
        self.caches: dict[Var, Cache] = {}
        self.allocations: dict[Stmt, list[Stmt]] = {}
        self.exports: dict[Var, Var] = {}

    # ---- asking --------------------------------------------------------------------------------

    @contextmanager
    def mirror(self, block: Block, b: Builder) -> Iterator[Scope]:
        """Write the mirror of `block` with `b`."""
        scope = self.scopes[block] = Scope(block, b)
        yield scope
        del self.scopes[block]

    def need(self, a: Atom) -> Atom:
        """The atom that has the value of `a` at the trip being reversed."""
        if not isinstance(a, Var) or self.places.home[a] is self.places.root:
            return a
        if self.dry:
            self.needed.setdefault(a)
            return a
        if self.places.top(self.places.home[a]):
            return self.exports[a]
        scope = self.scopes[self.places.home[a]]
        if a not in scope.memo:
            scope.memo[a] = self._fetch(a, scope.b)
        return scope.memo[a]

    def asks(self, v: Var) -> bool:
        """Whether the reverse sweep asks for `v`; always so while that is not known."""
        return self.dry or v in self.fetched

    def mapped(self, view: View) -> View:
        """The view with what its indices name at the trip being reversed."""
        mapped = map_atoms(replace(view, base=index(0)), self.need)
        assert isinstance(mapped, View)
        return mapped

    def _fetch(self, v: Var, b: Builder) -> Atom:
        if v in self.caches:
            cache = self.caches[v]
            place = self._index(b, cache, self.need)
            return _row(b, cache, v, place) if cache.rows else b.load(cache.array, place, v.name)
        stmt = self.places.definition[v]
        if v in self.snapshots and isinstance(stmt, Load):
            stmt = replace(stmt, array=self.snapshots[v])
        stmt = map_atoms(stmt, self.need)
        match stmt:
            case Prim(op=op, args=args):
                return b.prim(op, *args, type=v.type, name=v.name)
            case View(base=base, how=how):
                return b.view(base, how, v.type, v.name)
            case Load(array=array, index=i):
                return b.load(array, i, v.name)
            case Dim(array=array, axis=axis):
                return b.dim(array, axis, v.name)
            case _:
                raise AssertionError(stmt)

    # ---- deciding ------------------------------------------------------------------------------

    def cut(self) -> tuple[Var, ...]:
        """What is cheapest to keep, from what the first run asked for."""
        while True:
            kept = cheapest_cut(self.needed, self.operands, self.cost)
            positions = [a for v in kept for a in self._nest(v).index]
            more = [p for p in positions if self._asked(p) and p not in self.needed]
            if not more:
                return kept
            self.needed.update(dict.fromkeys(more))

    def decide(self) -> None:
        """Choose what to keep, and where."""
        self.dry, kept = False, self.cut()
        self._allocate(kept)
        self.fetched = frozenset(self._closure(kept))
        for v in self._closure(kept):
            if self._exported(v):
                self.exports[v] = Var(v.name, v.type)

    def _closure(self, kept: tuple[Var, ...]) -> Iterator[Var]:
        """Everything that fetching the needed values will ask for."""
        pending, seen = list(self.needed), set(self.needed)
        while pending:
            v = pending.pop()
            yield v
            below = self._nest(v).index if v in self.caches else self._reads(v)
            for u in below:
                if isinstance(u, Var) and u not in seen:
                    seen.add(u)
                    pending.append(u)

    def _reads(self, v: Var) -> tuple[Atom, ...]:
        """What fetching an unkept value reads."""
        cycle = self.places.permuted(v)
        if cycle is not None:
            loop, _ = self.places.around[self.places.home[v]]
            assert isinstance(loop, For | While)
            return tuple(loop.results[i] for i, _ in cycle)
        stmt = self.places.definition.get(v)
        if v in self.snapshots and isinstance(stmt, Load):
            return (self.snapshots[v], *stmt.index)
        return uses(stmt) if isinstance(stmt, Prim | View | Load | Dim) else ()

    def _exported(self, v: Var) -> bool:
        home = self.places.home[v]
        return home is not self.places.root and self.places.top(home)

    def _asked(self, a: Atom) -> TypeGuard[Var]:
        """Whether a value is not simply there in the reverse sweep."""
        return (
            isinstance(a, Var)
            and not self.places.top(self.places.home[a])
            and (a not in self.nests)
        )

    def operands(self, v: Var) -> list[Var] | None:
        """What `v` can be computed from, free values left out; None if it has to be kept."""
        if not self._asked(v):
            return []
        if self.places.permuted(v) is None and not self._again(v):
            return None
        return [a for a in self._reads(v) if self._asked(a)]

    def _again(self, v: Var) -> bool:
        """Whether the statement that defines `v` can be repeated in the reverse sweep."""
        match stmt := self.places.definition.get(v):
            case Prim(op=op):
                return op not in EXPENSIVE
            case View() | Dim():
                return True
            case Load(result=r, array=array):
                there = self.places.lasting(array) or self._in_rows(array)
                intact = self.places.intact(stmt, array) or self._settled(stmt)
                return r in self.snapshots or (there and intact)
            case _:
                return False

    def _settled(self, stmt: Load) -> bool:
        """A thread of a kernel cannot tell what the others write."""
        return not self.fn.kernel and self.dependence.settled(stmt)

    def _in_rows(self, array: Atom) -> bool:
        """Whether an array is made in each trip, or a view of one that is."""
        match self._definition(array):
            case View(base=base):
                return self._in_rows(base)
            case Alloc(result=r):
                return r in self.places.alias.private and not array_of(r).grows
            case _:
                return False

    def _definition(self, a: Atom) -> Stmt | None:
        return self.places.definition.get(a) if isinstance(a, Var) else None

    def _regular(self, v: Var) -> bool:
        """Whether every trip of a static nest makes an array of one shape, known on entry."""
        stmt = self.places.definition.get(v)
        return (
            isinstance(stmt, Alloc)
            and v in self.places.alias.private
            and self._nest(v).counts is not None
            and not array_of(v).grows
            and all(self.hoist.exact(n) for n in stmt.shape)
        )

    def cost(self, v: Var) -> float:
        """Bytes kept, a hundredfold for every loop around and every axis of unknown length."""
        if not self._asked(v) or self.places.permuted(v) is not None:
            return float("inf")
        scalar = v.type.element if isinstance(v.type, Array) else v.type
        size = float(scalar.numpy.itemsize) if isinstance(scalar, Scalar) else 8.0
        stmt = self.places.definition.get(v)
        rank = v.type.ndim if isinstance(v.type, Array) else 0
        for n in stmt.shape if isinstance(stmt, Alloc) else [None] * rank:
            size *= float(n.value) if isinstance(n, Const) else 100.0
        return size * 100.0 ** len(self.places.loops(self.places.home[v]))

    # ---- keeping -------------------------------------------------------------------------------

    def _nest(self, v: Var) -> Nest:
        loop = self.places.loops(self.places.home[v])[-1]
        return self.nests[key_of(loop)]

    def _allocate(self, kept: tuple[Var, ...]) -> None:
        """A cache for each variable, before the statement of the root that it is in."""
        builders: dict[Stmt, Builder] = {}
        for v in kept:
            stmt, nest, array = self._root_stmt(v), self._nest(v), self._cache_array(v)
            b = builders.setdefault(stmt, Builder(stmt.loc))
            bounds = [self.hoist.bound(b, n) for n in nest.counts or ()]
            shape = tuple(b.prim("max", n, index(0), name="n") for n in bounds)
            rows = self._regular(v)
            if rows:
                alloc = self.places.definition[v]
                assert isinstance(alloc, Alloc)
                shape += tuple(self.hoist.bound(b, n) for n in alloc.shape)
            grows = array_of(array).grows
            b.append(Alloc(array, (index(0),) if grows else shape, False, b.loc))
            self.caches[v] = Cache(array, nest, shape, rows)
        self.allocations = {stmt: b.stmts for stmt, b in builders.items()}

    def _cache_array(self, v: Var) -> Var:
        nest = self._nest(v)
        assert isinstance(v.type, Scalar | Array)
        if self._regular(v):
            rank = len(nest.counts or ()) + array_of(v).ndim
            return Var(f"{v.name}_rows", Array(array_of(v).element, rank))
        if isinstance(v.type, Array) or nest.counts is None:
            return Var(f"{v.name}_tape", Array(v.type, 1, grows=True))
        return Var(f"{v.name}_cache", Array(v.type, len(nest.counts)))

    def _index(self, b: Builder, cache: Cache, fetch: Callable[[Atom], Atom]) -> list[Atom]:
        """The place of the current trip in a cache."""
        nest = cache.nest
        if nest.counts is None or not array_of(cache.array).grows:
            return [fetch(a) for a in nest.index]
        flat: Atom = index(0)
        for k, n in zip(nest.index, cache.shape):
            flat = b.add(b.mul(flat, n), fetch(k))
        return [flat]

    def keep(self, b: Builder, v: Var) -> None:
        """In the forward sweep: store `v` if it is kept."""
        if v in self.caches and not self.caches[v].rows:
            cache = self.caches[v]
            b.store(cache.array, self._index(b, cache, lambda a: a), v)

    def _made(self, b: Builder, stmt: Stmt) -> None:
        """In the forward sweep: the statement; an array that is kept is made as a row."""
        if not isinstance(stmt, Alloc) or not self._kept_as_row(stmt.result):
            b.append(stmt)
            return
        cache = self.caches[stmt.result]
        like = _row(b, cache, stmt.result, self._index(b, cache, lambda a: a))
        b.stmts[-1] = replace(b.stmts[-1], result=stmt.result)
        assert like.type == stmt.result.type
        if stmt.zero:
            clear_array(b, stmt.result)

    def _kept_as_row(self, v: Var) -> bool:
        return v in self.caches and self.caches[v].rows

    def _root_stmt(self, v: Var) -> Stmt:
        block = self.places.home[v]
        stmt, block = self.places.around[block]
        while block is not self.places.root:
            stmt, block = self.places.around[block]
        return stmt

    def forward(self) -> list[Stmt]:
        """The forward sweep: the primal, keeping what the reverse sweep needs."""
        return self._forward(self.places.root)[0]

    def _forward(self, block: Block) -> tuple[list[Stmt], dict[Var, Atom]]:
        """A block's statements, and the values in it that the reverse sweep wants to see."""
        b = Builder()
        seen: dict[Var, Atom] = {v: v for v in self.exports if self.places.home[v] is block}
        params = list(block.params)
        for stmt in block.stmts:
            b.loc = stmt.loc
            if not self._positions(stmt):
                self._keep_all(b, params)
            if block is self.places.root:
                b.stmts += self.allocations.get(stmt, ())
            if isinstance(stmt, If) and self.places.top(block):
                stmt, out = self._exporting(stmt, block is self.places.root)
                seen.update(out)
            elif regions(stmt):
                stmt = map_regions(
                    stmt, lambda region: replace(region, stmts=tuple(self._forward(region)[0]))
                )
            self._made(b, stmt)
            self._keep_all(b, [v for v in defs(stmt) if v in self.places.home])
        self._keep_all(b, params)
        return b.stmts, seen

    def _positions(self, stmt: Stmt) -> bool:
        """Whether a statement computes the position of a trip, without which nothing is kept."""
        return any(v in self.positions for v in defs(stmt))

    def _keep_all(self, b: Builder, variables: list[Var]) -> None:
        while variables:
            self.keep(b, variables.pop(0))

    def _exporting(self, stmt: If, at_root: bool) -> tuple[If, dict[Var, Atom]]:
        """An If at the top, with what its arms define and the reverse sweep needs as results."""
        then, from_then = self._forward(stmt.then)
        orelse, from_orelse = self._forward(stmt.orelse)
        out: dict[Var, Atom] = {}
        more: list[tuple[Var, Atom, Atom]] = []
        for v, a in from_then.items():
            out[v] = r = self.exports[v] if at_root else Var(v.name, v.type)
            more.append((r, a, _nothing(orelse, a)))
        for v, a in from_orelse.items():
            out[v] = r = self.exports[v] if at_root else Var(v.name, v.type)
            more.append((r, _nothing(then, a), a))
        new = If(
            (*stmt.results, *(r for r, _, _ in more)),
            stmt.cond,
            Block((), tuple(then), (*stmt.then.yields, *(a for _, a, _ in more))),
            Block((), tuple(orelse), (*stmt.orelse.yields, *(a for _, _, a in more))),
            stmt.loc,
        )
        return new, out


def _row(b: Builder, cache: Cache, v: Var, place: list[Atom]) -> Var:
    """The row of a trip in a cache of arrays."""
    whole = (full_slice(),) * array_of(v).ndim
    return b.view(cache.array, Index((*place, *whole)), v.type, v.name)


def _nothing(stmts: list[Stmt], like: Atom) -> Atom:
    """A value of the type of `like` that nobody reads."""
    if not isinstance(like.type, Array):
        return zero_of(like.type)
    b = Builder()
    nothing = new_array(b, [index(0)] * like.type.ndim, like.type, "nothing")
    stmts += b.stmts
    return nothing
