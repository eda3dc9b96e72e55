"""Which iterations of a loop can meet in memory, and what a loop only sums up.

note [Meeting]  Two accesses of different iterations never touch the same element if their arrays
are apart, or if both are indexed, at one position, by the same affine form of the counter that is
never negative (a negative index counts from the end, and may meet a positive one).

note [Slots]  References that a loop only permutes (two buffers, swapped) have the same sites, yet
at any moment they are as distinct as they were on entry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from numbaflux.ir.build import Builder, array_of, full_slice, index
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Block,
    Call,
    Const,
    Custom,
    Dim,
    Extern,
    For,
    Function,
    Gemm,
    Global,
    If,
    Index,
    Load,
    Prim,
    Print,
    Raise,
    Reshape,
    Slice,
    Stmt,
    Store,
    Transpose,
    Var,
    View,
    While,
)
from numbaflux.ir.walk import defs, regions, uses, walk, within
from numbaflux.passes.alias import written_arrays
from numbaflux.passes.forms import ONE, Form, form, plus
from numbaflux.passes.places import Places

Element = tuple[Atom, tuple[Form, ...] | None]  # an array and a place in it, if that is known


@dataclass(frozen=True, slots=True)
class Access:
    """How a statement touches an array; `index` is None if it may touch all of it."""

    array: Atom
    index: tuple[Atom, ...] | None
    writes: bool
    sums: bool = False  # it adds, in any order


def accesses(block: Block) -> Iterator[Access]:
    """What the statements of a block do to memory."""
    for stmt in walk(block):
        match stmt:
            case Load(array=array, index=i):
                yield Access(array, i, False)
            case Store(array=array, index=i):
                yield Access(array, i, True)
            case Accumulate(array=array, index=i):
                yield Access(array, i, True, True)
            case Atomic(array=array, index=i):
                yield Access(array, i, True)
            case Gemm(out=out, a=a, b=b):
                yield Access(out, None, True, True)
                yield Access(a, None, False)
                yield Access(b, None, False)
            case Extern(args=args) | Custom(args=args) | Call(args=args) | Print(args=args):
                written = written_arrays(stmt)
                yield from (Access(a, None, a in written) for a in args if _memory(a))
            case _:
                pass


def transparent(stmt: Stmt) -> bool:
    """Whether all that a statement does is in `accesses` and in what it defines."""
    moves = isinstance(stmt, Store) and isinstance(stmt.value.type, Array)
    kinds = Prim | Alloc | Load | Store | Accumulate | View | Dim | Gemm | If | For | While
    return isinstance(stmt, kinds) and not moves


class Dependence:
    """Affine indices and the memory that iterations share, in one function."""

    def __init__(self, fn: Function) -> None:
        self.places = Places(fn)
        self.alias = self.places.alias
        self.loops: dict[Var, For] = {}  # by counter
        self._elements: dict[tuple[Atom, tuple[Atom, ...] | None], Element] = {}
        for stmt in walk(fn.block):
            if isinstance(stmt, For):
                self.loops[stmt.body.params[0]] = stmt

    @staticmethod
    @lru_cache(maxsize=1)
    def of(fn: Function) -> Dependence:
        """What one pass after another asks of a function that all of them leave as it is."""
        return Dependence(fn)

    # ---- indices -------------------------------------------------------------------------------

    def form(self, a: Atom) -> Form:
        """The integer as an affine form of atoms that are no sums themselves."""
        return form(a, self.places.definition)

    def nonnegative(self, f: Form) -> bool:
        """Whether a form is provably at least zero, as counters and lengths are."""
        low: Form = f
        for a, c in f.items():
            if c < 0 and isinstance(a, Var) and a in self.loops:  # k <= count - 1
                low = plus(plus(low, {a: -c}), plus(self.form(self.loops[a].count), {ONE: -1}), c)
        return all(c >= 0 and (a == ONE or self._natural(a)) for a, c in low.items())

    def _natural(self, a: Atom) -> bool:
        match self.places.definition.get(a) if isinstance(a, Var) else None:
            case Dim():
                return True
            case Prim(op="max", args=args):
                return any(self.nonnegative(self.form(x)) for x in args)
            case Prim(op="min" | "mul", args=args):
                return all(self.nonnegative(self.form(x)) for x in args)
            case _:
                return isinstance(a, Var) and a in self.loops

    def invariant(self, a: Atom, loop: For) -> bool:
        """Whether an atom has one value for all iterations of a loop."""
        if not isinstance(a, Var):
            return True
        block = self.places.home[a]
        while block is not self.places.root:
            if block is loop.body:
                return False
            _, block = self.places.around[block]
        return True

    def block_of(self, stmt: Stmt) -> Block:
        """The block a statement with regions stands in."""
        _, block = self.places.around[regions(stmt)[0]]
        return block

    def shape(self, b: Builder, array: Atom) -> tuple[Atom, ...]:
        """The lengths of an array: those it was allocated with, where that is known."""
        known = self.shape_of(array)
        if known is not None:
            return known
        return tuple(b.dim(array, axis) for axis in range(array_of(array).ndim))

    def shape_of(self, array: Atom) -> tuple[Atom, ...] | None:
        """The lengths an array was allocated with, if they are known."""
        stmt = self.places.definition.get(array) if isinstance(array, Var) else None
        if isinstance(stmt, Alloc):
            return stmt.shape
        if not isinstance(array, Var) or self.places.permuted(array) is None:
            return None
        loop, _ = self.places.around[self.places.home[array]]
        assert isinstance(loop, For | While)
        cycle = self.places.permuted(array) or ()
        shapes = [self.shape_of(loop.inits[i]) for i, _ in cycle]
        first = shapes[0]
        if first is None or any(s is None for s in shapes):
            return None
        same = all(self.form(n) == self.form(m) for s in shapes for n, m in zip(first, s or ()))
        return first if same else None

    # ---- memory --------------------------------------------------------------------------------

    def apart(self, a: Atom, b: Atom) -> bool:
        """Whether two references never share memory within one iteration. note [Slots]"""
        if not self.alias.meet(a, b):
            return True
        (loop, i), (other, j) = self._slot(a), self._slot(b)
        if loop is None or loop is not other or i == j:
            return False
        mine, others = self._cycle(loop, i), self._cycle(loop, j)
        return all(self.apart(loop.inits[m], loop.inits[n]) for m in mine for n in others if m != n)

    def _cycle(self, loop: For | While, i: int) -> frozenset[int]:
        """The carried references among which the i-th goes round."""
        return frozenset(j for j, _ in self.places.permuted(_carried(loop)[i]) or ())

    def _slot(self, a: Atom) -> tuple[For | While | None, int]:
        """The loop that permutes a reference, or the base it is a view of, and where it began."""
        while isinstance(a, Var) and isinstance(stmt := self.places.definition.get(a), View):
            a = stmt.base
        if not isinstance(a, Var) or isinstance(a, Global):
            return None, -1
        stmt = self.places.definition.get(a)
        if isinstance(stmt, For | While):
            i = stmt.results.index(a)
            p = _carried(stmt)[i]
            return (stmt, i) if self._distinct(p) else (None, -1)
        if not self._distinct(a):
            return None, -1
        loop, _ = self.places.around[self.places.home[a]]
        assert isinstance(loop, For | While)
        return loop, _carried(loop).index(a)

    def _distinct(self, p: Var) -> bool:
        """Whether p is one of several carried references that are permuted and began apart."""
        cycle = self.places.permuted(p)
        if cycle is None:
            return False
        loop, _ = self.places.around[self.places.home[p]]
        assert isinstance(loop, For | While)
        members = [i for i, _ in cycle]
        return all(
            self.apart(loop.inits[i], loop.inits[j])
            for n, i in enumerate(members)
            for j in members[:n]
        )

    def touching(self, stmt: Stmt, array: Atom) -> list[Stmt]:
        """The statements in `stmt`, itself included, that may read or write memory of an array."""
        return [
            s
            for s in within(stmt)
            if not regions(s)
            and any(not self.apart(a.array, array) for a in accesses(Block((), (s,))))
        ]

    def touches(self, stmt: Stmt, array: Var) -> bool:
        """Whether a statement or one in its regions uses an array or a view of it."""
        return any(array in self.alias.of(a) for s in within(stmt) for a in uses(s))

    def private(self, a: Atom, loop: For) -> bool:
        """Whether an array is made anew in each iteration of a loop."""
        return all(isinstance(s, Var) and not self.invariant(s, loop) for s in self.alias.of(a))

    def meet(self, a: Access, b: Access, loop: For, other: For | None = None) -> bool:
        """Whether iteration i of `loop` and j != i of it (or of `other`, of the same count) can
        touch one element, at least one writing. note [Meeting]"""
        if not (a.writes or b.writes) or not self.alias.meet(a.array, b.array):
            return False
        other = other or loop
        (x, _), (y, _) = self.element(a), self.element(b)
        if not self.invariant(x, loop) or not self.invariant(y, other):
            return True
        if self.apart(x, y) or self.disjoint(a, b):
            return False
        return not self._alike(x, y) or self._gap(a, b, loop, other) is None

    def _alike(self, x: Atom, y: Atom) -> bool:
        """Whether two references are one array or apart, whichever way an `If` has chosen them."""
        for a, b in ((x, y), (y, x)):
            stmt = self.places.definition.get(a) if isinstance(a, Var) else None
            if isinstance(stmt, If) and x is not y:
                i = stmt.results.index(_var(a))
                return all(self._alike(arm.yields[i], b) for arm in (stmt.then, stmt.orelse))
        return x is y or self.apart(x, y)

    def disjoint(self, a: Access, b: Access) -> bool:
        """Whether two accesses go to parts of one array that have no element in common.

        The parts are known: what is added to a constant are counters of loops of constant trips.
        """
        (x, at), (y, bt) = self.element(a), self.element(b)
        if x is not y or at is None or bt is None:
            return False
        spans = [(self._span(f), self._span(g)) for f, g in zip(at, bt, strict=True)]
        return any(f and g and (f[1] < g[0] or g[1] < f[0]) for f, g in spans)

    def _span(self, f: Form) -> tuple[int, int] | None:
        """The least and the greatest value of a form that is never negative, if they are known."""
        low = high = 0
        for a, c in f.items():
            loop = self.loops.get(a) if isinstance(a, Var) else None
            count = index(2) if a == ONE else loop.count if loop else None
            if not isinstance(count, Const):
                return None
            ends = c * (a == ONE), c * (int(count.value) - 1)
            low, high = low + min(ends), high + max(ends)
        return (low, high) if low >= 0 else None

    def tied(self, a: Access, b: Access, loop: For, other: For) -> bool:
        """Whether iteration i of one touches the elements that i of the other does, and no j."""
        one = self.element(a)[0] is self.element(b)[0]
        return one and self._gap(a, b, loop, other) == 0

    def _gap(self, a: Access, b: Access, loop: For, other: For) -> int | None:
        """How far iteration i of one is from i of the other, on an axis that keeps j's away."""
        (x, at), (y, bt) = self.element(a), self.element(b)
        still = self.invariant(x, loop) and self.invariant(y, other)
        if not still or at is None or bt is None or len(at) != len(bt):
            return None
        gaps = [self._between(f, g, loop, other) for f, g in zip(at, bt, strict=True)]
        return min((g for g in gaps if g is not None), key=abs, default=None)

    def element(self, access: Access) -> Element:
        """The array that an access goes to through views, and its place there.

        Through a view whose places are no affine forms of the base's it does not go: two indices
        of one view are the same element if they are the same.
        """
        key = access.array, access.index
        if key not in self._elements:
            self._elements[key] = self._element(access)
        return self._elements[key]

    def _element(self, access: Access) -> Element:
        array = access.array
        at = None if access.index is None else tuple(self.form(i) for i in access.index)
        while isinstance(array, Var) and isinstance(
            view := self.places.definition.get(array), View
        ):
            below = None if at is None else self._through(view, at)
            if at is not None and below is None:
                break
            array, at = view.base, below
        return array, at

    def _through(self, view: View, at: tuple[Form, ...]) -> tuple[Form, ...] | None:
        """The place in the base of a view, where it is an affine form."""
        match view.how:
            case Transpose(axes):
                back = {axis: at[i] for i, axis in enumerate(axes)}
                return tuple(back[axis] for axis in range(len(axes)))
            case Index(items):
                rest, found = iter(at), []
                for item in items:
                    if isinstance(item, Slice):
                        found.append(self._sliced(item, next(rest)))
                    elif item is None:
                        next(rest)
                    else:
                        found.append(self.form(item))
                found += rest
                return None if None in found else tuple(found)
            case Reshape(lengths) if array_of(view.base).ndim == 1:
                return self._raveled(lengths, at)
            case _:
                return None

    def _raveled(self, lengths: Sequence[Atom], at: tuple[Form, ...]) -> tuple[Form] | None:
        """The place, counted in C order, in an array of constant lengths."""
        place: Form = {}
        for n, i in zip(lengths, at):
            if not isinstance(n, Const) or not self.nonnegative(i):
                return None
            place = plus(i, place, int(n.value))
        return (place,)

    def _sliced(self, item: Slice, i: Form) -> Form | None:
        if item == full_slice():
            return i
        start = {} if item.start is None else self.form(item.start)
        plain = item.step is None or item.step == ONE
        known = plain and self.nonnegative(start) and self.nonnegative(i)
        return plus(start, i) if known else None

    def _between(self, f: Form, g: Form, loop: For, other: For) -> int | None:
        """How much more f is than g in one iteration; None if they may meet in different ones.

        They are one affine form of the counter, never negative, but for what is less than a step:
        a constant, and counters of loops within, as in 32*k + j, with j < 32.
        """
        k, q = loop.body.params[0], other.body.params[0]
        first, second = dict(f), dict(g)
        c = first.pop(k, 0)
        if c == 0 or c != second.pop(q, 0) or not self.nonnegative(f) or not self.nonnegative(g):
            return None
        spread, others = self._spread(first, loop), self._spread(second, other)
        rest = dict(plus(first, second, -1))
        gap = rest.pop(ONE, 0)
        if spread is None or others is None or rest:
            return None
        if not all(self.invariant(a, other) for a in first):
            return None
        still = gap == spread == others == 0
        return gap if still or max(abs(gap + spread), abs(gap - others)) < abs(c) else None

    def _spread(self, f: dict[Atom, int], loop: For) -> int | None:
        """How much counters of loops within `loop` add at most, which are taken out of a form.

        None where something else changes, or where it is not known.
        """
        total = 0
        for a in [a for a in f if not self.invariant(a, loop)]:
            within = self.loops.get(a) if isinstance(a, Var) else None
            count = within.count if within is not None else None
            if not isinstance(count, Const) or f[a] < 0:
                return None
            total += f.pop(a) * (int(count.value) - 1)
        return total

    def settled(self, load: Load) -> bool:
        """Whether the outermost loop around a load only writes, afterwards, elements further on.

        As in a trajectory, x[k+1] = g(x[k]): what trip k loads, no later one writes.
        """
        loops = self.places.loops(self.places.home[load.result])
        loop = loops[0] if loops else None
        if not isinstance(loop, For):
            return False
        array, at = self.element(Access(load.array, load.index, False))
        writes = [a for a in accesses(loop.body) if a.writes and self.alias.meet(a.array, array)]
        plain = all(transparent(s) or isinstance(s, Raise | Extern) for s in walk(loop.body))
        if at is None or not plain or not self.invariant(array, loop):
            return False
        return self.places.intact(loop, array) and all(
            self._further(array, at, write, loop) for write in writes
        )

    def _further(self, array: Atom, at: tuple[Form, ...], write: Access, loop: For) -> bool:
        """Whether a write of any trip goes beyond the place `at` of that trip, on one axis."""
        base, bt = self.element(write)
        if base is not array or bt is None:
            return self.apart(array, base) and self.invariant(base, loop)
        k = loop.body.params[0]
        for f, g in zip(at, bt, strict=True):
            gap = plus(g, f, -1)
            steps = f.get(k, 0) > 0 and set(gap) == {ONE} and gap[ONE] > 0
            outside = all(self.invariant(a, loop) for a in f if a is not k)
            if steps and outside and self.nonnegative(f):
                return True
        return False

    def orderless(self, loop: For) -> bool:
        """Whether the iterations of a loop can run in any order, sums being rounded another way."""
        if not only_sums(loop) or not all(transparent(s) for s in walk(loop.body)):
            return False
        outer = [a for a in accesses(loop.body) if not self.private(a.array, loop)]
        writing = [a for a in outer if a.writes]
        return not any(
            self.meet(a, b, loop) for a in writing for b in outer if not (a.sums and b.sums)
        )


