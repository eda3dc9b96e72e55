"""Kernels as people write them, in float32: what the static table and the GPU benchmark run.

`KERNELS` lists them with the types they are compiled for, and which of their arguments have a
shadow.  Literals are of float32, as in any kernel that is meant to be fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda, types

BLOCK = 128
HALO = BLOCK + 2
TILE = 16
PAIRS = 64  # bodies of a tile
STEPS = 32  # of the Lorenz system

ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)
SIGMA, RHO, BETA, DT = np.float32(10), np.float32(28), np.float32(8 / 3), np.float32(0.01)


@cuda.jit
def saxpy(a, x, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        y[i] += a * x[i]


@cuda.jit(device=True, inline="always")
def flow(gradient, k):
    """Perona and Malik's: less where the gradient is large."""
    return gradient / (ONE + gradient * gradient * k)


@cuda.jit
def diffuse(u, out, k, rate):
    i, j = cuda.grid(2)
    if i >= 1 and i < u.shape[0] - 1 and j >= 1 and j < u.shape[1] - 1:
        c = u[i, j]
        total = flow(u[i - 1, j] - c, k) + flow(u[i + 1, j] - c, k)
        total += flow(u[i, j - 1] - c, k) + flow(u[i, j + 1] - c, k)
        out[i, j] = c + rate * total


@cuda.jit
def block_sum(x, out):
    shared = cuda.shared.array(BLOCK, np.float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] * x[i] if i < x.shape[0] else np.float32(0)
    cuda.syncthreads()
    s = BLOCK // 2
    while s > 0:
        if t < s:
            shared[t] += shared[t + s]
        cuda.syncthreads()
        s //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@cuda.jit
