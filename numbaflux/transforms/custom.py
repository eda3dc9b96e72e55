"""Rules of the user's: `custom_jvp` and `custom_vjp` in both modes.

A custom_vjp serves reverse mode only, as in JAX: forward mode would have to differentiate code
that has no derivative.  Once a rule has been used its code is ordinary code, which is what second
derivatives see.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import Builder, zero_of
from numbaflux.ir.nodes import Array, Atom, Block, Custom, Function, Stmt, Var
from numbaflux.ir.walk import map_regions, substitute, walk
from numbaflux.passes.activity import Activity
from numbaflux.transforms.memory import add_array, clear_array, zeros_like

if TYPE_CHECKING:
    from numbaflux.transforms.vjp import Reverse


def expand(fn: Function) -> Function:
    """`fn` with every call that has a rule of the user's replaced by the function's body."""
    if not any(isinstance(s, Custom) for s in walk(fn.block)):
        return fn
    return expand(replace(fn, block=expanded(fn.block, None)[0]))


def expanded(block: Block, which: Container[Custom] | None) -> tuple[Block, dict[Var, Atom]]:
    """The block with the calls in `which` (None: all) written out; what became of their results."""
    known: dict[Var, Atom] = {}

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            if isinstance(stmt, Custom) and (which is None or stmt in which):
                known.update(zip(stmt.results, b.inline(stmt.rules.primal, stmt.args)))
            else:
                b.append(map_regions(stmt, visit))
        return replace(block, stmts=tuple(b.stmts))

    block = visit(block)
    for v, a in known.items():  # a result may be another call's result
        while isinstance(a, Var) and a in known:
            a = known[a]
        known[v] = a
    return substitute(block, known), known


# ---- forward -----------------------------------------------------------------------------------


def tangents(
    b: Builder, stmt: Custom, active: Activity, known: Mapping[Atom, Atom]
) -> dict[Atom, Atom]:
    """The tangents of the active results, by the user's jvp."""
    wanted = [r for r in stmt.results if r.type.is_float]
    if not any(r in active for r in wanted):
        return {}
    if stmt.rules.jvp is None:
        raise UnsupportedError(
            f"forward mode through `{stmt.rules.name}`",
            stmt.loc,
            "its derivative is given by custom_vjp, which is for reverse mode",
            "use reverse mode (nf.vjp, nf.grad), or give it a rule with nf.custom_jvp",
        )
    directions = [known.get(a) or _zero(b, a) for a in stmt.args if a.type.is_float]
    out = b.inline(stmt.rules.jvp(), [*stmt.args, *directions])
    return {r: t for r, t in zip(wanted, out[len(stmt.results) :]) if r in active}


def _zero(b: Builder, a: Atom) -> Atom:
    return zeros_like(b, a) if isinstance(a.type, Array) else zero_of(a.type)


# ---- reverse -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """A program whose active calls also return their residuals; `outputs` of each without them."""

    fn: Function
    outputs: Mapping[Custom, int]


def opened(fn: Function, active: Activity) -> Opened:
    """`fn` with each active call's residuals among its results, to be kept like any value."""
    outputs: dict[Custom, int] = {}

    def visit(block: Block) -> Block:
        return replace(block, stmts=tuple(map_regions(one(s), visit) for s in block.stmts))

    def one(stmt: Stmt) -> Stmt:
        if not isinstance(stmt, Custom) or not any(r in active for r in stmt.results):
            return stmt
        n, forward = len(stmt.results), stmt.rules.forward()
        residuals = (Var("kept", a.type) for a in forward.results[n:])
        rules = replace(stmt.rules, primal=forward)
        new = replace(stmt, results=(*stmt.results, *residuals), rules=rules)
        outputs[new] = n
        return new

    return Opened(replace(fn, block=visit(fn.block)), outputs)


def reverse(rev: Reverse, stmt: Custom, n: int) -> None:
    """Contribute the cotangents of the arguments, by the user's rule; n: the number of outputs."""
    b, need = rev.b, rev.values.need
    seeds: list[Atom] = []
    for r in stmt.results[:n]:
        if not r.type.is_float:
            continue
        if isinstance(r.type, Array):
            seeds.append(rev.shadow(r) if r in rev.active else zeros_like(b, need(r)))
        else:
            seeds.append(rev.adjoints.pop(r, None) or zero_of(r.type))
    residuals = [need(r) for r in stmt.results[n:]]
    cotangents = b.inline(stmt.rules.backward(), [*residuals, *seeds])
    for seed in seeds if rev.given.repeated else ():
        if isinstance(seed.type, Array):
            clear_array(b, seed)
    for a, ct in zip((a for a in stmt.args if a.type.is_float), cotangents):
        if a not in rev.active:
            continue
        if isinstance(a.type, Array):
            add_array(b, rev.shadow(a), ct)
        else:
            rev.contribute(a, ct)
