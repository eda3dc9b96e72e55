"""The machine that kernels are written for: a GPU, and how they are launched on it.

note [Compilers]  `cuda` is that of the user's own compiler, numba-cuda or numba-cuda-mlir, with
which the arrays and streams that come with a launch were made; one source does for both.

note [Default stream]  Memory is written on the default stream, after what was launched on it or on
a stream that waits for it, as those of `cuda.stream()` do, and is there when that returns.
"""

# pyright: reportCallIssue=false, reportArgumentType=false
# numba.cuda declares its functions as classes, for its own typing.

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numba import cuda

from numbaflux.api import pipeline
from numbaflux.backends import cuda as backend
from numbaflux.cuda.arguments import leaves_of, on_host
from numbaflux.cuda.execution import Executor, Start
from numbaflux.cuda.kernel import user_kernel
from numbaflux.cuda.launch import Launch
from numbaflux.errors import NumbafluxError
from numbaflux.ir.nodes import Function
from numbaflux.ir.trees import Program
from numbaflux.passes.kernels.integers import integers
from numbaflux.passes.kernels.owner import Known
from numbaflux.passes.kernels.shares import shares
from numbaflux.passes.kernels.signs import decided, nonnegative
from numbaflux.passes.kernels.strides import strides
from numbaflux.passes.kernels.trips import bounds, launched, trips
from numbaflux.passes.loops.order import order
from numbaflux.passes.simplify import simplify

MLIR = "numba_cuda_mlir"  # one of the packages. note [Compilers]
OPTIONS = ("fastmath",)  # of the user's kernel, that its derivatives take over
BLOCK = 256  # threads, for what a machine does itself


class NoCudaError(NumbafluxError, RuntimeError):
    """A kernel was launched, but no CUDA, or no GPU, is there."""


@dataclass(frozen=True, eq=False, slots=True)
class DeviceKernel:
    """A kernel as source for `cuda.jit`.

    `dynamic`: how many times the dynamic shared memory of the primal's launch it needs.
    """

    name: str
    program: Program  # launchable
    source: Any  # of backends.cpu
    dynamic: int
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.source.text

    @property
    def dispatcher(self) -> Any:
        """What `cuda.jit` made of it, when it was first asked for."""
        if "dispatcher" not in self.made:
            self.made["dispatcher"] = pipeline.keep(self.name, self.source).function
        return self.made["dispatcher"]


@dataclass(frozen=True, eq=False)
class Gpu:
    """The machine of a compiler, and the options that it is given.

    Kernels are written without one; all else raises NoCudaError where there is none.
    """

    compiler: str  # the package. note [Compilers]
    options: Mapping[str, Any] = field(default_factory=dict)
    _adding: list[Executor] = field(default_factory=list)

    @property
    def cuda(self) -> Any:
        """The compiler's `cuda`, if there is a GPU for it."""
        return cuda_of(self.compiler)

    def compile(self, program: Program, known: Known) -> DeviceKernel:
        """note [Flat] in backends/cuda.py"""
        name, made = pipeline.identifier(program.function.name), backend.launchable(program)
        made = replace(made, function=_specialised(made.function, known))
        proven = nonnegative(made.function, bounds(known.block))
        made = replace(made, function=integers(made.function))
        source = backend.write(name, made, proven, self.compiler, self.options)
        return DeviceKernel(name, made, source, backend.dynamic_arrays(made))

    def adopted(self, array: Any) -> Any:
        """Numba copies what is on the host to the GPU and back, whenever it is launched."""
        if on_host(array) or hasattr(array, "copy_to_host"):
            return array
        return self.cuda.as_cuda_array(array)

    def bind(self, compiled: DeviceKernel, launch: Launch, args: Sequence[Any]) -> Start:
        """With the dynamic memory it needs. note [Dynamic] in backends/cuda.py"""
        cuda_of(self.compiler)
        leaves = [leaf for leaf in leaves_of(args) if leaf is not None]
        shared = launch.shared
        if compiled.dynamic:
            leaves.append(shared)
            shared = -(-shared // backend.WORD) * backend.WORD * compiled.dynamic
        ready = compiled.dispatcher[launch.grid, launch.block, launch.stream, shared]
        return partial(ready, *leaves)

    # ---- memory. note [Default stream] -------------------------------------------------------

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> Any:
        return self.cuda.device_array(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> Any:
        made = self.empty(shape, dtype)
        self.copy(made, 0)
        return made

    def largest(self, counts: Any) -> list[int]:
        self.cuda.synchronize()  # they may have been counted on any stream
        return [int(n) for n in counts.copy_to_host().max(axis=1)]

    def stamp(self, array: Any) -> None:
        """It would have to be read."""

    def copied(self, array: Any) -> Any:
        made = self.cuda.device_array_like(self.adopted(array))
        self.copy(made, array)
        return made

    def copy(self, target: Any, source: Any) -> None:
        target = self.adopted(target)
        if target.size:
            target[:] = source

    def add(self, target: Any, source: Any) -> None:
        """Both lie as `zeros` makes them."""
        if not target.size:
            return
        if not self._adding:
            self._adding.append(Executor(self))
        (executor,) = self._adding
        flat = [array.reshape(array.size) for array in (target, source)]
        launch = Launch.of((-(-target.size // BLOCK), BLOCK))
        executor.launch(executor.launched(_add, launch, flat), launch, flat)


def _add(target, source):
    i = cuda.grid(1)
    if i < target.size:
        target[i] += source[i]


def _specialised(fn: Function, known: Known) -> Function:
    """The kernel as quick as it can be for such launches."""
    fn = simplify(order(simplify(trips(launched(fn, known.block, known.many)))))
    fn = simplify(shares(fn, bounds(known.block)))
    fn = simplify(decided(simplify(strides(fn)), bounds(known.block)))
    return simplify(trips(fn))


def gpu(kernel: Any) -> Executor:
    """What carries out launches of a kernel, or of its derivatives, on a GPU."""
    user = user_kernel(kernel)
    return Executor(Gpu(compiler_of(user), options_of(user)))


@cache
def memory_of(compiler: str) -> Gpu:
    """The GPU that arrays of a compiler are on."""
    return Gpu(compiler)


def compiler_of(made: Any) -> str:
    """The package that made a kernel or an array; of what is not its own, numba.

    note [Compilers]
    """
    package = type(made).__module__.split(".")[0]
    return package if package == MLIR else "numba"


def options_of(dispatcher: Any) -> dict[str, Any]:
    """Those of its compiler options that derivatives take over."""
    given = getattr(dispatcher, "targetoptions", {})
    return {name: given[name] for name in OPTIONS if given.get(name)}


def cuda_of(compiler: str) -> Any:
    """The compiler's `cuda`, if there is a GPU for it.

    Raises NoCudaError without one.
    """
    found = importlib.import_module(f"{compiler}.cuda")
    if not found.is_available():
        raise NoCudaError(
            "no CUDA, or no GPU, was found\n"
            "  why      kernels and their derivatives are launched on a GPU\n"
            "  instead  run them on the CPU: numbaflux.cuda.emulate(kernel)[grid, block](...)"
        )
    return found
