"""Where in a cache a value of a loop belongs: an index for every trip of every loop.

note [Positions]  A nest of `For`s at the top of the function whose trip counts have bounds that
are known when it is entered is *static*: a trip is named by the loops' counters, and a cache is an
array with a dimension for each, as long as the bound (a triangle is kept in a square).  Any other
loop is *dynamic*: its trips are numbered from 0 as they happen, by a counter threaded through the
regions around it, and a cache is a growing array.

    cnt = for i in range(n) carry (c = 0):
        for j in range(m_i):
            pos = c + j                      # the position of this trip
        yield c + m_i

A `for` that every trip of a dynamic loop makes, and always as long, needs no counter: trip j of it
in trip t is number t * length + j.  A counter that no cache uses is dead code.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace

from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import (
    I64,
    Array,
    Atom,
    Block,
    Const,
    Dim,
    For,
    Function,
    If,
    Prim,
    Stmt,
    Var,
    While,
)
from numbaflux.ir.ops import THREADS
from numbaflux.ir.walk import defs, map_regions, regions, walk

BOUNDED = {"add", "sub", "neg", "mul", "max", "min", "cast"}  # whose bounds follow from bounds
HOISTED = {"add", "sub", "mul", "neg", "max", "min"}  # what may be computed ahead: never raises


@dataclass(frozen=True, slots=True)
class Nest:
    """A loop among the loops around it. `index`: what names a trip. note [Positions]

    `counts`: the trip counts of a static nest from the outside in; None if dynamic.
    """

    index: tuple[Atom, ...]
    counts: tuple[Atom, ...] | None


@dataclass(frozen=True, slots=True)
class Counted:
    """A program in which every loop's trips are named; `nests` by the first parameter of a body."""

    fn: Function
    nests: Mapping[Var, Nest]
    hoist: Hoist


@dataclass
class Hoist:
    """What can be computed at the root, before a loop is entered: integers, and bounds of them.

    `counts`: by the counter of a loop that is entered there, or inside such a loop, its trip count.
    `origins`: by a reference that a loop carries, those that it may have begun as.
    """

    available: set[Var]
    definition: dict[Var, Stmt] = field(default_factory=dict)
    counts: dict[Var, Atom] = field(default_factory=dict)
    origins: dict[Atom, tuple[Atom, ...]] = field(default_factory=dict)

    def seen(self, array: Atom) -> bool:
        """Whether a reference is there at the root."""
        return not isinstance(array, Var) or array in self.available

    def exact(self, a: Atom) -> bool:
        """Whether the value itself can be computed there."""
        if not isinstance(a, Var) or a in self.available:
            return True
        match self.definition.get(a):
            case Prim(op=op, args=args):
                return op in HOISTED and all(self.exact(x) for x in args)
            case Dim(array=array):
                return self.seen(array)
            case _:
                return False

    def bounded(self, a: Atom) -> bool:
        """Whether a bound of the value can: counters are between 0 and their count."""
        if self.exact(a) or a in self.counts:
            return True
        match self.definition.get(a) if isinstance(a, Var) else None:
            case Dim(array=array) if array in self.origins:
                return all(self.seen(origin) for origin in self.origins[array])
            case Prim(op="mul", args=(x, y)):
                return (isinstance(x, Const) or isinstance(y, Const)) and (
                    self.bounded(x) and self.bounded(y)
                )
            case Prim(op=op, args=args):
                return op in HOISTED and all(self.bounded(x) for x in args)
            case _:
                return False

    def bound(self, b: Builder, a: Atom, upper: bool = True) -> Atom:
        """An upper or lower bound of `a`, which is `bounded`, computed by `b` at the root."""
        if not isinstance(a, Var) or a in self.available:
            return a
        if a in self.counts:
            return b.sub(self.bound(b, self.counts[a]), index(1)) if upper else index(0)
        stmt = self.definition[a]
        if isinstance(stmt, Dim):
            return self.length(b, stmt, upper)
        assert isinstance(stmt, Prim)
        x, *rest = stmt.args
        match stmt.op:
            case "neg":
                return b.neg(self.bound(b, x, not upper))
            case "sub":
                return b.sub(self.bound(b, x, upper), self.bound(b, rest[0], not upper))
            case "mul" if not self.exact(a):
                x, c = (rest[0], x) if isinstance(x, Const) else (x, rest[0])
                assert isinstance(c, Const) and not isinstance(c.value, str)
                return b.mul(self.bound(b, x, upper if c.value >= 0 else not upper), c)
            case op:
                return b.prim(op, *(self.bound(b, y, upper) for y in stmt.args), name=a.name)

    def length(self, b: Builder, stmt: Dim, upper: bool) -> Atom:
        """The length, or the longest that one of the references has that may be meant."""
        if self.seen(stmt.array):
            return b.dim(stmt.array, stmt.axis, stmt.result.name)
        if not upper:
            return index(0)
        first, *rest = (b.dim(a, stmt.axis) for a in self.origins[stmt.array])
        longest: Atom = first
        for n in rest:
            longest = b.prim("max", longest, n)
        return longest


