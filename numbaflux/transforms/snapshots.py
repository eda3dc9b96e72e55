"""Copies of arrays that are overwritten later, taken once instead of element by element.

note [Snapshots]  A load that the reverse sweep repeats but would find overwritten can be kept at
every trip.  Where several loads of an array are, a copy of the whole array is smaller: it is made
in the outermost loop whose iteration reads the array, in one statement, without writing it there.

    for t in range(steps):                    for t in range(steps):
        for i in range(1, n - 1):                 s = u.copy()            # kept, a row for every t
            v[i] = f(u[i-1], u[i], u[i+1])        for i in range(1, n - 1): ...
        u, v = v, u                               u, v = v, u
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from numbaflux.ir.build import Builder, array_of
from numbaflux.ir.nodes import Array, Atom, Block, Function, Load, Stmt, Var
from numbaflux.ir.walk import map_regions, within
from numbaflux.passes.alias import written_arrays
from numbaflux.passes.dependence import Dependence
from numbaflux.transforms.memory import elements


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of `array` to be made before `before`, for the loads in it that define `loads`."""

    array: Var
    before: Stmt
    loads: tuple[Var, ...]


def worthwhile(fn: Function, kept: Iterable[Var]) -> list[Snapshot]:
    """The snapshots that are smaller than the loads kept in their place. note [Snapshots]"""
    dependence = Dependence.of(fn)
    groups: dict[tuple[Var, Stmt], list[Var]] = {}
    for v in kept:
        load = dependence.places.definition.get(v)
        if isinstance(load, Load) and isinstance(load.array, Var) and _numbers(load.array):
            before = _outermost(dependence, load, load.array)
            if before is not None:
                groups.setdefault((load.array, before), []).append(v)
    return [
        Snapshot(array, before, tuple(loads))
        for (array, before), loads in groups.items()
        if _smaller(dependence, array, before, loads)
    ]


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


def _smaller(dependence: Dependence, array: Var, before: Stmt, loads: list[Var]) -> bool:
    """Whether a copy is smaller than the loads, every loop and every axis taken as a hundred."""
    depth = [len(dependence.places.loops(dependence.places.home[v])) for v in loads]
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
                made = _copy(b, snapshot.array, places.shape(b, snapshot.array))
                holds.update((v, made) for v in snapshot.loads)
            b.append(map_regions(stmt, visit))
        return replace(block, stmts=tuple(b.stmts))

    return replace(fn, block=visit(fn.block)), holds


def _copy(b: Builder, array: Var, shape: tuple[Atom, ...]) -> Var:
    type = replace(array_of(array), layout="C", readonly=False)
    made = b.alloc(shape, type, zero=False, name=f"{array.name}_then")
    with elements(b, array) as place:
        b.store(made, place, b.load(array, place))
    return made
