"""The reverse sweep of a checkpointed loop, block after block. See the notes in checkpoint.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import lcm
from typing import TYPE_CHECKING

from numbaflux.ir.build import index, zero_of
from numbaflux.ir.nodes import Array, Atom, Function, Var
from numbaflux.transforms.checkpoint import (
    Checkpointed,
    Plan,
    Stacks,
    copied,
    distance,
    name_of,
    new_stacks,
    parts,
    store,
)
from numbaflux.transforms.memory import add_array, clear_array, zeros_like

if TYPE_CHECKING:
    from numbaflux.transforms.vjp import Reverse

Vjp = Callable[[Function, Iterable[Var], Iterable[int]], Function]


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
        names = ["top", *(f"d_{name_of(a)}" for a in self.adjoined())]
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
        ct = copied(self.b, shadow)
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
        with b.while_([start, top, *carried], ["at", "top", *map(name_of, carried)]) as steps:
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
        _, top, *found = steps.results
        return top, list[Atom](found), private

    def restored(self, stacks: Stacks, top: Atom) -> tuple[list[Atom], list[Atom]]:
        """The carried values and the written arrays of a snapshot, as private copies."""
        b, state = self.b, self.state
        found = [b.load(stack, [top], name=name_of(stack)) for stack in stacks.parts]
        places = (*state.numbers, *state.moved, *state.replaced)
        kept = set(state.replaced)  # nobody writes them
        values = [
            copied(b, a) if isinstance(a.type, Array) and i not in kept else a
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
        starts = [zeros_like(b, carried[i], f"d_{name_of(carried[i])}") for i in self.replaced]
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
