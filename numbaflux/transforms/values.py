"""The forward sweep's values in the reverse sweep: kept, computed again, or simply still there.

note [Two runs]  The reverse sweep is written twice.  The first time `need` only takes down what is
asked for; then a minimum cut (passes/storage.py) decides what to keep; the second time `need`
fetches it.  What is kept in a loop goes to a cache, an array with a place for every trip
(passes/counters.py); what is kept in an arm of an If at the top becomes one of its results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from numbaflux.ir.build import Builder, array_of, index, zero_of
from numbaflux.ir.nodes import (
    Alloc,
    Array,
    Atom,
    Block,
    Dim,
    For,
    If,
    Load,
    Prim,
    Scalar,
    Stmt,
    Var,
    View,
    While,
)
from numbaflux.ir.walk import defs, map_atoms, map_regions, regions, uses
from numbaflux.passes.counters import Counted, Nest, key_of
from numbaflux.passes.places import Places
from numbaflux.passes.storage import cheapest_cut
from numbaflux.transforms.memory import new_array

EXPENSIVE = {
    "pow", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin",
    "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "hypot", "cbrt",
    "erf", "erfc", "gamma", "lgamma", "digamma", "polygamma",
}  # fmt: skip


@dataclass(eq=False)
class Scope:
    """The part of the reverse sweep that mirrors one block, while it is written."""

    block: Block
    b: Builder
    memo: dict[Var, Atom] = field(default_factory=dict)
    shadows: dict[Var, Atom] = field(default_factory=dict)  # of arrays private to the block


@dataclass(frozen=True, slots=True)
class Cache:
    """Where the values of a variable are kept; `shape` of a static nest, atoms of the root."""

    array: Var
    nest: Nest
    shape: tuple[Atom, ...]


class Values:
    """What the reverse sweep may ask of the forward sweep. note [Two runs]"""

    def __init__(self, counted: Counted) -> None:
        self.nests, self.hoist = counted.nests, counted.hoist
        self.fn = counted.fn
        self.places = Places(counted.fn)
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
            return b.load(cache.array, self._index(b, cache, self.need), name=v.name)
        stmt = map_atoms(self.places.definition[v], self.need)
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

    def decide(self) -> None:
        """Choose what to keep, from what the first run asked for."""
        self.dry = False
        while True:
            kept = cheapest_cut(self.needed, self.operands, self.cost)
            positions = [a for v in kept for a in self._nest(v).index]
            more = [p for p in positions if self._asked(p) and p not in self.needed]
            if not more:
                break
            self.needed.update(dict.fromkeys(more))
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
            case Load(array=array):
                return self.places.lasting(array) and self.places.intact(stmt, array)
            case _:
                return False

    def cost(self, v: Var) -> float:
        """Bytes kept, a hundredfold for every loop around."""
        if not self._asked(v) or self.places.permuted(v) is not None:
            return float("inf")
        size = v.type.numpy.itemsize if isinstance(v.type, Scalar) else 1000
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
            grows = array_of(array).grows
            b.append(Alloc(array, (index(0),) if grows else shape, False, b.loc))
            self.caches[v] = Cache(array, nest, shape)
        self.allocations = {stmt: b.stmts for stmt, b in builders.items()}

    def _cache_array(self, v: Var) -> Var:
        nest = self._nest(v)
        assert isinstance(v.type, Scalar | Array)
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
        if v in self.caches:
            cache = self.caches[v]
            b.store(cache.array, self._index(b, cache, lambda a: a), v)

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
            b.append(stmt)
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


def _nothing(stmts: list[Stmt], like: Atom) -> Atom:
    """A value of the type of `like` that nobody reads."""
    if not isinstance(like.type, Array):
        return zero_of(like.type)
    b = Builder()
    nothing = new_array(b, [index(0)] * like.type.ndim, like.type, "nothing")
    stmts += b.stmts
    return nothing
