"""Forward mode: beside every active value its tangent.

    f_jvp(params, tangents of `wrt`) -> results, tangents of the float results

The tangent of an array is its shadow: another array of the same shape and the same aliasing,
updated in place with it.  Zero tangents are not computed: an absent tangent is zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, array_of, zero_of
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Barrier,
    Block,
    Call,
    Custom,
    Dim,
    Extern,
    For,
    Function,
    Gemm,
    If,
    Load,
    Prim,
    Print,
    Raise,
    Shuffle,
    Stmt,
    Store,
    Type,
    Var,
    View,
    While,
)
from numbaflux.passes.activity import Activity
from numbaflux.rules.table import Sym, contribution, has_partial
from numbaflux.transforms import calls, custom
from numbaflux.transforms.kernels.rules import refuse_atomic
from numbaflux.transforms.memory import inactive_shadow, new_array, shadow_type, shadow_var


@stage
def jvp(fn: Function, wrt: Iterable[Var]) -> Function:
    """The function that also carries tangents with respect to the parameters `wrt`."""
    wrt = tuple(wrt)
    of = [a for a in fn.results if a.type.is_float]
    transform = Jvp(Activity(fn, wrt, of))
    tangents = tuple(shadow_var(p) for p in wrt)
    transform.tangents.update(zip(wrt, tangents))
    block = transform.root(fn, of)
    return replace(
        fn,
        name=f"jvp_{fn.name}",
        block=replace(block, params=(*fn.params, *tangents)),
    )


class Jvp:
    """One walk down a program; what a tangent is made of is for the last three methods to say."""

    def __init__(self, active: Activity) -> None:
        self.active = active
        self.tangents: dict[Atom, Atom] = {}
        self.b = Builder()

    def root(self, fn: Function, of: list[Atom]) -> Block:
        for a in inactive_shadow(fn, self.active, self.tangents):
            self.tangents[a] = self.zeros(a)
        self.stmts(fn.block)
        out = [self.tangent_or_zero(a) for a in of]
        return self.b.block(fn.params, (*fn.results, *out))

    def stmts(self, block: Block) -> None:
        for stmt in block.stmts:
            self.b.loc = stmt.loc
            self.stmt(stmt)

    def stmt(self, stmt: Stmt) -> None:
        match stmt:
            case Prim():
                self.b.append(stmt)
                self.prim(stmt)
            case Alloc(result=r):
                self.b.append(stmt)
                if r in self.active:
                    self.tangents[r] = d = self.shadow(r)
                    self.b.append(replace(stmt, result=d))
            case Load(result=r, array=array, index=index):
                self.b.append(stmt)
                if r in self.active:
                    self.tangents[r] = d = self.shadow(r)
                    self.b.append(Load(d, self.tangents[array], index, stmt.loc))
            case Store(array=array, index=index, value=v):
                self.b.append(stmt)
                if array in self.active:
                    self.b.store(self.tangents[array], index, self.tangent_or_zero(v))
            case Accumulate(array=array, index=index, value=v):
                self.b.append(stmt)
                if v in self.tangents and array in self.active:
                    d = replace(stmt, array=self.tangents[array], value=self.tangents[v])
                    self.b.append(d)
            case View(result=r, base=base, how=how):
                self.b.append(stmt)
                if r in self.active:
                    self.tangents[r] = d = self.shadow(r)
                    self.b.append(View(d, self.tangents[base], how, stmt.loc))
            case Gemm(out=out, a=a, b=b):
                self.b.append(stmt)
                if out in self.active:
                    self.gemm(out, a, b)
            case Custom():
                self.b.append(stmt)
                self.tangents.update(custom.tangents(self.b, stmt, self.active, self.tangents))
            case Call():
                found = calls.tangents(self.b, stmt, self.active, self.tangents, jvp)
                self.tangents.update(found)
            case Atomic():
                self.b.append(stmt)
                if stmt.array in self.active and not stmt.settled:
                    refuse_atomic(stmt)
            case Shuffle(result=r, value=v):
                self.b.append(stmt)
                if r in self.active:
                    self.tangents[r] = d = self.shadow(r)
                    self.b.append(replace(stmt, result=d, value=self.tangent_or_zero(v)))
            case Dim() | Extern() | Barrier() | Raise() | Print():
                self.b.append(stmt)
            case If():
                self.if_(stmt)
            case For():
                self.for_(stmt)
            case While():
                self.while_(stmt)
            case _:
                assert_never(stmt)

    def prim(self, stmt: Prim) -> None:
        if stmt.result not in self.active:
            return
        args = [Sym(self.b, a) for a in stmt.args]
        result = Sym(self.b, stmt.result)
        total: Atom | None = None
        for i, a in enumerate(stmt.args):
            if a in self.tangents and has_partial(stmt.op, i):
                d = self.b.cast(self.tangents[a], self.tangent_type(stmt.result.type))
                part = contribution(self.b, stmt.op, i, d, args, result)
                total = part if total is None else self.b.add(total, part)
        if total is not None:
            self.tangents[stmt.result] = total

    def gemm(self, out: Atom, a: Atom, b: Atom) -> None:
        if a in self.active:
            self.b.gemm(self.tangents[out], self.tangents[a], b)
        if b in self.active:
            self.b.gemm(self.tangents[out], a, self.tangents[b])

    # ---- regions: tangents are carried and yielded beside their primals ------------------------

    def arm(self, block: Block, results: tuple[Var, ...]) -> Block:
        outer, self.b = self.b, Builder(self.b.loc)
        self.stmts(block)
        ds = [self.tangent_or_zero(y) for y, r in zip(block.yields, results) if r in self.active]
        inner, self.b = self.b, outer
        return inner.block((), (*block.yields, *ds))

    def if_(self, stmt: If) -> None:
        then, orelse = self.arm(stmt.then, stmt.results), self.arm(stmt.orelse, stmt.results)
        ds = self.twins(r for r in stmt.results if r in self.active)
        self.b.append(If((*stmt.results, *ds), stmt.cond, then, orelse, stmt.loc))

    def body(self, block: Block, carried: list[Var], next_: list[Atom]) -> Block:
        """A loop's body with the tangents of its active carried values."""
        ds = self.twins(carried)
        outer, self.b = self.b, Builder(self.b.loc)
        self.stmts(block)
        out = [self.tangent_or_zero(y) for y in next_]
        inner, self.b = self.b, outer
        return inner.block((*block.params, *ds), (*block.yields, *out))

    def loop(self, stmt: For | While, carried: tuple[Var, ...], next_: tuple[Atom, ...]):
        """(results, inits, body) with the tangents of what is active among the carried."""
        active = [
            (r, i, p, y)
            for r, i, p, y in zip(stmt.results, stmt.inits, carried, next_)
            if r in self.active or p in self.active
        ]
        inits = tuple(self.tangent_or_zero(i) for _, i, _, _ in active)
        body = self.body(stmt.body, [p for _, _, p, _ in active], [y for *_, y in active])
        ds = self.twins(r for r, *_ in active)
        return (*stmt.results, *ds), (*stmt.inits, *inits), body

    def for_(self, stmt: For) -> None:
        results, inits, body = self.loop(stmt, stmt.body.params[1:], stmt.body.yields)
        self.b.append(replace(stmt, results=results, inits=inits, body=body))

    def while_(self, stmt: While) -> None:
        results, inits, body = self.loop(stmt, stmt.body.params, stmt.body.yields[1:])
        self.b.append(While(results, inits, body, stmt.loc))

    def twins(self, variables: Iterable[Var]) -> tuple[Var, ...]:
        """Fresh tangents of variables."""
        found = []
        for v in variables:
            self.tangents[v] = d = self.shadow(v)
            found.append(d)
        return tuple(found)

    def tangent_or_zero(self, a: Atom) -> Atom:
        if a in self.tangents:
            return self.tangents[a]
        if isinstance(a.type, Array):
            return self.zeros(a)
        return zero_of(self.tangent_type(a.type))

    # ---- what tangents are made of -------------------------------------------------------------

    def tangent_type(self, type: Type) -> Type:
        return shadow_type(type)

    def shadow(self, v: Var) -> Var:
        return Var(f"d_{v.name}", self.tangent_type(v.type))

    def zeros(self, a: Atom) -> Var:
        """A new zeroed array beside `a`."""
        name = f"d_{getattr(a, 'name', 'array')}"
        shape = [self.b.dim(a, axis) for axis in range(array_of(a).ndim)]
        return new_array(self.b, shape, self.tangent_type(a.type), name)
