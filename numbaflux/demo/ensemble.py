"""An ensemble of neural ODEs, a thread each: where its members differ, the data say little.

The net, the steps and the data of `neural_ode`, from many beginnings.  A member's parameters are a
column, so that threads beside each other read numbers beside each other.
"""

# pyright: reportCallIssue=false, reportArgumentType=false
# numba.cuda declares its functions as classes, for its own typing.

from __future__ import annotations

import numpy as np
from numba import cuda, float64

import numbaflux as nf
from numbaflux import nn, optim
from numbaflux.demo.neural_ode import DT, HIDDEN, NET, SUBSTEPS, advance, simulate

MEMBERS, STEPS = 8, 300
BLOCK = 32


@cuda.jit
def losses(ps, seen, out):
    """out[m] = the mean squared distance of member m, parameters ps[:, m], from what was seen."""
    m = cuda.grid(1)
    if m < out.shape[0]:
        p = cuda.local.array(NET.size, float64)
        for i in range(p.size):
            p[i] = ps[i, m]
        u, probe, h, k = np.empty(2), np.empty(2), np.empty(HIDDEN), np.empty((4, 2))
        u[0], u[1] = seen[0]
        total = 0.0
        for row in range(1, seen.shape[0]):
            for _ in range(SUBSTEPS):
                advance(p, u, probe, h, k, DT)
            total += nn.mse(u, seen[row])
        out[m] = total / seen.shape[0]


update = optim.adam(optim.cosine(0.05, STEPS))


@cuda.jit
def improve(p, g, state, step):
    """A step of Adam for the numbers of all members, a thread each."""
    i = cuda.grid(1)
    if i < p.size:
        update(p[i : i + 1], g[i : i + 1], state[:, i : i + 1], step)


LOSSES = nf.cuda.emulate(losses, check=False)
GRADIENTS = nf.cuda.emulate(nf.cuda.adjoint(losses), check=False)
IMPROVE = nf.cuda.emulate(improve, check=False)


def launch(threads: int) -> tuple[int, int]:
    """Grid and block."""
    return (threads + BLOCK - 1) // BLOCK, BLOCK


def beginnings(members: int = MEMBERS) -> np.ndarray:
    """Parameters (NET.size, members)."""
    return np.stack([NET.init(seed) for seed in range(members)], axis=1)


def gradients(ps: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The members' losses, and of each the gradient with respect to its parameters."""
    members = ps.shape[1]
    found, g = np.zeros(members), np.zeros_like(ps)
    LOSSES[launch(members)](ps, seen, found)
    GRADIENTS[launch(members)](nf.Dup(ps, g), seen, nf.Dup(found.copy(), np.ones(members)))
    return found, g


def fit(seen: np.ndarray, steps: int = STEPS, members: int = MEMBERS) -> tuple[np.ndarray, ...]:
    """Parameters (NET.size, members), and the losses on the way to them (steps, members)."""
    ps, history = beginnings(members), np.empty((steps, members))
    flat = ps.reshape(-1)
    state = update.state(flat)
    for t in range(steps):
        history[t], g = gradients(ps, seen)
        IMPROVE[launch(ps.size)](flat, g.reshape(-1), state, t)
    return ps, history


def foretold(ps: np.ndarray, start: np.ndarray, rows: int) -> np.ndarray:
    """Where the members go from `start`: (members, rows, 2)."""
    return np.stack([simulate(p, start, rows, SUBSTEPS, DT) for p in np.ascontiguousarray(ps.T)])
