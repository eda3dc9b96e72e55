"""A launch, whoever carries it out: memory for tapes, the kernel that counts, then the kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from numbaflux.cuda.kernel import (
    KernelVjp,
    Launch,
    check_arguments,
    for_launch,
    lengths,
    plain_argument,
    types_of,
    with_dups,
)
from numbaflux.cuda.recorder import RECORDER
from numbaflux.ir.build import array_of
from numbaflux.ir.nodes import Scalar, Var
from numbaflux.ir.trees import Program
from numbaflux.transforms.kernels.launches import Launched
from numbaflux.transforms.kernels.tapes import Taped, taped

Arrays = dict[Var, Any]


class Machine(Protocol):
    """What kernels run on: the emulator or a GPU."""

    def compile(self, program: Program) -> Any:
        """A kernel's program, its tapes among the arguments."""
        ...

    def run(self, compiled: Any, launch: Launch, args: Sequence[Any]) -> None: ...

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
    _prepared: dict[Launched, Prepared] = field(default_factory=dict)
    plans: dict[Any, Any] = field(default_factory=dict)

    def launched(self, kernel: Any, launch: Launch, args: Sequence[Any]) -> Launched:
        """The program of a kernel for these arguments and such launches."""
        key = (kernel, types_of(args), launch.known())
        if key not in self._launched:
            self._launched[key] = for_launch(kernel, args, launch)
        return self._launched[key]

    def prepared(self, launched: Launched) -> Prepared:
        if launched not in self._prepared:
            made, compile = taped(launched.program), self.machine.compile
            counting = None if made.counting is None else compile(made.counting)
            self._prepared[launched] = Prepared(made, compile(made.program), counting)
        return self._prepared[launched]

    def launch(
        self, launched: Launched, launch: Launch, args: Sequence[Any], given: Arrays | None = None
    ) -> Arrays:
        """Run it; its tapes, by the allocation they stand for. `given`: those that exist."""
        if launched.parts:  # without tapes
            for part in launched.parts:
                self.launch(part, launch.longer(part.more), args)
            return {}
        prepared = self.prepared(launched)
        tapes = self._tapes(prepared, launch, args, given or {})
        self.machine.run(prepared.compiled, launch, (*args, *tapes.values()))
        return tapes

    def _tapes(
        self, prepared: Prepared, launch: Launch, args: Sequence[Any], given: Arrays
    ) -> Arrays:
        tapes = prepared.taped.tapes
        shapes = lengths(prepared.taped, launch, args)
        counted = [i for i, shape in enumerate(shapes) if shape is None]
        if any(tapes[i].of not in given for i in counted):
            counts = self.machine.zeros((len(counted), launch.threads), np.dtype(np.int64))
            self.machine.run(prepared.counting, launch, (*args, counts))
            for i, count in zip(counted, self.machine.largest(counts), strict=True):
                shapes[i] = (count,)
        found: Arrays = {}
        for tape, shape in zip(tapes, shapes, strict=True):
            element = array_of(tape.array).element
            assert isinstance(element, Scalar)
            if tape.of in given:
                found[tape.of] = given[tape.of]
            else:
                found[tape.of] = self.machine.zeros((*(shape or ()), launch.threads), element.numpy)
        return found

    def of(self, kernel: Any, launch: Launch) -> Callable[..., Any]:
        """What `kernel[grid, block, ...]` is on this machine."""

        def run(*given: Any) -> None:
            args = tuple(map(plain_argument, given))
            check_arguments(args)
            recorder = RECORDER.get()
            if recorder is not None:
                recorder.launch(self, kernel, launch, args)
            else:
                self.launch(self.launched(kernel, launch, args), launch, args)

        def run_forward(*given: Any) -> tuple[None, Callable[..., None]]:
            args = tuple(map(plain_argument, given))
            check_arguments(args)
            if RECORDER.get() is not None:
                raise TypeError("a Tape keeps what the reverse needs: launch the kernel, not a vjp")
            return None, self._forward(kernel, launch, args)

        return run_forward if isinstance(kernel, KernelVjp) else run

    def shadows(self, args: Sequence[Any], given: Sequence[Any] = ()) -> list[Any]:
        """A shadow for every argument that can have one: the given one, or a new one."""
        given = (*given, *[None] * (len(args) - len(given)))
        return [self._shadow(a) if d is None else d for a, d in zip(args, given, strict=True)]

    def _shadow(self, arg: Any) -> Any:
        dtype = getattr(arg, "dtype", np.dtype(type(arg)) if isinstance(arg, float) else None)
        if dtype is None or dtype.kind != "f":
            return None
        return self.machine.zeros(getattr(arg, "shape", ()) or (1,), dtype)

    def _forward(self, kernel: KernelVjp, launch: Launch, args: Sequence[Any]) -> Pullback:
        """Nothing is known of the shadows yet: the record is of what all of them would need."""
        recorded = kernel.recorded(with_dups(args, self.shadows(args)), launch)
        written = self.launch(recorded.forward, launch, args)
        pairs = zip(recorded.read, recorded.written, strict=True)
        tapes = {back: written[front] for back, front in pairs}
        return Pullback(self, recorded.backward, launch, tuple(args), tapes)


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
        check_arguments(dups)
        self.executor.launch(self.backward, self.launch, dups, dict(self.tapes))
