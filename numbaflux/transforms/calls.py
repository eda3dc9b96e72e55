"""Calls of functions that call themselves: their derivatives are functions of that kind too.

note [Joint]  The reverse of a call runs the function again, on its arguments as they were, and at
once backward: nothing of the first run is kept but the arguments.  What the second run prints or
raises has been printed or would have been raised by the first, and is left out.  Where one run
does for both, `at_once.py` leaves out the first.

    jvp_f(args, tangents of the float args)  ->  results, tangents of the float results
    pullback_f(args, shadows of the active arrays, cotangents of the float results)
        ->  results, cotangents of the active scalars

The transforms themselves are handed in as `jvp` and `vjp`, since they import this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, TypeVar

from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import Builder, full_slice, zero_of
from numbaflux.ir.nodes import (
    BOOL,
    TEXT,
    Array,
    Atom,
    Block,
    Call,
    Callee,
    Const,
    Extern,
    Function,
    Index,
    Print,
    Raise,
    Stmt,
    Type,
    Var,
)
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.walk import callee_everywhere, callees, map_regions, walk
from numbaflux.passes.activity import Activity
from numbaflux.passes.alias import written_arrays, written_by
from numbaflux.passes.dead import has_effects
from numbaflux.passes.places import Places
from numbaflux.passes.trim import trim
from numbaflux.transforms.memory import add_array, shadow_var, zeros_like

if TYPE_CHECKING:
    from numbaflux.transforms.vjp import Reverse

A = TypeVar("A", bound=Atom)
Transform = Callable[..., Function]


def is_active(stmt: Call, active: Activity) -> bool:
    """Whether a call computes or writes anything active."""
    return any(a in active for a in (*stmt.results, *written_arrays(stmt)))


def _floats(atoms: Iterable[A]) -> Iterator[A]:
    return (a for a in atoms if a.type.is_float)


def which(stmt: Call, active: Activity) -> tuple[int, ...]:
    """The places of the active arguments of a call."""
    return tuple(i for i, a in enumerate(stmt.args) if a.type.is_float and a in active)


def arrays_of(stmt: Call, places: tuple[int, ...]) -> dict[int, Atom]:
    """The arrays among the arguments at these places."""
    return {i: stmt.args[i] for i in places if isinstance(stmt.args[i].type, Array)}


# ---- forward -----------------------------------------------------------------------------------


def tangents(
    b: Builder, stmt: Call, active: Activity, known: Mapping[Atom, Atom], jvp: Transform
) -> dict[Atom, Atom]:
    """Write the call, with tangents if anything of it is active; the tangents of its results."""
    if not is_active(stmt, active):
        b.append(stmt)
        return {}
    directions = [_tangent(b, a, known) for a in _floats(stmt.args)]
    ds = {r: shadow_var(r) for r in stmt.results if r.type.is_float}
    callee = _jvp(stmt.callee, jvp)
    b.append(Call((*stmt.results, *ds.values()), callee, (*stmt.args, *directions), stmt.loc))
    return {r: d for r, d in ds.items() if r in active}


def _jvp(callee: Callee, jvp: Transform) -> Callee:
    """The function with tangents: made once, referred to already while it is made."""

    def make() -> Function:
        return jvp(callee.function, [p for p in callee.function.params if p.type.is_float])

    if "jvp" not in callee.made:
        callee.made["jvp"] = Callee(f"jvp_{callee.name}", make)
    return callee.made["jvp"]


def _tangent(b: Builder, a: Atom, known: Mapping[Atom, Atom]) -> Atom:
    if isinstance(a.type, Array):
        return known.get(a) or zeros_like(b, a)
    return b.cast(known[a], a.type) if a in known else zero_of(a.type)


# ---- reverse: the forward sweep ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A program that copies the arrays its active calls are given, where they change later.

    `args`: for each of these calls what its reverse finds the arguments in.
    """

    fn: Function
    args: Mapping[Call, tuple[Atom, ...]]


