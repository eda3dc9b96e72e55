"""What memory a reference may point to, and who writes it.

note [Sites]  A site is where an array begins to exist: the result of an Alloc, Extern or Custom,
an array parameter, a global.  The sites of a reference are all it may point into: a fixpoint over
views, carried values, the arms of an If, and arrays of references.  Two references may alias only
if their sites meet.  Parameters of one element type may be one array for all we know, so as soon
as one of them is written they share a site.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

from numbaflux.ir.build import array_of
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Block,
    Call,
    Callee,
    Custom,
    Dim,
    Extern,
    For,
    Function,
    Gemm,
    Global,
    If,
    Load,
    Stmt,
    Store,
    Var,
    View,
    While,
)
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.walk import regions, uses, walk

Site = Var | Global


class Aliases:
    """The sites of every reference of a function. note [Sites]"""

    sharing = True

    def __init__(self, fn: Function) -> None:
        self.fn = fn
        self._sites: dict[Atom, set[Site]] = defaultdict(set)
        self._settled: dict[Atom, frozenset[Site]] = {}  # the same, when no more are found
        self._inside: dict[Site, set[Site]] = defaultdict(set)  # array of references: what it holds
        self._flows = [stmt for stmt in walk(fn.block) if _passes_on(stmt)]
        for p in fn.params:
            if isinstance(p.type, Array):
                self._sites[p].add(p)
        self._settle()
        if self.sharing and self._share_written_params(fn):
            self._settle()

    def _settle(self) -> None:
        self._settled = {}
        while self._grow():
            pass
        self._settled = {a: frozenset(sites) for a, sites in self._sites.items()}

    def of(self, a: Atom) -> frozenset[Site]:
        """The sites a reference may point into; none for a scalar."""
        if isinstance(a, Global):
            return frozenset((a,))
        return self._settled[a] if a in self._settled else frozenset(self._sites.get(a, ()))

    def held(self, a: Atom) -> frozenset[Site]:
        """The sites that the references stored in `a` may point into."""
        return frozenset(s for site in self.of(a) for s in self._inside.get(site, ()))

    def meet(self, a: Atom, b: Atom) -> bool:
        return not self.of(a).isdisjoint(self.of(b))

    def written(self, stmt: Stmt) -> frozenset[Site]:
        """The sites a statement itself may write, without its regions."""
        return frozenset(s for target in written_arrays(stmt) for s in self.of(target))

    def written_in(self, block: Block) -> frozenset[Site]:
        """The sites that anything in a block may write."""
        return frozenset(s for stmt in walk(block) for s in self.written(stmt))

    @cached_property
    def private(self) -> frozenset[Site]:
        """Allocations of numbers whose reference never leaves their block."""
        allocated = {
            s.result
            for s in walk(self.fn.block)
            if isinstance(s, Alloc) and not isinstance(array_of(s.result).element, Array)
        }
        return frozenset(allocated.difference(*(self.of(a) for a in _leaving(self.fn))))

    def _share_written_params(self, fn: Function) -> bool:
        """One site for all array parameters that may be one array and of which any is written."""
        written = self.written_in(fn.block)
        groups: dict[object, list[Var]] = defaultdict(list)
        for p in fn.params:
            if isinstance(p.type, Array):
                sets = tuple(i for i, apart in enumerate(fn.apart) if p in apart)
                groups[p.type.element, sets].append(p)
        shared = [g for g in groups.values() if len(g) > 1 and not written.isdisjoint(g)]
        for group in shared:
            for p in group:
                self._sites[p].update(group)
        return bool(shared)

    def _grow(self) -> bool:
        changed = False

        def flow(source: Atom, target: Atom) -> None:
            nonlocal changed
            if not isinstance(target.type, Array):
                return
            sites = self._sites[target]
            before = len(sites)
            sites |= self.of(source)
            changed |= len(sites) > before

        for stmt in self._flows:
            match stmt:
                case Alloc(result=r):
                    if r not in self._sites[r]:
                        self._sites[r].add(r)
                        changed = True
                case Extern(results=rs) | Custom(results=rs):
                    for r in rs:
                        if isinstance(r.type, Array) and r not in self._sites[r]:
                            self._sites[r].add(r)
                            changed = True
                case View(result=r, base=base):
                    flow(base, r)
                case Load(result=r, array=array) if isinstance(r.type, Array):
                    before = len(self._sites[r])
                    self._sites[r] |= self.held(array)
                    changed |= len(self._sites[r]) > before
                case Store(array=array, value=v) if isinstance(v.type, Array):
                    for site in self.of(array):
                        before = len(self._inside[site])
                        self._inside[site] |= self.of(v)
                        changed |= len(self._inside[site]) > before
                case If(results=rs, then=then, orelse=orelse):
                    for r, a, b in zip(rs, then.yields, orelse.yields):
                        flow(a, r)
                        flow(b, r)
                case For(results=rs, inits=inits, body=body):
                    for r, i, p, y in zip(rs, inits, body.params[1:], body.yields):
                        for target in (r, p):
                            flow(i, target)
                            flow(y, target)
                case While(results=rs, inits=inits, body=body):
                    for r, i, p, y in zip(rs, inits, body.params, body.yields[1:]):
                        flow(y, r)
                        flow(i, p)
                        flow(y, p)
                case _:
                    pass
        return changed


class _WithoutSharing(Aliases):
    """Were all parameters arrays of their own."""

    sharing = False


def _passes_on(stmt: Stmt) -> bool:
    """Whether references go through a statement."""
    match stmt:
        case Alloc() | View():
            return True
        case Store(value=v):
            return isinstance(v.type, Array)
        case Load(result=r):
            return isinstance(r.type, Array)
        case Extern() | Custom() | If() | For() | While():
            carried = regions(stmt)[-1].params if isinstance(stmt, For | While) else ()
            return any(isinstance(v.type, Array) for v in (*stmt.results, *carried))
        case _:
            return False


def _leaving(fn: Function) -> Iterator[Atom]:
    """References that are yielded, carried or stored."""
    yield from fn.results
    for stmt in walk(fn.block):
        for region in regions(stmt):
            yield from region.yields
        match stmt:
            case Store(value=v):
                yield v
            case For(inits=inits) | While(inits=inits):
                yield from inits
            case _:
                pass


def written_arrays(stmt: Stmt) -> tuple[Atom, ...]:
    """The arrays a statement itself may write."""
    match stmt:
        case Store(again=True):
            return ()
        case Store(array=array) | Accumulate(array=array) | Atomic(array=array):
            return (array,)
        case Gemm(out=out):
            return (out,)
        case Extern(routine=routine, args=args):
            written = ROUTINES[routine].writes
            return () if written is None else (args[written],)
        case Call(callee=callee, args=args):
            return tuple(a for a, written in zip(args, written_by(callee)) if written)
        case _:
            return ()


def written_by(callee: Callee) -> tuple[bool, ...]:
    """For each parameter of a callee whether it may be written, the calls of itself included."""
    if "written" not in callee.made:
        fn, before = callee.function, None
        callee.made["written"] = now = (False,) * len(fn.params)
        while now != before:
            found, before = written_params(fn), now
            callee.made["written"] = now = tuple(p in found for p in fn.params)
    return callee.made["written"]


def written_params(fn: Function) -> tuple[Var, ...]:
    """The array parameters a function may write, each taken to be an array of its own."""
    written = _WithoutSharing(fn).written_in(fn.block)
    return tuple(p for p in fn.params if p in written)


def read_params(fn: Function) -> tuple[Var, ...]:
    """The array parameters whose contents a function may look at, each an array of its own."""
    alias = _WithoutSharing(fn)
    read = {s for stmt in walk(fn.block) for a in read_arrays(stmt) for s in alias.of(a)}
    return tuple(p for p in fn.params if p in read)


def read_arrays(stmt: Stmt) -> tuple[Atom, ...]:
    """The arrays whose contents a statement itself may look at."""
    match stmt:
        case Store() | View() | Dim() | If() | For() | While():  # they pass references on
            return ()
        case _:
            return tuple(a for a in uses(stmt) if isinstance(a.type, Array))
