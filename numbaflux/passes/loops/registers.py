"""Small arrays whose elements are all named: each element a variable.

    w = empty(2)                              for k in range(n):
    for k in range(n):                            w_0 = x[k]
        w[0] = x[k]                    →          w_1 = 2.0 * w_0
        w[1] = 2.0 * w[0]                         s += w_1
        s += w[1]

An array is memory for LLVM too, which has to store to it in every trip.  What a loop writes to an
element it carries, and dead code is what need not be.  Only arrays that nothing else refers to and
that a loop uses, and only where every index is a constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import TypeGuard

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, array_of, zero_of
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Atom,
    Block,
    Const,
    Dim,
    For,
    Function,
    If,
    Load,
    Scalar,
    Stmt,
    Store,
    Var,
    While,
)
from numbaflux.ir.walk import defs, map_atoms, regions, uses, walk
from numbaflux.passes.alias import Aliases

MOST_ELEMENTS = 8

Place = tuple[Var, tuple[int, ...]]  # an element of an array


@stage
def registers(fn: Function) -> Function:
    """The function with the elements of such arrays as variables."""
    arrays = _named(fn)
    return replace(fn, block=_Registers(arrays).block(fn.block, {})) if arrays else fn


def small(stmt: Stmt, most: int = MOST_ELEMENTS) -> TypeGuard[Alloc]:
    """Whether a statement makes an array of a few numbers."""
    if not isinstance(stmt, Alloc) or stmt.space:
        return False
    type = array_of(stmt.result)
    lengths = [int(n.value) for n in stmt.shape if isinstance(n, Const)]
    known = len(lengths) == len(stmt.shape) and not type.grows and isinstance(type.element, Scalar)
    return known and 0 < prod(lengths) <= most


def place(alloc: Alloc, at: Sequence[Atom]) -> tuple[int, ...] | None:
    """The element that constant subscripts name, None if it is not known or not there."""
    found: list[int] = []
    for i, n in zip(at, alloc.shape, strict=True):
        if not isinstance(i, Const) or not isinstance(n, Const):
            return None
        k = int(i.value) + int(n.value) * (int(i.value) < 0)
        if not 0 <= k < int(n.value):
            return None
        found.append(k)
    return tuple(found)


def _named(fn: Function) -> dict[Var, Alloc]:
    """The arrays that can be taken apart."""
    made = {s.result: s for s in walk(fn.block) if small(s)}
    if not made or fn.kernel:
        return {}
    private = Aliases(fn).private
    found = {a: s for a, s in made.items() if a in private}
    home: dict[Var, Sequence[Stmt]] = {}
    hot: set[Var] = set()

    def visit(block: Block, loops: tuple[Stmt, ...]) -> None:
        for stmt in block.stmts:
            home.update((v, loops) for v in defs(stmt) if v in found)
            for a in uses(stmt):
                if isinstance(a, Var) and a in found:
                    hot.update((a,) if loops else ())
                    shared = any(map(_parallel, loops[len(home[a]) :]))
                    if not _by_name(stmt, found[a]) or (shared and not isinstance(stmt, Load)):
                        del found[a]
            inside = (*loops, stmt) if isinstance(stmt, For | While) else loops
            for region in regions(stmt):
                visit(region, inside)

    visit(fn.block, ())
    return {a: s for a, s in found.items() if a in hot}


def _parallel(stmt: Stmt) -> bool:
    return isinstance(stmt, For) and stmt.parallel


def _by_name(stmt: Stmt, alloc: Alloc) -> bool:
    """Whether a statement that uses an array reads or writes an element that has a name."""
    match stmt:
        case Load(index=at) | Store(index=at):
            return place(alloc, at) is not None
        case Accumulate(index=at, value=value):
            same = value.type == array_of(alloc.result).element
            return same and place(alloc, at) is not None
        case _:
            return isinstance(stmt, Dim)


class _Registers:
    """`now`, while a block is rewritten: the values of the elements at this point."""

    def __init__(self, arrays: dict[Var, Alloc]) -> None:
        self.arrays = arrays
        self.env: dict[Var, Atom] = {}

    def atom(self, a: Atom) -> Atom:
        return self.env.get(a, a) if isinstance(a, Var) else a

    def block(self, block: Block, now: dict[Place, Atom]) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            self.stmt(b, map_atoms(stmt, self.atom), now)
        return replace(block, stmts=tuple(b.stmts), yields=tuple(map(self.atom, block.yields)))

    def stmt(self, b: Builder, stmt: Stmt, now: dict[Place, Atom]) -> None:
        match stmt:
            case Alloc(result=r) if r in self.arrays:
                nothing = zero_of(array_of(r).element)
                now.update((p, nothing) for p in _places(stmt))
            case Load(result=r, array=array, index=at) if array in self.arrays:
                self.env[r] = now[self.place(array, at)]
            case Store(array=array, index=at, value=v) if array in self.arrays:
                now[self.place(array, at)] = b.cast(v, array_of(array).element)
            case Accumulate(array=array, index=at, value=v) if array in self.arrays:
                p = self.place(array, at)
                now[p] = b.add(now[p], v, _name(p))
            case Dim(result=r, array=array, axis=axis) if array in self.arrays:
                assert isinstance(array, Var)
                self.env[r] = self.arrays[array].shape[axis]
            case If():
                b.append(self.if_(stmt, now))
            case For() | While():
                b.append(self.loop(stmt, now))
            case _:
                b.append(stmt)

    def place(self, array: Atom, at: Sequence[Atom]) -> Place:
        assert isinstance(array, Var)
        found = place(self.arrays[array], at)
        assert found is not None
        return array, found

    def if_(self, stmt: If, now: dict[Place, Atom]) -> If:
        after_then, after_orelse = dict(now), dict(now)
        then = self.block(stmt.then, after_then)
        orelse = self.block(stmt.orelse, after_orelse)
        moved = [p for p in now if after_then[p] is not after_orelse[p]]
        results = tuple(Var(_name(p), now[p].type) for p in moved)
        now.update((p, after_then[p]) for p in now)
        now.update(zip(moved, results))
        return replace(
            stmt,
            results=(*stmt.results, *results),
            then=replace(then, yields=(*then.yields, *(after_then[p] for p in moved))),
            orelse=replace(orelse, yields=(*orelse.yields, *(after_orelse[p] for p in moved))),
        )

    def loop(self, stmt: For | While, now: dict[Place, Atom]) -> For | While:
        moved = [p for p in dict.fromkeys(self.written(stmt.body)) if p in now]
        params = tuple(Var(_name(p), now[p].type) for p in moved)
        results = tuple(Var(_name(p), now[p].type) for p in moved)
        inside = now | dict(zip(moved, params))
        body = self.block(stmt.body, inside)
        made = replace(
            stmt,
            results=(*stmt.results, *results),
            inits=(*stmt.inits, *(now[p] for p in moved)),
            body=Block(
                (*body.params, *params), body.stmts, (*body.yields, *(inside[p] for p in moved))
            ),
        )
        now.update(zip(moved, results))
        return made

    def written(self, block: Block) -> Iterator[Place]:
        for stmt in walk(block):
            match stmt:
                case Store(array=array, index=at) | Accumulate(array=array, index=at):
                    if array in self.arrays:
                        yield self.place(array, at)
                case _:
                    pass


def _places(alloc: Alloc) -> Iterator[Place]:
    lengths = [int(n.value) for n in alloc.shape if isinstance(n, Const)]
    return ((alloc.result, at) for at in product(*map(range, lengths)))


def _name(p: Place) -> str:
    array, at = p
    return "_".join((array.name, *map(str, at)))
