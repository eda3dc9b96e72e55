"""Transforms of whole programs: what `grad`, `jvp`, `vjp`, `hvp` compute.

Each takes a Program as read and gives the Program of the derivative, with the user's signature:
shadows are allocated, seeds put in, tuples put together here, in ordinary IR, so that every result
can be transformed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from numbaflux.errors import NotDifferentiableError
from numbaflux.ir.build import Builder, const, var_of
from numbaflux.ir.nodes import TEXT, Array, Atom, Const, Function, Scalar, Var
from numbaflux.ir.trees import Fixed, Leaf, Program, Tree, Tuple, leaves, map_tree, with_leaves
from numbaflux.passes.alias import written_params
from numbaflux.passes.trim import trim
from numbaflux.transforms.budget import vjp_within
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.memory import add_array, refuse_other_shape, shadow_type, zeros_like
from numbaflux.transforms.overlap import fresh_shadows, refuse_overlap, with_promises
from numbaflux.transforms.vjp import vjp


def differentiated(program: Program, argnums: tuple[int, ...]) -> tuple[Tree, ...]:
    """The trees of the arguments to differentiate; raises unless all leaves are floating point."""
    trees = []
    for n in argnums:
        if not -len(program.args) <= n < len(program.args):
            raise NotDifferentiableError(
                f"argnums={n} names no argument of `{program.function.name}`",
                program.function.loc,
                f"it takes {len(program.args)} argument(s)",
                "count positions from 0, or from -1 at the end",
            )
        name, tree = program.args[n]
        found = list(leaves(tree))
        wrong = [a for a in found if not a.type.is_float]
        if wrong or not found:
            what = str(wrong[0].type) if wrong else "constant"
            raise NotDifferentiableError(
                f"argument `{name}` of `{program.function.name}` is {what}, not floating point",
                program.function.loc,
                f"argnums={n} asks for the derivative with respect to it",
                "pass floating point numbers, or leave it out of argnums",
            )
        trees.append(tree)
    return tuple(trees)


def variables(trees: Sequence[Tree]) -> tuple[Var, ...]:
    """The leaf variables of some arguments."""
    return tuple(var_of(a) for tree in trees for a in leaves(tree))


def scalar_output(program: Program, has_aux: bool, name: str) -> tuple[Atom, Tree | None]:
    """The scalar that is differentiated, and the auxiliary output."""
    result, aux = program.result, None
    if has_aux:
        if not isinstance(result, Tuple) or len(result.items) != 2:
            raise NotDifferentiableError(
                f"`{program.function.name}` does not return a pair",
                program.function.loc,
                f"{name}(..., has_aux=True) differentiates the first of two outputs",
                "return (value, aux)",
            )
        result, aux = result.items
    if (
        not isinstance(result, Leaf)
        or not isinstance(result.atom.type, Scalar)
        or not result.atom.type.is_float
    ):
        what = str(result.atom.type) if isinstance(result, Leaf) else "a tuple or None"
        raise NotDifferentiableError(
            f"{name} needs a scalar output, `{program.function.name}` returns {what}",
            program.function.loc,
            "a gradient is the derivative of one floating point number",
            "use numbaflux.jacrev for a Jacobian, or numbaflux.vjp with a cotangent",
        )
    return result.atom, aux


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one vjp of a program gives: its results, and by variable the cotangents."""

    results: tuple[Atom, ...]
    cotangents: dict[Atom, Atom]


def pull(
    b: Builder,
    fn: Function,
    wrt: tuple[Var, ...],
    of: list[int],
    seeds: list[Atom],
    memory: int | None = None,
) -> Pulled:
    """Run the vjp of `fn` in place of `fn`, into fresh shadows; `memory`: its budget, in bytes."""
    shadows = fresh_shadows(b, fn, wrt)
    scalars = [p for p in wrt if not isinstance(p.type, Array)]
    chosen = [*shadows, *scalars]
    inner = vjp(fn, chosen, of) if memory is None else vjp_within(fn, chosen, of, memory)
    out = b.inline(inner, [*fn.params, *shadows.values(), *seeds])
    n = len(fn.results)
    return Pulled(out[:n], {**shadows, **dict(zip(scalars, out[n:]))})


