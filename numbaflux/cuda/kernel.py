"""Derivatives of kernels as objects that are launched like kernels, and what a launch is.

A derivative's program depends on the types of its arguments and on whether the launch is flat:
whether it has one thread along the axes that the kernel does not ask for, as the owner rule
(passes/owner.py) wants it.  Both are known when it is launched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from numbaflux import frontend
from numbaflux.api.transforms import Dup, InPlace
from numbaflux.cuda.device import DeviceKernel, compiler_of, device_kernel, options_of, type_of
from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import array_of
from numbaflux.ir.nodes import Accumulate, Function
from numbaflux.ir.verify import verify
from numbaflux.ir.walk import walk
from numbaflux.passes.accumulate import accumulate
from numbaflux.passes.simplify import simplify
from numbaflux.transforms import launches
from numbaflux.transforms.launches import Launched

Types = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Launch:
    """[grid, block, stream, shared]: how many blocks of how many threads, and dynamic memory."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    stream: Any = 0
    shared: int = 0  # bytes

    @classmethod
    def of(cls, config: Any) -> Launch:
        """From what stands in the brackets: integers or tuples of up to three."""
        if not isinstance(config, tuple) or not 2 <= len(config) <= 4:
            raise TypeError("a kernel is launched as kernel[grid, block, stream, shared](...)")
        grid, block, *rest = config
        return cls(_three(grid, "grid"), _three(block, "block"), *rest)

    def extent(self, number: str) -> int:
        """How many values a number of a thread has: thread_x, ..., grid_z."""
        kind, axis = number.rsplit("_", 1)
        at = "xyz".index(axis)
        return self.block[at] * (self.grid[at] if kind == "grid" else 1)


def _three(sizes: Any, what: str) -> tuple[int, int, int]:
    found = tuple(sizes) if isinstance(sizes, Sequence | np.ndarray) else (sizes,)
    whole = all(isinstance(n, int | np.integer) and n > 0 for n in found)
    if not 1 <= len(found) <= 3 or not whole:
        raise ValueError(f"the {what} is one to three positive integers, not {sizes!r}")
    x, y, z = (int(n) for n in (*found, 1, 1)[:3])
    return x, y, z


@dataclass(eq=False)
class KernelDerivative:
    """`transform` of a kernel, a derivative of one included.

    `deterministic`: its result must not depend on the order in which threads run.
    """

    transform: InPlace
    primal: Any
    deterministic: bool = False
    _programs: dict[tuple[Types, bool], Launched] = field(default_factory=dict)
    _kernels: dict[Launched, DeviceKernel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.primal, KernelDerivative) and not callable(
            getattr(self.primal, "py_func", self.primal)
        ):
            raise TypeError(f"{self.transform.name}() takes a kernel, not {self.primal!r}")

    @property
    def __name__(self) -> str:
        return f"{self.transform.name}_{name_of(self.primal)}"

    def __getitem__(self, config: Any) -> Callable[..., None]:
        """Launch it on a GPU, like a kernel of Numba's: derivative[grid, block, stream, shared]."""
        launch = Launch.of(config)

        def run(*args: Any) -> None:
            check_arguments(args)
            kernel = self.kernel(for_launch(self, args, launch))
            kernel.launch(launch.grid, launch.block, launch.stream, launch.shared, args)

        return run

    def kernel(self, launched: Launched) -> DeviceKernel:
        """The program as a kernel for a GPU, made once."""
        if launched not in self._kernels:
            user = user_kernel(self)
            self._kernels[launched] = device_kernel(
                self.__name__, launched.program, compiler_of(user), options_of(user)
            )
        return self._kernels[launched]

    def launched(self, arg_types: Types, flat: bool) -> Launched:
        """The program for these argument types, made once."""
        key = (arg_types, flat)
        if key not in self._programs:
            of = launched(self.primal, self.transform.primal_types(arg_types), flat)
            shadows = self.transform.shadows(of.program, arg_types)
            made = getattr(launches, self.transform.name)(of, shadows, self.transform.dup, flat)
            verify(made.program.function)
            if self.deterministic:
                refuse_atomics(made.program.function)
            self._programs[key] = made
        return self._programs[key]


