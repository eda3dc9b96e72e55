"""The memory that a kernel touches while it runs on the CPU, and what is wrong with how it does.

The compiled kernel reports each access to watch.py, which stops it at the first error; here is
what that refers to: which element of which array, which lines, which threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from numbaflux.backends.emulation import Emulated
from numbaflux.cuda.launch import Launch
from numbaflux.errors import NumbafluxError, message
from numbaflux.ir.nodes import Var
from numbaflux.passes.kernels.watched import Access, Watched
from numbaflux.watch import OUTSIDE, RACE, watch_of


class OutOfBoundsError(NumbafluxError, IndexError):
    """A thread touches an element that the array does not have."""


class RaceError(NumbafluxError):
    """Two threads touch an element, one of them writes, and nothing says who comes first."""


class UnwrittenError(NumbafluxError):
    """A thread reads an element of shared memory that no thread of its block has written."""


@dataclass(frozen=True, slots=True)
class _Region:
    """An array that is watched, and the rows in which its elements are remembered."""

    name: str
    array: np.ndarray
    start: int
    unit: int
    rows: range
    shared: bool


class Memory:
    """What is watched in one launch."""

    def __init__(
        self,
        watched: Watched,
        made: Emulated,
        arrays: Sequence[tuple[Var, Any]],
        launch: Launch,
        miss: bool,
    ) -> None:
        """`arrays`: those of the launch; `miss`: report what is read and has not been written."""
        self.accesses, self.launch = watched.accesses, launch
        shared = {s.array: s for s in made.shared}
        self.regions: list[_Region] = []
        rows = 0
        for v, array in sorted(arrays, key=lambda pair: pair[1].itemsize):
            if v not in watched.arrays or not array.size or self._is_known(array):
                continue
            start, end = np.lib.array_utils.byte_bounds(array)
            after = rows + (end - start) // array.itemsize
            found = _Region(v.name, array, start, array.itemsize, range(rows, after), v in shared)
            self.regions.append(found)
            rows = after
        table = [
            (r.start, r.start + len(r.rows) * r.unit, r.unit, r.rows.start, miss and r.shared)
            for r in self.regions
        ]
        self.watch = watch_of(table, rows, bool(made.waits), prod(launch.block))

    def _is_known(self, array: np.ndarray) -> bool:
        """Whether it is the dynamic memory of the block under another type."""
        start, _ = np.lib.array_utils.byte_bounds(array)
        return any(r.start == start for r in self.regions)

    def next_block(self) -> None:
        """Forget what the threads of the block before have done to their shared memory."""
        for r in self.regions:
            if r.shared:
                self.watch.who[r.rows.start : r.rows.stop] = 0

    # ---- errors --------------------------------------------------------------------------------

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Say what is meant by an exception that watch.py has raised."""
        try:
            yield
        except (IndexError, RuntimeError):
            if not self.watch.found[0]:
                raise
            raise self._error() from None

    def _error(self) -> NumbafluxError:
        kind, number, before, thread, other, row, axis, size, *more = self.watch.found.tolist()
        access = self.accesses[number]
        if kind == OUTSIDE:
            return self._outside(access, axis, size, more[2 + axis], thread)
        element = self._element(row)
        if kind == RACE:
            return self._race(access, self.accesses[before], element, thread, other)
        return UnwrittenError(
            message(
                f"{self._thread(thread)} reads `{element}`, which no thread has written",
                access.loc,
                "shared memory holds anything when a block begins",
                "write it first, and wait: `cuda.syncthreads()`",
            )
        )

    def _outside(
        self, access: Access, axis: int, size: int, index: int, thread: int
    ) -> OutOfBoundsError:
        return OutOfBoundsError(
            message(
                f"index {index} is out of bounds for axis {axis} of `{access.array}`, "
                f"which has length {size}: {self._thread(thread)} {access.how} it",
                access.loc,
                "on a GPU it would touch memory of something else",
                f"guard the access: `if i < {access.array}.shape[{axis}]:`",
            )
        )

    def _race(
        self, access: Access, before: Access, element: str, thread: int, other: int
    ) -> RaceError:
        threads = prod(self.launch.block)
        if thread // threads == other // threads:
            why = "no barrier that both pass is between them"
            instead = "put `cuda.syncthreads()` between them, or use `cuda.atomic`"
        else:
            why = "threads of different blocks run in any order, and at once"
            instead = (
                "use `cuda.atomic`, give each block elements of its own, or launch two kernels"
            )
        return RaceError(
            message(
                f"a race for `{element}`: {self._thread(thread)} {access.how} it, "
                f"{self._thread(other)} {before.how} it",
                [access.loc, before.loc],
                why,
                instead,
            )
        )

    def _element(self, row: int) -> str:
        """The element that is remembered in a row."""
        region = next(r for r in self.regions if row in r.rows)
        array, rest = region.array, (row - region.rows.start) * region.unit
        place = [0] * array.ndim
        for axis in sorted(range(array.ndim), key=lambda k: -abs(array.strides[k])):
            step = array.strides[axis]
            if step:
                k, rest = divmod(rest, abs(step))
                place[axis] = k if step > 0 else array.shape[axis] - 1 - k
        return f"{region.name}[{', '.join(map(str, place)) or '()'}]"

    def _thread(self, number: int) -> str:
        """A thread of the grid, by its number, as the user knows it."""
        block, thread = divmod(number, prod(self.launch.block))
        of_grid, of_block = _place(block, self.launch.grid), _place(thread, self.launch.block)
        return f"thread {of_block} of block {of_grid}"


def _place(number: int, shape: tuple[int, int, int]) -> str:
    """The coordinates of what is number `number`: one number if there is only one axis."""
    x, rest = number % shape[0], number // shape[0]
    y, z = rest % shape[1], rest // shape[1]
    return str(x) if shape[1:] == (1, 1) else str((x, y, z))
