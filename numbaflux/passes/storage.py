"""Store or recompute: the cheapest set of values to keep for the reverse sweep.

What the reverse sweep needs is either *free* there (inputs, loop counters), or a *source* that
nothing recomputes (an overwritten load, a carried value, a random draw), or computed from other
values.  Keeping a set of values that separates the sources from the needed ones is enough: the
rest is recomputed from them.  The cheapest such set is a minimum vertex cut.

Source: the reduction of a vertex cut to a maximum flow is Ford and Fulkerson's, Flows in Networks
(1962), section I.11; the augmenting paths are found by breadth first search (Edmonds, Karp, J. ACM
19 (1972)).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

V = TypeVar("V", bound=Hashable)


def cheapest_cut(
    needed: Iterable[V],
    operands: Callable[[V], Iterable[V] | None],
    cost: Callable[[V], float],
) -> tuple[V, ...]:
    """The cheapest set of values to keep so that all of `needed` can be had, in a stable order.

    `operands(v)`: what v is computed from, free values left out; None for a source.
    """
    graph = _Graph(tuple(dict.fromkeys(needed)), operands, cost)
    graph.saturate()
    return tuple(graph.cut())


_SOURCE: Hashable = ("source",)
_SINK: Hashable = ("sink",)


class _Graph(Generic[V]):
    """The flow network: every value split into an entry and an exit, joined at its cost."""

    def __init__(
        self,
        needed: Iterable[V],
        operands: Callable[[V], Iterable[V] | None],
        cost: Callable[[V], float],
    ) -> None:
        self.capacity: dict[Hashable, dict[Hashable, float]] = {_SOURCE: {}, _SINK: {}}
        self.values: list[V] = []
        pending, seen = deque(needed), set(needed)
        for v in needed:
            self.edge((v, "out"), _SINK, float("inf"))
        while pending:
            v = pending.popleft()
            self.values.append(v)
            self.edge((v, "in"), (v, "out"), cost(v))
            sources = operands(v)
            if sources is None:
                self.edge(_SOURCE, (v, "in"), float("inf"))
                continue
            for u in sources:
                self.edge((u, "out"), (v, "in"), float("inf"))
                if u not in seen:
                    seen.add(u)
                    pending.append(u)

    def edge(self, a: Hashable, b: Hashable, capacity: float) -> None:
        self.capacity.setdefault(a, {})[b] = capacity
        self.capacity.setdefault(b, {}).setdefault(a, 0.0)

    def reach(self) -> dict[Hashable, Hashable]:
        """For all that flow can still reach from the source, where it came from."""
        came: dict[Hashable, Hashable] = {_SOURCE: None}
        pending = deque([_SOURCE])
        while pending:
            a = pending.popleft()
            for b, left in self.capacity[a].items():
                if left > 0.0 and b not in came:
                    came[b] = a
                    pending.append(b)
        return came

    def saturate(self) -> None:
        """Send as much flow as there is room for."""
        while _SINK in (came := self.reach()):
            path, b = [], _SINK
            while came[b] is not None:
                path.append((came[b], b))
                b = came[b]
            room = min(self.capacity[a][b] for a, b in path)
            assert room < float("inf"), "a source must be needed at a finite cost"
            for a, b in path:
                self.capacity[a][b] -= room
                self.capacity[b][a] += room

    def cut(self) -> Iterable[V]:
        """The values whose entry is reached and whose exit is not: those nearest the sources."""
        came = self.reach()
        return (v for v in self.values if (v, "in") in came and (v, "out") not in came)
