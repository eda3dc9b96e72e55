"""Kernels with every construct that is differentiated, each with a launch and arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, float32, float64

WARP = 0xFFFFFFFF


class Program(NamedTuple):
    """A kernel, its launch, its arguments, and which of them are differentiated."""

    kernel: Any
    launch: tuple
    args: Callable[[np.random.Generator], list]
    active: tuple[int, ...]


@cuda.jit
def pointwise(a, x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] += a * x[i] * x[i]


@cuda.jit
def early_return(x, y):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i >= x.size:
        return
    y[i] = math.exp(x[i]) * x[i]


@cuda.jit
def grid_stride(x, y):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        y[i] = math.sin(x[i]) * x[x.size - 1 - i]


@cuda.jit
def grid_stride_while(x, y):
    i = cuda.grid(1)
    while i < x.size:
        y[i] = x[i] * x[i] * x[i]
        i += cuda.gridsize(1)


@cuda.jit
def three_dimensions(x, y):
    i, j, k = cuda.grid(3)
    if i < x.shape[0] and j < x.shape[1] and k < x.shape[2]:
        y[i, j, k] = x[i, j, k] * x[i, j, (k + 1) % x.shape[2]]


@cuda.jit
def stencil(u, v, k):
    j, i = cuda.grid(2)
    n, m = u.shape
    if 0 < i < n - 1 and 0 < j < m - 1:
        total = 0.0
        for a, b in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            d = u[i + a, j + b] - u[i, j]
            total += d / (1.0 + k * d * d)
        v[i, j] = u[i, j] + 0.2 * total


@cuda.jit
def indirect(x, index, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[index[i]] * x[index[i]]


@cuda.jit
def scatter(x, index, y):
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.add(y, index[i], x[i] * x[i])
        cuda.atomic.sub(y, 0, 0.5 * x[i])


@cuda.jit
def block_sum(x, out):
    shared = cuda.shared.array(32, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = 0.0
    if i < x.size:
        shared[t] = x[i] * x[i]
    cuda.syncthreads()
    s = 16
    while s > 0:
        if t < s:
            shared[t] += shared[t + s]
        cuda.syncthreads()
        s //= 2
    if t == 0:
        cuda.atomic.add(out, 0, shared[0])


@cuda.jit
def block_product(x, out):
    shared = cuda.shared.array(16, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.size else 1.0
    cuda.syncthreads()
    s = 8
    while s > 0:
        if t < s:
            shared[t] *= shared[t + s]
        cuda.syncthreads()
        s >>= 1
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@cuda.jit
def block_maximum(x, out):
    shared = cuda.shared.array(1, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if t == 0:
        shared[0] = -1e300
    cuda.syncthreads()
    if i < x.size:
        cuda.atomic.max(shared, 0, x[i])
    cuda.syncthreads()
    if i < x.size:
        out[i] = math.exp(x[i] - shared[0])


@cuda.jit
def grid_minimum(x, out):
    for k in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        cuda.atomic.min(out, k % 2, x[k] * x[k])


@cuda.jit
def shared_tile(x, y):
    shared = cuda.shared.array(18, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if i < x.size:
        shared[t + 1] = x[i]
        if t == 0:
            shared[0] = x[i - 1] if i > 0 else 0.0
        if t == cuda.blockDim.x - 1 or i == x.size - 1:
            shared[t + 2] = x[i + 1] if i + 1 < x.size else 0.0
    cuda.syncthreads()
    if i < x.size:
        y[i] = shared[t] * shared[t + 1] - 0.5 * shared[t + 2] * shared[t + 1] ** 2


@cuda.jit
def overwritten_tile(x, y):
    shared = cuda.shared.array(32, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i]
    for _ in range(3):
        cuda.syncthreads()
        neighbour = shared[(t + 1) % 32]
        cuda.syncthreads()
        shared[t] = math.sin(neighbour) * shared[t]
    y[i] = shared[t]


@cuda.jit
def dynamic_shared(x, y):
    shared = cuda.shared.array(0, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] * x[i]
    cuda.syncthreads()
    y[i] = shared[t] * shared[(t + 1) % cuda.blockDim.x]


@cuda.jit
def bodies(p, m, f):
    shared = cuda.shared.array((16, 3), float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    ax, ay, px, py = 0.0, 0.0, p[i, 0], p[i, 1]
    for tile in range(cuda.gridDim.x):
        j = tile * 16 + t
        shared[t, 0], shared[t, 1], shared[t, 2] = p[j, 0], p[j, 1], m[j]
        cuda.syncthreads()
        for k in range(16):
            dx, dy = shared[k, 0] - px, shared[k, 1] - py
            r2 = dx * dx + dy * dy + 0.1
            w = shared[k, 2] / (r2 * math.sqrt(r2))
            ax += dx * w
            ay += dy * w
        cuda.syncthreads()
    f[i, 0], f[i, 1] = ax, ay


@cuda.jit
def product(a, b, c):
    left, right = cuda.shared.array((4, 4), float64), cuda.shared.array((4, 4), float64)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    i, j = cuda.blockIdx.y * 4 + ty, cuda.blockIdx.x * 4 + tx
    total = 0.0
    for q in range((a.shape[1] + 3) // 4):
        if i < a.shape[0] and q * 4 + tx < a.shape[1]:
            left[ty, tx] = a[i, q * 4 + tx]
        else:
            left[ty, tx] = 0.0
        if j < b.shape[1] and q * 4 + ty < b.shape[0]:
            right[ty, tx] = b[q * 4 + ty, j]
        else:
            right[ty, tx] = 0.0
        cuda.syncthreads()
        for k in range(4):
            total += left[ty, k] * right[k, tx]
        cuda.syncthreads()
    if i < c.shape[0] and j < c.shape[1]:
        c[i, j] = total


@cuda.jit
def stale_tile(x, y):
    shared = cuda.shared.array(16, float64)
    t = cuda.threadIdx.x
    shared[t] = 1.0
    total = 0.0
    for k in range(4):
        cuda.syncthreads()
        if (t + k) % 2 == 0:  # the other half keeps what an earlier trip has left
            shared[t] = shared[t] + x[k * 16 + t]
        cuda.syncthreads()
        total += shared[(t + 3) % 16] ** 2
    y[t] = total


@cuda.jit
def last_tile(x, y):
    shared = cuda.shared.array(16, float64)
    t = cuda.threadIdx.x
    total = 0.0
    for k in range(4):
        shared[t] = x[k * 16 + t] ** 2
        cuda.syncthreads()
        total += shared[(t + 3) % 16] ** 2
        cuda.syncthreads()
    y[t] = total * shared[(t + 5) % 16]


@cuda.jit
def nonlinear_tiles(x, y):
    """What is carried from tile to tile is needed on the way back."""
    shared = cuda.shared.array(16, float64)
    t = cuda.threadIdx.x
    total = x[t]
    for k in range(4):
        shared[t] = x[k * 16 + t]
        cuda.syncthreads()
        total = math.sin(total) * shared[(t + 3) % 16] + total * total * 0.1
        cuda.syncthreads()
    y[t] = total


@cuda.jit
def rows(first, value, x, y):
    """A sparse matrix by rows: how long they are is in memory."""
    i = cuda.grid(1)
    if i < y.size:
        total = 1.0
        for k in range(first[i + 1] - first[i]):
            total = total * value[first[i] + k] + math.sin(total * x[k])
        y[i] = total


@cuda.jit
def trajectory(s, p, out, steps):
    i = cuda.grid(1)
    if i >= s.shape[0]:
        return
    x, y, z = s[i, 0], s[i, 1], s[i, 2]
    for _ in range(steps):
        dx, dy, dz = p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z
        x, y, z = x + 0.01 * dx, y + 0.01 * dy, z + 0.01 * dz
    out[i] = x * x + y * z


@cuda.jit
def root(a, y):
    i = cuda.grid(1)
    if i < a.size:
        x = a[i] + 1.0
        while abs(x * x - a[i]) > 1e-10:
            x = 0.5 * (x + a[i] / x)
        y[i] = x


@cuda.jit
def local_array(x, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        w = cuda.local.array(3, float64)
        for k in range(3):
            w[k] = x[i, k] * x[i, k]
        for _ in range(4):
            for k in range(3):
                w[k] = w[k] * w[(k + 1) % 3] + 0.1
        y[i] = w[0] + w[1] * w[2]


@cuda.jit
def shuffles(x, y):
    i = cuda.grid(1)
    v = x[i] * x[i]
    down = cuda.shfl_down_sync(WARP, v, 3)
    up = cuda.shfl_up_sync(WARP, v, 5)
    across = cuda.shfl_xor_sync(WARP, v, 7)
    other = cuda.shfl_sync(WARP, v, (cuda.laneid * 5) % 11)
    y[i] = down * up + math.sin(across) * other


@cuda.jit
def votes(x, y):
    i = cuda.grid(1)
    positive = cuda.syncthreads_count(x[i] > 0.0)
    if cuda.any_sync(WARP, x[i] > 1.0):
        y[i] = x[i] * x[i] * positive
    else:
        y[i] = x[i]


@cuda.jit(device=True)
def wave(x, y):
    return math.sin(x) * y


def plain_helper(x):
    return x * x + 1.0


@cuda.jit
def helpers(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = wave(x[i], plain_helper(x[i]))


@cuda.jit
def single(x, y):
    shared = cuda.shared.array(32, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i]
    cuda.syncthreads()
    y[i] = float32(2.0) * shared[t] * shared[31 - t]


def _with(*shapes, whole=(), last=()):
    """Arguments: normal arrays of some shapes, then what is given."""

    def args(rng: np.random.Generator) -> list:
        return [rng.standard_normal(s) if s != () else float(rng.random()) for s in shapes] + [
            *whole, *last
        ]  # fmt: skip

    return args


def _indirect(rng):
    return [rng.standard_normal(10), rng.integers(0, 10, 20), np.zeros(20)]


PROGRAMS = {
    "pointwise": Program(pointwise, (2, 64), _with((), 100, 100), (1, 2)),
    "early_return": Program(early_return, (2, 16), _with(20, 20), (0, 1)),
    "grid_stride": Program(grid_stride, (2, 16), _with(100, 100), (0, 1)),
    "grid_stride_while": Program(grid_stride_while, (2, 16), _with(100, 100), (0, 1)),
    "three_dimensions": Program(
        three_dimensions, ((1, 2, 2), (4, 2, 2)), _with((3, 4, 3), (3, 4, 3)), (0, 1)
    ),
    "stencil": Program(stencil, ((2, 2), (8, 8)), _with((13, 11), (13, 11), whole=(0.3,)), (0, 1)),
    "indirect": Program(indirect, (2, 16), _indirect, (0, 2)),
    "scatter": Program(
        scatter,
        (2, 16),
        lambda rng: [rng.standard_normal(20), rng.integers(0, 5, 20), np.ones(5)],
        (0, 2),
    ),
    "block_sum": Program(block_sum, (3, 32), _with(80, 1), (0, 1)),
    "block_product": Program(
        block_product, (3, 16), lambda rng: [rng.random(40) + 1.0, np.zeros(3)], (0, 1)
    ),
    "block_maximum": Program(block_maximum, (2, 32), _with(60, 60), (0, 1)),
    "grid_minimum": Program(
        grid_minimum, (2, 16), lambda rng: [rng.standard_normal(90), np.full(2, 9.0)], (0, 1)
    ),
    "shared_tile": Program(shared_tile, (3, 16), _with(40, 40), (0, 1)),
    "overwritten_tile": Program(overwritten_tile, (2, 32), _with(64, 64), (0, 1)),
    "dynamic_shared": Program(dynamic_shared, (2, 16, 0, 128), _with(32, 32), (0, 1)),
    "bodies": Program(bodies, (3, 16), _with((48, 2), 48, (48, 2)), (0, 1, 2)),
    "product": Program(product, ((2, 2), (4, 4)), _with((6, 10), (10, 7), (6, 7)), (0, 1, 2)),
    "stale_tile": Program(stale_tile, (1, 16), _with(64, 16), (0, 1)),
    "last_tile": Program(last_tile, (1, 16), _with(64, 16), (0, 1)),
    "nonlinear_tiles": Program(nonlinear_tiles, (1, 16), _with(64, 16), (0, 1)),
    "rows": Program(
        rows,
        (1, 8),
        lambda rng: [np.array([0, 3, 3, 7, 9, 14]), *rng.standard_normal((2, 14)), np.zeros(5)],
        (1, 2, 3),
    ),
    "trajectory": Program(trajectory, (2, 32), _with((50, 3), 3, 50, whole=(7,)), (0, 1, 2)),
    "root": Program(root, (2, 16), lambda rng: [rng.random(20) + 0.5, np.zeros(20)], (0, 1)),
    "local_array": Program(local_array, (2, 16), _with((20, 3), 20), (0, 1)),
    "shuffles": Program(shuffles, (2, 64), _with(128, 128), (0, 1)),
    "votes": Program(votes, (2, 32), _with(64, 64), (0, 1)),
    "helpers": Program(helpers, (2, 16), _with(20, 20), (0, 1)),
}