def _memory(a: Atom) -> bool:
    return isinstance(a.type, Array)


def _carried(loop: For | While) -> tuple[Var, ...]:
    return loop.body.params[1:] if isinstance(loop, For) else loop.body.params


# ---- sums --------------------------------------------------------------------------------------


def only_sums(loop: For) -> bool:
    """Whether every carried value is a number that the body only adds to."""
    used = Counter(a for a in all_uses(loop.body) if isinstance(a, Var))
    definition = {v: s for s in walk(loop.body) for v in defs(s)}
    for p, y in zip(loop.body.params[1:], loop.body.yields):
        links = _chain(y, p, definition)
        if links is None or isinstance(p.type, Array):
            return False
        seen = Counter(links)
        if any(used[v] != n for v, n in seen.items()) or (y is not p and p not in seen):
            return False
    return True


def _chain(y: Atom, p: Var, definition: Mapping[Var, Stmt]) -> list[Var] | None:
    """The uses of variables through which p, with terms added, becomes y; None if it does not."""
    if y is p:
        return [p]
    stmt = definition.get(y) if isinstance(y, Var) else None
    match stmt:
        case Prim(op="add" | "sub" as op, args=(a, b)):
            for x in (a, b)[: 1 if op == "sub" else 2]:
                below = _chain(x, p, definition)
                if below is not None:
                    return [*below, _var(y)]
            return None
        case If(results=results, then=then, orelse=orelse):
            i = results.index(_var(y))
            arms = [_chain(arm.yields[i], p, definition) for arm in (then, orelse)]
            if arms[0] is None or arms[1] is None:
                return None
            return [*arms[0], *arms[1], _var(y)]
        case For(results=results, inits=inits, body=body):
            i = results.index(_var(y))
            before = _chain(inits[i], p, definition)
            inside = _chain(body.yields[i], body.params[1 + i], definition)
            return None if before is None or inside is None else [*before, *inside, _var(y)]
        case _:
            return None


def _var(a: Atom) -> Var:
    assert isinstance(a, Var)
    return a


def all_uses(block: Block) -> Iterator[Atom]:
    """Every atom that a block reads, once for each time."""
    for stmt in walk(block):
        yield from uses(stmt)
        for region in regions(stmt):
            yield from region.yields
    yield from block.yields