def counters(fn: Function) -> Counted:
    """`fn` with a position for every loop."""
    fn = replace(fn, block=_with_trips(fn.block))
    hoist = Hoist(set(fn.params))
    static = _static(fn.block, hoist, _on_host(fn) if fn.kernel else None)
    threader = _Threader(static, _even(fn.block, static, hoist.available))
    return Counted(replace(fn, block=threader.block(fn.block, None, None)), threader.nests, hoist)


def _with_trips(block: Block) -> Block:
    """Every While carries, first of all, the number of trips it has made."""
    stmts: list[Stmt] = []
    for stmt in block.stmts:
        stmt = map_regions(stmt, _with_trips)
        if isinstance(stmt, While) and not _counts(stmt):
            trip, trips = Var("trip", I64), Var("trips", I64)
            b = Builder(stmt.loc)
            b.stmts += stmt.body.stmts
            go, *nexts = stmt.body.yields
            nexts = (go, b.add(trip, index(1), name="trip"), *nexts)
            body = b.block((trip, *stmt.body.params), nexts)
            stmt = While((trips, *stmt.results), (index(0), *stmt.inits), body, stmt.loc)
        stmts.append(stmt)
    return replace(block, stmts=tuple(stmts))


def _counts(loop: While) -> bool:
    """Whether the first value that a loop carries is the number of its trips already."""
    if not loop.inits or loop.inits[0] != index(0):
        return False
    trip, more = loop.body.params[0], loop.body.yields[1]
    return any(
        s.result is more and s.op == "add" and s.args == (trip, index(1))
        for s in loop.body.stmts
        if isinstance(s, Prim)
    )


def key_of(loop: For | While) -> Var:
    """What names a loop: its counter."""
    return loop.body.params[0]


def _on_host(fn: Function) -> set[Var]:
    """The integers of a kernel that have a bound before it is launched. [Bounds] in tapes.py"""
    exact: set[Atom] = set(fn.params)  # the same in all threads
    bounded: set[Atom] = set(fn.params)
    for stmt in fn.block.stmts:
        match stmt:
            case Dim(result, array) if array in fn.params:
                exact.add(result)
                bounded.add(result)
            case Prim(result, op, args) if op in THREADS:
                bounded.add(result)
            case Prim(result, op, args):
                if all(isinstance(a, Const) or a in exact for a in args):
                    exact.add(result)
                known = op in BOUNDED and all(isinstance(a, Const) or a in bounded for a in args)
                if known or result in exact:
                    bounded.add(result)
            case _:
                pass
    return {v for v in bounded if isinstance(v, Var)}


def _static(root: Block, hoist: Hoist, on_host: set[Var] | None) -> dict[Var, tuple[For, ...]]:
    """The static loops, each with the loops around it and itself. Fills `hoist`.

    `on_host`: of a kernel, what can be known before it runs.
    """
    found: dict[Var, tuple[For, ...]] = {}

    def visit(block: Block, outer: tuple[For, ...] | None, top: bool) -> None:
        for stmt in block.stmts:
            nest = None
            if isinstance(stmt, For) and outer is not None and hoist.bounded(stmt.count):
                hoist.counts[key_of(stmt)] = stmt.count
                nest = found[key_of(stmt)] = (*outer, stmt)
            hoist.origins.update(_origins(stmt) if isinstance(stmt, For) else ())
            for region in regions(stmt):
                inside = nest if not isinstance(stmt, If) else (None if top else outer)
                visit(region, inside, False)
            if top:
                here = (v for v in defs(stmt) if not _grows(v))
                hoist.available.update(v for v in here if on_host is None or v in on_host)
            elif isinstance(stmt, Prim | Dim):
                hoist.definition[stmt.result] = stmt

    visit(root, (), True)
    return found


def _origins(loop: For) -> Iterator[tuple[Atom, tuple[Atom, ...]]]:
    """The references that a loop only hands on, and those that they may have begun as."""
    params = loop.body.params[1:]
    for p in params:
        chain: list[Atom] = [p]
        while chain[-1] in params and chain.count(chain[-1]) == 1:
            chain.append(loop.body.yields[params.index(chain[-1])])
        if isinstance(p.type, Array) and chain[-1] in params:
            yield p, tuple(loop.inits[params.index(q)] for q in dict.fromkeys(chain))


