"""A function's control flow graph: blocks with phis apart, dominators, loops.

note [Stale]  Numba prunes branches once more after SSA and leaves phi incomings behind for edges
that are gone: only incomings from the present predecessors count.
note [Headers]  A `for` header may be an empty block that jumps to the one with `iternext`: the two
are made one.  Otherwise a block with `iternext` is never joined to the block before it.
note [Left]  The first block of a `for`'s body takes the item over.  It counts as part of all loops
around it, even if it leaves them, so that nothing behind the loop reads the item.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numba.core import ir, types

from numbaflux.errors import InternalError, UnsupportedError
from numbaflux.frontend.names import reads
from numbaflux.frontend.read import Typed, loc_of

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
            case _:
                return ()


Parts = dict[int, Part]


@dataclass(frozen=True)
class Graph:
    """`order`: places in reverse postorder; `before`: predecessors; `children`: dominator tree;
    `loops`: the blocks of the loop that a header begins."""

    entry: int
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
    loops = _with_raises(_loops(order, before, idoms), parts, order, before)
    loops = _with_first_blocks(loops, parts)
    for part in parts.values():
        if part.iteration is not None:
            _check_iterator(part, loops, sources, typed)
    return Graph(entry, parts, order, before, children, loops)


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
    headers = _loops(order, before, _dominators(order, before, entry))
    parts = dict(parts)
    joined: dict[int, int] = {}
    for label in order:
        while label in parts:
            part = parts[label]
            follows = parts.get(part.successors[0]) if isinstance(part.end, ir.Jump) else None
            if follows is None or follows.label == entry or len(before[follows.label]) > 1:
                break
            empty_header = label in headers and not part.stmts
            if follows.phis or (_has_iternext(follows) and not empty_header):  # note [Headers]
                break
            del parts[follows.label]
            joined[follows.label] = label
            parts[label] = replace(part, stmts=part.stmts + follows.stmts, end=follows.end)
    return {label: _relabelled(part, joined) for label, part in parts.items()}


def _relabelled(part: Part, joined: dict[int, int]) -> Part:
    return replace(
        part,
        phis=tuple(
            replace(phi, incoming={joined.get(n, n): v for n, v in phi.incoming.items()})
            for phi in part.phis
        ),
    )


def _returning(part: Part) -> Part:
    """The block without the cast of what it returns: setting RESULT casts."""
    match part:
        case Part(
            stmts=[*stmts, ir.Assign(target=target, value=ir.Expr(op="cast") as cast)],
            end=ir.Return(value=value, loc=loc),
        ) if value.name == target.name:
            return replace(part, stmts=tuple(stmts), end=ir.Return(cast.value, loc))
        case _:
            return part


# ---- iteration ---------------------------------------------------------------------------------


def _is(stmt: Any, op: str) -> bool:
    return isinstance(stmt, ir.Assign) and _is_expr(stmt.value, op)


def _is_expr(value: Any, op: str) -> bool:
    return isinstance(value, ir.Expr) and value.op == op


def _has_iternext(part: Part) -> bool:
    return any(_is(stmt, "iternext") for stmt in part.stmts)


def _definitions(parts: Parts) -> dict[str, tuple[int, Any]]:
    """Where a name is set, and to what."""
    return {
        stmt.target.name: (label, stmt.value)
        for label, part in parts.items()
        for stmt in part.stmts
        if isinstance(stmt, ir.Assign)
    }


def _origin(name: str, sources: dict[str, tuple[int, Any]]) -> str:
    """The name that `name` is a copy of."""
    while name in sources and isinstance(sources[name][1], ir.Var):
        name = sources[name][1].name
    return name


def _iterating(part: Part, sources: dict[str, tuple[int, Any]]) -> Part:
    """A header of a `for` with the iterator's statements taken out."""
    if not _has_iternext(part):
        return part
    taken_out = ("iternext", "pair_first", "pair_second")
    found: dict[str, Any] = {s.value.op: s for op in taken_out for s in part.stmts if _is(s, op)}
    protocol: list[Any] = [found.get(op) for op in taken_out]
    pair, first, second = protocol
    end = part.end
    if None in protocol or not isinstance(end, ir.Branch):
        raise InternalError(f"block {part.label} lacks a part of the iterator's protocol")
    if _origin(end.cond.name, sources) != second.target.name:
        raise InternalError(f"block {part.label} goes on by another condition than its iterator's")
    conditions, items = {second.target.name}, {first.target.name}
    stmts, again = [], []
    for stmt in part.stmts:
        if any(_is(stmt, op) for op in taken_out):
            continue
        if isinstance(stmt, ir.Assign) and reads(stmt) & conditions:
            conditions.add(stmt.target.name)
            continue
        stmts.append(stmt)
        if isinstance(stmt, ir.Assign) and reads(stmt) & items:
            items.add(stmt.target.name)  # at the end there is no item
        else:
            again.append(stmt)
    iterator = _origin(pair.value.value.name, sources)
    iteration = Iteration(iterator, first.target.name, end.truebr, end.falsebr, tuple(again))
    return replace(part, stmts=tuple(stmts), iteration=iteration)


