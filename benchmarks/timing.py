"""How this project times: interleaved, the fastest and the median of many repeats, as a ratio.

Seconds are those the process spent on its core, in user and in system mode, so that a busy machine
does not count against either side. Nothing measured here waits for anything.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SHORTEST = 1e-3  # seconds of a repeat: a call that is shorter is repeated
MOST_REPEATS = 101
LEAST_REPEATS = 7


@dataclass(frozen=True)
class Call:
    """A function with its arguments, which it leaves as they are."""

    f: Callable[..., Any]
    args: Sequence[Any]

    def __call__(self) -> Any:
        return self.f(*self.args)


@dataclass(frozen=True)
class Times:
    """Seconds of one call: the fastest and the median repeat."""

    fastest: float
    median: float


def seconds(call: Call, count: int = 1) -> float:
    """Seconds of `count` calls."""
    f, args = call.f, call.args
    begin = time.process_time()
    for _ in range(count):
        f(*args)
    return time.process_time() - begin


def count_for(call: Call, duration: float) -> int:
    """How many calls take about that long."""
    count = 1
    while True:
        took = seconds(call, count)
        if took >= 0.2 * duration:
            return max(1, round(count * duration / took))
        count *= 4


def interleaved(calls: Sequence[Call], budget: float = 2.0) -> list[Times]:
    """Time the calls in turns, so that noise hits all; about `budget` seconds altogether."""
    for call in calls:
        call()
    counts = [count_for(call, SHORTEST) for call in calls]
    one_round = sum(seconds(call, count) for call, count in zip(calls, counts))
    repeats = min(MOST_REPEATS, max(LEAST_REPEATS, int(budget / one_round)))
    rounds = [
        [seconds(call, count) / count for call, count in zip(calls, counts)] for _ in range(repeats)
    ]
    return [Times(min(column), statistics.median(column)) for column in zip(*rounds)]
