"""Small arrays that a thread makes for itself: local memory, as `cuda.local.array` gives it.

    for k in range(n):               u = local empty(2)
        u = empty(2)            →    for k in range(n):
        u[...] = ...                     u[...] = ...

One array does for all trips of a loop if no trip sees that of another: if no name but its views
holds it.  Others stay, and become memory of the launch's (transforms/kernels/tapes.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, array_of, zero_of
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Block,
    Const,
    Dim,
    Function,
    Gemm,
    Load,
    Scalar,
    Stmt,
    Store,
    View,
)
from numbaflux.ir.walk import blocks, map_regions, uses, walk
from numbaflux.passes.alias import Aliases

LARGEST = 256  # elements


@stage
def private(fn: Function) -> Function:
    """The kernel with such arrays in local memory, made at its beginning."""
    alias = Aliases(fn)
    held = {site for a in _held(fn.block) for site in alias.of(a)}
    found = {s for s in walk(fn.block) if isinstance(s, Alloc) and _is_small(s)}
    found = {s for s in found if s.result not in held}
    if not found:
        return fn

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            if stmt not in found:
                b.append(map_regions(stmt, visit))
            elif stmt.zero:
                with b.each(stmt.shape) as place:
                    b.store(stmt.result, place, zero_of(array_of(stmt.result).element))
        return replace(block, stmts=tuple(b.stmts))

    block = visit(fn.block)
    first = (replace(s, space="local", zero=False) for s in walk(fn.block) if s in found)
    return replace(fn, block=replace(block, stmts=(*first, *block.stmts)))


def _is_small(stmt: Alloc) -> bool:
    t, sizes = array_of(stmt.result), [n.value for n in stmt.shape if isinstance(n, Const)]
    plain = not stmt.space and not t.grows and isinstance(t.element, Scalar)
    return plain and len(sizes) == t.ndim and prod(map(int, sizes)) <= LARGEST


def _held(block: Block) -> Iterator[Atom]:
    """Arrays that have another name, or are in another array, or known to another function."""
    for inner in blocks(block):
        yield from (a for a in inner.yields if isinstance(a.type, Array))
        for stmt in inner.stmts:
            yield from (a for a in _kept(stmt) if isinstance(a.type, Array))


def _kept(stmt: Stmt) -> tuple[Atom, ...]:
    match stmt:
        case Store() | Accumulate():
            return (stmt.value,)
        case View() | Load() | Dim() | Gemm() | Atomic():
            return ()
        case _:
            return uses(stmt)
