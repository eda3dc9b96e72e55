"""Loops over the elements of a tile, backward: a thread sums up the element of its own.

    for k in range(n):                          w_of[t] = w; barrier
        atomic d[k] += f(w, tile[k])      →     total = 0.0
                                                for u in range(n): total += f(w_of[u], tile[t])
                                                d[t] += total

where t is one of n threads, each of which has its own w.  Loop and thread change their roles: what
depends on the thread comes from shared memory, what depends on k is read once.  The same pairs are
computed, so nothing is looked at that was not before; but by other threads, so all wait for each
other before and after.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, array_of, index, zero_of
from numbaflux.ir.nodes import (
    I64,
    Accumulate,
    Alloc,
    Array,
    Atom,
    Barrier,
    Block,
    Const,
    For,
    Function,
    Prim,
    Scalar,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.ops import SHARED
from numbaflux.ir.walk import clone, free, map_regions, walk
from numbaflux.passes.forms import ONE, Form, atom_of, form, plus
from numbaflux.passes.kernels.carry import Pending, without
from numbaflux.passes.kernels.owner import Known, contested
from numbaflux.passes.kernels.tiles import Tiles
from numbaflux.passes.simplify import simplify

ROOM = 48 * 1024  # bytes of shared memory that any GPU gives a block


@stage
def swap(fn: Function, shadows: frozenset[Var], launch: Known) -> Function:
    """The kernel with such loops for those additions to `shadows` that are plain then."""
    arrays = contested(fn, shadows, launch)
    while arrays:
        made = _Swapper(fn, arrays, launch).run()
        left = contested(made, shadows, launch) & arrays
        if not left:
            return made
        arrays -= left
    return fn


@dataclass(frozen=True, slots=True)
class _Turned:
    """Additions of a loop to elements along `axis` of the block; `first`: k of thread 0.

    `values`: what they add, as a function of k and of what else is `given`.
    """

    loop: For
    axis: str
    sums: tuple[Pending, ...]
    values: Block
    k: Var
    first: int
    step: int


@dataclass(slots=True)
class _Staged:
    """What threads have for each other, by variable; where it is stored, and where all wait."""

    arrays: dict[Var, Var] = field(default_factory=dict)
    before: dict[Stmt, list[Var]] = field(default_factory=dict)
    after: set[Stmt] = field(default_factory=set)


class _Swapper(Tiles):
    def __init__(self, fn: Function, arrays: frozenset[Var], launch: Known) -> None:
        super().__init__(fn, arrays, launch)
        self.thread = {a: Var(f"thread_{a}", I64) for a in self.axes}
        self.staged = _Staged()
        self.turned: dict[For, list[_Turned]] = {}

    def run(self) -> Function:
        for loop in self.loops():
            self.turned[loop] = list(self._turned(loop))
        if not any(self.turned.values()) or self._bytes() > ROOM:
            return self.fn
        head: list[Stmt] = [Prim(v, f"thread_{a}", ()) for a, v in self.thread.items()]
        shape = tuple(index(self.sizes[a]) for a in self.axes)
        arrays = self.staged.arrays.values()
        head += [Alloc(array, shape, False, self.fn.loc, "shared") for array in arrays]
        block = self._visit(self.fn.block)
        return simplify(replace(self.fn, block=replace(block, stmts=(*head, *block.stmts))))

    def _bytes(self) -> int:
        """How much shared memory there is, with what threads have for each other."""
        total = 0
        for stmt in walk(self.fn.block):
            if isinstance(stmt, Alloc) and stmt.space in SHARED:
                if not all(isinstance(n, Const) for n in stmt.shape):
                    return ROOM + 1
                sizes = (int(n.value) for n in stmt.shape if isinstance(n, Const))
                total += prod(sizes) * _itemsize(stmt.result)
        threads = prod(self.sizes.values())
        return total + sum(threads * _itemsize(a) for a in self.staged.arrays.values())

    # ---- what can be turned --------------------------------------------------------------------

    def _turned(self, loop: For) -> Iterator[_Turned]:
        for (axis, first, step), additions in self.additions(loop).items():
            sums, values = self.values(loop, additions)
            if values is not None and self._stage(loop, axis, values):
                k = loop.body.params[0]
                yield _Turned(loop, axis, sums, values, k, first, step)

    # ---- what threads have for each other ------------------------------------------------------

    def _stage(self, loop: For, axis: str, values: Block) -> bool:
        """Have what depends on the thread stored in shared memory; whether that can be done."""
        places: dict[Var, Stmt] = {}
        for v in free(values):
            if v is loop.body.params[0] or v in self.uniform or self._number(v, axis) is not None:
                continue
            place = self._within(self.places.home[v], loop)
            if place is None or not isinstance(v.type, Scalar) or v.type.dtype == "bool":
                return False
            places[v] = place
        for v, place in places.items():
            if v not in self.staged.arrays:
                self.staged.arrays[v] = Var(f"{v.name}_of", _table(v, len(self.axes)))
                self.staged.before.setdefault(place, []).append(v)
                if self.places.home[v] is not self.fn.block:
                    self.staged.after.add(place)
        return True

    def _within(self, home: Block, loop: For) -> Stmt | None:
        """The statement of a block that a loop is in."""
        return next((s for s in (loop, *self.around(loop)) if s in home.stmts), None)

    def _number(self, v: Var, axis: str) -> Form | None:
        """An integer as a form of threads' numbers and what is the same for all of the block."""
        if v.type != I64:
            return None
        found = self.dependence.form(v)
        numbers = ("thread_", "grid_")
        known = (a == ONE or a in self.uniform or self.op(a).startswith(numbers) for a in found)
        return found if all(known) else None

    # ---- what it becomes -----------------------------------------------------------------------

    def _visit(self, block: Block) -> Block:
        b = Builder()
        own = tuple(self.thread[a] for a in self.axes)
        for stmt in block.stmts:
            b.loc = stmt.loc
            if stmt in self.staged.before:
                for v in self.staged.before[stmt]:
                    b.append(Store(self.staged.arrays[v], own, v, stmt.loc))
                b.append(Barrier("block", stmt.loc))
            turned = self.turned.get(stmt, []) if isinstance(stmt, For) else []
            if turned:
                b.append(Barrier("block", stmt.loc))
                gone = frozenset(s for t in turned for p in t.sums for s in p.of)
                b.append(map_regions(stmt, lambda r, gone=gone: without(r, gone)))
                for t in turned:
                    self._loop_of(b, t)
            else:
                b.append(map_regions(stmt, self._visit))
            if turned or stmt in self.staged.after:
                b.append(Barrier("block", stmt.loc))
        return replace(block, stmts=tuple(b.stmts))

    def _loop_of(self, b: Builder, t: _Turned) -> None:
        """for u in range(n): what thread u adds to the element of this one; then add it."""
        zeros = [zero_of(p.value.type) for p in t.sums]
        with b.for_(index(self.sizes[t.axis]), zeros, "other", ["total"] * len(zeros)) as loop:
            made, _ = clone(*self._of_another(b, t, loop.k))
            b.stmts += made.stmts
            pairs = zip(loop.carried, made.yields, strict=True)
            loop.yields = [b.add(total, value, "total") for total, value in pairs]
        for p, total in zip(t.sums, loop.results, strict=True):
            b.append(Accumulate(p.array, self._place(b, p, t), total, p.loc, True))

    def _of_another(self, b: Builder, t: _Turned, other: Var) -> tuple[Block, dict[Var, Atom]]:
        """What thread `other` adds here, and what its variables are."""
        env: dict[Var, Atom] = {}
        for v in free(t.values):
            if v in self.staged.arrays and self._number(v, t.axis) is None:
                place = [other if a == t.axis else self.thread[a] for a in self.axes]
                env[v] = b.load(self.staged.arrays[v], place, v.name)
        inside = {s.result: s for s in walk(t.values) if isinstance(s, Prim)}
        numbers = [v for v in (*inside, *free(t.values)) if v.type == I64 and v not in env]
        for v in numbers:
            found: Form | None = {}
            for a, c in form(v, inside).items():
                part = self._moved(a, t, other)
                found = None if part is None or found is None else plus(found, part, c)
            if found is not None:
                env[v] = atom_of(b, found)
        return _without_definitions(t.values, env), env

    def _moved(self, a: Atom, t: _Turned, other: Var) -> Form | None:
        """An integer of thread `other` in the trip that is this thread's, as a form."""
        if a is t.k:
            return plus({ONE: t.first}, {self.thread[t.axis]: t.step})
        if a == ONE or isinstance(a, Const):
            return {a: 1}
        theirs = self._number(a, t.axis) if isinstance(a, Var) and a in self.places.home else None
        if theirs is None:
            return None
        found: Form = {}
        for x, c in theirs.items():
            op = self.op(x)
            if op == f"thread_{t.axis}":
                found = plus(found, {other: c})
            elif op == f"grid_{t.axis}":
                found = plus(found, {x: c, other: c, self.thread[t.axis]: -c})
            elif op.startswith("thread_"):
                found = plus(found, {self.thread.get(op[-1], x): c})
            else:
                found = plus(found, {x: c})
        return found

    def _place(self, b: Builder, p: Pending, t: _Turned) -> tuple[Atom, ...]:
        """The element whose k is this thread's."""
        forms = (self.dependence.form(i) for i in p.index)
        return tuple(self.thread[t.axis] if t.k in f else atom_of(b, f) for f in forms)


def _without_definitions(block: Block, gone: Mapping[Var, Atom]) -> Block:
    kept = (s for s in block.stmts if not (isinstance(s, Prim) and s.result in gone))
    stmts = (map_regions(s, lambda r: _without_definitions(r, gone)) for s in kept)
    return replace(block, stmts=tuple(stmts))


def _table(v: Var, rank: int) -> Array:
    assert isinstance(v.type, Scalar)
    return Array(v.type, rank)


def _itemsize(array: Var) -> int:
    element = array_of(array).element
    assert isinstance(element, Scalar)
    return element.numpy.itemsize
