"""What a tape has to know of a launch: which arrays it writes, which its reverse looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbaflux.api.transforms import Dup
from numbaflux.cuda.arguments import flat, is_array, is_float, leaves_of, types_of, with_dups
from numbaflux.cuda.execution import Arrays, Executor
from numbaflux.cuda.kernel import recorded
from numbaflux.cuda.launch import Launch
from numbaflux.errors import UnsupportedError
from numbaflux.ir.nodes import Array, Var
from numbaflux.ir.trees import Program, leaves
from numbaflux.passes.alias import read_params, written_params
from numbaflux.transforms.kernels.launches import Launched, Recorded


@dataclass(frozen=True, slots=True)
class Plan:
    """A launch to be reversed later; `written`, `needed` are places among the leaves of arguments.

    `backward` is None where there is nothing to reverse: no number that the kernel writes depends
    on another.
    """

    forward: Launched
    backward: Recorded | None
    written: tuple[int, ...]
    needed: tuple[int, ...]

    def run(self, executor: Executor, launch: Launch, args: Sequence[Any]) -> Arrays:
        """Carry it out; what has been recorded, by the variable it is for the reverse."""
        made = executor.launch(self.forward, launch, args)
        if self.backward is None:
            return {}
        pairs = zip(self.backward.read, self.backward.written, strict=True)
        return {back: made[front] for back, front in pairs}


def plan(
    executor: Executor, kernel: Any, launch: Launch, args: Sequence[Any], active: Sequence[bool]
) -> Plan:
    """The plan of a launch, made once; `active`: which leaves of the arguments have a shadow."""
    key = (kernel, types_of(args), launch.known(), tuple(active))
    if key not in executor.plans:
        executor.plans[key] = _plan(executor, kernel, launch, args, active)
    return executor.plans[key]


def _plan(
    executor: Executor, kernel: Any, launch: Launch, args: Sequence[Any], active: Sequence[bool]
) -> Plan:
    primal = executor.launched(kernel, launch, args)
    written = _places(primal.program, args, written_params(primal.program.function))
    if not any(active[i] for i in written):
        return Plan(primal, None, written, ())
    shadows = shadows_of(args, active, [_typed(a) for a in leaves_of(args)])
    dups = with_dups(args, shadows)
    made = recorded(kernel, dups, launch.known())
    read = [p for part in made.backward.launches for p in read_params(part.program.function)]
    seen = _places(made.backward.program, dups, read)
    primals = _primal_places(args, shadows)
    needed = tuple(primals[i] for i in seen if i in primals)
    return Plan(made.forward, made, written, needed)


def is_active(leaf: Any) -> bool:
    """Whether a leaf can have a shadow; numbers are constants of a tape."""
    return is_array(leaf) and is_float(leaf)


def shadows_of(args: Sequence[Any], active: Sequence[bool], shadows: Sequence[Any]) -> list[Any]:
    """For each argument its shadow, None if it has none; given are those of all leaves."""
    found, at = [], 0
    for arg in args:
        count = len(leaves_of((arg,)))
        mine, ds = active[at : at + count], tuple(shadows[at : at + count])
        at += count
        if not any(mine) and not isinstance(arg, Dup):
            found.append(None)
        elif not isinstance(arg, tuple):
            found.append(ds[0])
        elif all(mine) and all(is_array(item) for item in arg):
            found.append(ds)
        else:
            raise UnsupportedError(
                "a tuple that holds an array to be differentiated and something else",
                None,
                "on a tape all of an argument is differentiated or nothing",
                "pass its items as arguments",
            )
    return found


def _typed(leaf: Any) -> Any:
    """A stand-in for a shadow, of its type."""
    return np.empty((0,) * leaf.ndim, leaf.dtype) if is_active(leaf) else None


def _places(program: Program, args: Sequence[Any], params: Sequence[Var]) -> tuple[int, ...]:
    """Where parameters of a program stand among the leaves of its arguments."""
    chosen, found, at = frozenset(params), [], 0
    for (_, tree), arg in zip(program.args, args, strict=True):
        for atom, _ in zip(leaves(tree), flat(arg), strict=True):
            if atom in chosen and isinstance(atom.type, Array):
                found.append(at)
            at += 1
    return tuple(found)


def _primal_places(args: Sequence[Any], shadows: Sequence[Any]) -> dict[int, int]:
    """Place among the leaves of Dup(x, dx) -> place among those of x, for those of x."""
    found: dict[int, int] = {}
    at = before = 0
    for arg, shadow in zip(args, shadows, strict=True):
        count = len(leaves_of((arg,)))
        found |= {at + i: before + i for i in range(count)}
        at += count if shadow is None else 2 * count
        before += count
    return found
