"""Boxes: the part of an array that a nest of loops visits, each of its elements once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeGuard

from numbaflux.ir.build import Builder, array_of, index, zero_of
from numbaflux.ir.nodes import Accumulate, Array, Atom, Block, For, Load, Stmt, Store, Var
from numbaflux.ir.walk import within
from numbaflux.passes.dependence import Dependence
from numbaflux.passes.forms import ONE, Form, atom_of, plus

Margins = tuple[tuple[int, int], ...]  # below and above, on each axis


@dataclass(frozen=True, slots=True)
class Part:
    """array[low + k, ..] for 0 <= k < count, on each axis."""

    low: tuple[int, ...]
    counts: tuple[Form, ...]

    def margins(self, inner: Part) -> Margins | None:
        """How far an inner part is from this one, below and above on each axis, if it is known."""
        found = []
        for low, n, inner_low, m in zip(self.low, self.counts, inner.low, inner.counts):
            gap = plus(n, m, -1)
            below = inner_low - low
            above = gap.get(ONE, 0) - below
            if not set(gap) <= {ONE} or below < 0 or above < 0:
                return None
            found.append((below, above))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Box(Part):
    """The part of an array that a nest visits, an element an iteration.

    `stmt` is the first or last that is done to an element.
    """

    stmt: Store | Accumulate


def box(dependence: Dependence, nest: Stmt, touching: Sequence[Stmt], last: bool) -> Box | None:
    """The box that a nest visits, with the last or the first of what is done to an element.

    `touching`: the statements of the nest that touch the array.
    """
    if not touching:
        return None
    found = touching[-1 if last else 0]
    counts: dict[Atom, Form] = {}
    stmt, block = nest, ()
    while isinstance(stmt, For):
        counts[stmt.body.params[0]] = dependence.form(stmt.count)
        block = stmt.body.stmts
        stmt = next(s for s in block if found in within(s))
    if stmt is not found or not isinstance(found, Store | Accumulate):
        return None
    place = [dependence.form(i) for i in found.index]
    order = [next((k for k in counts if form.get(k) == 1), None) for form in place]
    if len(order) != len(counts) or set(order) != set(counts):
        return None
    low = tuple(form.get(ONE, 0) for form in place)
    plain = all(set(form) <= {k, ONE} for form, k in zip(place, order))
    boxed = all(counts.keys().isdisjoint(form) for form in counts.values())
    if not plain or not boxed or any(n < 0 for n in low):
        return None
    for other in touching:
        if not isinstance(other, Load | Store | Accumulate) or other not in block:
            return None
        if other.array is not found.array or [dependence.form(i) for i in other.index] != place:
            return None
    return Box(low, tuple(counts[k] for k in order if k is not None), found)


def named(dependence: Dependence, stmt: Stmt, array: Var, last: bool) -> Box | None:
    """The box of an array that a statement visits, if it does so under this name."""
    found = box(dependence, stmt, dependence.touching(stmt, array), last)
    return found if found and found.stmt.array is array else None


# ---- zeros --------------------------------------------------------------------------------------


def clearing(block: Block) -> Iterator[tuple[Stmt, Var]]:
    """The nests of a block that store zeros, and the arrays they store to."""
    for stmt in block.stmts:
        if isinstance(stmt, For):
            arrays = dict.fromkeys(s.array for s in within(stmt) if stores_zero(s))
            yield from ((stmt, a) for a in arrays if isinstance(a, Var))


def stores_zero(stmt: Stmt) -> TypeGuard[Store]:
    """Whether a statement stores a zero."""
    if not isinstance(stmt, Store) or isinstance(stmt.value.type, Array):
        return False
    return stmt.value == zero_of(stmt.value.type)


def clear(b: Builder, array: Atom, outer: Part, margins: Margins) -> None:
    """Zeros into the margins of a part.

    A nest for each axis: near its ends, between the margins of the axes before, anywhere on those
    after. An index that could be negative would keep LLVM from vectorising what follows.
    """
    counts = [atom_of(b, form) for form in outer.counts]
    zero = zero_of(array_of(array).element)
    for near, (below, above) in enumerate(margins):
        if below + above == 0:
            continue
        with ExitStack() as stack:
            place: list[Atom] = []
            for d, (low, n) in enumerate(zip(outer.low, counts)):
                width = index(sum(margins[d]))
                trips = b.prim("min", n, width) if d == near else b.sub(n, width) if d < near else n
                k = stack.enter_context(b.for_(trips, index="ijkl"[d % 4])).k
                if d == near and below and above:
                    beyond = b.prim("max", b.sub(n, width), index(0))
                    k = b.add(k, b.select(b.prim("ge", k, index(below)), beyond, index(0)))
                elif d == near and above:
                    k = b.add(k, b.prim("max", b.sub(n, width), index(0)))
                place.append(b.add(k, index(low + (margins[d][0] if d < near else 0))))
            b.store(array, place, zero)


def clear_all(b: Builder, array: Atom, outer: Part) -> None:
    """Zeros into a part."""
    with b.each([atom_of(b, form) for form in outer.counts]) as k:
        place = [b.add(i, index(low)) for i, low in zip(k, outer.low)]
        b.store(array, place, zero_of(array_of(array).element))
