"""Kernels on the CPU: `emulate`, which runs one launch after the other.

A kernel without barriers is a compiled loop over the grid; the threads of others are generators,
which scheduler.py resumes.  What the kernel touches may be watched (memory.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numba import typeof

from numbaflux.api import pipeline
from numbaflux.backends import emulation
from numbaflux.backends.emulation import LAUNCH, WARP, Emulated, Shared, emulated
from numbaflux.cuda.kernel import (
    KernelDerivative,
    Launch,
    check_arguments,
    for_launch,
    name_of,
    plain_argument,
)
from numbaflux.cuda.memory import Memory
from numbaflux.cuda.scheduler import Scheduler
from numbaflux.ir.nodes import Array, Var
from numbaflux.passes.dead import dead_code
from numbaflux.passes.watched import Watched, watched
from numbaflux.transforms.launches import Launched

Random = np.random.Generator
ORDERS = ("forward", "reverse", "random")
FIRST = LAUNCH.index("first")
POISON = 0xFF  # bytes of it are nan in every floating point type


@dataclass(frozen=True, eq=False)
class Emulation:
    """A kernel that runs on the CPU, launched as `emulation[grid, block, stream, shared](...)`."""

    kernel: Any
    check: bool
    unwritten: str
    order: str
    seed: int
    _read: dict[Any, Launched] = field(default_factory=dict)
    _compiled: dict[Launched, Compiled] = field(default_factory=dict)

    def __getitem__(self, config: Any) -> Callable[..., None]:
        launch = Launch.of(config)

        def run(*given: Any) -> None:
            args = tuple(map(plain_argument, given))
            check_arguments(args)
            compiled = self.compiled(self._launched(args, launch))
            _run(self, compiled, launch, args)

        return run

    def _launched(self, args: Sequence[Any], launch: Launch) -> Launched:
        """The program for these arguments; a kernel is read once, a derivative knows its own."""
        if isinstance(self.kernel, KernelDerivative):
            return for_launch(self.kernel, args, launch)
        key = tuple(typeof(a) for a in args)
        if key not in self._read:
            self._read[key] = for_launch(self.kernel, args, launch)
        return self._read[key]

    def compiled(self, launched: Launched) -> Compiled:
        """The program as functions for the CPU, made once."""
        if launched not in self._compiled:
            name = pipeline.identifier(f"emulated_{name_of(self.kernel)}")
            program, seen = launched.program, None
            if self.check:
                seen = watched(program.function)
                program = replace(program, function=seen.fn)
            made = emulated(program)
            used = replace(made.program, function=dead_code(made.program.function))
            made = replace(made, program=used)
            function = pipeline.keep(name, emulation.write(name, made)).function
            self._compiled[launched] = Compiled(made, function, seen)
        return self._compiled[launched]


@dataclass(frozen=True, slots=True)
class Compiled:
    """An emulated kernel, the function compiled from it, and what of it is watched."""

    made: Emulated
    function: Callable[..., Any]
    watched: Watched | None


def emulate(
    kernel: Any,
    check: bool = True,
    *,
    unwritten: str = "nan",
    order: str = "forward",
    seed: int = 0,
) -> Emulation:
    """The kernel, or a derivative of one, on the CPU and on NumPy arrays.

    `check`: watch every access.  It takes about twice as long, and raises

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
    return Emulation(kernel, check, unwritten, order, seed)


# ---- running -----------------------------------------------------------------------------------


def _run(emulation: Emulation, compiled: Compiled, launch: Launch, args: Sequence[Any]) -> None:
    """Run every thread of the grid."""
    made = compiled.made
    numbers = np.array([0, 0, 0, *launch.block, *launch.grid, launch.shared, 0], np.int64)
    shared = _Shared(made.shared, launch)
    order = _Order(emulation.order, np.random.default_rng(emulation.seed))
    if compiled.watched is None or not made.watched:
        _run_grid(compiled, launch, (numbers, *shared.arrays, *args), shared, order)
        return
    named = _named(compiled, shared, args)
    memory = Memory(compiled.watched, made, named, launch, emulation.unwritten == "error")
    args = (numbers, memory.watch, *shared.arrays, *args)
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
    made, function, numbers = compiled.made, compiled.function, args[0]
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
        self.dynamic = np.empty(launch.shared, np.uint8)
        places = -(-prod(launch.block) // WARP) * WARP
        self.static: list[np.ndarray] = []
        self.arrays = [self._make(s, places) for s in shared]

    def _make(self, s: Shared, places: int) -> np.ndarray:
        dtype = np.dtype(s.dtype)
        if s.slots:
            return np.zeros(places, dtype) * _poison(dtype)
        if s.shape is None:
            whole = self.dynamic.size // dtype.itemsize * dtype.itemsize
            return self.dynamic[:whole].view(dtype)
        self.static.append(np.empty(s.shape, dtype))
        return self.static[-1]

    def clear(self) -> None:
        """As a block finds it: poisoned, so that what is read unwritten is seen."""
        self.dynamic[...] = POISON
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
