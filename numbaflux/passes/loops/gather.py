"""Stencils backward: an element collects its cotangent instead of every neighbour adding to it.

Shifted updates of one array overlap from trip to trip, which keeps LLVM from vectorising them.
Where all of them are affine with constant offsets, each element inside sums what its neighbours
send in one go; at the borders, where not all of them exist, the updates stay.

    for k in range(n): w = ..k..; d[k] += w; d[k+2] += 2*w
    →
    for q in range(n-2): d[q+2] += w(q+2) + 2*w(q)            # w is computed once for each of them
    for k at the two ends: w = ..k..; d[k] += w if k < 2; d[k+2] += 2*w if k+2 >= n

note [Old values]  What is loaded to compute w may be overwritten in the same trip, later: the
stores of such a nest are done in a loop of their own, after the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import (
    BOOL,
    Accumulate,
    Alloc,
    Atom,
    Block,
    Const,
    Dim,
    For,
    Function,
    Load,
    Prim,
    Stmt,
    Store,
    Var,
    View,
)
from numbaflux.ir.ops import EXPENSIVE
from numbaflux.ir.walk import clone, defs, map_regions, regions, uses, walk
from numbaflux.passes.dependence import Access, Dependence, only_sums, transparent
from numbaflux.passes.forms import ONE, Form, atom_of, plus

MOST = 12  # updates of one array that are worth computing again for every neighbour


@stage
def gather(fn: Function) -> Function:
    """The function with shifted updates in its reverse sweeps gathered."""
    while any(isinstance(s, For) and s.reverse for s in walk(fn.block)):
        gatherer = _Gatherer(fn)
        block = gatherer.block(fn.block)
        if not gatherer.changed:
            break
        fn = replace(fn, block=block)
    return fn


@dataclass(frozen=True, slots=True)
class _Nest:
    """Loops inside one another, and all their statements as if in the innermost."""

    loops: tuple[For, ...]
    stmts: tuple[Stmt, ...]

    @property
    def counters(self) -> tuple[Var, ...]:
        return tuple(loop.body.params[0] for loop in self.loops)


@dataclass(frozen=True, slots=True)
class _Update:
    """array[.. counter + base + offset ..] += value; an offset for every loop of the nest."""

    stmt: Accumulate
    offset: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The updates of `array`, whose place without counters and offsets is `base`.

    `axes`: for each loop of the nest the axis its counter is in.
    """

    nest: _Nest
    array: Atom
    base: tuple[Form, ...]
    axes: tuple[int, ...]
    counts: tuple[Form, ...]
    updates: tuple[_Update, ...]

    def low(self, d: int) -> int:
        return min(u.offset[d] for u in self.updates)

    def high(self, d: int) -> int:
        return max(u.offset[d] for u in self.updates)

    def apart(self) -> bool:
        """Whether no element gets all updates, since they are further apart than loops are long."""
        longest = (n.get(ONE, 0) if n.keys() <= {ONE} else float("inf") for n in self.counts)
        return any(self.high(d) - self.low(d) >= n for d, n in enumerate(longest))


