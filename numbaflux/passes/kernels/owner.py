"""Which additions to shadows need not be atomic: the owner rule.

A reverse sweep adds to the shadow of what the primal has loaded.  If the primal has no race, the
only accesses of two threads to one element that were not there before are additions from loads of
one element by both, between the same barriers (or anywhere in the grid, for what blocks share).
So an addition is its thread's own if all additions it may meet have one and the same map from
threads to elements, and that is injective, or go to elements that are proven to be others:

    x[grid_x + c, ...]      one thread of the grid for each element
    x[grid_x + k*grid_size] the same, in a grid-stride loop
    s[4*thread_x + k]       one thread of the block, for a shared array and k in 0 .. 3
    s[(thread_x + 1) % n]   as many threads, or fewer
    s[thread_x], s[thread_x + n] where thread_x < n: parts that are apart
    if thread_x == 0: ...   one thread

note [Parts]  A thread is told by six numbers, its place in the block and that of the block in the
grid along each axis.  An index or a condition pins some of them down; all that can differ in the
launch (`Known.many`) have to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Atom,
    Barrier,
    Block,
    Const,
    Dim,
    For,
    Function,
    If,
    Loc,
    Prim,
    Stmt,
    Var,
    View,
    While,
)
from numbaflux.ir.ops import SHARED, THREADS
from numbaflux.ir.walk import blocks, map_regions, walk
from numbaflux.passes.alias import Aliases
from numbaflux.passes.dependence import Access, Dependence
from numbaflux.passes.forms import ONE, Form, plus
from numbaflux.passes.kernels.signs import FACTS, Signs
from numbaflux.passes.kernels.trips import bounds
from numbaflux.passes.kernels.uniform import OF_LAUNCH, Phases, Uniform

PARTS = tuple(f"{kind}_{axis}" for kind in ("thread", "block") for axis in "xyz")

OWN = "each thread adds to elements of its own"
CONDITION = "condition"  # where a pin is that no index gives

Pins = dict[str, tuple]  # part -> what pins it down, equal for equal maps. note [Parts]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a launch: the shape of a block, and which parts have several values."""

    block: tuple[int, int, int]
    many: frozenset[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one addition to a shadow is done: `plain`, because of `why`, or atomically."""

    array: str
    loc: Loc
    plain: bool
    why: str


@dataclass(frozen=True, slots=True)
class Owned:
    """A kernel with as few atomic additions as are proven needless."""

    fn: Function
    verdicts: tuple[Verdict, ...]


def own(fn: Function, shadows: Iterable[Var], launch: Known) -> Owned:
    """The kernel with those of its additions to `shadows` made plain that only one thread makes."""
    return _Owner(fn, launch).run(frozenset(shadows))


def contested(fn: Function, shadows: frozenset[Var], launch: Known) -> frozenset[Var]:
    """The shared arrays that several threads may add to one element of."""
    owned = own(fn, shadows, launch).fn
    alias, stmts = Aliases(owned), list(walk(owned.block))
    found = {a for s in stmts if isinstance(s, Accumulate) and s.atomic for a in alias.of(s.array)}
    made = (s.result for s in stmts if isinstance(s, Alloc) and s.space in SHARED)
    return frozenset(v for v in made if v in shadows and v in found)


class _Owner:
    def __init__(self, fn: Function, launch: Known) -> None:
        self.fn, self.launch = fn, launch
        self.dependence = Dependence.of(fn)
        self.places = self.dependence.places
        self.alias = self.dependence.alias
        self.uniform, self.phases = Uniform(fn), Phases(fn)
        self.largest = bounds(launch.block)
        self.signs = Signs(fn, self.largest).run()
        self.home = {s: block for block in blocks(fn.block) for s in block.stmts}
        self.verdicts: list[Verdict] = []

    def run(self, shadows: frozenset[Var]) -> Owned:
        additions = tuple(
            s
            for s in walk(self.fn.block)
            if isinstance(s, Accumulate) and s.atomic and self.alias.of(s.array) <= shadows
        )
        plain = {stmt for stmt in additions if self._owned(stmt, additions)}

        def visit(block: Block) -> Block:
            return replace(block, stmts=tuple(one(map_regions(s, visit)) for s in block.stmts))

        def one(stmt: Stmt) -> Stmt:
            return replace(stmt, atomic=False) if stmt in plain else stmt

        fn = replace(self.fn, block=visit(self.fn.block))
        return Owned(fn, tuple(self.verdicts))

    def _is_shared(self, stmt: Accumulate) -> bool:
        sites = self.alias.of(stmt.array)
        made = [self.places.definition.get(s) for s in sites if isinstance(s, Var)]
        return bool(made) and all(isinstance(m, Alloc) and m.space in SHARED for m in made)

    def _owned(self, stmt: Accumulate, additions: tuple[Accumulate, ...]) -> bool:
        """Whether no two threads add to one element by this and the additions it may meet."""
        shared = self._is_shared(stmt)
        group = [a for a in additions if self._meet(a, stmt, shared)]
        needed = {p for p in self.launch.many if p.startswith("thread") or not shared}
        pins = [self._pins(a, shared) for a in group]
        maps = [{n: p[n] for n in needed if n in p} for p in pins]
        pairs = combinations(zip(maps, group), 2)
        if any(needed > p.keys() for p in maps):
            why = "several threads may add to one element"
        elif self._mixed(group, shared) or not all(
            f == g or self._disjoint(a, b, shared) for (f, a), (g, b) in pairs
        ):
            why = "threads add to their neighbours' elements"
        elif not all(map(self._counts_up, group, maps)):
            why = "an index may be negative, and counts from the end then"
        else:
            why = OWN
        same = why == OWN
        name = getattr(stmt.array, "name", "array")
        self.verdicts.append(Verdict(name, stmt.loc, same, why))
        return same

    def _mixed(self, group: list[Accumulate], shared: bool) -> bool:
        """Whether the end of one trip and the beginning of the next may be one phase."""
        if not shared or len(group) == 1 or self.phases.once(group):
            return False
        return any(self._moves(a) for a in group)

    def _disjoint(self, a: Accumulate, b: Accumulate, shared: bool) -> bool:
        """Whether two threads never add to one element, the one by `a` and the other by `b`."""
        (array, place), (other, there) = self._element(a), self._element(b)
        if array is not other:
            return False
        env: dict[Atom, Atom] = {}

        def theirs(form: Form) -> Form:
            """A form of the other thread's numbers."""
            for x in form:
                if x not in env and isinstance(x, Var):
                    env[x] = x if self._fixed(x, shared) else Var(x.name, x.type)
            return {env.get(x, x): c for x, c in form.items()}

        signs = self.signs
        mine = [*self._facts(a), *self._sizes()]
        signs.facts = [*mine, *map(theirs, [*self._facts(b), *self._sizes()])]
        gaps = [plus(theirs(g), f, -1) for f, g in zip(place, there, strict=True)]
        signs.positive |= {w for v, w in env.items() if v in signs.positive and isinstance(w, Var)}
        return any(
            signs.holds(plus({ONE: -1}, gap, sign), FACTS + 1) for gap in gaps for sign in (1, -1)
        )

    def _facts(self, stmt: Accumulate) -> Iterator[Form]:
        """What is known of integers where an addition is made."""
        block = self.home[stmt]
        while block is not self.places.root:
            around, outer = self.places.around[block]
            if isinstance(around, If):
                yield from self.signs.known(around.cond, block is around.then)
            block = outer

    def _sizes(self) -> Iterator[Form]:
        """That a thread's numbers are less than the sizes of the block."""
        for v, made in self.places.definition.items():
            if isinstance(made, Prim) and made.op in self.largest:
                yield {ONE: self.largest[made.op], v: -1}

    def _element(self, stmt: Accumulate) -> tuple[Atom, tuple[Form, ...]]:
        """The array that is added to, and the place in it if that is known."""
        array, at = self.dependence.element(Access(stmt.array, stmt.index, True, True))
        if isinstance(array, Var) and isinstance(self.places.definition.get(array), View):
            return array, ()  # a place in a view says nothing of places in its base
        return array, at or ()

    def _counts_up(self, stmt: Accumulate, pins: Pins) -> bool:
        """Whether no index that tells threads apart is negative; others stay in their axis."""
        axes = {where for where, *_ in pins.values()} - {CONDITION}
        array, place = self._element(stmt)
        if array is stmt.array:
            return all((stmt, axis) in self.signs.found for axis in axes)
        self.signs.facts = list(self._facts(stmt))
        return all(self.signs.holds(place[axis]) for axis in axes)

    def _meet(self, a: Accumulate, b: Accumulate, shared: bool) -> bool:
        same = self.alias.meet(a.array, b.array)
        return same and (not shared or self.phases.together(a, b))

    def _moves(self, stmt: Accumulate) -> bool:
        """Whether an index changes from trip to trip of a loop."""
        return any(
            isinstance(a, Var) and self.places.loops(self.places.home[a]) for a in stmt.index
        )

    # ---- what is pinned down -------------------------------------------------------------------

    def _pins(self, stmt: Accumulate, shared: bool) -> Pins:
        found: Pins = {}
        for cond in self._conditions(self.home[stmt]):
            if isinstance(cond, Prim) and cond.op == "eq":
                x, y = (self.dependence.form(a) for a in cond.args)
                found |= self._pinned(plus(x, y, -1), shared, CONDITION)
        for place, form in enumerate(self._element(stmt)[1]):
            found |= self._pinned(form, shared, place)
        return found

    def _conditions(self, block: Block) -> Iterator[Stmt | None]:
        """What holds wherever a block is run: definitions of conditions, of conjunctions too."""
        while block is not self.places.root:
            stmt, outer = self.places.around[block]
            if isinstance(stmt, If) and block is stmt.then:
                pending = [stmt.cond]
                while pending:
                    cond = pending.pop()
                    made = self.places.definition.get(cond) if isinstance(cond, Var) else None
                    yield made
                    if isinstance(made, Prim) and made.op == "and":
                        pending += made.args
            block = outer

    def _pinned(self, form: Form, shared: bool, where: object) -> Pins:
        """What an integer tells of the thread: an affine form in mixed radix, read from the top."""
        if (wrapped := self._wrapped(form, shared)) is not None:
            op, *how = wrapped
            return {op: (where, *how)}
        threads, low, strides = self._terms(form, shared)
        if threads is None:
            return {}
        radix, fixed = [], tuple(sorted(((str(a), c) for a, c in low[0]), key=str))
        smallest, span = self._lowest(threads), low[2]
        floor, offset = divmod(low[1], smallest) if smallest > 1 else (low[1], 0)
        if strides and (smallest != 1 or span):
            return {}
        if span and offset + span >= smallest:
            return {}
        reach = offset + span
        for op, c in sorted(threads, key=lambda t: (abs(t[1]), t[0])):
            if abs(c) <= reach:
                return {}
            size = self.launch.block["xyz".index(op[-1])] if op.startswith("thread") else None
            radix.append((op, c))
            reach = float("inf") if size is None else reach + abs(c) * (size - 1)
        pin = (where, tuple(radix), fixed, floor)
        return {op: pin for op, _ in radix}

    def _wrapped(self, form: Form, shared: bool) -> tuple | None:
        """The number of the thread that goes round in (thread_x + c) % n, and how."""
        (a, sign), *more = form.items() or [(ONE, 0)]
        made = self.places.definition.get(a) if isinstance(a, Var) else None
        if more or not isinstance(made, Prim) or made.op != "mod":
            return None
        threads, low, _ = self._terms(self.dependence.form(made.args[0]), shared)
        n = self._size(made.args[1])
        if not threads or len(threads) > 1 or abs(threads[0][1]) != 1 or low[2] or n is None:
            return None
        op, c = threads[0]
        inside = op.startswith("thread") and self.launch.block["xyz".index(op[-1])] <= n
        return (op, sign, n, c, tuple(sorted(low[0])), low[1]) if inside else None

    def _size(self, a: Atom) -> int | None:
        op = self._thread_op(a) or ""
        if op.startswith("block_dim"):
            return self.launch.block["xyz".index(op[-1])]
        return int(a.value) if isinstance(a, Const) else None

    def _lowest(self, threads: list[tuple[str, int]]) -> int:
        return min((abs(c) for _, c in threads), default=1)

    def _terms(self, form: Form, shared: bool):
        """(parts of the thread, (fixed terms, constant, span of what else varies), strides)."""
        threads: list[tuple[str, int]] = []
        fixed: list[tuple[object, int]] = []
        constant, span, strides = 0, 0, False
        for a, c in form.items():
            op = self._thread_op(a)
            if a == ONE:
                constant += c
            elif op is not None and op.startswith("grid_") and op[:-1] == "grid_":
                size = self.launch.block["xyz".index(op[-1])]
                threads += [(f"thread_{op[-1]}", c), (f"block_{op[-1]}", c * size)]
            elif op in PARTS:
                threads.append((op, c))
            elif self._strides(a, form) and not shared:
                strides = True
            elif self._fixed(a, shared):
                fixed.append((id(a), c))
            elif c > 0 and (count := self._count(a)) is not None:
                span += c * (count - 1)
            else:
                return None, ((), 0, 0), False
        return threads, (fixed, constant, span), strides

    def _count(self, a: Atom) -> int | None:
        """How many trips the loop makes that an integer counts, if that is a constant."""
        loop = self.dependence.loops.get(a) if isinstance(a, Var) else None
        count = loop.count if loop is not None else None
        return int(count.value) if isinstance(count, Const) else None

    def _thread_op(self, a: Atom) -> str | None:
        match self.places.definition.get(a) if isinstance(a, Var) else None:
            case Prim(op=op) if op in THREADS:
                return op
            case _:
                return None

    def _strides(self, a: Atom, form: Form) -> bool:
        """Whether an integer is a multiple of the grid's size along the axis of the form."""
        axes = {op[-1] for b in form if (op := self._thread_op(b)) and op[:-1] == "grid_"}
        match self.places.definition.get(a) if isinstance(a, Var) else None:
            case Prim(op="mul", args=args):
                ops = [self._thread_op(b) for b in args]
            case _:
                ops = [self._thread_op(a)]
        return len(axes) == 1 and any(op == f"grid_size_{axis}" for op in ops for axis in axes)

    def _fixed(self, a: Atom, shared: bool) -> bool:
        """Whether an integer is the same for all threads, all through what is compared."""
        if isinstance(a, Const):
            return True
        if not isinstance(a, Var) or a not in self.uniform:
            return False
        if shared:
            return all(_waits(loop) for loop in self.places.loops(self.places.home[a]))
        match self.places.definition.get(a):
            case None:
                return self.places.home[a] is self.places.root
            case Dim(array=array):
                return not isinstance(array, Var) or self.places.definition.get(array) is None
            case Prim(op=op, args=args):
                return (op not in THREADS or op in OF_LAUNCH) and all(
                    self._fixed(x, shared) for x in args
                )
            case _:
                return False


def _waits(loop: For | While) -> bool:
    """Whether every trip of a loop passes a barrier."""
    return any(isinstance(s, Barrier) for s in loop.body.stmts)
