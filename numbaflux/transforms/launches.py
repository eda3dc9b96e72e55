"""Derivatives of kernels: programs that are launched with the grid of the primal.

    adjoint   the reverse sweep, after whatever of the primal it needs once more
    tangent   the primal with tangents

note [Recompute]  The adjoint of a kernel runs after the kernel has.  It computes again what it
needs and finds in the arguments that the kernel does not write, and writes none of them.
note [Tape]  What it has to keep for the way back goes to arrays that the host allocates before
the launch, with a place for every thread behind all others: neighbours in a warp are neighbours
in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from numbaflux.errors import NotDifferentiableError, UnsupportedError
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
from numbaflux.ir.walk import map_regions, substitute, walk
from numbaflux.passes.alias import written_params
from numbaflux.passes.barriers import barriers
from numbaflux.passes.branches import branches
from numbaflux.passes.owner import Verdict, own
from numbaflux.passes.simplify import simplify
from numbaflux.transforms.compose import finish
from numbaflux.transforms.inplace import dup_args, shadow_pairs
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.vjp import sweeps

Shadows = tuple[Tree | None, ...]


@dataclass(frozen=True, slots=True)
class Launched:
    """A kernel's program and what whoever launches it has to know.

    `alone`: numbers of threads along which the launch must have extent 1.
    """

    program: Program
    alone: frozenset[str] = frozenset()
    verdicts: tuple[Verdict, ...] = ()


def tangent(of: Launched, shadows: Shadows, dup: type, flat: bool) -> Launched:
    """The kernel that updates the shadows with their arrays."""
    program = of.program
    fn, b = program.function, Builder(program.function.loc)
    pairs = shadow_pairs(b, program, shadows, Scalar, checked=False)
    tangents = [d if isinstance(p.type, Array) else b.cast(d, p.type) for p, d in pairs]
    b.inline(jvp(fn, tuple(p for p, _ in pairs)), [*fn.params, *tangents])
    made = finish(program, "tangent", b, dup_args(program, shadows, dup), Fixed(None))
    return replace(of, program=_settled(made, made.function))


def adjoint(of: Launched, shadows: Shadows, dup: type, flat: bool) -> Launched:
    """The kernel that adds into the shadows. note [Recompute]

    `flat`: the launch has one thread along every axis that the kernel does not ask for.
    """
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
    first = len(s.forward)
    additions = _additions(b.stmts[first:])
    made = finish(program, "adjoint", b, dup_args(program, shadows, dup), Fixed(None))
    owned = own(made.function, additions if flat else ())
    rerun = _without_writes(owned.fn, fn)
    return Launched(_settled(made, rerun), of.alone | owned.alone, (*of.verdicts, *owned.verdicts))


def _additions(stmts: list[Stmt]) -> list[Accumulate]:
    found = walk(Block((), tuple(stmts)))
    return [s for s in found if isinstance(s, Accumulate) and s.atomic]


def _settled(made: Program, fn: Function) -> Program:
    """Clean up a kernel, and let the threads zero what is shared."""
    fn = barriers(simplify(branches(simplify(fn))))
    fn = simplify(replace(fn, block=_zeroed(fn.block)))
    _refuse_memory(fn)
    return replace(made, function=fn)


# ---- what the primal has done ------------------------------------------------------------------


def _without_writes(fn: Function, primal: Function) -> Function:
    """The adjoint without the stores to arguments that its primal has made."""
    outside = {p for p in primal.params if isinstance(p.type, Array)}
    written = set(written_params(primal)) & outside
    bases: dict[Atom, Atom] = {}

    def root(a: Atom) -> Atom:
        return root(bases[a]) if a in bases else a

    def visit(block: Block) -> Block:
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            if isinstance(stmt, View):
                bases[stmt.result] = stmt.base
            if isinstance(stmt, Store | Accumulate) and root(stmt.array) in written:
                continue
            stmts.append(map_regions(stmt, visit))
        return replace(block, stmts=tuple(stmts))

    fn = simplify(replace(fn, block=visit(fn.block)))
    for stmt in walk(fn.block):
        if isinstance(stmt, Atomic) and root(stmt.array) in outside:
            _refuse_replay(f"what `cuda.atomic.{stmt.op}` returned", stmt.loc)
        if isinstance(stmt, Load) and root(stmt.array) in written:
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


def _refuse_memory(fn: Function) -> None:
    for stmt in walk(fn.block):
        if isinstance(stmt, Alloc) and not stmt.space:
            raise UnsupportedError(
                "a value of a loop that the reverse sweep needs", stmt.loc,
                "a kernel has nowhere to keep it", "compute it again from the arguments",
            )  # fmt: skip
