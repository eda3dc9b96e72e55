"""Cleaning: constants folded, equal expressions computed once, decided branches taken.

One walk down the program with what is known so far: an environment that replaces variables, and a
table of available expressions.  A Load is available until something may write its array.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from numbaflux.debug import stage
from numbaflux.ir.build import array_of, fold, index
from numbaflux.ir.nodes import (
    I64,
    Alloc,
    Array,
    Atom,
    Barrier,
    Block,
    Const,
    Dim,
    For,
    Function,
    How,
    If,
    Index,
    Load,
    Prim,
    Raise,
    Reshape,
    Slice,
    Stmt,
    Store,
    Transpose,
    Var,
    View,
    While,
)
from numbaflux.ir.walk import defs, map_atoms, regions, substitute, walk, within
from numbaflux.passes.alias import Aliases
from numbaflux.passes.dead import dead_code
from numbaflux.passes.exits import exits

COMMUTE = {"add", "mul", "eq", "ne", "and", "or", "bitand", "bitor", "bitxor"}

Key = tuple[Any, ...]  # of an expression: equal if two compute the same
Available = dict[Key, Atom]  # the atoms that have the values of expressions


@stage
def simplify(fn: Function) -> Function:
    """An equal function with less to do."""
    return dead_code(exits(replace(fn, block=_Simplifier(fn).block(fn.block, {}))))


class _Simplifier:
    def __init__(self, fn: Function) -> None:
        self.alias, self.kernel = Aliases(fn), fn.kernel is not None
        self.env: dict[Var, Atom] = {}
        self.definition: dict[Var, Stmt] = {}
        self.lengths: dict[tuple[Atom, int], Atom] = {}  # axes of carried references

    def atom(self, a: Atom) -> Atom:
        return self.env.get(a, a) if isinstance(a, Var) else a

    def block(self, block: Block, available: Available) -> Block:
        """The block simplified; `available` is that of the enclosing block, not changed."""
        available = dict(available)
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            stmts += self.stmt(stmt, available)
        return replace(block, stmts=tuple(stmts), yields=tuple(self.atom(a) for a in block.yields))

    def stmt(self, stmt: Stmt, available: Available) -> Iterable[Stmt]:
        old = stmt
        stmt = self.offset(map_atoms(stmt, self.atom))
        if regions(stmt):
            self.forget(available, old)
            return self.regions(stmt, available)
        if isinstance(stmt, Raise):
            never = stmt.cond == Const(False, stmt.cond.type) or (Raise, stmt.cond) in available
            available[Raise, stmt.cond] = stmt.cond  # it is false from here on
            return () if never else (stmt,)
        known = self.known(stmt, available)
        if known is not None:
            self.env[defs(stmt)[0]] = known
            return ()
        key = self.key(stmt)
        if key is not None:
            available[key] = defs(stmt)[0]
        self.forget(available, old)
        if isinstance(stmt, Store) and stmt.value.type == array_of(stmt.array).element:
            available[Load, stmt.array, _atoms(stmt.index)] = stmt.value
        self.definition.update((v, stmt) for v in defs(stmt))
        return (stmt,)

    def offset(self, stmt: Stmt) -> Stmt:
        """An integer moved by constants as one `x + c` or `x - c`: equal ones look equal."""
        match stmt:
            case Prim(result=Var(type=type), op="add" | "sub") if type == I64:
                x, c = _moved(stmt)
                inner = self.definition.get(x) if isinstance(x, Var) and c is not None else None
                if isinstance(inner, Prim) and inner.result.type == I64:
                    y, e = _moved(inner)
                    x, c = (x, c) if e is None or c is None else (y, c + e)
                if c is None:
                    return stmt
                return replace(stmt, op="sub" if c < 0 else "add", args=(x, index(abs(c))))
            case _:
                return stmt

    def known(self, stmt: Stmt, available: Available) -> Atom | None:
        """An atom that already has the statement's value."""
        match stmt:
            case Prim(op="max", args=(Var() as n, Const(value=0))) if self.is_length(n):
                found = n
            case Prim(result=r, op=op, args=args):
                found = fold(op, args, r.type)
            case Dim(array=array, axis=axis):
                found = self.dim(array, axis)
            case View(result=r, base=base, how=Reshape((_,))) if r.type == base.type:
                found = base  # a vector has one shape
            case _:
                found = None
        key = self.key(stmt)
        return available.get(key) if found is None and key is not None else found

    def key(self, stmt: Stmt) -> Key | None:
        """What makes two statements compute the same: (x - y)**2 and (y - x)**2 to the last bit."""
        match stmt:
            case Prim(result=r, op="mul", args=(Var() as d, e)) if d is e:
                match self.definition.get(d):
                    case Prim(op="sub", args=args):
                        return (Prim, "square", frozenset(_atoms(args)), r.type)
                    case _:
                        return _key(stmt)
            case _:
                return _key(stmt)

    def is_length(self, n: Var) -> bool:
        return isinstance(self.definition.get(n), Dim)

    def dim(self, array: Atom, axis: int) -> Atom | None:
        """The length of an axis where the definition of the array tells it."""
        if (array, axis) in self.lengths:
            return self.lengths[array, axis]
        match self.definition.get(array) if isinstance(array, Var) else None:
            case Alloc(result=r, shape=shape) if isinstance(r.type, Array) and not r.type.grows:
                return shape[axis]
            case View(base=base, how=Transpose(axes)):
                return self.dim(base, axes[axis])
            case View(how=Reshape(lengths)):
                return lengths[axis]
            case View(base=base, how=Index(items)):
                whole = Slice(None, None, None)
                kept = [
                    (item, base_axis)
                    for item, base_axis in zip(items, _base_axes(items))
                    if item is None or isinstance(item, Slice)
                ]
                item, base_axis = kept[axis]
                if item == whole:
                    return self.dim(base, base_axis)
            case _:
                pass
        return None

    def forget(self, available: Available, stmt: Stmt) -> None:
        """Drop the loads that a statement, its regions included, may make stale."""
        if self.kernel and any(isinstance(s, Barrier) for s in within(stmt)):
            # now others' stores are seen
            for key in [k for k in available if k[0] is Load]:
                del available[key]
        written = set(self.alias.written(stmt))
        for region in regions(stmt):
            written |= self.alias.written_in(region)
        if written:
            for key in [k for k in available if k[0] is Load]:
                if not written.isdisjoint(self.alias.of(key[1])):
                    del available[key]

    def regions(self, stmt: Stmt, available: Available) -> Iterable[Stmt]:
        match stmt:
            case If(cond=Const(value=value)):
                arm = self.block(stmt.then if value else stmt.orelse, available)
                self.env.update(zip(stmt.results, arm.yields))
                return arm.stmts
            case If(results=results):
                then = self.block(stmt.then, available)
                orelse = self.block(stmt.orelse, available)
                same = [_same(a, b) for a, b in zip(then.yields, orelse.yields)]
                self.env.update((r, a) for r, a, s in zip(results, then.yields, same) if s)
                return (drop(replace(stmt, then=then, orelse=orelse), same),)
            case For(count=Const(value=0)):
                self.env.update(zip(stmt.results, stmt.inits))
                return ()
            case For() | While():
                return (self.loop(stmt, available),)
            case _:
                raise AssertionError(stmt)

    def loop(self, stmt: For | While, available: Available) -> Stmt:
        """A loop without the carried values that never change."""
        skip_params, skip_yields = (1, 0) if isinstance(stmt, For) else (0, 1)
        params = stmt.body.params[skip_params:]

        def unchanged(body: Block) -> dict[Var, Atom]:
            nexts = body.yields[skip_yields:]
            return {p: i for i, p, y in zip(stmt.inits, params, nexts) if y is p}

        self.env.update(unchanged(stmt.body))
        nexts = stmt.body.yields[skip_yields:]
        self.lengths |= self.carried_lengths(stmt, params, nexts, available)
        body = self.block(stmt.body, available)
        same = unchanged(body) | unchanged(stmt.body)
        self.env.update((r, same[p]) for r, p in zip(stmt.results, params) if p in same)
        return drop(replace(stmt, body=substitute(body, same)), [p in same for p in params])

    def carried_lengths(
        self, stmt: For | While, params: Sequence[Var], nexts: Sequence[Atom], available: Available
    ) -> dict[tuple[Atom, int], Atom]:
        """The lengths that carried references have in every trip and after the loop.

        Swapped buffers of one shape keep it, and so does an array made anew in the shape of the
        last one: all that is known on entry is assumed, then what a trip does not keep is dropped.
        """
        inside: dict[Atom, Stmt] = {v: s for s in stmt.body.stmts for v in defs(s)}
        held: dict[tuple[Atom, int], Atom] = {}
        for p, init in zip(params, stmt.inits):
            for axis in range(p.type.ndim if isinstance(p.type, Array) else 0):
                n = self.dim(init, axis) or available.get((Dim, init, axis))
                held |= {(p, axis): n} if n is not None else {}

        def length(array: Atom, axis: int) -> Atom | None:
            match inside.get(array):
                case Alloc(shape=shape):
                    n = inside.get(shape[axis])
                    if n is None:
                        return self.atom(shape[axis])
                    return length(n.array, n.axis) if isinstance(n, Dim) else None
                case None if array in params:
                    return held.get((array, axis))
                case None:
                    return self.dim(self.atom(array), axis)
                case _:
                    return None

        after: dict[Atom, tuple[Atom, Var]] = dict(zip(params, zip(nexts, stmt.results)))
        while lost := [(p, i) for (p, i), n in held.items() if length(after[p][0], i) != n]:
            for key in lost:
                del held[key]
        return held | {(after[p][1], axis): n for (p, axis), n in held.items()}


