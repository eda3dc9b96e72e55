"""A marked loop as a function that runs so many of its trips, and what its state consists of.

See note [State] in checkpoint.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import Builder
from numbaflux.ir.nodes import (
    I64,
    Array,
    Atom,
    Block,
    Extern,
    For,
    Function,
    Loc,
    Print,
    Raise,
    Scalar,
    Var,
    View,
)
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.walk import callees, clone, everywhere, free, walk
from numbaflux.passes.alias import Aliases
from numbaflux.passes.counters import key_of
from numbaflux.passes.places import Places
from numbaflux.transforms.calls import without_effects


@dataclass(frozen=True, slots=True)
class State:
    """What a loop reads and changes, by kind. note [State]

    Carried values by their place: `numbers`, `moved` (permuted references; `becomes` says which
    place each takes its next value from), `replaced` references.  Values of the blocks around:
    arrays `written` and `read`, `constants`.
    """

    numbers: tuple[int, ...]
    moved: tuple[int, ...]
    replaced: tuple[int, ...]
    becomes: Mapping[int, int]
    written: tuple[Var, ...]
    read: tuple[Var, ...]
    constants: tuple[Var, ...]

    @property
    def free(self) -> tuple[Var, ...]:
        return (*self.written, *self.read, *self.constants)


def analysed(loop: For, places: Places) -> tuple[Function, State]:
    """The loop as a function, and its state; refused if its arrays are not of a known kind."""
    outside = list(free(loop.body))
    arrays = [v for v in outside if isinstance(v.type, Array)]
    constants = [v for v in outside if not isinstance(v.type, Array)]
    _refuse_kinds(loop, [*arrays, *loop.inits])
    roots = {v: _root(v, places) for v in arrays}
    first = function_of(loop, arrays, (), constants, ())
    found = Aliases(first).written_in(first.block)
    params = dict(zip(arrays, first.params[2 + len(loop.inits) :]))
    written = dict.fromkeys(roots[v] for v in arrays if params[v] in found)
    sunk = [v for v in arrays if roots[v] in written and roots[v] is not v]
    views = _views(sunk, places)
    inside = {v.result for v in views}
    indices = [a for v in views for a in free(Block((), (v,))) if not isinstance(a.type, Array)]
    constants = list(dict.fromkeys([*constants, *indices]))
    read = [v for v in arrays if v not in inside and roots[v] not in written]
    run = function_of(loop, tuple(written), read, constants, views)
    cycles = {i: places.permuted(p) for i, p in enumerate(loop.body.params[1:])}
    becomes = {i: j for cycle in cycles.values() for i, j in cycle or ()}
    references = [i for i, p in enumerate(loop.inits) if isinstance(p.type, Array)]
    replaced = tuple(i for i in references if i not in becomes)
    _refuse_mixed(loop, run, replaced)
    state = State(
        tuple(i for i in range(len(loop.inits)) if i not in references),
        tuple(becomes),
        replaced,
        becomes,
        tuple(written),
        tuple(read),
        tuple(constants),
    )
    return run, state


def _root(v: Var, places: Places) -> Var:
    """The array that a view made before the loop is a view of."""
    stmt = places.definition.get(v)
    if isinstance(stmt, View) and isinstance(stmt.base, Var):
        return _root(stmt.base, places)
    return v


def _views(arrays: Iterable[Var], places: Places) -> tuple[View, ...]:
    """The views to be made again from private copies, each after the one it is a view of."""
    found: dict[View, None] = {}

    def visit(v: Var) -> None:
        stmt = places.definition.get(v)
        if isinstance(stmt, View) and isinstance(stmt.base, Var):
            visit(stmt.base)
            found.setdefault(stmt)

    for v in arrays:
        visit(v)
    return tuple(found)


def function_of(
    loop: For,
    written: Sequence[Var],
    read: Sequence[Var],
    constants: Sequence[Var],
    views: Sequence[View],
) -> Function:
    """(start, count, *carried, *written, *read, *constants) -> carried. `views`: made inside."""
    start, count = Var("start", I64), Var("count", I64)
    carried = tuple(Var(p.name, p.type) for p in loop.body.params[1:])
    outside = (*written, *read, *constants)
    given = tuple(Var(v.name, v.type) for v in outside)
    made, known = clone(Block((), tuple(views)), dict(zip(outside, given)))
    b = Builder(loop.loc)
    b.stmts += made.stmts
    with b.for_(count, carried) as trips:
        k = b.add(start, trips.k, name=key_of(loop).name)
        params = dict(zip(loop.body.params, (k, *trips.carried)))
        body, _ = clone(loop.body, {**known, **params})
        b.stmts += body.stmts
        trips.yields = body.yields
    params = (start, count, *carried, *given)
    private = (p for p in (*carried, *given[: len(written)]) if isinstance(p.type, Array))
    others = frozenset(given[len(written) : len(written) + len(read)])
    apart = (*(frozenset({p}) for p in private), others)
    fn = Function("steps", b.block(params, trips.results), loop.loc, apart=apart)
    return _silent(fn)


def _silent(fn: Function) -> Function:
    """The function to be run again: it has printed and raised already what it prints and raises."""
    stmts = [s for f in (fn, *(c.function for c in callees(fn))) for s in walk(f.block)]
    for stmt in stmts:
        if isinstance(stmt, Extern) and not ROUTINES[stmt.routine].pure:
            raise UnsupportedError(
                f"a checkpointed loop with an effect (`{stmt.routine}`)",
                stmt.loc,
                "its reverse runs it again, with other draws",
                "draw the random numbers before, into an array, or do not mark the loop",
            )
    noisy = any(isinstance(s, Print | Raise) for s in stmts)
    return everywhere(fn, without_effects) if noisy else fn


def _refuse_kinds(loop: For, atoms: Iterable[Atom]) -> None:
    for a in atoms:
        held = isinstance(a.type, Array) and isinstance(a.type.element, Array)
        grows = isinstance(a.type, Array) and a.type.grows
        if held or grows or not isinstance(a.type, Array | Scalar):
            raise _refusal(
                loop.loc,
                f"a checkpointed loop over the {'list' if held or grows else 'value'} "
                f"`{getattr(a, 'name', 't')}`",
                "a snapshot is made of numbers and arrays",
                "use an array, or do not mark the loop",
            )


def _refuse_mixed(loop: For, run: Function, replaced: Iterable[int]) -> None:
    """References that are replaced, and whose contents are written as well."""
    alias = Aliases(run)
    written = alias.written_in(run.block).intersection(run.params)
    (trips,) = (s for s in run.block.stmts if isinstance(s, For))
    for i in replaced:
        p = trips.body.params[1 + i]
        if not written.isdisjoint(alias.of(p)):
            raise _refusal(
                loop.loc,
                f"a checkpointed loop that both replaces and overwrites `{p.name}`",
                "which memory a snapshot belongs to would only be known when the program runs",
                f"write into `{p.name}[:]`, or make a new array in every trip",
            )


def _refusal(loc: Loc, what: str, why: str, instead: str) -> UnsupportedError:
    return UnsupportedError(what, loc, why, instead)
