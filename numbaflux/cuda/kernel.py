"""Derivatives of kernels as objects that are launched like kernels.

A derivative's program depends on the types of its arguments and on what is known of the launch, the
shape of a block above all: the owner rule (passes/kernels/owner.py) asks what threads there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from numbaflux import frontend
from numbaflux.api.transforms import InPlace
from numbaflux.cuda.arguments import Types, flat, types_of
from numbaflux.cuda.launch import Launch
from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import array_of, var_of
from numbaflux.ir.nodes import Accumulate, Atom, Dim, Function, Var
from numbaflux.ir.trees import Program, leaves
from numbaflux.ir.verify import verify
from numbaflux.ir.walk import walk
from numbaflux.passes.accumulate import accumulate
from numbaflux.passes.kernels.indices import indices
from numbaflux.passes.kernels.owner import Known
from numbaflux.passes.kernels.private import private
from numbaflux.passes.kernels.trips import counted, sized, sizes
from numbaflux.passes.simplify import simplify
from numbaflux.transforms.kernels import launches
from numbaflux.transforms.kernels.launches import Launched, Recorded
from numbaflux.transforms.kernels.tapes import Taped, upper_bound

if TYPE_CHECKING:
    from numbaflux.cuda.execution import Configured, Executor


@dataclass(eq=False)
class KernelDerivative:
    """`transform` of a kernel, a derivative of one included.

    `executor` carries out its launches on a GPU.  `deterministic`: its result must not depend on
    the order in which threads run.
    """

    transform: InPlace
    primal: Any
    executor: Executor
    deterministic: bool = False
    _programs: dict[tuple[Types, Known], Launched] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_kernel(self.transform.name, self.primal)

    @property
    def __name__(self) -> str:
        return f"{self.transform.name}_{name_of(self.primal)}"

    def __getitem__(self, config: Any) -> Configured:
        """Ready to be launched, like a kernel of Numba's: derivative[grid, block](...)."""
        return self.executor.of(self, Launch.of(config))

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
    """A kernel that, launched, gives (None, pullback); `executor` does so on a GPU."""

    primal: Any
    executor: Executor
    _programs: dict[tuple[Types, Known], Recorded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_kernel("vjp", self.primal)

    def __getitem__(self, config: Any) -> Configured:
        """Ready to be launched: `_, pullback = vjp[grid, block](...)`."""
        return self.executor.of(self, Launch.of(config))

    def recorded(self, dups: Sequence[Any], known: Known) -> Recorded:
        """The kernel that records and its adjoint, made once."""
        key = (types_of(dups), known)
        if key not in self._programs:
            self._programs[key] = recorded(self.primal, dups, known)
        return self._programs[key]


def _check_kernel(transform: str, kernel: Any) -> None:
    if not isinstance(kernel, KernelDerivative) and not callable(
        getattr(kernel, "py_func", kernel)
    ):
        raise TypeError(f"{transform}() takes a kernel, not {kernel!r}")


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
    fn = private(simplify(sized(sizes(indices(program.function)), known.block)))
    return Launched(replace(program, function=accumulate(simplify(counted(fn)))))


def recorded(kernel: Any, dups: Sequence[Any], known: Known) -> Recorded:
    """The kernel that records and its adjoint, for arguments with their shadows."""
    transform, arg_types = InPlace("adjoint"), types_of(dups)
    of = launched(kernel, transform.primal_types(arg_types), known)
    shadows = transform.shadows(of.program, arg_types)
    made = launches.pullback(of, shadows, transform.dup, known)
    verify(made.forward.program.function)
    verify(made.backward.program.function)
    return made


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


def given_to(program: Program, args: Sequence[Any]) -> dict[Atom, Any]:
    """What the parameters are in a launch."""
    found: dict[Atom, Any] = {}
    for (_, tree), arg in zip(program.args, args):
        found.update(zip(leaves(tree), flat(arg), strict=True))
    return found


def _known(taped: Taped, args: Sequence[Any]) -> Iterator[tuple[Var, int]]:
    """What the integers among the parameters and the lengths of arrays are in a launch."""
    given = given_to(taped.program, args)
    for atom, value in given.items():
        if isinstance(value, int | np.integer):
            yield var_of(atom), int(value)
    for v, stmt in taped.definitions.items():
        if isinstance(stmt, Dim) and stmt.array in given:
            yield v, given[stmt.array].shape[stmt.axis]
