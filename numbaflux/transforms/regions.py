"""Regions backward: an If under the same condition, a loop with its trips counted down.

The adjoint of a scalar that a region uses but does not define is carried through the region and
grows there; the adjoint of a carried value is carried the other way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numbaflux.ir.build import Builder, index, zero_of
from numbaflux.ir.nodes import I64, Array, Atom, Block, For, If, Var, While
from numbaflux.ir.walk import free
from numbaflux.passes.counters import key_of

if TYPE_CHECKING:
    from numbaflux.transforms.vjp import Reverse


def reverse_if(rev: Reverse, stmt: If) -> None:
    """if c: then backward, else: orelse backward."""
    seeds = [rev.adjoints.pop(r, None) for r in stmt.results]
    if not rev.active.acts(stmt) and not any(seeds):
        return
    cond = rev.values.need(stmt.cond)
    before = rev.adjoints
    b_then, then = _arm(rev, stmt.then, seeds)
    b_orelse, orelse = _arm(rev, stmt.orelse, seeds)
    rev.adjoints = dict(before)
    changed = [
        v
        for v in dict.fromkeys([*then, *orelse])
        if not then.get(v) is before.get(v) is orelse.get(v)
    ]
    if not (b_then.stmts or b_orelse.stmts or changed):
        return

    def out(adjoints: dict[Var, Atom]) -> list[Atom]:
        return [adjoints.get(v) or zero_of(v.type) for v in changed]

    results = rev.b.if_(
        cond,
        b_then.block((), out(then)),
        b_orelse.block((), out(orelse)),
        [f"d_{v.name}" for v in changed],
    )
    rev.adjoints.update(zip(changed, results))


def _arm(rev: Reverse, arm: Block, seeds: list[Atom | None]) -> tuple[Builder, dict[Var, Atom]]:
    """An arm backward: what it wrote, and the adjoints after it."""
    outer, outer_adjoints = rev.b, rev.adjoints
    rev.b, rev.adjoints = Builder(outer.loc), dict(outer_adjoints)
    with rev.values.mirror(arm, rev.b):
        for y, d in zip(arm.yields, seeds):
            if d is not None:
                rev.contribute(y, d)
        rev.block(arm)
    b, adjoints = rev.b, rev.adjoints
    rev.b, rev.adjoints = outer, outer_adjoints
    inside = {v for v in adjoints if rev.values.places.home[v] is arm}
    return b, {v: d for v, d in adjoints.items() if v not in inside}


def reverse_for(rev: Reverse, stmt: For) -> None:
    """for k in range(n): body backward, at trip n - 1 - k."""
    carried = stmt.body.params[1:]
    _reverse_loop(rev, stmt, stmt.count, carried, stmt.body.yields)


def reverse_while(rev: Reverse, stmt: While) -> None:
    """As many trips as were made; the first carried value counts them (counters.py)."""
    _reverse_loop(rev, stmt, stmt.results[0], stmt.body.params, stmt.body.yields[1:])


def _reverse_loop(
    rev: Reverse,
    stmt: For | While,
    count: Atom,
    carried: tuple[Var, ...],
    nexts: tuple[Atom, ...],
) -> None:
    body = stmt.body
    moving = [
        (r, i, p, y)
        for r, i, p, y in zip(stmt.results, stmt.inits, carried, nexts)
        if not isinstance(p.type, Array) and (r in rev.active or p in rev.active)
    ]
    if not rev.active.acts(stmt) and not moving:
        return
    outside = [v for v in free(body) if v in rev.active and not isinstance(v.type, Array)]
    seeds = [rev.adjoints.pop(r, None) or zero_of(r.type) for r, *_ in moving]
    sums = [rev.adjoint(v) for v in outside]
    cycles = _cycles(rev, stmt, carried)
    references = [rev.values.need(stmt.results[i]) for i, _ in cycles]
    n = rev.values.need(count)
    names = [f"d_{v.name}" for v in [*(p for _, _, p, _ in moving), *outside]]
    names += [carried[i].name for i, _ in cycles]
    inits = (*seeds, *sums, *references)
    params = tuple(Var(name, a.type) for name, a in zip(names, inits))
    d_carried, d_outside, now = _split(params, len(moving), len(outside))
    outer, outer_adjoints = rev.b, rev.adjoints
    rev.b, rev.adjoints = Builder(stmt.loc), {}
    rev.adjoints.update(zip(outside, d_outside))
    k = Var(key_of(stmt).name, I64)
    with rev.values.mirror(body, rev.b) as scope:
        scope.memo[key_of(stmt)] = _backward(rev.b, n, k)
        scope.memo.update((carried[j], q) for (_, j), q in zip(cycles, now))
        for (_, _, _, y), d in zip(moving, d_carried):
            rev.contribute(y, d)
        rev.block(body)
        yields = (
            *(rev.adjoint(p) for _, _, p, _ in moving),
            *(rev.adjoint(v) for v in outside),
            *(scope.memo[carried[i]] for i, _ in cycles),
        )
    backward = rev.b.block((k, *params), yields)
    results = tuple(Var(p.name, p.type) for p in params)
    rev.b, rev.adjoints = outer, outer_adjoints
    parallel = isinstance(stmt, For) and stmt.parallel
    outer.append(For(results, n, inits, backward, parallel, stmt.loc, reverse=True))
    d_inits, d_outside, _ = _split(results, len(moving), len(outside))
    rev.adjoints.update(zip(outside, d_outside))
    for (_, i, _, _), d in zip(moving, d_inits):
        rev.contribute(i, d)


def _split(values: tuple[Var, ...], n: int, m: int) -> tuple[tuple[Var, ...], ...]:
    """The first n, the next m, the rest."""
    return values[:n], values[n : n + m], values[n + m :]


def _backward(b: Builder, n: Atom, k: Atom) -> Atom:
    """n - 1 - k"""
    return b.sub(b.sub(n, index(1)), k, name=k.name if isinstance(k, Var) else "k")


def _cycles(rev: Reverse, stmt: For | While, carried: tuple[Var, ...]) -> list[tuple[int, int]]:
    """The references that the loop permutes and the reverse sweep asks for."""
    found: dict[tuple[int, int], None] = {}
    for p in carried:
        if isinstance(p.type, Array) and rev.values.asks(p):
            found.update((pair, None) for pair in rev.values.places.permuted(p) or ())
    return list(found)