def block_product(x, out):
    shared = cuda.shared.array(BLOCK, np.float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    shared[t] = x[i] if i < x.shape[0] else ONE
    cuda.syncthreads()
    s = BLOCK // 2
    while s > 0:
        if t < s:
            shared[t] *= shared[t + s]
        cuda.syncthreads()
        s //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


@cuda.jit
def dot(x, y, out):
    shared = cuda.shared.array(BLOCK, np.float32)
    t = cuda.threadIdx.x
    total = np.float32(0)
    for i in range(cuda.grid(1), x.shape[0], cuda.gridsize(1)):
        total += x[i] * y[i]
    shared[t] = total
    cuda.syncthreads()
    s = BLOCK // 2
    while s > 0:
        if t < s:
            shared[t] += shared[t + s]
        cuda.syncthreads()
        s //= 2
    if t == 0:
        cuda.atomic.add(out, 0, shared[0])


@cuda.jit
def largest(x, out):
    """Of a block first, then of the grid."""
    shared = cuda.shared.array(1, np.float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    if t == 0:
        shared[0] = np.float32(-1)
    cuda.syncthreads()
    if i < x.shape[0]:
        cuda.atomic.max(shared, 0, x[i] * x[i])
    cuda.syncthreads()
    if t == 0:
        cuda.atomic.max(out, 0, shared[0])


@cuda.jit
def tile_stencil(x, out):
    shared = cuda.shared.array(HALO, np.float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    n = x.shape[0]
    shared[t + 1] = x[i] if i < n else np.float32(0)
    if t == 0:
        shared[0] = x[i - 1] if i > 0 and i <= n else np.float32(0)
        shared[BLOCK + 1] = x[i + BLOCK] if i + BLOCK < n else np.float32(0)
    cuda.syncthreads()
    if i < n:
        out[i] = shared[t] * shared[t + 1] + shared[t + 2] * shared[t + 2]


@cuda.jit
def gather(x, index, out):
    i = cuda.grid(1)
    if i < index.shape[0]:
        v = x[index[i]]
        out[i] = v * v


@cuda.jit
def nbody(x, y, z, ax, ay, az, softening):
    sx = cuda.shared.array(PAIRS, np.float32)
    sy = cuda.shared.array(PAIRS, np.float32)
    sz = cuda.shared.array(PAIRS, np.float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    px, py, pz = x[i], y[i], z[i]
    fx, fy, fz = np.float32(0), np.float32(0), np.float32(0)
    for tile in range(x.shape[0] // PAIRS):
        j = tile * PAIRS + t
        sx[t], sy[t], sz[t] = x[j], y[j], z[j]
        cuda.syncthreads()
        for k in range(PAIRS):
            dx, dy, dz = sx[k] - px, sy[k] - py, sz[k] - pz
            inverse = ONE / math.sqrt(dx * dx + dy * dy + dz * dz + softening)
            weight = inverse * inverse * inverse
            fx += dx * weight
            fy += dy * weight
            fz += dz * weight
        cuda.syncthreads()
    ax[i], ay[i], az[i] = fx, fy, fz


@cuda.jit
def matmul(a, b, c):
    sa = cuda.shared.array((TILE, TILE), np.float32)
    sb = cuda.shared.array((TILE, TILE), np.float32)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    j, i = cuda.grid(2)
    total = np.float32(0)
    for tile in range(a.shape[1] // TILE):
        sa[ty, tx] = a[i, tile * TILE + tx]
        sb[ty, tx] = b[tile * TILE + ty, j]
        cuda.syncthreads()
        for k in range(TILE):
            total += sa[ty, k] * sb[k, tx]
        cuda.syncthreads()
    c[i, j] = total


@cuda.jit(device=True, inline="always")
def lorenz(x, y, z):
    return SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z


@cuda.jit
def runge_kutta(start, end, steps):
    i = cuda.grid(1)
    if i < start.shape[1]:
        x, y, z = start[0, i], start[1, i], start[2, i]
        h = HALF * DT
        for _ in range(steps):
            kx, ky, kz = lorenz(x, y, z)
            lx, ly, lz = lorenz(x + h * kx, y + h * ky, z + h * kz)
            mx, my, mz = lorenz(x + h * lx, y + h * ly, z + h * lz)
            nx, ny, nz = lorenz(x + DT * mx, y + DT * my, z + DT * mz)
            sixth = DT / np.float32(6)
            x += sixth * (kx + TWO * lx + TWO * mx + nx)
            y += sixth * (ky + TWO * ly + TWO * my + ny)
            z += sixth * (kz + TWO * lz + TWO * mz + nz)
        end[0, i], end[1, i], end[2, i] = x, y, z


@cuda.jit
def newton(a, root):
    i = cuda.grid(1)
    if i < a.shape[0]:
        x = a[i]
        while abs(x * x - a[i]) > np.float32(1e-5) * a[i]:
            x = HALF * (x + a[i] / x)
        root[i] = x


# ---- what they are compiled and run for --------------------------------------------------------

F32 = types.float32
VECTOR, MATRIX, PLACES = F32[::1], F32[:, ::1], types.int32[::1]

SHOWN = ("saxpy_active", "block_sum", "dot", "newton")  # whose adjoint's code is a golden

Blocks = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """A kernel, the types of its arguments, and which of them have a shadow.

    `launch` and `arguments` make a run of about n elements: the grid and block, and arrays.
    `bytes` and `ideal`: what an element takes from memory, and times that of the primal its
    adjoint takes if caches are perfect; None where arithmetic is what takes the time.
    """

    name: str
    kernel: Any
    types: tuple[Any, ...]
    active: tuple[int, ...]
    launch: Callable[[int], Blocks]
    arguments: Callable[[int, np.random.Generator], tuple[Any, ...]]
    by_hand: tuple[int, int] | None = None  # registers and instructions of a hand-written adjoint
    bytes: int | None = None
    ideal: float = 1.0


def _line(n: int) -> Blocks:
    return -(-n // BLOCK), BLOCK


def _square(n: int) -> Blocks:
    side = -(-math.isqrt(n) // TILE)
    return (side, side), (TILE, TILE)


def _side(n: int) -> int:
    return TILE * -(-math.isqrt(n) // TILE)


def _tiles(n: int) -> int:
    """Of bodies, all of whose pairs are computed."""
    return max(2, n // 4096)


def _product(n: int) -> int:
    """Elements of a matrix that is multiplied, four tiles at least."""
    return max(4 * TILE * TILE, n // 64)


def _some(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(0.5, 1.5, shape).astype(np.float32)


def _none(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


KERNELS = [
    Case("saxpy", saxpy, (F32, VECTOR, VECTOR), (1, 2), _line,
         lambda n, r: (np.float32(2), _some(r, n), _some(r, n)), (14, 35), 12, 1.0),
    Case("saxpy_active", saxpy, (F32, VECTOR, VECTOR), (0, 1, 2), _line,
         lambda n, r: (np.float32(2), _some(r, n), _some(r, n)), (18, 74), 12, 1.33),
    Case("diffuse", diffuse, (MATRIX, MATRIX, F32, F32), (0, 1), _square,
         lambda n, r: (_some(r, _side(n), _side(n)), _none(_side(n), _side(n)), ONE, HALF),
         (38, 459), 8, 2.0),
    Case("block_sum", block_sum, (VECTOR, VECTOR), (0, 1), _line,
         lambda n, r: (_some(r, n), _none(_line(n)[0])), (14, 157), 4, 3.0),
    Case("block_product", block_product, (VECTOR, VECTOR), (0, 1), _line,
         lambda n, r: (_some(r, n), _none(_line(n)[0])), (29, 272), 4, 3.0),
    Case("dot", dot, (VECTOR, VECTOR, VECTOR), (0, 1, 2), lambda n: (max(1, n // 4096), BLOCK),
         lambda n, r: (_some(r, n), _some(r, n), _none(1)), (32, 277), 8, 3.0),
    Case("tile_stencil", tile_stencil, (VECTOR, VECTOR), (0, 1), _line,
         lambda n, r: (_some(r, n), _none(n)), (24, 158), 8, 2.0),
    Case("gather", gather, (VECTOR, PLACES, VECTOR), (0, 2), _line,
         lambda n, r: (_some(r, n), r.integers(0, n, n).astype(np.int32), _none(n)),
         (16, 56), 12, 1.7),
    Case("nbody", nbody, (VECTOR,) * 6 + (F32,), (0, 1, 2, 3, 4, 5),
         lambda n: (_tiles(n), PAIRS),
         lambda n, r: (*(_some(r, PAIRS * _tiles(n)) for _ in range(3)),
                       *(_none(PAIRS * _tiles(n)) for _ in range(3)), np.float32(0.01)),
         None, None, 1.4),
    Case("matmul", matmul, (MATRIX, MATRIX, MATRIX), (0, 1, 2), lambda n: _square(_product(n)),
         lambda n, r: (*(_some(r, *[_side(_product(n))] * 2) for _ in range(2)),
                       _none(*[_side(_product(n))] * 2)), None, None, 2.0),
    Case("runge_kutta", runge_kutta, (MATRIX, MATRIX, types.int64), (0, 1), _line,
         lambda n, r: (_some(r, 3, n), _none(3, n), STEPS), None, None, 4.8),
    Case("newton", newton, (VECTOR, VECTOR), (0, 1), _line,
         lambda n, r: (_some(r, n), _none(n)), (31, 478), None, 5.0),
    Case("largest", largest, (VECTOR, VECTOR), (0, 1), _line,
         lambda n, r: (_some(r, n), _none(1)), None, 4, 3.0),
]  # fmt: skip