def keep_arguments(fn: Function, active: Activity, apart: Callable[[Stmt], object]) -> Kept:
    """`fn` with a copy of each array that a call is given and its reverse would not find.

    `apart` are statements whose reverse is another matter.
    """
    if not any(isinstance(s, Call) for s in walk(fn.block)):
        return Kept(fn, {})
    places = Places(fn)
    args: dict[Call, tuple[Atom, ...]] = {}

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            if apart(stmt):
                b.append(stmt)
                continue
            if isinstance(stmt, Call) and is_active(stmt, active):
                _refuse_overlap(b, stmt, places)
                copies = {a: _copy(b, a) for a in dict.fromkeys(_lost(stmt, places))}
                args[stmt] = tuple(copies.get(a, a) for a in stmt.args)
            b.append(map_regions(stmt, visit))
        return replace(block, stmts=tuple(b.stmts))

    return Kept(replace(fn, block=visit(fn.block)), args)


def _lost(stmt: Call, places: Places) -> Iterator[Atom]:
    """The array arguments that the reverse sweep does not find as they are before the call."""
    written = places.alias.written(stmt)
    for a in stmt.args:
        if isinstance(a.type, Array):
            unchanged = written.isdisjoint(places.alias.of(a)) and places.intact(stmt, a)
            if not unchanged or not places.lasting(a):
                yield a


def _copy(b: Builder, a: Atom) -> Atom:
    """A new contiguous array with the contents of `a`."""
    assert isinstance(a.type, Array)
    shape = [b.dim(a, axis) for axis in range(a.type.ndim)]
    layout = "F" if a.type.layout == "F" else "C"
    type = replace(a.type, layout=layout, readonly=False)
    copy = b.alloc(shape, type, name=getattr(a, "name", "array"))
    add_array(b, copy, a)
    return copy


def _refuse_overlap(b: Builder, stmt: Call, places: Places) -> None:
    """Raise ValueError if an array that is written is another argument too: copies are apart."""
    written = set(written_arrays(stmt))
    arrays = [a for a in dict.fromkeys(stmt.args) if isinstance(a.type, Array)]
    for p, q in combinations(arrays, 2):
        if (p in written or q in written) and places.alias.meet(p, q):
            (overlap,) = b.extern("overlap", p, q, types=[BOOL], name="overlap")
            names = " and ".join(getattr(a, "name", "array") for a in (p, q))
            message = f"arguments {names} of {stmt.callee.name} overlap, and one is written"
            b.raise_if(overlap, ValueError, Const(message, TEXT))


# ---- reverse: the reverse sweep ----------------------------------------------------------------


def reverse(rev: Reverse, stmt: Call, kept: tuple[Atom, ...], vjp: Transform) -> None:
    """Run the function again and backward, and contribute the cotangents it gives. note [Joint]"""
    seeds = [rev.adjoints.pop(r, None) for r in _floats(stmt.results)]
    if not any(seeds) and not any(a in rev.active for a in written_arrays(stmt)):
        return
    b, written = rev.b, set(written_arrays(stmt))
    found = dict(zip(stmt.args, rev.need(*kept)))
    if rev.given.repeated:  # the next reverse sweep needs them as they are
        found = {a: _copy(b, c) if a in written else c for a, c in found.items()}
    args = {a: _typed(b, c, a.type) for a, c in found.items()}
    cts = [ct or zero_of(r.type) for r, ct in zip(_floats(stmt.results), seeds)]
    again = Call(
        tuple(Var(r.name, r.type) for r in stmt.results),
        _silent(stmt.callee),
        tuple(args[a] for a in stmt.args),
        stmt.loc,
    )
    wrt = which(stmt, rev.active)
    shadows = {i: rev.shadow(a) for i, a in arrays_of(stmt, wrt).items()}
    found = pull_back(b, again, wrt, shadows, cts, vjp)
    for i, d in found.items():
        rev.contribute(stmt.args[i], d)


def _typed(b: Builder, a: Atom, type: Type) -> Atom:
    """A copy of an array as a reference of the type that the array had."""
    if isinstance(type, Array) and a.type != type:
        return b.view(a, Index((full_slice(),) * type.ndim), type, getattr(a, "name", "v"))
    return a


