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
the loop writes; references it permutes (two buffers that swap), which have shadows that are permuted
back; references it replaces by new arrays (u = step(u)).  Nobody writes the contents of these, so
that their cotangents belong to the place in which they are carried, not to the memory.  Running
ahead happens on private copies: no array of the user's is written a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import lcm
from typing import TYPE_CHECKING

from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import Builder, array_of, full_slice, index, zero_of
from numbaflux.ir.nodes import (
    BOOL,
    I64,
    TEXT,
    Array,
    Atom,
    Block,
    Const,
    Extern,
    For,
    Function,
    Index,
    Loc,
    Prim,
    Print,
    Raise,
    Scalar,
    Var,
    View,
)
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.walk import callees, clone, everywhere, free, map_regions, walk
from numbaflux.passes.activity import Activity
from numbaflux.passes.alias import Aliases
from numbaflux.passes.counters import key_of
from numbaflux.passes.places import Places
from numbaflux.transforms.calls import without_effects
from numbaflux.transforms.memory import add_array, clear_array, elements, zeros_like
from numbaflux.transforms.work import work

if TYPE_CHECKING:
    from numbaflux.transforms.vjp import Reverse

Vjp = Callable[[Function, Iterable[Var], Iterable[int]], Function]

BLOCK = 1024  # trips of a block, at most
BUDGET = 65536  # places that a cache of one block has, about


@dataclass(frozen=True, slots=True)
class State:
    """What a loop reads and changes, by kind. note [State]

    Carried values by their place: `numbers`, `moved` (permuted references; `becomes` says which
    place each takes its next value from), `replaced` references.  Values of the blocks around:
    arrays `written` and `read`, `constants`.
    """

    numbers: tuple[int, ...]
    moved: tuple[int, ...]
    replaced: tuple[int, ...]
    becomes: Mapping[int, int]
    written: tuple[Var, ...]
    read: tuple[Var, ...]
    constants: tuple[Var, ...]

    @property
    def free(self) -> tuple[Var, ...]:
        return (*self.written, *self.read, *self.constants)


@dataclass(frozen=True, slots=True)
class Stacks:
    """The snapshots: the block each was taken at, and an array of copies for each part of a state.

    The parts are numbers and then arrays, in the order of `State`.
    """

    positions: Var
    parts: tuple[Var, ...]


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
                yield a, copied(b, a, a.type)
        for a in dict.fromkeys((*(loop.inits[i] for i in state.replaced), *state.read)):
            lasts = self.places.intact(loop, a) and self.places.lasting(a)
            yield a, a if lasts else copied(b, a, a.type)

    def refuse_overlap(self, b: Builder, loop: For, state: State) -> None:
        """Raise ValueError if an array that is written is another one too: copies are apart."""
        changed = {*(loop.inits[i] for i in state.moved), *state.written}
        references = (*loop.inits, *state.written, *state.read)
        arrays = [a for a in references if isinstance(a.type, Array)]
        for p, q in combinations(arrays, 2):
            if (p in changed or q in changed) and self.places.alias.meet(p, q):
                (overlap,) = b.extern("overlap", p, q, types=[BOOL], name="overlap")
                names = " and ".join(getattr(a, "name", "array") for a in (p, q))
                message = f"arrays {names} of a checkpointed loop overlap, and one is written"
                b.raise_if(overlap, ValueError, Const(message, TEXT))


# ---- what the loop does ------------------------------------------------------------------------


