"""Forward mode with several tangents at once: a run of the primal, K columns of the Jacobian.

The same walk as `jvp`, but every tangent is a value of K lanes: the primal and its partials are
computed once, and what is left of a column is a multiplication and an addition a lane, which the
machine does for eight lanes in one instruction.  An array of tangents keeps the lanes together,
as a last axis.

note [Seeds]  The tangent of the i-th element of an argument is a one in a lane that follows from i,
so for an argument that is only read there is nothing to keep in memory.

note [Sums]  The tangent of an intermediate value that is asked for only once is not computed: it is
known as a sum of other tangents times factors, and whoever asks multiplies the factors, which are
plain numbers, by its own.  Not through a guarded partial, which looks whether a tangent is zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, const
from numbaflux.ir.nodes import (
    I64,
    Array,
    Atom,
    Block,
    Call,
    Const,
    Custom,
    Dim,
    Extern,
    For,
    Function,
    Load,
    Prim,
    Print,
    Scalar,
    Stmt,
    Type,
    Var,
)
from numbaflux.ir.walk import regions, uses, walk
from numbaflux.passes.activity import Activity
from numbaflux.rules.table import RULES, Sym, has_partial, partial_of
from numbaflux.transforms.calls import is_active
from numbaflux.transforms.jvp import Jvp

Sum = dict[Atom, Atom]  # tangents, and the factor of each
LONGEST = 2  # terms of a sum that is passed on: what it saves is one multiplication of lanes
CHOICES = {"min", "max", "minimum", "maximum", "fmin", "fmax", "select"}  # their partial is a truth
LINEAR = {op for op, rule in RULES.items() if not rule.guard} - CHOICES - {"cast"}


def widened(type: Type, lanes: int) -> Type:
    """The type of a tangent of `lanes` lanes."""
    match type:
        case Array(element):
            return replace(type, readonly=False, element=widened(element, lanes))
        case Scalar(dtype) if type.is_float:
            return Scalar(dtype, lanes)
        case _:
            return type


def can_widen(fn: Function, wrt: Iterable[Var]) -> bool:
    """Whether all that is active is written out: a rule of the user's has no lanes."""
    active = Activity(fn, tuple(wrt), [a for a in fn.results if a.type.is_float])
    return not any(
        is_active(s, active) if isinstance(s, Call) else any(r in active for r in s.results)
        for s in walk(fn.block)
        if isinstance(s, Call | Custom)
    )


def only_read(fn: Function) -> frozenset[Var]:
    """The array parameters that are used for their elements and lengths, under no other name."""
    others: set[Atom] = set(fn.results)
    for stmt in walk(fn.block):
        others.update(a for region in regions(stmt) for a in region.yields)
        match stmt:
            case Load() | Dim():
                others.update(uses(stmt)[1:])
            case Extern() | Print():
                pass
            case _:
                others.update(uses(stmt))
    return frozenset(p for p in fn.params if isinstance(p.type, Array) and p not in others)


def _passing(fn: Function, active: Activity) -> frozenset[Var]:
    """The values whose tangent is asked for once, in their own block, by a LINEAR primitive."""
    asked: Counter[Atom] = Counter()
    here: set[Atom] = set()

    def visit(block: Block) -> None:
        made: set[Atom] = set()
        for stmt in block.stmts:
            for region in regions(stmt):
                visit(region)
            if not isinstance(stmt, Prim):
                asked.update(2 * uses(stmt))
            elif stmt.result in active:
                asked.update(set(stmt.args))
                asked.update(() if stmt.op in LINEAR else stmt.args)
                here.update(a for a in stmt.args if a in made)
                made.add(stmt.result)
        asked.update(2 * block.yields)

    visit(fn.block)
    return frozenset(a for a in here if isinstance(a, Var) and asked[a] == 1)


def times(b: Builder, a: Atom, factor: Atom) -> Atom:
    """a * factor, where either may be 1 and the factor -1."""
    if isinstance(factor, Const) and factor.value in (1, -1):
        return a if factor.value == 1 else b.neg(a)
    if isinstance(a, Const) and a.value in (1, -1):
        return times(b, factor, a)
    return b.mul(a, factor)


