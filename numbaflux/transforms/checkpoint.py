"""Loops marked with `nf.checkpoint`: reversed from snapshots of their state instead of caches.

note [Blocks]  The trips are cut into blocks of at most BLOCK trips, of which a caching reverse
sweep keeps about BUDGET values.  Blocks are reversed from the last to the first: the state is
brought from the nearest snapshot to the start of the block, which then runs forward with caches and
backward, as a function of its own whose vjp is written in place.  So the schedule costs next to
nothing, and memory is that of one block and of the snapshots.

note [Schedule]  Snapshots are taken at the starts of blocks, at most `slots` exist at a time, and
where to take them is the binomial schedule, which runs no block more often than it must:
A. Griewank, A. Walther, Algorithm 799: revolve, ACM TOMS 26 (2000).  The forward sweep takes the
first ones.  In a loop, or for a reverse sweep that runs several times, it only keeps the state on
entry, and the reverse sweep takes all the others.

note [State]  The state is what a trip finds changed by the trips before it: carried numbers; arrays
the loop writes; references it permutes (two buffers that swap), whose shadows are permuted back;
references it replaces by new arrays (u = step(u)).  Nobody writes the contents of these, so that
their cotangents belong to the place in which they are carried, not to the memory.  Running ahead
happens on private copies: no array of the user's is written a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from numbaflux.ir.build import Builder, array_of, full_slice, index
from numbaflux.ir.nodes import (
    BOOL,
    I64,
    TEXT,
    Array,
    Atom,
    Block,
    Const,
    For,
    Function,
    Index,
    Prim,
    Scalar,
    Type,
    Var,
)
from numbaflux.ir.walk import map_regions, walk
from numbaflux.passes.activity import Activity
from numbaflux.passes.counters import key_of
from numbaflux.passes.places import Places
from numbaflux.transforms.memory import elements
from numbaflux.transforms.steps import State, analysed
from numbaflux.transforms.work import work

BLOCK = 1024  # trips of a block, at most
BUDGET = 65536  # places that a cache of one block has, about


@dataclass(frozen=True, slots=True)
class Stacks:
    """The snapshots: the block each was taken at, and an array of copies for each part of a state.

    The parts are numbers and then arrays, in the order of `State`.
    """

    positions: Atom
    parts: tuple[Atom, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpointed:
    """A marked loop as the reverse sweep wants it.

    `run`: (start, count, *carried, *state.free) -> carried, for `count` trips from trip `start` on.
    `kept`: for free arrays and initial references what the reverse sweep finds them in.  `stacks`:
    the snapshots that the forward sweep has taken, None if that is none. `made`: the vjp of `run`.
    """

    loop: For
    run: Function
    state: State
    plan: Plan
    kept: Mapping[Atom, Atom]
    stacks: Stacks | None
    made: dict[str, Function] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """How many trips there are, trips in a block, blocks, and snapshots at a time."""

    trips: Atom
    size: Atom
    blocks: Atom
    slots: Atom


@dataclass(frozen=True, slots=True)
class Prepared:
    """A program ready to be reversed; `loops` by what names the loop (`key_of`)."""

    fn: Function
    loops: Mapping[Var, Checkpointed]


def prepare(
    fn: Function, wrt: Sequence[Var], of: Sequence[Atom], repeated: bool = False
) -> Prepared:
    """`fn` with its active marked loops keeping what their reverse needs. note [Schedule]"""
    if not any(isinstance(s, For) and s.slots is not None for s in walk(fn.block)):
        return Prepared(fn, {})
    preparation = _Preparation(fn, Activity(fn, wrt, of), repeated)
    return Prepared(replace(fn, block=preparation.visit(fn.block)), preparation.loops)


class _Preparation:
    def __init__(self, fn: Function, active: Activity, repeated: bool) -> None:
        self.active, self.repeated = active, repeated
        self.places = Places(fn)
        self.loops: dict[Var, Checkpointed] = {}

    def visit(self, block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            if isinstance(stmt, For) and stmt.slots is not None and self.active.acts(stmt):
                self.loop(b, stmt, self.places.top(block) and not self.repeated)
            else:
                b.append(map_regions(stmt, self.visit))
        return replace(block, stmts=tuple(b.stmts))

    def loop(self, b: Builder, loop: For, snapshots: bool) -> None:
        """Write the loop; `snapshots`: with the first ones taken."""
        run, state = analysed(loop, self.places)
        self.refuse_overlap(b, loop, state)
        plan = planned(b, loop)
        kept = dict(self.kept(b, loop, state, snapshots))
        stacks = None
        if snapshots:
            stacks = new_stacks(b, state, run, plan.slots)
            new = descended(b, loop, state, plan, stacks)
        else:
            new = replace(loop, slots=None)
        b.append(new)
        self.loops[key_of(new)] = Checkpointed(loop, run, state, plan, kept, stacks)

    def kept(
        self, b: Builder, loop: For, state: State, snapshots: bool
    ) -> Iterator[tuple[Atom, Atom]]:
        """Copies of the arrays that the reverse sweep would not find as they are."""
        changed = (*(loop.inits[i] for i in state.moved), *state.written)
        for a in dict.fromkeys(changed):
            if not snapshots:
                yield a, copied(b, a)
        for a in dict.fromkeys((*(loop.inits[i] for i in state.replaced), *state.read)):
            lasts = self.places.intact(loop, a) and self.places.lasting(a)
            yield a, a if lasts else copied(b, a)

    def refuse_overlap(self, b: Builder, loop: For, state: State) -> None:
        """Raise ValueError if an array that is written is another one too: copies are apart."""
        changed = {*(loop.inits[i] for i in state.moved), *state.written}
        pairs = [(a, p.name) for a, p in zip(loop.inits, loop.body.params[1:])]
        pairs += [(a, a.name) for a in (*state.written, *state.read)]
        arrays = [(a, name) for a, name in pairs if isinstance(a.type, Array)]
        for (p, name), (q, other) in combinations(arrays, 2):
            if (p in changed or q in changed) and self.places.alias.meet(p, q):
                (overlap,) = b.extern("overlap", p, q, types=[BOOL], name="overlap")
                text = (
                    f"arrays {name} and {other} of a checkpointed loop overlap, and one is written"
                )
                b.raise_if(overlap, ValueError, Const(text, TEXT))


# ---- the forward sweep -------------------------------------------------------------------------


def planned(b: Builder, loop: For) -> Plan:
    """Write how the trips are cut into blocks. note [Blocks]"""
    assert loop.slots is not None
    places = work(b, loop)
    size: Atom = index(1)
    if places is not None:
        size = b.prim("floordiv", index(BUDGET), places)
        size = b.prim("max", b.prim("min", size, index(BLOCK)), index(1), name="size")
    trips = b.prim("max", loop.count, index(0), name="trips")
    blocks = b.prim("floordiv", b.add(trips, b.sub(size, index(1))), size, name="blocks")
    slots = b.prim("max", b.cast(loop.slots, I64), index(1))
    return Plan(trips, size, blocks, b.prim("min", slots, blocks, name="slots"))


def descended(b: Builder, loop: For, state: State, plan: Plan, stacks: Stacks) -> For:
    """The loop, a For over the snapshots with the trips between them inside."""
    carried = [p.name for p in loop.body.params[1:]]
    inner = Builder(loop.loc)
    with inner.for_(plan.slots, [index(0), *loop.inits], "slot", ["block", *carried]) as outer:
        block, *values = outer.carried
        store(inner, stacks, outer.k, block, parts(state, values, state.written))
        left, more = inner.sub(plan.blocks, block), inner.sub(plan.slots, outer.k)
        last = inner.prim("eq", more, index(1))
        step = inner.select(last, left, distance(inner, left, more), name="step")
        begin = inner.mul(block, plan.size)
        n = inner.prim("min", inner.mul(step, plan.size), inner.sub(plan.trips, begin))
        k, *params = loop.body.params
        trip, results = Var("trip", I64), tuple(Var(p.name, p.type) for p in params)
        start = Prim(k, "add", (begin, trip), loop.loc)
        body = Block((trip, *params), (start, *loop.body.stmts), loop.body.yields)
        inner.append(For(results, n, tuple(values), body, False, loop.loc))
        outer.yields = [inner.add(block, step), *results]
    (new,) = inner.stmts
    assert isinstance(new, For)
    return replace(new, results=(new.results[0], *loop.results))


def distance(b: Builder, blocks: Atom, slots: Atom) -> Atom:
    """How far to run before the next snapshot. note [Schedule]"""
    return b.extern("stride", blocks, slots, types=[I64], name="step")[0]


# ---- snapshots ---------------------------------------------------------------------------------


def parts(state: State, carried: Sequence[Atom], written: Sequence[Atom]) -> list[Atom]:
    """The state: numbers, then arrays."""
    places = (*state.numbers, *state.moved, *state.replaced)
    return [*(carried[i] for i in places), *written]


def new_stacks(b: Builder, state: State, run: Function, slots: Atom) -> Stacks:
    """Room for so many snapshots."""
    carried = run.params[2 : 2 + len(run.results)]
    like = parts(state, carried, state.written)
    made = [
        b.alloc([slots], Array(_element(a.type), 1), zero=False, name=f"snapshots_{name_of(a)}")
        for a in like
    ]
    positions = b.alloc([slots], Array(I64, 1), zero=False, name="positions")
    return Stacks(positions, tuple(made))


def store(b: Builder, stacks: Stacks, slot: Atom, block: Atom, values: Sequence[Atom]) -> None:
    """Take a snapshot."""
    b.store(stacks.positions, [slot], block)
    for stack, a in zip(stacks.parts, values):
        b.store(stack, [slot], copied(b, a) if isinstance(a.type, Array) else a)


def copied(b: Builder, a: Atom) -> Atom:
    """A new array with the contents of `a`, as a reference of its type, but writable."""
    type = replace(array_of(a), readonly=False)
    layout = "F" if type.layout == "F" else "C"
    shape = [b.dim(a, axis) for axis in range(type.ndim)]
    copy = b.alloc(shape, replace(type, layout=layout), zero=False, name=name_of(a))
    with elements(b, a) as place:
        b.store(copy, place, b.load(a, place))
    if type.layout == layout:
        return copy
    return b.view(copy, Index((full_slice(),) * type.ndim), type, name_of(a))


def _element(type: Type) -> Scalar | Array:
    """What a stack of such values holds."""
    assert isinstance(type, Scalar | Array)
    return replace(type, readonly=False) if isinstance(type, Array) else type


def name_of(a: Atom) -> str:
    return getattr(a, "name", "t")
