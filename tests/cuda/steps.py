"""Kernels that host programs launch, on the emulator."""

from math import prod

from numba import cuda, float64

import numbaflux as nf

THREADS = 8


@nf.cuda.emulate
@cuda.jit
def stencil(p, u, v):
    """A nonlinear step from u to v."""
    i = cuda.grid(1)
    if i < u.size:
        left, right = u[max(i - 1, 0)], u[min(i + 1, u.size - 1)]
        v[i] = u[i] + p[0] * (left - 2.0 * u[i] + right) + p[1] * u[i] * (1.0 - u[i])


@nf.cuda.emulate
@cuda.jit
def shift(u, v):
    """A linear step from u to v."""
    i = cuda.grid(1)
    if i < u.size:
        v[i] = u[i] - 0.5 * u[(i + 1) % u.size]


@nf.cuda.emulate
@cuda.jit
def square(u):
    """In place."""
    i = cuda.grid(1)
    if i < u.size:
        u[i] = u[i] * u[i] + 0.1


@nf.cuda.emulate
@cuda.jit
def misfit(u, data, loss):
    """Half the sum of squares of the difference, block by block."""
    shared = cuda.shared.array(THREADS, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = 0.0
    if i < u.size:
        shared[t] = 0.5 * (u[i] - data[i]) ** 2
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half:
            shared[t] += shared[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        cuda.atomic.add(loss, 0, shared[0])


@nf.cuda.emulate
@cuda.jit
def pair(both, out):
    """A tuple of arrays."""
    i = cuda.grid(1)
    if i < out.size:
        out[i] = both[0][i] * both[1][i]


@nf.cuda.emulate
@cuda.jit
def choose(u, index):
    """Integers from numbers."""
    i = cuda.grid(1)
    if i < u.size:
        index[i] = (i + 1) % u.size if u[i] > 0.5 else i


@nf.cuda.emulate
@cuda.jit
def gather(u, index, v):
    i = cuda.grid(1)
    if i < v.size:
        v[i] = u[index[i]] * u[i]


def grid(array):
    """Where to launch: [grid, block]."""
    return (prod(array.shape) + THREADS - 1) // THREADS, THREADS
