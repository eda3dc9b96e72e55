"""Which subscripts are proven not to be negative.

Numba looks at the sign of a subscript, unless it is of an unsigned type: where the writer of
kernels knows that it is not negative it says so.

A fact is a sum of variables that is not negative: 1 <= i gives i - 1, k in range(n) gives
n - k - 1.  A subscript is a sum too; it is not negative if what is left when multiples of a few
facts are taken away from it has no negative part.  Lengths, and numbers of threads, are far from
the ends of int64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count

from numbaflux.debug import stage
from numbaflux.ir.nodes import (
    BOOL,
    I64,
    Accumulate,
    Atom,
    Block,
    Const,
    Dim,
    Extern,
    For,
    Function,
    If,
    Load,
    Prim,
    Scalar,
    Stmt,
    Store,
    Var,
    While,
)
from numbaflux.ir.ops import THREADS
from numbaflux.ir.walk import substitute, walk
from numbaflux.passes.forms import ONE, Form, form, plus

Bounds = Mapping[str, int]

ORDERS = ("lt", "le", "gt", "ge")
FACTS = 2  # so many at most are used for one subscript
TURNED = {"lt": "ge", "ge": "lt", "le": "gt", "gt": "le", "eq": "ne", "ne": "eq"}

U64 = Scalar("uint64")


def nonnegative(fn: Function, bounds: Bounds) -> frozenset[tuple[Stmt, int]]:
    """The subscripts, (statement, axis), that are not negative whenever they are used.

    `bounds`: numbers of threads and the largest value each has.
    """
    return frozenset(Signs(fn, bounds).run().found)


@stage
def decided(fn: Function, bounds: Bounds) -> Function:
    """The function without the comparisons of integers, and minima, whose outcome is proven."""
    env = Signs(fn, bounds).run().decided
    return replace(fn, block=substitute(fn.block, env)) if env else fn


class Signs:
    """What is known of the signs of integers."""

    def __init__(self, fn: Function, bounds: Bounds) -> None:
        self.fn, self.bounds = fn, bounds
        self.defined = {s.result: s for s in walk(fn.block) if isinstance(s, Prim)}
        self.positive: set[Var] = set()  # variables that are not negative
        self.refuted: set[Var] = set()  # carried ones for which that did not hold
        self.facts: list[Form] = []
        self.found: set[tuple[Stmt, int]] = set()
        self.decided: dict[Var, Atom] = {}

    def run(self) -> Signs:
        """Carried variables are taken not to be negative until a turn of their loop may."""
        for _ in count():
            before = len(self.refuted)
            self.positive, self.facts, self.found, self.decided = set(), [], set(), {}
            self.block(self.fn.block)
            if len(self.refuted) == before:
                return self
        raise AssertionError

    def block(self, block: Block, facts: Iterable[Form] = ()) -> list[bool]:
        """Whether each of a block's yields is not negative, knowing the facts."""
        depth = len(self.facts)
        self.facts += facts
        for stmt in block.stmts:
            self.stmt(stmt)
        yields = [self.proven(a) for a in block.yields]
        del self.facts[depth:]
        return yields

    def stmt(self, stmt: Stmt) -> None:
        if isinstance(stmt, Prim):
            self.prim(stmt)
        match stmt:
            case Load(result) if isinstance(result.type, Scalar) and _unsigned(result):
                self.positive.add(result)
            case Prim(result) if self.never_negative(stmt):
                self.positive.add(result)
            case Dim(result):
                self.positive.add(result)
            case Extern(results, "sync_count"):
                self.positive.update(results)
            case If(results, cond, then, orelse):
                arms = (
                    self.block(then, self.known(cond)),
                    self.block(orelse, self.known(cond, False)),
                )
                self.positive.update(r for r, a, b in zip(results, *arms) if a and b)
            case For(results, trips, inits, body):
                k, *carried = body.params
                self.positive.add(k)
                inside = _below(self.form(k), self.form(trips))
                self.loop(results, inits, carried, body, body.yields, [inside])
            case While(results, inits, body=body):
                self.loop(results, inits, body.params, body, body.yields[1:], [])
            case _:
                pass
        if isinstance(stmt, Load | Store | Accumulate):
            self.found.update((stmt, axis) for axis, i in enumerate(stmt.index) if self.proven(i))

    def prim(self, stmt: Prim) -> None:
        if stmt.op in self.bounds:
            self.facts.append({ONE: self.bounds[stmt.op], stmt.result: -1})
        if len(stmt.args) != 2 or not all(a.type == I64 for a in stmt.args):
            return
        x, y = stmt.args
        if stmt.op == "min":
            smaller = next((a for a, b in ((x, y), (y, x)) if self.at_least(b, a)), None)
            if smaller is not None:
                self.decided[stmt.result] = smaller
        elif stmt.op in ORDERS:
            if stmt.op in ("gt", "ge"):
                x, y = y, x
            less, strict = stmt.op in ("lt", "gt"), int(stmt.op in ("lt", "gt"))
            if self.at_least(y, x, strict):
                self.decided[stmt.result] = Const(True, BOOL)
            elif self.at_least(x, y, int(not less)):
                self.decided[stmt.result] = Const(False, BOOL)

    def at_least(self, x: Atom, y: Atom, by: int = 0) -> bool:
        """Whether x >= y + by is proven."""
        apart = plus(self.form(x), self.form(y), -1)
        return self.holds(plus(apart, {ONE: -by}), FACTS)

    def loop(
        self,
        results: Iterable[Var],
        inits: Iterable[Atom],
        carried: Iterable[Var],
        body: Block,
        yields: tuple[Atom, ...],
        facts: list[Form],
    ) -> None:
        starts = [self.proven(a) for a in inits]
        assumed = [s and p not in self.refuted for s, p in zip(starts, carried)]
        self.positive.update(p for p, a in zip(carried, assumed) if a)
        after = self.block(body, facts)
        after = after[len(after) - len(yields) :]
        self.refuted.update(p for p, a, ok in zip(carried, assumed, after) if a and not ok)
        self.positive.update(r for r, a, ok in zip(results, assumed, after) if a and ok)

    def never_negative(self, stmt: Prim) -> bool:
        """Whether the operation itself says so; sums are looked at where they are used."""
        args = stmt.args
        if stmt.result.type != I64:
            return _unsigned(stmt.result)
        match stmt.op:
            case op if op in THREADS:
                return True
            case "mul" | "floordiv" | "min" | "bitor" | "bitxor":
                return all(self.proven(a) for a in args)
            case "max" | "bitand":
                return any(self.proven(a) for a in args)
            case "mod":
                return self.proven(args[1])
            case "rshift":
                return self.proven(args[0])
            case "select":
                return self.proven(args[1]) and self.proven(args[2])
            case "cast":
                return args[0].type != U64 and self.proven(args[0])
            case _:
                return False

    # ---- sums ----------------------------------------------------------------------------------

    def form(self, a: Atom) -> Form:
        return form(a, self.defined)

    def proven(self, a: Atom) -> bool:
        return isinstance(a.type, Scalar) and a.type.is_int and self.holds(self.form(a), FACTS)

    def holds(self, total: Form, facts: int = FACTS) -> bool:
        """Whether a sum is not negative, which so many of the facts at hand show."""
        if all(n > 0 and (v == ONE or v in self.positive) for v, n in total.items()):
            return True
        if not facts:
            return False

        def times(f: Form, sign: int) -> set[int]:
            """How often to take a fact away, for it to be of use."""
            alike = [v for v, n in f.items() if v != ONE and sign * n > 0]
            found = {total[v] // f[v] for v in alike if sign * total.get(v, 0) > 0}
            return {1, *(n for n in found if n > 0)} if found else set()

        useful = [(f, n) for sign in (-1, 1) for f in self.facts for n in times(f, sign)]
        return any(self.holds(plus(total, f, -n), facts - 1) for f, n in useful)

    def known(self, cond: Atom, holds: bool = True) -> list[Form]:
        """The facts that follow for integers from a condition, or from its not holding."""
        stmt = self.defined.get(cond) if isinstance(cond, Var) else None
        if stmt is None:
            return []
        op, args = stmt.op, stmt.args
        if op == "not":
            return self.known(args[0], not holds)
        if op == ("and" if holds else "or"):
            return [fact for a in args for fact in self.known(a, holds)]
        if op not in TURNED or not all(isinstance(a.type, Scalar) and a.type.is_int for a in args):
            return []
        x, y = (self.form(a) for a in args)
        match op if holds else TURNED[op]:
            case "lt":
                return [_below(x, y)]
            case "le":
                return [plus(y, x, -1)]
            case "gt":
                return [_below(y, x)]
            case "ge":
                return [plus(x, y, -1)]
            case "eq":
                return [plus(x, y, -1), plus(y, x, -1)]
            case _:
                zero = isinstance(args[1], Const) and args[1].value == 0
                return [plus(x, {ONE: -1})] if zero and self.proven(args[0]) else []


def _below(x: Form, y: Form) -> Form:
    """y - x - 1, which is not negative where x < y"""
    return plus(plus(y, x, -1), {ONE: -1})


def _unsigned(v: Var) -> bool:
    return isinstance(v.type, Scalar) and v.type.numpy.kind == "u"