def _moved(stmt: Prim) -> tuple[Atom, int | None]:
    """x and c of an integer `x + c`, `c + x` or `x - c`; c is None for anything else."""
    match stmt:
        case Prim(op="add", args=(x, Const(value=int(c)))) if not isinstance(x, Const):
            return x, c
        case Prim(op="add", args=(Const(value=int(c)), x)) if not isinstance(x, Const):
            return x, c
        case Prim(op="sub", args=(x, Const(value=int(c)))) if not isinstance(x, Const):
            return x, -c
        case _:
            return stmt.result, None


def _base_axes(items) -> list[int]:
    """For each item of an Index the axis of the base it belongs to."""
    axes, axis = [], 0
    for item in items:
        axes.append(axis)
        axis += item is not None
    return axes


def _same(a: Atom, b: Atom) -> bool:
    return a is b or (isinstance(a, Const) and isinstance(b, Const) and _const(a) == _const(b))


def _const(a: Const) -> Key:
    return (repr(a.value), a.type)  # repr: 0.0 is not -0.0, nan is nan


def drop(stmt: If | For | While, gone: list[bool]) -> Stmt:
    """Without the results and carried values marked."""
    keep = [not g for g in gone]

    def pick(values) -> tuple:
        return tuple(v for v, k in zip(values, keep) if k)

    match stmt:
        case If():
            return replace(
                stmt,
                results=pick(stmt.results),
                then=replace(stmt.then, yields=pick(stmt.then.yields)),
                orelse=replace(stmt.orelse, yields=pick(stmt.orelse.yields)),
            )
        case For(body=body):
            body = replace(
                body, params=(body.params[0], *pick(body.params[1:])), yields=pick(body.yields)
            )
        case While(body=body):
            body = replace(
                body, params=pick(body.params), yields=(body.yields[0], *pick(body.yields[1:]))
            )
    return replace(stmt, results=pick(stmt.results), inits=pick(stmt.inits), body=body)


