"""Reverse mode: the primal forward, then its statements backward, moving cotangents.

    f_vjp(params, shadows of the arrays in wrt, cotangents of the float results)
        -> results, cotangents of the scalars in wrt

A shadow holds on entry the cotangent of its array's final contents and on exit that of the initial
ones; the cotangent of an array that is a result is added to its shadow first.  An absent adjoint
is zero: the first contribution creates it, and what nothing contributes to is not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from numbaflux.debug import after, stage
from numbaflux.ir.build import Builder, array_of, index, zero_of
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
    Scalar,
    Shuffle,
    Stmt,
    Store,
    Var,
    View,
    While,
)
from numbaflux.ir.walk import defs, substitute, walk
from numbaflux.passes.accumulate import accumulate
from numbaflux.passes.activity import Activity
from numbaflux.passes.counters import counters, key_of
from numbaflux.passes.loops.anew import anew
from numbaflux.passes.loops.induction import induction
from numbaflux.passes.loops.outward import outward
from numbaflux.passes.loops.registers import registers
from numbaflux.passes.loops.sink import sink
from numbaflux.passes.loops.twins import twins
from numbaflux.passes.loops.unroll import unroll
from numbaflux.passes.simplify import simplify
from numbaflux.rules.table import Sym, contribution, has_partial
from numbaflux.transforms import at_once, calls, checkpoint, custom, rewind
from numbaflux.transforms.beside import accompany
from numbaflux.transforms.kernels import replay
from numbaflux.transforms.kernels.rules import reverse_extremum, reverse_shuffle
from numbaflux.transforms.memory import (
    add_array,
    clear_array,
    duplicate,
    keep_factors,
    refuse_other_shape,
    shadow_type,
    shadow_var,
)
from numbaflux.transforms.regions import reverse_for, reverse_if, reverse_while
from numbaflux.transforms.snapshots import with_snapshots, worthwhile
from numbaflux.transforms.values import Values


@dataclass(frozen=True, slots=True)
class Sweeps:
    """A function taken apart for reverse mode: the forward sweep and the reverse sweep.

    `forward` computes `results` and everything the reverse sweep needs, which may run after it, any
    number of times if it was made `repeated`: `reverse` reads `seeds` (the cotangents of `of`, in
    order), adds into `shadows`, and leaves the cotangents of the scalars in wrt in `cotangents`.
    """

    params: tuple[Var, ...]
    wrt: tuple[Var, ...]
    forward: tuple[Stmt, ...]
    results: tuple[Atom, ...]
    shadows: tuple[Var, ...]
    seeds: tuple[Var, ...]
    reverse: tuple[Stmt, ...]
    cotangents: tuple[Atom, ...]
    lost: frozenset[Var] = frozenset()  # loads in `forward` of what it overwrites afterwards
    again: frozenset[Var] = frozenset()  # counters of loops whose trips `reverse` runs again


@stage
def vjp(fn: Function, wrt: Iterable[Var], of: Iterable[int] | None = None) -> Function:
    """The function that runs `fn` and pulls cotangents back to its parameters `wrt`.

    `of`: which results have a cotangent; by default all that are floating point.
    """
    s = sweeps(fn, wrt, of, seeded=True)
    block = Block(
        (*s.params, *s.shadows, *s.seeds),
        (*s.forward, *s.reverse),
        (*s.results, *s.cotangents),
    )
    return replace(fn, name=f"vjp_{fn.name}", block=block, apart=_apart(fn, s))


def _apart(fn: Function, s: Sweeps) -> tuple[frozenset[Var], ...]:
    """Shadows share memory with nothing but shadows, and only as their primals do."""
    primals = (p for p in s.wrt if isinstance(p.type, Array))
    shadow = dict(zip(primals, s.shadows, strict=True))
    mirrored = (frozenset(shadow[p] for p in group if p in shadow) for group in fn.apart)
    return (*fn.apart, *mirrored, frozenset(s.shadows))


def sweeps(
    fn: Function,
    wrt: Iterable[Var],
    of: Iterable[int] | None = None,
    repeated: bool = False,
    seeded: bool = False,
) -> Sweeps:
    """The two sweeps of `fn` apart.

    `repeated`: for a reverse sweep that runs several times.  `seeded`: the forward sweep may read
    the seeds and add into the shadows already. note [At once]
    """
    wrt = tuple(wrt)
    fn = simplify(fn) if fn.kernel else _written_out(simplify(fn))
    fn = twins(accumulate(simplify(induction(fn))))
    fn = fn if fn.kernel else anew(sink(outward(fn)))
    which = range(len(fn.results)) if of is None else of
    outputs = [fn.results[i] for i in which if fn.results[i].type.is_float]
    marked = checkpoint.prepare(fn, wrt, outputs, repeated)
    fn = marked.fn
    shadows = {p: shadow_var(p) for p in wrt if isinstance(p.type, Array)}
    seeds = tuple(_seed(a) for a in outputs)
    ends = tuple(zip(outputs, seeds))
    known = tuple(end for end in ends if seeded and not isinstance(end[0].type, Array))
    ready = _prepared(marked, Activity(fn, wrt, outputs), shadows, known, repeated)

    def reversing(twinned: Function, snapshots: Mapping[Var, Var]) -> Reverse:
        counted = counters(twinned)
        after("counters", counted.fn)
        reverse = Reverse(ready.active, ready.shadows, ready.given, Values(counted, snapshots))
        reverse.run(ends)
        return reverse

    reverse = reversing(ready.fn, {})
    snapshots = {} if fn.kernel else worthwhile(ready.fn, reverse.values.cut())
    if snapshots:
        reverse = reversing(*with_snapshots(ready.fn, snapshots))
    values = reverse.values
    values.decide()
    b = reverse.run(ends)
    scalars = tuple(reverse.adjoint(p) for p in wrt if p not in shadows)
    forward = Block((), tuple(values.forward()), fn.results)
    forward, known = custom.expanded(forward, ready.given.outputs)
    backward = substitute(b.block((), scalars), known)
    return Sweeps(
        fn.params,
        wrt,
        forward.stmts,
        forward.yields,
        tuple(shadows.values()),
        seeds,
        backward.stmts,
        backward.yields,
        _lost(values),
        frozenset(reverse.again),
    )


def _written_out(fn: Function) -> Function:
    """The function with short loops unrolled, and small arrays taken apart."""
    written = unroll(fn)
    written = registers(written if written is fn else simplify(written))
    return fn if written is fn else simplify(written)


def _lost(values: Values) -> frozenset[Var]:
    loads = (s for s in walk(values.fn.block) if isinstance(s, Load))
    return frozenset(s.result for s in loads if not values.places.intact(s, s.array))


def _seed(a: Atom) -> Var:
    name = a.name if isinstance(a, Var) else "result"
    return Var(f"ct_{name}" if name != "t" else "ct", shadow_type(a.type))


@dataclass(frozen=True, slots=True)
class Given:
    """What was prepared in the forward sweep, by statement.

    `companions` of primitives by their results, `factors` of matrix products, `outputs` of calls
    with a rule of the user's, `arguments` of calls, `checkpointed` loops by their counter, what is
    `pulled` back already by the first result of the statement that does it; `strangers`: shadows of
    what is not differentiated; `repeated`: the reverse sweep runs several times and must leave all
    that it reads, and the function's own shadows, as they were.
    """

    companions: Mapping[Var, Atom]
    factors: Mapping[Gemm, tuple[Atom, Atom]]
    outputs: Mapping[Custom, int]
    arguments: Mapping[Call, tuple[Atom, ...]]
    checkpointed: Mapping[Var, checkpoint.Checkpointed]
    pulled: Mapping[Var, at_once.Pulled]
    strangers: tuple[Atom, ...]
    repeated: bool


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A program with shadows beside its arrays (`shadows`), and what was prepared in it."""

    fn: Function
    active: Activity
    shadows: Mapping[Atom, Atom]
    given: Given


