"""Calls that are run and reversed at once, and the loops around them.

note [At once]  Where the results of a call only go into sums, scaled by what is known before it,
their cotangents are known before it too.  One run of the function then computes the results and
pulls the cotangents back, and nothing is kept.  If all that a loop does is to add up such calls,
each of its iterations is reversed right after it has run.

    for k in range(n):                              for k in range(n):
        total = total + w[k] * f(x[k])        →         r, d = pullback_f(x[k], d_total * w[k])
                                                        d_x[k] += d;  d_w[k] += d_total * r
                                                        total = total + w[k] * r

The shadows that this adds into are those of arrays that nobody writes: they only add up, in any
order.  `choose` says where it is possible, `rewrite` does it in the forward sweep, and in the
reverse sweep `reverse` hands on what has been pulled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from numbaflux.ir.build import Builder, zero_of
from numbaflux.ir.nodes import (
    Accumulate,
    Array,
    Atom,
    Block,
    Call,
    Custom,
    Dim,
    For,
    Function,
    Gemm,
    If,
    Load,
    Prim,
    Stmt,
    Store,
    Type,
    Var,
    While,
)
from numbaflux.ir.ops import EXPENSIVE
from numbaflux.ir.walk import (
    clone,
    defs,
    free,
    map_regions,
    regions,
    substitute,
    uses,
    walk,
    within,
)
from numbaflux.passes.activity import Activity
from numbaflux.passes.alias import written_arrays
from numbaflux.passes.counters import key_of
from numbaflux.passes.dead import is_effect
from numbaflux.rules.table import Sym, contribution, has_partial
from numbaflux.transforms import calls
from numbaflux.transforms.memory import shadow_var

if TYPE_CHECKING:
    from numbaflux.transforms.vjp import Reverse

# The arguments in which a primitive is linear, and which others its partial there is made of.
LINEAR: Mapping[tuple[str, int], tuple[int, ...]] = {
    ("add", 0): (), ("add", 1): (), ("sub", 0): (), ("sub", 1): (), ("neg", 0): (), ("cast", 0): (),
    ("mul", 0): (1,), ("mul", 1): (0,), ("gmul", 0): (1,), ("gmul", 1): (0,), ("div", 0): (1,),
    ("select", 1): (0,), ("select", 2): (0,),
}  # fmt: skip
MOST = 4  # terms of a cotangent that is written out

Step = tuple[Prim, int]  # back from a primitive to one of its arguments
Term = tuple[Var, tuple[Step, ...]]  # the cotangent of an output, and the way from there
Terms = tuple[Term, ...]  # their sum; None: not known


@dataclass(frozen=True, slots=True)
class Choice:
    """A call or a loop that is reversed at once.

    `terms`: the cotangents of its float results, or of its active ones by their place if it is a
    loop; `late`: what they are made of that the function only computes later.
    """

    stmt: Call | For
    terms: Mapping[int, Terms]
    late: Mapping[Var, Stmt]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is reversed at once, by the first result."""

    choices: Mapping[Var, Choice]

    def of(self, stmt: Stmt) -> Choice | None:
        found = defs(stmt) if isinstance(stmt, Call | For) else ()
        return self.choices.get(found[0]) if found else None


# ---- where it is possible ----------------------------------------------------------------------


def choose(
    fn: Function, active: Activity, seeds: Iterable[tuple[Atom, Var]], kept: Iterable[Var]
) -> Plan:
    """What of `fn` can be reversed at once, `seeds` being the cotangents of its scalar outputs.

    `kept`: the counters of loops that are reversed in another way.
    """
    if not any(isinstance(s, Call) and calls.is_active(s, active) for s in walk(fn.block)):
        return Plan({})
    known = _Cotangents(fn, active)
    adjoints: dict[Var, Terms | None] = {}
    for a, ct in seeds:
        known.contribute(adjoints, a, ((ct, ()),))
    known.block(fn.block, adjoints)
    chooser = _Chooser(fn, known, set(kept))
    return Plan(chooser.block(fn.block, set(fn.params) | {ct for _, ct in seeds}))


