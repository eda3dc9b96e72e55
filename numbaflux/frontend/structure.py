"""From a control flow graph to the control tree: loops and branches out of jumps.

Every block is written under its dominator (Ramsey, "Beyond Relooper", ICFP 2022). While a sequence
is written, `targets` are the labels that control may be on its way to: a merge follows plainly if
it is the only one, and under a `When` otherwise.

note [Leaves]  A jump ends as a leaf: the phi halves of its edge, then `Goto`. It is a leaf unless
its target can be written in place. Gotos that no `When` or loop reads are dropped at the end.
note [Exits]  Blocks that leave a loop are written after it, so a loop's body assigns only what the
loop itself computes. On exit the phis of the header keep their last value, as in the graph.
note [Threading]  A block that only jumps or returns is written on its edges: the paths of
`continue` and of early returns need no flag.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from numba.core import ir

from numbaflux.errors import InternalError
from numbaflux.frontend.graph import Graph, Labels, Part, graph
from numbaflux.frontend.names import assigned, live, raises
from numbaflux.frontend.read import Typed
from numbaflux.frontend.tree import (
    RESULT,
    RETURN,
    Branch,
    Do,
    Each,
    Goto,
    Node,
    Raise,
    Repeat,
    Set,
    When,
)

__all__ = ["assigned", "live", "raises", "structure"]

Nodes = tuple[Node, ...]
Came = dict[str | None, str | None]  # the phis of blocks gone through, and what they are


def structure(typed: Typed) -> tuple[Node, ...]:
    """The statements of a function under structured control flow."""
    g = graph(typed)
    nodes, _ = _Writer(g).sequence({g.entry}, frozenset({g.entry}), frozenset(g.parts))
    return _needed(nodes, False)[0]


@dataclass(frozen=True)
class _Writer:
    """Writes parts of one graph; `region`: the blocks of the innermost loop being written."""

    g: Graph

    def sequence(
        self, todo: Iterable[int], targets: Labels, region: Labels
    ) -> tuple[Nodes, Labels]:
        """Blocks one after the other, each if control may come to it; where it may go then."""
        nodes: list[Node] = []
        waiting = set(todo)
        while waiting:
            label = min(waiting, key=self.g.order.__getitem__)
            waiting.remove(label)
            if targets == {label}:
                written, targets, merges = self.one(label, region)
                nodes += written
                waiting |= merges
            elif label in targets:
                body, reached = self.sequence({label}, frozenset({label}), region)
                nodes.append(When(label, body))
                targets = (targets - {label}) | reached
        return tuple(nodes), targets

    def one(self, label: int, region: Labels) -> tuple[Nodes, Labels, Labels]:
        """One block or loop, where control may go then, and the merges to be written after it."""
        if self.g.parts[label].iteration is not None:
            return self.each(label, region)
        if label in self.g.loops:
            return self.repeat(label, region)
        nodes, targets = self.leave(label, region)
        return nodes, targets, self.merges(label, region)

    def merges(self, label: int, region: Labels) -> Labels:
        """The blocks under this one in the dominator tree that several edges lead to."""
        return (self.g.children[label] & region) - self.inlined(label, region)

    def inlined(self, label: int, region: Labels) -> Labels:
        """The successors that are written in place: no other edge leads to them, but back edges."""
        g = self.g
        return frozenset(
            s
            for s in g.parts[label].successors
            if s in g.children[label] & region
            and all(b == label or g.order[b] >= g.order[s] for b in g.before[s])
        )

    # ---- blocks --------------------------------------------------------------------------------

    def leave(self, label: int, region: Labels) -> tuple[Nodes, Labels]:
        """A block, and what its last statement does."""
        part = self.g.parts[label]
        head = (*_heads(part), *map(Do, part.stmts))
        match part.end:
            case ir.Jump(target=target, loc=loc):
                nodes, targets = self.edge(label, target, region, loc)
            case ir.Branch(cond=cond, truebr=yes, falsebr=no, loc=loc):
                then, targets = self.edge(label, yes, region, loc)
                orelse, others = self.edge(label, no, region, loc)
                nodes = _branch(cond.name, then, orelse, bool(targets), bool(others), loc)
                targets |= others
            case ir.Return(value=value, loc=loc):
                nodes, targets = _return(value.name, loc)
            case ir.StaticRaise() | ir.DynamicRaise():
                nodes, targets = (Raise(part.end),), frozenset()
            case _:
                raise InternalError(f"a block ends with {part.end}")
        return (*head, *nodes), targets

    def edge(self, source: int, target: int, region: Labels, loc: ir.Loc) -> tuple[Nodes, Labels]:
        """The jump from one block to another.  note [Leaves]"""
        part = self.g.parts[target]
        if target in self.inlined(source, region):
            nodes, targets = self.sequence({target}, frozenset({target}), region)
            nodes = (*_halves(part, source, {}, loc), *nodes)
            if len(targets) == 1 and self.threaded(label := min(targets), region):
                came: Came = {phi.name: phi.name + "!" for phi in self.g.parts[label].phis}
                more, targets = self.through(label, came, region)
                nodes += more
            return nodes, targets
        if self.threaded(target, region):
            return self.through(
                target, {phi.name: phi.incoming[source] for phi in part.phis}, region
            )
        return (*_halves(part, source, {}, loc), Goto(target)), frozenset({target})

    def threaded(self, label: int, region: Labels) -> bool:
        return label in region and self.g.trivial(label)

    def through(self, label: int, came: Came, region: Labels) -> tuple[Nodes, Labels]:
        """A trivial block on one of its edges, with what its phis are there.  note [Threading]"""
        end = self.g.parts[label].end
        if isinstance(end, ir.Return):
            value = end.value.name
            return _return(came.get(value, value), end.loc)
        part = self.g.parts[end.target]
        if self.threaded(end.target, region):
            came |= {phi.name: came.get(v := phi.incoming[label], v) for phi in part.phis}
            return self.through(end.target, came, region)
        halves = _halves(part, label, came, end.loc)
        return (*halves, Goto(end.target)), frozenset({end.target})

    # ---- loops ---------------------------------------------------------------------------------

    def repeat(self, label: int, region: Labels) -> tuple[Nodes, Labels, Labels]:
        inside = self.g.loops[label]
        nodes, targets = self.leave(label, inside)
        rest, targets = self.sequence(self.merges(label, inside), targets, inside)
        loop = Repeat((*nodes, *rest), label, self.g.parts[label].loc)
        return (loop,), targets - {label}, self.left(inside, region)

    def each(self, label: int, region: Labels) -> tuple[Nodes, Labels, Labels]:
        part, inside = self.g.parts[label], self.g.loops[label]
        it = part.iteration
        assert it is not None
        nodes, targets = self.edge(label, it.body, inside, part.end.loc)
        rest, targets = self.sequence(self.merges(label, inside), targets, inside)
        body = (*_heads(part), *map(Do, part.stmts), *nodes, *rest)
        exits = bool(targets - {label})
        loop = Each(it.iterator, it.item, body, label, exits, part.loc)
        nodes, done = self.edge(label, it.orelse, region, part.end.loc)
        exhausted = (*_heads(part), *map(Do, it.again), *nodes)
        after = self.left(inside, region) - self.inlined(label, region)
        if not exits:
            return (loop, *exhausted), done, after
        return (Goto(label), loop, When(label, exhausted)), (targets - {label}) | done, after

    def left(self, inside: Labels, region: Labels) -> Labels:
        """The blocks to be written after a loop.  note [Exits]"""
        below = frozenset().union(*(self.g.children[label] for label in inside))
        return (below & region) - inside


# ---- pieces ------------------------------------------------------------------------------------


def _heads(part: Part) -> Nodes:
    """The phis of a block, from what its edges left for them."""
    return tuple(Set(phi.name, phi.name + "!", phi.loc) for phi in part.phis)


def _halves(part: Part, source: int, came: Came, loc: ir.Loc) -> Nodes:
    """What the edge from `source` leaves for the phis of a block."""
    return tuple(
        Set(phi.name + "!", came.get(v := phi.incoming[source], v), loc) for phi in part.phis
    )


def _return(value: str | None, loc: ir.Loc) -> tuple[Nodes, Labels]:
    return (Set(RESULT, value, loc), Goto(RETURN)), frozenset({RETURN})


def _branch(cond: str, then: Nodes, orelse: Nodes, falls: bool, others: bool, loc: ir.Loc) -> Nodes:
    """A branch; what an arm does need not stay in it if the other never comes out."""
    if not falls:
        return (Branch(cond, then, (), loc), *orelse)
    if not others:
        return (Branch(cond, (), orelse, loc), *then)
    return (Branch(cond, then, orelse, loc),)


def _needed(nodes: Sequence[Node], read: bool) -> tuple[Nodes, bool]:
    """The nodes without the Gotos that nothing reads; `read`: whether `go` is read after them.

    Second, whether it is read in or after them before it is set.
    """
    kept: list[Node] = []
    for node in reversed(nodes):
        match node:
            case Goto():
                if not read:
                    continue
                read = False
            case When(label, body):
                body, _ = _needed(body, read)
                if not body:
                    continue
                node, read = When(label, body), True
            case Branch():
                then, first = _needed(node.then, read)
                orelse, second = _needed(node.orelse, read)
                node, read = replace(node, then=then, orelse=orelse), first or second
            case Each():
                node = replace(node, body=_needed(node.body, node.exits)[0])
                read = read or node.exits
            case Repeat():
                body, read = _needed(node.body, True)
                node = replace(node, body=body)
            case Raise():
                read = False
            case Do() | Set():
                pass
            case _:
                assert_never(node)
        kept.append(node)
    return tuple(reversed(kept)), read
