"""Views that are the same in every trip, taken before the loop.

    for k in range(n):                    W = p[0:32].reshape((16, 2))
        W = p[0:32].reshape((16, 2))  →   for k in range(n):
        s += W[0, 0] * x[k]                   s += W[0, 0] * x[k]

A view by slices or by a shape touches no memory and cannot fail: what a loop does not do when it
makes no trip is not missed.  A view of a row, `a[i]`, stays: the index may be out of bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import Block, Dim, For, Function, Index, Reshape, Slice, Stmt, View, While
from numbaflux.ir.walk import defs, map_regions, uses, walk


@stage
def outward(fn: Function) -> Function:
    """The function with views before the loops that leave them alone."""
    if not any(map(_harmless, _in_loops(fn.block))):
        return fn
    return replace(fn, block=_block(fn.block))


def _in_loops(block: Block) -> Iterator[Stmt]:
    return (s for loop in walk(block) if isinstance(loop, For | While) for s in walk(loop.body))


def _block(block: Block) -> Block:
    return replace(block, stmts=tuple(new for s in block.stmts for new in _stmt(s)))


def _stmt(stmt: Stmt) -> Sequence[Stmt]:
    """The statement behind what leaves it."""
    stmt = map_regions(stmt, _block)
    if not isinstance(stmt, For | While):
        return (stmt,)
    inner = set(stmt.body.params)
    leaves: list[Stmt] = []
    stays: list[Stmt] = []
    for s in stmt.body.stmts:
        if _harmless(s) and inner.isdisjoint(uses(s)):
            leaves.append(s)
        else:
            stays.append(s)
            inner.update(defs(s))
    return *leaves, replace(stmt, body=replace(stmt.body, stmts=tuple(stays)))


def _harmless(stmt: Stmt) -> bool:
    match stmt:
        case View(how=Index(items)):
            return all(isinstance(i, Slice) for i in items)
        case View(how=Reshape()) | Dim():
            return True
        case _:
            return False
