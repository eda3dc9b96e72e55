"""Derivatives of kernels: programs that are launched with the grid of the primal.

    adjoint   the reverse sweep, after whatever of the primal it needs once more
    tangent   the primal with tangents

note [Recompute]  The adjoint of a kernel runs after the kernel has.  It computes again what it
needs and finds in the arguments that the kernel does not write, and writes none of them.
What it has to keep for the way back it allocates, which tapes.py makes arguments of before the
kernel is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import NoReturn

from numbaflux.errors import NotDifferentiableError
from numbaflux.ir.build import Builder, array_of, index, zero_of
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Barrier,
    Block,
    Const,
    Extern,
    For,
    Function,
    If,
    Load,
    Loc,
    Reshape,
    Scalar,
    Stmt,
    Store,
    Var,
    View,
)
from numbaflux.ir.ops import SHARED
from numbaflux.ir.trees import Fixed, Leaf, Program, Tree
from numbaflux.ir.walk import defs, map_regions, regions, substitute, uses, walk
from numbaflux.passes.alias import Aliases, read_params, written_params
from numbaflux.passes.kernels.barriers import barriers
from numbaflux.passes.kernels.branches import branches
from numbaflux.passes.kernels.broadcast import broadcast
from numbaflux.passes.kernels.gather import GATHERED, gather, longer
from numbaflux.passes.kernels.lift import lift
from numbaflux.passes.kernels.owner import Known, Verdict, own
from numbaflux.passes.kernels.reciprocals import reciprocals
from numbaflux.passes.kernels.rotate import rotate
from numbaflux.passes.kernels.split import split
from numbaflux.passes.kernels.swap import swap
from numbaflux.passes.kernels.uniform import has_barrier
from numbaflux.passes.simplify import simplify
from numbaflux.transforms.compose import finish, variables
from numbaflux.transforms.inplace import dup_args, shadow_pairs
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.kernels import records, winners
from numbaflux.transforms.kernels.numbers import in_block
from numbaflux.transforms.kernels.tapes import in_registers
from numbaflux.transforms.vjp import sweeps

Shadows = tuple[Tree | None, ...]
Args = tuple[tuple[str, Tree], ...]
Verdicts = tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Launched:
    """A kernel's program, and how it adds to shadows.

    `parts`: launches that together do the same and are better, each with `more` blocks along each
    axis than the kernel's own launch.  `elements`: arrays among the parameters; for each of them
    the parts take one more argument, zeroed integers of its shape. note [Grid] in winners.py
    """

    program: Program
    verdicts: tuple[Verdict, ...] = ()
    parts: tuple[Launched, ...] = ()
    more: tuple[int, int, int] = (0, 0, 0)
    elements: tuple[Var, ...] = ()

    @property
    def launches(self) -> tuple[Launched, ...]:
        """What is launched, one after the other."""
        return self.parts or (self,)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A kernel that records and its adjoint that reads the record; the arrays of both, in order."""

    forward: Launched
    backward: Launched
    written: tuple[Var, ...]
    read: tuple[Var, ...]


def tangent(of: Launched, shadows: Shadows, dup: type, launch: Known) -> Launched:
    """The kernel that updates the shadows with their arrays."""
    of = _with_winners(of, shadows)
    program, longer = of.program, _longer(shadows, of)
    parts = tuple(tangent(part, longer, dup, launch) for part in of.parts)
    fn, b = program.function, Builder(program.function.loc)
    pairs = shadow_pairs(b, program, shadows, Scalar, checked=False)
    tangents = [d if isinstance(p.type, Array) else b.cast(d, p.type) for p, d in pairs]
    b.inline(jvp(fn, tuple(p for p, _ in pairs)), [*fn.params, *tangents])
    made = _finished(program, "tangent", b, dup_args(program, shadows, dup))
    return replace(of, program=_settled(made, made.function), parts=parts)


def adjoint(of: Launched, shadows: Shadows, dup: type, launch: Known) -> Launched:
    """The kernel that adds into the shadows, for launches of that kind. note [Recompute]"""
    of = _with_winners(of, shadows)
    made, sites = _backward(of, shadows, dup, launch)
    for stmt in _recorded(made, sites).values():
        _refuse_replay(stmt)
    if not of.elements:
        return made
    parts = _backward_parts(of, _longer(shadows, of), dup, launch)
    return replace(made, parts=parts, elements=of.elements)