@stage
def jvp_lanes(fn: Function, wrt: Iterable[Var], lanes: int) -> Function:
    """(params, tangents of `wrt`) -> results, tangents of the float results, each of many lanes.

    The tangent of an array that is only read is not an array but an integer: which lane its first
    element has, the others following it. note [Seeds]
    """
    wrt = tuple(wrt)
    of = [a for a in fn.results if a.type.is_float]
    transform = _Wide(fn, Activity(fn, wrt, of), lanes)
    seeds = {p: Var(f"{p.name}_lane", I64) for p in wrt if p in only_read(fn)}
    for p, lane in seeds.items():
        transform.seeds[p] = lane
    tangents = tuple(seeds.get(p) or transform.shadow(p) for p in wrt)
    transform.tangents.update(zip(wrt, tangents))
    block = transform.root(fn, of)
    return replace(fn, name=f"jvp_{fn.name}", block=replace(block, params=(*fn.params, *tangents)))


class _Wide(Jvp):
    def __init__(self, fn: Function, active: Activity, lanes: int) -> None:
        super().__init__(active)
        self.lanes = lanes
        self.passing = _passing(fn, active)
        self.sums: dict[Atom, Sum] = {}  # of the values in `passing`
        self.seeds: dict[Atom, Var] = {}  # arrays that are only read: the lane of the first element
        self.natural: set[Atom] = set()  # integers that are not negative

    def tangent_type(self, type: Type) -> Type:
        return widened(type, self.lanes)

    def stmt(self, stmt: Stmt) -> None:
        match stmt:
            case Load(result=r, array=array, index=at) if array in self.seeds:
                self.b.append(stmt)
                if r in self.active:
                    lane = self.b.add(self.seeds[array], self.place(array, at))
                    self.tangents[r] = seed(self.b, lane, r, self.lanes)
            case Dim(result=r):
                self.natural.add(r)
                super().stmt(stmt)
            case Prim(result=r, op="add" | "mul", args=args):
                if all(a in self.natural or _is_natural(a) for a in args):
                    self.natural.add(r)
                super().stmt(stmt)
            case _:
                super().stmt(stmt)

    def prim(self, stmt: Prim) -> None:
        """note [Sums]"""
        if stmt.op not in LINEAR or stmt.result not in self.active:
            super().prim(stmt)
            return
        b, type, total = self.b, stmt.result.type, Sum()
        args, result = [Sym(b, a) for a in stmt.args], Sym(b, stmt.result)
        for i, a in enumerate(stmt.args):
            known = self.sums.get(a) or (
                {self.tangents[a]: const(1, type)} if a in self.tangents else Sum()
            )
            if known and has_partial(stmt.op, i):
                partial = partial_of(stmt.op, i, args, result, type)
                for d, factor in known.items():
                    product = times(b, factor, partial)
                    total[d] = b.add(total[d], product) if d in total else product
        if not total:
            return
        if stmt.result in self.passing and len(total) <= LONGEST:
            self.sums[stmt.result] = total
        else:
            self.tangents[stmt.result] = self.written(total)

    def written(self, total: Sum) -> Atom:
        """The value of a sum."""
        b, found = self.b, None
        for d, factor in total.items():
            part = times(b, d, factor)
            found = part if found is None else b.add(found, part)
        assert found is not None
        return found

    def place(self, array: Atom, index: tuple[Atom, ...]) -> Atom:
        """An index as one number, counted along the last axis first."""
        b, found = self.b, None
        for axis, i in enumerate(index):
            n, at = b.dim(array, axis), b.cast(i, I64)
            if i not in self.natural and not _is_natural(i):
                at = b.select(b.prim("lt", at, const(0, I64)), b.add(at, n), at)
            found = at if found is None else b.add(b.mul(found, n), at)
        return const(0, I64) if found is None else found

    def for_(self, stmt: For) -> None:
        """Numba cannot sum lanes over threads: a loop that carries tangents is serial."""
        self.natural.add(stmt.body.params[0])
        carried = any(p in self.active for p in stmt.body.params[1:])
        super().for_(replace(stmt, parallel=stmt.parallel and not carried))


def seed(b: Builder, lane: Atom, of: Var, lanes: int) -> Atom:
    """A one in a lane, as the tangent of `of`."""
    one = b.prim("unit", lane, type=Scalar("float64", lanes), name=f"d_{of.name}")
    return b.cast(one, widened(of.type, lanes))


def _is_natural(a: Atom) -> bool:
    return isinstance(a, Const) and isinstance(a.value, int) and a.value >= 0