def analysed(loop: For, places: Places) -> tuple[Function, State]:
    """The loop as a function, and its state; refused if its arrays are not of a known kind."""
    outside = list(free(loop.body))
    arrays = [v for v in outside if isinstance(v.type, Array)]
    constants = [v for v in outside if not isinstance(v.type, Array)]
    _refuse_kinds(loop, [*arrays, *loop.inits])
    roots = {v: _root(v, places) for v in arrays}
    first = function_of(loop, arrays, (), constants, ())
    found = Aliases(first).written_in(first.block)
    params = dict(zip(arrays, first.params[2 + len(loop.inits) :]))
    written = dict.fromkeys(roots[v] for v in arrays if params[v] in found)
    sunk = [v for v in arrays if roots[v] in written and roots[v] is not v]
    views = _views(sunk, places)
    inside = {v.result for v in views}
    indices = [a for v in views for a in free(Block((), (v,))) if not isinstance(a.type, Array)]
    constants = list(dict.fromkeys([*constants, *indices]))
    read = [v for v in arrays if v not in inside and roots[v] not in written]
    run = function_of(loop, tuple(written), read, constants, views)
    cycles = {i: places.permuted(p) for i, p in enumerate(loop.body.params[1:])}
    becomes = {i: j for cycle in cycles.values() for i, j in cycle or ()}
    references = [i for i, p in enumerate(loop.inits) if isinstance(p.type, Array)]
    replaced = tuple(i for i in references if i not in becomes)
    _refuse_mixed(loop, run, replaced)
    state = State(
        tuple(i for i in range(len(loop.inits)) if i not in references),
        tuple(becomes),
        replaced,
        becomes,
        tuple(written),
        tuple(read),
        tuple(constants),
    )
    return run, state


def _root(v: Var, places: Places) -> Var:
    """The array that a view made before the loop is a view of."""
    stmt = places.definition.get(v)
    if isinstance(stmt, View) and isinstance(stmt.base, Var):
        return _root(stmt.base, places)
    return v


def _views(arrays: Iterable[Var], places: Places) -> tuple[View, ...]:
    """The views to be made again from private copies, each after the one it is a view of."""
    found: dict[View, None] = {}

    def visit(v: Var) -> None:
        stmt = places.definition.get(v)
        if isinstance(stmt, View) and isinstance(stmt.base, Var):
            visit(stmt.base)
            found.setdefault(stmt)

    for v in arrays:
        visit(v)
    return tuple(found)


def function_of(
    loop: For,
    written: Sequence[Var],
    read: Sequence[Var],
    constants: Sequence[Var],
    views: Sequence[View],
) -> Function:
    """(start, count, *carried, *written, *read, *constants) -> carried. `views`: made inside."""
    start, count = Var("start", I64), Var("count", I64)
    carried = tuple(Var(p.name, p.type) for p in loop.body.params[1:])
    outside = (*written, *read, *constants)
    given = tuple(Var(v.name, v.type) for v in outside)
    made, known = clone(Block((), tuple(views)), dict(zip(outside, given)))
    b = Builder(loop.loc)
    b.stmts += made.stmts
    with b.for_(count, carried) as trips:
        k = b.add(start, trips.k, name=key_of(loop).name)
        params = dict(zip(loop.body.params, (k, *trips.carried)))
        body, _ = clone(loop.body, {**known, **params})
        b.stmts += body.stmts
        trips.yields = body.yields
    params = (start, count, *carried, *given)
    private = (p for p in (*carried, *given[: len(written)]) if isinstance(p.type, Array))
    others = frozenset(given[len(written) : len(written) + len(read)])
    apart = (*(frozenset({p}) for p in private), others)
    fn = Function("steps", b.block(params, trips.results), loop.loc, apart=apart)
    return _silent(fn)


def _silent(fn: Function) -> Function:
    """The function to be run again: it has printed and raised already what it prints and raises."""
    stmts = [s for f in (fn, *(c.function for c in callees(fn))) for s in walk(f.block)]
    for stmt in stmts:
        if isinstance(stmt, Extern) and not ROUTINES[stmt.routine].pure:
            raise UnsupportedError(
                f"a checkpointed loop with an effect (`{stmt.routine}`)",
                stmt.loc,
                "its reverse runs it again, with other draws",
                "draw the random numbers before, into an array, or do not mark the loop",
            )
    noisy = any(isinstance(s, Print | Raise) for s in stmts)
    return everywhere(fn, without_effects) if noisy else fn


def _refuse_kinds(loop: For, atoms: Iterable[Atom]) -> None:
    for a in atoms:
        held = isinstance(a.type, Array) and isinstance(a.type.element, Array)
        grows = isinstance(a.type, Array) and a.type.grows
        if held or grows or not isinstance(a.type, Array | Scalar):
            raise _refusal(
                loop.loc,
                f"a checkpointed loop over the {'list' if held or grows else 'value'} "
                f"`{getattr(a, 'name', 't')}`",
                "a snapshot is made of numbers and arrays",
                "use an array, or do not mark the loop",
            )


