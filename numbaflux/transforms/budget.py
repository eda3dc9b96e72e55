"""A vjp within a budget of memory: two versions, of which the program chooses when it is called.

The first keeps what it needs of every trip, as ever; the second runs its outermost serial loops
with snapshots (checkpoint.py), as many as fit.  What the first would allocate is known on entry
from the shapes of its arrays; where it is not, since an array grows, the second is all there is.

Without a budget there is one version, which refuses to start where a quarter of the machine's
memory would not do (`guarded`); whoever called it then has the two versions compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import Builder, array_of, index
from numbaflux.ir.nodes import (
    TEXT,
    Alloc,
    Array,
    Atom,
    Block,
    Const,
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
from numbaflux.ir.walk import clone, defs, map_regions, uses
from numbaflux.passes.accumulate import accumulate
from numbaflux.passes.activity import Activity
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
    size = _allocated(b, plain)
    if size is None:
        return frugal
    with b.arm() as much:
        much.yields = b.inline(frugal, plain.params)
    with b.arm() as little:
        little.yields = b.inline(plain, plain.params)
    results = b.if_(b.prim("gt", size, index(budget)), much.block, little.block)
    return replace(plain, block=b.block(plain.params, results))


TOO_LARGE = "the reverse sweep would keep too much for this machine: say grad(f, memory='2 GB')"


def guarded(fn: Function, budget: int) -> Function:
    """`fn`, finished, with a MemoryError on entry if more than `budget` bytes are to be allocated.

    What it returns does not count, and what is not known on entry is not looked at.
    """
    b = Builder(fn.loc)
    size = _allocated(b, fn)
    if size is None or isinstance(size, Const):
        return fn
    b.raise_if(b.prim("gt", size, index(budget)), MemoryError, Const(TOO_LARGE, TEXT))
    return simplify(replace(fn, block=replace(fn.block, stmts=(*b.stmts, *fn.block.stmts))))


# ---- what the version with caches allocates ----------------------------------------------------


def _allocated(b: Builder, fn: Function) -> Atom | None:
    """Write how many bytes the arrays have that `fn` makes outside its loops, for itself; None if
    that is not known."""
    definitions: dict[Var, Stmt] = {v: s for s in fn.block.stmts for v in defs(s)}
    made = [s for s in fn.block.stmts if isinstance(s, Alloc) and s.result not in fn.results]
    needed: dict[Stmt, None] = {}
    for alloc in made:
        if array_of(alloc.result).grows or not _sliced(alloc.shape, fn, definitions, needed):
            return None
    slice_, known = clone(Block((), tuple(needed)))
    b.stmts += slice_.stmts
    total: Atom = index(0)
    for alloc in made:
        shape = [known.get(n, n) if isinstance(n, Var) else n for n in alloc.shape]
        total = b.add(total, _bytes(b, array_of(alloc.result), shape))
    return total


def _sliced(
    atoms: Iterable[Atom], fn: Function, definitions: dict[Var, Stmt], needed: dict[Stmt, None]
) -> bool:
    """Collect what computes the atoms from the parameters; whether that can be done on entry."""
    for a in atoms:
        if not isinstance(a, Var) or a in fn.params:
            continue
        stmt = definitions.get(a)
        if not isinstance(stmt, Prim | Dim | View):
            return False
        if not _sliced(uses(stmt), fn, definitions, needed):
            return False
        needed.setdefault(stmt)
    return True


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