class _Cotangents:
    """The cotangents of the results of calls and loops, as far as they are sums of products.

    `found`: for each call or loop those of its active results, by their place.
    """

    def __init__(self, fn: Function, active: Activity) -> None:
        self.active = active
        self.found: dict[Stmt, dict[int, Terms | None]] = {}

    def contribute(self, to: dict[Var, Terms | None], a: Atom, terms: Terms | None) -> None:
        if isinstance(a, Var) and a in self.active and terms != ():
            before = to.get(a, ())
            both = None if before is None or terms is None else (*before, *terms)
            to[a] = None if both is None or len(both) > MOST else both

    def block(self, block: Block, to: dict[Var, Terms | None]) -> None:
        """Go back through a block; at the end `to` has what is left for variables outside."""
        for stmt in reversed(block.stmts):
            match stmt:
                case Prim():
                    self.prim(stmt, to)
                case If():
                    self.if_(stmt, to)
                case For() | While():
                    self.loop(stmt, to)
                case Call(results=results, args=args):
                    terms = [to.pop(r, ()) for r in results]
                    self.found[stmt] = dict(enumerate(terms))
                    self.unknown(to, args if calls.is_active(stmt, self.active) else ())
                case Store(array=array, value=v) | Accumulate(array=array, value=v):
                    self.unknown(to, (v,) if array in self.active else ())
                case Custom(args=args):
                    self.unknown(to, args)
                case _:
                    pass

    def unknown(self, to: dict[Var, Terms | None], atoms: Iterable[Atom]) -> None:
        for a in atoms:
            if not isinstance(a.type, Array):
                self.contribute(to, a, None)

    def prim(self, stmt: Prim, to: dict[Var, Terms | None]) -> None:
        terms = to.pop(stmt.result, ())
        for i, a in enumerate(stmt.args):
            if has_partial(stmt.op, i):
                self.contribute(to, a, _stepped(terms, (stmt, i)))

    def if_(self, stmt: If, to: dict[Var, Terms | None]) -> None:
        terms = [to.pop(r, ()) for r in stmt.results]
        arms: list[dict[Var, Terms | None]] = [{}, {}]
        for arm, out in zip((stmt.then, stmt.orelse), arms):
            for y, t in zip(arm.yields, terms):
                self.contribute(out, y, t)
            self.block(arm, out)
        then, orelse = arms
        for v in (*then, *(v for v in orelse if v not in then)):
            same = then.get(v, ()) == orelse.get(v, ())
            self.contribute(to, v, then.get(v, ()) if same else None)

    def loop(self, stmt: For | While, to: dict[Var, Terms | None]) -> None:
        """A carried value that only adds up has the same cotangent in every iteration."""
        carried, nexts = _carried(stmt)
        scalars = [i for i, p in enumerate(carried) if not isinstance(p.type, Array)]
        terms = {i: to.pop(stmt.results[i], ()) for i in scalars}
        while True:
            inside: dict[Var, Terms | None] = {}
            for i, t in terms.items():
                self.contribute(inside, nexts[i], t)
            self.block(stmt.body, inside)
            before = {i: inside.pop(carried[i], ()) for i in scalars if carried[i] in self.active}
            moved = [i for i, t in before.items() if t != terms[i] and terms[i] is not None]
            if not moved:
                break
            terms.update((i, None) for i in moved)
        self.found[stmt] = {i: t for i, t in terms.items() if carried[i] in self.active}
        for i, t in terms.items():
            self.contribute(to, stmt.inits[i], t)
        self.unknown(to, inside)


def _stepped(terms: Terms | None, step: Step) -> Terms | None:
    prim, i = step
    if not terms:
        return terms
    if (prim.op, i) not in LINEAR:
        return None
    if prim.op == "add" or (prim.op, i) == ("sub", 0):
        return terms
    return tuple((ct, (*way, step)) for ct, way in terms)


def _carried(stmt: For | While) -> tuple[tuple[Var, ...], tuple[Atom, ...]]:
    """What a loop carries, and what that becomes."""
    if isinstance(stmt, For):
        return stmt.body.params[1:], stmt.body.yields
    return stmt.body.params, stmt.body.yields[1:]


