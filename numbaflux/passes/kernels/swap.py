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
    Dim,
    For,
    Function,
    If,
    Load,
    Prim,
    Scalar,
    Stmt,
    Store,
    Var,
    View,
)
from numbaflux.ir.ops import SHARED, THREADS
from numbaflux.ir.walk import clone, free, map_regions, uses, walk
from numbaflux.passes.dependence import accesses
from numbaflux.passes.forms import ONE, Form, atom_of, form, plus
from numbaflux.passes.kernels.carry import Carrier, Pending, silent, without
from numbaflux.passes.kernels.owner import Known, contested
from numbaflux.passes.kernels.uniform import Uniform, has_barrier
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


class _Swapper(Carrier):
    def __init__(self, fn: Function, arrays: frozenset[Var], launch: Known) -> None:
        super().__init__(fn)
        self.fn, self.arrays, self.launch = fn, arrays, launch
        self.uniform = Uniform(fn)
        self.written = self.alias.written_in(fn.block)
        self.axes = [a for a in "zyx" if f"thread_{a}" in launch.many]
        self.sizes = {a: launch.block["xyz".index(a)] for a in self.axes}
        self.thread = {a: Var(f"thread_{a}", I64) for a in self.axes}
        self.staged = _Staged()
        self.leave: frozenset[Accumulate] = frozenset()
        self.turned: dict[For, list[_Turned]] = {}

    def run(self) -> Function:
        for stmt in walk(self.fn.block):
            if isinstance(stmt, For) and not has_barrier(stmt) and self._all_come_by(stmt):
                self.turned[stmt] = list(self._turned(stmt))
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

    def _all_come_by(self, stmt: Stmt) -> bool:
        """Whether all threads of the block come to a loop, and make all its trips."""
        return all(
            isinstance(s, If | For) and (s.cond if isinstance(s, If) else s.count) in self.uniform
            for s in (stmt, *self._around(stmt))
        )

    def _around(self, stmt: For | Stmt) -> Iterator[Stmt]:
        """The statements around one with regions, the innermost first."""
        assert isinstance(stmt, For)
        block = self.places.around[stmt.body][1]
        while block is not self.fn.block:
            around, block = self.places.around[block]
            yield around

    # ---- what can be turned --------------------------------------------------------------------

    def leaving(self, region: Block) -> list[Accumulate]:
        return [s for s in walk(region) if isinstance(s, Accumulate) and s in self.leave]

    def _turned(self, loop: For) -> Iterator[_Turned]:
        found: dict[tuple[str, int, int], list[Accumulate]] = {}
        for s in walk(loop.body):
            if isinstance(s, Accumulate) and s.array in self.arrays:
                how = self._how(s, loop)
                if how is not None and self._only_added_to(s.array, loop):
                    found.setdefault(how, []).append(s)
        for (axis, first, step), additions in found.items():
            self.leave = frozenset(additions)
            b, sums = self._block(loop.body, self.leave)
            values = self._values(loop, b, [p.value for p in sums.values()])
            if values is not None and self._stage(loop, axis, values):
                k = loop.body.params[0]
                yield _Turned(loop, axis, tuple(sums.values()), values, k, first, step)

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
        whole = self._size(loop.count) == n and first == (0 if step == 1 else n - 1)
        return (missing[0], first, step) if whole else None

    def _form(self, a: Atom) -> Form:
        """An integer as a form, the sizes of the block being numbers."""
        found: Form = {}
        for x, c in self.dependence.form(a).items():
            n = self._size(x)
            found = plus(found, {x: c} if n is None or x == ONE else {ONE: c * n})
        return found

    def _op(self, a: Atom) -> str:
        made = self.places.definition.get(a) if isinstance(a, Var) else None
        return made.op if isinstance(made, Prim) and made.op in THREADS else ""

    def _axis(self, a: Atom) -> str:
        op = self._op(a)
        return op[-1] if op.startswith("thread_") else ""

    def _size(self, count: Atom) -> int | None:
        op = self._op(count)
        if op.startswith("block_dim"):
            return self.launch.block["xyz".index(op[-1])]
        return int(count.value) if isinstance(count, Const) else None

    def _values(self, loop: For, b: Builder, values: list[Atom]) -> Block | None:
        """What is added in a trip, if any thread can compute it that knows what is given."""
        k, *carried = loop.body.params
        block = silent(Block((), tuple(b.stmts), tuple(values)))
        given = tuple(v for v in free(block) if v is not k and v not in carried)
        params = (k, *carried, *given)
        apart = tuple(frozenset((v,)) for v in params if isinstance(v.type, Array))
        made = Function(
            "values", replace(block, params=params), loop.loc, {}, self.fn.kernel, apart
        )
        found = simplify(made).block
        used = {*found.yields, *(a for s in walk(found) for a in uses(s))}
        known = used.isdisjoint(carried) and all(self._again(s, loop) for s in walk(found))
        return replace(found, params=()) if known else None

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
        return next((s for s in (loop, *self._around(loop)) if s in home.stmts), None)

    def _number(self, v: Var, axis: str) -> Form | None:
        """An integer as a form of threads' numbers and what is the same for all of the block."""
        if v.type != I64:
            return None
        found = self.dependence.form(v)
        numbers = ("thread_", "grid_")
        known = (a == ONE or a in self.uniform or self._op(a).startswith(numbers) for a in found)
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
            op = self._op(x)
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
