"""What is known when the code is written: loops' trips, and the numbers of a launch.

    trip = 0                                        trip = 7
    while True:                                →
        trip += 1
        if 64 >> trip <= 0: break

is what is left in an adjoint of `while s > 0: ...; s //= 2`.  That a launch has threads answers
what `range` asks of its step: gridsize(1) > 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, fold, index
from numbaflux.ir.nodes import (
    BOOL,
    I64,
    Atom,
    Block,
    Const,
    For,
    Function,
    If,
    Prim,
    Stmt,
    Var,
    While,
)
from numbaflux.ir.ops import OPS
from numbaflux.ir.walk import clone, defs, map_regions, substitute, walk

LONGEST = 4096  # trips
SIZES = ("block_dim", "grid_dim", "grid_size")  # numbers of a launch, all positive
ANSWERS = {"eq": False, "ne": True, "gt": True, "ge": True, "lt": False, "le": False}


@stage
def sizes(fn: Function) -> Function:
    """The kernel knowing that it has threads."""
    positive = {s.result for s in walk(fn.block) if isinstance(s, Prim) and s.op.startswith(SIZES)}
    env: dict[Var, Atom] = {}
    for stmt in walk(fn.block):
        match stmt:
            case Prim(result, op, (Var() as x, Const(0))) if op in ANSWERS and x in positive:
                env[result] = Const(ANSWERS[op], BOOL)
            case Prim(result, "abs", (Var() as x,)) if x in positive:
                env[result] = x
            case _:
                pass
    return replace(fn, block=substitute(fn.block, env))


@stage
def launched(fn: Function, block: tuple[int, int, int], many: Collection[str]) -> Function:
    """The kernel for launches with such blocks; `many`: what has more than one value in them."""
    env: dict[Var, Atom] = {}
    for stmt in walk(fn.block):
        if isinstance(stmt, Prim) and not stmt.args:
            kind = stmt.op.rpartition("_")[0]
            if kind in ("thread", "block") and stmt.op not in many:
                env[stmt.result] = index(0)
    return sized(replace(fn, block=substitute(fn.block, env)), block)


def bounds(block: tuple[int, int, int]) -> dict[str, int]:
    """The largest value that each number of a thread in such a block has."""
    return {f"thread_{axis}": n - 1 for axis, n in zip("xyz", block)} | {"warp_lane": 31}


@stage
def sized(fn: Function, block: tuple[int, int, int]) -> Function:
    """The kernel knowing how many threads its blocks have."""
    prims = (s for s in walk(fn.block) if isinstance(s, Prim) and s.op.startswith("block_dim_"))
    env: dict[Var, Atom] = {s.result: index(block["xyz".index(s.op[-1])]) for s in prims}
    return replace(fn, block=substitute(fn.block, env))


@stage
def counted(fn: Function) -> Function:
    """The kernel, a `while` of known trips being a `for`.

    Only the integers that the loop ends by have to be constants, whatever else it does.
    """
    made = {s.result: s for s in walk(fn.block) if isinstance(s, Prim)}

    def value(a: Atom, known: dict[Atom, Const | None]) -> Const | None:
        """The value of an atom in a trip; `known`: of those that have been asked for."""
        if isinstance(a, Const):
            return a
        if a not in known:
            stmt = made.get(a) if isinstance(a, Var) else None
            known[a] = None
            if stmt is not None and stmt.args and OPS[stmt.op].pure:
                args = _all_constant([value(x, known) for x in stmt.args])
                found = None if args is None else fold(stmt.op, tuple(args), stmt.result.type)
                known[a] = found if isinstance(found, Const) else None
        return known[a]

    def count(loop: While) -> int | None:
        """How many trips it makes, if that is known."""
        go, *nexts = loop.body.yields
        integers = [p.type == I64 for p in loop.body.params]
        values: Sequence[Const | None] = [value(a, {}) for a in loop.inits]
        for n in range(1, LONGEST + 1):
            pairs = zip(loop.body.params, values, integers)
            known: dict[Atom, Const | None] = {p: v if whole else None for p, v, whole in pairs}
            more = value(go, known)
            if more is None or not more.value:
                return None if more is None else n
            values = [value(a, known) for a in nexts]
        return None

    def visit(block: Block) -> Block:
        return replace(block, stmts=tuple(one(map_regions(s, visit)) for s in block.stmts))

    def one(stmt: Stmt) -> Stmt:
        n = count(stmt) if isinstance(stmt, While) else None
        if n is None or not isinstance(stmt, While):
            return stmt
        body = stmt.body
        params = (Var("trip", I64), *body.params)
        body = replace(body, params=params, yields=body.yields[1:])
        return For(stmt.results, index(n), stmt.inits, body, loc=stmt.loc)

    return replace(fn, block=visit(fn.block))


@stage
def trips(fn: Function) -> Function:
    """The function with the loops run that compute with integer constants alone."""
    env: dict[Var, Atom] = {}

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            if not isinstance(stmt, While):
                b.append(map_regions(stmt, visit))
            elif (found := _results(stmt)) is not None:
                env.update(zip(stmt.results, found))
            elif _runs_once(stmt):
                once = dict(zip(stmt.body.params, stmt.inits))
                body, _ = clone(replace(stmt.body, params=()), once)
                b.stmts += visit(body).stmts
                env.update(zip(stmt.results, body.yields[1:]))
            else:
                b.append(map_regions(stmt, visit))
        return replace(block, stmts=tuple(b.stmts))

    return replace(fn, block=substitute(visit(fn.block), env))


def _runs_once(loop: While) -> bool:
    return loop.body.yields[0] == Const(False, BOOL)


def _results(loop: While) -> list[Const] | None:
    """What the loop leaves, if that is known."""
    if not all(p.type in (I64, BOOL) for p in loop.body.params):
        return None
    values: Sequence[Atom] = loop.inits
    for _ in range(LONGEST):
        found = _yields(loop.body, dict(zip(loop.body.params, values)))
        if found is None:
            return None
        go, *values = found
        if not go.value:
            return [v for v in values if isinstance(v, Const)]
    return None


def _yields(block: Block, known: dict[Atom, Atom]) -> list[Const] | None:
    """What a block yields, if constants are all that it computes with."""
    for stmt in block.stmts:
        found: Sequence[Atom | None] | None = None
        match stmt:
            case Prim(result, op, args) if OPS[op].pure:
                found = [fold(op, tuple(known.get(a, a) for a in args), result.type)]
            case If(cond=cond) if isinstance(chosen := known.get(cond, cond), Const):
                found = _yields(stmt.then if chosen.value else stmt.orelse, known)
            case _:
                pass
        constants = None if found is None else _all_constant(found)
        if constants is None:
            return None
        known.update(zip(defs(stmt), constants))
    return _all_constant([known.get(a, a) for a in block.yields])


def _all_constant(atoms: Sequence[Atom | None]) -> list[Const] | None:
    made = [a for a in atoms if isinstance(a, Const)]
    return made if len(made) == len(atoms) else None