def pullback(of: Launched, shadows: Shadows, dup: type, launch: Known) -> Recorded:
    """The adjoint of a kernel that has recorded, and the kernel that records. note [Recompute]"""
    settled = _with_winners(of, shadows)
    made, sites = _backward(settled, shadows, dup, launch)
    if not _recorded(made, sites):
        back = adjoint(settled, shadows, dup, launch) if settled.elements else made
        return Recorded(Launched(of.program, of.verdicts), back, (), ())
    if settled.elements:  # what is recorded is there for one launch
        settled = of
        made, sites = _backward(of, shadows, dup, launch)
    primal, used = settled.program, tuple(_recorded(made, sites))
    forward = records.recording(primal.function, used)
    back = records.replaying(made.program.function, used)
    return Recorded(
        Launched(replace(primal, function=forward.fn), of.verdicts),
        Launched(replace(made.program, function=back.fn), made.verdicts),
        forward.arrays,
        back.arrays,
    )


def _backward(
    of: Launched, shadows: Shadows, dup: type, launch: Known
) -> tuple[Launched, frozenset[Var]]:
    """The adjoint, and what is not to be had in it unless it is recorded."""
    program = of.program
    fn, b = program.function, Builder(program.function.loc)
    pairs = shadow_pairs(b, program, shadows, Array, checked=False)
    s = sweeps(fn, tuple(p for p, _ in pairs), ())
    arrays = [d for p, d in pairs if isinstance(p.type, Array)]
    env = dict(zip(s.shadows, arrays, strict=True))
    lost = s.lost & _outside(fn)
    block = substitute(Block((), (*s.forward, *s.reverse), s.cotangents), env)
    block = _with_lost(block, lost)
    b.stmts += block.stmts
    scalars = iter(block.yields)
    for p, d in pairs:
        if not isinstance(p.type, Array):
            b.append(Accumulate(d, (index(0),), next(scalars), fn.loc, True))
    mine = {*arrays, *(a.result for a in s.reverse if isinstance(a, Alloc))}
    made = _finished(program, "adjoint", b, dup_args(program, shadows, dup))
    sites = lost | _returned(fn)
    rerun = branches(_without_trips(_without_writes(made.function, fn), s.again))
    targets = frozenset(d for d in mine if isinstance(d, Var))
    rerun = reciprocals(rerun, targets)
    rerun = rotate(broadcast(rerun, targets, launch), targets, launch)
    rerun = swap(rerun, targets, launch)
    rerun = split(rerun, targets, launch)
    return _lean(made, rerun, targets, of.verdicts, launch), sites


# ---- extrema. winners.py ------------------------------------------------------------------------


def _with_winners(of: Launched, shadows: Shadows) -> Launched:
    """The kernel with its extrema settled, if they can be."""
    program = of.program
    wrt = [
        p
        for (_, tree), shadow in zip(program.args, shadows)
        if shadow is not None
        for p in variables([tree])
    ]
    made = None if of.parts else winners.settled(program.function, wrt)
    if made is None or made.fn is program.function:
        return of

    def part(fn: Function) -> Launched:
        args = tuple((p.name, Leaf(p)) for p in fn.params[len(program.function.params) :])
        return Launched(replace(program, function=fn, args=(*program.args, *args)))

    whole = replace(program, function=made.fn)
    return replace(of, program=whole, parts=tuple(map(part, made.launches)), elements=made.elements)


def _longer(shadows: Shadows, of: Launched) -> Shadows:
    """With none for the arguments that only its parts have."""
    return (*shadows, *[None] * len(of.elements))


def _backward_parts(
    of: Launched, shadows: Shadows, dup: type, launch: Known
) -> tuple[Launched, ...]:
    """The adjoints of the parts, the last one's first, after the parts that find the owners."""
    before: list[Launched] = []
    back: list[Launched] = []
    later: set[Var] = set()
    for part in reversed(of.parts):
        fn = part.program.function
        written = set(written_params(fn))
        owners = fn.params[-len(of.elements) :]
        if not written.isdisjoint(owners):
            before.insert(0, _as_it_is(part, shadows, dup))
            continue
        made = adjoint(part, shadows, dup, launch)
        for p in read_params(made.program.function):
            if p in later:
                _refuse_lost(p.name, fn.loc)
        if written_params(made.program.function):
            back += made.launches
        later |= written
    return (*before, *back)