def _prepared(
    marked: checkpoint.Prepared,
    active: Activity,
    shadows: dict[Var, Var],
    known: tuple[tuple[Atom, Var], ...],
    repeated: bool,
) -> _Prepared:
    """The forward sweep but for the caches; `known`: outputs whose cotangents it may read."""
    fn = marked.fn
    opened = custom.opened(fn, active)
    factors = keep_factors(opened.fn, active)
    plan = at_once.choose(factors.fn, active, known, marked.loops)
    kept = calls.keep_arguments(factors.fn, active, plan.of)
    twins = duplicate(kept.fn, active, shadows)
    rewritten = at_once.rewrite(twins.fn, plan, active, twins.shadows, vjp)
    params = (*fn.params, *shadows.values(), *(ct for _, ct in known))
    apart = (*fn.apart, frozenset(shadows.values()))
    twinned = replace(fn, block=replace(rewritten.fn.block, params=params), apart=apart)
    after("duplicate", twinned)
    accompanied = accompany(twinned, active)
    given = Given(
        accompanied.of,
        factors.factors,
        opened.outputs,
        kept.args,
        marked.loops,
        rewritten.pulled,
        twins.strangers,
        repeated,
    )
    return _Prepared(accompanied.fn, active, twins.shadows, given)


class Reverse:
    """The reverse sweep while it is written. One method a kind of statement, regions.py the rest.

    `adjoints`: what has been contributed so far to each active scalar, as atoms of `b`; `again`:
    by its counter, the vjp of a trip of each loop whose trips are run again.
    """

    def __init__(
        self,
        active: Activity,
        shadows: Mapping[Atom, Atom],
        given: Given,
        values: Values,
    ) -> None:
        self.active, self.shadows, self.given, self.values = active, shadows, given, values
        self.adjoints: dict[Var, Atom] = {}
        self.again: dict[Var, Function] = {}
        self.b = Builder()

    def run(self, seeds: Iterable[tuple[Atom, Var]]) -> Builder:
        """The whole sweep, from the cotangents of the results."""
        self.adjoints, self.b = {}, Builder()
        root = self.values.places.root
        with self.values.mirror(root, self.b):
            for a, ct in seeds:
                if a not in self.active:
                    continue
                if isinstance(a.type, Array):
                    refuse_other_shape(self.b, ct, self.shadow(a), "a cotangent")
                    add_array(self.b, self.shadow(a), ct)
                else:
                    self.contribute(a, ct)
            self.block(root)
            for shadow in self.given.strangers if self.given.repeated else ():
                clear_array(self.b, shadow)
        return self.b

    def block(self, block: Block) -> None:
        for stmt in reversed(block.stmts):
            self.b.loc = stmt.loc
            pulled = next((r for r in defs(stmt) if r in self.given.pulled), None)
            if pulled is None:
                self.stmt(stmt)
            else:
                at_once.reverse(self, self.given.pulled[pulled])

    def stmt(self, stmt: Stmt) -> None:
        match stmt:
            case Prim():
                self.prim(stmt)
            case Load(result=r, array=array, index=i):
                d = self.adjoints.pop(r, None)
                if d is not None:
                    place, atomic = self.need(*i), self.meets(array)
                    self.b.append(Accumulate(self.shadow(array), place, d, stmt.loc, atomic))
            case Store(array=array, index=i, value=v):
                if array in self.active and not isinstance(v.type, Array):
                    shadow, place = self.shadow(array), self.need(*i)
                    self.extend(shadow, place)
                    d = self.b.load(shadow, place, f"d_{_name(v)}")
                    self.b.store(shadow, place, zero_of(d.type))
                    self.contribute(v, d)
            case Accumulate(array=array, index=i, value=v):
                if array in self.active and v in self.active:
                    shadow, place = self.shadow(array), self.need(*i)
                    self.extend(shadow, place)
                    self.contribute(v, self.b.load(shadow, place, f"d_{_name(v)}"))
            case Gemm(out=out):
                if out in self.active:
                    self.gemm(stmt, self.shadow(out))
            case Custom():
                if stmt in self.given.outputs:
                    custom.reverse(self, stmt, self.given.outputs[stmt])
            case Call():
                if stmt in self.given.arguments:
                    calls.reverse(self, stmt, self.given.arguments[stmt], vjp)
            case If():
                reverse_if(self, stmt)
            case For() if key_of(stmt) in self.given.checkpointed:
                rewind.reverse(self, self.given.checkpointed[key_of(stmt)], vjp)
            case For() if replay.replayed(self, stmt):
                replay.reverse(self, stmt, vjp)
            case For():
                reverse_for(self, stmt)
            case While():
                reverse_while(self, stmt)
            case Alloc(result=r):
                numbers = isinstance(array_of(r).element, Scalar)
                if self.given.repeated and r in self.shadows and numbers:
                    clear_array(self.b, self.shadow(r))
            case Barrier():
                self.b.append(stmt)
            case Atomic():
                if stmt.array in self.active and not stmt.settled:
                    reverse_extremum(self, stmt)
            case Shuffle(result=r, value=v):
                d = self.adjoints.pop(r, None)
                if d is not None:
                    lane = self.values.need(stmt.lane)
                    self.contribute(v, reverse_shuffle(self.b, stmt, lane, d))
            case View() | Dim() | Extern() | Raise() | Print():
                pass
            case _:
                assert_never(stmt)

    def prim(self, stmt: Prim) -> None:
        d = self.adjoints.pop(stmt.result, None)
        if d is None:
            return
        need = self.values.need
        args = [Sym(self.b, lambda a=a: need(a)) for a in stmt.args]
        result = Sym(self.b, lambda: need(stmt.result))
        known = self.given.companions.get(stmt.result)
        beside = None if known is None else Sym(self.b, lambda: need(known))
        for i, a in enumerate(stmt.args):
            if a in self.active and has_partial(stmt.op, i):
                self.contribute(a, contribution(self.b, stmt.op, i, d, args, result, beside))

    def gemm(self, stmt: Gemm, d_out: Atom) -> None:
        a, b = self.given.factors[stmt]
        if stmt.a in self.active:
            self.b.gemm(self.shadow(stmt.a), d_out, self.b.transposed(self.values.need(b)))
        if stmt.b in self.active:
            self.b.gemm(self.shadow(stmt.b), self.b.transposed(self.values.need(a)), d_out)

    # ---- adjoints and shadows ------------------------------------------------------------------

    def need(self, *atoms: Atom) -> tuple[Atom, ...]:
        return tuple(self.values.need(a) for a in atoms)

    def contribute(self, a: Atom, d: Atom) -> None:
        """d_a += d, for a scalar; nothing if it is not active."""
        if isinstance(a, Var) and a in self.active:
            d = self.b.cast(d, a.type)
            before = self.adjoints.get(a)
            name = f"d_{_name(a)}"
            self.adjoints[a] = d if before is None else self.b.add(before, d, name)

    def adjoint(self, a: Atom) -> Atom:
        """The adjoint of a scalar so far."""
        found = self.adjoints.get(a) if isinstance(a, Var) else None
        return found or zero_of(a.type)

    def meets(self, array: Atom) -> bool:
        """Whether other threads may add to an element of the array's shadow at the same time."""
        if not self.values.fn.kernel:
            return False
        sites = self.values.places.alias.of(array)
        made = (self.values.places.definition.get(s) for s in sites if isinstance(s, Var))
        return not all(isinstance(m, Alloc) and m.space in ("", "local") for m in made)

    def extend(self, shadow: Atom, place: tuple[Atom, ...]) -> None:
        """Let a shadow that grows have an element that nothing has been added to yet."""
        if array_of(shadow).grows:
            self.b.accumulate(shadow, place, zero_of(array_of(shadow).element))

    def shadow(self, a: Atom) -> Atom:
        """The shadow of an array at the trip being reversed. note [Private] in memory.py"""
        if a in self.shadows:
            return self.values.need(self.shadows[a])
        assert isinstance(a, Var)
        scope = self.values.scopes[self.values.places.home[a]]
        if a not in scope.shadows:
            scope.shadows[a] = self._private_shadow(a, scope.b)
        return scope.shadows[a]

    def _private_shadow(self, a: Var, b: Builder) -> Var:
        stmt = self.values.places.definition[a]
        match stmt:
            case Alloc(result=r, space=space) if space:
                d = shadow_var(r)
                b.append(replace(stmt, result=d, shape=self.need(*stmt.shape), zero=True))
                return d
            case Alloc(result=r, shape=shape):
                type = shadow_type(r.type)
                if array_of(r).grows and self.values.places.home[r] is not self.values.places.root:
                    return b.alloc([index(0)], type, name=f"d_{a.name}")
                if array_of(r).grows:  # it has its full length by now
                    return b.alloc([b.dim(r, 0)], replace(type, grows=False), name=f"d_{a.name}")
                return b.alloc(self.need(*shape), type, name=f"d_{a.name}")
            case View(result=r, base=base, how=how):
                like = View(r, base, how)
                how = self.values.mapped(like).how
                return b.view(self.shadow(base), how, shadow_type(r.type), f"d_{a.name}")
            case _:
                raise AssertionError(stmt)


def _name(a: Atom) -> str:
    return a.name if isinstance(a, Var) else "t"
