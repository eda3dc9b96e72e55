"""What trains: numbaflux, a loop by hand in Numba, and JAX, PyTorch and TensorFlow as users write.

A step is forward, gradient and Adam; every tool starts from the same parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit

import numbaflux as nf
from numbaflux import nn, optim, vecmath

LR, B1, B2, EPS = 1e-3, 0.9, 0.999, 1e-8

Train = Callable[[np.ndarray, int], np.ndarray]  # parameters, changed, and steps: the losses


@dataclass(frozen=True)
class Case:
    """The tools for a workload, how many steps are timed, and our goal, in times of `beside`.

    `near`: how close a tool's losses are that does not compute quite the same.
    """

    p: np.ndarray
    tools: dict[str, Callable[[], Train]]
    steps: int
    must: float
    beside: str = "hand"
    near: dict[str, float] = field(default_factory=dict)


@njit(**nn.FAST)
def adam(p, g, m, v, step, lr):
    """A step by hand."""
    number = type(p[0])
    c, root = lr / (1.0 - B1 ** (step + 1)), 1.0 / math.sqrt(1.0 - B2 ** (step + 1))
    for i in range(p.size):
        m[i] = number(B1) * m[i] + number(1.0 - B1) * g[i]
        v[i] = number(B2) * v[i] + number(1.0 - B2) * g[i] * g[i]
        p[i] -= number(c) * m[i] / (math.sqrt(v[i]) * number(root) + number(EPS))


@njit(**nn.FAST)
def crossentropy(o, b, labels, g_b):
    """The loss of the logits o + b; o becomes their cotangent."""
    n, number, total = o.shape[0], type(o[0, 0]), 0.0
    g_b[:] = number(0.0)
    for i in range(n):
        top, norm = number(-np.inf), number(0.0)
        for j in range(o.shape[1]):
            o[i, j] += b[j]
            top = max(top, o[i, j])
        total += top - o[i, labels[i]]
        for j in range(o.shape[1]):
            o[i, j] = vecmath.exp(o[i, j] - top)
            norm += o[i, j]
        total += math.log(norm)
        for j in range(o.shape[1]):
            o[i, j] /= norm * number(n)
        o[i, labels[i]] -= number(1.0 / n)
        for j in range(o.shape[1]):
            g_b[j] += o[i, j]
    return total / n


@dataclass(frozen=True)
class Ours:
    """A training loop of a loss, as the README writes it."""

    loss: Any
    data: tuple

    def __call__(self) -> Train:
        gradient, update, data = nf.value_and_grad(self.loss), optim.adam(lr=LR), self.data

        @njit(**nn.FAST)
        def train(p, state, steps, data):
            losses = np.empty(steps)
            for step in range(steps):
                losses[step], g = gradient(p, *data)
                update(p, g, state, step)
            return losses

        return lambda p, steps: train(p, update.state(p), steps, data)


def by_hand(train: Any, *data: Any) -> Callable[[], Train]:
    """A training loop written as a whole."""
    return lambda: lambda p, steps: train(p, *data, steps, LR)


def by_jax(loss: Any, *data: Any, scan: bool = True) -> Callable[[], Train]:
    """The same with jax: a scan over the steps, compiled as a whole, or a loop over a jitted step
    (XLA's fast convolutions on a CPU do not run inside a scan).
    """

    def build() -> Train:
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        arrays = [jnp.asarray(a) for a in data]
        gradient = jax.value_and_grad(lambda p: loss(jnp, p, *arrays))

        def one(carry, step):
            p, m, v = carry
            value, g = gradient(p)
            m, v = B1 * m + (1.0 - B1) * g, B2 * v + (1.0 - B2) * g * g
            t = step + 1
            size = jnp.sqrt(v / (1.0 - B2**t)) + EPS
            return (p - LR * m / (1.0 - B1**t) / size, m, v), value

        compiled_step = jax.jit(one, donate_argnums=0)

        def loop(carry, steps):
            losses = []
            for step in steps:
                carry, value = compiled_step(carry, step)
                losses.append(value)
            return jnp.stack(losses)

        @jax.jit
        def scanned(carry, steps):
            return jax.lax.scan(one, carry, steps)[1]

        def train(p, steps):
            carry = jnp.array(p), jnp.zeros_like(p), jnp.zeros_like(p)
            each = np.arange(steps, dtype=p.dtype)
            return np.asarray(scanned(carry, each) if scan else loop(carry, each))

        return train

    return build


def by_torch(module: Any, *data: Any, compiled: bool = False) -> Callable[[], Train]:
    """The same with PyTorch: `module(torch)` has the case's parameters, and says the loss."""

    def build() -> Train:
        import torch

        torch.set_num_threads(1)
        net = module(torch)
        start = {name: value.clone() for name, value in net.state_dict().items()}
        loss_of = torch.compile(net) if compiled else net
        arrays = [torch.as_tensor(a) if isinstance(a, np.ndarray) else a for a in data]

        def train(p, steps):
            net.load_state_dict(start)
            wanted = [parameter for parameter in net.parameters() if parameter.requires_grad]
            optimizer, losses = torch.optim.Adam(wanted, lr=LR, fused=True), []
            for _ in range(steps):
                optimizer.zero_grad()
                loss = loss_of(*arrays)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            return torch.stack(losses).numpy()

        return train

    return build


def by_tensorflow(loss: Any, *data: Any, compiled: bool = True) -> Callable[[], Train]:
    """The same with TensorFlow: a loop over a step that is a `tf.function`, of XLA or not."""

    def build() -> Train:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        arrays = [tf.constant(a) if isinstance(a, np.ndarray) else a for a in data]

        @tf.function(jit_compile=compiled)
        def one(p, m, v, t):
            with tf.GradientTape() as tape:
                tape.watch(p)
                value = loss(tf, p, *arrays)
            g = tape.gradient(value, p)
            m, v = B1 * m + (1.0 - B1) * g, B2 * v + (1.0 - B2) * g * g
            size = tf.sqrt(v / (1.0 - B2**t)) + EPS
            return p - LR * m / (1.0 - B1**t) / size, m, v, value

        def train(p, steps):
            p, losses = tf.constant(p), []
            m, v = tf.zeros_like(p), tf.zeros_like(p)
            for step in range(steps):
                p, m, v, value = one(p, m, v, tf.constant(step + 1.0, p.dtype))
                losses.append(value)
            return tf.stack(losses).numpy()

        return train

    return build


def fill(torch: Any, linear: Any, W: np.ndarray, b: np.ndarray) -> Any:
    """A `torch.nn.Linear` (or convolution) with these weights, in torch's order of axes."""
    with torch.no_grad():
        linear.weight.copy_(torch.as_tensor(W))
        linear.bias.copy_(torch.as_tensor(b))
    return linear
