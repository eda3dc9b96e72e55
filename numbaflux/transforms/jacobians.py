"""Jacobians: one reverse sweep an output, or one forward run an input.

A Jacobian has the shape out.shape + arg.shape.  Reverse mode runs the forward sweep once, with the
function's effects, and then the reverse sweep for every element of the output.  Forward mode runs
the function once for its effects, and then its jvp on copies of what it overwrites.
"""

from __future__ import annotations

from dataclasses import replace

from numbaflux.errors import NotDifferentiableError, UnsupportedError
from numbaflux.ir.build import Builder, array_of, const, var_of
from numbaflux.ir.nodes import (
    Array,
    Atom,
    Block,
    Extern,
    Function,
    Print,
    Scalar,
    Var,
)
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.trees import Leaf, Program, Tree, leaves, map_tree
from numbaflux.ir.walk import clone, everywhere, map_regions, walk
from numbaflux.passes.alias import written_params
from numbaflux.transforms.compose import (
    differentiated,
    finish,
    picked,
    variables,
)
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.memory import clear_array, copy_array, elements, zeros_like
from numbaflux.transforms.overlap import refuse_overlap
from numbaflux.transforms.vjp import sweeps

Blocks = dict[tuple[int, Var], Atom]  # ∂ result i / ∂ leaf


def jacrev(program: Program, argnums: tuple[int, ...], single: bool) -> Program:
    """The Jacobian by reverse mode."""
    trees = differentiated(program, argnums)
    _float_outputs(program, "jacrev")
    b = Builder(program.function.loc)
    refuse_overlap(b, program.function)
    blocks = _reverse_blocks(b, program.function, variables(trees))
    return _assemble(program, "jacrev", b, trees, single, blocks)


def jacfwd(program: Program, argnums: tuple[int, ...], single: bool) -> Program:
    """The Jacobian by forward mode."""
    trees = differentiated(program, argnums)
    _float_outputs(program, "jacfwd")
    b = Builder(program.function.loc)
    refuse_overlap(b, program.function)
    blocks = _forward_blocks(b, program.function, variables(trees))
    return _assemble(program, "jacfwd", b, trees, single, blocks)


def jacobian(program: Program, argnums: tuple[int, ...], single: bool) -> Program:
    """Reverse mode if every output is a scalar, else forward if every input is, else reverse."""
    trees = differentiated(program, argnums)
    outputs = list(leaves(program.result))
    inputs = variables(trees)
    scalar_in = all(isinstance(a.type, Scalar) for a in inputs)
    if scalar_in and any(isinstance(a.type, Array) for a in outputs):
        return jacfwd(program, argnums, single)
    return jacrev(program, argnums, single)


def _float_outputs(program: Program, name: str) -> None:
    found = list(leaves(program.result))
    wrong = [a for a in found if not a.type.is_float]
    if wrong or not found:
        what = str(wrong[0].type) if wrong else "nothing"
        raise NotDifferentiableError(
            f"{name} needs floating point outputs, `{program.function.name}` returns {what}",
            program.function.loc,
            "a Jacobian is the derivative of every output",
            "return the floating point outputs only",
        )


def _assemble(
    program: Program, name: str, b: Builder, trees: tuple[Tree, ...], single: bool, blocks: Blocks
) -> Program:
    """The tree of outputs, each leaf replaced by the tree of its blocks."""
    order = iter(range(len(program.function.results)))

    def row(_: Atom) -> Tree:
        i = next(order)
        return picked(
            tuple(map_tree(lambda a: Leaf(blocks[i, var_of(a)]), t) for t in trees), single
        )

    result = map_tree(row, program.result)
    return finish(program, name, b, program.args, result)


# ---- reverse -----------------------------------------------------------------------------------


