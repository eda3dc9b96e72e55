"""`python -m benchmarks.nn [CASE...] [--rivals] [--json FILE]`: training steps beside one by hand.

A step is forward, gradient and Adam, in float64, in a compiled loop of many steps, one thread.
Every tool starts from the same parameters; its losses at steps 1, 2 and 10 are compared with those
by hand before any time is printed. Each case has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

import numbaflux as nf
from benchmarks import nn_by_hand as hand
from numbaflux import nn, optim

LR = 1e-3
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ONE_THREAD["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
RUNS = 15

Train = Callable[[np.ndarray, int], np.ndarray]  # parameters, changed, and steps: the losses


@dataclass(frozen=True)
class Case:
    """The tools for a workload, how many steps are timed, and the goal, in multiples of by hand."""

    p: np.ndarray
    tools: dict[str, Callable[[], Train]]
    steps: int
    must: float


def ours(loss: Any, *data: Any) -> Callable[[], Train]:
    """A training loop of a loss, as the README writes it."""

    def build() -> Train:
        gradient, update = nf.value_and_grad(loss), optim.adam(lr=LR)

        @njit(**nn.FAST)
        def train(p, state, steps, data):
            losses = np.empty(steps)
            for step in range(steps):
                losses[step], g = gradient(p, *data)
                update(p, g, state, step)
            return losses

        return lambda p, steps: train(p, update.state(p), steps, data)

    return build


def by_hand(train: Any, *data: Any) -> Callable[[], Train]:
    """A training loop written as a whole."""
    return lambda: lambda p, steps: train(p, *data, steps, LR)


def by_jax(loss: Any, *data: Any) -> Callable[[], Train]:
    """The same with jax: a scan over the steps, compiled as a whole."""

    def build() -> Train:
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        arrays = [jnp.asarray(a) for a in data]
        gradient = jax.value_and_grad(lambda p: loss(jnp, p, *arrays))

        def one(carry, step):
            p, m, v = carry
            value, g = gradient(p)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            t = step + 1.0
            size = jnp.sqrt(v / (1 - 0.999**t)) + 1e-8
            return (p - LR * m / (1 - 0.9**t) / size, m, v), value

        @jax.jit
        def train(p, steps):
            return jax.lax.scan(one, (p, 0.0 * p, 0.0 * p), steps)[1]

        return lambda p, steps: np.asarray(train(jnp.asarray(p), jnp.arange(float(steps))))

    return build


# ---- cases -------------------------------------------------------------------------------------


def mlp() -> Case:
    """2-32-32-1, a batch of 64."""
    net = nn.layout("Net", l1=nn.Dense(2, 32), l2=nn.Dense(32, 32), l3=nn.Dense(32, 1))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2))
    y = np.sin(x[:, :1] * x[:, 1:])

    @njit(**nn.FAST)
    def loss(p, x, y):
        P = net.unpack(p)
        h = nn.activate(nn.tanh, nn.dense(P.l1, x))
        h = nn.activate(nn.tanh, nn.dense(P.l2, h))
        return nn.mse(nn.dense(P.l3, h), y)

    def loss_jax(jnp, p, x, y):
        h = jnp.tanh(x @ p[:64].reshape(2, 32) + p[64:96])
        h = jnp.tanh(h @ p[96:1120].reshape(32, 32) + p[1120:1152])
        return jnp.mean((h @ p[1152:1184].reshape(32, 1) + p[1184] - y) ** 2)

    tools = {
        "hand": by_hand(hand.mlp_train, x, y),
        "numbaflux": ours(loss, x, y),
        "jax": by_jax(loss_jax, x, y),
    }
    return Case(net.init(0), tools, 300, 1.5)


def classifier() -> Case:
    """784-128-10, a batch of 64."""
    net = nn.layout("Net", l1=nn.Dense(784, 128), l2=nn.Dense(128, 10))
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(64, 784)), rng.integers(0, 10, 64)
    e, f = 784 * 128, 784 * 128 + 128

    @njit(**nn.FAST)
    def loss(p, x, labels):
        P = net.unpack(p)
        h = nn.activate(nn.relu, nn.dense(P.l1, x))
        return nn.logitcrossentropy(nn.dense(P.l2, h), labels)

    def loss_jax(jnp, p, x, labels):
        h = jnp.maximum(x @ p[:e].reshape(784, 128) + p[e:f], 0.0)
        y = h @ p[f : f + 1280].reshape(128, 10) + p[f + 1280 :]
        top = y.max(1, keepdims=True)
        total = jnp.log(jnp.exp(y - top).sum(1)) + top[:, 0]
        return jnp.mean(total - y[jnp.arange(64), labels])

    tools = {
        "hand": by_hand(hand.classifier_train, x, labels),
        "numbaflux": ours(loss, x, labels),
        "jax": by_jax(loss_jax, x, labels),
    }
    return Case(net.init(0), tools, 20, 1.2)


def neural_ode() -> Case:
    """du/dt = net(u), 2-16-2, 100 steps of RK4, against a spiral."""
    net = nn.layout("Net", l1=nn.Dense(2, 16), l2=nn.Dense(16, 2))
    t = np.linspace(0.0, 5.0, 101)
    data = np.stack([np.exp(-0.1 * t) * np.cos(t), np.exp(-0.1 * t) * np.sin(t)], 1)
    dt = float(t[1])

    @njit(**nn.FAST)
    def rhs(P, u, h, du):
        nn.activate(nn.tanh, nn.dense(P.l1, u, h), h)
        nn.dense(P.l2, h, du)

    @njit(**nn.FAST)
    def loss(p, data, dt):
        P, u, total = net.unpack(p), data[0].copy(), 0.0
        w, h = np.empty(2), np.empty(16)
        k1, k2, k3, k4 = np.empty(2), np.empty(2), np.empty(2), np.empty(2)
        for t in range(1, len(data)):
            rhs(P, u, h, k1)
            for i in range(2):
                w[i] = u[i] + 0.5 * dt * k1[i]
            rhs(P, w, h, k2)
            for i in range(2):
                w[i] = u[i] + 0.5 * dt * k2[i]
            rhs(P, w, h, k3)
            for i in range(2):
                w[i] = u[i] + dt * k3[i]
            rhs(P, w, h, k4)
            for i in range(2):
                u[i] += dt / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i])
                total += (u[i] - data[t, i]) ** 2
        return total / len(data)

    def loss_jax(jnp, p, data):
        import jax

        def f(u):
            h = jnp.tanh(u @ p[:32].reshape(2, 16) + p[32:48])
            return h @ p[48:80].reshape(16, 2) + p[80:]

        def step(u, target):
            k1 = f(u)
            k2 = f(u + 0.5 * dt * k1)
            k3 = f(u + 0.5 * dt * k2)
            k4 = f(u + dt * k3)
            u = u + dt / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
            return u, jnp.sum((u - target) ** 2)

        return jnp.sum(jax.lax.scan(step, data[0], data[1:])[1]) / len(data)

    tools = {
        "hand": by_hand(hand.ode_train, data, dt),
        "numbaflux": ours(loss, data, dt),
        "jax": by_jax(loss_jax, data),
    }
    return Case(net.init(0), tools, 100, 1.5)


CASES = {"mlp": mlp, "classifier": classifier, "neural-ode": neural_ode}


# ---- running -----------------------------------------------------------------------------------


def measure(name: str, rivals: bool) -> dict[str, Any]:
    """Seconds of a step and of the first one, by tool."""
    case = CASES[name]()
    wanted = [t for t in case.tools if rivals or t in ("hand", "numbaflux")]
    made, first, losses = {}, {}, {}
    for tool in wanted:
        begin = time.perf_counter()
        made[tool] = case.tools[tool]()
        made[tool](case.p.copy(), 1)
        first[tool] = time.perf_counter() - begin
        losses[tool] = made[tool](case.p.copy(), 10)
        np.testing.assert_allclose(losses[tool][[0, 1, 9]], losses["hand"][[0, 1, 9]], rtol=1e-9)
    best = dict.fromkeys(wanted, np.inf)
    for tool in wanted:
        made[tool](case.p.copy(), case.steps)  # compiled for this many
    for _ in range(RUNS):
        for tool in wanted:
            p = case.p.copy()
            begin = time.process_time()
            made[tool](p, case.steps)
            best[tool] = min(best[tool], (time.process_time() - begin) / case.steps)
    return {"case": name, "must": case.must, "step_s": best, "first_step_s": first}


def show(row: dict[str, Any]) -> None:
    by_hand = row["step_s"]["hand"]
    cells = [f"{row['case']:12} by hand {by_hand * 1e6:8.1f} us"]
    for tool, seconds in row["step_s"].items():
        if tool != "hand":
            goal = f" (must {row['must']})" if tool == "numbaflux" else ""
            first = row["first_step_s"][tool]
            cells.append(f"{tool} {seconds / by_hand:6.2f}{goal}, first step {first:.1f} s")
    print("   ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nn", description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(measure(given.cases[0], given.rivals)))
        return
    rows = []
    for name in given.cases or CASES:
        command = [sys.executable, "-m", "benchmarks.nn", name, "--worker"]
        command += ["--rivals"] * given.rivals
        done = subprocess.run(
            command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True, check=True
        )
        rows.append(json.loads(done.stdout))
        show(rows[-1])
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
