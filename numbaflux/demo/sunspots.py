"""Three centuries of sunspots: an LSTM that corrects a linear forecast of the next year.

The forecast is linear in the last years, as in an autoregression, plus what an LSTM says that has
read the years one by one; all of it is one vector of parameters, trained by one compiled loop.
"""

from __future__ import annotations

import csv
from importlib import resources
from typing import NamedTuple

import numpy as np
from numba import njit

import numbaflux as nf
from numbaflux import nn, optim

SIZE, LENGTH, ORDER, STEPS = 8, 24, 9, 300
VALIDATION, TEST = 1890, 1930  # the first years that are not trained on
NET = nn.layout("Sunspots", cell=nn.LSTM(1, SIZE), out=nn.Dense(SIZE, 1), linear=nn.Dense(ORDER, 1))


class Stretches(NamedTuple):
    """LENGTH years and the one to be said, the years first: (LENGTH + 1, stretches, 1)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def sunspots() -> tuple[np.ndarray, np.ndarray]:
    """Years 1700 to 2008, and the mean number of spots in each."""
    text = resources.files("numbaflux").joinpath("data/sunspots.csv").read_text("utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    years, numbers = [int(row["year"]) for row in rows], [float(row["number"]) for row in rows]
    return np.array(years), np.array(numbers)


def scaled(numbers: np.ndarray) -> np.ndarray:
    """Square roots, about 0 to 1.4: the scatter of a count grows with it."""
    return np.sqrt(numbers / 100.0)


def stretches(years: np.ndarray, series: np.ndarray) -> Stretches:
    """All stretches, split by the last year of each."""
    found = np.lib.stride_tricks.sliding_window_view(series, LENGTH + 1).T[:, :, None]
    first, second = np.searchsorted(years[LENGTH:], [VALIDATION, TEST])
    parts = found[:, :first], found[:, first:second], found[:, second:]
    return Stretches(*map(np.ascontiguousarray, parts))


@njit(**nn.FAST)
def predict(p, x):
    """The year after those of x (years, stretches, 1): (stretches, 1)."""
    P = NET.unpack(p)
    count = x.shape[1]
    h, c = np.zeros((count, SIZE)), np.zeros((count, SIZE))
    for t in range(x.shape[0]):
        nn.lstm(P.cell, x[t], h, c)
    last = np.empty((count, ORDER))
    for k in range(count):
        for j in range(ORDER):
            last[k, j] = x[x.shape[0] - 1 - j, k, 0]
    return nn.dense(P.linear, last) + nn.dense(P.out, h)


@njit(**nn.FAST)
def loss(p, series):
    """The mean squared error for the last year of every stretch."""
    return nn.mse(predict(p, series[:-1]), series[-1].copy())


step = nf.value_and_grad(loss)
update = optim.adamw(optim.cosine(0.01, STEPS), decay=0.3)


@njit(**nn.FAST)
def train(p, state, series, validation, steps):
    """The losses (steps, 2) on both; p becomes the best of the validation."""
    history, best, low = np.empty((steps, 2)), p.copy(), loss(p, validation)
    for t in range(steps):
        history[t, 0], g = step(p, series)
        optim.clip(g, 1.0)
        update(p, g, state, t)
        history[t, 1] = loss(p, validation)
        if history[t, 1] < low:
            low = history[t, 1]
            best[:] = p
    p[:] = best
    return history


def autoregression(series: np.ndarray, end: int) -> np.ndarray:
    """ORDER weights, the last year's first, and a constant: least squares on series[:end]."""
    past = np.lib.stride_tricks.sliding_window_view(series[: end - 1], ORDER)[:, ::-1]
    past = np.column_stack([past, np.ones(len(past))])
    return np.linalg.lstsq(past, series[ORDER:end], rcond=None)[0]


def fit(data: Stretches, start: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Parameters, and the losses on the way, from the autoregression `start` and a small LSTM."""
    p = NET.init(seed)
    P = NET.unpack(p)
    P.linear.W[:, 0], P.linear.b[0] = start[:-1], start[-1]
    P.out.W[:] *= 0.1
    return p, train(p, update.state(p), data.train, data.validation, STEPS)


def error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """The mean squared error over the variance."""
    return float(np.mean((predicted - truth) ** 2) / np.var(truth))