class _Chooser:
    """Goes down a function, knowing what has been defined so far."""

    def __init__(self, fn: Function, known: _Cotangents, kept: set[Var]) -> None:
        self.active, self.found, self.kept = known.active, known.found, kept
        self.params = set(fn.params)
        self.written = self.active.alias.written_in(fn.block)
        self.definition = {v: s for s in walk(fn.block) for v in defs(s)}

    def block(self, block: Block, defined: set[Var]) -> dict[Var, Choice]:
        """The choices in a block, which defines more and more."""
        choices: dict[Var, Choice] = {}
        defined.update(block.params)
        for i, stmt in enumerate(block.stmts):
            match stmt:
                case Call():
                    found = self.call(stmt, defined, block.stmts[i:])
                    choices.update({stmt.results[0]: found} if found else {})
                case For(parallel=True):
                    pass
                case For() as loop:
                    inside = self.block(stmt.body, set(defined))
                    found = self.loop(loop, defined, block.stmts[i:]) if inside else None
                    choices.update({stmt.results[0]: found} if found else inside)
                case _:
                    for region in regions(stmt):
                        choices.update(self.block(region, set(defined)))
            defined.update(defs(stmt))
        return choices

    def call(self, stmt: Call, defined: set[Var], rest: tuple[Stmt, ...]) -> Choice | None:
        arrays = calls.arrays_of(stmt, calls.which(stmt, self.active))
        written = any(a in self.active for a in written_arrays(stmt))
        if written or not all(map(self.only_read, arrays.values())):
            return None
        found = self.found[stmt]
        floats = {i: found[i] for i, r in enumerate(stmt.results) if r.type.is_float}
        return self.choice(stmt, floats, defined, rest)

    def loop(self, stmt: For, defined: set[Var], rest: tuple[Stmt, ...]) -> Choice | None:
        carried = stmt.body.params[1:]
        references = any(isinstance(p.type, Array) and p in self.active for p in carried)
        if references or self.elsewhere(stmt) or not self.closed(stmt.body):
            return None
        return self.choice(stmt, self.found[stmt], defined, rest)

    def elsewhere(self, stmt: Stmt) -> bool:
        """Whether a statement has been prepared to be reversed in another way."""
        checkpointed = isinstance(stmt, For) and key_of(stmt) in self.kept
        return checkpointed or (isinstance(stmt, Custom | Gemm) and self.active.acts(stmt))

    def closed(self, body: Block) -> bool:
        """Whether a body can be reversed as a function of its own that only adds to shadows."""
        atoms = [a for stmt in walk(body) for a in (*uses(stmt), *defs(stmt)) if a in self.active]
        nested = (isinstance(a.type, Array) and isinstance(a.type.element, Array) for a in atoms)
        if any(nested) or any(map(self.elsewhere, walk(body))):
            return False
        arrays = (v for v in free(body) if isinstance(v.type, Array) and v in self.active)
        return all(map(self.only_read, arrays))

    def only_read(self, array: Atom) -> bool:
        """Whether an array is part of arguments that nobody writes: its shadow is at hand."""
        sites = self.active.alias.of(array)
        return sites <= self.params and sites.isdisjoint(self.written)

    def choice(
        self,
        stmt: Call | For,
        terms: Mapping[int, Terms | None],
        defined: set[Var],
        rest: tuple[Stmt, ...],
    ) -> Choice | None:
        """The statement reversed at once, if all its cotangents are known before it."""
        known = {i: t for i, t in terms.items() if t is not None}
        if len(known) < len(terms) or not any(known.values()):
            return None
        late: dict[Var, Stmt] = {}
        steps = [step for t in known.values() for _, way in t for step in way]
        factors = [prim.args[j] for prim, i in steps for j in LINEAR[prim.op, i]]
        if not all(self.ahead(a, late, defined, rest) for a in factors):
            return None
        return Choice(stmt, known, late)

    def ahead(
        self, a: Atom, late: dict[Var, Stmt], defined: set[Var], rest: tuple[Stmt, ...]
    ) -> bool:
        """Whether a value is there before `rest` runs, or can be computed there: then in `late`."""
        if not isinstance(a, Var) or a in defined or a in late:
            return True
        stmt = self.definition.get(a)
        match stmt:
            case Prim(op=op):
                possible = op not in EXPENSIVE
            case Dim():
                possible = True
            case Load(array=array):
                before = rest[: rest.index(stmt)] if stmt in rest else None
                possible = (
                    before is not None
                    and self.written.isdisjoint(self.active.alias.of(array))
                    and not any(is_effect(s) for b in before for s in within(b))
                )
            case _:
                possible = False
        if not possible or stmt is None:
            return False
        if not all(self.ahead(b, late, defined, rest) for b in uses(stmt)):
            return False
        late[a] = stmt
        return True


# ---- in the forward sweep ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a statement has pulled back already: cotangents of scalars, and what passes through.

    `through`: results whose adjoint is also that of what the loop started from.
    """

    results: tuple[Var, ...]
    cotangents: tuple[tuple[Atom, Var], ...]
    through: tuple[tuple[Var, Atom], ...] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A program whose chosen statements reverse themselves; `pulled`: by their first result."""

    fn: Function
    pulled: Mapping[Var, Pulled] = field(default_factory=dict)


