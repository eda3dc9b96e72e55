"""Which thread runs, as one number: x first, then y, then z."""

from __future__ import annotations

from numbaflux.ir.build import Builder
from numbaflux.ir.nodes import I64, Atom


def in_block(b: Builder) -> tuple[Atom, Atom]:
    """The number of the thread in its block, and how many there are."""
    nx, ny, nz = (_number(b, f"block_dim_{axis}") for axis in "xyz")
    return _flat(b, "thread", nx, ny), b.mul(nx, b.mul(ny, nz))


def in_grid(b: Builder) -> Atom:
    """The number of the thread in the grid: that of its block, then its own in it."""
    thread, threads = in_block(b)
    nx, ny = (_number(b, f"grid_dim_{axis}") for axis in "xy")
    return b.add(b.mul(_flat(b, "block", nx, ny), threads), thread, name="thread")


def _flat(b: Builder, kind: str, nx: Atom, ny: Atom) -> Atom:
    x, y, z = (_number(b, f"{kind}_{axis}") for axis in "xyz")
    return b.add(x, b.mul(nx, b.add(y, b.mul(ny, z))))


def _number(b: Builder, op: str) -> Atom:
    return b.prim(op, type=I64, name=op)
