"""Loops of the reverse sweep that only pass zeros on are not run.

The cotangent of `min`, `max` or a choice goes to one side, the other gets 0.  A loop that does
nothing but scale it and add it up runs where it is not 0: what came from further on may have been
made 0 already, and mostly has, where a minimum over many is taken.

    d = d_nearest if c else 0.0           d = d_nearest if c else 0.0
    for k in range(n):              →     if d != 0.0:
        d_x[k] += d * x[k]                    for k in range(n): d_x[k] += d * x[k]

Several such cotangents, or lanes of one, are not looked at: the loop runs under the condition c.
A cotangent of 0 stays 0, even where it would meet an infinite partial.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, const
from numbaflux.ir.nodes import (
    BOOL,
    Accumulate,
    Atom,
    Block,
    Const,
    Dim,
    For,
    Function,
    If,
    Load,
    Prim,
    Scalar,
    Stmt,
    Var,
    View,
)
from numbaflux.ir.walk import free, map_regions

ZERO = Const(0.0)


@stage
def skip(fn: Function) -> Function:
    """The function with such loops under the condition that something comes."""
    skipper = _Skip()
    block = skipper.block(fn.block)
    return replace(fn, block=block) if skipper.changed else fn


class _Skip:
    def __init__(self) -> None:
        self.changed = False

    def block(self, block: Block) -> Block:
        chosen: dict[Var, tuple[Atom, bool]] = {}  # by what is 0 on one side: condition, which
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            stmt = map_regions(stmt, self.block)
            match stmt:
                case Prim(result=r, op="select", args=(c, _, x)) if _zero(x):
                    chosen[r] = c, True
                case Prim(result=r, op="select", args=(c, x, _)) if _zero(x):
                    chosen[r] = c, False
                case For(reverse=True) if (found := _condition(stmt, chosen)) is not None:
                    self.changed = True
                    passed = [v for v in free(stmt.body) if chosen.get(v) == found]
                    stmts += _under(*found, passed, stmt)
                    continue
                case _:
                    pass
            stmts.append(stmt)
        return replace(block, stmts=tuple(stmts))


def _zero(a: Atom) -> bool:
    return isinstance(a, Const) and a.type.is_float and a.value == 0


def _condition(loop: For, chosen: dict[Var, tuple[Atom, bool]]) -> tuple[Atom, bool] | None:
    """The condition without which a loop does nothing."""
    for found in dict.fromkeys(chosen[v] for v in free(loop.body) if v in chosen):
        silent = _Silent({v for v, when in chosen.items() if when == found})
        if silent.loop(loop):
            return found
    return None


def _under(condition: Atom, when: bool, passed: list[Var], loop: For) -> list[Stmt]:
    """The loop under a condition; `passed`: what is 0 without it, and makes the loop do nothing."""
    b = Builder(loop.loc)
    match passed:
        case [Var(type=Scalar(lanes=0)) as only]:
            condition = b.prim("ne", only, const(0, only.type), type=BOOL)
        case _ if not when:
            condition = b.prim("not", condition)
        case _:
            pass
    inner = tuple(Var(r.name, r.type) for r in loop.results)
    then = Block((), (replace(loop, results=inner),), inner)
    b.append(If(loop.results, condition, then, Block((), (), loop.inits), loop.loc))
    return b.stmts


class _Silent:
    """What values are when some variables are zero: ZERO, or another atom, or only themselves."""

    def __init__(self, zeros: set[Var]) -> None:
        self.value: dict[Var, Atom] = dict.fromkeys(zeros, ZERO)

    def of(self, a: Atom) -> Atom:
        if _zero(a):
            return ZERO
        return self.value.get(a, a) if isinstance(a, Var) else a

    def loop(self, loop: For) -> bool:
        """Whether a loop writes nothing and hands on what it was given."""
        params = loop.body.params[1:]
        self.value.update((p, self.of(i)) for p, i in zip(params, loop.inits))
        if not all(self.stmt(s) for s in loop.body.stmts):
            return False
        self.value.update((r, self.of(i)) for r, i in zip(loop.results, loop.inits))
        return all(self.of(y) is self.of(p) for y, p in zip(loop.body.yields, params))

    def stmt(self, stmt: Stmt) -> bool:
        match stmt:
            case Prim():
                self.prim(stmt)
                return True
            case Accumulate(value=v):
                return self.of(v) is ZERO
            case Load() | View() | Dim():
                return True
            case For():
                return self.loop(stmt)
            case If(results=results, then=then, orelse=orelse):
                if not all(self.stmt(s) for arm in (then, orelse) for s in arm.stmts):
                    return False
                for r, x, y in zip(results, then.yields, orelse.yields):
                    if self.of(x) is self.of(y):
                        self.value[r] = self.of(x)
                return True
            case _:
                return False

    def prim(self, stmt: Prim) -> None:
        args = [self.of(a) for a in stmt.args]
        match stmt.op, args:
            case "mul" | "gmul", (x, y) if x is ZERO or y is ZERO:
                self.value[stmt.result] = ZERO
            case "div", (x, _) if x is ZERO:
                self.value[stmt.result] = ZERO
            case "neg" | "cast", (x,) if x is ZERO and stmt.result.type.is_float:
                self.value[stmt.result] = ZERO
            case "add" | "sub", (x, y) if y is ZERO:
                self.value[stmt.result] = x
            case "add", (x, y) if x is ZERO:
                self.value[stmt.result] = y
            case "select", (_, x, y) if x is y:
                self.value[stmt.result] = x
            case _:
                pass