def _as_it_is(of: Launched, shadows: Shadows, dup: type) -> Launched:
    """The kernel, given shadows that it does not touch."""
    program, b = of.program, Builder(of.program.function.loc)
    b.inline(program.function, program.function.params)
    made = _finished(program, "before", b, dup_args(program, shadows, dup))
    return replace(of, program=made)


def _lean(
    made: Program, fn: Function, shadows: frozenset[Var], before: Verdicts, launch: Known
) -> Launched:
    """The kernel with as few atomic additions to shadows as there need be."""
    owned = own(fn, shadows, launch)
    fewer = lift(simplify(owned.fn), shadows, prod(launch.block))
    whole = Launched(_settled(made, fewer), (*before, *owned.verdicts))
    gathered = gather(fn, shadows, launch)
    if gathered is None:
        return whole
    first = own(gathered.first, shadows, longer(launch, gathered.more))
    sums = Launched(_settled(made, first.fn), more=gathered.more)
    rest = _lean(made, gathered.rest, shadows, before, launch)
    others = [v for v in whole.verdicts if v.array not in {a.name for a in gathered.arrays}]
    mine = [v for v in owned.verdicts if v.array in {a.name for a in gathered.arrays}]
    verdicts = (*others, *(replace(v, plain=True, why=GATHERED) for v in mine))
    return replace(whole, verdicts=verdicts, parts=(sums, *rest.launches))


def _recorded(made: Launched, sites: frozenset[Var]) -> dict[Var, Stmt]:
    """What of it the adjoint looks at, with the statements that give it."""
    block = made.program.function.block
    return {v: stmt for stmt in walk(block) for v in defs(stmt) if v in sites}


def _outside(fn: Function) -> frozenset[Var]:
    """What is loaded from the arguments of a kernel."""
    alias = Aliases(fn)
    params = frozenset(fn.params)
    loads = (s for s in walk(fn.block) if isinstance(s, Load))
    return frozenset(s.result for s in loads if not params.isdisjoint(alias.of(s.array)))


def _returned(fn: Function) -> frozenset[Var]:
    """What atomic operations on the arguments of a kernel return."""
    alias = Aliases(fn)
    params = frozenset(fn.params)
    found = (s for s in walk(fn.block) if isinstance(s, Atomic))
    return frozenset(s.result for s in found if not params.isdisjoint(alias.of(s.array)))


def _finished(program: Program, name: str, b: Builder, args: Args) -> Program:
    """The derivative's program; shadows are apart like all arrays that a kernel is given."""
    made = finish(program, name, b, args, Fixed(None))
    arrays = [p for p in made.function.params if isinstance(p.type, Array)]
    apart = tuple(frozenset((p,)) for p in arrays)
    return replace(made, function=replace(made.function, apart=apart))


def _settled(made: Program, fn: Function) -> Program:
    """Clean up a kernel, and let the threads zero what is shared."""
    fn = barriers(simplify(branches(fn)))
    fn = in_registers(fn)
    fn = simplify(replace(fn, block=_zeroed(_early(fn.block))))
    return replace(made, function=fn)


# ---- what the primal has done ------------------------------------------------------------------


def _with_lost(block: Block, lost: frozenset[Var]) -> Block:
    """The block with loads of what the kernel overwrites as what cannot be loaded any more."""

    def one(stmt: Stmt) -> Stmt:
        if isinstance(stmt, Load) and stmt.result in lost:
            return Extern((stmt.result,), "recorded", (stmt.array,), stmt.loc)
        return map_regions(stmt, visit)

    def visit(block: Block) -> Block:
        return replace(block, stmts=tuple(map(one, block.stmts)))

    return visit(block)


def _without_writes(made: Function, primal: Function) -> Function:
    """The adjoint without what its primal does to arguments."""
    written = {p for p in written_params(primal) if isinstance(p.type, Array)}
    bases: dict[Atom, Atom] = {}
    used = {a for s in walk(made.block) for a in uses(s)}

    def root(a: Atom) -> Atom:
        return root(bases[a]) if a in bases else a

    def unseen(stmt: Stmt) -> bool:
        match stmt:
            case Store(array=array) | Accumulate(array=array):
                again = isinstance(stmt, Store) and stmt.again
                return root(array) in (made.params if again else written)
            case Atomic(result=r, array=array):
                return root(array) in written and r not in used
            case _:
                return False

    def visit(block: Block) -> Block:
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            if isinstance(stmt, View):
                bases[stmt.result] = stmt.base
            if not unseen(stmt):
                stmts.append(map_regions(stmt, visit))
        return replace(block, stmts=tuple(stmts))

    return simplify(replace(made, block=visit(made.block)))


