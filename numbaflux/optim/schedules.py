"""Learning rates: compiled functions of the step, counted from 0, for the `lr=` of an optimiser.

>>> rate = warmup(0.1, 10, cosine(0.1, 100))
>>> [round(rate(t), 4) for t in (0, 9, 10, 60, 110)]
[0.01, 0.1, 0.1, 0.05, 0.0]
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit


def constant(lr: float) -> Any:
    """lr"""
    return njit(lambda step: lr)


def cosine(lr: float, steps: int, last: float = 0.0) -> Any:
    """From lr to `last` in `steps` steps along half a cosine: Loshchilov and Hutter, ICLR 2017."""

    @njit
    def rate(step):
        part = min(step / steps, 1.0)
        return last + (lr - last) * 0.5 * (1.0 + math.cos(math.pi * part))

    return rate


def exponential(lr: float, factor: float, every: int = 1) -> Any:
    """lr factor^(step / every)"""
    return njit(lambda step: lr * factor ** (step / every))


def warmup(lr: float, steps: int, then: Any) -> Any:
    """From lr / steps to lr in `steps` steps, then the schedule `then`, its steps counted anew."""

    @njit
    def rate(step):
        return lr * (step + 1) / steps if step < steps else then(step - steps)

    return rate


def onecycle(
    lr: float, steps: int, rise: float = 0.3, start: float = 25.0, end: float = 1e4
) -> Any:
    """Up from lr / start to lr in a part `rise` of the steps, then down to lr / start / end, along
    cosines: Smith and Topin 2018.
    """
    up = rise * steps

    @njit
    def rate(step):
        if step < up:
            low, part = lr / start, 1.0 - step / up
        else:
            low, part = lr / start / end, min((step - up) / (steps - up), 1.0)
        return low + (lr - low) * 0.5 * (1.0 + math.cos(math.pi * part))

    return rate
