"""Copies of arrays that are overwritten later, taken once instead of element by element.

note [Snapshots]  A load that the reverse sweep repeats but would find overwritten can be kept at
every trip, and so can a sum of several.  Where several such values come from one array, a copy of
it is smaller: it is made in the outermost loop whose iteration reads the array, in one statement,
without writing it there.

    for t in range(steps):                    for t in range(steps):
        for i in range(1, n - 1):                 s = u.copy()            # kept, a row for every t
            v[i] = f(u[i-1], u[i], u[i+1])        for i in range(1, n - 1): ...
        u, v = v, u                               u, v = v, u
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from numbaflux.ir.build import Builder, array_of
from numbaflux.ir.nodes import Array, Atom, Block, For, Function, Load, Prim, Stmt, Var
from numbaflux.ir.ops import EXPENSIVE
from numbaflux.ir.walk import map_regions, within
from numbaflux.passes.alias import written_arrays
from numbaflux.passes.dependence import Dependence


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of `array` to be made before `before`, for the loads in it that define `loads`."""

    array: Var
    before: Stmt
    loads: tuple[Var, ...]


def worthwhile(fn: Function, kept: Iterable[Var]) -> list[Snapshot]:
    """The snapshots that are smaller than the values kept in their place. note [Snapshots]"""
    dependence = Dependence.of(fn)
    values: dict[tuple[Var, Stmt], list[Var]] = {}
    loads: dict[tuple[Var, Stmt], dict[Var, None]] = {}
    for v in kept:
        behind = _behind(dependence, v) or []
        places = dict.fromkeys(_place(dependence, load) for load in behind)
        place = next(iter(places)) if len(places) == 1 else None
        if place is not None:
            values.setdefault(place, []).append(v)
            loads.setdefault(place, {}).update(dict.fromkeys(load.result for load in behind))
    return [
        Snapshot(array, before, tuple(loads[array, before]))
        for (array, before), group in values.items()
        if _smaller(dependence, array, before, group)
    ]


def _behind(dependence: Dependence, v: Atom) -> list[Load] | None:
    """The loads that a value is computed from, cheaply and from nothing else of a loop's."""
    if not isinstance(v, Var) or dependence.places.home.get(v) is dependence.places.root:
        return []
    match dependence.places.definition.get(v):
        case Load() as load:
            return [load]
        case Prim(op=op, args=args) if op not in EXPENSIVE:
            found = [_behind(dependence, a) for a in args]
            known = [loads for loads in found if loads is not None]
            return [load for loads in known for load in loads] if known == found else None
        case _:
            return None


def _place(dependence: Dependence, load: Load) -> tuple[Var, Stmt] | None:
    """The array and the statement before which a snapshot would have what is loaded."""
    if not isinstance(load.array, Var) or not _numbers(load.array):
        return None
    before = _outermost(dependence, load, load.array)
    return None if before is None else (load.array, before)


def _numbers(array: Var) -> bool:
    return not isinstance(array_of(array).element, Array) and not array_of(array).grows


def _outermost(dependence: Dependence, load: Load, array: Var) -> Stmt | None:
    """The outermost statement around a load, in a loop, that sees the array and leaves it alone."""
    places, found = dependence.places, None
    stmt, block = load, places.home[load.result]
    while block is not places.home[array] and block is not places.root:
        stmt, block = places.around[block]
        if any(not dependence.apart(array, a) for s in within(stmt) for a in written_arrays(s)):
            break
        found = stmt
    return found


def _smaller(dependence: Dependence, array: Var, before: Stmt, kept: list[Var]) -> bool:
    """Whether a copy is smaller than what is kept, every loop and every axis taken as a hundred."""
    depth = [len(dependence.places.loops(dependence.places.home[v])) for v in kept]
    around = len(dependence.places.loops(dependence.block_of(before)))
    return sum(100.0**d for d in depth) > 1.5 * 100.0 ** (around + array_of(array).ndim)


def with_snapshots(
    fn: Function, snapshots: Iterable[Snapshot]
) -> tuple[Function, Mapping[Var, Var]]:
    """The function making the snapshots, and for each load the snapshot that has its value."""
    places = Dependence.of(fn)
    wanted: dict[Stmt, list[Snapshot]] = {}
    for snapshot in snapshots:
        wanted.setdefault(snapshot.before, []).append(snapshot)
    holds: dict[Var, Var] = {}

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            for snapshot in wanted.get(stmt, ()):
                made = _copy(b, snapshot, places.shape(b, snapshot.array))
                holds.update((v, made) for v in snapshot.loads)
            b.append(map_regions(stmt, visit))
        return replace(block, stmts=tuple(b.stmts))

    return replace(fn, block=visit(fn.block)), holds


def _copy(b: Builder, snapshot: Snapshot, shape: tuple[Atom, ...]) -> Var:
    """The copy, made by as many threads as what it is made for."""
    array = snapshot.array
    type = replace(array_of(array), layout="C", readonly=False)
    made = b.alloc(shape, type, zero=False, name=f"{array.name}_then")
    parallel = any(isinstance(s, For) and s.parallel for s in within(snapshot.before))
    with b.each(shape, parallel) as place:
        b.store(made, place, b.load(array, place))
    return made
