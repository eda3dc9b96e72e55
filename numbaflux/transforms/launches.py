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

from numbaflux.errors import NotDifferentiableError
from numbaflux.ir.build import Builder, array_of, index, zero_of
from numbaflux.ir.nodes import (
    I64,
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Barrier,
    Block,
    Function,
    Load,
    Loc,
    Reshape,
    Scalar,
    Stmt,
    Store,
    Var,
    View,
)
from numbaflux.ir.trees import Fixed, Program, Tree
from numbaflux.ir.walk import map_regions, substitute, uses, walk
from numbaflux.passes.alias import written_params
from numbaflux.passes.barriers import barriers
from numbaflux.passes.branches import branches
from numbaflux.passes.owner import Known, Verdict, own
from numbaflux.passes.simplify import simplify
from numbaflux.transforms.compose import finish
from numbaflux.transforms.inplace import dup_args, shadow_pairs
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.vjp import sweeps

Shadows = tuple[Tree | None, ...]
Args = tuple[tuple[str, Tree], ...]


@dataclass(frozen=True, slots=True)
class Launched:
    """A kernel's program, and how it adds to shadows."""

    program: Program
    verdicts: tuple[Verdict, ...] = ()


def tangent(of: Launched, shadows: Shadows, dup: type, launch: Known) -> Launched:
    """The kernel that updates the shadows with their arrays."""
    program = of.program
    fn, b = program.function, Builder(program.function.loc)
    pairs = shadow_pairs(b, program, shadows, Scalar, checked=False)
    tangents = [d if isinstance(p.type, Array) else b.cast(d, p.type) for p, d in pairs]
    b.inline(jvp(fn, tuple(p for p, _ in pairs)), [*fn.params, *tangents])
    made = _finished(program, "tangent", b, dup_args(program, shadows, dup))
    return replace(of, program=_settled(made, made.function))


def adjoint(of: Launched, shadows: Shadows, dup: type, launch: Known) -> Launched:
    """The kernel that adds into the shadows, for launches of that kind. note [Recompute]"""
    program = of.program
    fn, b = program.function, Builder(program.function.loc)
    pairs = shadow_pairs(b, program, shadows, Array, checked=False)
    s = sweeps(fn, tuple(p for p, _ in pairs), ())
    arrays = [d for p, d in pairs if isinstance(p.type, Array)]
    env = dict(zip(s.shadows, arrays, strict=True))
    block = substitute(Block((), (*s.forward, *s.reverse), s.cotangents), env)
    b.stmts += block.stmts
    scalars = iter(block.yields)
    for p, d in pairs:
        if not isinstance(p.type, Array):
            b.append(Accumulate(d, (index(0),), next(scalars), fn.loc, True))
    mine = {*arrays, *(a.result for a in s.reverse if isinstance(a, Alloc))}
    made = _finished(program, "adjoint", b, dup_args(program, shadows, dup))
    rerun = branches(_without_writes(made.function, fn, s.finals))
    owned = own(rerun, (d for d in mine if isinstance(d, Var)), launch)
    return Launched(_settled(made, owned.fn), (*of.verdicts, *owned.verdicts))


def _finished(program: Program, name: str, b: Builder, args: Args) -> Program:
    """The derivative's program; shadows are apart like all arrays that a kernel is given."""
    made = finish(program, name, b, args, Fixed(None))
    arrays = [p for p in made.function.params if isinstance(p.type, Array)]
    apart = tuple(frozenset((p,)) for p in arrays)
    return replace(made, function=replace(made.function, apart=apart))


def _settled(made: Program, fn: Function) -> Program:
    """Clean up a kernel, and let the threads zero what is shared."""
    fn = barriers(simplify(branches(fn)))
    fn = simplify(replace(fn, block=_zeroed(fn.block)))
    return replace(made, function=fn)


# ---- what the primal has done ------------------------------------------------------------------


def _without_writes(fn: Function, primal: Function, finals: frozenset[Var]) -> Function:
    """The adjoint without what its primal does to arguments, of which it may read `finals`."""
    outside = {p for p in primal.params if isinstance(p.type, Array)}
    written = set(written_params(primal)) & outside
    bases: dict[Atom, Atom] = {}
    used = {a for s in walk(fn.block) for a in uses(s)}

    def root(a: Atom) -> Atom:
        return root(bases[a]) if a in bases else a

    def visit(block: Block) -> Block:
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            if isinstance(stmt, View):
                bases[stmt.result] = stmt.base
            if isinstance(stmt, Store | Accumulate) and root(stmt.array) in written:
                continue
            if isinstance(stmt, Atomic) and root(stmt.array) in written and stmt.result not in used:
                continue
            stmts.append(map_regions(stmt, visit))
        return replace(block, stmts=tuple(stmts))

    fn = simplify(replace(fn, block=visit(fn.block)))
    for stmt in walk(fn.block):
        if isinstance(stmt, Atomic) and root(stmt.array) in outside:
            _refuse_replay(f"what `cuda.atomic.{stmt.op}` returned", stmt.loc)
        if isinstance(stmt, Load) and root(stmt.array) in written and stmt.result not in finals:
            name = getattr(root(stmt.array), "name", "an array")
            _refuse_replay(f"an element of `{name}`, which the kernel overwrites", stmt.loc)
    return fn


def _refuse_replay(what: str, loc: Loc) -> None:
    raise NotDifferentiableError(
        f"the adjoint needs {what}",
        loc,
        "it runs after the kernel, and finds only what the kernel has left",
        "write the result into another array",
    )


# ---- memory ------------------------------------------------------------------------------------


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
    thread, threads = _in_block(b)
    rest = b.sub(b.add(size, threads), b.add(thread, index(1)))
    with b.for_(b.prim("floordiv", rest, threads)) as loop:
        place = b.add(thread, b.mul(loop.k, threads))
        b.store(flat, [place], zero_of(array_of(array).element))


def _in_block(b: Builder) -> tuple[Atom, Atom]:
    """The number of the thread in its block, and how many there are."""

    def number(op: str) -> Atom:
        return b.prim(op, type=I64, name=op)

    x, y, z = (number(f"thread_{axis}") for axis in "xyz")
    nx, ny, nz = (number(f"block_dim_{axis}") for axis in "xyz")
    return b.add(x, b.mul(nx, b.add(y, b.mul(ny, z)))), b.mul(nx, b.mul(ny, nz))
