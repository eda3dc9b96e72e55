"""Whose value an extremum of many threads is: the last one's that has it.

    atomic max a[i], v      →     atomic max a[i], v                          settled
                                  owner[i] = 0
                                  barrier
                                  if a[i] == v: atomic max owner[i], n        n: the thread, from 1
                                  barrier
                                  if owner[i] == n:
                                      if a[i] == v: again a[i] = v

This is done before a kernel is differentiated; the store changes nothing, and has the derivative of
any store.  The owner of an element is the last thread that has its value, and of its operations the
last one stores last, so one value has one source, in whatever order threads run and in both modes.
If nobody has the value, as when what was there before is larger, nobody stores: the element keeps
its derivative.

note [Again]  To know `v` again, the statement around the operation is run twice more, without what
it leaves to others.  That is right if it overwrites nothing that it looks at.  The statement is the
outermost that no barrier is in: those beside it have barriers, so all threads come there.
Nothing else may change the element: what is left must be one of the values.
note [Grid]  For all threads of a grid there is no barrier: what is between barriers here are three
launches then, of the kernel and of what it runs again, and `owner` is an argument of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from numbaflux.ir.build import Builder, array_of, index, zero_of
from numbaflux.ir.nodes import (
    F32,
    I64,
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Barrier,
    Block,
    Call,
    Extern,
    For,
    Function,
    Gemm,
    Load,
    Print,
    Scalar,
    Stmt,
    Store,
    Var,
    View,
    While,
)
from numbaflux.ir.ops import EXTREMA, SHARED, VOTES
from numbaflux.ir.walk import clone, defs, free, map_regions, regions, uses, walk, within
from numbaflux.passes.activity import Activity
from numbaflux.passes.alias import Aliases
from numbaflux.passes.dead import dead_code
from numbaflux.transforms.kernels.numbers import in_block, in_grid

SYNCS = {v for v in VOTES if v.startswith("sync")}
Written = Callable[[Builder, Atomic], None]


@dataclass(frozen=True, slots=True)
class Settled:
    """A kernel whose extrema are settled.

    `launches`: those that it takes, if it takes several, with one more argument for each of the
    `elements`, arrays among the parameters: integers of the same shape, zeroed.  note [Grid]
    `fn` is one launch then that depends on the same, and is not run.
    """

    fn: Function
    launches: tuple[Function, ...] = ()
    elements: tuple[Var, ...] = ()


def settled(fn: Function, wrt: Iterable[Var]) -> Settled | None:
    """The kernel with its extrema settled; None if they cannot be. note [Again]"""
    try:
        return _Settling(fn, wrt).run()
    except _Impossible:
        return None


def without_again(fn: Function) -> Function:
    """The kernel as it is run, without the stores that change nothing."""

    def visit(block: Block) -> Block:
        kept = (s for s in block.stmts if not (isinstance(s, Store) and s.again))
        return replace(block, stmts=tuple(map_regions(s, visit) for s in kept))

    if not any(isinstance(s, Store) and s.again for s in walk(fn.block)):
        return fn
    return replace(fn, block=visit(fn.block))


class _Impossible(Exception):
    """Something is overwritten that is looked at again."""


class _Settling:
    def __init__(self, fn: Function, wrt: Iterable[Var]) -> None:
        self.fn, self.active = fn, Activity(fn, wrt, ())
        self.alias = Aliases(fn)
        self.definition = {v: s for s in walk(fn.block) for v in defs(s)}
        self.read = {a for s in walk(fn.block) for a in uses(s)}
        self.read |= {a for s in walk(fn.block) for r in regions(s) for a in r.yields}
        found = [s for s in walk(fn.block) if self._chosen(s)]
        roots = {s: self._root(s.array) for s in found if isinstance(s, Atomic)}
        self.shared = {s for s, root in roots.items() if root not in fn.params}
        self.grid = set(roots) - self.shared
        self.owners = {root: _owner(root, root in fn.params) for root in roots.values()}
        self.params = tuple(p for p in fn.params if p in self.owners)

    def run(self) -> Settled:
        """What the threads of a block share first, then what those of a grid share."""
        fn = replace(self.fn, block=self._inside(self.fn.block)) if self.shared else self.fn
        if not self.grid:
            return Settled(fn)
        self.alias = Aliases(fn)
        whole = self._with(fn.block, self.grid, _at_once)
        kernel = replace(fn, block=self._with(fn.block, self.grid, _value))
        owners = tuple(self.owners[p] for p in self.params)
        again = self._again(fn.block.stmts, self.grid)
        launches = [kernel]
        for name, write in (("owner", self._mark), ("winner", self._stand)):
            block = self._with(Block(fn.params, again), self.grid, write)
            made, _ = clone(block, {p: p for p in fn.params})
            block = replace(made, params=fn.params)
            launches.append(replace(fn, name=f"{name}_{fn.name}", block=block))
        made = tuple(_with_params(f, owners) for f in launches)
        return Settled(replace(fn, block=whole), made, self.params)

    def _chosen(self, stmt: Stmt) -> bool:
        if not isinstance(stmt, Atomic) or stmt.op not in EXTREMA or stmt.settled:
            return False
        return stmt.array in self.active and stmt.result not in self.read

    def _root(self, array: Atom) -> Var:
        """The array that a view is of."""
        made = self.definition.get(array) if isinstance(array, Var) else None
        match made:
            case View(base=base):
                return self._root(base)
            case Alloc(result=r, space=space) if space in SHARED:
                return r
            case None if isinstance(array, Var) and array in self.fn.params:
                return array
            case _:
                raise _Impossible

    # ---- all threads of a block ----------------------------------------------------------------

    def _inside(self, block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            mine = self.shared.intersection(within(stmt))
            if not mine:
                b.append(stmt)
            elif any(map(_waits, within(stmt))):
                b.append(map_regions(stmt, self._inside))
            else:
                self._settle(b, stmt, mine)
            if isinstance(stmt, Alloc) and stmt.result in self.owners:
                owner = self.owners[stmt.result]
                b.append(replace(stmt, result=owner, zero=False))
        return replace(block, stmts=tuple(b.stmts))

    def _settle(self, b: Builder, stmt: Stmt, mine: set[Atomic]) -> None:
        again = self._again((stmt,), mine)
        b.stmts += self._with(Block((), (stmt,)), mine, self._begin).stmts
        for write in (self._mark, self._stand):
            b.append(Barrier("block", stmt.loc))
            made, _ = clone(self._with(Block((), again), mine, write))
            b.stmts += made.stmts
        b.append(Barrier("block", stmt.loc))

    # ---- what is run again. note [Again] -------------------------------------------------------

    def _again(self, stmts: tuple[Stmt, ...], mine: set[Atomic]) -> tuple[Stmt, ...]:
        """What leads to the operations, which are still in it."""
        before = Block((), stmts)
        own = {s.result for s in walk(before) if isinstance(s, Alloc)}

        def left(stmt: Stmt) -> bool:
            """Whether a statement only does something for others."""
            written = self.alias.written(stmt)
            if isinstance(stmt, Print):
                return True
            if stmt in mine or not written or written <= own:
                return False
            if isinstance(stmt, Extern | Call):
                raise _Impossible
            return isinstance(stmt, Store | Accumulate | Atomic | Gemm)

        def visit(block: Block) -> Block:
            kept = (map_regions(s, visit) for s in block.stmts if not left(s))
            return replace(block, stmts=tuple(kept))

        inside = visit(before)
        params = tuple(free(inside))
        found = dead_code(replace(self.fn, block=replace(inside, params=params), apart=()))
        if any(v in free(found.block) for s in walk(before) for v in defs(s)):
            raise _Impossible  # the result of an operation that is left out
        self._check(before, found.block, own, mine)
        return found.block.stmts

    def _check(self, before: Block, again: Block, own: set[Var], mine: set[Atomic]) -> None:
        """What is loaded again must be what it was, and what is left one of the values."""
        order = {s: n for n, s in enumerate(walk(before))}
        loops = {
            s: [loop for loop in order if isinstance(loop, For | While) and s in within(loop)]
            for s in order
        }
        loads = {s.result for s in walk(again) if isinstance(s, Load)}
        for load in (s for s in order if isinstance(s, Load) and s.result in loads):
            sites = self.alias.of(load.array)
            for s in order:
                if self.alias.written(s).isdisjoint(sites - own):
                    continue
                if order[s] > order[load] or not set(loops[s]).isdisjoint(loops[load]):
                    raise _Impossible
        for op in mine:
            for s in order.keys() - mine:
                if self.alias.written(s).isdisjoint(self.alias.of(op.array)):
                    continue
                together = isinstance(s, Atomic) or (isinstance(s, Accumulate) and s.atomic)
                if together or order[s] > order[op] or not set(loops[s]).isdisjoint(loops[op]):
                    raise _Impossible

    def _with(self, block: Block, mine: set[Atomic], write: Written) -> Block:
        """The block with something else for the operations."""

        def visit(block: Block) -> Block:
            b = Builder()
            for stmt in block.stmts:
                b.loc = stmt.loc
                if isinstance(stmt, Atomic) and stmt in mine:
                    write(b, stmt)
                else:
                    b.append(map_regions(stmt, visit))
            return replace(block, stmts=tuple(b.stmts))

        return visit(block)

    # ---- what is written for them --------------------------------------------------------------

    def _begin(self, b: Builder, stmt: Atomic) -> None:
        """The operation, settled, and nobody owns the element.

        Those who come say so: threads of the block may have ended before.
        """
        owner = self._owners(b, stmt.array)
        nobody = zero_of(array_of(owner).element)
        b.append(replace(stmt, settled=True))
        before = Var("before", nobody.type)
        b.append(Atomic(before, "exch", owner, stmt.index, (nobody,), stmt.loc))

    def _mark(self, b: Builder, stmt: Atomic) -> None:
        """if a[i] == v: atomic max owner[i], n"""
        owner = self._owners(b, stmt.array)
        number = self._number(b, stmt)

        def mark() -> None:
            before = Var("before", number.type)
            b.append(Atomic(before, "max", owner, stmt.index, (number,), stmt.loc))

        left = b.load(stmt.array, stmt.index, "left")
        _when(b, b.prim("eq", left, stmt.args[0]), mark)

    def _stand(self, b: Builder, stmt: Atomic) -> None:
        """if owner[i] == n: if a[i] == v: again a[i] = v"""
        owner = self._owners(b, stmt.array)
        number = self._number(b, stmt)
        mine = b.prim("eq", b.load(owner, stmt.index, "owner"), number)
        _when(b, mine, lambda: _give(b, stmt))

    def _owners(self, b: Builder, array: Atom) -> Atom:
        """The owners of an array's elements."""
        made = self.definition.get(array) if isinstance(array, Var) else None
        if not isinstance(made, View):
            return self.owners[self._root(array)]
        base = self._owners(b, made.base)
        type = replace(array_of(array), element=array_of(base).element)
        return b.view(base, made.how, type, "owners")

    def _number(self, b: Builder, stmt: Atomic) -> Atom:
        """The number of the thread, from 1: among those that share the array."""
        thread = in_grid(b) if stmt in self.grid else in_block(b)[0]
        element = array_of(self.owners[self._root(stmt.array)]).element
        return b.cast(b.add(thread, index(1)), element, "number")


