"""A builder that remembers arrays: which share memory, and how long their axes are.

note [Lengths]  An array keeps its shape, so a length is asked for once in a region, a new array's
are those it was made with, and `x[1:]` and `x[:-1]` have one length: an expression over them
needs no check.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import (
    Alloc,
    Atom,
    Const,
    Global,
    Index,
    Loc,
    Reshape,
    Slice,
    Stmt,
    Transpose,
    Var,
    View,
)


class Writer(Builder):
    """The builder that a user's function is lowered with."""

    def __init__(self, loc: Loc) -> None:
        super().__init__(loc)
        self.made: dict[Atom, Alloc | View] = {}
        self.arguments: set[Atom] = set()
        self.known: list[dict[Any, Atom]] = [{}]  # lengths, a dict for each region around

    def append(self, stmt: Stmt) -> None:
        if isinstance(stmt, Alloc | View):
            self.made[stmt.result] = stmt
        super().append(stmt)

    @contextmanager
    def _inside(self) -> Iterator[list[Stmt]]:
        self.known.append({})
        try:
            with super()._inside() as stmts:
                yield stmts
        finally:
            self.known.pop()

    # ---- lengths -------------------------------------------------------------------------------

    def dim(self, array: Atom, axis: int, name: str = "n") -> Atom:
        """array.shape[axis]. note [Lengths]"""
        match self.made.get(array):
            case Alloc(shape=shape):
                return shape[axis]
            case View(how=Reshape(shape)):
                return shape[axis]
            case View(base=base, how=Transpose(axes)):
                return self.dim(base, axes[axis], name)
            case View(base=base, how=Index(items)):
                length = self._length(base, items, axis, name)
                if length is not None:
                    return length
            case _:
                pass
        return self._once((array, axis), lambda: super(Writer, self).dim(array, axis, name))

    def _length(self, base: Atom, items: tuple, axis: int, name: str) -> Atom | None:
        """The length of an axis that an index keeps, where it is plain."""
        kept = [k for k, item in enumerate(items) if item is None or isinstance(item, Slice)]
        below = sum(item is not None for item in items[: kept[axis]]) if axis < len(kept) else 0
        if axis >= len(kept):  # an axis that the index does not mention
            rest = axis - len(kept)
            return self.dim(base, sum(item is not None for item in items) + rest, name)
        item = items[kept[axis]]
        if item is None:
            return index(1)
        less = _dropped(item)
        if less is None:
            return None
        whole = self.dim(base, below, name)
        if less == 0:
            return whole
        return self._once(
            (whole, "less", less), lambda: self.prim("max", self.sub(whole, index(less)), index(0))
        )

    def _once(self, key: Any, write: Any) -> Atom:
        for known in reversed(self.known):
            if key in known:
                return known[key]
        self.known[-1][key] = found = write()
        return found

    # ---- memory --------------------------------------------------------------------------------

    def may_overlap(self, a: Atom, c: Atom) -> bool:
        """Whether two arrays may share memory: yes, unless both are known and one is new."""
        a, c = self._root(a), self._root(c)
        new = [isinstance(self.made.get(r), Alloc) for r in (a, c)]
        known = all(n or r in self.arguments or isinstance(r, Global) for n, r in zip(new, (a, c)))
        return a is c or not (known and any(new))

    def _root(self, a: Atom) -> Atom:
        stmt = self.made.get(a) if isinstance(a, Var) else None
        return self._root(stmt.base) if isinstance(stmt, View) else a


def _dropped(s: Slice) -> int | None:
    """How many items a slice leaves out at the two ends, if that does not depend on values."""
    start = 0 if s.start is None else int(s.start.value) if isinstance(s.start, Const) else -1
    stop = 0 if s.stop is None else int(s.stop.value) if isinstance(s.stop, Const) else 1
    if start < 0 or stop > 0 or (s.stop is not None and stop == 0):
        return None
    return start - stop if s.step is None or s.step == index(1) else None