def _reverse_blocks(b: Builder, fn: Function, wrt: tuple[Var, ...]) -> Blocks:
    s = sweeps(fn, wrt, repeated=True)
    arrays = [p for p in wrt if isinstance(p.type, Array)]
    scalars = [p for p in wrt if not isinstance(p.type, Array)]
    shadows = [zeros_like(b, p) for p in arrays]
    given = dict(zip((*s.params, *s.shadows), (*fn.params, *shadows)))
    forward, env = clone(Block((), s.forward, s.results), given)
    b.stmts += forward.stmts
    results = forward.yields
    looped = [
        (i, r, p)
        for i, r in enumerate(results)
        for p in wrt
        if isinstance(r.type, Array) or p in arrays
    ]
    blocks = _blocks(b, looped)
    for i, r in enumerate(results):
        with elements(b, r) as row:
            seeds = [_unit(b, q, row if j == i else None) for j, q in enumerate(results)]
            reverse, _ = clone(
                Block((), s.reverse, s.cotangents), {**env, **dict(zip(s.seeds, seeds))}
            )
            b.stmts += reverse.stmts
            for p, d in [*zip(arrays, shadows), *zip(scalars, reverse.yields)]:
                if (i, p) not in blocks:
                    blocks[i, p] = d
                    continue
                with elements(b, d) as column:
                    b.store(blocks[i, p], [*row, *column], _element(b, d, column))
            for shadow in shadows:
                clear_array(b, shadow)
    return blocks


# ---- forward -----------------------------------------------------------------------------------


def _forward_blocks(b: Builder, fn: Function, wrt: tuple[Var, ...]) -> Blocks:
    written = written_params(fn)
    saved = {p: copy_array(b, p, p.name) for p in written}
    results = b.inline(fn, fn.params)
    looped = [p for p in wrt if isinstance(p.type, Array)]
    blocks = _blocks(b, [(i, r, p) for i, r in enumerate(results) for p in looped])
    for p in wrt:
        column = everywhere(jvp(fn, [p]), _silent)
        with elements(b, p) as place:
            args = [copy_array(b, saved[q], q.name) if q in saved else q for q in fn.params]
            out = b.inline(column, [*args, _unit(b, p, place)])
            for i, d in enumerate(out[len(results) :]):
                if (i, p) not in blocks:
                    blocks[i, p] = d
                    continue
                with elements(b, d) as row:
                    b.store(blocks[i, p], [*row, *place], _element(b, d, row))
    return blocks


def _silent(fn: Function) -> Function:
    """`fn` without what it prints, to be run again; raises if it draws random numbers."""
    for stmt in walk(fn.block):
        if isinstance(stmt, Extern) and not ROUTINES[stmt.routine].pure:
            raise UnsupportedError(
                f"jacfwd of a function with an effect (`{stmt.routine}`)",
                stmt.loc,
                "forward mode runs the function once for every input, each time with other draws",
                "use numbaflux.jacrev, which runs it once",
            )

    def visit(block: Block) -> Block:
        stmts = (map_regions(s, visit) for s in block.stmts if not isinstance(s, Print))
        return replace(block, stmts=tuple(stmts))

    return replace(fn, block=visit(fn.block))


# ---- pieces ------------------------------------------------------------------------------------


def _blocks(b: Builder, pairs: list[tuple[int, Atom, Var]]) -> Blocks:
    """An array to fill for every pair of an output and an input."""
    blocks: Blocks = {}
    for i, r, p in pairs:
        shape = [
            b.dim(a, axis)
            for a in (r, p)
            if isinstance(a.type, Array)
            for axis in range(a.type.ndim)
        ]
        element = r.type.element if isinstance(r.type, Array) else r.type
        assert isinstance(element, Scalar | Array)
        blocks[i, p] = b.alloc(shape, Array(element, len(shape)), zero=False, name=f"d_{p.name}")
    return blocks


def _element(b: Builder, a: Atom, place: list[Atom]) -> Atom:
    return b.load(a, place) if isinstance(a.type, Array) else a


def _unit(b: Builder, like: Atom, place: list[Atom] | None) -> Atom:
    """A seed: zero, but for a one at `place`."""
    if not isinstance(like.type, Array):
        return const(0 if place is None else 1, like.type)
    seed = zeros_like(b, like, name="seed")
    if place is not None:
        b.store(seed, place, const(1, array_of(seed).element))
    return seed