def rewrite(
    fn: Function,
    plan: Plan,
    active: Activity,
    shadows: Mapping[Atom, Atom],
    vjp: calls.Transform,
) -> Rewritten:
    """`fn`, which has shadows beside its arrays, with what was chosen reversed at once."""
    writer = _Writer(plan, active, shadows, vjp)
    return Rewritten(replace(fn, block=writer.block(fn.block)), writer.pulled)


class _Writer:
    def __init__(
        self,
        plan: Plan,
        active: Activity,
        shadows: Mapping[Atom, Atom],
        vjp: calls.Transform,
    ) -> None:
        self.plan, self.active, self.shadows, self.vjp = plan, active, shadows, vjp
        self.pulled: dict[Var, Pulled] = {}

    def block(self, block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            choice = self.plan.of(stmt)
            match choice.stmt if choice else None:
                case Call() as call:
                    assert choice is not None
                    self.call(b, call, choice)
                case For() as loop:
                    assert choice is not None
                    self.loop(b, loop, choice)
                case _:
                    b.append(map_regions(stmt, self.block))
        return replace(block, stmts=tuple(b.stmts))

    def call(self, b: Builder, stmt: Call, choice: Choice) -> None:
        cts = _cotangents(b, choice, [r.type for r in stmt.results])
        wrt = calls.which(stmt, self.active)
        arrays = calls.arrays_of(stmt, wrt)
        shadows = {i: self.shadows[a] for i, a in arrays.items()}
        ds = calls.pull_back(b, stmt, wrt, shadows, cts, self.vjp)
        pulled = Pulled(stmt.results, tuple((stmt.args[i], d) for i, d in ds.items()))
        self.pulled[stmt.results[0]] = pulled

    def loop(self, b: Builder, stmt: For, choice: Choice) -> None:
        """note [At once]"""
        cts = _cotangents(b, choice, [r.type for r in stmt.results])
        outside = tuple(free(stmt.body))
        wrt = [v for v in outside if v in self.active]
        trip = replace(stmt.body, params=(*stmt.body.params, *outside))
        both = self.vjp(Function("trip", trip, stmt.loc), wrt, choice.terms)
        scalars = [v for v in wrt if not isinstance(v.type, Array)]
        arrays = [self.shadows[v] for v in wrt if isinstance(v.type, Array)]
        given = dict(zip(both.params[len(trip.params) :], (*arrays, *cts), strict=True))
        body = substitute(both.block, given)
        nexts, ds = body.yields[: len(trip.yields)], body.yields[len(trip.yields) :]
        inner, sums = Builder(stmt.loc), tuple(shadow_var(v) for v in scalars)
        inner.stmts += body.stmts
        added = tuple(inner.add(s, d, s.name) for s, d in zip(sums, ds, strict=True))
        totals = tuple(shadow_var(v) for v in scalars)
        b.append(
            replace(
                stmt,
                results=(*stmt.results, *totals),
                inits=(*stmt.inits, *(zero_of(s.type) for s in sums)),
                body=inner.block((*stmt.body.params, *sums), (*nexts, *added)),
            )
        )
        through = tuple((stmt.results[i], stmt.inits[i]) for i in choice.terms)
        pulled = Pulled(stmt.results, tuple(zip(scalars, totals)), through)
        self.pulled[stmt.results[0]] = pulled


def _cotangents(b: Builder, choice: Choice, types: Sequence[Type]) -> list[Atom]:
    """Write the cotangents of the results, from those of the function's outputs."""
    copies, env = clone(Block((), tuple(choice.late.values())))
    b.stmts += copies.stmts

    def at(a: Atom) -> Atom:
        return env.get(a, a) if isinstance(a, Var) else a

    def term(ct: Atom, way: tuple[Step, ...]) -> Atom:
        for prim, i in way:
            args = [Sym(b, at(a)) for a in prim.args]
            ct = b.cast(ct, prim.result.type)
            ct = contribution(b, prim.op, i, ct, args, Sym(b, prim.result))
        return ct

    cts: list[Atom] = []
    for i, terms in choice.terms.items():
        total: Atom = zero_of(types[i])
        for ct, way in terms:
            total = b.add(total, b.cast(term(ct, way), types[i]), "ct")
        cts.append(total)
    return cts


# ---- in the reverse sweep ----------------------------------------------------------------------


def reverse(rev: Reverse, pulled: Pulled) -> None:
    """Contribute what has been pulled back in the forward sweep."""
    seeds = {r: rev.adjoints.pop(r, None) for r in pulled.results}
    for r, init in pulled.through:
        if (d := seeds[r]) is not None:
            rev.contribute(init, d)
    for a, d in pulled.cotangents:
        rev.contribute(a, rev.values.need(d))
