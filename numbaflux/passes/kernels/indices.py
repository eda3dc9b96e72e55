"""Numbers of threads as one primitive where the user has put them together.

blockIdx.x * blockDim.x + threadIdx.x   →  grid(1)
gridDim.x * blockDim.x                  →  gridsize(1)
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.nodes import Atom, Block, Function, Prim, Stmt
from numbaflux.ir.walk import map_regions


@stage
def indices(fn: Function) -> Function:
    """The kernel with them recognised."""
    definition: dict[Atom, Prim] = {}

    def op(a: Atom) -> str:
        made = definition.get(a)
        return made.op if made is not None and not made.args else ""

    def product(a: Atom, left: str) -> str:
        """The axis of left * block_dim; empty if it is not that."""
        made = definition.get(a)
        if made is None or made.op != "mul":
            return ""
        for x, y in (made.args, made.args[::-1]):
            for axis in "xyz":
                if (op(x), op(y)) == (f"{left}_{axis}", f"block_dim_{axis}"):
                    return axis
        return ""

    def one(stmt: Stmt) -> Stmt:
        if not isinstance(stmt, Prim):
            return stmt
        definition[stmt.result] = stmt
        made = stmt
        if axis := product(stmt.result, "grid_dim"):
            made = replace(stmt, op=f"grid_size_{axis}", args=())
        elif stmt.op == "add":
            for x, y in (stmt.args, stmt.args[::-1]):
                axis = product(x, "block")
                if axis and op(y) == f"thread_{axis}":
                    made = replace(stmt, op=f"grid_{axis}", args=())
        definition[stmt.result] = made
        return made

    def visit(block: Block) -> Block:
        return replace(block, stmts=tuple(one(map_regions(s, visit)) for s in block.stmts))

    return replace(fn, block=visit(fn.block))
