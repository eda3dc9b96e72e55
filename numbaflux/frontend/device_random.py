"""`cuda.random`: the generator xoroshiro128+, one for each thread, and what is drawn from it.

note [States]  CUDA's Numba keeps the states in an array of records of two uint64.  Here they are
the same memory as a uint64 array of two columns, which whoever launches a kernel makes of them.

The functions are plain Python, read in place of those of that name.  They draw the same numbers.
"""

from __future__ import annotations

import math

import numpy as np

from numbaflux.frontend.kernels import replaced_by

TURN = 2 * math.pi
UNIT = 2.0**-53


def _rotated(x, k):
    return (x << np.uint64(k)) | (x >> np.uint64(64 - k))


@replaced_by("random.xoroshiro128p_next")
def _next(states, index):
    first, second = states[index, 0], states[index, 1]
    mixed = second ^ first
    states[index, 0] = _rotated(first, 55) ^ mixed ^ (mixed << np.uint64(14))
    states[index, 1] = _rotated(mixed, 36)
    return first + second


@replaced_by("random.xoroshiro128p_uniform_float64")
def _uniform_float64(states, index):
    return np.float64(_next(states, index) >> np.uint64(11)) * UNIT


@replaced_by("random.xoroshiro128p_uniform_float32")
def _uniform_float32(states, index):
    return np.float32(_uniform_float64(states, index))


@replaced_by("random.xoroshiro128p_normal_float64")
def _normal_float64(states, index):
    distance, angle = _uniform_float32(states, index), _uniform_float32(states, index)
    return math.sqrt(-2.0 * math.log(distance)) * math.cos(TURN * angle)


@replaced_by("random.xoroshiro128p_normal_float32")
def _normal_float32(states, index):
    distance, angle = _uniform_float32(states, index), _uniform_float32(states, index)
    radius = math.sqrt(np.float32(-2.0) * math.log(distance))
    return radius * math.cos(np.float32(TURN) * angle)
