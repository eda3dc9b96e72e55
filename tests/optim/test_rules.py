"""The optimisers against the algorithms of their papers, written out in NumPy."""

import numba
import numpy as np
import pytest

from numbaflux import optim

SCALES = np.array([1.0, 10.0, 0.1, -3.0])
START = np.array([1.0, -2.0, 0.5, 3.0])


def slope(p):
    """The gradient of a function with a minimum, of a different size in every direction."""
    return SCALES * np.tanh(p) + p**3


def sgd(p, lr, steps):
    for _ in range(steps):
        p = p - lr * slope(p)
    return p


def momentum(p, lr, steps, mu=0.9, nesterov=False):
    """Sutskever et al. 2013 as PyTorch writes it: the velocity is not scaled by lr."""
    v = np.zeros_like(p)
    for _ in range(steps):
        g = slope(p)
        v = mu * v + g
        p = p - lr * (g + mu * v if nesterov else v)
    return p


def adam(p, lr, steps, decay=0.0):
    """Kingma and Ba, algorithm 1; Loshchilov and Hutter, algorithm 2, with the decay."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t in range(1, steps + 1):
        g = slope(p)
        m = 0.9 * m + (1 - 0.9) * g
        v = 0.999 * v + (1 - 0.999) * g * g
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        p = p - lr * (m_hat / (np.sqrt(v_hat) + 1e-8) + decay * p)
    return p


def rmsprop(p, lr, steps):
    """Tieleman and Hinton, lecture 6.5."""
    v = np.zeros_like(p)
    for _ in range(steps):
        g = slope(p)
        v = 0.9 * v + (1 - 0.9) * g * g
        p = p - lr * g / (np.sqrt(v) + 1e-8)
    return p


def lion(p, lr, steps, decay=0.1):
    """Chen et al. 2023, algorithm 2."""
    m = np.zeros_like(p)
    for _ in range(steps):
        g = slope(p)
        c = 0.9 * m + (1 - 0.9) * g
        p = p - lr * (np.sign(c) + decay * p)
        m = 0.99 * m + (1 - 0.99) * g
    return p


CASES = {
    "sgd": (optim.sgd(0.01), sgd, 0.01),
    "momentum": (optim.sgd(0.01, 0.9), momentum, 0.01),
    "nesterov": (
        optim.sgd(0.01, 0.9, nesterov=True),
        lambda p, lr, steps: momentum(p, lr, steps, nesterov=True),
        0.01,
    ),
    "adam": (optim.adam(0.05), adam, 0.05),
    "adamw": (
        optim.adamw(0.05, decay=0.1),
        lambda p, lr, steps: adam(p, lr, steps, 0.1),
        0.05,
    ),
    "rmsprop": (optim.rmsprop(0.02), rmsprop, 0.02),
    "lion": (optim.lion(0.02, decay=0.1), lion, 0.02),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_it_is_the_papers(name, dtype):
    update, paper, lr = CASES[name]
    p = START.astype(dtype)
    state = update.state(p)
    assert state.dtype == dtype
    for step in range(12):
        update(p, slope(p), state, step)
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    np.testing.assert_allclose(p, paper(START, lr, 12), rtol=tolerance, atol=tolerance)
    assert p.dtype == state.dtype == dtype


def test_a_rate_of_the_step_in_a_compiled_loop():
    update = optim.sgd(optim.exponential(0.1, 0.5, every=2))

    @numba.njit
    def train(p, state):
        for step in range(5):
            update(p, np.ones(p.size), state, step)

    p = np.zeros(2)
    train(p, update.state(p))
    np.testing.assert_allclose(p, -0.1 * sum(0.5 ** (t / 2) for t in range(5)), rtol=1e-15)
