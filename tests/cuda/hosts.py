"""Programs of the host: a vjp, and launches on a tape, wherever they run.

`run(kernel)` is `nf.cuda.launch` or `nf.cuda.emulate`, `put(array)` a copy of a NumPy array there.
"""

import numpy as np
from numba import cuda

import numbaflux as nf
from tests.cuda.steps import grid, misfit, square, stencil

N = 13
P = np.array([0.2, 0.3])


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


@cuda.jit
def halve(x, y):
    """In place, so often as each element needs."""
    i = cuda.grid(1)
    if i < x.size:
        v = x[i]
        while v > 0.3:
            v = 0.5 * v * v
        y[i] = v * x[i]
        x[i] = v + x[i]


def pulled(vjp, put):
    """The arrays of a launch of `halve`, and their cotangents after two pullbacks."""
    x, dx, dy = (random(N, seed=k) for k in range(3))
    x, y, dx, dy = (put(a) for a in (2 * x, np.zeros(N), dx, dy))
    nothing, pullback = vjp[2, 8](x, y)
    assert nothing is None
    pullback(dx, dy)
    pullback(dx)
    return x, y, dx, dy


def trajectory(run, put, checkpointed=False):
    """A tape of some steps with copies and a kernel in place; the loss and its gradients."""
    step, last, change = run(stencil.kernel), run(misfit.kernel), run(square.kernel)
    p, u, v, w, data = (put(a) for a in (P.copy(), random(N), np.zeros(N), np.zeros(N), random(N)))
    loss = put(np.zeros(1))

    def one(t, state):
        u, v = state
        step[grid(u)](p, u, v)
        return v, u

    with nf.cuda.Tape() as tape:
        nf.cuda.copy(w, u)
        now = w, v
        if checkpointed:
            now = nf.cuda.checkpoint(one, 5, now, slots=2)
        else:
            for t in range(5):
                now = one(t, now)
        change[grid(u)](now[0])
        last[grid(u)](now[0], data, loss)
    found = tape.backward(loss)
    return tape, [loss, *(found[a] for a in (p, u, v, data))]
