"""Memory that gradients use again, call after call."""

from __future__ import annotations

import threading
import uuid
import weakref
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

ALIGNMENT = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Memory, and the array that somebody has of it, as long as that exists."""

    memory: np.ndarray
    holder: weakref.ref


class Workspace:
    """Memory for what gradients keep: `ws = nf.Workspace()`, `nf.grad(f, workspace=ws)`.

    An array of a megabyte or more in which values wait for a reverse sweep is taken from here and
    belongs to the workspace again when the call is over; results never lie here. So the next call
    finds its memory in place, where fresh memory is handed over by the system page by page. The
    workspace holds what was needed at a time, until `clear`.

    Whatever is in use is given to nobody else, so threads, nested calls and several gradients may
    share one. A call that raises keeps its memory for good, as all compiled code of Numba's does.
    With `cache=True` nothing is kept on disk: the code belongs to this workspace.

    >>> import numpy as np, numbaflux as nf
    >>> def chain(x, n):
    ...     for _ in range(n):
    ...         x = x * (2.0 - x * x)
    ...     return x
    >>> ws = nf.Workspace()
    >>> slope = nf.grad(chain, workspace=ws)
    >>> slope(1.0, 200_000), ws.nbytes
    (1.0, 1600000)
    >>> ws.clear()
    >>> ws.nbytes
    0
    """

    known: ClassVar[weakref.WeakValueDictionary[str, Workspace]] = weakref.WeakValueDictionary()

    def __init__(self) -> None:
        self.key = uuid.uuid4().hex
        self._blocks: list[_Block] = []
        self._lock = threading.RLock()
        self.known[self.key] = self

    @property
    def nbytes(self) -> int:
        """How many bytes the workspace holds at present."""
        with self._lock:
            return sum(_length(b) - ALIGNMENT for b in self._blocks)

    def clear(self) -> None:
        """Give all memory back; what is in use goes when it is not any more."""
        with self._lock:
            self._blocks = []

    def take(self, size: int) -> np.ndarray:
        """An array of `size` bytes that nobody else has as long as it, or a view of it, exists."""
        with self._lock:
            blocks, self._blocks = self._blocks, []  # a collector that runs now finds none
            try:
                memory = _free(blocks, size + ALIGNMENT)
                if memory is None:
                    memory = np.empty(size + ALIGNMENT, np.uint8)
                start = -memory.ctypes.data % ALIGNMENT
                taken = np.frombuffer(memory.data, np.uint8, size, start)  # base of its own views
                blocks.append(_Block(memory, weakref.ref(taken)))
                return taken
            finally:
                self._blocks += blocks

    def __reduce__(self) -> Any:
        """This workspace in this process, an empty one in another."""
        return _of_key, (self.key,)


_foreign: dict[str, Workspace] = {}  # of code that another process has compiled


def _of_key(key: str) -> Workspace:
    return Workspace.known.get(key) or _foreign.setdefault(key, Workspace())


def _free(blocks: list[_Block], size: int) -> np.ndarray | None:
    """Take out the shortest free memory of that size; if none is so long, drop the longest."""
    free = [b for b in blocks if b.holder() is None]
    fitting = [b for b in free if len(b.memory) >= size]
    chosen = min(fitting, key=_length) if fitting else max(free, key=_length, default=None)
    if chosen is not None:
        blocks.remove(chosen)
    return chosen.memory if chosen and fitting else None


def _length(block: _Block) -> int:
    return len(block.memory)
