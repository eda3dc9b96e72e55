"""Dead code: whatever nobody can see is dropped, arrays that are only written included.

Marking starts from what can be seen (results, stores to the caller's memory, prints, raises) and
follows operands; what is not marked goes.  A carried value lives if its result or its parameter
is used by something alive, so a counter that only counts itself dies.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.ir.nodes import (
    Accumulate,
    Array,
    Atom,
    Atomic,
    Barrier,
    Block,
    Call,
    Callee,
    Custom,
    Extern,
    For,
    Function,
    Gemm,
    Global,
    If,
    Load,
    Print,
    Raise,
    Stmt,
    Store,
    Var,
    While,
)
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.walk import callees, defs, regions, uses, walk
from numbaflux.passes.alias import Aliases, Site, written_arrays


def dead_code(fn: Function) -> Function:
    """The function without statements, results and carried values that nobody can see."""
    return replace(fn, block=_Marks(fn).sweep(fn.block))


def has_effects(callee: Callee) -> bool:
    """Whether a call can be noticed by more than its results and the arrays it writes."""
    if "effects" not in callee.made:
        functions = (callee.function, *(c.function for c in callees(callee.function)))
        callee.made["effects"] = False  # while it is found out: of the calls of itself
        callee.made["effects"] = any(is_effect(s) for fn in functions for s in walk(fn.block))
    return callee.made["effects"]


def is_effect(stmt: Stmt) -> bool:
    """Whether a statement itself can be noticed by more than what it computes and stores."""
    if isinstance(stmt, Call):
        return has_effects(stmt.callee)
    drawn = isinstance(stmt, Extern) and not ROUTINES[stmt.routine].pure
    return drawn or isinstance(stmt, Print | Raise)


class _Marks:
    """What is alive: variables, sites whose contents are read, statements."""

    def __init__(self, fn: Function) -> None:
        self.alias = Aliases(fn)
        self.vars: set[Var] = set()
        self.sites: set[Site] = set()
        self.stmts: set[Stmt] = set()
        for p in fn.params:
            self.read(p)
        for a in fn.results:
            self.use(a)
            self.read(a)
        self.size = -1
        while self.size != (size := len(self.vars) + len(self.sites) + len(self.stmts)):
            self.size = size
            self.mark(fn.block)

    def use(self, *atoms: Atom) -> None:
        self.vars.update(a for a in atoms if isinstance(a, Var))

    def read(self, a: Atom) -> None:
        """Somebody may look at the contents of this array."""
        if isinstance(a.type, Array):
            self.sites |= self.alias.of(a) | self.alias.held(a)

    def mark(self, block: Block) -> bool:
        """Mark backwards; whether anything in the block is alive."""
        alive = False
        for stmt in reversed(block.stmts):
            if regions(stmt):
                self._mark_regions(stmt)
            if stmt in self.stmts or self._visible(stmt):
                self.stmts.add(stmt)
                alive = True
                self.use(*uses(stmt)) if not regions(stmt) else None
                self._contents(stmt)
        return alive

    def _visible(self, stmt: Stmt) -> bool:
        match stmt:
            case Print() | Raise() | Barrier():
                return True
            case Extern() if not ROUTINES[stmt.routine].pure:
                return True
            case Call(callee=callee) if has_effects(callee):
                return True
            case Store(array=array, again=True):
                return self._seen(array)
            case Store() | Accumulate() | Gemm() | Atomic() | Call():
                written = any(self._seen(a) for a in written_arrays(stmt))
                return written or any(v in self.vars for v in defs(stmt))
            case _:
                return any(v in self.vars for v in defs(stmt))

    def _seen(self, array: Atom) -> bool:
        """Whether somebody may look at the contents of an array."""
        return isinstance(array, Global) or not self.sites.isdisjoint(self.alias.of(array))

    def _contents(self, stmt: Stmt) -> None:
        """Arrays whose contents a live statement reads."""
        match stmt:
            case Load(array=array):
                self.read(array)
            case Atomic(result=result, array=array) if result in self.vars:
                self.read(array)
            case Gemm(a=a, b=b):
                self.read(a)
                self.read(b)
            case Extern(args=args) | Custom(args=args) | Call(args=args) | Print(args=args):
                for a in args:
                    self.read(a)
            case _:
                pass

    def _mark_regions(self, stmt: Stmt) -> None:
        match stmt:
            case If(results=results, cond=cond, then=then, orelse=orelse):
                for r, a, b in zip(results, then.yields, orelse.yields):
                    if r in self.vars:
                        self.use(a, b)
                inside = [self.mark(then), self.mark(orelse)]
                if any(inside) or any(r in self.vars for r in results):
                    self.stmts.add(stmt)
                    self.use(cond)
            case For(results=results, count=count, inits=inits, body=body, slots=slots):
                self._mark_carried(results, inits, body.params[1:], body.yields)
                if self.mark(body) or any(r in self.vars for r in results):
                    self.stmts.add(stmt)
                    self.use(count, *(() if slots is None else (slots,)))
            case While(results=results, inits=inits, body=body):
                self._mark_carried(results, inits, body.params, body.yields[1:])
                if self.mark(body) or any(r in self.vars for r in results):
                    self.stmts.add(stmt)
                    self.use(body.yields[0])
            case _:
                raise AssertionError(stmt)

    def _mark_carried(self, results, inits, params, yields) -> None:
        for r, i, p, y in zip(results, inits, params, yields):
            if r in self.vars or p in self.vars:
                self.use(i, y, p)

    # ---- sweep -----------------------------------------------------------------------------------

    def sweep(self, block: Block) -> Block:
        return replace(block, stmts=tuple(self._sweep(s) for s in block.stmts if s in self.stmts))

    def _sweep(self, stmt: Stmt) -> Stmt:
        match stmt:
            case If():
                keep = [r in self.vars for r in stmt.results]
                return replace(
                    stmt,
                    results=_pick(stmt.results, keep),
                    then=self._yielding(stmt.then, keep),
                    orelse=self._yielding(stmt.orelse, keep),
                )
            case For():
                keep = [
                    r in self.vars or p in self.vars
                    for r, p in zip(stmt.results, stmt.body.params[1:])
                ]
                body = self._yielding(stmt.body, keep)
                params = (body.params[0], *_pick(body.params[1:], keep))
                return replace(
                    stmt,
                    results=_pick(stmt.results, keep),
                    inits=_pick(stmt.inits, keep),
                    body=replace(body, params=params),
                )
            case While():
                keep = [
                    r in self.vars or p in self.vars for r, p in zip(stmt.results, stmt.body.params)
                ]
                body = self._yielding(stmt.body, [True, *keep])
                return replace(
                    stmt,
                    results=_pick(stmt.results, keep),
                    inits=_pick(stmt.inits, keep),
                    body=replace(body, params=_pick(body.params, keep)),
                )
            case _:
                return stmt

    def _yielding(self, block: Block, keep: list[bool]) -> Block:
        swept = self.sweep(block)
        return replace(swept, yields=_pick(swept.yields, keep))


def _pick(values, keep) -> tuple:
    return tuple(v for v, k in zip(values, keep) if k)
