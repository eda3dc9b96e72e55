"""What is known when the code is written: loops' trips, and the numbers of a launch.

    trip = 0                                        trip = 7
    while True:                                →
        trip += 1
        if 64 >> trip <= 0: break

is what is left in an adjoint of `while s > 0: ...; s //= 2`.  That a launch has threads answers
what `range` asks of its step: gridsize(1) > 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, fold, index
from numbaflux.ir.nodes import BOOL, I64, Atom, Block, Const, Function, Prim, Var, While
from numbaflux.ir.ops import OPS
from numbaflux.ir.walk import clone, map_regions, substitute, walk

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
            kind, _, axis = stmt.op.rpartition("_")
            if kind == "block_dim":
                env[stmt.result] = index(block["xyz".index(axis)])
            elif kind in ("thread", "block") and stmt.op not in many:
                env[stmt.result] = index(0)
    return replace(fn, block=substitute(fn.block, env))


def bounds(block: tuple[int, int, int]) -> dict[str, int]:
    """The largest value that each number of a thread in such a block has."""
    return {f"thread_{axis}": n - 1 for axis, n in zip("xyz", block)} | {"warp_lane": 31}


@stage
def trips(fn: Function) -> Function:
    """The function with the loops run that compute with integer constants alone."""
    env: dict[Var, Atom] = {}

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            found = _results(stmt) if isinstance(stmt, While) else None
            if found is None and isinstance(stmt, While) and _runs_once(stmt):
                once = dict(zip(stmt.body.params, stmt.inits))
                body, _ = clone(replace(stmt.body, params=()), once)
                b.stmts += visit(body).stmts
                env.update(zip(stmt.results, body.yields[1:]))
            elif found is None:
                b.append(map_regions(stmt, visit))
            else:
                env.update(zip(stmt.results, found))  # type: ignore[union-attr]
        return replace(block, stmts=tuple(b.stmts))

    return replace(fn, block=substitute(visit(fn.block), env))


def _runs_once(loop: While) -> bool:
    return loop.body.yields[0] == Const(False, BOOL)


def _results(loop: While) -> list[Const] | None:
    """What the loop leaves, if that is known."""
    if not all(isinstance(s, Prim) and OPS[s.op].pure for s in loop.body.stmts):
        return None
    if not all(p.type in (I64, BOOL) for p in loop.body.params):
        return None
    values = list(loop.inits)
    for _ in range(LONGEST):
        known: dict[Atom, Atom] = dict(zip(loop.body.params, values))
        for stmt in loop.body.stmts:
            assert isinstance(stmt, Prim)
            args = tuple(_known(a, known) for a in stmt.args)
            result = fold(stmt.op, args, stmt.result.type)
            if not isinstance(result, Const):
                return None
            known[stmt.result] = result
        go, *values = (_known(a, known) for a in loop.body.yields)
        if not isinstance(go, Const) or not all(isinstance(v, Const) for v in values):
            return None
        if not go.value:
            return [v for v in values if isinstance(v, Const)]
    return None


def _known(a: Atom, known: Mapping[Atom, Atom]) -> Atom:
    return known.get(a, a)
