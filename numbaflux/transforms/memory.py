"""Shadows: the memory beside the memory.

note [Shadows]  Every active array has a shadow of its shape and its aliasing: the shadow of a view
is the same view of the shadow, and a reference that is carried, chosen or stored has a twin that
is carried, chosen and stored with it.  `duplicate` writes these twins into a program before it is
reversed, so that "which shadow, at this iteration" is a value like any other.

note [Private]  An array whose reference stays in the block that allocates it (never yielded, never
stored) needs no twin: the reverse sweep makes its shadow anew, zeroed, where it mirrors that block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from numbaflux.errors import NotDifferentiableError
from numbaflux.ir.build import Builder, array_of, full_slice, zero_of
from numbaflux.ir.nodes import (
    TEXT,
    Alloc,
    Array,
    Atom,
    Block,
    Const,
    Custom,
    For,
    Function,
    Gemm,
    If,
    Index,
    Load,
    Stmt,
    Store,
    Type,
    Var,
    View,
    While,
)
from numbaflux.ir.walk import globals_of, map_regions
from numbaflux.passes.activity import Activity
from numbaflux.passes.alias import Aliases
from numbaflux.passes.places import Places


def shadow_type(type: Type) -> Type:
    """The type of a shadow or tangent: that of its primal, but writable."""
    if isinstance(type, Array):
        return replace(type, readonly=False, element=shadow_type(type.element))
    return type


def shadow_var(v: Var) -> Var:
    """A variable for the shadow, tangent or adjoint of `v`."""
    return Var(f"d_{v.name}", shadow_type(v.type))


def zeros_like(b: Builder, a: Atom, name: str | None = None) -> Var:
    """A new zeroed array of the shape and the type of `a`."""
    assert isinstance(a.type, Array)
    name = name or f"d_{getattr(a, 'name', 'array')}"
    shape = [b.dim(a, axis) for axis in range(a.type.ndim)]
    return new_array(b, shape, shadow_type(a.type), name)


def new_array(b: Builder, shape: Sequence[Atom], type: Type, name: str) -> Var:
    """A new zeroed array as a reference of this type, which may be one to any layout."""
    assert isinstance(type, Array)
    if type.layout != "A":
        return b.alloc(shape, type, name=name)
    made = b.alloc(shape, replace(type, layout="C"), name=name)
    return b.view(made, Index((full_slice(),) * type.ndim), type, name)


def inactive_shadow(fn: Function, active: Activity, shadows: Mapping[Atom, Atom]) -> Iterator[Atom]:
    """Parameters and globals without a shadow that share a reference with active memory."""
    for a in (*fn.params, *globals_of(fn.block)):
        if isinstance(a.type, Array) and a in active and a not in shadows:
            if fn.kernel:
                raise NotDifferentiableError(
                    f"the argument `{a.name}` of the kernel `{fn.name}` has no shadow",
                    fn.loc,
                    "what is differentiated passes through it",
                    f"pass Dup({a.name}, d_{a.name}), with zeros in d_{a.name}",
                )
            yield a


@contextmanager
def elements(b: Builder, a: Atom) -> Iterator[list[Atom]]:
    """Do what is written inside for every element of an array, or once for a scalar."""
    rank = a.type.ndim if isinstance(a.type, Array) else 0
    with b.each([b.dim(a, axis) for axis in range(rank)]) as place:
        yield place


def add_array(b: Builder, target: Atom, source: Atom) -> None:
    """target[...] += source[...], element by element."""
    with elements(b, source) as place:
        b.accumulate(target, place, b.load(source, place))


def clear_array(b: Builder, a: Atom) -> None:
    """a[...] = 0, element by element."""
    with elements(b, a) as place:
        b.store(a, place, zero_of(array_of(a).element))


def refuse_other_shape(b: Builder, a: Atom, like: Atom, what: str) -> None:
    """Raise ValueError unless the arrays have one shape; `what` is the first one's name."""
    message = Const(f"{what} does not have the shape of its primal", TEXT)
    for axis in range(array_of(like).ndim):
        b.raise_if(b.prim("ne", b.dim(a, axis), b.dim(like, axis)), ValueError, message)


def copy_array(b: Builder, a: Atom, name: str) -> Var:
    """A new array with the contents of `a`."""
    assert isinstance(a.type, Array)
    shape = [b.dim(a, axis) for axis in range(a.type.ndim)]
    copy = b.alloc(shape, replace(a.type, layout="C", readonly=False), zero=True, name=name)
    add_array(b, copy, a)
    return copy


# ---- twins -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Duplicated:
    """A program with twins: its function and the shadow of each reference that has one."""

    fn: Function
    shadows: Mapping[Atom, Atom]
    strangers: tuple[Atom, ...]  # the shadows of arguments and globals that are not in `wrt`


