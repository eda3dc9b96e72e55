"""Integers as a GPU counts them, for the code that is written.

    for k in range(64):                k = 0
        use(x[(k + t) % 64])     →     while True:
                                           use(x[k + t & 63])
                                           k += 1
                                           if k >= 64: break

Numba's range counts what is left beside k, and asks twice whether there is more.  Remainder and
quotient by a power of two are in Python the low and the high bits of an integer, whatever its sign;
a compiler that does not know the sign corrects what the machine's division gives.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import I64, Block, Const, For, Function, Prim, Stmt, Var, While
from numbaflux.ir.walk import map_regions


@stage
def integers(fn: Function) -> Function:
    """The kernel with such loops and divisions; its other statements are the same objects."""
    return replace(fn, block=_block(fn.block))


def _block(block: Block) -> Block:
    return replace(block, stmts=tuple(_stmt(map_regions(s, _block)) for s in block.stmts))


def _stmt(stmt: Stmt) -> Stmt:
    match stmt:
        case For(count=Const(value=int(n))) if n > 0:
            return _counted(stmt)
        case Prim(op="mod", args=(x, Const(value=int(n)))) if _power(n) and x.type == I64:
            return replace(stmt, op="bitand", args=(x, index(n - 1)))
        case Prim(op="floordiv", args=(x, Const(value=int(n)))) if _power(n) and x.type == I64:
            return replace(stmt, op="rshift", args=(x, index(n.bit_length() - 1)))
        case _:
            return stmt


def _power(n: int) -> bool:
    return n > 1 and n & (n - 1) == 0


def _counted(loop: For) -> While:
    """A loop that makes a trip at least."""
    k, b = loop.body.params[0], Builder(loop.loc)
    after = b.add(k, index(1), name=k.name)
    go = b.prim("lt", after, loop.count)
    body = replace(
        loop.body,
        stmts=(*loop.body.stmts, *b.stmts),
        yields=(go, after, *loop.body.yields),
    )
    return While((Var(k.name, I64), *loop.results), (index(0), *loop.inits), body, loop.loc)
