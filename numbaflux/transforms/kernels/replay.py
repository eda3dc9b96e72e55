"""Loops over tiles backward: each trip is run once more before it is reversed.

    for q in range(n):                        for q in reversed(range(n)):
        tile[thread] = x[q, thread]               tile[thread] = x[q, thread]
        barrier                          →        barrier
        .. tile[k] ..                             d_tile[k] += ..
        barrier                                   barrier
                                                  d_x[q, thread] += d_tile[thread]

What a trip reads of a shared array it has put there itself, all of it: nothing of it has to be
kept, and the loop of the forward sweep is not needed for it.  The trip is a function of its own,
reversed as one (joint reversal: Griewank and Walther, Evaluating Derivatives, section 12.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from numbaflux.ir.build import index, zero_of
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Block,
    Const,
    Extern,
    For,
    Function,
    If,
    Load,
    Prim,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.ops import SHARED
from numbaflux.ir.walk import blocks, free, uses, walk
from numbaflux.passes.kernels.uniform import Uniform, has_barrier
from numbaflux.passes.simplify import simplify

if TYPE_CHECKING:
    from numbaflux.transforms.vjp import Reverse

Vjp = Callable[[Function, Iterable[Var], Iterable[int]], Function]


def replayed(rev: Reverse, loop: For) -> bool:
    """Whether a loop of a kernel can be reversed so: see above."""
    fn = rev.values.fn
    numbers = not any(isinstance(r.type, Array) for r in loop.results)
    if not fn.kernel or not numbers or not has_barrier(loop):
        return False
    tiles = {a for s in walk(loop.body) if isinstance(s, Store) for a in [s.array]}
    places = rev.values.places
    return (
        bool(tiles)
        and all(_is_shared(rev, a) for a in tiles)
        and all(_only_needs(rev, s, tiles) for s in walk(loop.body))
        and not _used_outside(rev, loop, tiles)
        and all(_filled(rev, loop, a, fn.kernel) for a in tiles)
        and _all_come_by(rev, loop)
        and all(isinstance(a, Var) and places.top(places.home[a]) for a in tiles)
    )


def _is_shared(rev: Reverse, a: Atom) -> bool:
    made = rev.values.places.definition.get(a) if isinstance(a, Var) else None
    return isinstance(made, Alloc) and made.space in SHARED


def _only_needs(rev: Reverse, stmt: Stmt, tiles: set[Atom]) -> bool:
    """Whether a statement can be done again: it reads its tiles and what is still there."""
    match stmt:
        case Load(array=array):
            return array in tiles or rev.values.places.intact(stmt, array)
        case Accumulate(array=array):
            return array not in tiles and not _is_shared(rev, array)
        case Atomic() | Extern():
            return False
        case _:
            return True


def _used_outside(rev: Reverse, loop: For, tiles: set[Atom]) -> bool:
    """Whether tiles are touched outside a loop, which then has to leave them as it did."""
    inside = set(walk(loop.body))
    others = (s for s in walk(rev.values.places.root) if s not in inside)
    return any(not tiles.isdisjoint(uses(s)) for s in others)


def _all_come_by(rev: Reverse, loop: For) -> bool:
    """Whether all threads of the block make all trips."""
    places, uniform = rev.values.places, Uniform(rev.values.fn)
    block: Block = places.around[loop.body][1]
    conditions: list[Atom] = [loop.count]
    while block is not places.root:
        stmt, block = places.around[block]
        if not isinstance(stmt, If | For):
            return False
        conditions.append(stmt.cond if isinstance(stmt, If) else stmt.count)
    return all(a in uniform for a in conditions)


# ---- what a trip fills -------------------------------------------------------------------------


def _filled(rev: Reverse, loop: For, tile: Atom, block: tuple[int, int, int]) -> bool:
    """Whether a trip stores all of a tile before it reads any: an element a thread, or several."""
    made = rev.values.places.definition.get(tile) if isinstance(tile, Var) else None
    assert isinstance(made, Alloc)
    shape = [int(n.value) if isinstance(n, Const) else -1 for n in made.shape]
    filled: dict[tuple, set[tuple[int, ...]]] = {}
    for stmt in loop.body.stmts:
        for store in _certain(stmt, tile):
            axes, rest = _place(rev, store, shape, block)
            if axes is not None:
                filled.setdefault(axes, set()).add(rest)
                if len(filled[axes]) == prod(n for n, axis in zip(shape, axes) if axis is None):
                    return True
        if any(tile in uses(s) and not isinstance(s, Store) for s in walk(Block((), (stmt,)))):
            return False
    return False


def _certain(stmt: Stmt, tile: Atom) -> Iterator[Store]:
    """The stores into a tile that a statement makes whatever its conditions are."""
    match stmt:
        case Store(array=array) if array is tile:
            yield stmt
        case If(then=then, orelse=orelse):
            for s in then.stmts:
                for t in _certain(s, tile):
                    others = (u for o in orelse.stmts for u in _certain(o, tile))
                    if any(u.index == t.index for u in others):
                        yield t
        case _:
            return


def _place(
    rev: Reverse, store: Store, shape: list[int], block: tuple[int, int, int]
) -> tuple[tuple[str | None, ...] | None, tuple[int, ...]]:
    """For each axis of a tile the axis of the block that runs along all of it, or a constant."""
    axes: list[str | None] = []
    rest: list[int] = []
    for i, n in zip(store.index, shape, strict=True):
        made = rev.values.places.definition.get(i) if isinstance(i, Var) else None
        if isinstance(i, Const):
            axes.append(None)
            rest.append(int(i.value) % n if n > 0 else 0)
        elif isinstance(made, Prim) and made.op in ("thread_x", "thread_y", "thread_z"):
            whole = block["xyz".index(made.op[-1])]
            if whole < n or made.op in axes:
                return None, ()
            axes.append(made.op)
        else:
            return None, ()
    return tuple(axes), tuple(rest)


# ---- the reverse -------------------------------------------------------------------------------


def reverse(rev: Reverse, loop: For, vjp: Vjp) -> None:
    """for k in range(n): trip n - 1 - k forward, then backward."""
    step, k, carried, outside = _step(rev, loop)
    moving = [i for i, p in enumerate(carried) if loop.results[i] in rev.active or p in rev.active]
    sums = [v for v in outside if v in rev.active and not isinstance(v.type, Array)]
    arrays = [v for v in outside if isinstance(v.type, Array) and v in rev.active]
    wrt = [*(carried[i] for i in moving), *sums, *arrays]
    if k not in rev.again:  # the sweep is written twice. note [Two runs] in values.py
        rev.again[k] = _without_results(vjp(step, wrt, moving), len(step.results))
    pulled = rev.again[k]
    seeds = [rev.adjoints.pop(loop.results[i], None) or zero_of(carried[i].type) for i in moving]
    adjoints = [rev.adjoint(v) for v in sums]
    n = rev.values.need(loop.count)
    given = [rev.values.need(v) for v in outside]
    shadows = [rev.shadow(a) for a in arrays]
    names = [f"d_{v.name}" for v in wrt[: len(moving) + len(sums)]]
    with rev.b.for_(n, [*seeds, *adjoints], k.name, names) as made:
        trip = rev.b.sub(rev.b.sub(n, index(1)), made.k, name=k.name)
        ds, totals = made.carried[: len(moving)], made.carried[len(moving) :]
        with rev.values.mirror(loop.body, rev.b) as scope:
            scope.memo[k] = trip
            state = [_state(rev, pulled, p) for p in carried]
        out = rev.b.inline(pulled, [trip, *state, *given, *shadows, *ds])
        more = [rev.b.add(t, d) for t, d in zip(totals, out[len(moving) :], strict=True)]
        made.yields = [*out[: len(moving)], *more]
    rev.adjoints.update(zip(sums, made.results[len(moving) :]))
    for i, d in zip(moving, made.results):
        rev.contribute(loop.inits[i], d)


def _step(rev: Reverse, loop: For) -> tuple[Function, Var, tuple[Var, ...], list[Var]]:
    """A trip as a function of its number, of what is carried, and of what is outside."""
    k, *carried = loop.body.params
    outside = list(free(loop.body))
    params = (k, *carried, *outside)
    arrays = tuple(frozenset((v,)) for v in params if isinstance(v.type, Array))
    block = Block(params, loop.body.stmts, loop.body.yields)
    fn = rev.values.fn
    step = Function(f"{fn.name}_trip", block, loop.loc, fn.options, fn.kernel, arrays)
    return step, k, tuple(carried), outside


def _without_results(fn: Function, count: int) -> Function:
    """The vjp of a step without the step's results."""
    return simplify(replace(fn, block=replace(fn.block, yields=fn.block.yields[count:])))


def _state(rev: Reverse, pulled: Function, p: Var) -> Atom:
    """A carried value at the beginning of the trip; one that is not read is not asked for."""
    return rev.values.need(p) if _reads(pulled, p) else zero_of(p.type)


def _reads(fn: Function, p: Var) -> bool:
    yields = (a for block in blocks(fn.block) for a in block.yields)
    return any(p in uses(s) for s in walk(fn.block)) or p in set(yields)