def _refuse_mixed(loop: For, run: Function, replaced: Iterable[int]) -> None:
    """References that are replaced, and whose contents are written as well."""
    alias = Aliases(run)
    written = alias.written_in(run.block).intersection(run.params)
    (trips,) = (s for s in run.block.stmts if isinstance(s, For))
    for i in replaced:
        p = trips.body.params[1 + i]
        if not written.isdisjoint(alias.of(p)):
            raise _refusal(
                loop.loc,
                f"a checkpointed loop that both replaces and overwrites `{p.name}`",
                "which memory a snapshot belongs to would only be known when the program runs",
                f"write into `{p.name}[:]`, or make a new array in every trip",
            )


def _refusal(loc: Loc, what: str, why: str, instead: str) -> UnsupportedError:
    return UnsupportedError(what, loc, why, instead)


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
        b.alloc([slots], Array(_copy_type(a.type), 1), zero=False, name=f"snapshots_{_name(a)}")
        for a in like
    ]
    positions = b.alloc([slots], Array(I64, 1), zero=False, name="positions")
    return Stacks(positions, tuple(made))


def store(b: Builder, stacks: Stacks, slot: Atom, block: Atom, values: Sequence[Atom]) -> None:
    """Take a snapshot."""
    b.store(stacks.positions, [slot], block)
    for stack, a in zip(stacks.parts, values):
        b.store(stack, [slot], copied(b, a, a.type) if isinstance(a.type, Array) else a)


def copied(b: Builder, a: Atom, type: Array) -> Atom:
    """A new array with the contents of `a`, as a reference of that type, but writable."""
    type = replace(type, readonly=False)
    layout = "F" if type.layout == "F" else "C"
    shape = [b.dim(a, axis) for axis in range(type.ndim)]
    copy = b.alloc(shape, replace(type, layout=layout), zero=False, name=_name(a))
    with elements(b, a) as place:
        b.store(copy, place, b.load(a, place))
    if type.layout == layout:
        return copy
    return b.view(copy, Index((full_slice(),) * type.ndim), type, _name(a))


def _copy_type(type):
    return replace(type, readonly=False) if isinstance(type, Array) else type


def _name(a: Atom) -> str:
    return getattr(a, "name", "t")


# ---- the reverse sweep -------------------------------------------------------------------------


def reverse(rev: Reverse, loop: Checkpointed, vjp: Vjp) -> None:
    """Block after block, from the last to the first."""
    _Reversal(rev, loop, vjp).write()


