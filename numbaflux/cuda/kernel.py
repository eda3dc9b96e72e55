"""Derivatives of kernels as objects that are launched like kernels, and what a launch is.

A derivative's program depends on the types of its arguments and on what is known of the launch, the
shape of a block above all: the owner rule (passes/kernels/owner.py) asks what threads there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any, NoReturn

import numpy as np

from numbaflux import frontend
from numbaflux.api.transforms import Dup, InPlace
from numbaflux.cuda.device import OnDevice, compiler_of, on_device, options_of, type_of
from numbaflux.cuda.recorder import RECORDER
from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import array_of, var_of
from numbaflux.ir.nodes import Accumulate, Dim, Function, Var
from numbaflux.ir.trees import leaves
from numbaflux.ir.verify import verify
from numbaflux.ir.walk import walk
from numbaflux.passes.accumulate import accumulate
from numbaflux.passes.kernels.indices import indices
from numbaflux.passes.kernels.owner import PARTS, Known
from numbaflux.passes.kernels.trips import sizes
from numbaflux.passes.simplify import simplify
from numbaflux.transforms.kernels import launches
from numbaflux.transforms.kernels.launches import Launched, Recorded
from numbaflux.transforms.kernels.tapes import Taped, upper_bound

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

    def longer(self, more: Sequence[int]) -> Launch:
        """The launch with so many more blocks along each axis."""
        x, y, z = (n + m for n, m in zip(self.grid, more, strict=True))
        return replace(self, grid=(x, y, z))

    @property
    def threads(self) -> int:
        return prod(self.grid) * prod(self.block)

    def numbers(self) -> dict[str, int]:
        """How many values each number of a thread has; of the launch's own numbers, which."""
        found = {"warp_lane": 32, "dynamic_bytes": self.shared}
        for at, axis in enumerate("xyz"):
            grid, block = self.grid[at], self.block[at]
            found |= {f"thread_{axis}": block, f"block_dim_{axis}": block}
            found |= {f"block_{axis}": grid, f"grid_dim_{axis}": grid}
            found |= {f"grid_{axis}": grid * block, f"grid_size_{axis}": grid * block}
        return found

    def known(self) -> Known:
        """What a kernel's program may depend on."""
        numbers = self.numbers()
        return Known(self.block, frozenset(p for p in PARTS if numbers[p] > 1))


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
    _programs: dict[tuple[Types, Known], Launched] = field(default_factory=dict)
    _kernels: dict[Launched, OnDevice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.primal, KernelDerivative) and not callable(
            getattr(self.primal, "py_func", self.primal)
        ):
            raise TypeError(f"{self.transform.name}() takes a kernel, not {self.primal!r}")

    @property
    def __name__(self) -> str:
        return f"{self.transform.name}_{name_of(self.primal)}"

    def __getitem__(self, config: Any) -> Configured:
        """Ready to be launched, like a kernel of Numba's: derivative[grid, block](...)."""
        return Configured(self, Launch.of(config))

    def kernel(self, launched: Launched, known: Known) -> OnDevice:
        """The program for such launches as kernels for a GPU, made once."""
        if launched not in self._kernels:
            user = user_kernel(self)
            self._kernels[launched] = on_device(
                launched.program.function.name,
                launched.program,
                known,
                compiler_of(user),
                options_of(user),
            )
        return self._kernels[launched]

    def launched(self, arg_types: Types, known: Known) -> Launched:
        """The program for these argument types and such launches, made once."""
        key = (arg_types, known)
        if key not in self._programs:
            of = launched(self.primal, self.transform.primal_types(arg_types), known)
            shadows = self.transform.shadows(of.program, arg_types)
            made = getattr(launches, self.transform.name)(of, shadows, self.transform.dup, known)
            for part in (made, *made.parts):
                verify(part.program.function)
            if self.deterministic:
                for part in made.launches:
                    refuse_atomics(part.program.function)
            self._programs[key] = made
        return self._programs[key]


@dataclass(eq=False)
class KernelVjp:
    """A kernel that, launched, gives (None, pullback)."""

    primal: Any
    _programs: dict[tuple[Types, Known], Recorded] = field(default_factory=dict)

    def __getitem__(self, config: Any) -> NoReturn:
        raise UnsupportedError(
            f"the vjp of the kernel `{name_of(self.primal)}` on a GPU", None,
            "what it records is kept by the emulator only, so far",
            "use nf.cuda.emulate(nf.cuda.vjp(kernel))[grid, block](...), or nf.cuda.adjoint",
        )  # fmt: skip

    def recorded(self, dups: Sequence[Any], launch: Launch) -> Recorded:
        """The kernel that records and its adjoint, for arguments with their shadows."""
        key = (types_of(dups), launch.known())
        if key not in self._programs:
            transform = InPlace("adjoint")
            of = launched(self.primal, transform.primal_types(key[0]), key[1])
            shadows = transform.shadows(of.program, key[0])
            made = launches.pullback(of, shadows, transform.dup, key[1])
            verify(made.forward.program.function)
            verify(made.backward.program.function)
            self._programs[key] = made
        return self._programs[key]


