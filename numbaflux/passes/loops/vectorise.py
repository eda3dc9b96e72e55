"""Elementary functions over vectors: `exp` of several iterations at once.

In a loop whose iterations do not wait for each other, `exp` becomes `vec_exp`, which LLVM can
compute for a vector of iterations.  What hangs on a value that the loop carries, or cannot run over
vectors for another reason, is done after the rest, a block of iterations at a time; the values it
needs are kept for that long.

    for k in range(n):                   for b in range((n + 255) // 256):
        t = exp(x[k])                        for j in range(min(256, n - 256*b)):
        y[k] = t                  →              k = 256*b + j
        s += t                                   t = vec_exp(x[k]); y[k] = t; kept[j] = t
                                             for j in range(min(256, n - 256*b)):
                                                 s += kept[j]

Every element and every sum sees its operations in the old order, so no value changes but by what
the functions differ in, an ulp.

note [Waiting]  A statement waits for the second loop if it uses a carried value or what waits, if
it is no work for vectors, or if it touches memory that one which waits touches, in another order.

note [Trips]  A loop of few trips, known when it is compiled, LLVM takes apart before it thinks of
vectors: 16 times `tanh` then take five times as long.  So it is not told how many there are.

note [Division]  Numba's check for a division by zero becomes one check after the first loop, where
nobody sees how far that has come: it writes only what the function itself has made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, array_of, index
from numbaflux.ir.nodes import (
    BOOL,
    I64,
    Accumulate,
    Alloc,
    Array,
    Atom,
    Block,
    Const,
    Dim,
    For,
    Function,
    Load,
    Prim,
    Raise,
    Scalar,
    Stmt,
    Store,
    Type,
    Var,
)
from numbaflux.ir.ops import EXPENSIVE, PLAIN, VECTOR
from numbaflux.ir.walk import defs, map_atoms, map_defs, map_regions, regions, uses, walk
from numbaflux.passes.dependence import Access, Dependence, accesses
from numbaflux.passes.loops.hoist import hoist

Kept = dict[Var, tuple[Atom, Atom]]  # the array and the row where a value is kept

BLOCK = 256  # iterations, whose kept values stay in the first level of cache
FEWEST = 8  # iterations that are worth it
MOST = 64  # iterations that LLVM would take apart. note [Trips]
PRICE = 3  # kept values, at most, for each function over vectors
VECTORS = set(VECTOR) | set(PLAIN)
SCALAR = (EXPENSIVE - VECTORS) | {"floordiv", "mod", "fmod"}  # not over vectors


@stage
def vectorise(fn: Function) -> Function:
    """The function with elementary functions over vectors where they can be."""
    if not any(map(_elementary, walk(fn.block))):
        return fn
    return hoist(replace(fn, block=_Vectorise(Dependence.of(fn)).block(fn.block)))


class _Vectorise:
    def __init__(self, dependence: Dependence) -> None:
        self.dependence = dependence

    def block(self, block: Block) -> Block:
        stmts = [new for stmt in block.stmts for new in self.stmt(stmt)]
        return replace(block, stmts=tuple(stmts))

    def stmt(self, stmt: Stmt) -> Sequence[Stmt]:
        if not isinstance(stmt, For) or any(regions(s) for s in stmt.body.stmts):
            return (map_regions(stmt, self.block),)
        parts = _parts(self.dependence, stmt)
        return (stmt,) if parts is None else _Split(self.dependence, stmt, parts).loops()


@dataclass(frozen=True, slots=True)
class _Parts:
    """The statements of a loop: those that do not wait, those that do, checks of a division."""

    quick: tuple[Stmt, ...]
    waiting: tuple[Stmt, ...]
    checks: tuple[Raise, ...]


def _parts(dependence: Dependence, loop: For) -> _Parts | None:
    """The parts of a loop that is worth it; None for another one."""
    few = isinstance(loop.count, Const) and int(loop.count.value) < FEWEST
    checks = tuple(s for s in loop.body.stmts if isinstance(s, Raise))
    stmts = tuple(s for s in loop.body.stmts if not isinstance(s, Raise))
    plain = all(_plain(p.type) for p in loop.body.params) and all(map(_arithmetic, stmts))
    if few or not plain or loop.slots is not None or not _movable(dependence, loop, checks):
        return None
    waiting = _Waiting(dependence, loop, stmts)
    parts = _Parts(
        tuple(s for s in stmts if s not in waiting.found),
        tuple(s for s in stmts if s in waiting.found),
        checks,
    )
    functions = sum(map(_elementary, parts.quick))
    early = all(c.cond not in waiting.late for c in checks)
    return parts if functions and early and not (loop.parallel and checks) else None


def _movable(dependence: Dependence, loop: For, checks: Sequence[Raise]) -> bool:
    """Whether checks can be made after the loop. note [Division]"""
    alike = {(c.exception, c.args) for c in checks}
    if not alike:
        return True
    written = dependence.alias.written_in(loop.body)
    made = dependence.places.definition
    own = all(isinstance(s, Var) and isinstance(made.get(s), Alloc) for s in written)
    return own and len(alike) == 1 and checks[0].exception is ZeroDivisionError


def _arithmetic(stmt: Stmt) -> bool:
    match stmt:
        case Prim(result=result, args=args):
            return all(_plain(a.type) for a in (result, *args))
        case Load(result=result, array=array):
            return _plain(result.type) and not array_of(array).grows
        case Store(array=array, value=value) | Accumulate(array=array, value=value):
            return _plain(value.type) and not array_of(array).grows
        case _:
            return isinstance(stmt, Dim)


def elementary(loop: For) -> bool:
    """Whether a loop has elementary functions, and enough trips to compute several at once."""
    few = isinstance(loop.count, Const) and int(loop.count.value) < FEWEST
    return not few and any(map(_elementary, loop.body.stmts))


def _elementary(stmt: Stmt) -> bool:
    return isinstance(stmt, Prim) and stmt.op in VECTORS


def _plain(type: Type) -> bool:
    return isinstance(type, Scalar) and not type.lanes


def _veiled(b: Builder, trips: Atom) -> Atom:
    """The number of trips, hidden from LLVM if it is small and known. note [Trips]"""
    if not isinstance(trips, Const) or int(trips.value) > MOST:
        return trips
    n = Var("n", I64)
    b.append(Prim(n, "veiled", (trips,), b.loc))
    return n


def _over_vectors(stmts: Iterable[Stmt]) -> tuple[Stmt, ...]:
    return tuple(
        replace(s, op=VECTOR[s.op]) if isinstance(s, Prim) and s.op in VECTOR else s for s in stmts
    )


# ---- what waits --------------------------------------------------------------------------------


class _Waiting:
    """The statements of a loop that wait. note [Waiting]"""

    def __init__(self, dependence: Dependence, loop: For, stmts: Sequence[Stmt]) -> None:
        self.dependence, self.loop, self.stmts = dependence, loop, stmts
        self.touches = {s: [*accesses(Block(stmts=(s,)))] for s in self.stmts}
        self.place = {s: i for i, s in enumerate(self.stmts)}
        self.late: set[Atom] = set(loop.body.params[1:])
        self.found: dict[Stmt, None] = {}
        for s in self.stmts:
            if not self._streams(s):
                self._wait(s)
        while late := next((s for s in self.stmts if self._must(s)), None):
            self._wait(late)

    def _wait(self, stmt: Stmt) -> None:
        self.found[stmt] = None
        self.late.update(defs(stmt))

    def _must(self, stmt: Stmt) -> bool:
        return stmt not in self.found and (
            not self.late.isdisjoint(uses(stmt)) or any(self._meet(stmt, t) for t in self.found)
        )

    def _meet(self, stmt: Stmt, late: Stmt) -> bool:
        """Whether `late` touches what `stmt` touches, and must not do so after it."""
        before = self.place[late] < self.place[stmt]
        return any(
            self.dependence.meet(a, b, self.loop) or (before and self._same(a, b))
            for a in self.touches[stmt]
            for b in self.touches[late]
        )

    def _same(self, a: Access, b: Access) -> bool:
        return (a.writes or b.writes) and not self.dependence.apart(a.array, b.array)

    def _streams(self, stmt: Stmt) -> bool:
        """Whether a statement is work for vectors, as far as it depends on itself."""
        if isinstance(stmt, Prim):
            constant = isinstance(stmt.args[-1], Const)
            return stmt.op not in SCALAR and (stmt.op != "ipow" or constant)
        return all(self._stream(a) for a in self.touches[stmt])

    def _stream(self, a: Access) -> bool:
        """Whether an access moves along with the counter and meets no other iteration's.

        Two arrays count as apart here: LLVM asks before it enters the loop.
        """
        others = [b for s in self.stmts for b in self.touches[s] if b.writes or a.writes]
        base = self.dependence.element(a)[0]
        mine = [b for b in others if self.dependence.element(b)[0] is base]
        if any(not self.dependence.tied(a, b, self.loop, self.loop) for b in mine):
            return False
        still = all(self.dependence.invariant(i, self.loop) for i in a.index or ())
        return still or self.dependence.tied(a, a, self.loop, self.loop)


# ---- two loops ---------------------------------------------------------------------------------


class _Split:
    """A loop as one over what does not wait and one over what does."""

    def __init__(self, dependence: Dependence, loop: For, parts: _Parts) -> None:
        self.dependence, self.loop, self.parts = dependence, loop, parts
        self.definition = {v: s for s in parts.quick for v in defs(s)}
        self.written = dependence.alias.written_in(loop.body)
        self.again: dict[Stmt, None] = {}  # computed in both loops
        self.kept: dict[Var, None] = {}
        for s in parts.waiting:
            self._need(uses(s))
        self._need(loop.body.yields)

    def _need(self, atoms: Iterable[Atom]) -> None:
        """Note how the second loop comes by the values."""
        for a in atoms:
            stmt = self.definition.get(a) if isinstance(a, Var) else None
            if stmt is None or stmt in self.again:
                continue
            if self._cheap(stmt):
                self._need(uses(stmt))
                self.again[stmt] = None
            else:
                self.kept.update(dict.fromkeys(defs(stmt)))

    def _cheap(self, stmt: Stmt) -> bool:
        """Whether to compute something again rather than to keep it."""
        match stmt:
            case Load(array=array):
                return self.written.isdisjoint(self.dependence.alias.of(array))
            case Prim(result=result):
                return result.type == I64
            case _:
                return isinstance(stmt, Dim)

    # ---- code ----------------------------------------------------------------------------------

    def loops(self) -> Sequence[Stmt]:
        functions = sum(map(_elementary, self.parts.quick))
        if len(self.kept) > PRICE * functions:
            return (self.loop,)
        b = Builder(self.loop.loc)
        count, body, results = self.loop.count, self.loop.body, self.loop.results
        if not body.params[1:] and not self.parts.waiting:
            self._both(b, None, count, {}, (), ())
            return b.stmts
        whole = isinstance(count, Const) and int(count.value) <= BLOCK
        if whole and self.loop.parallel:
            return (self.loop,)
        if whole:
            kept = self._room(b, count)
            self._both(b, None, count, kept, self.loop.inits, results)
            return b.stmts
        inner = Builder(self.loop.loc)
        kept = self._room(inner if self.loop.parallel else b, index(BLOCK))  # each thread has one
        outer = Var("b", I64)
        carried = tuple(Var(p.name, p.type) for p in body.params[1:])
        after = tuple(Var(p.name, p.type) for p in carried)
        blocks = b.prim("floordiv", b.add(count, index(BLOCK - 1)), index(BLOCK))
        first = inner.mul(outer, index(BLOCK), name="first")
        trips = inner.prim("min", index(BLOCK), inner.sub(count, first), name="trips")
        self._both(inner, first, trips, kept, carried, after)
        block = Block((outer, *carried), tuple(inner.stmts), after)
        b.append(replace(self.loop, count=blocks, body=block))
        return b.stmts

    def _room(self, b: Builder, size: Atom) -> Kept:
        """Memory for the values that are kept, of one type in one array."""
        kept: Kept = {}
        for type in dict.fromkeys(v.type for v in self.kept):
            values = [v for v in self.kept if v.type == type]
            assert isinstance(type, Scalar)
            array = b.alloc([index(len(values)), size], Array(type, 2), False, "kept")
            kept.update((v, (array, index(row))) for row, v in enumerate(values))
        return kept

    def _both(
        self,
        b: Builder,
        first: Atom | None,
        trips: Atom,
        kept: Kept,
        inits: Sequence[Atom],
        results: Sequence[Var],
    ) -> None:
        """The two loops, over iterations from `first` on, the second only if anything waits."""
        self._quick(b, first, trips, kept)
        if inits or self.parts.waiting:
            block = self._waiting(first, kept)
            loop = replace(self.loop, results=results, inits=inits, body=block)
            b.append(replace(loop, count=trips, parallel=False))

    def _quick(self, b: Builder, first: Atom | None, trips: Atom, kept: Kept) -> None:
        k, checks = self.loop.body.params[0], self.parts.checks
        j = k if first is None else Var("j", I64)
        inner = Builder(self.loop.loc)
        if first is not None:
            inner.append(Prim(k, "add", (first, j), b.loc))
        inner.stmts += _over_vectors(self.parts.quick)
        for v, (array, row) in kept.items():
            inner.store(array, [row, j], v)
        trips = _veiled(b, trips)
        if not checks:
            loop = replace(self.loop, results=(), inits=(), body=inner.block((j,)))
            b.append(replace(loop, count=trips, parallel=loop.parallel and first is None))
            return
        bad, found = Var("bad", BOOL), Var("bad", BOOL)
        any_: Atom = bad
        for check in checks:
            any_ = inner.prim("bitor", check.cond, any_, name="bad")
        body = inner.block((j, bad), (any_,))
        no = Const(False, BOOL)
        b.append(replace(self.loop, results=(found,), count=trips, inits=(no,), body=body))
        b.append(replace(checks[0], cond=found))

    def _waiting(self, first: Atom | None, kept: Kept) -> Block:
        k, *carried = self.loop.body.params
        j = Var(k.name if first is None else "j", I64)
        b = Builder(self.loop.loc)
        new: dict[Atom, Atom] = {k: j}

        def renew(a: Atom) -> Atom:
            return new.get(a, a)

        if first is not None and self._reads_counter():
            new[k] = b.add(first, j, name=k.name)
        for s in self.again:
            fresh = {v: Var(v.name, v.type) for v in defs(s)}
            b.append(map_defs(map_atoms(s, renew), lambda v, fresh=fresh: fresh[v]))
            new |= fresh
        for v, (array, row) in kept.items():
            new[v] = b.load(array, [row, j], name=v.name)
        for s in self.parts.waiting:
            b.append(map_atoms(s, renew))
        return b.block((j, *carried), [renew(a) for a in self.loop.body.yields])

    def _reads_counter(self) -> bool:
        k = self.loop.body.params[0]
        stmts = (*self.again, *self.parts.waiting)
        return k in self.loop.body.yields or any(k in uses(s) for s in stmts)
