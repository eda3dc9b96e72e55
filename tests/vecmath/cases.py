"""The functions with exact counterparts in mpmath, their domains, and where to look closely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

from numbaflux import vecmath

KINDS = (np.float64, np.float32)
BITS = 160  # of mpmath's numbers


@dataclass(frozen=True, slots=True)
class Case:
    """A function of one number: its domain in both precisions, and places to look closely at."""

    name: str
    exact: Callable[[Any], Any]
    low: tuple[float, float]
    high: tuple[float, float]
    near: tuple[float, ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def function(self) -> Any:
        return getattr(vecmath, self.name)

    def domain(self, kind: Any) -> tuple[float, float]:
        at = KINDS.index(kind)
        return self.low[at], self.high[at]


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


BIG, SINGLE = 1.7976931348623157e308, 3.4028234e38
EVERYWHERE = ((-BIG, -SINGLE), (BIG, SINGLE))
TURNS = tuple(k * np.pi / 4 for k in (1, 2, 3, 4, 6, 7, 22, 355, 710, 51819, 573204))
LIMITS = (2.0**17, 2.0**45)

CASES = (
    Case("exp", mp.exp, (-745.13, -103.97), (709.782, 88.722), (-708.4, -707, -87.3, -86)),
    Case("expm1", mp.expm1, (-745, -104), (709.782, 88.722), (-40, -20, -0.35, 0.35)),
    Case("log", mp.log, (5e-324, 1e-45), (BIG, SINGLE), (0.5, 0.7071, 1, 1.4142, 2)),
    Case(
        "log1p", mp.log1p, (-1 + 2**-53, -1 + 2**-24), (BIG, SINGLE), (-0.293, 0, 0.414, 1, 2**30)
    ),
    Case("sin", mp.sin, *EVERYWHERE, (*TURNS, *LIMITS)),
    Case("cos", mp.cos, *EVERYWHERE, (*TURNS, *LIMITS)),
    Case("tan", mp.tan, *EVERYWHERE, (*TURNS, *LIMITS)),
    Case("atan", mp.atan, *EVERYWHERE, (0.4142, 1, 2.4142)),
    Case("sinh", mp.sinh, (-710.475, -89.415), (710.475, 89.415), (0.35, 1, 22)),
    Case("cosh", mp.cosh, (-710.475, -89.415), (710.475, 89.415), (0, 0.35, 1, 22)),
    Case("tanh", mp.tanh, *EVERYWHERE, (0.17, 0.35, 10, 22)),
    Case("sigmoid", _sigmoid, (-745.13, -103.97), (BIG, SINGLE), (-708.4, -87.3, 0, 0.6931, 36)),
    Case(
        "softplus", _softplus, (-745.13, -103.97), (BIG, SINGLE), (-708.4, -87.3, 0, 0.69, 25, 54)
    ),
    Case("erf", mp.erf, *EVERYWHERE, (0.5, 1, 4, 6)),
)


def points(case: Case, kind: Any, count: int, rng: np.random.Generator) -> np.ndarray:
    """Arguments all over the domain, of all sizes, and dense round the places to look at."""
    low, high = case.domain(kind)
    tiny, most = np.log2(float(np.finfo(kind).smallest_subnormal)), np.log2(min(high, BIG))
    sign = rng.choice([-1.0, 1.0], count)
    chosen = [
        rng.uniform(max(low, -100), min(high, 100), count),
        rng.uniform(max(low, -4), min(high, 4), count),
        np.exp2(rng.uniform(tiny, most, count)) * sign,
        np.exp2(rng.uniform(-30, min(most, 20), count)) * sign,
        low + rng.uniform(0, min(abs(low) + 1, 40), count // 2),
    ]
    for place in case.near:
        away = np.exp2(rng.uniform(-40, -3, count // 20)) * rng.choice([-1.0, 1.0], count // 20)
        chosen += [place * (1 + away), [place], np.nextafter(kind(place), kind([0, 1e30]))]
    x = np.concatenate([np.asarray(part, float) for part in chosen])
    return np.clip(x, low, high).astype(kind)


def ulps(found: np.ndarray, exact: list[Any]) -> np.ndarray:
    """|found - exact| in units of the last place of the exact value, mpmath's numbers."""
    kind = found.dtype.type
    high = np.array([float(e) for e in exact])
    size = np.maximum(np.abs(high), float(np.finfo(kind).tiny))
    last = np.frexp(size)[1] - 1 - np.finfo(kind).nmant  # exponent of the last place
    low = [float(mp.ldexp(e - mp.mpf(h), -int(k))) for e, h, k in zip(exact, high, last)]
    return np.abs(np.ldexp(found.astype(float) - high, -last) - low)
