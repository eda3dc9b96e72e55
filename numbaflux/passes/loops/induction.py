"""Integers that a loop moves by the same step every trip, computed from its counter instead.

    at = a                                for k in range(n):
    for k in range(n):              →         at = a + k*c
        .. at ..                              .. at ..
        at = at + c                       at = a + n*c

Nothing has to be kept to know them in the reverse sweep, and an index is seen to be affine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import I64, Atom, Block, Const, For, Function, Prim, Stmt, Var
from numbaflux.ir.walk import map_regions, substitute


@stage
def induction(fn: Function) -> Function:
    """The function without such carried integers."""
    changed = False

    def visit(block: Block) -> Block:
        nonlocal changed
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            made = list(_counted(stmt := map_regions(stmt, visit)))
            changed |= made != [stmt]
            stmts += made
        return replace(block, stmts=tuple(stmts))

    block = visit(fn.block)
    return replace(fn, block=block) if changed else fn


def _counted(loop: Stmt) -> Iterable[Stmt]:
    """The statement; a loop without carried integers that only move by a constant."""
    if not isinstance(loop, For) or loop.slots is not None:
        return (loop,)
    definition = {s.result: s for s in loop.body.stmts if isinstance(s, Prim)}
    k, *carried = loop.body.params
    steps = [
        _step(definition.get(y) if isinstance(y, Var) else None, p)
        for y, p in zip(loop.body.yields, carried)
    ]
    if not any(steps):
        return (loop,)
    head, tail, kept = Builder(loop.loc), Builder(loop.loc), [s is None for s in steps]
    env: dict[Var, Atom] = {}
    trips = tail.prim("max", loop.count, index(0), name="trips")
    for r, i, p, step in zip(loop.results, loop.inits, carried, steps):
        if step is not None:
            env[p] = head.add(i, head.mul(k, step), name=p.name)
            tail.append(Prim(r, "add", (i, tail.mul(trips, step)), loop.loc))
    body = substitute(loop.body, env)
    new = replace(
        loop,
        results=_where(loop.results, kept),
        inits=_where(loop.inits, kept),
        body=Block(
            (k, *_where(tuple(carried), kept)),
            (*head.stmts, *body.stmts),
            _where(body.yields, kept),
        ),
    )
    return (new, *tail.stmts)


def _step(stmt: Prim | None, p: Var) -> Const | None:
    """The constant that a carried integer moves by."""
    match stmt:
        case Prim(result=Var(type=type), op="add", args=(x, Const() as c)) if x is p:
            return c if type == I64 and p.type == I64 else None
        case Prim(result=Var(type=type), op="sub", args=(x, Const(value=int(c)))) if x is p:
            return index(-c) if type == I64 and p.type == I64 else None
        case _:
            return None


def _where(values: tuple, kept: list[bool]) -> tuple:
    return tuple(v for v, keep in zip(values, kept) if keep)
