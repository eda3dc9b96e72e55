"""The threads of a block, which are generators: who may go on when.

They run one after the other, each to its next barrier.  A block barrier opens when all threads
that have not ended wait at it, a warp's when those of the warp do: the rule of Volta and later.
If they wait at different ones the barrier is divergent, which is an error here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

import numpy as np

from numbaflux.backends.emulation import ENDED, Wait
from numbaflux.errors import NumbafluxError, message
from numbaflux.ir.ops import WARP
from numbaflux.watch import INTERVAL


class DivergentBarrierError(NumbafluxError):
    """Threads of one block, or one warp, wait at different barriers."""


class Scheduler:
    """Runs the threads of one block after the other.

    `interval`: where it counts, for each thread, how often its block has waited and, below
    `INTERVAL` bits, how often its warp has since.
    """

    def __init__(
        self,
        waits: Sequence[Wait],
        threads: Sequence[Generator[int]],
        interval: np.ndarray | None = None,
    ) -> None:
        self.waits, self.threads, self.interval = waits, threads, interval
        self.warps = any(wait.barrier.scope == "warp" for wait in waits)

    def run(self, order: Sequence[int]) -> None:
        """Run a block to its end; `order` is that in which its threads have their turn."""
        turn = [self.threads[t] for t in order]
        while True:
            at = list(map(next, turn))
            if at.count(at[0]) < len(at):
                return self._apart(dict(zip(order, at, strict=True)))
            if at[0] == ENDED:
                return None
            self._opened(at[0], order)

    def _apart(self, at: dict[int, int]) -> None:
        """The same where some threads are elsewhere than others."""
        while at := {t: k for t, k in at.items() if k != ENDED}:
            for group in list(self._released(at)):
                self._opened(at[group[0]], group)
                for t in group:
                    at[t] = next(self.threads[t])

    def _released(self, at: dict[int, int]) -> Iterator[list[int]]:
        """The threads that may go on, together with those they have waited for."""
        if not self.warps or all(self._scope(k) == "block" for k in at.values()):
            self._check_same(at.values(), "block")
            yield list(at)
            return
        warps: dict[int, list[int]] = {}
        for t in at:
            warps.setdefault(t // WARP, []).append(t)
        for members in warps.values():
            kinds = [at[t] for t in members]
            if any(self._scope(k) == "warp" for k in kinds):
                self._check_same(kinds, "warp")
                yield members

    def _scope(self, k: int) -> str:
        return self.waits[k - 1].barrier.scope

    def _opened(self, k: int, threads: Sequence[int]) -> None:
        """A barrier has opened for these threads."""
        if self.interval is None or not self.waits[k - 1].orders:
            return
        if self._scope(k) == "block":
            self.interval[:] = (self.interval >> INTERVAL) + 1 << INTERVAL
        else:
            self.interval[list(threads)] += 1

    def _check_same(self, kinds: Iterable[int], scope: str) -> None:
        found = sorted(set(kinds))
        if len(found) > 1:
            raise DivergentBarrierError(
                message(
                    f"threads of one {scope} wait at different barriers",
                    [self.waits[k - 1].barrier.loc for k in found],
                    "none of them opens before all threads have come to it that have not ended",
                    "let all threads come to one barrier: put it outside the `if`",
                )
            )
