"""Kernels on the CPU: `emulate`, a scheduler of threads that are generators.

The threads of a block run one after the other, each to its next barrier.  A block barrier opens
when all threads that have not ended wait at it, a warp's when those of the warp do: the rule of
Volta and later.  If they wait at different ones the barrier is divergent, which is an error here.
A kernel without barriers is a compiled loop over the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any
from zlib import crc32

import numpy as np

from numbaflux.api import pipeline
from numbaflux.backends import emulation
from numbaflux.backends.emulation import WARP, Emulated, Shared, emulated
from numbaflux.cuda.execution import Executor
from numbaflux.cuda.kernel import Launch
from numbaflux.errors import NumbafluxError
from numbaflux.ir.trees import Program

Random = np.random.Generator
ORDERS = ("forward", "reverse", "random")
ENDED = 0


class DivergentBarrierError(NumbafluxError):
    """Threads of one block, or one warp, wait at different barriers."""


@dataclass(frozen=True, eq=False)
class Emulation:
    """A kernel that runs on the CPU, launched as `emulation[grid, block, stream, shared](...)`."""

    kernel: Any
    executor: Executor

    def __getitem__(self, config: Any) -> Callable[..., Any]:
        return self.executor.of(self.kernel, Launch.of(config))


@dataclass(frozen=True, slots=True)
class Compiled:
    """An emulated kernel and what was generated from it."""

    made: Emulated
    generated: pipeline.Generated


@dataclass(frozen=True, slots=True)
class Emulator:
    """The machine that kernels run on here."""

    order: str
    seed: int

    def compile(self, program: Program) -> Compiled:
        name = pipeline.identifier(f"emulated_{program.function.name}")
        made = emulated(program)
        return Compiled(made, pipeline.keep(name, emulation.write(name, made)))

    def run(self, compiled: Compiled, launch: Launch, args: Sequence[Any]) -> None:
        _run(compiled, launch, args, self.order, np.random.default_rng(self.seed))

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return np.zeros(shape, dtype)

    def largest(self, counts: np.ndarray) -> list[int]:
        return [int(n) for n in counts.max(axis=1)]

    def stamp(self, array: np.ndarray) -> int:
        return crc32(np.ascontiguousarray(array).data.cast("B")) if array.size else 0

    def copied(self, array: np.ndarray) -> np.ndarray:
        return array.copy(order="K")

    def copy(self, target: np.ndarray, source: Any) -> None:
        target[...] = source

    def add(self, target: np.ndarray, source: np.ndarray) -> None:
        target += source


def emulate(kernel: Any, order: str = "forward", seed: int = 0) -> Emulation:
    """The kernel, or a derivative of one, on the CPU and on NumPy arrays.

    `order` is that in which blocks, and the threads of a block, have their turn: forward, reverse
    or random (with `seed`).  The result of a kernel without races depends on it only by rounding.

    Raises DivergentBarrierError if threads wait at different barriers.

    >>> import numpy as np
    >>> from numba import cuda
    >>> @cuda.jit
    ... def double(x, y):
    ...     i = cuda.grid(1)
    ...     if i < x.size:
    ...         y[i] = 2.0 * x[i]
    >>> x, y = np.arange(3.0), np.zeros(3)
    >>> emulate(double)[1, 32](x, y)
    >>> y
    array([0., 2., 4.])
    """
    if order not in ORDERS:
        raise ValueError(f"order is {', '.join(ORDERS)}, not {order!r}")
    return Emulation(kernel, Executor(Emulator(order, seed)))


def _run(
    compiled: Compiled, launch: Launch, args: Sequence[Any], order: str, random: Random
) -> None:
    """Run every thread of the grid."""
    made, function, grid = compiled.made, compiled.generated.function, launch.grid
    threads = prod(launch.block)
    numbers = np.array([0, 0, 0, *launch.block, *grid, launch.shared], np.int64)
    if made.whole:
        count = threads * prod(grid)
        function(np.array(_ordered(count, order, random), np.int64), numbers, *args)
        return
    for number in _ordered(prod(grid), order, random):
        here = numbers.copy()
        here[0], rest = number % grid[0], number // grid[0]
        here[1], here[2] = rest % grid[1], rest // grid[1]
        shared = [_shared(s, threads, launch.shared) for s in made.shared]
        _run_block(made, function, _ordered(threads, order, random), (here, *shared, *args))


def _ordered(count: int, order: str, random: Random) -> Sequence[int]:
    match order:
        case "forward":
            return range(count)
        case "reverse":
            return range(count - 1, -1, -1)
        case _:
            return random.permutation(count).tolist()


def _shared(s: Shared, threads: int, dynamic_bytes: int) -> np.ndarray:
    """A shared array as a block finds it: poisoned, so that what is read unwritten is seen."""
    dtype = np.dtype(s.dtype)
    if s.slots:
        return np.zeros(threads, dtype)
    shape = (dynamic_bytes // dtype.itemsize,) if s.shape is None else s.shape
    return np.full(shape, np.nan if dtype.kind == "f" else 0, dtype)


def _run_block(
    made: Emulated, function: Callable[..., Any], threads: Sequence[int], args: tuple[Any, ...]
) -> None:
    if not made.barriers:
        for t in threads:
            function(t, *args)
        return
    waiting = {t: iter(function(t, *args)) for t in threads}
    warps = any(b.scope == "warp" for b in made.barriers)
    at: dict[int, int] = {}  # thread -> barrier
    ready: list[int] = list(threads)
    while waiting:
        for t in ready:
            k = next(waiting[t], ENDED)
            if k == ENDED:
                del waiting[t]
                at.pop(t, None)
            else:
                at[t] = k
        ready = list(_released(made, at, warps))


def _released(made: Emulated, at: dict[int, int], warps: bool) -> Iterator[int]:
    """The threads that may go on."""
    if not warps or all(made.barriers[k - 1].scope == "block" for k in at.values()):
        _same(made, set(at.values()), "block")
        yield from at
        return
    by_warp: dict[int, list[int]] = {}
    for t in at:
        by_warp.setdefault(t // WARP, []).append(t)
    found = False
    for members in by_warp.values():
        kinds = {at[t] for t in members}
        scopes = {made.barriers[k - 1].scope for k in kinds}
        if scopes == {"warp"}:
            _same(made, kinds, "warp")
            found = True
            yield from members
        elif scopes != {"block"}:
            _same(made, kinds, "warp")
    assert found, "some warp can always go on"


def _same(made: Emulated, kinds: set[int], scope: str) -> None:
    if len(kinds) > 1:
        lines = sorted({str(made.barriers[k - 1].loc) for k in kinds})
        raise DivergentBarrierError(
            f"threads of one {scope} wait at different barriers: {' and '.join(lines)}"
        )