def duplicate(fn: Function, active: Activity, shadows: Mapping[Var, Atom]) -> Duplicated:
    """`fn` with a twin beside every statement that makes an active, not private, reference.

    `shadows`: those of the parameters in `wrt`. note [Shadows]
    """
    return _Duplicate(fn, active, {**shadows}).run(fn)


class _Duplicate:
    def __init__(self, fn: Function, active: Activity, shadows: dict[Atom, Atom]) -> None:
        self.active, self.shadows = active, shadows
        self.private = Aliases(fn).private

    def twinned(self, a: Atom) -> bool:
        return (
            isinstance(a.type, Array)
            and a in self.active
            and not self.active.alias.of(a) <= self.private
        )

    def twin(self, v: Var) -> Var:
        self.shadows[v] = d = shadow_var(v)
        return d

    def run(self, fn: Function) -> Duplicated:
        b = Builder()
        strangers = {a: zeros_like(b, a) for a in inactive_shadow(fn, self.active, self.shadows)}
        self.shadows.update(strangers)
        block = self.block(fn.block)
        block = replace(block, stmts=(*b.stmts, *block.stmts))
        return Duplicated(replace(fn, block=block), self.shadows, tuple(strangers.values()))

    def block(self, block: Block) -> Block:
        return replace(block, stmts=tuple(t for s in block.stmts for t in self.stmt(s)))

    def stmt(self, stmt: Stmt) -> Iterator[Stmt]:
        match stmt:
            case Alloc(result=r) if self.twinned(r):
                yield stmt
                yield replace(stmt, result=self.twin(r), zero=True)
            case Custom(results=results):
                yield stmt
                b = Builder(stmt.loc)
                for r in results:
                    if self.twinned(r):
                        self.shadows[r] = zeros_like(b, r)
                yield from b.stmts
            case View(result=r, base=base, how=how) if self.twinned(r):
                yield stmt
                yield View(self.twin(r), self.shadows[base], how, stmt.loc)
            case Load(result=r, array=array, index=index) if self.twinned(r):
                yield stmt
                yield Load(self.twin(r), self.shadows[array], index, stmt.loc)
            case Store(array=array, index=index, value=v) if self.twinned(v):
                yield stmt
                yield Store(self.shadows[array], index, self.shadows[v], stmt.loc)
            case If(results=results):
                then, orelse = self.block(stmt.then), self.block(stmt.orelse)
                which = [i for i, r in enumerate(results) if self.twinned(r)]
                twins = tuple(self.twin(results[i]) for i in which)
                yield replace(
                    stmt,
                    results=(*results, *twins),
                    then=self.yielding(then, [then.yields[i] for i in which]),
                    orelse=self.yielding(orelse, [orelse.yields[i] for i in which]),
                )
            case For() | While():
                yield self.loop(stmt)
            case _:
                yield stmt

    def loop(self, stmt: For | While) -> Stmt:
        body, skip = stmt.body, isinstance(stmt, For)
        carried = body.params[1:] if skip else body.params
        nexts = body.yields if skip else body.yields[1:]
        which = [i for i, p in enumerate(carried) if self.twinned(p)]
        params = tuple(self.twin(carried[i]) for i in which)
        inits = tuple(self.shadows[stmt.inits[i]] for i in which)
        body = replace(self.block(body), params=(*body.params, *params))
        body = self.yielding(body, [nexts[i] for i in which])
        results = tuple(self.twin(stmt.results[i]) for i in which)
        return replace(
            stmt, results=(*stmt.results, *results), inits=(*stmt.inits, *inits), body=body
        )

    def yielding(self, block: Block, references: list[Atom]) -> Block:
        return replace(block, yields=(*block.yields, *(self.shadows[a] for a in references)))


# ---- before the reverse sweep ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A program that copies the factors of matrix products which are overwritten later.

    `factors`: what the reverse of out += a @ b reads in the place of a and b.
    """

    fn: Function
    factors: Mapping[Gemm, tuple[Atom, Atom]]


def keep_factors(fn: Function, active: Activity) -> Kept:
    """`fn` with a copy of each factor that its reverse needs and would not find."""
    places = Places(fn)
    factors: dict[Gemm, tuple[Atom, Atom]] = {}

    def factor(b: Builder, stmt: Gemm, a: Atom, wanted: bool) -> Atom:
        if not wanted or (places.intact(stmt, a) and places.lasting(a)):
            return a
        return copy_array(b, a, getattr(a, "name", "matrix"))

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            if isinstance(stmt, Gemm) and stmt.out in active:
                factors[stmt] = (
                    factor(b, stmt, stmt.a, stmt.b in active),
                    factor(b, stmt, stmt.b, stmt.a in active),
                )
            b.append(map_regions(stmt, visit))
        return replace(block, stmts=tuple(b.stmts))

    return Kept(replace(fn, block=visit(fn.block)), factors)
