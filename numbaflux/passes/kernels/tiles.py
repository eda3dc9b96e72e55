"""Loops of the threads of a block over the elements of a tile, one for each of them.

    for k in range(n): atomic d[k] += f(w, tile[k])

where each of the n threads of the block along an axis has its own w.  What is asked here of such a
loop, two passes ask: swap.py gives an element to a thread, rotate.py has threads take turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atom,
    Block,
    Const,
    Dim,
    For,
    Function,
    If,
    Load,
    Prim,
    Stmt,
    Var,
    View,
)
from numbaflux.ir.ops import SHARED, THREADS
from numbaflux.ir.walk import free, uses, walk
from numbaflux.passes.dependence import accesses
from numbaflux.passes.forms import ONE, Form, plus
from numbaflux.passes.kernels.carry import Carrier, Pending, silent
from numbaflux.passes.kernels.owner import Known
from numbaflux.passes.kernels.uniform import Uniform, has_barrier
from numbaflux.passes.simplify import simplify

How = tuple[str, int, int]  # the axis of the block, k of its thread 0, and how it goes on


class Tiles(Carrier):
    """What loops add to `arrays`, an element for each thread of an axis."""

    def __init__(self, fn: Function, arrays: frozenset[Var], launch: Known) -> None:
        super().__init__(fn)
        self.fn, self.arrays, self.launch = fn, arrays, launch
        self.uniform = Uniform(fn)
        self.written = self.alias.written_in(fn.block)
        self.axes = [a for a in "zyx" if f"thread_{a}" in launch.many]
        self.sizes = {a: launch.block["xyz".index(a)] for a in self.axes}
        self.leave: frozenset[Accumulate] = frozenset()

    def loops(self) -> Iterator[For]:
        """The loops that all threads of the block come to, without barriers inside."""
        for stmt in walk(self.fn.block):
            if isinstance(stmt, For) and not has_barrier(stmt) and self._all_come_by(stmt):
                yield stmt

    def additions(self, loop: For) -> dict[How, list[Accumulate]]:
        """The additions of a loop to such elements."""
        found: dict[How, list[Accumulate]] = {}
        for s in walk(loop.body):
            if isinstance(s, Accumulate) and s.array in self.arrays:
                how = self._how(s, loop)
                if how is not None and self._only_added_to(s.array, loop):
                    found.setdefault(how, []).append(s)
        return found

    def values(
        self, loop: For, additions: list[Accumulate]
    ) -> tuple[tuple[Pending, ...], Block | None]:
        """Sums of additions, and what they add in a trip: a function of k and of what is free.

        None if not any thread can compute it that knows what is free.
        """
        self.leave = frozenset(additions)
        b, sums = self._block(loop.body, self.leave)
        k, *carried = loop.body.params
        block = silent(Block((), tuple(b.stmts), tuple(p.value for p in sums.values())))
        given = tuple(v for v in free(block) if v is not k and v not in carried)
        params = (k, *carried, *given)
        apart = tuple(frozenset((v,)) for v in params if isinstance(v.type, Array))
        made = Function(
            "values", replace(block, params=params), loop.loc, {}, self.fn.kernel, apart
        )
        found = simplify(made).block
        used = {*found.yields, *(a for s in walk(found) for a in uses(s))}
        known = used.isdisjoint(carried) and all(self._again(s, loop) for s in walk(found))
        return tuple(sums.values()), replace(found, params=()) if known else None

    def leaving(self, region: Block) -> list[Accumulate]:
        return [s for s in walk(region) if isinstance(s, Accumulate) and s in self.leave]

    def _all_come_by(self, stmt: Stmt) -> bool:
        """Whether all threads of the block come to a loop, and make all its trips."""
        return all(
            isinstance(s, If | For) and (s.cond if isinstance(s, If) else s.count) in self.uniform
            for s in (stmt, *self.around(stmt))
        )

    def around(self, stmt: For | Stmt) -> Iterator[Stmt]:
        """The statements around one with regions, the innermost first."""
        assert isinstance(stmt, For)
        block = self.places.around[stmt.body][1]
        while block is not self.fn.block:
            around, block = self.places.around[block]
            yield around

    def _only_added_to(self, array: Atom, loop: For) -> bool:
        return all(a.sums for a in accesses(loop.body) if self.alias.meet(a.array, array))

    def _how(self, stmt: Accumulate, loop: For) -> tuple[str, int, int] | None:
        """The axis of the block that is not in a place, and which k is whose."""
        k, missing = loop.body.params[0], list(self.axes)
        first, step = 0, 0
        for i in stmt.index:
            f = self._form(i)
            rest = {a: c for a, c in f.items() if a not in (k, ONE)}
            if k in f and not rest and not step and abs(f[k]) == 1:
                step, first = f[k], -f[k] * f.get(ONE, 0)
            elif len(f) == 1 and (axis := self._axis(next(iter(f)))) in missing:
                if f[next(iter(f))] != 1:
                    return None
                missing.remove(axis)
            elif rest:
                return None
        if len(missing) != 1 or not step:
            return None
        n = self.sizes[missing[0]]
        whole = self.size(loop.count) == n and first == (0 if step == 1 else n - 1)
        return (missing[0], first, step) if whole else None

    def _form(self, a: Atom) -> Form:
        """An integer as a form, the sizes of the block being numbers."""
        found: Form = {}
        for x, c in self.dependence.form(a).items():
            n = self.size(x)
            found = plus(found, {x: c} if n is None or x == ONE else {ONE: c * n})
        return found

    def op(self, a: Atom) -> str:
        made = self.places.definition.get(a) if isinstance(a, Var) else None
        return made.op if isinstance(made, Prim) and made.op in THREADS else ""

    def _axis(self, a: Atom) -> str:
        op = self.op(a)
        return op[-1] if op.startswith("thread_") else ""

    def size(self, count: Atom) -> int | None:
        op = self.op(count)
        if op.startswith("block_dim"):
            return self.launch.block["xyz".index(op[-1])]
        return int(count.value) if isinstance(count, Const) else None

    def _again(self, stmt: Stmt, loop: For) -> bool:
        match stmt:
            case Prim(op=op):
                return op not in THREADS
            case Load(array=array):
                sites = self.alias.of(array)
                return sites.isdisjoint(
                    self.alias.written_in(loop.body) if self._shared(array) else self.written
                )
            case View() | Dim() | If() | For():
                return True
            case _:
                return False

    def _shared(self, array: Atom) -> bool:
        made = [self.places.definition.get(v) for v in self.alias.of(array) if isinstance(v, Var)]
        return bool(made) and all(isinstance(m, Alloc) and m.space in SHARED for m in made)