def _check_iterator(
    part: Part, loops: dict[int, Labels], sources: dict[str, tuple[int, Any]], typed: Typed
) -> None:
    """Iterators are not values of the IR: one must be made each time a loop is entered."""
    assert part.iteration is not None

    def around(label: int) -> set[int]:
        return {header for header, inside in loops.items() if label in inside}

    label, made = sources[part.iteration.iterator]
    if not _is_expr(made, "getiter") or not around(part.label) - {part.label} <= around(label):
        raise InternalError(f"the loop at block {part.label} goes on with an older iterator")
    name = _origin(made.value.name, sources)
    if not isinstance(typed.typemap[name], types.IteratorType) or name not in sources:
        return
    users = [
        e for _, e in sources.values()
        if _is_expr(e, "getiter") and _origin(e.value.name, sources) == name
    ]  # fmt: skip
    if len(users) > 1 or not around(label) <= around(sources[name][0]):
        raise UnsupportedError(
            "an iterator that several loops share",
            loc_of(made.loc, typed.py_func),
            "where a later loop goes on depends on where an earlier one stopped",
            "write `zip`, `enumerate`, ... in the head of each loop",
        )


# ---- order, dominators, loops ------------------------------------------------------------------


def _order(parts: Parts, entry: int) -> tuple[dict[int, int], dict[int, Labels]]:
    """Reverse postorder of the reachable blocks, and their predecessors."""
    finished: list[int] = []
    seen = {entry}
    stack = [(entry, iter(reversed(parts[entry].successors)))]
    while stack:
        label, rest = stack[-1]
        found = next((s for s in rest if s not in seen), None)
        if found is None:
            finished.append(label)
            stack.pop()
        else:
            seen.add(found)
            stack.append((found, iter(reversed(parts[found].successors))))
    order = {label: i for i, label in enumerate(reversed(finished))}
    before: dict[int, set[int]] = {label: set() for label in order}
    for label in order:
        for s in parts[label].successors:
            before[s].add(label)
    return order, {label: frozenset(found) for label, found in before.items()}


def _dominators(order: dict[int, int], before: dict[int, Labels], entry: int) -> dict[int, int]:
    """Immediate dominators; the entry is its own (Cooper, Harvey, Kennedy 2001)."""
    idoms = {entry: entry}

    def meet(a: int, b: int) -> int:
        while a != b:
            if order[a] > order[b]:
                a = idoms[a]
            else:
                b = idoms[b]
        return a

    changed = True
    while changed:
        changed = False
        for label in order:
            if label != entry:
                new = functools.reduce(meet, (b for b in before[label] if b in idoms))
                changed |= idoms.get(label) != new
                idoms[label] = new
    return idoms


def _loops(
    order: dict[int, int], before: dict[int, Labels], idoms: dict[int, int]
) -> dict[int, Labels]:
    """The natural loops: header -> the blocks that reach it again without leaving."""
    loops: dict[int, set[int]] = {}
    for header in order:
        back = [b for b in before[header] if order[b] >= order[header]]
        for source in back:
            if not _dominates(header, source, idoms):
                raise InternalError(f"a jump from block {source} into the loop at {header}")
        if not back:
            continue
        loops[header] = inside = {header}
        while back:
            label = back.pop()
            if label not in inside:
                inside.add(label)
                back += before[label]
    return {header: frozenset(inside) for header, inside in loops.items()}


def _dominates(a: int, b: int, idoms: dict[int, int]) -> bool:
    while b not in (a, idoms[b]):
        b = idoms[b]
    return a == b


def _with_raises(
    loops: dict[int, Labels], parts: Parts, order: dict[int, int], before: dict[int, Labels]
) -> dict[int, Labels]:
    """The loops with what is reached from inside only and ends in a raise: nothing comes out."""
    places, doomed = sorted(order, key=order.__getitem__), set()
    for label in reversed(places):
        ends = isinstance(parts[label].end, ir.StaticRaise | ir.DynamicRaise)
        after = parts[label].successors
        if ends or (after and doomed.issuperset(after)):
            doomed.add(label)
    grown = {}
    for header, inside in loops.items():
        for label in places:
            if label in doomed and before[label] and before[label] <= inside:
                inside |= {label}
        grown[header] = inside
    return grown


def _with_first_blocks(loops: dict[int, Labels], parts: Parts) -> dict[int, Labels]:
    """The loops with each `for` among them, also one that has no way back.  note [Left]"""
    loops = dict(loops)
    for part in parts.values():
        if part.iteration is not None:
            loops.setdefault(part.label, frozenset({part.label}))
            for header, inside in loops.items():
                if part.label in inside:
                    loops[header] = inside | {part.iteration.body}
    return loops
