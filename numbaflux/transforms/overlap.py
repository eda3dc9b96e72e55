"""Arguments that may be one array: memory has one shadow, whatever it is called.

Two arguments of one element type may be the same array, and if either is written then what is
stored under one name is read under the other.  Reverse mode gives both one shadow; forward mode,
where a tangent comes with each name, refuses.  Arrays that overlap in part are always refused, and
so are those that a `prange` promises to be apart (`passes/promise.py`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from numbaflux.ir.build import Builder
from numbaflux.ir.nodes import BOOL, TEXT, Array, Atom, Const, Function, Var
from numbaflux.ir.trees import Program
from numbaflux.passes.alias import written_params
from numbaflux.passes.promise import promised
from numbaflux.transforms.memory import shadow_type, zeros_like


def with_promises(program: Program) -> Program:
    """The program refusing arguments that its parallel loops need apart, and knowing that."""
    fn, b = program.function, Builder(program.function.loc)
    groups, written = _groups(fn), written_params(fn)
    for p, q in combinations(fn.params, 2):
        if _confusable(p, q, written) and groups[p] is not groups[q]:
            (overlap,) = b.extern("overlap", p, q, types=[BOOL])
            _refuse(b, overlap, q, p, "a prange needs them apart")
    if not b.stmts:
        return program
    block = replace(fn.block, stmts=(*b.stmts, *fn.block.stmts))
    apart = (*fn.apart, *dict.fromkeys(groups.values()))
    return replace(program, function=replace(fn, block=block, apart=apart))


def _groups(fn: Function) -> dict[Var, frozenset[Var]]:
    """For each array of floats those that may be one with it, by way of others too."""
    promises, written = promised(fn), written_params(fn)
    arrays = [p for p in fn.params if isinstance(p.type, Array) and p.type.is_float]
    groups = {p: frozenset({p}) for p in arrays}
    for p, q in combinations(fn.params, 2):
        if _confusable(p, q, written) and (p, q) not in promises:
            group = groups[p] | groups[q]
            groups |= dict.fromkeys(group, group)
    return groups


def fresh_shadows(b: Builder, fn: Function, wrt: tuple[Var, ...]) -> dict[Var, Atom]:
    """A zeroed shadow for every array in `wrt`.

    An array that may be written can be another argument too, under another name: then both have
    one shadow, and so all arrays that may be that one have a shadow here.  `fn` is one with its
    promises.
    """
    groups, written = _groups(fn), written_params(fn)
    shadows: dict[Var, Atom] = {}
    for p in fn.params:
        rivals = [q for q in fn.params if q in groups.get(p, ()) and _confusable(p, q, written)]
        if isinstance(p.type, Array) and (p in wrt or any(q in wrt for q in rivals)):
            shadows[p] = _shared(b, p, [q for q in rivals if q in shadows], shadows)
    return shadows


def _confusable(p: Var, q: Var, written: tuple[Var, ...]) -> bool:
    """Whether two arguments may be one array that is written."""
    return (
        p is not q
        and isinstance(p.type, Array)
        and isinstance(q.type, Array)
        and p.type.is_float
        and p.type.element == q.type.element
        and (p in written or q in written)
    )


def _shared(b: Builder, p: Var, rivals: list[Var], shadows: dict[Var, Atom]) -> Atom:
    """The shadow of the first of `rivals` that is the same array as p, else a new one."""
    if not rivals:
        return zeros_like(b, p)
    q, *rest = rivals
    refuse_partial_overlap(b, p, q)
    if shadows[q].type != shadow_type(p.type):
        return _shared(b, p, rest, shadows)
    with b.arm() as then:
        then.yields = [shadows[q]]
    with b.arm() as orelse:
        orelse.yields = [_shared(b, p, rest, shadows)]
    (same,) = b.extern("same_array", p, q, types=[BOOL], name="same")
    return b.if_(same, then.block, orelse.block, [f"d_{p.name}"])[0]


def refuse_overlap(b: Builder, fn: Function) -> None:
    """Raise ValueError if an array that is written is also another argument: it has one tangent."""
    written = written_params(fn)
    for i, p in enumerate(fn.params):
        for q in fn.params[:i]:
            if _confusable(p, q, written):
                (overlap,) = b.extern("overlap", p, q, types=[BOOL])
                _refuse(b, overlap, p, q)


def refuse_partial_overlap(b: Builder, p: Var, q: Var) -> None:
    """Raise ValueError if p and q share memory without being the same array."""
    (overlap,) = b.extern("overlap", p, q, types=[BOOL])
    (same,) = b.extern("same_array", p, q, types=[BOOL])
    one_shadow = b.prim("not", same) if p.type == q.type else Const(True, BOOL)
    _refuse(b, b.prim("and", overlap, one_shadow), p, q)


def _refuse(b: Builder, cond: Atom, p: Var, q: Var, why: str = "one is written") -> None:
    message = Const(f"arguments {q.name} and {p.name} overlap, and {why}", TEXT)
    b.raise_if(cond, ValueError, message)
