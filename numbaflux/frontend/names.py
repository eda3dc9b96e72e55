"""Which names the nodes of a control tree assign, and which they read.

`go` counts as the name GO.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from numba.core import ir

from numbaflux.frontend.tree import Branch, Do, Each, Goto, Node, Raise, Repeat, Set, When
from numbaflux.frontend.values import GO


def reads(stmt: ir.Stmt) -> frozenset[str]:
    """The names one of Numba's statements reads."""
    own = stmt.target.name if isinstance(stmt, ir.Assign) else None
    return frozenset(v.name for v in stmt.list_vars() if v.name != own)


def assigned(nodes: Sequence[Node]) -> frozenset[str]:
    """The names that may be assigned in a sequence of nodes."""
    return frozenset(_assigned(nodes))


def _assigned(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        match node:
            case Do(ir.Assign(target=target)):
                yield target.name
            case Set(target):
                yield target
            case Goto():
                yield GO
            case When(_, body) | Repeat(body):
                yield from _assigned(body)
            case Branch(_, then, orelse):
                yield from _assigned(then)
                yield from _assigned(orelse)
            case Each():
                yield node.item
                yield from _assigned(node.body)
            case Do() | Raise():
                pass
            case _:
                assert_never(node)


def raises(nodes: Sequence[Node]) -> bool:
    """Whether there is a `raise` in a sequence of nodes."""
    return any(map(_raises, nodes))


def _raises(node: Node) -> bool:
    match node:
        case Raise():
            return True
        case When(_, body) | Repeat(body) | Each(body=body):
            return raises(body)
        case Branch(_, then, orelse):
            return raises(then) or raises(orelse)
        case Do() | Set() | Goto():
            return False
        case _:
            assert_never(node)


def live(nodes: Sequence[Node], after: frozenset[str]) -> frozenset[str]:
    """The names whose values before the nodes may be read in them or, if in `after`, behind.

    What a trip reads of the one before it is what the body reads before setting it, so that one
    pass over the body of a loop reaches the fixpoint.
    """
    for node in reversed(nodes):
        after = _live(node, after)
    return after


def _live(node: Node, after: frozenset[str]) -> frozenset[str]:
    match node:
        case Do(ir.Assign(target=target) as stmt):
            return (after - {target.name}) | reads(stmt)
        case Do(stmt):
            return after | reads(stmt)
        case Set(target, source):
            return (after - {target}) | ({source} if source is not None else set())
        case Goto():
            return after - {GO}
        case When(_, body):
            return after | live(body, after) | {GO}
        case Branch(cond, then, orelse):
            return live(then, after) | live(orelse, after) | {cond}
        case Each():
            go = {GO} if node.exits else set()
            again = live(node.body, frozenset(go))
            return after | (again - {node.item}) | {node.iterator} | go
        case Repeat(body):
            return live(body, after | {GO})
        case Raise(stmt):
            return reads(stmt)
        case _:
            assert_never(node)
