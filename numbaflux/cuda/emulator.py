"""Kernels on the CPU: `emulate`, which runs one launch after the other.

A kernel without barriers is a compiled loop over the grid; the threads of others are generators,
which scheduler.py resumes.  What the kernel touches may be watched (memory.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any
from zlib import crc32

import numpy as np

from numbaflux.api import pipeline
from numbaflux.backends import emulation
from numbaflux.backends.emulation import LAUNCH, Emulated, Shared, emulated
from numbaflux.cuda.arguments import on_host
from numbaflux.cuda.execution import Executor, Launchable, Start
from numbaflux.cuda.launch import Launch
from numbaflux.cuda.memory import Memory
from numbaflux.cuda.scheduler import Scheduler
from numbaflux.ir.nodes import Array, Var
from numbaflux.ir.ops import WARP
from numbaflux.ir.trees import Program
from numbaflux.passes.dead import dead_code
from numbaflux.passes.kernels.owner import Known
from numbaflux.passes.kernels.watched import Watched, watched

Random = np.random.Generator
ORDERS = ("forward", "reverse", "random")
FIRST = LAUNCH.index("first")
POISON = 0xFF  # bytes of it are nan in every floating point type


@dataclass(frozen=True, slots=True)
class Compiled:
    """An emulated kernel, what was generated from it, and what of it is watched."""

    made: Emulated
    generated: pipeline.Generated
    watched: Watched | None


@dataclass(frozen=True, slots=True)
class Emulator:
    """The machine that kernels run on here."""

    check: bool
    unwritten: str
    order: str
    seed: int

    def compile(self, program: Program, known: Known) -> Compiled:
        """One program does for all launches."""
        name, seen = pipeline.identifier(f"emulated_{program.function.name}"), None
        if self.check:
            seen = watched(program.function)
            program = replace(program, function=seen.fn)
        made = emulated(program)
        used = replace(made.program, function=dead_code(made.program.function))
        made = replace(made, program=used)
        return Compiled(made, pipeline.keep(name, emulation.write(name, made)), seen)

    def adopted(self, array: Any) -> np.ndarray:
        if not on_host(array):
            raise TypeError(f"emulated kernels take NumPy arrays, not a {type(array).__name__}")
        return array

    def bind(self, compiled: Compiled, launch: Launch, args: Sequence[Any]) -> Start:
        return partial(_run, self, compiled, launch, args)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Poisoned: nan where it is of floating point numbers."""
        made = np.empty(shape, dtype)
        made.view(np.uint8)[...] = POISON
        return made

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


def emulate(
    kernel: Any,
    check: bool = True,
    *,
    unwritten: str = "nan",
    order: str = "forward",
    seed: int = 0,
) -> Launchable:
    """The kernel, or a derivative of one, on the CPU and on NumPy arrays.

    `check`: watch every access.  It takes two to five times as long, and raises

    * OutOfBoundsError, an IndexError, for an index outside its array,
    * RaceError for two threads that touch one element, one of them writing and not both by atomic
      operations, if they are of different blocks or no barrier is between them.

    `unwritten`: what a thread reads from shared memory that no thread has written: "nan" (zero for
    integers), or, if it is watched, an "error": UnwrittenError.
    `order` is that in which blocks, and the threads of a block, have their turn: forward, reverse
    or random (with `seed`).  The result of a kernel without races depends on it only by rounding.

    Raises DivergentBarrierError if threads of a block, or of a warp, wait at different barriers.

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
    if unwritten not in ("nan", "error"):
        raise ValueError(f'unwritten is "nan" or "error", not {unwritten!r}')
    return Launchable(kernel, Executor(Emulator(check, unwritten, order, seed)))


# ---- running -----------------------------------------------------------------------------------


def _run(machine: Emulator, compiled: Compiled, launch: Launch, args: Sequence[Any]) -> None:
    """Run every thread of the grid."""
    made = compiled.made
    numbers = np.array([0, 0, 0, *launch.block, *launch.grid, launch.shared, 0], np.int64)
    shared = _Shared(made.shared, launch)
    order = _Order(machine.order, np.random.default_rng(machine.seed))
    if compiled.watched is None or not made.watched:
        _run_grid(compiled, launch, (numbers, *shared.arrays, *args), shared, order)
        return
    named = _named(compiled, shared, args)
    memory = Memory(compiled.watched, made, named, launch, machine.unwritten == "error")
    args = (numbers, memory.watch.table, *shared.arrays, *args)
    with memory.explaining():
        _run_grid(compiled, launch, args, shared, order, memory)


def _run_grid(
    compiled: Compiled,
    launch: Launch,
    args: tuple[Any, ...],
    shared: _Shared,
    order: _Order,
    memory: Memory | None = None,
) -> None:
    made, function, numbers = compiled.made, compiled.generated.function, args[0]
    blocks, threads = prod(launch.grid), prod(launch.block)
    if made.whole:
        function(order.of(blocks * threads).astype(np.int64), *args)
        return
    interval = None if memory is None else memory.watch.now
    scheduler = Scheduler(made.waits, [function(t, *args) for t in range(threads)], interval)
    columns, rows, _ = launch.grid
    for block in order.of(blocks).tolist():
        row, column = divmod(block, columns)
        numbers[:3] = column, row % rows, row // rows
        numbers[FIRST] = block * threads
        shared.clear()
        if memory is not None:
            memory.next_block()
        scheduler.run(order.of(threads).tolist())


@dataclass(frozen=True, slots=True)
class _Order:
    """In which order so many have their turn."""

    kind: str
    random: Random

    def of(self, count: int) -> np.ndarray:
        match self.kind:
            case "forward":
                return np.arange(count)
            case "reverse":
                return np.arange(count - 1, -1, -1)
            case _:
                return self.random.permutation(count)


class _Shared:
    """The memory of a block."""

    def __init__(self, shared: Sequence[Shared], launch: Launch) -> None:
        self.bytes = launch.shared
        self.dynamic: list[np.ndarray] = []
        places = -(-prod(launch.block) // WARP) * WARP
        self.static: list[np.ndarray] = []
        self.arrays = [self._make(s, places) for s in shared]

    def _make(self, s: Shared, places: int) -> np.ndarray:
        dtype = np.dtype(s.dtype)
        if s.slots:
            return np.zeros(places, dtype) * _poison(dtype)
        if s.shape is None:
            self.dynamic.append(np.empty(self.bytes // dtype.itemsize * dtype.itemsize, np.uint8))
            return self.dynamic[-1].view(dtype)
        self.static.append(np.empty(s.shape, dtype))
        return self.static[-1]

    def clear(self) -> None:
        """As a block finds it: poisoned, so that what is read unwritten is seen."""
        for array in self.dynamic:
            array[...] = POISON
        for array in self.static:
            array[...] = _poison(array.dtype)


def _poison(dtype: np.dtype) -> float:
    return np.nan if dtype.kind == "f" else 0


def _named(compiled: Compiled, shared: _Shared, args: Sequence[Any]) -> list[tuple[Var, Any]]:
    """The arrays of a launch, each with the variable that it is in the kernel."""
    assert compiled.watched is not None
    params = [p for p in compiled.watched.fn.params if isinstance(p.type, Array)]
    given = [a for arg in args for a in _arrays(arg)]
    inside = [s.array for s in compiled.made.shared]
    return [*zip(params, given, strict=True), *zip(inside, shared.arrays, strict=True)]


def _arrays(arg: Any) -> Iterator[np.ndarray]:
    if isinstance(arg, tuple):
        for item in arg:
            yield from _arrays(item)
    elif isinstance(arg, np.ndarray):
        yield arg
