"""What each public transform is to the dispatcher: whose types it reads, what Program it makes.

A transform is data: its name and options.  `primal_types` gives the types to read the user's
function at, from those the derivative is called with; `apply` makes the derivative's Program from
the one read.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from numba import types

from numbaflux.api.memory import quarter
from numbaflux.errors import NotDifferentiableError
from numbaflux.frontend import argument
from numbaflux.ir.trees import Fixed, Program, Tree, Tuple
from numbaflux.transforms import compose, inplace, jacobians
from numbaflux.transforms.into import into

Types = tuple[Any, ...]


class Dup(NamedTuple):
    """An argument with its shadow, for `adjoint` and `tangent`: nf.Dup(x, dx)."""

    primal: Any
    shadow: Any


@dataclass(frozen=True, slots=True)
class OfArguments:
    """A transform called like the function itself: grad, value_and_grad, the Jacobians."""

    name: str
    argnums: int | tuple[int, ...] = 0
    has_aux: bool = False
    chunk: int | None = None  # of forward mode: columns of the Jacobian a run
    out: bool = False  # the gradient goes into one more argument, the last
    memory: int | None = None  # bytes that what is kept for the reverse sweep may take

    def frugal(self) -> OfArguments | None:
        """What to do instead where a call would keep more than a quarter of the memory."""
        sweeps = self.name in ("grad", "value_and_grad")
        return replace(self, memory=quarter()) if sweeps and self.memory is None else None

    @property
    def positions(self) -> tuple[int, ...]:
        return (self.argnums,) if isinstance(self.argnums, int) else self.argnums

    def primal_types(self, arg_types: Types) -> Types:
        """An integer given for a differentiated scalar counts as a float."""
        arg_types = arg_types[: len(arg_types) - self.out]
        chosen = {
            n % len(arg_types) for n in self.positions if -len(arg_types) <= n < len(arg_types)
        }
        return tuple(as_float(t) if i in chosen else t for i, t in enumerate(arg_types))

    def apply(self, program: Program, arg_types: Types) -> Program:
        single = isinstance(self.argnums, int)
        match self.name:
            case "grad":
                made = compose.grad(program, self.positions, single, self.has_aux, self.memory)
                return self._into(made, 0, arg_types)
            case "value_and_grad":
                made = compose.value_and_grad(
                    program, self.positions, single, self.has_aux, self.memory
                )
                return self._into(made, 1, arg_types)
            case "jacfwd":
                return jacobians.jacfwd(program, self.positions, single, self.chunk)
            case "jacrev":
                return jacobians.jacrev(program, self.positions, single)
            case "jacobian":
                return jacobians.jacobian(program, self.positions, single, self.chunk)
            case "hessian":
                gradient = compose.grad(program, self.positions, single)
                return jacobians.jacfwd(gradient, self.positions, single, self.chunk)
            case _:
                raise AssertionError(self.name)

    def _into(self, program: Program, at: int, arg_types: Types) -> Program:
        """With `out`, the program that writes its gradient, item `at` of its result."""
        if not self.out:
            return program
        written, rest = program.result, Fixed()
        if isinstance(written, Tuple) and (self.has_aux or self.name == "value_and_grad"):
            rest, written = written.items[1 - at], written.items[at]
        name = _free_name([name for name, _ in program.args])
        tree = argument(name, types.unliteral(arg_types[-1]), program.function.loc)
        return into(program, written, rest, name, tree)

    def signature(self, of: inspect.Signature) -> inspect.Signature:
        if not self.out:
            return of
        kept = [p.replace(default=p.empty) for p in of.parameters.values()]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        if any(p.kind is not kind for p in kept):
            raise TypeError(f"{self.name}(out=True) of a function with *args or **kwargs")
        out = inspect.Parameter(_free_name(list(of.parameters)), kind)
        return of.replace(parameters=[*kept, out])


@dataclass(frozen=True, slots=True)
class OfPairs:
    """A transform called with (primals, more): jvp, vjp, hvp."""

    name: str

    def frugal(self) -> None:
        return None

    def primal_types(self, arg_types: Types) -> Types:
        primals, more = (types.unliteral(t) for t in arg_types)
        entries = _entries(primals)
        if entries is None:
            raise NotDifferentiableError(
                f"{self.name}: primals is {primals}, not a tuple",
                None,
                "it holds one entry for each argument of the function",
                f"{self.name}(f, (x,), ...)",
            )
        if self.name == "vjp":
            return entries
        tangents = _entries(more) or ()
        return tuple(
            as_float(t) if i < len(tangents) and _is_tangent(tangents[i]) else t
            for i, t in enumerate(entries)
        )

    def apply(self, program: Program, arg_types: Types) -> Program:
        more = types.unliteral(arg_types[1])
        tree = argument("ct" if self.name == "vjp" else "d", more, program.function.loc)
        if self.name == "vjp":
            return compose.vjp_program(program, tree)
        tangents = tree.items if isinstance(tree, Tuple) else (tree,)
        if self.name == "jvp":
            return compose.jvp_program(program, tangents)
        return compose.hvp_program(program, tangents)

    def signature(self, of: inspect.Signature) -> inspect.Signature:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        second = "cotangents" if self.name == "vjp" else "tangents"
        return inspect.Signature([inspect.Parameter(n, kind) for n in ("primals", second)])


@dataclass(frozen=True, slots=True)
class InPlace:
    """A transform called like the function, with Dup(x, dx) for what has a shadow."""

    name: str

    def frugal(self) -> None:
        return None

    def primal_types(self, arg_types: Types) -> Types:
        return tuple(as_float(t.types[0]) if _is_dup(t) else t for t in arg_types)

    @property
    def dup(self) -> type:
        return Dup

    def shadows(self, program: Program, arg_types: Types) -> tuple[Tree | None, ...]:
        """For each argument the tree of its shadow, None for a constant one."""
        return tuple(
            argument(f"d_{name}", t.types[1], program.function.loc) if _is_dup(t) else None
            for t, (name, _) in zip(arg_types, program.args)
        )

    def apply(self, program: Program, arg_types: Types) -> Program:
        shadows = self.shadows(program, arg_types)
        if self.name == "adjoint":
            return inplace.adjoint(program, shadows, Dup)
        return inplace.tangent(program, shadows, Dup)

    def signature(self, of: inspect.Signature) -> inspect.Signature:
        return of


Transform = OfArguments | OfPairs | InPlace


def _free_name(taken: list[str]) -> str:
    name = "out"
    while name in taken:
        name += "_"
    return name


def as_float(t: Any) -> Any:
    """float64 for an integer scalar, anything else as it is."""
    return types.float64 if isinstance(t, types.Integer) else t


def _entries(t: Any) -> Types | None:
    """The item types of a tuple, None for anything else."""
    if not isinstance(t, types.BaseTuple):
        return None
    items: Any = t  # BaseTuple does not declare that all its subclasses iterate
    return tuple(items)


def _is_dup(t: Any) -> bool:
    return isinstance(t, types.BaseTuple) and getattr(t, "instance_class", None) is Dup


def _is_tangent(t: Any) -> bool:
    """Whether a tangent of this type says that its argument is differentiated."""
    return isinstance(t, types.Float)
