"""How much a trip of a loop does, as far as that is known when the loop is entered."""

from __future__ import annotations

from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import (
    Alloc,
    Atom,
    Block,
    Call,
    Dim,
    For,
    Gemm,
    If,
    Prim,
    Var,
    While,
)
from numbaflux.ir.walk import free, uses
from numbaflux.passes.counters import Hoist, key_of


def work(b: Builder, loop: For) -> Atom | None:
    """A bound of the places that the caches of one trip have: trips of inner loops, new elements.

    Written by `b` before the loop; None where that cannot be known.
    """
    known = {a for a in (*uses(loop), *free(loop.body)) if isinstance(a, Var)}
    hoist = Hoist(known, counts={key_of(loop): loop.count})
    try:
        return b.add(index(1), _block(b, hoist, loop.body, index(1)))
    except _Unknown:
        return None


class _Unknown(Exception):
    """A number that only the loop itself computes."""


def _block(b: Builder, hoist: Hoist, block: Block, times: Atom) -> Atom:
    """The places of a block that runs so many times."""
    total: Atom = index(0)
    for stmt in block.stmts:
        match stmt:
            case Prim(result=r) | Dim(result=r):
                hoist.definition[r] = stmt
            case For(count=count, body=body):
                trips = _product(b, hoist, times, (count,))
                hoist.counts[key_of(stmt)] = count
                total = b.add(total, b.add(trips, _block(b, hoist, body, trips)))
            case If(then=then, orelse=orelse):
                total = b.add(total, _block(b, hoist, then, times))
                total = b.add(total, _block(b, hoist, orelse, times))
            case Alloc(shape=shape):
                total = b.add(total, _product(b, hoist, times, shape))
            case Gemm(a=x, b=y):
                for a in (x, y):
                    if not isinstance(a, Var) or a in hoist.available:
                        total = b.add(total, _product(b, hoist, times, _shape(b, a)))
            case While() | Call():
                raise _Unknown
            case _:
                pass
    return total


def _shape(b: Builder, matrix: Atom) -> tuple[Atom, ...]:
    return b.dim(matrix, 0), b.dim(matrix, 1)


def _product(b: Builder, hoist: Hoist, times: Atom, counts: tuple[Atom, ...]) -> Atom:
    for n in counts:
        if not hoist.bounded(n):
            raise _Unknown
        times = b.mul(times, b.prim("max", hoist.bound(b, n), index(0)))
    return times