def _atoms(values: Iterable[Atom | None]) -> Key:
    return tuple(_const(a) if isinstance(a, Const) else a for a in values)


def _key(stmt: Stmt) -> Key | None:
    """What makes two statements compute the same, None if they never do."""
    match stmt:
        case Prim(result=r, op=op, args=args):
            parts = _atoms(args)
            if op in COMMUTE:
                parts = (
                    tuple(sorted(parts, key=id))
                    if not any(isinstance(p, tuple) for p in parts)
                    else parts
                )
            return (Prim, op, parts, r.type)
        case Dim(array=array, axis=axis) if not array_of(array).grows:
            return (Dim, array, axis)
        case Load(array=array, index=index):
            return (Load, array, _atoms(index))
        case View(result=r, base=base, how=how) if not array_of(base).grows:
            return (View, base, type(how), *_parts(how), r.type)
        case _:
            return None


def _parts(how: How) -> Iterator[Any]:
    match how:
        case Index(items):
            for item in items:
                one = (item.start, item.stop, item.step) if isinstance(item, Slice) else (item,)
                yield _atoms(one)
        case Transpose(axes):
            yield axes
        case Reshape(lengths):
            yield _atoms(lengths)


def count(fn: Function) -> int:
    """How many statements a function has, those of its regions included."""
    return sum(1 for _ in walk(fn.block))