def pull_back(
    b: Builder,
    stmt: Call,
    wrt: tuple[int, ...],
    shadows: Mapping[int, Atom],
    cts: list[Atom],
    vjp: Transform,
) -> dict[int, Var]:
    """Write the call, which is reversed at once: the cotangents of the scalars in `wrt`.

    `shadows`: of the arrays in `wrt`, by their place as all here.
    """
    callee, given = _pullback(stmt.callee, wrt, vjp)
    places = {True: [], False: []}
    for i in given:
        places[isinstance(stmt.args[i].type, Array)].append(i)
    arrays = [shadows[i] if i in shadows else zeros_like(b, stmt.args[i]) for i in places[True]]
    ds = {
        i: Var(f"d_{getattr(stmt.args[i], 'name', 't')}", stmt.args[i].type) for i in places[False]
    }
    b.append(Call((*stmt.results, *ds.values()), callee, (*stmt.args, *arrays, *cts), stmt.loc))
    return {i: d for i, d in ds.items() if i in wrt}


def _pullback(
    callee: Callee, wrt: tuple[int, ...], vjp: Transform
) -> tuple[Callee, tuple[int, ...]]:
    """The function that runs the callee and pulls cotangents back to `wrt`, and maybe others."""

    def make() -> Function:
        fn = callee.function
        both = vjp(fn, [fn.params[i] for i in wrt])
        apart = frozenset(both.params[len(fn.params) :])  # shadows are new arrays
        made = replace(both, name=f"pullback_{fn.name}", apart=(*fn.apart, apart))
        return trim(made, callee.made[kind])

    wrt = _closed(callee, wrt)
    kind = f"pullback {wrt}"
    if kind not in callee.made:
        params, results = callee.function.params, callee.function.results
        shadows = [True for i in wrt if isinstance(params[i].type, Array)]
        written = (*written_by(callee), *shadows, *(False for _ in _floats(results)))
        facts = {"written": written, "effects": has_effects(callee)}
        callee.made[kind] = Callee(f"pullback_{callee.name}", make, facts)
    return callee.made[kind], wrt


def _closed(callee: Callee, wrt: tuple[int, ...]) -> tuple[int, ...]:
    """The arguments in `wrt`, and those that depend on them where the callee calls itself.

    So a pullback calls itself and others for less, and none is called by one that it calls.
    """
    fn, before = callee.function, ()
    while wrt != before:
        active = Activity(
            fn, [fn.params[i] for i in wrt], [a for a in fn.results if a.type.is_float]
        )
        again = [s for s in walk(fn.block) if isinstance(s, Call) and s.callee is callee]
        before, wrt = wrt, tuple(sorted({*wrt, *(i for s in again for i in which(s, active))}))
    return wrt


def _silent(callee: Callee) -> Callee:
    """The callee to be run again: without what it prints and raises. note [Joint]"""
    if "silent" not in callee.made:
        functions = [callee.function, *(c.function for c in callees(callee.function))]
        stmts = [s for fn in functions for s in walk(fn.block)]
        for stmt in stmts:
            _refuse_draws(callee, stmt)
        noisy = any(isinstance(s, Print | Raise) for s in stmts)
        quiet = callee_everywhere(callee, without_effects, {}) if noisy else callee
        callee.made["silent"] = quiet
    return callee.made["silent"]


def _refuse_draws(callee: Callee, stmt: Stmt) -> None:
    if isinstance(stmt, Extern) and not ROUTINES[stmt.routine].pure:
        raise UnsupportedError(
            f"reverse mode of `{callee.name}`, which calls itself and has an effect "
            f"(`{stmt.routine}`)",
            stmt.loc,
            "its reverse runs it again, with other draws",
            "draw the random numbers before, into an array, or use forward mode",
        )


def without_effects(fn: Function) -> Function:
    """The function, to be run again, without what it prints and raises."""

    def visit(block: Block) -> Block:
        stmts = (map_regions(s, visit) for s in block.stmts if not isinstance(s, Print | Raise))
        return replace(block, stmts=tuple(stmts))

    return replace(fn, block=visit(fn.block))