def _without_trips(fn: Function, again: frozenset[Var]) -> Function:
    """The adjoint without loops whose trips the reverse sweep runs again, unless they give more."""
    read = {a for s in walk(fn.block) for a in uses(s)}
    read |= {a for s in walk(fn.block) for region in regions(s) for a in region.yields}

    def visit(block: Block) -> Block:
        rest = (s for s in block.stmts if not unread(s))
        return replace(block, stmts=tuple(map_regions(s, visit) for s in rest))

    kept = {s.result for s in walk(fn.block) if isinstance(s, Alloc) and not s.space}

    def unread(stmt: Stmt) -> bool:
        if not isinstance(stmt, For) or stmt.body.params[0] not in again:
            return False
        stores = (s.array for s in walk(stmt.body) if isinstance(s, Store))
        return read.isdisjoint(defs(stmt)) and kept.isdisjoint(stores)

    return simplify(replace(fn, block=visit(fn.block)))


def _refuse_replay(stmt: Stmt) -> NoReturn:
    match stmt:
        case Atomic(op=op):
            _refuse(f"what `cuda.atomic.{op}` returned", stmt.loc)
        case _:
            _refuse_lost(getattr(uses(stmt)[0], "name", "array"), stmt.loc)


def _refuse_lost(name: str, loc: Loc) -> NoReturn:
    _refuse(f"an element of `{name}`, which the kernel overwrites", loc)


def _refuse(what: str, loc: Loc) -> NoReturn:
    raise NotDifferentiableError(
        f"the adjoint needs {what}",
        loc,
        "it runs after the kernel, and finds only what the kernel has left",
        "use numbaflux.cuda.vjp, which keeps it, or write the result into another array",
    )


# ---- memory ------------------------------------------------------------------------------------


def _early(block: Block) -> Block:
    """Zeroed shared arrays before the first branch with barriers, which not all threads take."""
    branches = [isinstance(s, If) and has_barrier(s) for s in block.stmts]
    if not any(branches):
        return block
    first, rest = block.stmts[: branches.index(True)], block.stmts[branches.index(True) :]
    known = {*block.params, *(v for s in first for v in defs(s))}
    early = [s for s in rest if isinstance(s, Alloc) and s.space in SHARED and s.zero]
    early = [s for s in early if all(isinstance(n, Const) or n in known for n in s.shape)]
    return replace(block, stmts=(*first, *early, *(s for s in rest if s not in early)))


def _zeroed(block: Block) -> Block:
    """Zeroed arrays of a kernel: its threads share the work, and wait until all is done."""
    b = Builder()
    waits = False
    for stmt in block.stmts:
        b.loc = stmt.loc
        match stmt:
            case Alloc(result=r, space="local", zero=True):
                b.append(replace(stmt, zero=False))
                with b.each([b.dim(r, axis) for axis in range(array_of(r).ndim)]) as place:
                    b.store(r, place, zero_of(array_of(r).element))
            case Alloc(result=r, space="shared" | "dynamic", zero=True):
                b.append(replace(stmt, zero=False))
                _zero_together(b, r)
                waits = True
            case _:
                if waits and not isinstance(stmt, Alloc):
                    b.append(Barrier("block", stmt.loc))
                    waits = False
                b.append(map_regions(stmt, _zeroed))
    return replace(block, stmts=tuple(b.stmts))


def _zero_together(b: Builder, array: Var) -> None:
    """Every thread of the block zeroes its share of a shared array."""
    size: Atom = index(1)
    for axis in range(array_of(array).ndim):
        size = b.mul(size, b.dim(array, axis))
    flat = array
    if array_of(array).ndim > 1:
        type = replace(array_of(array), ndim=1)
        flat = b.view(array, Reshape((size,)), type, f"{array.name}_flat")
    thread, threads = in_block(b)
    rest = b.sub(b.add(size, threads), b.add(thread, index(1)))
    with b.for_(b.prim("floordiv", rest, threads)) as loop:
        place = b.add(thread, b.mul(loop.k, threads))
        b.store(flat, [place], zero_of(array_of(array).element))