def value_and_grad(
    program: Program,
    argnums: tuple[int, ...],
    single: bool,
    has_aux: bool = False,
    memory: int | None = None,
) -> Program:
    """(value, gradient), or ((value, aux), gradient)."""
    trees = differentiated(program, argnums)
    scalar_output(program, has_aux, "grad")
    program = with_promises(program)
    fn, b = program.function, Builder(program.function.loc)
    one = const(1, fn.results[0].type)
    pulled = pull(b, fn, variables(trees), [0], [one], memory)
    value = with_leaves(program.result, pulled.results)
    gradient = picked(
        tuple(map_tree(lambda a: Leaf(pulled.cotangents[a]), t) for t in trees), single
    )
    return finish(program, "value_and_grad", b, program.args, Tuple((value, gradient)))


def grad(
    program: Program,
    argnums: tuple[int, ...],
    single: bool,
    has_aux: bool = False,
    memory: int | None = None,
) -> Program:
    """The gradient, or (gradient, aux)."""
    both = value_and_grad(program, argnums, single, has_aux, memory)
    assert isinstance(both.result, Tuple)
    value, gradient = both.result.items
    if has_aux:
        assert isinstance(value, Tuple)
        return retree(both, "grad", program, Tuple((gradient, value.items[1])))
    return retree(both, "grad", program, gradient)


def jvp_program(
    program: Program, tangents: tuple[Tree, ...], names=("primals", "tangents")
) -> Program:
    """(primals, tangents) -> (out, tangent). A tangent tree is Fixed for a constant argument."""
    b, fn = Builder(program.function.loc), program.function
    pairs = _pairs(b, program, tangents)
    wrt = tuple(p for p, _ in pairs)
    refuse_overlap(b, fn)
    written = set(written_params(fn))
    out = b.inline(jvp(fn, wrt), [*fn.params, *(_tangent(b, p, t, p in written) for p, t in pairs)])
    results, dresults = out[: len(fn.results)], iter(out[len(fn.results) :])
    value = with_leaves(program.result, results)
    by_result = {
        i: (Leaf(next(dresults)) if a.type.is_float else Fixed()) for i, a in enumerate(fn.results)
    }
    order = iter(range(len(fn.results)))
    tangent = map_tree(lambda a: by_result[next(order)], program.result)
    args = (
        (names[0], Tuple(tuple(t for _, t in program.args))),
        (names[1], Tuple(tangents)),
    )
    return finish(program, "jvp", b, args, Tuple((value, tangent)))


def vjp_program(program: Program, cotangents: Tree) -> Program:
    """(primals, cotangents) -> (out, cts); None for an argument that is not floating point."""
    program = with_promises(program)
    b, fn = Builder(program.function.loc), program.function
    wrt = tuple(p for p in fn.params if p.type.is_float)
    seeds = _seeds(b, program, cotangents)
    pulled = pull(b, fn, wrt, [i for i, _ in seeds], [a for _, a in seeds])
    value = with_leaves(program.result, pulled.results)
    cts = Tuple(tuple(_cotangent_tree(t, pulled.cotangents) for _, t in program.args))
    args = (("primals", Tuple(tuple(t for _, t in program.args))), ("cotangents", cotangents))
    return finish(program, "vjp", b, args, Tuple((value, cts)))


def hvp_program(program: Program, tangents: tuple[Tree, ...]) -> Program:
    """(primals, tangents) -> cts: the tangent of the gradient, one sweep of each mode."""
    floats = tuple(
        i
        for i, ((_, tree), d) in enumerate(zip(program.args, tangents))
        if _all_float(tree) and not isinstance(d, Fixed)
    )
    gradient = grad(program, floats, single=False)
    both = jvp_program(gradient, tangents)
    assert isinstance(both.result, Tuple)
    tangent = both.result.items[1]
    assert isinstance(tangent, Tuple)
    by_arg = dict(zip(floats, tangent.items))
    cts = Tuple(tuple(by_arg.get(i, Fixed()) for i in range(len(program.args))))
    return replace(
        both,
        function=replace(both.function, name=f"hvp_{program.function.name}",
                         block=replace(both.function.block, yields=tuple(leaves(cts)))),
        result=cts,
    )  # fmt: skip


# ---- pieces ------------------------------------------------------------------------------------


def picked(trees: tuple[Tree, ...], single: bool) -> Tree:
    """A single tree itself, several as a tuple."""
    return trees[0] if single else Tuple(trees)


def finish(
    program: Program, name: str, b: Builder, args: Iterable[tuple[str, Tree]], result: Tree
) -> Program:
    """The Program of the derivative, its leaves in the order of its trees."""
    params = tuple(var_of(a) for _, tree in args for a in leaves(tree))
    fn = replace(
        program.function,
        name=f"{name}_{program.function.name}",
        block=b.block(params, tuple(leaves(result))),
    )
    return Program(trim(fn), tuple(args), result)


