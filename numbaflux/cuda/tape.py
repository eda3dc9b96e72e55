"""Host programs: launches written down as they happen, and reversed.

note [Versions]  A launch changes arrays, and the reverse of an earlier one may need what was in
them.  A tape knows of each launch which arrays it writes and which its reverse looks at (plans.py).
What is needed stays in its array until a launch is about to overwrite it; only then it is copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Token
from dataclasses import dataclass
from typing import Any, Protocol

from numbaflux.cuda.arguments import is_array, leaves_of, span, with_dups, with_leaves
from numbaflux.cuda.execution import Arrays, Executor, Machine
from numbaflux.cuda.held import Held, Key, key_of
from numbaflux.cuda.launch import Launch
from numbaflux.cuda.machines import machine_of
from numbaflux.cuda.plans import Plan, is_active, plan, shadows_of
from numbaflux.cuda.recorder import RECORDER, Recorder

Shadows = dict[Key, Any]


@dataclass(eq=False)
class Kept:
    """What was in an array at some time. note [Versions]"""

    array: Any
    copy: Any = None

    @property
    def contents(self) -> Any:
        return self.array if self.copy is None else self.copy


class Entry(Protocol):
    """Something that has happened."""

    def reverse(self, tape: Tape, shadows: Shadows) -> None:
        """From the cotangents of what it has written to those of what it has read."""
        ...


class Tape:
    """Writes launches and copies down while it is active; `backward` reverses them.

    >>> import numpy as np
    >>> import numbaflux as nf
    >>> from numba import cuda
    >>> @cuda.jit
    ... def square(x, y):
    ...     i = cuda.grid(1)
    ...     if i < x.size:
    ...         y[i] = x[i] * x[i]
    >>> @cuda.jit
    ... def total(y, loss):
    ...     i = cuda.grid(1)
    ...     if i < y.size:
    ...         cuda.atomic.add(loss, 0, y[i])
    >>> square, total = nf.cuda.emulate(square), nf.cuda.emulate(total)
    >>> x, y, loss = np.arange(3.0), np.zeros(3), np.zeros(1)
    >>> with nf.cuda.Tape() as tape:
    ...     square[1, 32](x, y)
    ...     total[1, 32](y, loss)
    >>> tape.backward(loss)[x]
    array([0., 2., 4.])

    It sees what `nf.cuda.emulate` or, on a GPU, `nf.cuda.launch` gives when that is launched in the
    thread in which it is active, and derivatives, but not a kernel of Numba's itself.
    Every array of floating point numbers is differentiated but those in `constant`; numbers among
    the arguments are constants, so a parameter is an element of an array.  While the tape is active
    arrays are changed by launches and by `nf.cuda.copy` only; until `backward` those that it needs
    stay as they are.  An assignment to a NumPy array is noticed, and a RuntimeError; on a GPU it is
    not.  Arrays either are the same or do not overlap.
    """

    def __init__(self, constant: Sequence[Any] = ()) -> None:
        self._entries: list[Entry] = []
        self.held = Held()
        self._current: dict[Key, Kept] = {}
        self._copies: list[Any] = []
        self._constant = {self.held.key(a) for a in constant}
        self._token: Token[Recorder | None] | None = None

    def __enter__(self) -> Tape:
        if RECORDER.get() is not None:
            raise RuntimeError("a Tape is active already")
        self._token = RECORDER.set(self)
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._token is not None
        RECORDER.reset(self._token)

    @property
    def copies(self) -> int:
        """How many arrays had to be copied before they were overwritten."""
        return len(self._copies)

    def backward(self, of: Any, seeds: Any = None) -> Gradients:
        """The gradients of an array, or of several in a tuple, with the cotangents `seeds`.

        A seed is an array like its array or a number for all its elements; an array of one element
        needs none: 1.  Arrays are left as they are, and `backward` may be called again.
        """
        several = isinstance(of, tuple | list)
        arrays = tuple(of) if several else (of,)
        given = tuple(seeds) if several and seeds is not None else (seeds,) * len(arrays)
        shadows: Shadows = {}
        for array, seed in zip(arrays, given, strict=True):
            self._seed(shadows, array, seed)
        self.held.look(kept.array for kept in self._current.values())
        self.reverse(shadows)
        return Gradients(self, shadows)

    def _seed(self, shadows: Shadows, array: Any, seed: Any) -> None:
        if not is_array(array) or not self.knows(array):
            raise ValueError("backward of what no launch on this tape has touched")
        machine = machine_of(array)
        array = machine.adopted(array)
        if not self.differentiates(array):
            raise ValueError("backward of an array that is constant")
        if seed is None and array.size != 1:
            raise ValueError("an array of several elements needs a seed")
        if getattr(seed, "shape", None) not in (None, (), array.shape):
            raise ValueError(f"a seed of another shape for an array of shape {array.shape}")
        once = machine.zeros(tuple(array.shape), array.dtype)
        machine.copy(once, 1.0 if seed is None else seed)
        machine.add(self.shadow(shadows, array), once)

    def reverse(self, shadows: Shadows) -> None:
        """Change the cotangents of what arrays hold now into those of what they held first."""
        for entry in reversed(self._entries):
            entry.reverse(self, shadows)

    # ---- arrays ------------------------------------------------------------------------------

    def knows(self, array: Any) -> bool:
        return key_of(array) in self.held.arrays

    def holds(self, key: Key) -> bool:
        return key in self.held.arrays

    def differentiates(self, array: Any) -> bool:
        return is_active(array) and key_of(array) not in self._constant

    @property
    def constant(self) -> list[Any]:
        return [self.held.arrays[key] for key in self._constant]

    def shadow(self, shadows: Shadows, array: Any) -> Any:
        """The cotangent of an array: zeros if there is none yet."""
        key = key_of(array)
        if key not in shadows:
            shadows[key] = machine_of(array).zeros(tuple(array.shape), array.dtype)
        return shadows[key]

    def keep(self, array: Any) -> Kept:
        """What is in an array now. note [Versions]"""
        return self._current.setdefault(self.held.key(array), Kept(array))

    def overwrite(self, array: Any) -> None:
        """Called before an array is written: what is needed of it is copied. note [Versions]"""
        key = self.held.key(array)
        if key in self._constant:
            raise ValueError("a launch writes an array that the tape takes to be constant")
        kept = self._current.pop(key, None)
        if kept is not None:
            kept.copy = machine_of(array).copied(array)
            self._copies.append(kept.copy)

    # ---- what happens ------------------------------------------------------------------------

    def launch(self, executor: Executor, kernel: Any, launch: Launch, args: Sequence[Any]) -> None:
        leaves = leaves_of(args)
        active = [is_array(a) and self.differentiates(a) for a in leaves]
        self.held.look(leaves)
        made = plan(executor, kernel, launch, args, active)
        for place in made.written:
            self.overwrite(leaves[place])
        tapes = made.run(executor, launch, args)
        self.held.changed(leaves[place] for place in made.written)
        if made.backward is not None:
            needed = {place: self.keep(leaves[place]) for place in made.needed}
            entry = LaunchEntry(executor, made, launch, tuple(args), tuple(active), needed, tapes)
            self._entries.append(entry)

    def copy(self, machine: Machine, target: Any, source: Any) -> None:
        self.held.look((target, source))
        self.overwrite(target)
        machine.copy(target, source)
        self.held.changed((target,))
        if self.differentiates(target):
            active = is_array(source) and self.differentiates(source)
            self._entries.append(CopyEntry(target, source if active else None))

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)


@dataclass(frozen=True, eq=False)
class LaunchEntry:
    """A launch; `needed`: leaves of its arguments that the reverse looks at, by their place."""

    executor: Executor
    plan: Plan
    launch: Launch
    args: tuple[Any, ...]
    active: tuple[bool, ...]
    needed: dict[int, Kept]
    tapes: Arrays

    def reverse(self, tape: Tape, shadows: Shadows) -> None:
        leaves = leaves_of(self.args)
        written = (leaves[i] for i in self.plan.written)
        if not any(key_of(a) in shadows for a in written):
            return
        ds = [tape.shadow(shadows, a) if on else None for a, on in zip(leaves, self.active)]
        found = [self.needed[i].contents if i in self.needed else a for i, a in enumerate(leaves)]
        args = with_leaves(self.args, iter(found))
        dups = with_dups(args, shadows_of(self.args, self.active, ds))
        assert self.plan.backward is not None
        self.executor.launch(self.plan.backward.backward, self.launch, dups, dict(self.tapes))


@dataclass(frozen=True, eq=False)
class CopyEntry:
    """A copy; `source` is None for what is constant."""

    target: Any
    source: Any

    def reverse(self, tape: Tape, shadows: Shadows) -> None:
        shadow = shadows.pop(key_of(self.target), None)
        if shadow is not None and self.source is not None:
            machine_of(shadow).add(tape.shadow(shadows, self.source), shadow)


def copy(target: Any, source: Any) -> None:
    """Copy an array, or one number into all elements, as an active `Tape` can reverse it.

    Raises ValueError for arrays of different shapes or types, or that overlap.
    """
    machine = machine_of(target)
    target = machine.adopted(target)
    if is_array(source):
        source = machine_of(source).adopted(source)
        if tuple(source.shape) != tuple(target.shape) or source.dtype != target.dtype:
            raise ValueError("copy is from an array of the same shape and type, or from a number")
        if _overlap(target, source):
            raise ValueError("the two arrays of a copy share memory")
    recorder = RECORDER.get()
    if recorder is None:
        machine.copy(target, source)
    else:
        recorder.copy(machine, target, source)


def _overlap(a: Any, b: Any) -> bool:
    (start, end), (other_start, other_end) = span(a), span(b)
    return start < other_end and other_start < end


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """What is launched goes to this recorder, whatever is active outside."""
    token = RECORDER.set(recorder)
    try:
        yield
    finally:
        RECORDER.reset(token)


@dataclass(frozen=True, eq=False)
class Gradients:
    """`gradients[x]`: the cotangent of what the array x held when the tape began."""

    tape: Tape
    shadows: Shadows

    def __getitem__(self, array: Any) -> Any:
        if not self.tape.knows(array):
            raise KeyError("no launch on the tape has touched this array")
        if not self.tape.differentiates(array):
            raise KeyError("the tape takes this array to be constant")
        return self.tape.shadow(self.shadows, machine_of(array).adopted(array))