class _Gatherer:
    def __init__(self, fn: Function) -> None:
        self.dependence = Dependence.of(fn)
        self.changed = False

    def block(self, block: Block) -> Block:
        return replace(block, stmts=tuple(t for s in block.stmts for t in self.stmt(s)))

    def stmt(self, stmt: Stmt) -> Iterable[Stmt]:
        plan = self.plan(stmt) if isinstance(stmt, For) and stmt.reverse else None
        if plan is None:
            return (map_regions(stmt, self.block),)
        self.changed = True
        b = Builder(stmt.loc)
        _inside(b, plan)
        _borders(b, plan)
        gone = {u.stmt for u in plan.updates}
        return (*b.stmts, *_without(stmt, gone))

    # ---- what can be gathered ------------------------------------------------------------------

    def plan(self, loop: For) -> _Plan | None:
        nest = _nest(loop)
        if nest is None or not self.dependence.orderless(loop):
            return None
        arrays = {}
        for s in nest.stmts:
            if isinstance(s, Accumulate):
                arrays.setdefault(self.dependence.element(_access(s))[0], []).append(s)
        plans = (self.gatherable(nest, array, updates) for array, updates in arrays.items())
        return next((plan for plan in plans if plan is not None), None)

    def gatherable(self, nest: _Nest, array: Atom, updates: list[Accumulate]) -> _Plan | None:
        """How to gather the updates of an array in a nest, None if they cannot be."""
        dependence, loop = self.dependence, nest.loops[0]
        if not 2 <= len(updates) <= MOST or not dependence.invariant(array, loop):
            return None
        others = [
            s for s in nest.stmts if s not in updates and isinstance(s, Load | Store | Accumulate)
        ]
        if any(not dependence.apart(array, s.array) for s in others):
            return None
        counts = tuple(dependence.form(each.count) for each in nest.loops)
        if not all(dependence.invariant(a, loop) for count in counts for a in count):
            return None
        places = [dependence.element(_access(s))[1] for s in updates]
        split = [None if at is None else self.split(nest, at) for at in places]
        if split[0] is None:
            return None
        base, axes, _ = split[0]
        found: list[_Update] = []
        for s, parts in zip(updates, split):
            if parts is None or parts[:2] != (base, axes):
                return None
            found.append(_Update(s, parts[2]))
        plan = _Plan(nest, array, base, axes, counts, tuple(found))
        several = len({u.offset for u in found}) > 1
        if not several or plan.apart():
            return None
        return plan if all(self.again(nest, u) for u in found) else None

    def split(
        self, nest: _Nest, at: tuple[Form, ...]
    ) -> tuple[tuple[Form, ...], tuple[int, ...], tuple[int, ...]] | None:
        """A place as its part outside the nest, the axis of each counter, and the offsets."""
        counters = nest.counters
        base, axes, offsets = list(at), [], []
        for k in counters:
            having = [axis for axis, form in enumerate(at) if k in form]
            if len(having) != 1 or at[having[0]][k] != 1 or having[0] in axes:
                return None
            axes.append(having[0])
            offsets.append(at[having[0]].get(ONE, 0))
            gone = {k: -1, ONE: -offsets[-1]}
            base[having[0]] = plus(at[having[0]], gone)
        outside = (self.dependence.invariant(a, nest.loops[0]) for f in base for a in f)
        return (tuple(base), tuple(axes), tuple(offsets)) if all(outside) else None

    def again(self, nest: _Nest, update: _Update) -> bool:
        """Whether an update can be computed apart from the rest, cheaply. note [Old values]"""
        before: list[Load] = []
        for stmt in _slice(nest, update.stmt):
            if not isinstance(stmt, Prim | Load | View | Dim):
                return False
            if isinstance(stmt, Prim) and stmt.op in EXPENSIVE:
                return False
            before += [stmt] if isinstance(stmt, Load) else []
        return all(self.unchanged(nest, load) for load in before)

    def unchanged(self, nest: _Nest, load: Load) -> bool:
        """Whether a load reads what was there before the nest began."""
        earlier = True
        for stmt in nest.stmts:
            earlier = earlier and stmt is not load
            if not isinstance(stmt, Store | Accumulate):
                continue
            if self.dependence.apart(load.array, stmt.array):
                continue
            a, b = _access(load), _access(stmt)
            if earlier or not all(self.dependence.tied(a, b, k, k) for k in nest.loops):
                return False
        return True


def _nest(loop: For) -> _Nest | None:
    """The nest of loops, if only its innermost body has effects and none has branches."""
    loops, stmts = [loop], []
    while True:
        body = loops[-1].body
        if not only_sums(loops[-1]) or not all(transparent(s) for s in body.stmts):
            return None
        inner = [s for s in body.stmts if regions(s)]
        stmts += [s for s in body.stmts if s not in inner]
        if not inner:
            plain = all(not isinstance(s, Alloc) for s in stmts)
            return _Nest(tuple(loops), tuple(stmts)) if plain else None
        if len(inner) > 1 or not isinstance(inner[0], For) or not inner[0].reverse:
            return None
        if any(isinstance(s, Store | Accumulate) for s in body.stmts):
            return None
        loops.append(inner[0])


def _access(stmt: Load | Store | Accumulate) -> Access:
    return Access(stmt.array, stmt.index, not isinstance(stmt, Load), isinstance(stmt, Accumulate))


def _slice(nest: _Nest, *updates: Accumulate) -> list[Stmt]:
    """The statements of a nest that compute the values of updates."""
    wanted, found = {update.value for update in updates}, []
    for stmt in reversed(nest.stmts):
        if not wanted.isdisjoint(defs(stmt)):
            wanted.update(uses(stmt))
            found.insert(0, stmt)
    return found


# ---- what it becomes ---------------------------------------------------------------------------


