"""A launch, whoever carries it out: memory for tapes, the kernel that counts, then the kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from numbaflux.cuda.arguments import (
    check_arguments,
    is_array,
    leaves_of,
    plain_argument,
    types_of,
    with_dups,
    with_leaves,
)
from numbaflux.cuda.kernel import KernelVjp, for_launch, given_to, lengths
from numbaflux.cuda.launch import Launch
from numbaflux.cuda.recorder import RECORDER
from numbaflux.ir.build import array_of
from numbaflux.ir.nodes import Scalar, Var
from numbaflux.ir.trees import Program
from numbaflux.passes.kernels.owner import Known
from numbaflux.transforms.kernels.launches import Launched
from numbaflux.transforms.kernels.tapes import Tape, Taped, taped

Arrays = dict[Var, Any]
Start = Callable[[], None]


class Machine(Protocol):
    """What kernels run on: the emulator or a GPU."""

    def compile(self, program: Program, known: Known) -> Any:
        """A kernel's program, its tapes among the arguments, for launches of that kind."""
        ...

    def adopted(self, array: Any) -> Any:
        """An array of another library as the machine's own, not copied."""
        ...

    def bind(self, compiled: Any, launch: Launch, args: Sequence[Any]) -> Start:
        """What launches it with these arguments."""
        ...

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> Any: ...

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> Any: ...

    def largest(self, counts: Any) -> list[int]:
        """The largest number in each row of an array of the machine's."""
        ...

    def stamp(self, array: Any) -> int | None:
        """A number that most likely changes with the contents; None where it would cost much."""
        ...

    def copied(self, array: Any) -> Any: ...

    def copy(self, target: Any, source: Any) -> None:
        """From an array of the same shape and type, or one number for all elements."""
        ...

    def add(self, target: Any, source: Any) -> None:
        """Add an array of the same shape and type, in place."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A kernel that is compiled, and the one that counts for its tapes."""

    taped: Taped
    compiled: Any
    counting: Any


@dataclass(frozen=True, eq=False)
class Executor:
    """Carries out launches on a machine; what it compiles it keeps."""

    machine: Machine
    _launched: dict[Any, Launched] = field(default_factory=dict)
    _prepared: dict[tuple[Launched, Known], Prepared] = field(default_factory=dict)
    plans: dict[Any, Any] = field(default_factory=dict)

    def of(self, kernel: Any, launch: Launch) -> Configured:
        """What `kernel[grid, block, ...]` is on this machine."""
        return Configured(self, kernel, launch)

    def launched(self, kernel: Any, launch: Launch, args: Sequence[Any]) -> Launched:
        """The program of a kernel for these arguments and such launches."""
        key = (kernel, types_of(args), launch.known())
        if key not in self._launched:
            self._launched[key] = for_launch(kernel, args, launch)
        return self._launched[key]

    def prepared(self, launched: Launched, known: Known) -> Prepared:
        """The program for such launches, compiled."""
        key = (launched, known)
        if key not in self._prepared:
            made, compile = taped(launched.program), self.machine.compile
            counting = None if made.counting is None else compile(made.counting, known)
            self._prepared[key] = Prepared(made, compile(made.program, known), counting)
        return self._prepared[key]

    def arguments(self, given: Sequence[Any]) -> tuple[Any, ...]:
        """Arguments as programs take them.  Raises ValueError for those that do not fit."""
        leaves = (self.machine.adopted(a) if is_array(a) else a for a in leaves_of(given))
        args = with_leaves(given, map(plain_argument, leaves))
        check_arguments(args)
        return args

    def launch(
        self, launched: Launched, launch: Launch, args: Sequence[Any], given: Arrays | None = None
    ) -> Arrays:
        """Run it; its tapes, by the allocation they stand for. `given`: those that exist."""
        start, tapes = self.ready(launched, launch, args, given)
        start()
        return tapes

    def ready(
        self, launched: Launched, launch: Launch, args: Sequence[Any], given: Arrays | None = None
    ) -> tuple[Start, Arrays]:
        """What launches it, any number of times, and its tapes."""
        if launched.parts:  # without tapes
            return self._in_parts(launched, launch, args), {}
        prepared = self.prepared(launched, launch.known())
        tapes = self._tapes(prepared, launch, args, given or {})
        start = self.machine.bind(prepared.compiled, launch, (*args, *tapes.values()))
        return start, tapes

    def _in_parts(self, launched: Launched, launch: Launch, args: Sequence[Any]) -> Start:
        """What launches the parts, with the integers that they share."""
        found, empty, copy = given_to(launched.program, args), self.machine.empty, self.machine.copy
        shared = [empty(found[p].shape, np.dtype(np.int64)) for p in launched.elements]
        args = (*args, *shared)
        parts = (self.ready(p, launch.longer(p.more), args)[0] for p in launched.parts)
        return partial(_one_by_one, (*(partial(copy, array, 0) for array in shared), *parts))

    def _tapes(
        self, prepared: Prepared, launch: Launch, args: Sequence[Any], given: Arrays
    ) -> Arrays:
        tapes, found = prepared.taped.tapes, dict(given)
        shapes = lengths(prepared.taped, launch, args)

        def make(tape: Tape, shape: tuple[int, ...]) -> None:
            if tape.of not in found:
                found[tape.of] = self.machine.empty((*shape, launch.threads), dtype_of(tape))

        for tape, shape in zip(tapes, shapes, strict=True):
            if shape is not None:
                make(tape, shape)
        counted = [tape for tape, shape in zip(tapes, shapes) if shape is None]
        if any(tape.of not in found for tape in counted):
            counts = self.machine.zeros((len(counted), launch.threads), np.dtype(np.int64))
            before = (found[tape.of] for tape in prepared.taped.before)
            self.machine.bind(prepared.counting, launch, (*args, counts, *before))()
            for tape, longest in zip(counted, self.machine.largest(counts), strict=True):
                make(tape, (longest,))
        return {tape.of: found[tape.of] for tape in tapes}

    def shadows(self, args: Sequence[Any], given: Sequence[Any] = ()) -> list[Any]:
        """A shadow for every argument that can have one: the given one, or a new one."""
        given = (*given, *[None] * (len(args) - len(given)))
        return [self._shadow(a) if d is None else d for a, d in zip(args, given, strict=True)]

    def _shadow(self, arg: Any) -> Any:
        dtype = getattr(arg, "dtype", np.dtype(type(arg)) if isinstance(arg, float) else None)
        if dtype is None or dtype.kind != "f":
            return None
        return self.machine.zeros(getattr(arg, "shape", ()) or (1,), dtype)

    def forward(self, kernel: KernelVjp, launch: Launch, args: Sequence[Any]) -> Pullback:
        """Nothing is known of the shadows yet: the record is of what all of them would need."""
        dups = with_dups(args, [_stand_in(a) for a in args])
        recorded = kernel.recorded(dups, launch.known())
        written = self.launch(recorded.forward, launch, args)
        pairs = zip(recorded.read, recorded.written, strict=True)
        tapes = {back: written[front] for back, front in pairs}
        return Pullback(self, recorded.backward, launch, tuple(args), tapes)


