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

from numba.core import ir

from numbaflux.errors import InternalError
from numbaflux.frontend.graph import Graph, Part, graph
from numbaflux.frontend.names import assigned, live
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

__all__ = ["assigned", "live", "structure"]

Nodes = tuple[Node, ...]
Labels = frozenset[int]


def structure(typed: Typed) -> tuple[Node, ...]:
    """The statements of a function under structured control flow."""
    g = graph(typed.blocks)
    nodes, _ = _Writer(g).sequence([g.entry], frozenset({g.entry}), g.labels)
    return _needed(nodes, False)[0]


@dataclass(frozen=True)
class _Writer:
    """Writes parts of one graph; `region`: the blocks of the innermost loop being written."""

    g: Graph

    def sequence(self, todo: Iterable[int], targets: Labels, region: Labels) -> tuple[Nodes, Labels]:
        """Blocks one after the other, each if control may come to it; where it may go then."""
        nodes: list[Node] = []
        waiting = set(todo)
        while waiting:
            m = min(waiting, key=self.g.order.__getitem__)
            waiting.remove(m)
            if targets == {m}:
                part, targets, merges = self.one(m, region)
                nodes += part
                waiting |= merges
            elif m in targets:
                body, reached = self.sequence([m], frozenset({m}), region)
                nodes.append(When(m, body))
                targets = (targets - {m}) | reached
        return tuple(nodes), targets

    def one(self, label: int, region: Labels) -> tuple[Nodes, Labels, Labels]:
        """One block or loop, and the merges that are to be written after it."""
        if self.g.part(label).loop is not None:
            return self.each(label, region)
        if label in self.g.loops:
            return self.repeat(label, region)
        return self.block(label, region)

    def block(self, label: int, region: Labels) -> tuple[Nodes, Labels, Labels]:
        part = self.g.part(label)
        nodes, targets = self.leave(part, region)
        merges = self.g.children[label] & region - self.inlined(label, region)
        return (*_heads(part), *map(Do, part.stmts), *nodes), targets, merges

    # ---- jumps ---------------------------------------------------------------------------------

    def leave(self, part: Part, region: Labels) -> tuple[Nodes, Labels]:
        """What a block's last statement does."""
        match part.end:
            case ir.Jump(target=target, loc=loc):
                return self.edge(part.label, target, region, loc)
            case ir.Branch(cond=cond, truebr=yes, falsebr=no, loc=loc):
                then, to = self.edge(part.label, yes, region, loc)
                orelse, too = self.edge(part.label, no, region, loc)
                return (Branch(cond.name, then, orelse, loc),), to | too
            case ir.Return(value=value, loc=loc):
                return (Set(RESULT, value.name, loc), Goto(RETURN)), frozenset({RETURN})
            case ir.StaticRaise() | ir.DynamicRaise() as stmt:
                return (Raise(stmt),), frozenset()
        raise InternalError(f"a block ends with {part.end}")

    def inlined(self, label: int, region: Labels) -> Labels:
        """The successors that are written in place."""
        g = self.g
        return frozenset(s for s in g.successors(label) if s in region and len(g.before[s]) == 1)

    def edge(self, source: int, target: int, region: Labels, loc: ir.Loc) -> tuple[Nodes, Labels]:
        """The jump from one block to another.  note [Leaves]"""
        halves = _halves(self.g.part(target), source, loc)
        if target in self.inlined(source, region):
            nodes, targets = self.sequence([target], frozenset({target}), region)
            return (*halves, *nodes), targets
        if target in region and self.g.trivial(target):
            return self.through(target, source, region)
        return (*halves, Goto(target)), frozenset({target})

    def through(self, label: int, source: int, region: Labels) -> tuple[Nodes, Labels]:
        """A trivial block on the edge from `source`, its phis replaced.  note [Threading]"""
        part = self.g.part(label)
        came = {phi.name: phi.incoming[source] for phi in part.phis}
        copy = replace(part, label=source, phis=())
        if isinstance(part.end, ir.Return):
            value = part.end.value.name
            return (
                Set(RESULT, came.get(value, value), part.end.loc), Goto(RETURN)
            ), frozenset({RETURN})  # fmt: skip
        target = copy.end.target
        if target in region and self.g.trivial(target):
            raise InternalError(f"block {label} is followed by another that only jumps")
        halves = _halves(self.g.part(target), label, copy.end.loc)
        nodes = tuple(
            Set(s.target, came.get(s.source, s.source) if s.source else None, s.loc)
            for s in halves
        )
        return (*nodes, Goto(target)), frozenset({target})