def _grows(v: Var) -> bool:
    return isinstance(v.type, Array) and v.type.grows


def _even(root: Block, static: Container[Var], known: set[Var]) -> set[Var]:
    """The `for`s in every trip of a dynamic loop that make as many trips as is `known` before."""
    loops = [s for s in walk(root) if isinstance(s, For | While) and key_of(s) not in static]
    inner = [s for loop in loops for s in loop.body.stmts if isinstance(s, For)]
    return {key_of(s) for s in inner if isinstance(s.count, Const) or s.count in known}


class _Threader:
    """Threads the counters of dynamic loops through the regions around them.

    `count`, in scope while a block is written: by loop, the atom that holds how often its body
    has run so far; None outside all loops, where every loop starts from zero. `at`: the number of
    the trip of a dynamic loop whose body the block is, else None.
    """

    def __init__(self, static: dict[Var, tuple[For, ...]], even: set[Var]) -> None:
        self.static, self.even = static, even
        self.nests: dict[Var, Nest] = {}

    def block(self, block: Block, count: dict[Var, Atom] | None, at: Atom | None) -> Block:
        return replace(block, stmts=tuple(t for s in block.stmts for t in self.stmt(s, count, at)))

    def stmt(self, stmt: Stmt, count: dict[Var, Atom] | None, at: Atom | None) -> list[Stmt]:
        match stmt:
            case If():
                return [self.if_(stmt, count)]
            case For() | While():
                return self.loop(stmt, count, at)
            case _:
                return [stmt]

    def if_(self, stmt: If, count: dict[Var, Atom] | None) -> If:
        if count is None:
            then = self.block(stmt.then, None, None)
            return replace(stmt, then=then, orelse=self.block(stmt.orelse, None, None))
        after_then, after_orelse = dict(count), dict(count)
        then = self.block(stmt.then, after_then, None)
        orelse = self.block(stmt.orelse, after_orelse, None)
        moved = self.dynamic_in(stmt)
        results = tuple(Var("count", I64) for _ in moved)
        count.update(zip(moved, results))
        return replace(
            stmt,
            results=(*stmt.results, *results),
            then=replace(then, yields=(*then.yields, *(after_then[k] for k in moved))),
            orelse=replace(orelse, yields=(*orelse.yields, *(after_orelse[k] for k in moved))),
        )

    def loop(self, stmt: For | While, count: dict[Var, Atom] | None, at: Atom | None) -> list[Stmt]:
        key, before, head, tail = key_of(stmt), *(Builder(stmt.loc) for _ in range(3))
        if key in self.static:
            around = self.static[key]
            nest = Nest(tuple(key_of(f) for f in around), tuple(f.count for f in around))
        elif isinstance(stmt, For) and at is not None and key in self.even:
            nest = Nest((head.add(before.mul(at, stmt.count), key, name="pos"),), None)
        elif count is None:
            nest = Nest((key,), None)
        else:
            nest = Nest((head.add(count[key], key, name="pos"),), None)
        self.nests[key] = nest
        inside = self.dynamic_in(stmt)
        inits = tuple(index(0) if count is None else count[k] for k in inside)
        params = tuple(Var("count", I64) for _ in inside)
        here: dict[Var, Atom] = dict(zip(inside, params))
        body = self.block(stmt.body, here, None if nest.counts else nest.index[0])
        results = tuple(Var("count", I64) for _ in inside)
        new = replace(
            stmt,
            results=(*stmt.results, *results),
            inits=(*stmt.inits, *inits),
            body=Block(
                (*body.params, *params),
                (*head.stmts, *body.stmts),
                (*body.yields, *(here[k] for k in inside)),
            ),
        )
        if count is not None:
            count.update(zip(inside, results))
            if key in count:
                count[key] = tail.add(count[key], _trips(tail, new), name="count")
        return [*before.stmts, new, *tail.stmts]

    def dynamic_in(self, stmt: Stmt) -> list[Var]:
        """The dynamic loops inside a statement's regions."""
        return [
            key_of(s)
            for region in regions(stmt)
            for s in walk(region)
            if isinstance(s, For | While)
            if key_of(s) not in self.static and key_of(s) not in self.even
        ]


def _trips(b: Builder, loop: For | While) -> Atom:
    """How often a loop's body ran."""
    return loop.results[0] if isinstance(loop, While) else b.prim("max", loop.count, index(0))
