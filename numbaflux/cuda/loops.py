"""Loops of launches on a tape, reversed from snapshots of their state: `checkpoint`.

note [State]  What a step finds changed by the steps before it: the arrays of `state`, in the order
that it is given them.  Steps run again on the user's arrays, which get back what was in them when
the reverse is over.

note [Schedule]  Snapshots are copies of the state before a step.  Where they are taken is the
binomial schedule of Griewank and Walther: A. Griewank, A. Walther, Algorithm 799: revolve, ACM
TOMS 26 (2000).  The forward sweep takes the first ones, the reverse sweep all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

from numbaflux.cuda.arguments import is_array, leaves_of, on_host
from numbaflux.cuda.execution import Executor, Machine
from numbaflux.cuda.held import Held, Key, key_of
from numbaflux.cuda.launch import Launch
from numbaflux.cuda.machines import machine_of
from numbaflux.cuda.plans import plan
from numbaflux.cuda.recorder import RECORDER
from numbaflux.cuda.tape import Kept, Shadows, Tape, recording
from numbaflux.ir.ops import ROUTINES

State = tuple[Any, ...]
Step = Callable[[int, State], Any]
Life = Callable[[], Any]  # gives an array, None when its memory is gone


def checkpoint(
    step: Step, n: int, state: Sequence[Any], slots: int, scratch: Sequence[Any] = ()
) -> State:
    """The state after the steps `step(0, state)` ... `step(n - 1, state)`.

    A step launches kernels on the arrays of `state` and of its surroundings.  It returns the next
    state, a tuple of as many arrays, in place or not and in any order, or None for the same arrays.
    All that it writes is in the next state, made by the step itself, or in `scratch`: arrays whose
    contents it never looks at before it has written them.  On a GPU what it makes itself is in the
    next state or in `scratch` too, and is kept: let it write to arrays that are there.

    On an active `Tape` the loop is reversed with at most `slots` snapshots of the state at once,
    and steps are run again, none more often than it must be: with s slots C(s + r, s) steps are run
    at most r times more, those behind the last snapshot once more than that.  A step does the same
    whenever it is run.

    >>> import numpy as np
    >>> import numbaflux as nf
    >>> from numba import cuda
    >>> @cuda.jit
    ... def square(x, y):
    ...     i = cuda.grid(1)
    ...     if i < x.size:
    ...         y[i] = x[i] * x[i]
    >>> square = nf.cuda.emulate(square)
    >>> def step(t, state):
    ...     x, y = state
    ...     square[1, 32](x, y)
    ...     return y, x
    >>> x, y = np.array([1.1]), np.zeros(1)
    >>> with nf.cuda.Tape() as tape:
    ...     last, other = nf.cuda.checkpoint(step, 4, (x, y), slots=2)
    >>> tape.backward(last)[x] / (16 * 1.1**15)
    array([1.])
    """
    if slots < 1:
        raise ValueError("checkpoint: slots must be at least 1")
    state, recorder = _distinct(state), RECORDER.get()
    if isinstance(recorder, Tape) and n > 0:
        return _Loop(recorder, step, n, slots, tuple(scratch)).run(state)
    for t in range(n):
        state = _next(step, t, state)
    return state


def _next(step: Step, t: int, state: State) -> State:
    after = step(t, state)
    if after is None:
        return state
    after = _distinct(after)
    if len(after) != len(state):
        raise ValueError(f"a step got a state of {len(state)} arrays and returned {len(after)}")
    return after


def _distinct(state: Any) -> State:
    if not isinstance(state, tuple | list) or not all(is_array(a) for a in state):
        raise TypeError("the state of a checkpoint is a tuple of arrays")
    if len({key_of(a) for a in state}) < len(state):
        raise ValueError("an array is in the state of a checkpoint twice")
    return tuple(state)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state before step `at`."""

    at: int
    state: State
    copies: State

    @classmethod
    def of(cls, at: int, state: State) -> Snapshot:
        return cls(at, state, tuple(machine_of(a).copied(a) for a in state))

    def restore(self) -> State:
        for array, copy in zip(self.state, self.copies):
            machine_of(array).copy(array, copy)
        return self.state


