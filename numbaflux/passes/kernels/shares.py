"""Loops in which the threads of a block share some work, where each of them has a few trips of it.

    for k in range((n + s - 1 - t) // s):           d[t] = 0.0
        d[t + k*s] = 0.0                     →      if t < n - s:
                                                        d[t + s] = 0.0

where n and s are constants and t is a thread's number.  A loop counts its trips, which takes more
instructions than a few stores, a division among them.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import Atom, Block, Const, For, Function, Prim, Var
from numbaflux.ir.walk import clone, map_regions, substitute, walk
from numbaflux.passes.forms import ONE, Form, atom_of, form, plus
from numbaflux.passes.kernels.signs import Bounds
from numbaflux.passes.kernels.uniform import has_barrier

MOST_TRIPS, MOST_STATEMENTS = 4, 24


@stage
def shares(fn: Function, bounds: Bounds) -> Function:
    """The kernel with such loops written out; `bounds`: of threads' numbers the largest values."""
    return _Shares(fn, bounds).run()


class _Shares:
    def __init__(self, fn: Function, bounds: Bounds) -> None:
        self.fn, self.bounds = fn, bounds
        self.defined = {s.result: s for s in walk(fn.block) if isinstance(s, Prim)}

    def run(self) -> Function:
        return replace(self.fn, block=self.block(self.fn.block))

    def block(self, block: Block) -> Block:
        b = Builder()
        env: dict[Var, Atom] = {}
        for stmt in block.stmts:
            b.loc = stmt.loc
            inner = map_regions(stmt, self.block)
            if isinstance(inner, For) and (room := self.room(inner)) is not None:
                results = self.written_out(b, inner, *room)
                env.update(zip(inner.results, results, strict=True))
            else:
                b.append(inner)
        return substitute(replace(block, stmts=tuple(b.stmts)), env)

    def room(self, loop: For) -> tuple[Form, int] | None:
        """r and s of a loop's r // s trips, if it is to be written out."""
        count = self.defined.get(loop.count) if isinstance(loop.count, Var) else None
        match count:
            case Prim(op="floordiv", args=(room, Const(value=int(step)))) if step > 0:
                found = form(room, self.defined)
            case _:
                return None
        if not any(a != ONE for a in found) or not all(map(self.known, found)):
            return None
        trips = self.reach(found)[1] // step
        statements = sum(1 for _ in walk(loop.body))
        few = trips <= MOST_TRIPS and trips * statements <= MOST_STATEMENTS
        return (found, step) if few and not has_barrier(loop) else None

    def known(self, a: Atom) -> bool:
        made = self.defined.get(a) if isinstance(a, Var) else None
        return a == ONE or (isinstance(made, Prim) and made.op in self.bounds)

    def reach(self, f: Form) -> tuple[int, int]:
        """The least and the largest value of a sum of threads' numbers."""
        least = largest = f.get(ONE, 0)
        for a, c in f.items():
            if a != ONE and isinstance(a, Var):
                end = c * self.bounds[self.defined[a].op]
                least, largest = least + min(0, end), largest + max(0, end)
        return least, largest

    def written_out(self, b: Builder, loop: For, room: Form, step: int) -> list[Atom]:
        """The trips one after the other, each if there is room; what they carry at the end."""
        k, *params = loop.body.params
        carried: list[Atom] = list(loop.inits)
        least, largest = self.reach(room)
        for trip in range(largest // step):
            env = {k: index(trip), **dict(zip(params, carried))}
            body, _ = clone(replace(loop.body, params=()), env)
            if least >= (trip + 1) * step:
                b.stmts += body.stmts
                carried = list(body.yields)
                continue
            rest = plus(room, {ONE: -(trip + 1) * step})
            taken = {a: -c for a, c in rest.items() if c < 0}
            given = {a: c for a, c in rest.items() if c > 0}
            there = b.prim("le", atom_of(b, taken), atom_of(b, given))
            names = [p.name for p in params]
            carried = [*b.if_(there, body, Block((), (), tuple(carried)), names)]
        return carried
