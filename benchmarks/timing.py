"""How this project times: interleaved, the fastest of several repeats, as a ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Ratio(NamedTuple):
    """Seconds a call of two functions (fastest and median repeat); `best` is fastest / fastest."""

    seconds: float
    base_seconds: float
    median: float

    @property
    def best(self) -> float:
        return self.seconds / self.base_seconds


def calls_for(f: Callable[..., Any], args: Sequence[Any], seconds: float) -> int:
    """How many calls of f take about that long."""
    count = 1
    while True:
        took = time_calls(f, args, count)
        if took >= 0.2 * seconds:
            return max(1, round(count * seconds / took))
        count *= 4


def time_calls(f: Callable[..., Any], args: Sequence[Any], count: int) -> float:
    """Seconds of `count` calls."""
    begin = time.perf_counter()
    for _ in range(count):
        f(*args)
    return time.perf_counter() - begin


def ratio(
    f: Callable[..., Any],
    g: Callable[..., Any],
    args: Sequence[Any],
    repeats: int = 7,
    seconds: float = 0.02,
) -> Ratio:
    """The time of f in times of g, both called with `args`, in turns so that noise hits both.

    Arguments are not copied: give functions that leave them as they are.
    """
    f(*args), g(*args)
    counts = calls_for(f, args, seconds), calls_for(g, args, seconds)
    pairs = [
        (time_calls(f, args, counts[0]) / counts[0], time_calls(g, args, counts[1]) / counts[1])
        for _ in range(repeats)
    ]
    first, second = (min(column) for column in zip(*pairs))
    return Ratio(first, second, statistics.median(a / b for a, b in pairs))


def first_call(f: Callable[..., Any], args: Sequence[Any]) -> float:
    """Seconds of one call, of copies of the arguments: compile time, when it is the first."""
    fresh = [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in args]
    return time_calls(f, fresh, 1)