def _values(
    b: Builder, plan: _Plan, updates: Sequence[_Update], at: Iterable[Atom]
) -> tuple[Atom, ...]:
    """The values of updates at other counters."""
    stmts = [u.stmt for u in updates]
    body = Block((), tuple(_slice(plan.nest, *stmts)), tuple(s.value for s in stmts))
    block, _ = clone(body, dict(zip(plan.nest.counters, at)))
    b.stmts += block.stmts
    return block.yields


def _place(b: Builder, plan: _Plan, elements: Iterable[Atom]) -> tuple[Atom, ...]:
    """The place in the array of the element at counters + offsets."""
    found = [atom_of(b, form) for form in plan.base]
    for axis, e in zip(plan.axes, elements):
        found[axis] = b.add(found[axis], e)
    return tuple(found)


def _inside(b: Builder, plan: _Plan) -> None:
    """Sums for the elements that get all updates."""
    rank = range(len(plan.counts))
    counts = [atom_of(b, plus(plan.counts[d], {ONE: plan.low(d) - plan.high(d)})) for d in rank]
    with ExitStack() as stack:
        q = [
            stack.enter_context(b.for_(n, index=loop.body.params[0].name, parallel=loop.parallel)).k
            for n, loop in zip(counts, plan.nest.loops)
        ]
        total: Atom | None = None
        for update in plan.updates:
            at = [b.add(q[d], index(plan.high(d) - update.offset[d])) for d in rank]
            (term,) = _values(b, plan, [update], at)
            total = term if total is None else b.add(total, term)
        assert total is not None
        elements = [b.add(q[d], index(plan.high(d))) for d in rank]
        b.accumulate(plan.array, _place(b, plan, elements), total)


def _borders(b: Builder, plan: _Plan) -> None:
    """The updates of elements near the ends of an axis, which do not get all of them.

    A nest for each axis: near its ends, away from those of the axes before, anywhere on the others.
    """
    counts = [atom_of(b, form) for form in plan.counts]
    widths = [plan.high(d) - plan.low(d) for d in range(len(counts))]
    for near in range(len(counts)):
        if not widths[near]:
            continue
        with ExitStack() as stack:
            at: list[Atom] = []
            for d, (n, width, k) in enumerate(zip(counts, widths, plan.nest.counters)):
                ends = b.sub(n, index(2 * width))
                trips = n if d > near else ends if d < near else b.prim("min", n, index(2 * width))
                j = stack.enter_context(b.for_(trips, index=k.name)).k
                if d == near:
                    far = b.prim("ge", j, index(width))
                    j = b.add(j, b.select(far, b.prim("max", ends, index(0)), index(0)))
                at.append(j if d >= near else b.add(j, index(width)))
            values = _values(b, plan, plan.updates, at)
            for update, value in zip(plan.updates, values):
                with b.arm() as nothing:
                    pass
                with b.arm() as then:
                    elements = [b.add(k, index(c)) for k, c in zip(at, update.offset)]
                    b.accumulate(plan.array, _place(b, plan, elements), value)
                inside = _inner(b, plan, counts, update, at, near)
                b.if_(b.prim("not", inside), then.block, nothing.block)


def _inner(
    b: Builder, plan: _Plan, counts: list[Atom], update: _Update, at: list[Atom], first: int
) -> Atom:
    """Whether an update goes to an element that gets all; on the axes before the first it does."""
    inside: Atom = Const(True, BOOL)
    for d, (k, n) in enumerate(zip(at, counts)):  # high <= k + offset < n + low, 0 <= k < n
        from_low, to_high = plan.high(d) - update.offset[d], plan.low(d) - update.offset[d]
        if d >= first and from_low:
            inside = b.prim("and", inside, b.prim("ge", k, index(from_low)))
        if d >= first and to_high:
            inside = b.prim("and", inside, b.prim("lt", k, b.add(n, index(to_high))))
    return inside


def _without(stmt: Stmt, gone: set[Accumulate]) -> Iterator[Stmt]:
    """The nest without some updates; nothing if it does nothing else."""

    def visit(block: Block) -> Block:
        stmts = (map_regions(s, visit) for s in block.stmts if s not in gone)
        return replace(block, stmts=tuple(stmts))

    assert isinstance(stmt, For)
    rest = map_regions(stmt, visit)
    if stmt.results or any(isinstance(s, Store | Accumulate) for s in walk(Block((), (rest,)))):
        yield rest
