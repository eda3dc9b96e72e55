"""Stencils backward: a thread sums what its neighbours send instead of adding to their elements.

    if 0 < i < n - 1:                        total = 0.0
        w = d_y[i] * ..                      if 0 < i + 1 < n - 1: total += w(i + 1)
        d_y[i] = 0.0                  →      if 0 < i - 1 < n - 1: total += 2.0 * w(i - 1)
        atomic d_x[i - 1] += w               d_x[i] += total
        atomic d_x[i + 1] += 2.0 * w
                                      then:  if 0 < i < n - 1: d_y[i] = 0.0

All additions to an array go to the element of the thread's number in the grid, moved by constants.
What neighbours look at must not change meanwhile: so there are two launches, the sums and the rest.
Inside, where all neighbours send something, a thread asks once and not for each of them.

note [Blocks]  An element may lie behind that of the last thread, as far as the largest offset says:
the first launch has so many blocks more, and threads that the kernel was not launched with send
nothing.

note [Old values]  A kernel's sweep reads what was there before the launch, but for what the same
thread has written before: what is sent must not depend on that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from numbaflux.ir.build import Builder, array_of, index, zero_of
from numbaflux.ir.nodes import (
    BOOL,
    I64,
    Accumulate,
    Alloc,
    Atom,
    Atomic,
    Block,
    Const,
    Dim,
    For,
    Function,
    Gemm,
    If,
    Load,
    Loc,
    Prim,
    Stmt,
    Store,
    Var,
    View,
)
from numbaflux.ir.ops import EXPENSIVE, THREADS
from numbaflux.ir.walk import blocks, clone, map_regions, walk
from numbaflux.passes.dependence import accesses
from numbaflux.passes.forms import ONE, Form, atom_of, form, plus
from numbaflux.passes.kernels.carry import Carrier, Pending, silent, without
from numbaflux.passes.kernels.owner import Known, own
from numbaflux.passes.kernels.signs import Signs
from numbaflux.passes.kernels.trips import bounds
from numbaflux.passes.simplify import simplify

MOST = 600  # operations of a kernel that gathers: what atomic additions cost, a dozen of them
GATHERED = "gathered: a thread sums what its neighbours send, in a launch before the rest"
EFFORT = 10  # operations that an expensive one counts for

Offset = tuple[int, int, int]
# Of each axis of an array the axis of the grid that runs along it, and the rest of the index.
Place = tuple[tuple[str, Form], ...]


@dataclass(frozen=True, slots=True)
class Gathered:
    """`first` sums for `arrays`, launched with `more` blocks, then `rest` does all else."""

    first: Function
    rest: Function
    more: Offset
    arrays: frozenset[Var]


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a thread sends to the element `place` + `offset` of `array`: the yield number `at`."""

    array: Var
    place: Place
    offset: Offset
    at: int
    loc: Loc


def gather(fn: Function, shadows: frozenset[Var], launch: Known) -> Gathered | None:
    """Two launches for one whose atomic additions to `shadows` are those of stencils."""
    if any(isinstance(s, Alloc) and not s.space for s in walk(fn.block)):
        return None  # a tape is of the threads of the kernel
    owned = own(fn, shadows, launch).fn
    added = (s.array for s in walk(owned.block) if isinstance(s, Accumulate) and s.atomic)
    chosen = frozenset(v for v in added if isinstance(v, Var) and v in shadows and v in fn.params)
    arrays = sorted(chosen, key=fn.params.index)
    found = (_Gatherer(fn, launch, some).run() for some in (arrays, *([a] for a in arrays)) if some)
    return next((made for made in found if made is not None), None)


