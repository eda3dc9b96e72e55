"""Kernels for a GPU: their source, and how they are launched.

note [Compilers]  `cuda` is that of the user's own compiler, numba-cuda or numba-cuda-mlir, with
which the arrays and streams that come with a launch were made; one source does for both.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numba import typeof, types

from numbaflux.api import pipeline
from numbaflux.backends import cuda as backend
from numbaflux.errors import NumbafluxError
from numbaflux.ir.build import array_of
from numbaflux.ir.nodes import Function, Scalar
from numbaflux.ir.trees import Program
from numbaflux.passes.kernels.owner import Known
from numbaflux.passes.kernels.signs import decided, nonnegative
from numbaflux.passes.kernels.strides import strides
from numbaflux.passes.kernels.trips import bounds, launched, trips
from numbaflux.passes.loops.order import order
from numbaflux.passes.simplify import simplify
from numbaflux.transforms.kernels.tapes import Tape, Taped, taped

Shape = tuple[int, ...]

OPTIONS = ("fastmath",)  # of the user's kernel, that its derivatives take over


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
    compiler: str
    dynamic: int
    made: dict[str, Any]

    @property
    def text(self) -> str:
        return self.source.text

    @property
    def dispatcher(self) -> Any:
        """What `cuda.jit` made of it, when it was first asked for."""
        if "dispatcher" not in self.made:
            self.made["dispatcher"] = pipeline.keep(self.name, self.source).function
        return self.made["dispatcher"]


@dataclass(frozen=True, eq=False, slots=True)
class OnDevice:
    """A derivative's kernel, its tapes, and the kernel that counts how long they have to be."""

    taped: Taped
    kernel: DeviceKernel
    counting: DeviceKernel | None

    def bind(
        self, launch: Any, leaves: Sequence[Any], shapes: Sequence[Shape | None]
    ) -> Callable[[], None]:
        """What launches it, with its tapes allocated; `shapes` are theirs, None where counted."""
        cuda = cuda_of(self.kernel.compiler)
        given = [imported(leaf, cuda) for leaf in leaves]
        shapes = list(shapes)
        if self.counting is not None:
            counted = [i for i, shape in enumerate(shapes) if shape is None]
            counts = cuda.to_device(np.zeros((len(counted), launch.threads), np.int64))
            self._start(self.counting, launch, [*given, counts])
            for i, longest in zip(counted, counts.copy_to_host().max(axis=1)):
                shapes[i] = (int(longest),)
        tapes = [
            cuda.device_array((*(shape or ()), launch.threads), dtype_of(t))
            for t, shape in zip(self.taped.tapes, shapes, strict=True)
        ]
        return partial(self._start, self.kernel, launch, [*given, *tapes])

    def _start(self, kernel: DeviceKernel, launch: Any, args: list[Any]) -> None:
        """Launch with the dynamic memory it needs. note [Dynamic] in backends/cuda.py"""
        shared = launch.shared
        if kernel.dynamic:
            args = [*args, shared]
            shared = -(-shared // backend.WORD) * backend.WORD * kernel.dynamic
        kernel.dispatcher[launch.grid, launch.block, launch.stream, shared](*args)


def on_device(
    name: str, program: Program, known: Known, compiler: str, options: Mapping[str, Any]
) -> OnDevice:
    """The program of a kernel, written for launches of that kind."""

    def written(name: str, program: Program) -> DeviceKernel:
        name, made = pipeline.identifier(name), backend.launchable(program)
        made = replace(made, function=_specialised(made.function, known))
        proven = nonnegative(made.function, bounds(known.block))
        source = backend.write(name, made, proven, compiler, options)
        return DeviceKernel(name, made, source, compiler, backend.dynamic_arrays(made), {})

    made = taped(program)
    counting = None if made.counting is None else written(f"count_{name}", made.counting)
    return OnDevice(made, written(name, made.program), counting)


def _specialised(fn: Function, known: Known) -> Function:
    """The kernel as quick as it can be for such launches."""
    fn = simplify(order(simplify(trips(launched(fn, known.block, known.many)))))
    fn = simplify(decided(simplify(strides(fn)), bounds(known.block)))
    return simplify(trips(fn))


def dtype_of(tape: Tape) -> np.dtype:
    """The NumPy type of a tape's elements."""
    element = array_of(tape.array).element
    assert isinstance(element, Scalar)
    return element.numpy


def compiler_of(dispatcher: Any) -> str:
    """The package whose `cuda.jit` made it; of a plain function, numba.  note [Compilers]"""
    package = type(dispatcher).__module__.split(".")[0]
    return package if package == "numba_cuda_mlir" else "numba"


def options_of(dispatcher: Any) -> dict[str, Any]:
    """Those of its compiler options that derivatives take over."""
    given = getattr(dispatcher, "targetoptions", {})
    return {name: given[name] for name in OPTIONS if given.get(name)}


def cuda_of(compiler: str) -> Any:
    """The compiler's `cuda`, if there is a GPU for it.

    Raises NoCudaError without one.
    """
    cuda = importlib.import_module(f"{compiler}.cuda")
    if not cuda.is_available():
        raise NoCudaError(
            "no CUDA, or no GPU, was found\n"
            "  why      a derivative of a kernel is launched on a GPU, as the kernel is\n"
            "  instead  run it on the CPU: numbaflux.cuda.emulate(derivative)[grid, block](...)"
        )
    return cuda


# ---- arguments ---------------------------------------------------------------------------------


def imported(arg: Any, cuda: Any) -> Any:
    """An array that another library has on the device as Numba's, not copied."""
    if hasattr(arg, "__cuda_array_interface__") and not hasattr(arg, "copy_to_host"):
        return cuda.as_cuda_array(arg)
    return arg


def type_of(arg: Any) -> Any:
    """The Numba type of an argument, which may be a type or hold types.

    An array on the device has the type of its like on the host.
    """
    if isinstance(arg, types.Type):
        return arg
    if isinstance(arg, tuple):
        return types.BaseTuple.from_types([type_of(item) for item in arg], type(arg))
    given = getattr(arg, "__cuda_array_interface__", None)
    if given is None:
        return typeof(arg)
    dtype, shape, strides = np.dtype(given["typestr"]), given["shape"], given.get("strides")
    one, writeable = np.empty(1, dtype), not given["data"][1]
    return typeof(np.lib.stride_tricks.as_strided(one, shape, strides, writeable=writeable))
