"""Which additions to shadows need not be atomic: the owner rule.

A reverse sweep adds to the shadow of what the primal has loaded.  If the primal has no race, the
only accesses of two threads to one element that were not there before are additions from loads of
one element by both, between the same barriers (or anywhere in the grid, for what blocks share).
So an addition is its thread's own if all additions to its array in its phase have one and the same
map from threads to elements, and that is injective:

    x[grid_x + c, ...]      one thread of the grid for each element, if the launch is flat
    x[grid_x + k*grid_size] the same, in a grid-stride loop
    s[thread_x + c, ...]    one thread of the block, for a shared array

The launch must have a single thread along every other axis, which whoever launches has to check.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Atom,
    Barrier,
    Block,
    Const,
    Dim,
    For,
    Function,
    Loc,
    Prim,
    Stmt,
    Var,
    While,
)
from numbaflux.ir.ops import THREADS
from numbaflux.ir.walk import map_regions
from numbaflux.passes.dependence import ONE, Access, Dependence, Form
from numbaflux.passes.uniform import OF_LAUNCH, Phases, Uniform

AXES = "xyz"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one addition to a shadow is done: `plain`, because of `why`, or atomically."""

    array: str
    loc: Loc
    plain: bool
    why: str


@dataclass(frozen=True, slots=True)
class Owned:
    """A kernel with as few atomic additions as are proven needless.

    `alone`: numbers of threads along which the launch must have extent 1 for the proofs to hold.
    """

    fn: Function
    alone: frozenset[str]
    verdicts: tuple[Verdict, ...]


def own(fn: Function, additions: Iterable[Accumulate]) -> Owned:
    """The kernel with those of its additions to shadows made plain that only one thread makes."""
    return _Owner(fn).run(tuple(additions))


class _Owner:
    def __init__(self, fn: Function) -> None:
        self.fn = fn
        self.dependence = Dependence(fn)
        self.places = self.dependence.places
        self.alias = self.dependence.alias
        self.uniform, self.phases = Uniform(fn), Phases(fn)
        self.alone: set[str] = set()
        self.verdicts: list[Verdict] = []

    def run(self, additions: tuple[Accumulate, ...]) -> Owned:
        plain = {stmt for stmt in additions if self._owned(stmt, additions)}

        def visit(block: Block) -> Block:
            return replace(block, stmts=tuple(one(map_regions(s, visit)) for s in block.stmts))

        def one(stmt: Stmt) -> Stmt:
            return replace(stmt, atomic=False) if stmt in plain else stmt  # type: ignore[call-arg]

        fn = replace(self.fn, block=visit(self.fn.block))
        return Owned(fn, frozenset(self.alone), tuple(self.verdicts))

    def _is_shared(self, stmt: Accumulate) -> bool:
        sites = self.alias.of(stmt.array)
        made = [self.places.definition.get(s) for s in sites if isinstance(s, Var)]
        return bool(made) and all(isinstance(m, Alloc) and m.space == "shared" for m in made)

    def _owned(self, stmt: Accumulate, additions: tuple[Accumulate, ...]) -> bool:
        """Whether no two threads add to one element by this and the additions it may meet."""
        shared = self._is_shared(stmt)
        group = [a for a in additions if self._meet(a, stmt, shared)]
        maps = [self._map(a, shared) for a in group]
        mine = self._map(stmt, shared)
        same = mine is not None and all(m == mine for m in maps)
        if shared and len(group) > 1 and any(self._moves(a) for a in group):
            same = False  # the end of one trip and the beginning of the next may be one phase
        if same and mine is not None:
            used = {axis for axis, _ in mine.values()}
            kind = "thread" if shared else "grid"
            self.alone.update(f"{kind}_{axis}" for axis in AXES if axis not in used)
            why = "each thread adds to elements of its own"
        elif mine is None:
            why = "several threads may add to one element"
        else:
            why = "threads add to their neighbours' elements"
        name = getattr(stmt.array, "name", "array")
        self.verdicts.append(Verdict(name, stmt.loc, same, why))
        return same

    def _meet(self, a: Accumulate, b: Accumulate, shared: bool) -> bool:
        same = self.alias.meet(a.array, b.array)
        return same and (not shared or self.phases.together(a, b))

    def _moves(self, stmt: Accumulate) -> bool:
        """Whether an index changes from trip to trip of a loop."""
        return any(
            isinstance(a, Var) and self.places.loops(self.places.home[a]) for a in stmt.index
        )

    def _map(self, stmt: Accumulate, shared: bool) -> dict[int, tuple[str, tuple]] | None:
        """Axis of the array -> the axis of threads it goes along, and what is added to it."""
        _, at = self.dependence.element(Access(stmt.array, stmt.index, True, True))
        found: dict[int, tuple[str, tuple]] = {}
        for place, form in enumerate(at or ()):
            axis = self._axis(form, shared)
            if axis is not None and axis[0] not in {a for a, _ in found.values()}:
                found[place] = axis
        return found or None

    def _axis(self, form: Form, shared: bool) -> tuple[str, tuple] | None:
        """(x, rest) for c*grid_x + rest, multiples of the grid's size left out."""
        axis, rest = None, []
        for a, c in form.items():
            op = self._thread_op(a)
            kinds = ("thread", "grid") if shared else ("grid",)
            if op is not None and op[:-2] in kinds:
                if axis is not None:
                    return None
                axis = op[-1]
                rest.append((op, c))
            elif self._strides(a) is not None and not shared:
                continue  # k * grid_size, checked below
            elif a == ONE or self._fixed(a, shared):
                rest.append((a if a == ONE else id(a), c))
            else:
                return None
        strides = {self._strides(a) for a in form if self._strides(a) is not None}
        if (
            axis is None
            or strides - {axis}
            or (strides and any(c not in (1, -1) for c in form.values()))
        ):
            return None
        return axis, tuple(sorted(rest, key=str))

    def _thread_op(self, a: Atom) -> str | None:
        match self.places.definition.get(a) if isinstance(a, Var) else None:
            case Prim(op=op) if op in THREADS:
                return op
            case _:
                return None

    def _strides(self, a: Atom) -> str | None:
        """The axis of whose grid size an integer is a multiple."""
        match self.places.definition.get(a) if isinstance(a, Var) else None:
            case Prim(op="mul", args=args):
                for b in args:
                    op = self._thread_op(b)
                    if op is not None and op.startswith("grid_size"):
                        return op[-1]
            case Prim(op=op) if op.startswith("grid_size"):
                return op[-1]
            case _:
                pass
        return None

    def _fixed(self, a: Atom, shared: bool) -> bool:
        """Whether an integer is the same for all threads, all through what is compared."""
        if isinstance(a, Const):
            return True
        if not isinstance(a, Var) or a not in self.uniform:
            return False
        if shared:
            return all(_waits(loop) for loop in self.places.loops(self.places.home[a]))
        match self.places.definition.get(a):
            case None:
                return self.places.home[a] is self.places.root
            case Dim(array=array):
                return self.places.definition.get(array) is None  # type: ignore[arg-type]
            case Prim(op=op, args=args):
                return (op not in THREADS or op in OF_LAUNCH) and all(
                    self._fixed(x, shared) for x in args
                )
            case _:
                return False


def _waits(loop: For | While) -> bool:
    """Whether every trip of a loop passes a barrier."""
    return any(isinstance(s, Barrier) for s in loop.body.stmts)