def refuse_atomics(fn: Function) -> None:
    """Raise UnsupportedError for a sum of floats whose order the threads decide."""
    for stmt in walk(fn.block):
        if isinstance(stmt, Accumulate) and stmt.atomic and array_of(stmt.array).is_float:
            name = getattr(stmt.array, "name", "an array")
            raise UnsupportedError(
                f"an atomic addition to `{name}` in a deterministic adjoint", stmt.loc,
                "several threads may add to one element, in an order that changes",
                "let every thread read elements of its own, or leave out deterministic=True",
            )  # fmt: skip


def user_kernel(kernel: Any) -> Any:
    """The kernel of the user's that a derivative is of, of whatever order."""
    return user_kernel(kernel.primal) if isinstance(kernel, KernelDerivative) else kernel


def name_of(kernel: Any) -> str:
    if isinstance(kernel, KernelDerivative):
        return kernel.__name__
    return getattr(kernel, "py_func", kernel).__name__


def launched(kernel: Any, arg_types: Types, flat: bool = True) -> Launched:
    """The program of a kernel or of a derivative of one."""
    if isinstance(kernel, KernelDerivative):
        return kernel.launched(arg_types, flat)
    program = frontend.read_kernel(kernel, arg_types)
    return Launched(replace(program, function=accumulate(simplify(program.function))))


def types_of(args: Sequence[Any]) -> Types:
    return tuple(type_of(a) for a in args)


def for_launch(kernel: Any, args: Sequence[Any], launch: Launch) -> Launched:
    """The program for these arguments, with the proofs that hold for this launch."""
    arg_types = types_of(args)
    made = launched(kernel, arg_types)
    if all(launch.extent(number) == 1 for number in made.alone):
        return made
    return launched(kernel, arg_types, flat=False)


# ---- arguments ---------------------------------------------------------------------------------


def check_arguments(args: Sequence[Any]) -> None:
    """Raise ValueError for a shadow of another shape, or one array that is passed twice."""
    for arg in args:
        for primal, shadow in pairs(arg):
            if getattr(primal, "shape", None) != getattr(shadow, "shape", None):
                wanted = getattr(primal, "shape", ())
                if wanted == () and getattr(shadow, "shape", None) == (1,):
                    continue
                raise ValueError(f"a shadow of shape {shadow.shape} for an array of shape {wanted}")
    spans = sorted(_span(a) for arg in args for a in arrays(arg) if prod(a.shape))
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise ValueError("two arrays that are passed to a kernel share memory")


def pairs(arg: Any) -> Iterator[tuple[Any, Any]]:
    """Every primal array in an argument with its shadow."""
    if not isinstance(arg, tuple):
        return
    if isinstance(arg, Dup):
        yield from zip(arrays(arg.primal), arrays(arg.shadow), strict=False)
    for item in arg:
        yield from pairs(item)


def arrays(arg: Any) -> Iterator[Any]:
    if isinstance(arg, tuple):
        for item in arg:
            yield from arrays(item)
    elif hasattr(arg, "shape") and getattr(arg, "ndim", 0):
        yield arg


def _span(array: Any) -> tuple[int, int]:
    """The addresses that an array's elements lie between."""
    if isinstance(array, np.ndarray):
        return np.lib.array_utils.byte_bounds(array)
    start = _interface(array)["data"][0]
    size = array.dtype.itemsize
    strides = array.strides or (size,)
    return start, start + size + sum((n - 1) * s for n, s in zip(array.shape, strides) if s > 0)


def _interface(array: Any) -> Mapping[str, Any]:
    return array.__cuda_array_interface__
