"""Results that are written into arrays of the caller's: a new array costs more to hand over."""

from __future__ import annotations

from dataclasses import replace

from numbaflux.errors import NotDifferentiableError
from numbaflux.ir.build import Builder, array_of, index
from numbaflux.ir.nodes import Array, Atom, Var
from numbaflux.ir.trees import Program, Tree, leaves
from numbaflux.transforms.memory import elements, refuse_other_shape


def into(program: Program, written: Tree, rest: Tree, name: str, out: Tree) -> Program:
    """The program with one more argument, `out`, into which the results `written` go at its end.

    It returns `rest`. The place of a scalar is an array of one element.
    """
    fn, b = program.function, Builder(program.function.loc)
    sources, targets = list(leaves(written)), list(leaves(out))
    if len(sources) != len(targets) or not all(map(_fits, sources, targets)):
        raise NotDifferentiableError(
            f"argument `{name}` does not have the structure of the result it is to hold",
            fn.loc,
            "every array is copied into one of its type, every number into an array of one element",
            "pass arrays like the result without `out`",
        )
    b.stmts += fn.block.stmts
    for source, target in zip(sources, targets):
        if not isinstance(source.type, Array):
            b.store(target, [index(0)], source)
            continue
        refuse_other_shape(b, target, source, name)
        with elements(b, source) as place:
            b.store(target, place, b.load(source, place))
    params = (*fn.params, *(t for t in targets if isinstance(t, Var)))
    block = b.block(params, tuple(leaves(rest)))
    return Program(replace(fn, block=block), (*program.args, (name, out)), rest)


def _fits(source: Atom, target: Atom) -> bool:
    if not isinstance(target.type, Array) or target.type.readonly:
        return False
    ndim = array_of(source).ndim if isinstance(source.type, Array) else 1
    element = array_of(source).element if isinstance(source.type, Array) else source.type
    return target.type.ndim == ndim and target.type.element == element
