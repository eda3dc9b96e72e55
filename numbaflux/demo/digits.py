"""Handwritten digits: a dense net 64-32-10 and one with two convolutions, trained, saved, and
looked at where they are wrong.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from numbaflux import nn, optim

NET = nn.layout("Digits", l1=nn.Dense(64, 32), l2=nn.Dense(32, 10))
CONV = nn.layout(
    "ConvDigits", c1=nn.Conv(1, 8, (3, 3)), c2=nn.Conv(8, 16, (3, 3)), out=nn.Dense(64, 10)
)
BATCH, HELD_OUT = 32, 360


class Digits(NamedTuple):
    """Images (n, 64) in [0, 1] and their digits; the last part is kept for a test."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


@njit(**nn.FAST)
def model(p, x):
    """Logits (n, 10) of images (n, 64)."""
    P = NET.unpack(p)
    return nn.dense(P.l2, nn.activate(nn.relu, nn.dense(P.l1, x)))


@njit(**nn.FAST)
def loss(p, x, y):
    """The mean cross entropy of the digits `y`."""
    return nn.logitcrossentropy(model(p, x), y)


@njit(**nn.FAST)
def images(x):
    """Rows (n, 64) as convolutions have them, (1, 8, 8, n)."""
    out = np.empty((1, 8, 8, x.shape[0]), x.dtype)
    for i in range(8):
        for j in range(8):
            for n in range(x.shape[0]):
                out[0, i, j, n] = x[n, 8 * i + j]
    return out


@njit(**nn.FAST)
def conv_model(p, x):
    """Logits (n, 10) of images (n, 64), by two convolutions, each halved by a pool."""
    P = CONV.unpack(p)
    h = nn.maxpool(nn.activate(nn.relu, nn.conv(P.c1, images(x), padding=1)), 2)
    h = nn.maxpool(nn.activate(nn.relu, nn.conv(P.c2, h, padding=1)), 2)
    return nn.dense(P.out, nn.flatten(h))


@njit(**nn.FAST)
def conv_loss(p, x, y):
    """The mean cross entropy of the digits `y`."""
    return nn.logitcrossentropy(conv_model(p, x), y)


class Recipe(NamedTuple):
    """A net, and how it is trained."""

    net: Any
    model: Any
    loss: Any
    epochs: int
    shifts: bool
    """Whether it also sees every image moved by a pixel: left, right, up, down."""


DENSE_NET = Recipe(NET, model, loss, 80, shifts=False)
CONV_NET = Recipe(CONV, conv_model, conv_loss, 16, shifts=True)


def digits(rng: np.random.Generator | int = 0, dtype: Any = np.float32) -> Digits:
    """scikit-learn's 1797 images of 8x8, in a random order."""
    from sklearn.datasets import load_digits

    all_digits: Any = load_digits()
    order = np.random.default_rng(rng).permutation(len(all_digits.target))
    x = (all_digits.data[order] / 16.0).astype(dtype)
    y = all_digits.target[order].astype(np.int64)
    cut = len(y) - HELD_OUT
    return Digits(x[:cut], y[:cut], x[cut:], y[cut:])


def shifted(x: np.ndarray) -> np.ndarray:
    """Rows (n, 64), and after them the same images moved by a pixel: (5 n, 64)."""
    padded = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    corners = (1, 1), (0, 1), (2, 1), (1, 0), (1, 2)
    return np.concatenate([padded[:, i : i + 8, j : j + 8].reshape(-1, 64) for i, j in corners])


def train(
    data: Digits, rng: np.random.Generator, progress: bool = False, recipe: Recipe = DENSE_NET
) -> tuple[Any, nn.History]:
    """Parameters, and the history of getting there."""
    x = shifted(data.x) if recipe.shifts else data.x
    y = np.tile(data.y, len(x) // len(data.y))
    steps = recipe.epochs * -(-len(y) // BATCH)
    p = recipe.net.init(rng, nn.kaiming, x.dtype)
    update = optim.adamw(optim.cosine(5e-3, steps), decay=0.1)
    history = nn.fit(
        recipe.loss, p, x, y,
        epochs=recipe.epochs, size=BATCH, update=update, rng=rng, progress=progress,
    )  # fmt: skip
    return p, history


def predict(p: np.ndarray, x: np.ndarray, recipe: Recipe = DENSE_NET) -> np.ndarray:
    """The digit of each image."""
    return recipe.model(p, x).argmax(axis=1)


def confusion(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How often the digit of a row was taken for that of a column."""
    table = np.zeros((10, 10), int)
    np.add.at(table, (y, predicted), 1)
    return table


def draw_confusion(axes: Any, table: np.ndarray) -> None:
    """The table, the digits taken for others in red."""
    wrong = table * (1 - np.eye(10, dtype=int))
    axes.imshow(wrong, cmap="Reds", vmax=max(2, wrong.max()))
    for i, j in np.argwhere(table):
        axes.text(j, i, table[i, j], ha="center", va="center")
    axes.set(xlabel="predicted", ylabel="digit", xticks=range(10), yticks=range(10))


def save_plot(table: np.ndarray, path: Path) -> bool:
    """Draw the confusion matrix into `path`; False if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(5, 5), layout="constrained")
    draw_confusion(figure.add_subplot(), table)
    figure.savefig(path, dpi=120)
    return True


def main(
    weights: Path = Path("digits.safetensors"),
    plot: Path = Path("digits.png"),
    recipe: Recipe = DENSE_NET,
) -> None:
    """The whole demonstration, printed while it runs."""
    begin, rng = time.perf_counter(), np.random.default_rng(0)
    data = digits(rng)
    print(f"{len(data.y)} images to train with, {len(data.test_y)} to test", flush=True)
    p, history = train(data, rng, progress=True, recipe=recipe)
    predicted = predict(p, data.test_x, recipe)
    accuracy = float(np.mean(predicted == data.test_y))
    took = time.perf_counter() - begin
    print(f"test accuracy {accuracy:.2%} after {history.step} steps, {took:.1f} s with compiling")
    nn.save(weights, recipe.net, p, history.state, history.step, rng)
    print(f"Weights saved: {weights}")
    if save_plot(confusion(predicted, data.test_y), plot):
        print(f"Plot saved: {plot}")
