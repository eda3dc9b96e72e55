"""Barriers that nobody has to wait at: between two of them no memory of the block is touched.

A loop that does nothing but wait is one barrier after it, and goes.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import (
    Accumulate,
    Atomic,
    Barrier,
    Block,
    Extern,
    For,
    Function,
    Gemm,
    If,
    Load,
    Shuffle,
    Stmt,
    Store,
    While,
)
from numbaflux.ir.walk import map_regions, within
from numbaflux.passes.dead import dead_code

TOUCHING = Load | Store | Accumulate | Atomic | Gemm | Shuffle | Extern


@stage
def barriers(fn: Function) -> Function:
    """The kernel without needless barriers of the block."""
    if not fn.kernel:
        return fn
    stmts = _sequence(_pulled(fn.block).stmts, True)
    while stmts and not any(map(_touches, stmts[_last(stmts) + 1 :])) and _last(stmts) >= 0:
        at = _last(stmts)
        stmts = (*stmts[:at], *stmts[at + 1 :])
    return dead_code(replace(fn, block=replace(fn.block, stmts=stmts)))


def _touches(stmt: Stmt) -> bool:
    return any(isinstance(s, TOUCHING) for s in within(stmt))


def _waits(stmt: Stmt) -> bool:
    return isinstance(stmt, Barrier) and stmt.scope == "block"


def _last(stmts: tuple[Stmt, ...]) -> int:
    return max((i for i, s in enumerate(stmts) if _waits(s)), default=-1)


def _pulled(block: Block) -> Block:
    """The block with the barriers of loops that only wait put behind them."""
    stmts: list[Stmt] = []
    for stmt in block.stmts:
        stmt = map_regions(stmt, _pulled)
        inside = [s for s in within(stmt) if _waits(s) and s is not stmt]
        if isinstance(stmt, For | While) and inside and not _touches(stmt):
            stmts += [map_regions(stmt, _silent), inside[0]]
        else:
            stmts.append(stmt)
    return replace(block, stmts=tuple(stmts))


def _silent(block: Block) -> Block:
    stmts = tuple(map_regions(s, _silent) for s in block.stmts if not _waits(s))
    return replace(block, stmts=stmts)


def _sequence(stmts: tuple[Stmt, ...], clean: bool) -> tuple[Stmt, ...]:
    """Statements without barriers that follow a barrier at once; `clean`: so does the first."""
    kept: list[Stmt] = []
    for stmt in stmts:
        if _waits(stmt):
            if not clean:
                kept.append(stmt)
            clean = True
            continue
        if isinstance(stmt, If | For | While):
            stmt = map_regions(stmt, lambda r: replace(r, stmts=_sequence(r.stmts, False)))
        kept.append(stmt)
        clean = clean and not _touches(stmt)
    return tuple(kept)
