"""Recurrences of the reverse sweep with their partials computed off the carried chain.

An adjoint that a loop carries is a linear function of itself; statement by statement each trip
waits for several operations on it, one after the other.  Its coefficient does not wait.

    t = d*(1 - x)                         q = (1 - x)*r - r*x
    d = t*r - d*(r*x)              →      d = q*d

What else reads `d` in the trip is as it was: it is not on the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, const
from numbaflux.ir.nodes import Atom, Block, For, Function, Prim, Stmt, Var
from numbaflux.ir.walk import map_regions


@stage
def chain(fn: Function) -> Function:
    """The function with such recurrences in its reverse sweeps collapsed."""
    changed = False

    def visit(block: Block) -> Block:
        nonlocal changed
        stmts = []
        for stmt in block.stmts:
            made = collapsed(stmt := map_regions(stmt, visit))
            changed |= made is not stmt
            stmts.append(made)
        return replace(block, stmts=tuple(stmts))

    block = visit(fn.block)
    return replace(fn, block=block) if changed else fn


def collapsed(stmt: Stmt) -> Stmt:
    """A loop of a reverse sweep with the one adjoint that it multiplies collapsed."""
    if not isinstance(stmt, For) or not stmt.reverse:
        return stmt
    definition = {s.result: s for s in stmt.body.stmts if isinstance(s, Prim)}
    carried = stmt.body.params[1:]
    moving = [i for i, y in enumerate(stmt.body.yields) if _depth(y, carried[i], definition) > 2]
    if len(moving) != 1:
        return stmt
    (i,) = moving
    d, y = carried[i], stmt.body.yields[i]
    b = Builder(stmt.loc)
    b.stmts += stmt.body.stmts
    parts = _Linear(b, d, definition, carried).of(y)
    coefficient, rest = parts or (None, None)
    if coefficient is None:
        return stmt
    step = b.mul(coefficient, d, d.name)
    yields = list(stmt.body.yields)
    yields[i] = step if rest is None else b.add(step, rest, d.name)
    return replace(stmt, body=b.block(stmt.body.params, yields))


def _depth(y: Atom, d: Var, definition: dict[Var, Prim]) -> int:
    """How many primitives lie between d and y on the longest way; 0 if there is none."""
    found: dict[Atom, int | None] = {d: 0}

    def visit(a: Atom) -> int | None:
        if a not in found:
            found[a] = None
            stmt = definition.get(a) if isinstance(a, Var) else None
            below = [n for x in stmt.args if (n := visit(x)) is not None] if stmt else []
            found[a] = 1 + max(below) if below else None
        return found[a]

    return visit(y) or 0


class _Linear:
    """Values as coefficient * d + rest; None stands for zero."""

    def __init__(
        self, b: Builder, d: Var, definition: dict[Var, Prim], carried: tuple[Var, ...]
    ) -> None:
        self.b, self.d, self.definition, self.carried = b, d, definition, carried
        self.known: dict[Var, tuple[Atom | None, Atom | None] | None] = {}

    def of(self, a: Atom) -> tuple[Atom | None, Atom | None] | None:
        """The parts of a value, None if it is not linear in d."""
        if a is self.d:
            return const(1, a.type), None
        stmt = self.definition.get(a) if isinstance(a, Var) else None
        if stmt is None:
            return (None, a) if a not in self.carried else None
        if stmt.result not in self.known:
            self.known[stmt.result] = self._of(stmt)
        return self.known[stmt.result]

    def _of(self, stmt: Prim) -> tuple[Atom | None, Atom | None] | None:
        parts = [self.of(x) for x in stmt.args]
        found = [p for p in parts if p is not None]
        if len(found) < len(parts):
            return None
        if all(c is None for c, _ in found):
            return None, stmt.result
        match stmt.op, found:
            case "neg", [(c, r)]:
                return self._each(self.b.neg, c, r)
            case ("add" | "sub") as op, [(c, r), (e, s)]:
                return self._sum(op, c, e), self._sum(op, r, s)
            case "mul", [(c, r), (None, s)] if s is not None:
                return self._each(lambda x: self.b.mul(x, s), c, r)
            case "mul", [(None, s), (c, r)] if s is not None:
                return self._each(lambda x: self.b.mul(x, s), c, r)
            case "div", [(c, r), (None, s)] if s is not None:
                return self._each(lambda x: self.b.prim("div", x, s), c, r)
            case _:
                return None

    def _each(
        self, f: Callable[[Atom], Atom], c: Atom | None, r: Atom | None
    ) -> tuple[Atom | None, Atom | None]:
        return (None if c is None else f(c), None if r is None else f(r))

    def _sum(self, op: str, x: Atom | None, y: Atom | None) -> Atom | None:
        if y is None:
            return x
        if x is None:
            return y if op == "add" else self.b.neg(y)
        return self.b.prim(op, x, y)
