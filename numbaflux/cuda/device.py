"""Kernels for a GPU: their source, and how they are launched.

note [Compilers]  `cuda` is that of the user's own compiler, numba-cuda or numba-cuda-mlir, with
which the arrays and streams that come with a launch were made; one source does for both.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import typeof, types

from numbaflux.api import pipeline
from numbaflux.backends import cuda as backend
from numbaflux.errors import NumbafluxError
from numbaflux.ir.trees import Program
from numbaflux.passes.signs import nonnegative

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

    def launch(self, grid: Any, block: Any, stream: Any, shared: int, args: Sequence[Any]) -> None:
        """Launch it as the primal was, on the same stream."""
        flat = list(on_device(args, cuda_of(self.compiler)))
        if self.dynamic:
            flat.append(shared)
            shared = -(-shared // backend.WORD) * backend.WORD * self.dynamic
        self.dispatcher[grid, block, stream, shared](*flat)


def device_kernel(name: str, program: Program, compiler: str, options: Any) -> DeviceKernel:
    """The program of a kernel, written."""
    name, made = pipeline.identifier(name), backend.launchable(program)
    proven = nonnegative(made.function)
    source = backend.write(name, made, proven, compiler, options)
    return DeviceKernel(name, made, source, compiler, backend.dynamic_arrays(made), {})


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


def on_device(args: Sequence[Any], cuda: Any) -> Iterator[Any]:
    """The leaves of arguments; other libraries' arrays on the device as Numba's, not copied."""
    for arg in args:
        if isinstance(arg, tuple):
            yield from on_device(arg, cuda)
        elif arg is None:
            continue
        elif hasattr(arg, "__cuda_array_interface__") and not hasattr(arg, "copy_to_host"):
            yield cuda.as_cuda_array(arg)
        else:
            yield arg


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
    like = np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, strides, writeable=True)
    like.flags.writeable = not given["data"][1]
    return typeof(like)