def retree(both: Program, name: str, program: Program, result: Tree) -> Program:
    """`both` with only part of its result."""
    block = replace(both.function.block, yields=tuple(leaves(result)))
    fn = replace(both.function, name=f"{name}_{program.function.name}", block=block)
    return replace(both, function=trim(fn), result=result)


def _all_float(tree: Tree) -> bool:
    found = list(leaves(tree))
    return bool(found) and all(a.type.is_float for a in found)


def _pairs(b: Builder, program: Program, tangents: tuple[Tree, ...]) -> list[tuple[Var, Atom]]:
    """Each differentiated leaf with its tangent."""
    rest = [tree for _, tree in program.args[len(tangents) :]]
    if len(tangents) > len(program.args) or not all(isinstance(t, Fixed) for t in rest):
        raise NotDifferentiableError(
            f"{len(tangents)} tangent(s) for {len(program.args)} argument(s)",
            program.function.loc,
            "jvp pairs each argument with a tangent",
            "pass one tangent for each argument, None for a constant one",
        )
    pairs: list[tuple[Var, Atom]] = []
    for (name, tree), tangent in zip(program.args, tangents):  # defaults come last
        pairs += _zip_leaves(b, program, name, tree, tangent)
    return pairs


def _zip_leaves(
    b: Builder, program: Program, name: str, tree: Tree, tangent: Tree
) -> Iterator[tuple[Var, Atom]]:
    match tree, tangent:
        case (_, Fixed()) | (Fixed(), _):
            return
        case Tuple(items), Tuple(ds) if len(items) == len(ds):
            for item, d in zip(items, ds):
                yield from _zip_leaves(b, program, name, item, d)
            return
        case Leaf(p), Leaf(d) if isinstance(p.type, Array) and isinstance(d.type, Array):
            if p.type.is_float and d.type.ndim == p.type.ndim:
                refuse_other_shape(b, d, p, f"the tangent of argument {name}")
                yield var_of(p), d
                return
        case Leaf(p), Leaf(d) if isinstance(d.type, Scalar):
            if isinstance(p.type, Scalar) and p.type.is_float:
                yield var_of(p), d
            else:
                message = Const(f"argument {name} is constant, its tangent has to be 0", TEXT)
                b.raise_if(b.prim("ne", d, const(0, d.type)), ValueError, message)
            return
        case _:
            pass
    raise NotDifferentiableError(
        f"the tangent of argument `{name}` does not have the structure of its primal",
        program.function.loc,
        "a tangent is a direction in the space of its argument",
        "pass a tangent of the same shape and structure, or None",
    )


def _tangent(b: Builder, p: Var, t: Atom, written: bool) -> Atom:
    """The tangent as the jvp takes it: the user's own array is not written."""
    if not isinstance(p.type, Array):
        return b.cast(t, p.type)
    if t.type == shadow_type(p.type) and not written:
        return t
    copy = zeros_like(b, p)
    add_array(b, copy, t)
    return copy


def _seeds(b: Builder, program: Program, cotangents: Tree) -> list[tuple[int, Atom]]:
    """The results that have a cotangent, and it."""
    results = list(leaves(program.result))
    given = list(_aligned(program, program.result, cotangents))
    seeds = []
    for i, (r, ct) in enumerate(zip(results, given)):
        if r.type.is_float and ct is not None:
            seeds.append((i, ct if isinstance(r.type, Array) else b.cast(ct, r.type)))
    return seeds


def _aligned(program: Program, tree: Tree, cts: Tree):
    match tree, cts:
        case Leaf(a), Leaf(ct) if isinstance(a.type, Array) == isinstance(ct.type, Array):
            yield ct
        case _, Fixed():
            for _ in leaves(tree):
                yield None
        case Tuple(items), Tuple(given) if len(items) == len(given):
            for item, ct in zip(items, given):
                yield from _aligned(program, item, ct)
        case Fixed(), _:
            return
        case _:
            raise NotDifferentiableError(
                f"the cotangent is not structured like the output of `{program.function.name}`",
                program.function.loc,
                "a cotangent weighs each output",
                "pass a cotangent shaped like the output, None for an output without one",
            )


def _cotangent_tree(tree: Tree, cotangents: dict[Atom, Atom]) -> Tree:
    """The cotangents of an argument, None where it is not floating point."""
    if not any(a in cotangents for a in leaves(tree)):
        return Fixed()
    return map_tree(lambda a: Leaf(cotangents[a]) if a in cotangents else Fixed(), tree)
