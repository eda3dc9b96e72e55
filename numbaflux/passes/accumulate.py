"""`a[i] = a[i] + v` is `a[i] += v`: nothing of it is needed in reverse.

So is an atomic addition whose result nobody uses, and `a[i] = a[i]` is nothing.

Only where the loaded value is used for nothing else and nothing comes between that may write `a`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import (
    Accumulate,
    Array,
    Atomic,
    Barrier,
    Block,
    Function,
    Load,
    Prim,
    Raise,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.walk import map_regions, regions, uses, walk
from numbaflux.passes.alias import Aliases
from numbaflux.passes.dead import dead_code


@stage
def accumulate(fn: Function) -> Function:
    """The function with its updates of array elements made Accumulates."""
    rewriter = _Rewriter(fn)
    return dead_code(replace(fn, block=rewriter.block(fn.block)))


class _Rewriter:
    def __init__(self, fn: Function) -> None:
        self.alias = Aliases(fn)
        self.used: Counter[Var] = Counter()
        for block in (fn.block, *(r for s in walk(fn.block) for r in regions(s))):
            self.used.update(a for a in block.yields if isinstance(a, Var))
        for stmt in walk(fn.block):
            self.used.update(a for a in uses(stmt) if isinstance(a, Var))

    def block(self, block: Block) -> Block:
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            stmt = map_regions(stmt, self.block)
            if isinstance(stmt, Store) and not isinstance(stmt.value.type, Array):
                stmt = self.store(stmt, stmts)
                if stmt is None:
                    continue
            elif isinstance(stmt, Atomic) and not self.used[stmt.result]:
                stmt = self.atomic(stmt, stmts)
            stmts.append(stmt)
        return replace(block, stmts=tuple(stmts))

    def atomic(self, stmt: Atomic, before: list[Stmt]) -> Atomic | Accumulate:
        if stmt.op not in ("add", "sub"):
            return stmt
        (value,) = stmt.args
        if stmt.op == "sub":
            value = Var("t", value.type)
            before.append(Prim(value, "neg", stmt.args, stmt.loc))
        return Accumulate(stmt.array, stmt.index, value, stmt.loc, True)

    def store(self, stmt: Store, before: list[Stmt]) -> Store | Accumulate | None:
        """The store, or the Accumulate it is, given the statements of its block before it."""
        definition = {r: s for s in before if isinstance(s, Prim | Load) for r in (s.result,)}
        match definition.get(stmt.value) if isinstance(stmt.value, Var) else None:
            case Load() as load if self._there(load, stmt, before):
                return None
            case Prim(result=r, op="add" | "sub" as op, args=(x, y)) if self.used[r] == 1:
                pass
            case _:
                return stmt
        choices = [(x, y)] if op == "sub" else [(x, y), (y, x)]
        for old, addend in choices:
            load = definition.get(old) if isinstance(old, Var) else None
            if not isinstance(load, Load) or self.used[load.result] != 1:
                continue
            if self._there(load, stmt, before):
                value = addend
                if op == "sub":
                    value = Var("t", addend.type)
                    before.append(Prim(value, "neg", (addend,), stmt.loc))
                return Accumulate(stmt.array, stmt.index, value, stmt.loc)
        return stmt

    def _there(self, load: Load, store: Store, before: list[Stmt]) -> bool:
        """Whether `store` writes what `load` has read, and nobody sees or changes it between."""
        if load.array is not store.array or load.index != store.index:
            return False
        between = before[before.index(load) + 1 :]
        return not any(
            isinstance(s, Raise | Barrier)
            or not self.alias.written(s).isdisjoint(self.alias.of(store.array))
            or regions(s)
            for s in between
        )