def _owner(root: Var, in_grid: bool) -> Var:
    """As many bytes as the elements of shared memory: dynamic memory has its length from them."""
    t = array_of(root)
    narrow = t.element == F32 and not in_grid
    return Var(f"{root.name}_owner", Array(Scalar("int32") if narrow else I64, t.ndim))


def _give(b: Builder, stmt: Atomic) -> None:
    """if a[i] == v: again a[i] = v"""
    (v,) = stmt.args
    left = b.load(stmt.array, stmt.index, "left")

    def store() -> None:
        b.append(Store(stmt.array, stmt.index, v, stmt.loc, again=True))

    _when(b, b.prim("eq", left, v), store)


def _value(b: Builder, stmt: Atomic) -> None:
    b.append(replace(stmt, settled=True))


def _at_once(b: Builder, stmt: Atomic) -> None:
    _value(b, stmt)
    b.append(Store(stmt.array, stmt.index, stmt.args[0], stmt.loc, again=True))


def _when(b: Builder, cond: Atom, write: Callable[[], None]) -> None:
    with b.arm() as then:
        write()
    with b.arm() as orelse:
        pass
    b.if_(cond, then.block, orelse.block)


def _with_params(fn: Function, arrays: tuple[Var, ...]) -> Function:
    """The kernel with further arguments, which share no memory."""
    block = replace(fn.block, params=(*fn.params, *arrays))
    return replace(fn, block=block, apart=(*fn.apart, *(frozenset((a,)) for a in arrays)))


def _waits(stmt: Stmt) -> bool:
    """Whether it is one that the threads of a block wait for each other at."""
    if isinstance(stmt, Extern):
        return stmt.routine in SYNCS
    return isinstance(stmt, Barrier) and stmt.scope == "block"