def with_dups(args: Sequence[Any], shadows: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments, as Dup(x, dx) where there is a shadow."""
    return tuple(a if d is None else Dup(a, d) for a, d in zip(args, shadows, strict=True))


@dataclass(frozen=True, slots=True)
class Configured:
    """A derivative and how it is launched."""

    derivative: KernelDerivative
    launch: Launch

    def __call__(self, *args: Any) -> None:
        """Launch it on a GPU."""
        self.bind(*args)()

    def bind(self, *args: Any) -> Callable[[], None]:
        """What launches it with these arguments, any number of times, in the least time.

        Its tapes are allocated once; they fit for as long as loops run no longer than now.
        """
        if RECORDER.get() is not None:
            raise TypeError(
                "a Tape records emulated launches: nf.cuda.emulate(kernel)[grid, block]"
            )
        check_arguments(args)
        program = for_launch(self.derivative, args, self.launch)
        starts = [self._bound(part, args) for part in program.launches]

        def start() -> None:
            for each in starts:
                each()

        return start

    def _bound(self, part: Launched, args: Sequence[Any]) -> Callable[[], None]:
        launch = self.launch.longer(part.more)
        kernel = self.derivative.kernel(part, launch.known())
        leaves = [leaf for arg in args for leaf in flat(arg) if leaf is not None]
        return kernel.bind(launch, leaves, lengths(kernel.taped, launch, args))


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


def launched(kernel: Any, arg_types: Types, known: Known) -> Launched:
    """The program of a kernel or of a derivative of one, for launches of that kind."""
    if isinstance(kernel, KernelDerivative):
        return kernel.launched(arg_types, known)
    program = frontend.read_kernel(kernel, arg_types, known.block)
    return Launched(
        replace(program, function=accumulate(simplify(sizes(indices(program.function)))))
    )


def types_of(args: Sequence[Any]) -> Types:
    return tuple(type_of(a) for a in args)


def for_launch(kernel: Any, args: Sequence[Any], launch: Launch) -> Launched:
    """The program for these arguments, with the proofs that hold for this launch."""
    return launched(kernel, types_of(args), launch.known())


# ---- tapes -------------------------------------------------------------------------------------


def lengths(taped: Taped, launch: Launch, args: Sequence[Any]) -> list[tuple[int, ...] | None]:
    """The shapes of a kernel's tapes for a launch, without the axis of threads; None if counted."""
    known = dict(_known(taped, args))
    extent = launch.numbers()
    found: list[tuple[int, ...] | None] = []
    for tape in taped.tapes:
        if tape.shape is None:
            found.append(None)
            continue
        sizes = (upper_bound(n, taped.definitions, known, extent) for n in tape.shape)
        found.append(tuple(max(n, 0) for n in sizes))
    return found


def _known(taped: Taped, args: Sequence[Any]) -> Iterator[tuple[Var, int]]:
    """What the integers among the parameters and the lengths of arrays are in a launch."""
    given = {}
    for (_, tree), arg in zip(taped.program.args, args):
        for atom, value in zip(leaves(tree), flat(arg), strict=True):
            given[atom] = value
            if isinstance(value, int | np.integer):
                yield var_of(atom), int(value)
    for v, stmt in taped.definitions.items():
        if isinstance(stmt, Dim) and stmt.array in given:
            yield v, given[stmt.array].shape[stmt.axis]


def flat(arg: Any) -> Iterator[Any]:
    """The leaves of an argument from left to right."""
    if isinstance(arg, tuple):
        for item in arg:
            yield from flat(item)
    else:
        yield arg


def leaves_of(args: Sequence[Any]) -> list[Any]:
    """The leaves of the arguments from left to right."""
    return [leaf for arg in args for leaf in flat(arg)]


def is_array(leaf: Any) -> bool:
    return bool(getattr(leaf, "ndim", 0))


# ---- arguments ---------------------------------------------------------------------------------


def plain_argument(arg: Any) -> Any:
    """The argument as the program takes it: states of `cuda.random` are rows of two numbers."""
    names = getattr(getattr(arg, "dtype", None), "names", None)
    return arg.view(np.uint64).reshape(-1, 2) if names == ("s0", "s1") else arg


def check_arguments(args: Sequence[Any]) -> None:
    """Raise ValueError for a shadow of another shape, or one array that is passed twice."""
    for arg in args:
        for primal, shadow in pairs(arg):
            if getattr(primal, "shape", None) != getattr(shadow, "shape", None):
                wanted = getattr(primal, "shape", ())
                if wanted == () and getattr(shadow, "shape", None) == (1,):
                    continue
                raise ValueError(f"a shadow of shape {shadow.shape} for an array of shape {wanted}")
    spans = sorted(span(a) for arg in args for a in arrays(arg) if prod(a.shape))
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


def span(array: Any) -> tuple[int, int]:
    """The addresses that an array's elements lie between."""
    if isinstance(array, np.ndarray):
        return np.lib.array_utils.byte_bounds(array)
    start = _interface(array)["data"][0]
    size = array.dtype.itemsize
    strides = array.strides or (size,)
    return start, start + size + sum((n - 1) * s for n, s in zip(array.shape, strides) if s > 0)


def _interface(array: Any) -> Mapping[str, Any]:
    return array.__cuda_array_interface__
