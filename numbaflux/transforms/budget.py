"""A vjp within a budget of memory: two versions, of which the program chooses when it is called.

The first keeps what it needs of every trip, as ever; the second runs its outermost serial loops
with snapshots (checkpoint.py), as many as fit.  What the first would allocate is known on entry
from the shapes of its arrays; where it is not, since an array grows, the second is all there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import Builder, array_of, index
from numbaflux.ir.nodes import (
    Alloc,
    Array,
    Atom,
    Block,
    Dim,
    For,
    Function,
    If,
    Prim,
    Scalar,
    Stmt,
    Var,
    View,
)
from numbaflux.ir.walk import clone, defs, map_regions, uses, walk
from numbaflux.passes.accumulate import accumulate
from numbaflux.passes.activity import Activity
from numbaflux.passes.alias import Aliases, Site
from numbaflux.passes.places import Places
from numbaflux.passes.simplify import simplify
from numbaflux.transforms.checkpoint import parts
from numbaflux.transforms.steps import analysed
from numbaflux.transforms.vjp import vjp


def vjp_within(fn: Function, wrt: Iterable[Var], of: Sequence[int], budget: int) -> Function:
    """`vjp(fn, wrt, of)`, whose caches or snapshots take about `budget` bytes at most."""
    wrt = tuple(wrt)
    plain, marked = vjp(fn, wrt, of), _marked(fn, wrt, of, budget)
    if marked is None:
        return plain
    frugal = vjp(marked, wrt, of)
    b = Builder(fn.loc)
    arrays = [s for s in plain.block.stmts if isinstance(s, Alloc)]
    if not all(_known(plain, a) for a in arrays):
        return frugal
    size = _allocated(b, plain, arrays)
    with b.arm() as much:
        much.yields = b.inline(frugal, plain.params)
    with b.arm() as little:
        little.yields = b.inline(plain, plain.params)
    results = b.if_(b.prim("gt", size, index(budget)), much.block, little.block)
    return replace(plain, block=b.block(plain.params, results))


def guarded(fn: Function) -> Function:
    """`fn`, which asks on entry whether what its loops keep for later ones fits into memory.

    For a program that is written next: where `afford` finds too many bytes, before anything else,
    another program is called in its place, which has a budget (api/frugal.py).
    """
    kept = [alloc for alloc in _kept(fn) if _known(fn, alloc)]
    if not kept:
        return fn
    b = Builder(fn.loc)
    b.extern("afford", _allocated(b, fn, kept), types=[])
    return simplify(replace(fn, block=replace(fn.block, stmts=(*b.stmts, *fn.block.stmts))))


def borrowing(fn: Function) -> Function:
    """`fn` with what its loops keep for later ones in the user's workspace."""
    kept = _kept(fn)
    stmts = (replace(s, space="workspace") if s in kept else s for s in fn.block.stmts)
    return replace(fn, block=replace(fn.block, stmts=tuple(stmts))) if kept else fn


def _kept(fn: Function) -> list[Alloc]:
    """Arrays that several loops have to do with, and whose lengths depend on the arguments."""
    loops = [set(_mentioned(s)) for s in fn.block.stmts if isinstance(s, For)]
    places = Aliases(fn)
    returned = frozenset[Site]().union(*(places.of(a) | places.held(a) for a in fn.results))
    return [
        s
        for s in fn.block.stmts
        if isinstance(s, Alloc) and not s.zero and isinstance(array_of(s.result).element, Scalar)
        and sum(s.result in mentioned for mentioned in loops) > 1
        and any(isinstance(n, Var) for n in s.shape) and returned.isdisjoint(places.of(s.result))
    ]  # fmt: skip


def _mentioned(loop: For) -> Iterator[Atom]:
    for stmt in walk(loop.body):
        yield from uses(stmt)


# ---- what arrays take --------------------------------------------------------------------------


def _known(fn: Function, alloc: Alloc) -> bool:
    """Whether its size can be computed on entry."""
    return not array_of(alloc.result).grows and _slice(fn, alloc.shape) is not None


def _allocated(b: Builder, fn: Function, arrays: Sequence[Alloc]) -> Atom:
    """Write how many bytes the arrays take, of which each is `_known`."""
    needed = _slice(fn, [n for alloc in arrays for n in alloc.shape])
    assert needed is not None
    slice_, known = clone(Block((), needed))
    b.stmts += slice_.stmts
    total: Atom = index(0)
    for alloc in arrays:
        shape = [known.get(n, n) if isinstance(n, Var) else n for n in alloc.shape]
        total = b.add(total, _bytes(b, array_of(alloc.result), shape))
    return total


def _slice(fn: Function, atoms: Iterable[Atom]) -> tuple[Stmt, ...] | None:
    """What computes the atoms from the parameters; None if that cannot be done on entry."""
    definitions: dict[Var, Stmt] = {v: s for s in fn.block.stmts for v in defs(s)}
    needed: dict[Stmt, None] = {}

    def visit(atoms: Iterable[Atom]) -> bool:
        for a in atoms:
            if isinstance(a, Var) and a not in fn.params:
                stmt = definitions.get(a)
                if not (isinstance(stmt, Prim | Dim | View) and visit(uses(stmt))):
                    return False
                needed.setdefault(stmt)
        return True

    return tuple(needed) if visit(atoms) else None


def _bytes(b: Builder, type: Array, shape: Iterable[Atom]) -> Atom:
    scalar = type.element
    size: Atom = index(scalar.numpy.itemsize if isinstance(scalar, Scalar) else 1)
    for n in shape:
        size = b.mul(size, n)
    return size


# ---- the version with snapshots ----------------------------------------------------------------


def _marked(fn: Function, wrt: Sequence[Var], of: Sequence[int], budget: int) -> Function | None:
    """`fn` with its outermost loops marked; None if there is none that can be."""
    fn = accumulate(simplify(fn))
    active = Activity(fn, wrt, [fn.results[i] for i in of])
    places = Places(fn)
    loops = _checkpointable(fn.block, active, places)
    if not loops:
        return None
    share = budget // len(loops)

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            if isinstance(stmt, For) and stmt in loops:
                slots = _slots(b, stmt, places, share)
                b.append(replace(stmt, slots=slots))
            else:
                b.append(map_regions(stmt, visit) if isinstance(stmt, If) else stmt)
        return replace(block, stmts=tuple(b.stmts))

    return replace(fn, block=visit(fn.block))


def _checkpointable(block: Block, active: Activity, places: Places) -> list[For]:
    """The outermost active loops whose state can be saved and that are not marked already."""
    found: list[For] = []
    for stmt in block.stmts:
        match stmt:
            case If(then=then, orelse=orelse):
                for arm in (then, orelse):
                    found += _checkpointable(arm, active, places)
            case For(slots=None, parallel=False) if active.acts(stmt):
                try:
                    analysed(stmt, places)
                except UnsupportedError:
                    continue
                found.append(stmt)
            case _:
                pass
    return found


def _slots(b: Builder, loop: For, places: Places, budget: int) -> Atom:
    """How many snapshots of the loop's state fit."""
    _, state = analysed(loop, places)
    total: Atom = index(8)  # its position
    for a in parts(state, loop.inits, state.written):
        if isinstance(a.type, Array):
            shape = [b.dim(a, axis) for axis in range(a.type.ndim)]
            total = b.add(total, _bytes(b, a.type, shape))
        elif isinstance(a.type, Scalar):
            total = b.add(total, index(a.type.numpy.itemsize))
    return b.prim("max", b.prim("floordiv", index(budget), total), index(1), name="slots")
