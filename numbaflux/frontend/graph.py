"""A function's control flow graph: blocks with phis apart, dominators, loops.

note [Stale]  Numba prunes branches once more after SSA and leaves phi incomings behind for edges
that are gone: only incomings from the present predecessors count.
note [Headers]  A `for` header may be an empty block that jumps to the one with `iternext`: the two
are made one.  Otherwise a block with `iternext` is never joined to the block before it.
note [Left]  The first block of a `for`'s body takes the item over.  It counts as part of all loops
around it, even if it leaves them, so that nothing behind the loop reads the item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from numba.core import ir

from numbaflux.errors import InternalError
from numbaflux.frontend.names import reads

Labels = frozenset[int]


@dataclass(frozen=True)
class Phi:
    """name = the incoming name of the edge taken; None: undefined there."""

    name: str
    incoming: Mapping[int, str | None]
    loc: ir.Loc


@dataclass(frozen=True)
class Iteration:
    """What the header of a `for` says; `again`: its statements that run once more at the end."""

    iterator: str
    item: str
    body: int
    orelse: int
    again: tuple[ir.Stmt, ...]


@dataclass(frozen=True)
class Part:
    """A block: phis, statements, and how it ends.

    Of a `for` header, `stmts` are those without the iterator's own.
    """

    label: int
    phis: tuple[Phi, ...]
    stmts: tuple[Any, ...]
    end: Any
    loc: ir.Loc
    iteration: Iteration | None = None

    @property
    def successors(self) -> tuple[int, ...]:
        match self.end:
            case ir.Jump(target=target):
                return (target,)
            case ir.Branch(truebr=yes, falsebr=no):
                return (yes, no)
        return ()


Parts = dict[int, Part]


@dataclass(frozen=True)
class Graph:
    """`order`: places in reverse postorder; `before`: predecessors; `children`: dominator tree;
    `loops`: the blocks of the loop that a header begins."""

    parts: Parts
    order: dict[int, int]
    before: dict[int, Labels]
    children: dict[int, Labels]
    loops: dict[int, Labels]

    def trivial(self, label: int) -> bool:
        """Whether a block does nothing but jump or return, and may be written on its edges."""
        part = self.parts[label]
        plain = isinstance(part.end, ir.Jump | ir.Return) and not part.stmts
        return plain and not self.children[label] and label not in self.loops


def graph(typed: Typed) -> Graph:
    """The control flow graph of a function, cleaned up for `structure`."""
    entry = min(typed.blocks)
    parts = _merged(_parts(typed.blocks, entry), entry)
    sources = _definitions(parts)
    parts = {label: _iterating(_returning(part), sources) for label, part in parts.items()}
    order, before = _order(parts, entry)
    idoms = _dominators(order, before, entry)
    children = {
        label: frozenset(c for c, d in idoms.items() if d == label and c != entry)
        for label in order
    }
    loops = _with_first_blocks(_loops(order, before, idoms), parts)
    g = Graph(parts, order, before, children, loops)
    for part in parts.values():
        if part.iteration is not None:
            _check_iterator(part, g, sources, typed)
    return g


# ---- blocks ------------------------------------------------------------------------------------


def _parts(blocks: dict[int, ir.Block], entry: int) -> Parts:
    """The reachable blocks, their phis apart.  note [Stale]"""
    ends = {label: _end(block) for label, block in blocks.items()}
    bare = {n: Part(n, (), (), end, blocks[n].loc) for n, end in ends.items()}
    order, before = _order(bare, entry)
    return {label: _part(bare[label], blocks[label], before[label]) for label in order}


def _end(block: ir.Block) -> Any:
    end = block.terminator
    if isinstance(end, ir.Branch) and end.truebr == end.falsebr:
        return ir.Jump(end.truebr, end.loc)
    return end


def _part(bare: Part, block: ir.Block, before: Labels) -> Part:
    phis, stmts = [], []
    for stmt in block.body[:-1]:
        match stmt:
            case ir.Assign(target=target, value=ir.Expr(op="phi") as e):
                pairs = list(zip(e.incoming_blocks, e.incoming_values))
                incoming = {n: _name(v) for n, v in pairs if n in before}
                if set(incoming) != before or sum(n in before for n, _ in pairs) != len(before):
                    raise InternalError(f"{target.name} has not one value per edge: {e}")
                phis.append(Phi(target.name, incoming, stmt.loc))
            case ir.Del():
                pass
            case _:
                stmts.append(stmt)
    return replace(bare, phis=tuple(phis), stmts=tuple(stmts))


def _name(value: Any) -> str | None:
    return None if value is ir.UNDEFINED else value.name


def _merged(parts: Parts, entry: int) -> Parts:
    """Blocks joined to their only successor where that has no other predecessor and no phi."""
    order, before = _order(parts, entry)
    headers = set(_loops(order, before, _dominators(order, before, entry)))
    parts, moved = dict(parts), {}
    for label in order:
        if label not in parts:
            continue
        part = parts[label]
        while isinstance(part.end, ir.Jump):
            follows = parts.get(part.end.target)
            if follows is None or follows.phis or before[follows.label] != {moved_to(part, label)}:
                break
            parts[label] = part
    return parts