class _Reversal:
    """The reverse of one loop while it is written.

    `moving`: the carried numbers that have an adjoint, `sums` the constants that have one.
    """

    def __init__(self, rev: Reverse, loop: Checkpointed, vjp: Vjp) -> None:
        self.rev, self.given, self.vjp, self.b = rev, loop, vjp, rev.b
        self.loop, self.state, self.run = loop.loop, loop.state, loop.run
        results, params = self.loop.results, self.loop.body.params[1:]
        pairs = list(zip(results, params))
        self.active = [r in rev.active or p in rev.active for r, p in pairs]
        self.moving = [i for i in self.state.numbers if self.active[i]]
        self.moved = [i for i in self.state.moved if self.active[i]]
        self.replaced = [i for i in self.state.replaced if self.active[i]]
        self.sums = [v for v in self.state.constants if v in rev.active]
        arrays = (*self.state.written, *self.state.read)
        self.arrays = [v for v in arrays if v in rev.active]

    def write(self) -> None:
        rev, b, need = self.rev, self.b, self.rev.values.need
        plan = Plan(*(need(a) for a in _atoms(self.given.plan)))
        seeds = [self.seed(i) for i in self.moving]
        ends = [self.taken(rev.shadow(self.loop.results[i])) for i in self.replaced]
        moved = [rev.shadow(self.loop.results[i]) for i in self.moved]
        sums = [rev.adjoint(v) for v in self.sums]
        stacks = self.stacks(plan)
        top = b.sub(plan.slots, index(1)) if self.given.stacks else index(0)
        shadows = [rev.shadow(a) for a in self.arrays]
        free = [need(self.given.kept.get(a, a)) for a in self.state.free]
        names = ["top", *(f"d_{_name(a)}" for a in self.adjoined())]
        with b.for_(plan.blocks, [top, *seeds, *sums, *moved, *ends], "k", names) as outer:
            block = b.sub(b.sub(plan.blocks, index(1)), outer.k, name="block")
            top, *ds = outer.carried
            top, carried, private = self.advanced(plan, stacks, top, block, free)
            outside = [*private, *free[len(private) :]]
            out = self.reversed(plan, block, carried, outside, shadows, ds)
            at = b.load(stacks.positions, [top])
            top = b.select(b.prim("eq", at, block), b.sub(top, index(1)), top)
            outer.yields = [top, *out]
        self.contribute(outer.results[1:])

    def adjoined(self) -> list[Var]:
        """Whose adjoints and shadows are carried from block to block."""
        carried = self.loop.body.params[1:]
        references = (*self.moved, *self.replaced)
        return [*(carried[i] for i in self.moving), *self.sums, *(carried[i] for i in references)]

    def seed(self, i: int) -> Atom:
        r = self.loop.results[i]
        return self.rev.adjoints.pop(r, None) or zero_of(r.type)

    def taken(self, shadow: Atom) -> Atom:
        """The cotangent of a result's contents, taken out of its shadow. note [State]"""
        ct = copied(self.b, shadow, array_of(shadow))
        clear_array(self.b, shadow)
        return ct

    def stacks(self, plan: Plan) -> Stacks:
        """The snapshots: those of the forward sweep, or a new one of the state on entry."""
        need = self.rev.values.need
        if self.given.stacks is not None:
            stacks = self.given.stacks
            first, *others = (need(a) for a in (stacks.positions, *stacks.parts))
            return Stacks(first, tuple(others))
        stacks = new_stacks(self.b, self.state, self.run, plan.slots)
        inits = [self.given.kept.get(a, a) for a in self.loop.inits]
        written = [self.given.kept.get(a, a) for a in self.state.written]
        entry = [need(a) for a in parts(self.state, inits, written)]
        with self.b.arm() as some:
            store(self.b, stacks, index(0), index(0), entry)
        with self.b.arm() as none:
            pass
        self.b.if_(self.b.prim("gt", plan.blocks, index(0)), some.block, none.block)
        return stacks

    # ---- one block -----------------------------------------------------------------------------

    def advanced(
        self, plan: Plan, stacks: Stacks, top: Atom, block: Atom, free: list[Atom]
    ) -> tuple[Atom, list[Atom], list[Atom]]:
        """The state at the start of a block, from the last snapshot; others are taken on the way.

        The slot of the last snapshot then, the carried values, private copies of what is written.
        """
        b, state = self.b, self.state
        carried, private = self.restored(stacks, top)
        outside = [*private, *free[len(private) :]]
        start = b.load(stacks.positions, [top], name="at")
        with b.while_([start, top, *carried], ["at", "top", *map(_name, carried)]) as steps:
            at, top, *carried = steps.params
            left = b.add(b.sub(block, at), index(1))
            step = distance(b, left, b.sub(plan.slots, top))
            begin, n = b.mul(at, plan.size), b.mul(step, plan.size)
            carried = list(b.inline(self.run, [begin, n, *carried, *outside]))
            at = b.add(at, step, name="at")
            more = b.prim("lt", at, block)
            with b.arm() as snapshot:
                above = b.add(top, index(1))
                store(b, stacks, above, at, parts(state, carried, private))
                snapshot.yields = [above]
            with b.arm() as arrived:
                arrived.yields = [top]
            (top,) = b.if_(more, snapshot.block, arrived.block, ["top"])
            steps.yields = [more, at, top, *carried]
        _, top, *carried = steps.results
        return top, carried, private

    def restored(self, stacks: Stacks, top: Atom) -> tuple[list[Atom], list[Atom]]:
        """The carried values and the written arrays of a snapshot, as private copies."""
        b, state = self.b, self.state
        found = [b.load(stack, [top], name=_name(stack)) for stack in stacks.parts]
        places = (*state.numbers, *state.moved, *state.replaced)
        kept = set(state.replaced)  # nobody writes them
        values = [
            copied(b, a, a.type) if isinstance(a.type, Array) and i not in kept else a
            for i, a in zip((*places, *[-1] * len(state.written)), found)
        ]
        by_place = dict(zip(places, values))
        return [by_place[i] for i in range(len(places))], values[len(places) :]

    def reversed(
        self,
        plan: Plan,
        block: Atom,
        carried: list[Atom],
        outside: list[Atom],
        shadows: list[Atom],
        ds: Sequence[Atom],
    ) -> list[Atom]:
        """Run a block forward and backward: the adjoints and shadows before it from those after."""
        b, n, m = self.b, len(self.moving), len(self.sums)
        seeds, sums, moved = ds[:n], ds[n : n + m], ds[n + m : n + m + len(self.moved)]
        ends = ds[n + m + len(self.moved) :]
        begin = b.mul(block, plan.size)
        trips = b.prim("min", plan.size, b.sub(plan.trips, begin), name="n")
        moved = self.moved_back(trips, moved)
        starts = [zeros_like(b, carried[i], f"d_{_name(carried[i])}") for i in self.replaced]
        given = [begin, trips, *carried, *outside]
        out = b.inline(self.pullback(), [*given, *moved, *starts, *shadows, *seeds, *ends])
        added = [b.add(x, d) for x, d in zip(sums, out[n:])]
        return [*out[:n], *added, *moved, *starts]

    def moved_back(self, trips: Atom, references: Sequence[Atom]) -> list[Atom]:
        """The shadows of permuted references as they were so many trips before."""
        if not references:
            return []
        b, becomes = self.b, self.state.becomes
        turns = b.prim("mod", trips, index(_order(becomes)))
        with b.for_(turns, references) as loop:
            at_end = dict(zip(self.moved, loop.carried))
            before = {becomes[i]: d for i, d in at_end.items()}
            loop.yields = [before[i] for i in self.moved]
        return list(loop.results)

    def pullback(self) -> Function:
        """(args of `run`, shadows, cotangents of results) -> cotangents of numbers."""
        made = self.given.made
        if "pullback" not in made:
            carried = self.run.params[2 : 2 + len(self.active)]
            free = dict(zip(self.state.free, self.run.params[2 + len(self.active) :]))
            chosen = [*self.moving, *self.replaced]
            block = replace(self.run.block, yields=tuple(self.run.results[i] for i in chosen))
            fn = replace(self.run, block=block)
            wrt = [carried[i] for i in (*self.moved, *self.replaced)]
            wrt += [free[v] for v in self.arrays]
            wrt += [*(carried[i] for i in self.moving), *(free[v] for v in self.sums)]
            both = self.vjp(fn, wrt, range(len(chosen)))
            block = replace(both.block, yields=both.results[len(chosen) :])
            made["pullback"] = replace(both, block=block)
        return made["pullback"]

    def contribute(self, results: Sequence[Atom]) -> None:
        """Hand the adjoints of the state on entry to where it came from."""
        rev, n, m = self.rev, len(self.moving), len(self.sums)
        rev.adjoints.update(zip(self.sums, results[n : n + m]))
        for i, d in zip(self.moving, results[:n]):
            rev.contribute(self.loop.inits[i], d)
        starts = results[len(results) - len(self.replaced) :] if self.replaced else ()
        for i, d in zip(self.replaced, starts):
            if self.loop.inits[i] in rev.active:
                add_array(self.b, rev.shadow(self.loop.inits[i]), d)


def _atoms(plan: Plan) -> tuple[Atom, ...]:
    return plan.trips, plan.size, plan.blocks, plan.slots


def _order(becomes: Mapping[int, int]) -> int:
    """After how many trips a permutation is back at the start."""
    lengths = []
    for i in becomes:
        j, length = becomes[i], 1
        while j != i:
            j, length = becomes[j], length + 1
        lengths.append(length)
    return lcm(*lengths)
