"""Integers that a loop moves alike in every trip, computed from the number of the trip instead.

    at = a                                for k in range(n):
    for k in range(n):              →         at = a + k*c
        .. at ..                              .. at ..
        at = at + c                       at = a + n*c

The same for `at // 2`, `at * 2` and shifts, and in a `while`, which gets a counter for it.  Nothing
has to be kept to know them in the reverse sweep, and an index is seen to be affine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import I64, Atom, Block, Const, For, Function, If, Prim, Stmt, Var, While
from numbaflux.ir.walk import defs, map_regions, substitute

Form = Callable[[Builder, Atom, Atom], Atom]  # (b, first value, trip) -> the value in that trip
BITS = 64


@stage
def induction(fn: Function) -> Function:
    """The function without such carried integers."""
    changed = False

    def visit(block: Block) -> Block:
        nonlocal changed
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            made = list(_counted(stmt := map_regions(stmt, visit)))
            changed |= made != [stmt]
            stmts += made
        return replace(block, stmts=tuple(stmts))

    block = visit(fn.block)
    return replace(fn, block=block) if changed else fn


def _counted(loop: Stmt) -> Iterable[Stmt]:
    """The statement; a loop without carried integers that only move by a form."""
    match loop:
        case For(slots=None, body=body):
            forms = _forms(body, body.yields, body.params[1:])
            return _for(loop, forms) if any(forms) else (loop,)
        case While(body=body):
            made = _definitions(body)
            pairs = list(zip(body.yields[1:], body.params))
            kept = [_kept_at_the_end(made.get(y), body.yields[0], y, p) for y, p in pairs]
            nexts = [y if k is None else k for (y, _), k in zip(pairs, kept)]
            forms = _forms(body, nexts, body.params)
            last = [k is not None for k in kept]
            return _while(loop, forms, last) if any(forms) else (loop,)
        case _:
            return (loop,)


def _for(loop: For, forms: list[Form | None]) -> Iterable[Stmt]:
    k, *carried = loop.body.params
    head, tail, kept = Builder(loop.loc), Builder(loop.loc), [f is None for f in forms]
    env: dict[Var, Atom] = {}
    trips = tail.prim("max", loop.count, index(0), name="trips")
    for r, i, p, form in zip(loop.results, loop.inits, carried, forms):
        if form is not None:
            env[p] = form(head, i, k)
            _define(tail, r, form(tail, i, trips), trips)
    body = substitute(loop.body, env)
    new = replace(
        loop,
        results=_where(loop.results, kept),
        inits=_where(loop.inits, kept),
        body=Block(
            (k, *_where(tuple(carried), kept)),
            (*head.stmts, *body.stmts),
            _where(body.yields, kept),
        ),
    )
    return (new, *tail.stmts)


def _while(loop: While, forms: list[Form | None], last: list[bool]) -> Iterable[Stmt]:
    """`last`: which values do not move in the last trip."""
    trip, trips = Var("trip", I64), Var("trips", I64)
    head, tail, kept = Builder(loop.loc), Builder(loop.loc), [f is None for f in forms]
    env: dict[Var, Atom] = {}
    before = tail.sub(trips, index(1)) if any(last) else trips
    for r, i, p, form, ends in zip(loop.results, loop.inits, loop.body.params, forms, last):
        if form is not None:
            env[p] = form(head, i, trip)
            count = before if ends else trips
            _define(tail, r, form(tail, i, count), count)
    body = substitute(loop.body, env)
    go, *nexts = body.yields
    end = Builder(loop.loc)
    more = end.add(trip, index(1), name="trip")
    new = While(
        (trips, *_where(loop.results, kept)),
        (index(0), *_where(loop.inits, kept)),
        Block(
            (trip, *_where(loop.body.params, kept)),
            (*head.stmts, *body.stmts, *end.stmts),
            (go, more, *_where(tuple(nexts), kept)),
        ),
        loop.loc,
    )
    return (new, *tail.stmts)


def _define(b: Builder, r: Var, value: Atom, count: Atom) -> None:
    """r = value; the count itself may be the value of others too."""
    last = b.stmts[-1] if b.stmts else None
    if isinstance(last, Prim) and last.result is value and value is not count:
        b.stmts[-1] = replace(last, result=r)
    else:
        b.append(Prim(r, "add", (value, index(0)), b.loc))


def _definitions(body: Block) -> dict[Atom, Stmt]:
    return {v: s for s in body.stmts for v in defs(s)}


def _kept_at_the_end(stmt: Stmt | None, go: Atom, y: Atom, p: Var) -> Atom | None:
    """What `y if go else p` moves to while the loop goes on; None if `stmt` defines no such y."""
    if not isinstance(stmt, If) or stmt.cond is not go:
        return None
    at = next(i for i, r in enumerate(stmt.results) if r is y)
    return stmt.then.yields[at] if stmt.orelse.yields[at] is p else None


def _forms(body: Block, nexts: Sequence[Atom], carried: Sequence[Var]) -> list[Form | None]:
    made = _definitions(body)
    inside = made.keys() | set(body.params)
    return [_form(made.get(y), p, inside) for y, p in zip(nexts, carried)]


def _form(stmt: Stmt | None, p: Var, inside: Set[Atom]) -> Form | None:
    """How a carried integer moves, if it is by the same in every trip."""
    if not isinstance(stmt, Prim) or p.type != I64 or stmt.result.type != I64:
        return None
    match stmt:
        case Prim(op="add", args=(x, c)) if x is p and c not in inside and c.type == I64:
            return lambda b, i, k: b.add(i, b.mul(k, c), name=p.name)
        case Prim(op="sub", args=(x, Const(value=int(c)))) if x is p:
            return lambda b, i, k: b.add(i, b.mul(k, index(-c)), name=p.name)
        case Prim(op="floordiv", args=(x, Const(value=int(c)))) if x is p and _power(c):
            return _shifted_right(_power(c), p.name)
        case Prim(op="rshift", args=(x, Const(value=int(c)))) if x is p and 0 < c < BITS:
            return _shifted_right(c, p.name)
        case Prim(op="mul", args=(x, Const(value=int(c)))) if x is p and _power(c):
            return _shifted_left(_power(c), p.name)
        case Prim(op="lshift", args=(x, Const(value=int(c)))) if x is p and 0 < c < BITS:
            return _shifted_left(c, p.name)
        case _:
            return None


def _power(c: int) -> int:
    """m, if c is 2**m and not 1; else 0."""
    return c.bit_length() - 1 if c > 1 and c & (c - 1) == 0 else 0


def _shifted_right(bits: int, name: str) -> Form:
    def form(b: Builder, i: Atom, k: Atom) -> Atom:
        far = b.prim("min", b.mul(k, index(bits)), index(BITS - 1))
        return b.prim("rshift", i, far, name=name)

    return form


def _shifted_left(bits: int, name: str) -> Form:
    def form(b: Builder, i: Atom, k: Atom) -> Atom:
        far = b.mul(k, index(bits))
        moved = b.prim("lshift", i, b.prim("min", far, index(BITS - 1)))
        return b.select(b.prim("lt", far, index(BITS)), moved, index(0), name=name)

    return form


def _where(values: tuple, kept: list[bool]) -> tuple:
    return tuple(v for v, keep in zip(values, kept) if keep)