@dataclass(eq=False)
class _Loop:
    """A loop on a tape, an entry of it.

    `outside`: what steps only read; `written`: what gives each array that they have written;
    `left`: those that still exist and are not in the last state.
    """

    tape: Tape
    step: Step
    n: int
    slots: int
    scratch: State
    snapshots: list[Snapshot] = field(default_factory=list)
    outside: dict[Key, Kept] = field(default_factory=dict)
    written: dict[Key, Life] = field(default_factory=dict)
    left: dict[Key, Any] = field(default_factory=dict)
    last: State = ()

    def run(self, state: State) -> State:
        """Forward, with the first snapshots."""
        self.tape.held.look(state)
        self.snapshots = [Snapshot.of(0, state)]
        state = self._until(0, state, self.n - 1, self._watched)
        self.last = self._watched(self.n - 1, state)
        self.tape.held.look(self.last)
        alive = {key: life() for key, life in self.written.items()}
        last = {key_of(a) for a in self.last}
        self.left = {k: a for k, a in alive.items() if a is not None and k not in last}
        self.tape.append(self)
        return self.last

    def _until(self, at: int, state: State, last: int, run: Step) -> State:
        """From the state of the last snapshot, before step `at`, to that before step `last`."""
        while at < last:
            free = self.slots - len(self.snapshots) + 1
            ahead = int(ROUTINES["stride"].value(last + 1 - at, free))
            for t in range(at, at + ahead):
                state = run(t, state)
            at += ahead
            if at < last:
                self.snapshots.append(Snapshot.of(at, state))
        return state

    def _watched(self, t: int, state: State) -> State:
        """A step of the forward sweep."""
        after, lives = self._seen(t, state)
        returned = {key_of(a) for a in (*after, *self.scratch)}
        self.written |= {key: life for key, life in lives.items() if key in returned}
        if any(life() is not None for key, life in lives.items() if key not in returned):
            raise ValueError(
                "a step of checkpoint writes an array that is neither in the state it returns nor"
                " in scratch"
            )
        return after

    def _seen(self, t: int, state: State) -> tuple[State, dict[Key, Life]]:
        """The state after a step, and what gives the arrays that it has written."""
        watch = _Watch(self.tape)
        with recording(watch):
            after = _next(self.step, t, state)
        inside = {key_of(a) for a in (*state, *after)} | watch.written
        arrays = watch.held.arrays
        outside = [array for key, array in arrays.items() if key not in inside]
        self.tape.held.look(outside)
        self.outside |= {key_of(array): self.tape.keep(array) for array in outside}
        return after, {key: _life(arrays[key]) for key in watch.written}

    # ---- reverse -----------------------------------------------------------------------------

    def reverse(self, tape: Tape, shadows: Shadows) -> None:
        """One step after the other, from the last to the first."""
        ds = [shadows.pop(key_of(a), None) for a in self.last]
        if not self.left.keys().isdisjoint(shadows):
            raise ValueError(
                "an array that the steps of checkpoint have left behind was used afterwards: let"
                " them return it in the state"
            )
        if all(d is None for d in ds):
            return
        with self._as_it_was():
            for t in reversed(range(self.n)):
                state = self._before(t)
                ds = self._reverse_step(shadows, t, state, ds)
        for array, d in zip(self.snapshots[0].state, ds):
            if d is not None:
                shadows[key_of(array)] = d

    def _before(self, t: int) -> State:
        """The state before a step, from the last snapshot; others are taken on the way."""
        while self.snapshots[-1].at > t:
            self.snapshots.pop()
        found = self.snapshots[-1]
        with recording(None):
            return self._until(found.at, found.restore(), t, lambda t, s: _next(self.step, t, s))

    def _reverse_step(self, shadows: Shadows, t: int, state: State, ds: Sequence[Any]) -> list[Any]:
        """From the cotangents of the state after a step to those of the state before."""
        tape = Tape(self.tape.constant)
        with recording(tape):
            after = _next(self.step, t, state)
        inside = dict(shadows)
        inside |= {key_of(a): d for a, d in zip(after, ds) if d is not None}
        tape.reverse(inside)
        before = [inside.pop(key_of(a), None) for a in state]
        for array in self.scratch:
            inside.pop(key_of(array), None)
        shadows.clear()
        shadows |= {key: d for key, d in inside.items() if self.tape.holds(key)}
        return before

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """What steps look at holds what it held; in the end everything is as before."""
        changed = [kept for kept in self.outside.values() if kept.copy is not None]
        arrays = [*self.last, *self.left.values(), *(kept.array for kept in changed)]
        saved = [(array, machine_of(array).copied(array)) for array in arrays]
        for kept in changed:
            machine_of(kept.array).copy(kept.array, kept.copy)
        try:
            yield
        finally:
            for array, copy in saved:
                machine_of(array).copy(array, copy)


@dataclass(eq=False)
class _Watch:
    """Carries out what a step does and sees what it touches."""

    tape: Tape
    held: Held = field(default_factory=Held)
    written: set[Key] = field(default_factory=set)

    def launch(self, executor: Executor, kernel: Any, launch: Launch, args: Sequence[Any]) -> None:
        leaves = leaves_of(args)
        made = plan(executor, kernel, launch, args, [False] * len(leaves))
        written = [leaves[place] for place in made.written]
        self._change(leaves, written, lambda: made.run(executor, launch, args))

    def copy(self, machine: Machine, target: Any, source: Any) -> None:
        self._change((target, source), (target,), lambda: machine.copy(target, source))

    def _change(
        self, used: Sequence[Any], written: Sequence[Any], act: Callable[[], object]
    ) -> None:
        self.held.look(used)
        for array in written:
            if self.tape.holds(key_of(array)):
                self.tape.overwrite(array)
        act()
        self.held.changed(written)
        self.tape.held.changed(array for array in written if self.tape.holds(key_of(array)))
        self.written |= {key_of(array) for array in written}


def _life(array: Any) -> Life:
    """Nobody can tell who else has memory of a device: an array there stays."""
    return ref(_owner(array)) if on_host(array) else lambda: array


def _owner(array: Any) -> Any:
    """The array whose memory this one is a part of."""
    base = getattr(array, "base", None)
    return _owner(base) if isinstance(base, type(array)) else array