class _Gatherer(Carrier):
    def __init__(self, fn: Function, launch: Known, arrays: Iterable[Var]) -> None:
        super().__init__(fn)
        self.fn, self.launch, self.arrays = fn, launch, frozenset(arrays)
        self.signs = Signs(fn, bounds(launch.block)).run()
        self.order = {s: n for n, s in enumerate(walk(fn.block))}
        self.home = {s: block for block in blocks(fn.block) for s in block.stmts}
        self.gone = frozenset(
            s for s in walk(fn.block) if isinstance(s, Accumulate) and self._meets(s.array)
        )

    def run(self) -> Gathered | None:
        if not self._only_added_to() or (sending := self._sending()) is None:
            return None
        values, sent = sending
        x, y, z = (
            -(-max(0, *(s.offset[d] for s in sent)) // n) for d, n in enumerate(self.launch.block)
        )
        more = x, y, z
        first = simplify(_Sums(self, values, sent, more).function())
        owned = own(first, self.arrays, longer(self.launch, more)).fn
        atomic = any(isinstance(s, Accumulate) and s.atomic for s in walk(owned.block))
        if atomic or _work(first) > MOST:
            return None
        rest = simplify(replace(self.fn, block=without(self.fn.block, self.gone)))
        return Gathered(first, rest, more, self.arrays)

    def _meets(self, array: Atom) -> bool:
        return not self.alias.of(array).isdisjoint(self.arrays)

    def _only_added_to(self) -> bool:
        """Whether nobody sees what is in the arrays, and additions name the arrays themselves."""
        others = (a for a in accesses(self.fn.block) if self._meets(a.array))
        return all(a.sums for a in others) and all(s.array in self.arrays for s in self.gone)

    # ---- what is sent --------------------------------------------------------------------------

    def leaving(self, region: Block) -> list[Accumulate]:
        return [s for s in walk(region) if isinstance(s, Accumulate) and s in self.gone]

    def _sending(self) -> tuple[Function, list[_Sent]] | None:
        """What a thread of the kernel sends, as a function, and where to."""
        b, sums = self._block(self.fn.block, self.gone)
        sent: list[_Sent] = []
        for at, p in enumerate(sums.values()):
            where = self._where(p)
            if where is None or not isinstance(p.array, Var):
                return None
            sent.append(_Sent(p.array, *where, at, p.loc))
        block = silent(b.block(self.fn.params, [p.value for p in sums.values()]))
        values = simplify(replace(self.fn, block=block))
        return (values, sent) if all(map(self._again, walk(values.block))) else None

    def _where(self, p: Pending) -> tuple[Place, Offset] | None:
        """The element of the array without its offset from the thread's number, and that."""
        place, offset = [], {"x": 0, "y": 0, "z": 0}
        for f in map(self.dependence.form, p.index):
            axes = [(a, op[-1]) for a in f if (op := self._number(a)).startswith("grid_")]
            axis, rest = "", f
            if axes:
                ((a, axis), *others) = axes
                if others or f[a] != 1 or axis in (along for along, _ in place):
                    return None
                offset[axis] = f.get(ONE, 0)
                rest = plus(f, {a: -1, ONE: -offset[axis]})
            if not all(a == ONE or a in self.fn.params for a in rest):
                return None
            place.append((axis, rest))
        if not all((s, axis) in self.signs.found for s in p.of for axis in range(len(s.index))):
            return None  # it may count from the end
        return tuple(place), (offset["x"], offset["y"], offset["z"])

    def _number(self, a: Atom) -> str:
        made = self.places.definition.get(a) if isinstance(a, Var) else None
        op = made.op if isinstance(made, Prim) else ""
        return "" if op.startswith("grid_size") or op.startswith("grid_dim") else op

    def _again(self, stmt: Stmt) -> bool:
        """Whether a statement does the same for another thread, before the kernel runs."""
        match stmt:
            case Prim(op=op):
                return op not in THREADS or op.startswith(("grid_", "block_dim_"))
            case Load():
                return self._old(stmt)
            case View() | Dim() | If() | For():
                return True
            case _:
                return False

    def _old(self, load: Load) -> bool:
        """note [Old values]"""
        origin = self.places.definition[load.result]
        loops = set(self.places.loops(self.home[origin]))
        for s in walk(self.fn.block):
            if not isinstance(s, Store | Accumulate | Atomic | Gemm) or s in self.gone:
                continue
            if self.alias.written(s).isdisjoint(self.alias.of(load.array)):
                continue
            again = not loops.isdisjoint(self.places.loops(self.home[s]))
            earlier = self.order[s] < self.order[origin]
            if again or (earlier and not self._elsewhere(origin, s)):
                return False
        return True

    def _elsewhere(self, load: Stmt, write: Stmt) -> bool:
        """Whether a thread that does one thing does not do the other, or to another element."""
        arms = self._arms(load)
        if any(arms.get(stmt, arm) is not arm for stmt, arm in self._arms(write).items()):
            return True
        if not isinstance(load, Load) or not isinstance(write, Store | Accumulate):
            return False
        if load.array is not write.array:
            return False
        for axis, (i, j) in enumerate(zip(load.index, write.index, strict=True)):
            gap = plus(self.dependence.form(i), self.dependence.form(j), -1)
            if set(gap) == {ONE} and {(load, axis), (write, axis)} <= self.signs.found:
                return True
        return False

    def _arms(self, stmt: Stmt) -> dict[Stmt, Block]:
        """The branches that a statement is in, and in which arm of each."""
        found: dict[Stmt, Block] = {}
        block = self.home[stmt]
        while block is not self.fn.block:
            around, outer = self.places.around[block]
            if isinstance(around, If):
                found[around] = block
            block = outer
        return found


def longer(launch: Known, more: Sequence[int]) -> Known:
    """A launch with more blocks along some axes."""
    grown = frozenset(f"block_{axis}" for axis, n in zip("xyz", more) if n)
    return replace(launch, many=launch.many | grown)


def _work(fn: Function) -> int:
    costs = (isinstance(s, Prim) and s.op in EXPENSIVE for s in walk(fn.block))
    return sum(EFFORT if dear else 1 for dear in costs)


# ---- what it becomes ---------------------------------------------------------------------------


class _Sums:
    """The kernel that sums; `sent` is what the yields of `values` are sent as."""

    def __init__(
        self, of: _Gatherer, values: Function, sent: list[_Sent], more: Sequence[int]
    ) -> None:
        self.of, self.fn, self.values, self.sent = of, of.fn, values, sent
        self.numbers = {
            s.result: s.op for s in walk(values.block) if isinstance(s, Prim) and s.op in THREADS
        }
        self.defined = {s.result: s for s in walk(values.block) if isinstance(s, Prim | Dim)}
        used = {axis for s in sent for axis, _ in s.place if axis}
        used |= {op[-1] for op in self.numbers.values() if op[:-1] == "grid_"}
        self.axes = [axis for axis in "xyz" if axis in used]
        self.lengths: dict[tuple[Atom, int], Atom] = {}
        self.b = Builder(self.fn.loc)
        self.grid = {axis: self._number(f"grid_{axis}") for axis in self.axes}
        self.launched: dict[str, Atom] = {}  # numbers of the kernel's own launch. note [Blocks]
        for axis, blocks_more, n in zip("xyz", more, of.launch.block):
            for op, added in (("grid_size", blocks_more * n), ("grid_dim", blocks_more)):
                name = f"{op}_{axis}"
                if name in self.numbers.values() or (op == "grid_size" and axis in self.axes):
                    self.launched[name] = self.b.sub(self._number(name), index(added))
            name = f"block_dim_{axis}"
            if name in self.numbers.values():
                self.launched[name] = self._number(name)

    def _number(self, op: str) -> Atom:
        return self.b.prim(op, type=I64, name=op)

    def function(self) -> Function:
        b = self.b
        elements = {(s.array, _frozen(s.place)): s for s in self.sent}
        guards = dict(self._guards())
        zeros = [zero_of(array_of(s.array).element) for s in elements.values()]
        inside: Atom = Const(True, BOOL)
        for f in self._inside(guards):
            inside = b.prim("and", inside, self._holds(f))
        with b.arm() as fast:
            fast.yields = self._totals(elements, _decided(self.values.block, guards), True)
        with b.arm() as slow:
            slow.yields = self._totals(elements, self.values.block, False)
        totals = b.if_(inside, fast.block, slow.block, ["total"] * len(zeros))
        for s, total in zip(elements.values(), totals, strict=True):
            place = [plus(rest, {self.grid[axis]: 1} if axis else {}) for axis, rest in s.place]
            at = tuple(atom_of(b, f) for f in place)
            self.of.add(b, Pending(s.array, at, total, s.loc, frozenset()))
        name = f"gather_{self.fn.name}"
        return replace(self.fn, name=name, block=b.block(self.fn.params, ()))

    def _totals(self, elements: Mapping[tuple, _Sent], block: Block, inside: bool) -> list[Atom]:
        """For each element the sum of what it gets; `inside`: there are all who send."""
        b, totals = self.b, {}
        for offset in dict.fromkeys(s.offset for s in self.sent):
            those = [s for s in self.sent if s.offset == offset]
            with b.arm() as then:
                then.yields = self._sent(block, offset, those)
            with b.arm() as orelse:
                orelse.yields = [zero_of(a.type) for a in then.yields]
            exists: Atom = Const(True, BOOL)
            for f in () if inside else self._exists(offset):
                exists = b.prim("and", exists, self._holds(f))
            parts: Sequence[Atom] = then.yields
            if exists == Const(True, BOOL):
                b.stmts += then.block.stmts
            else:
                parts = b.if_(exists, then.block, orelse.block, ["sent"] * len(those))
            for s, part in zip(those, parts, strict=True):
                key = s.array, _frozen(s.place)
                totals[key] = b.add(totals[key], part, "total") if key in totals else part
        return [totals[key] for key in elements]

    def _sent(self, block: Block, offset: Offset, those: Sequence[_Sent]) -> list[Atom]:
        """What the thread that is so far before this one sends."""
        at = dict(zip("xyz", offset))
        shifted = {axis: self.b.sub(g, index(at[axis])) for axis, g in self.grid.items()}
        env: dict[Var, Atom] = {p: p for p in self.fn.params}
        for v, op in self.numbers.items():
            env[v] = shifted[op[-1]] if op[:-1] == "grid_" else self.launched[op]
        stmts = _without_numbers(Block((), block.stmts, block.yields), self.numbers)
        made, _ = clone(stmts, env)
        self.b.stmts += made.stmts
        return [made.yields[s.at] for s in those]

    # ---- who sends -----------------------------------------------------------------------------

    def _exists(self, offset: Offset) -> Iterator[Form]:
        """That there is such a thread: forms that are not negative. note [Blocks]"""
        for axis, c in zip("xyz", offset):
            if axis not in self.grid:
                continue
            g, n = self.grid[axis], self.launched[f"grid_size_{axis}"]
            longer = any(s.offset["xyz".index(axis)] > 0 for s in self.sent)
            if c > 0:
                yield plus({g: 1}, {ONE: -c})
            if c < 0 or longer:
                yield plus({n: 1, g: -1}, {ONE: c - 1})

    def _guards(self) -> Iterator[tuple[If, bool]]:
        """Conditions of threads' numbers, and which answer lets something be sent."""
        for stmt in walk(self.values.block):
            if isinstance(stmt, If):
                for arm, holds in ((stmt.orelse, True), (stmt.then, False)):
                    nothing = all(isinstance(a, Const) and not a.value for a in arm.yields)
                    if nothing and not arm.stmts and self._forms(stmt.cond, holds) is not None:
                        yield stmt, holds
                        break

    def _inside(self, guards: Mapping[If, bool]) -> list[Form]:
        """What holds where all neighbours are there and send: forms that are not negative."""
        lowest: dict[frozenset, Form] = {}
        sent = [f for stmt, holds in guards.items() for f in self._forms(stmt.cond, holds) or ()]
        for offset in dict.fromkeys(s.offset for s in self.sent):
            shift = {self.grid[a]: c for a, c in zip("xyz", offset) if a in self.grid}
            moved = [plus(f, {ONE: -sum(f.get(g, 0) * c for g, c in shift.items())}) for f in sent]
            for f in (*moved, *self._exists(offset)):
                key = frozenset((a, c) for a, c in f.items() if a != ONE)
                if key not in lowest or f.get(ONE, 0) < lowest[key].get(ONE, 0):
                    lowest[key] = f
        return list(lowest.values())

    def _forms(self, cond: Atom, holds: bool) -> list[Form] | None:
        """Sums of numbers, none negative exactly where a condition holds, or does not."""
        made = self.defined.get(cond) if isinstance(cond, Var) else None
        if not isinstance(made, Prim):
            return None
        if made.op == "not":
            return self._forms(made.args[0], not holds)
        if made.op == ("and" if holds else "or"):
            both = [self._forms(a, holds) for a in made.args]
            return None if None in both else [f for forms in both for f in forms or ()]
        if made.op not in ("lt", "le", "gt", "ge") or any(a.type != I64 for a in made.args):
            return None
        x, y = (self._form(a) for a in made.args)
        if x is None or y is None:
            return None
        less, strict = (made.op in ("lt", "le")) == holds, (made.op in ("lt", "gt")) == holds
        return [plus(plus(y, x, -1) if less else plus(x, y, -1), {ONE: -int(strict)})]

    def _form(self, a: Atom) -> Form | None:
        """An integer as a form of what is known from the beginning."""
        found: Form = {}
        for x, c in form(a, self.defined).items():
            made = self.defined.get(x) if isinstance(x, Var) else None
            match made:
                case Prim(op=op) if op in THREADS:
                    known = self.grid[op[-1]] if op[:-1] == "grid_" else self.launched[op]
                case Dim(array=array, axis=axis) if array in self.fn.params:
                    known = self.lengths.setdefault((array, axis), self.b.dim(array, axis))
                case None if not isinstance(x, Var) or x in self.fn.params:
                    known = x
                case _:
                    return None
            found = plus(found, {known: c})
        return found

    def _holds(self, f: Form) -> Atom:
        """Whether a form is not negative."""
        more = {a: c for a, c in f.items() if c > 0}
        less = {a: -c for a, c in f.items() if c < 0}
        return self.b.prim("ge", atom_of(self.b, more), atom_of(self.b, less))


def _frozen(place: Place) -> tuple:
    return tuple((axis, frozenset(form.items())) for axis, form in place)


def _decided(block: Block, guards: Mapping[If, bool]) -> Block:
    """The block with the arms taken that guards let through."""

    def one(stmt: Stmt) -> Stmt:
        cond = (
            {"cond": Const(guards[stmt], BOOL)} if isinstance(stmt, If) and stmt in guards else {}
        )
        return map_regions(replace(stmt, **cond), visit)

    def visit(block: Block) -> Block:
        return replace(block, stmts=tuple(map(one, block.stmts)))

    return visit(block)


def _without_numbers(block: Block, numbers: Mapping[Var, str]) -> Block:
    """The block without the definitions of threads' numbers."""
    kept = (s for s in block.stmts if not (isinstance(s, Prim) and s.result in numbers))
    stmts = (map_regions(s, lambda r: _without_numbers(r, numbers)) for s in kept)
    return replace(block, stmts=tuple(stmts))