def _one_by_one(starts: Sequence[Start]) -> None:
    for start in starts:
        start()


@dataclass(frozen=True, eq=False)
class Launchable:
    """A kernel with what it runs on, launched as `launchable[grid, block, stream, shared](...)`."""

    kernel: Any
    executor: Executor

    def __getitem__(self, config: Any) -> Configured:
        return self.executor.of(self.kernel, Launch.of(config))


@dataclass(frozen=True, slots=True)
class Configured:
    """A kernel, or a derivative of one, and how and on what it is launched."""

    executor: Executor
    kernel: Any
    launch: Launch

    def __call__(self, *given: Any) -> tuple[None, Pullback] | None:
        """Launch it, or have the active Tape do so."""
        args, recorder = self.executor.arguments(given), RECORDER.get()
        if isinstance(self.kernel, KernelVjp):
            if recorder is not None:
                raise TypeError("a Tape keeps what the reverse needs: launch the kernel, not a vjp")
            return None, self.executor.forward(self.kernel, self.launch, args)
        if recorder is not None:
            recorder.launch(self.executor, self.kernel, self.launch, args)
        else:
            launched = self.executor.launched(self.kernel, self.launch, args)
            self.executor.launch(launched, self.launch, args)
        return None

    def bind(self, *given: Any) -> Start:
        """What launches it with these arguments, any number of times, in the least time.

        Its tapes are allocated once; they fit for as long as loops run no longer than now.
        """
        if RECORDER.get() is not None or isinstance(self.kernel, KernelVjp):
            raise TypeError("what is bound is launched many times, and not recorded")
        args = self.executor.arguments(given)
        launched = self.executor.launched(self.kernel, self.launch, args)
        return self.executor.ready(launched, self.launch, args)[0]


@dataclass(frozen=True, eq=False)
class Pullback:
    """The reverse of one launch, called with a shadow, or None, for each argument.

    It adds to the shadows as `adjoint` does, any number of times.
    """

    executor: Executor
    backward: Launched
    launch: Launch
    args: tuple[Any, ...]
    tapes: Mapping[Var, Any]

    def __call__(self, *shadows: Any) -> None:
        dups = with_dups(self.args, self.executor.shadows(self.args, shadows))
        dups = self.executor.arguments(dups)
        self.executor.launch(self.backward, self.launch, dups, dict(self.tapes))


def _stand_in(arg: Any) -> Any:
    """Something of the type that the shadow of an argument has."""
    if is_array(arg):
        return np.empty((0,) * arg.ndim, arg.dtype) if arg.dtype.kind == "f" else None
    return np.empty(0, type(arg)) if isinstance(arg, float | np.floating) else None


def dtype_of(tape: Tape) -> np.dtype:
    """The NumPy type of a tape's elements."""
    element = array_of(tape.array).element
    assert isinstance(element, Scalar)
    return element.numpy
