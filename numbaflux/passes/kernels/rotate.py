"""Loops over the elements of a tile, backward: the threads of a block take turns at each element.

    for k in range(n):                          for turn in range(n):
        w = f(x, tile[k])                           k = (turn + t) % n
        d_x += w                         →          w = f(x, tile[k])
        atomic d[k] += w                            d_x += w; d[k] += w
                                                    barrier

where t is one of n threads: no two are at the same element in a turn.  Swapping the roles of loop
and thread (swap.py) needs no barrier in the loop, but computes w twice, for the thread and for the
element: this is for those that take longer than a barrier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import I64, Accumulate, Atom, Barrier, Block, For, Function, Prim, Stmt, Var
from numbaflux.ir.ops import EXPENSIVE
from numbaflux.ir.walk import defs, map_regions, substitute, walk
from numbaflux.passes.forms import ONE
from numbaflux.passes.kernels.owner import Known, contested
from numbaflux.passes.kernels.tiles import Tiles
from numbaflux.passes.simplify import simplify

DEAR = EXPENSIVE | {"div", "sqrt"}
EFFORT = 10  # operations that a dear one counts for
WAIT = 24  # operations that a barrier, and accesses of memory that is shared, count for


@stage
def rotate(fn: Function, shadows: frozenset[Var], launch: Known) -> Function:
    """The kernel with such loops for those additions to `shadows` that are plain then."""
    arrays = contested(fn, shadows, launch)
    while arrays:
        made = _Rotator(fn, arrays, launch).run()
        left = contested(made, shadows, launch) & arrays
        if not left:
            return made
        arrays -= left
    return fn


class _Rotator(Tiles):
    def run(self) -> Function:
        self.turned: dict[For, tuple[str, int]] = {}  # the axis of the block, and k of thread 0
        for loop in self.loops():
            match list(self.additions(loop).items()):
                case [((axis, first, _), additions)] if self._worth(loop, additions):
                    self.turned[loop] = axis, first
                case _:
                    pass
        if not self.turned:
            return self.fn
        return simplify(replace(self.fn, block=self._visit(self.fn.block)))

    def _worth(self, loop: For, additions: list[Accumulate]) -> bool:
        """Whether trips may be made in any order, and are too long to be made twice."""
        others = [s for s in walk(loop.body) if isinstance(s, Accumulate) and s not in additions]
        apart = all(self.known_outside(a, loop.body) for s in others for a in s.index)
        if not self.dependence.orderless(loop) or not apart or not (others or loop.results):
            return False
        values = self.values(loop, additions)[1]
        return values is None or _work(values) > WAIT

    def _visit(self, block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            if isinstance(stmt, For) and stmt in self.turned:
                b.append(Barrier("block", stmt.loc))
                stmt = self._turned(stmt, *self.turned[stmt])
            b.append(map_regions(stmt, self._visit))
        return replace(block, stmts=tuple(b.stmts))

    def _turned(self, loop: For, axis: str, first: int) -> For:
        """`first`: k of thread 0, which is at the tile's other end if the loop counts down."""
        k, *carried = loop.body.params
        turn, b = Var("turn", I64), Builder(loop.loc)
        thread = b.prim(f"thread_{axis}", type=I64, name=f"thread_{axis}")
        place = b.prim("mod", b.add(turn, thread), index(self.sizes[axis]), name=k.name)
        env: dict[Var, Atom] = {k: place}
        if first:
            env = dict.fromkeys(self._other_ends(loop, first), place)
            env[k] = b.sub(index(first), place)
        body = substitute(loop.body, env)
        rest = (s for s in body.stmts if env.keys().isdisjoint(defs(s)))
        stmts: tuple[Stmt, ...] = (*b.stmts, *rest, Barrier("block", loop.loc))
        return replace(loop, body=replace(body, params=(turn, *carried), stmts=stmts))

    def _other_ends(self, loop: For, first: int) -> Iterator[Var]:
        """The integers of a body that are first - k."""
        other_end = {ONE: first, loop.body.params[0]: -1}
        for s in loop.body.stmts:
            if isinstance(s, Prim) and self._form(s.result) == other_end:
                yield s.result


def _work(block: Block) -> int:
    prims = (s for s in walk(block) if isinstance(s, Prim))
    return sum(EFFORT if s.op in DEAR else 1 for s in prims)
