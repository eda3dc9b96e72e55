"""Activity: which values a derivative has to follow.

A value is *varied* if it depends on a differentiated input, *useful* if a differentiated output
depends on it, *active* if both.  Memory is followed by site (alias.py), not by time: once a varied
value is stored anywhere in an array, all of the array is varied.  If a reference may point to an
active site, all the sites it may point to are active, since their shadows travel together.

Source: Hascoët, Naumann, Pascual, "To be recorded" analysis in reverse-mode automatic
differentiation, FGCS 21 (2005).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from numbaflux.ir.nodes import (
    Accumulate,
    Array,
    Atom,
    Atomic,
    Block,
    Call,
    Custom,
    For,
    Function,
    Gemm,
    If,
    Load,
    Prim,
    Shuffle,
    Stmt,
    Store,
    Var,
    While,
)
from numbaflux.ir.walk import defs, regions, uses, walk
from numbaflux.passes.alias import Aliases, Site, written_arrays
from numbaflux.rules.table import has_partial


class Activity:
    """The active scalars and sites of a function.

    `wrt`: parameters that are differentiated.  `of`: results whose derivative is wanted; arrays in
    `wrt` count as outputs too, since their contents on exit may be asked for.
    """

    def __init__(self, fn: Function, wrt: Iterable[Var], of: Iterable[Atom]) -> None:
        self.alias = Aliases(fn)
        wrt = tuple(wrt)
        varied = _Flow(self.alias, [*wrt])
        while varied.forward(fn.block):
            pass
        useful = _Flow(self.alias, [*of, *(p for p in wrt if isinstance(p.type, Array))])
        while useful.backward(fn.block):
            pass
        self.scalars = varied.scalars & useful.scalars
        self.sites = self._close(fn, varied.sites & useful.sites)

    def __contains__(self, a: Atom) -> bool:
        """Whether a scalar is active, or an array that a reference may point into."""
        if isinstance(a.type, Array):
            return a.type.is_float and not self.sites.isdisjoint(
                self.alias.of(a) | self.alias.held(a)
            )
        return a in self.scalars

    def acts(self, stmt: Stmt) -> bool:
        """Whether a statement, its regions included, does anything to an active value."""
        return (
            any(array in self for array in written_arrays(stmt))
            or (isinstance(stmt, Store) and stmt.array in self)
            or any(v in self for v in defs(stmt) if not isinstance(v.type, Array))
            or any(self.acts(s) for region in regions(stmt) for s in region.stmts)
        )

    def _close(self, fn: Function, sites: set[Site]) -> set[Site]:
        """With every reference all of its sites or none."""
        references = [
            self.alias.of(a)
            for a in _atoms(fn.block)
            if isinstance(a.type, Array) and a.type.is_float
        ]
        size = -1
        while size != len(sites):
            size = len(sites)
            for group in references:
                if not sites.isdisjoint(group):
                    sites |= group
        return sites


def _atoms(block: Block) -> Iterator[Atom]:
    yield from block.params
    yield from block.yields
    for stmt in walk(block):
        yield from uses(stmt)
        yield from defs(stmt)
        for region in regions(stmt):
            yield from region.params
            yield from region.yields


class _Flow:
    """A set of scalars and sites that grows along the program, one way or the other."""

    def __init__(self, alias: Aliases, seeds: Iterable[Atom]) -> None:
        self.alias = alias
        self.scalars: set[Atom] = set()
        self.sites: set[Site] = set()
        self.changed = False
        self.add(*seeds)

    def add(self, *atoms: Atom) -> None:
        for a in atoms:
            if not isinstance(a, Var) or not a.type.is_float:
                continue
            if isinstance(a.type, Array):
                sites = self.alias.of(a) | self.alias.held(a)
                self.changed |= not sites <= self.sites
                self.sites |= sites
            else:
                self.changed |= a not in self.scalars
                self.scalars.add(a)

    def has(self, a: Atom) -> bool:
        if isinstance(a.type, Array):
            return not self.sites.isdisjoint(self.alias.of(a))
        return a in self.scalars

    def follow(self, *edges: tuple[Atom, Atom]) -> None:
        """Of scalars only: references are followed by their sites."""
        for source, target in edges:
            if not isinstance(source.type, Array) and self.has(source):
                self.add(target)

    def forward(self, block: Block) -> bool:
        """One sweep down; whether anything was added."""
        self.changed = False
        for stmt in walk(block):
            match stmt:
                case Prim(result=r, op=op, args=args):
                    if any(self.has(a) and has_partial(op, i) for i, a in enumerate(args)):
                        self.add(r)
                case Load(result=r, array=array) if self.has(array):
                    self.add(r)
                case Store(array=array, value=v) | Accumulate(array=array, value=v):
                    if self.has(v):
                        self.add(array)
                case Gemm(out=out, a=a, b=b):
                    if self.has(a) or self.has(b):
                        self.add(out)
                case Atomic(result=r, array=array, args=args, settled=settled):
                    if not settled and any(self.has(a) for a in args):
                        self.add(array)
                    if self.has(array):
                        self.add(r)
                case Shuffle(result=r, value=v) if self.has(v):
                    self.add(r)
                case Custom(results=results, args=args):
                    if any(self.has(a) for a in args):
                        self.add(*results)
                case Call(results=results, args=args):
                    if any(self.has(a) for a in args):
                        self.add(*results, *written_arrays(stmt))
                case If() | For() | While():
                    self.follow(*_edges(stmt))
                case _:
                    pass
        return self.changed

    def backward(self, block: Block) -> bool:
        """One sweep up; whether anything was added."""
        self.changed = False
        for stmt in reversed(list(walk(block))):
            match stmt:
                case Prim(result=r, op=op, args=args):
                    if self.has(r):
                        self.add(*(a for i, a in enumerate(args) if has_partial(op, i)))
                case Load(result=r, array=array) if self.has(r):
                    self.add(array)
                case Store(array=array, value=v) | Accumulate(array=array, value=v):
                    if self.has(array):
                        self.add(v)
                case Gemm(out=out, a=a, b=b):
                    if self.has(out):
                        self.add(a, b)
                case Atomic(result=r, array=array, args=args, settled=settled):
                    if self.has(r):
                        self.add(array)
                    if not settled and self.has(array):
                        self.add(*args)
                case Shuffle(result=r, value=v) if self.has(r):
                    self.add(v)
                case Custom(results=results, args=args):
                    if any(self.has(r) for r in results):
                        self.add(*args)
                case Call(results=results, args=args):
                    if any(self.has(a) for a in (*results, *written_arrays(stmt))):
                        self.add(*args)
                case If() | For() | While():
                    self.follow(*((target, source) for source, target in _edges(stmt)))
                case _:
                    pass
        return self.changed


def _edges(stmt: If | For | While) -> Iterator[tuple[Atom, Atom]]:
    """From where to where values flow into, around and out of a region."""
    match stmt:
        case If(results=results, then=then, orelse=orelse):
            yield from zip(then.yields, results)
            yield from zip(orelse.yields, results)
        case For(results=results, inits=inits, body=body):
            yield from zip(inits, results)
            yield from zip(inits, body.params[1:])
            yield from zip(body.yields, body.params[1:])
            yield from zip(body.yields, results)
        case While(results=results, inits=inits, body=body):
            yield from zip(inits, body.params)
            yield from zip(body.yields[1:], body.params)
            yield from zip(body.yields[1:], results)
