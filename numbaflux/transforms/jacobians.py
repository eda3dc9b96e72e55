"""Jacobians: one reverse sweep an output, or one forward run a chunk of inputs.

A Jacobian has the shape out.shape + arg.shape.  Reverse mode runs the forward sweep once, with the
function's effects, and then the reverse sweep for every element of the output.  Forward mode runs
the function once for its effects, and then its jvp on copies of what it overwrites: a column a run
in the program that may be transformed again, many columns a run in the one that is compiled.

note [Price]  In runs of the function: a chunk of K columns is a run and K / 6 more for the lanes,
reverse mode is a forward sweep and about one run a row (`python -m benchmarks` measures both).  A
length that is not known when code is generated counts as one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from numbaflux.errors import NotDifferentiableError
from numbaflux.ir.build import Builder, array_of, const, full_slice, var_of
from numbaflux.ir.nodes import (
    BOOL,
    Alloc,
    Array,
    Atom,
    Block,
    Extern,
    Function,
    Index,
    Scalar,
    Var,
)
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.trees import Leaf, Program, Tree, leaves, map_tree
from numbaflux.ir.walk import clone, constant, everywhere, free, walk
from numbaflux.passes.alias import written_params
from numbaflux.transforms.columns import CHUNK, Blocks, column_blocks, new_block, power, silent
from numbaflux.transforms.compose import (
    differentiated,
    finish,
    picked,
    variables,
)
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.lanes import can_widen
from numbaflux.transforms.memory import (
    clear_array,
    copy_array,
    elements,
    shadow_type,
    zeros_like,
)
from numbaflux.transforms.overlap import refuse_overlap
from numbaflux.transforms.vjp import Sweeps, sweeps


def jacrev(program: Program, argnums: tuple[int, ...], single: bool) -> Program:
    """The Jacobian by reverse mode."""
    trees = differentiated(program, argnums)
    _float_outputs(program, "jacrev")
    b = Builder(program.function.loc)
    refuse_overlap(b, program.function)
    blocks = _reverse_blocks(b, program.function, variables(trees))
    return _assemble(program, "jacrev", b, trees, single, blocks)


def jacfwd(
    program: Program, argnums: tuple[int, ...], single: bool, chunk: int | None = None
) -> Program:
    """The Jacobian by forward mode; `chunk`: how many columns a run, None to choose."""
    trees = differentiated(program, argnums)
    _float_outputs(program, "jacfwd")
    fn = program.function
    wrt = tuple(dict.fromkeys(variables(trees)))

    def made(blocks_of: Callable[[Builder], Blocks]) -> Program:
        b = Builder(fn.loc)
        refuse_overlap(b, fn)
        return _assemble(program, "jacfwd", b, trees, single, blocks_of(b))

    one = made(lambda b: _forward_blocks(b, fn, wrt))
    lone = len(wrt) == 1 and isinstance(wrt[0].type, Scalar)
    if lone or chunk == 1 or not can_widen(fn, wrt):
        return one
    return replace(one, compiled=lambda: made(lambda b: column_blocks(b, fn, wrt, chunk)))


def jacobian(
    program: Program, argnums: tuple[int, ...], single: bool, chunk: int | None = None
) -> Program:
    """The cheaper mode. note [Price]"""
    fn, wrt = program.function, variables(differentiated(program, argnums))
    lengths = [sum(_length(fn, a) for a in atoms) for atoms in (wrt, fn.results)]
    if _price_forward(lengths[0]) < _price_reverse(lengths[1]) and _runs_again(fn, wrt):
        return jacfwd(program, argnums, single, chunk)
    return jacrev(program, argnums, single)


def _price_forward(inputs: int) -> float:
    lanes = min(CHUNK, power(inputs))
    return -(-inputs // lanes) * (1 + lanes / 6)


def _price_reverse(outputs: int) -> float:
    return 1 + outputs


def _length(fn: Function, a: Atom) -> int:
    """How many elements, as far as that is known."""
    if not isinstance(a.type, Array):
        return 1
    shapes = (s.shape for s in fn.block.stmts if isinstance(s, Alloc) and s.result is a)
    lengths = [constant(n) for n in next(shapes, (a,))]
    return prod(n if isinstance(n, int) else CHUNK for n in lengths)


def _runs_again(fn: Function, wrt: tuple[Var, ...]) -> bool:
    """Whether forward mode has lanes and may run the function again."""
    draws = (isinstance(s, Extern) and not ROUTINES[s.routine].pure for s in walk(fn.block))
    return can_widen(fn, wrt) and not any(draws)


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
    in_place = [p for p, d in zip(arrays, s.shadows) if _row_is_shadow(s, p, d, results)]
    blocks: Blocks = {(i, p): new_block(b, r, p, zero=p in in_place) for i, r, p in looped}
    for i, r in enumerate(results):
        with elements(b, r) as row:
            seeds = [_unit(b, q, row if j == i else None) for j, q in enumerate(results)]
            rows: dict[Var, Atom] = {
                d: _row(b, var_of(blocks[i, p]), row, p)
                for p, d in zip(arrays, s.shadows)
                if p in in_place
            }
            reverse, _ = clone(
                Block((), s.reverse, s.cotangents), {**env, **dict(zip(s.seeds, seeds)), **rows}
            )
            b.stmts += reverse.stmts
            for p, d in [*zip(arrays, shadows), *zip(scalars, reverse.yields)]:
                if (i, p) not in blocks:
                    blocks[i, p] = d
                elif p not in in_place:
                    with elements(b, d) as column:
                        b.store(blocks[i, p], [*row, *column], _element(b, d, column))
            for p, shadow in zip(arrays, shadows):
                if p not in in_place:
                    clear_array(b, shadow)
    return blocks


def _row_is_shadow(s: Sweeps, p: Var, shadow: Var, results: Sequence[Atom]) -> bool:
    """Whether a row of the Jacobian can be the shadow of an argument while it is computed."""
    elements = (r.type.element if isinstance(r.type, Array) else r.type for r in results)
    same = all(element == array_of(p).element for element in elements)
    return same and array_of(p).layout == "C" and shadow not in free(Block((), s.forward))


def _row(b: Builder, block: Var, row: Sequence[Atom], p: Var) -> Var:
    if not row:
        return block
    whole = (full_slice(),) * array_of(p).ndim
    return b.view(block, Index((*row, *whole)), shadow_type(p.type), f"d_{p.name}")


# ---- forward -----------------------------------------------------------------------------------


def _forward_blocks(b: Builder, fn: Function, wrt: tuple[Var, ...]) -> Blocks:
    written = written_params(fn)
    saved = {p: copy_array(b, p, p.name) for p in written}
    results = b.inline(fn, fn.params)
    looped = [p for p in wrt if isinstance(p.type, Array)]
    blocks: Blocks = {(i, p): new_block(b, r, p) for i, r in enumerate(results) for p in looped}
    for p in wrt:
        column = everywhere(jvp(fn, [p]), silent)
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


# ---- pieces ------------------------------------------------------------------------------------


def _element(b: Builder, a: Atom, place: list[Atom]) -> Atom:
    return b.load(a, place) if isinstance(a.type, Array) else a


def _unit(b: Builder, like: Atom, place: list[Atom] | None) -> Atom:
    """A seed: zero, but for a one at `place`."""
    if not isinstance(like.type, Array):
        return const(0 if place is None else 1, like.type)
    seed = zeros_like(b, like, name="seed")
    if place is not None:
        # Each element chosen, not a one written over a zero: a short seed becomes variables.
        with elements(b, like) as at:
            chosen = const(True, BOOL)
            for i, j in zip(at, place):
                chosen = b.prim("and", chosen, b.prim("eq", i, j))
            one, zero = (const(v, array_of(seed).element) for v in (1, 0))
            b.store(seed, at, b.select(chosen, one, zero))
    return seed
