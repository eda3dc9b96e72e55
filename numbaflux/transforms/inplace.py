"""The in-place pair: `adjoint` and `tangent`, with shadows that the caller owns."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from numbaflux.errors import NotDifferentiableError
from numbaflux.ir.build import Builder, array_of, const, index
from numbaflux.ir.nodes import Array, Atom, Scalar, Var
from numbaflux.ir.trees import Leaf, Program, Tree, Tuple, leaves, map_tree, with_leaves
from numbaflux.transforms.compose import finish, variables
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.memory import refuse_other_shape
from numbaflux.transforms.vjp import vjp


def adjoint(program: Program, shadows: tuple[Tree | None, ...], dup: type) -> Program:
    """Adds into the shadows; returns what the function returns, a scalar or nothing.

    `shadows`: for each argument the tree of its shadow, None for a constant one. The shadow of a
    scalar is an array of one element.
    """
    fn, b = program.function, Builder(program.function.loc)
    of = [i for i, a in enumerate(fn.results) if a.type.is_float]
    if any(isinstance(fn.results[i].type, Array) for i in of):
        raise NotDifferentiableError(
            f"`{fn.name}` returns an array, whose cotangent `adjoint` has no place for",
            fn.loc,
            "adjoint takes cotangents in the shadows of arguments",
            "write the result into an argument, or use numbaflux.vjp",
        )
    pairs = shadow_pairs(b, program, shadows, of_scalar=Array)
    wrt = tuple(p for p, _ in pairs)
    arrays = [d for p, d in pairs if isinstance(p.type, Array)]
    seeds = [const(1, fn.results[i].type) for i in of]
    out = b.inline(vjp(fn, wrt, of), [*fn.params, *arrays, *seeds])
    results, scalars = out[: len(fn.results)], iter(out[len(fn.results) :])
    for p, d in pairs:
        if not isinstance(p.type, Array):
            b.accumulate(d, [index(0)], b.cast(next(scalars), array_of(d).element))
    value = with_leaves(program.result, results)
    made = finish(program, "adjoint", b, dup_args(program, shadows, dup), value)
    apart = frozenset(d for _, d in pairs if isinstance(d, Var) and isinstance(d.type, Array))
    return replace(made, function=replace(made.function, apart=(*fn.apart, apart)))


def tangent(program: Program, shadows: tuple[Tree | None, ...], dup: type) -> Program:
    """Updates the shadows with their arrays; returns Dup(value, tangent) of a scalar result."""
    fn, b = program.function, Builder(program.function.loc)
    pairs = shadow_pairs(b, program, shadows, of_scalar=Scalar)
    wrt = tuple(p for p, _ in pairs)
    tangents = [d if isinstance(p.type, Array) else b.cast(d, p.type) for p, d in pairs]
    out = b.inline(jvp(fn, wrt), [*fn.params, *tangents])
    results, ds = out[: len(fn.results)], iter(out[len(fn.results) :])
    pair_of = {
        i: Tuple((Leaf(r), Leaf(next(ds))), dup) if a.type.is_float else Leaf(r)
        for i, (a, r) in enumerate(zip(fn.results, results))
    }
    order = iter(range(len(fn.results)))
    value = map_tree(lambda a: pair_of[next(order)], program.result)
    return finish(program, "tangent", b, dup_args(program, shadows, dup), value)


def shadow_pairs(
    b: Builder,
    program: Program,
    shadows: tuple[Tree | None, ...],
    of_scalar: type,
    checked: bool = True,
) -> list[tuple[Var, Atom]]:
    """Each leaf that has a shadow with it; the shadow of a scalar is of the kind `of_scalar`.

    `checked`: the program looks whether the shapes of the two agree.
    """
    pairs = []
    for (name, tree), shadow in zip(program.args, shadows):
        if shadow is None:
            continue
        primal, ds = variables([tree]), tuple(leaves(shadow))
        if len(primal) != len(ds) or not all(map(partial(_fits, of_scalar), primal, ds)):
            raise NotDifferentiableError(
                f"the shadow of argument `{name}` does not have the structure of its primal",
                program.function.loc,
                "each floating point leaf has a shadow of its type",
                "pass Dup(x, dx), dx like x; for a scalar x in `adjoint` an array of one element",
            )
        for p, d in zip(primal, ds):
            if checked and isinstance(p.type, Array):
                refuse_other_shape(b, d, p, f"the shadow of argument {name}")
        pairs += zip(primal, ds)
    return pairs


def _fits(of_scalar: type, p: Var, d: Atom) -> bool:
    """Whether d can be the shadow of p."""
    if not p.type.is_float:
        return False
    if isinstance(p.type, Array):
        if not isinstance(d.type, Array) or d.type.ndim != p.type.ndim:
            return False
        return d.type.element == p.type.element and not d.type.readonly
    return isinstance(d.type, of_scalar) and getattr(d.type, "ndim", 1) == 1


def dup_args(program: Program, shadows: tuple[Tree | None, ...], dup: type):
    """The derivative's arguments: Dup(primal, shadow) where there is a shadow."""
    return tuple(
        (name, tree if shadow is None else Tuple((tree, shadow), dup))
        for (name, tree), shadow in zip(program.args, shadows)
    )
