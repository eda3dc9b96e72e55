"""A kernel with its accesses watched: each is told to watch.py before it is made.

Only an array that some thread writes is watched for races; of all others, whether the index is
inside.  A slice is never outside, an integer in it may be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from numbaflux.ir.build import Builder, array_of, index
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Block,
    Function,
    Index,
    Load,
    Loc,
    Reshape,
    Slice,
    Stmt,
    Store,
    Var,
    View,
)
from numbaflux.ir.walk import map_regions, walk
from numbaflux.passes.alias import Aliases, Site

MOST_ACCESSES = 1 << 16


@dataclass(frozen=True, slots=True)
class Access:
    """Where a program touches an array, and how: reads, writes, atomically changes."""

    array: str
    how: str
    loc: Loc


@dataclass(frozen=True, slots=True)
class Watched:
    """A watched kernel, its accesses by their number, and the arrays that are watched for races."""

    fn: Function
    accesses: tuple[Access, ...]
    arrays: frozenset[Var]


def watched(fn: Function) -> Watched:
    """The kernel that tells what it touches."""
    watcher = _Watcher(fn)
    block = watcher.block(fn.block)
    arrays = frozenset(s for s in watcher.written if isinstance(s, Var))
    return Watched(replace(fn, block=block), tuple(watcher.accesses), arrays)


class _Watcher:
    def __init__(self, fn: Function) -> None:
        self.alias = Aliases(fn)
        own = {
            s.result for s in walk(fn.block) if isinstance(s, Alloc) and s.space in ("", "local")
        }
        self.written: frozenset[Site] = self.alias.written_in(fn.block) - own
        self.bases: dict[Atom, Atom] = {}
        self.accesses: dict[Access, int] = {}

    def block(self, block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            self._before(b, stmt)
            b.append(map_regions(stmt, self.block))
        return replace(block, stmts=tuple(b.stmts))

    def _before(self, b: Builder, stmt: Stmt) -> None:
        match stmt:
            case Load(array=array, index=where):
                self._tell(b, "read", array, where, "reads")
            case Store(array=array, index=where):
                self._tell(b, "write", array, where, "writes")
            case Accumulate(array=array, index=where, atomic=False):
                self._tell(b, "write", array, where, "reads and writes")
            case Accumulate(array=array, index=where) | Atomic(array=array, index=where):
                self._tell(b, "atomic", array, where, "atomically changes")
            case View(result=result, base=base, how=how):
                self.bases[result] = base
                if isinstance(how, Index):
                    self._tell_view(b, base, how)
            case _:
                pass

    def _tell(self, b: Builder, kind: str, array: Atom, where: tuple[Atom, ...], how: str) -> None:
        if isinstance(array_of(array).element, Array):
            return
        if self.alias.of(array).isdisjoint(self.written):
            kind = "inside"
        number = self._number(Access(self._name(array), how, b.loc))
        if not where:  # it has an element for all that
            flat = replace(array_of(array), ndim=1, layout="C")
            array, where = b.view(array, Reshape((index(1),)), flat, "flat"), (index(0),)
        b.extern(f"watch_{kind}_{len(where)}", array, *where, number, types=[])

    def _tell_view(self, b: Builder, base: Atom, how: Index) -> None:
        """Each integer in a view has to be inside its axis."""
        number = self._number(Access(self._name(base), "takes a part of", b.loc))
        for axis, item in enumerate(item for item in how.items if item is not None):
            if not isinstance(item, Slice):
                b.extern("watch_axis_2", base, index(axis), item, number, types=[])

    def _number(self, access: Access) -> Atom:
        known = self.accesses.setdefault(access, min(len(self.accesses), MOST_ACCESSES - 1))
        return index(known)

    def _name(self, array: Atom) -> str:
        while array in self.bases:
            array = self.bases[array]
        return getattr(array, "name", "an array")
