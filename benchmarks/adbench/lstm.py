"""A small LSTM that predicts the next character: the mean log-likelihood of a sequence.

The gates are element-wise, as in ADBench: each has one weight and one bias a unit.
`main[2 l]` are layer l's weights, `main[2 l + 1]` its biases, for forget, input, output and
change side by side; `extra` is the weight in, weight out, bias out; `state[2 l]` is layer l's
hidden vector, `state[2 l + 1]` its cell.
"""

import math

import numpy as np
from numba import njit

ARGNUMS = (0, 1)
SIZES = {
    "small": (2, 5, 3),
    "l2_c1024": (2, 1024, 14),
    "l4_c1024": (4, 1024, 14),
    "l2_c4096": (2, 4096, 14),
    "l4_c4096": (4, 4096, 14),
}
"""(layers l, characters c, bits b)."""


@njit
def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


@njit
def step_layer(weight, bias, hidden, cell, signal):
    """Advance `hidden` and `cell` in place; `signal` becomes the layer's output."""
    b = hidden.shape[0]
    for j in range(b):
        forget = sigmoid(signal[j] * weight[j] + bias[j])
        enter = sigmoid(hidden[j] * weight[b + j] + bias[b + j])
        leave = sigmoid(signal[j] * weight[2 * b + j] + bias[2 * b + j])
        change = math.tanh(hidden[j] * weight[3 * b + j] + bias[3 * b + j])
        cell[j] = cell[j] * forget + enter * change
        hidden[j] = leave * math.tanh(cell[j])
        signal[j] = hidden[j]


@njit
def predict(main, extra, state, character, signal):
    """Overwrite `signal` with the prediction for the character after `character`."""
    b = character.shape[0]
    for j in range(b):
        signal[j] = character[j] * extra[0, j]
    for layer in range(main.shape[0] // 2):
        step_layer(
            main[2 * layer], main[2 * layer + 1], state[2 * layer], state[2 * layer + 1], signal
        )
    for j in range(b):
        signal[j] = signal[j] * extra[1, j] + extra[2, j]


@njit
def objective(main, extra, state, sequence):
    """The loss; the state on entry is not changed."""
    state = state.copy()
    characters, b = sequence.shape
    signal = np.empty(b)
    total = 0.0
    for t in range(characters - 1):
        predict(main, extra, state, sequence[t], signal)
        norm = 2.0
        for j in range(b):
            norm += math.exp(signal[j])
        log_norm = math.log(norm)
        for j in range(b):
            total += sequence[t + 1, j] * (signal[j] - log_norm)
    return -total / ((characters - 1) * b)


def inputs(size="small", seed=0):
    """(main, extra, state, sequence)."""
    layers, characters, b = SIZES[size]
    random = np.random.default_rng(seed)
    main = random.standard_normal((2 * layers, 4 * b))
    extra = random.standard_normal((3, b))
    state = random.standard_normal((2 * layers, b))
    sequence = (random.random((characters, b)) < 0.5).astype(float)
    return main, extra, state, sequence
