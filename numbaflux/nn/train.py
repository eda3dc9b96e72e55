"""Training: batches, and `fit`, a loop you can also write yourself in ten lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

import numbaflux as nf
from numbaflux import FAST, optim

ADAM = optim.adam()


class History(NamedTuple):
    """What `fit` has done: the losses of every epoch, and what is needed to go on."""

    loss: np.ndarray
    """The mean over the steps of an epoch, each before its step."""
    validation: np.ndarray
    """After each epoch, nan without a validation set."""
    best: int
    """The epoch after which the parameters were what they are now."""
    state: np.ndarray
    """The state of the optimiser after the last step."""
    step: int
    """How many steps have been done, those before `fit` included."""


def batches(
    x: np.ndarray, y: np.ndarray, size: int, rng: np.random.Generator | int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All rows of x and y in a random order, `size` at a time; the last batch may be smaller.

    Raises ValueError if x and y differ in length, or a batch would be empty.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> x = np.arange(5.0)
    >>> [len(a) for a, b in nn.batches(x, 2.0 * x, 2) if np.all(b == 2.0 * a)]
    [2, 2, 1]
    """
    order = np.random.default_rng(rng).permutation(_rows(x, y, size))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield gather(x, rows), gather(y, rows)


@njit(**FAST)
def gather(x, rows, out: Any = None):
    """out[k] = x[rows[k]] for each k."""
    if out is None:
        out = np.empty(rows.shape + x.shape[1:], x.dtype)
    for k in range(rows.size):
        out[k] = x[rows[k]]
    return out


def fit(
    loss: Callable[..., Any],
    p: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int = 100,
    size: int = 32,
    update: Any = ADAM,
    rng: np.random.Generator | int = 0,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    patience: int | None = None,
    state: np.ndarray | None = None,
    step: int = 0,
    progress: bool = False,
) -> History:
    """Minimise loss(p, x, y) by steps on batches of `size` rows; p is changed in place.

    An epoch, all of its steps, is one call of compiled code.  With a validation set (x, y) p ends
    as it was after the epoch that did best there; `patience`: stop after so many epochs that did
    not better.  `state` and `step`, from an earlier `History`, go on where it ended.
    `progress`: a bar, if rich is installed.

    Raises ValueError if x and y differ in length, FloatingPointError if the loss is not finite.

    >>> import numba
    >>> import numpy as np
    >>> from numbaflux import nn, optim
    >>> @numba.njit(**nn.FAST)
    ... def loss(p, x, y):
    ...     return nn.mse(p[0] * x + p[1], y)
    >>> x, p = np.linspace(0.0, 1.0, 64), np.zeros(2)
    >>> history = nn.fit(loss, p, x, 3.0 * x + 1.0, epochs=300, update=optim.adam(lr=0.1))
    >>> p.round(3), history.loss.shape, history.step
    (array([3., 1.]), (300,), 600)
    """
    n, rng = _rows(x, y, size), np.random.default_rng(rng)
    moments = update.state(p) if state is None else state
    run, (losses, scores) = _epoch(loss, update), np.full((2, epochs), np.nan)
    best, kept, done = epochs - 1, p.copy(), 0
    for epoch in _bar(range(epochs), losses, scores, progress):
        step, losses[epoch] = run(p, moments, step, x, y, rng.permutation(n), size)
        if not np.isfinite(losses[epoch]):
            raise FloatingPointError(f"the loss is {losses[epoch]} in epoch {epoch}")
        done = epoch + 1
        if validation is not None:
            scores[epoch] = loss(p, *validation)
            if epoch == 0 or scores[epoch] < scores[best]:
                best, kept[:] = epoch, p
            elif patience is not None and epoch - best >= patience:
                break
    if validation is not None:
        p[:] = kept
    return History(losses[:done], scores[:done], best, moments, step)


@lru_cache(maxsize=64)
def _epoch(loss: Any, update: Any) -> Any:
    """One pass over the rows in the given order, compiled once for a loss and an optimiser."""
    value_and_grad = nf.value_and_grad(loss)

    @njit(**FAST)
    def epoch(p, state, step, x, y, order, size):
        part_x = np.empty((size,) + x.shape[1:], x.dtype)
        part_y = np.empty((size,) + y.shape[1:], y.dtype)
        first, total = step, 0.0
        for start in range(0, order.size, size):
            rows = order[start : start + size]
            now_x = gather(x, rows, part_x[: rows.size])
            now_y = gather(y, rows, part_y[: rows.size])
            value, g = value_and_grad(p, now_x, now_y)
            update(p, g, state, step)
            total += value
            step += 1
        return step, total / (step - first)

    return epoch


def _rows(x: np.ndarray, y: np.ndarray, size: int) -> int:
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} rows, y has {len(y)}")
    if len(x) == 0 or size < 1:
        raise ValueError(f"no batches of {size} of {len(x)} rows")
    return len(x)


def _bar(epochs: range, losses: np.ndarray, scores: np.ndarray, wanted: bool) -> Iterator[int]:
    """The epochs, with a bar that shows the last losses."""
    try:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        wanted = False
    if not wanted:
        yield from epochs
        return
    columns = TextColumn("epoch {task.completed}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, TextColumn("{task.description}")) as bar:
        task = bar.add_task("compiling ...", total=len(epochs))
        for epoch in epochs:
            yield epoch
            said = f"loss {losses[epoch]:.4g}"
            if not np.isnan(scores[epoch]):
                said += f", validation {scores[epoch]:.4g}"
            bar.update(task, advance=1, description=said)
