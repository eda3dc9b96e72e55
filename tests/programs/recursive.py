"""Functions that call themselves: of numbers, of arrays they write, over trees, in loops."""

import math

import numpy as np
from numba import njit

from tests.programs.program import Program, program

PROGRAMS: list[Program] = []
X = np.array([0.3, -0.8, 1.2, 0.5])


@program(PROGRAMS, 0.8, 5)
@njit
def fibonacci(x, n):
    if n < 2:
        return x + n
    return math.sin(fibonacci(x, n - 1)) * x + fibonacci(x * 0.9, n - 2)


@program(PROGRAMS, 1.3, 11)
@njit
def power_by_squaring(x, n):
    if n == 0:
        return 1.0
    if n % 2 == 1:
        return x * power_by_squaring(x, n - 1)
    half = power_by_squaring(x, n // 2)
    return half * half


@njit
def _wave(x, p):
    return math.exp(-p * x * x) * math.sin(3.0 * x * p)


@njit
def _simpson(ends, values, p, tolerance, depth):
    (a, b), (fa, fm, fb) = ends, values
    m = 0.5 * (a + b)
    fl, fr = _wave(0.5 * (a + m), p), _wave(0.5 * (m + b), p)
    coarse = (b - a) / 6.0 * (fa + 4.0 * fm + fb)
    fine = (b - a) / 12.0 * (fa + 4.0 * fl + 2.0 * fm + 4.0 * fr + fb)
    if depth == 0 or abs(fine - coarse) <= tolerance:
        return fine, 1
    left, i = _simpson((a, m), (fa, fl, fm), p, 0.5 * tolerance, depth - 1)
    right, j = _simpson((m, b), (fm, fr, fb), p, 0.5 * tolerance, depth - 1)
    return left + right, i + j


@program(PROGRAMS, 0.1, 1.7, 1.2)
def adaptive_integration(a, b, p):
    values = (_wave(a, p), _wave(0.5 * (a + b), p), _wave(b, p))
    total, pieces = _simpson((a, b), values, p, 1e-4, 8)
    return total * pieces


@njit
def _prefix_sums(a, lo, hi):
    if hi - lo < 2:
        return a[lo]
    mid = (lo + hi) // 2
    s = _prefix_sums(a, lo, mid)
    _prefix_sums(a, mid, hi)
    for i in range(mid, hi):
        a[i] += a[mid - 1] * math.cos(s)
    return a[hi - 1]


@program(PROGRAMS, X)
def prefix_sums(x):
    _prefix_sums(x, 0, x.size)
    return x[3] * x[1] + x[2]


@njit
def _butterflies(a):
    half = a.size // 2
    if half > 0:
        _butterflies(a[:half])
        _butterflies(a[half:])
        for i in range(half):
            u, v = a[i], a[i + half]
            a[i] = u + v * math.cos(u)
            a[i + half] = u * v - v


@program(PROGRAMS, X)
def butterflies_in_place(x):
    _butterflies(x)
    return x


@njit
def _wavelet(a, scale):
    n = a.size // 2
    if n == 0:
        return 0
    low = np.empty(n)
    for i in range(n):
        low[i] = (a[2 * i] + a[2 * i + 1] ** 2) * scale
    depth = _wavelet(low, scale * 0.9)
    for i in range(n):
        a[2 * i] = math.sin(low[i])
        a[2 * i + 1] -= low[i] * scale
    return depth + 1


@program(PROGRAMS, X, 0.8)
def new_array_at_each_level(x, scale):
    depth = _wavelet(x, scale)
    return x[1] * x[2] * depth + x[3]


@njit
def _subtree(node, left, right, bias, weights):
    if node < 0:
        return 0.5, 0.0
    a, left_sum = _subtree(left[node], left, right, bias, weights)
    b, right_sum = _subtree(right[node], left, right, bias, weights)
    value = math.tanh(a * weights[0] + b * weights[1] + bias[node])
    return value, left_sum + right_sum + value * value


@program(PROGRAMS, np.array([0.1, -0.3, 0.5, 0.2, 0.9]), np.array([0.7, -0.4]))
def tree_in_index_arrays(bias, weights):
    left, right = np.array([1, 3, -1, -1, -1]), np.array([2, 4, -1, -1, -1])
    value, total = _subtree(0, left, right, bias, weights)
    return value * total


@njit
def _strided(a, x, scale=1.1):
    if a.size < 2:
        return a[0] * x
    return _strided(a[::2], x * scale) * _strided(a[1::2], x, 0.9)


@program(PROGRAMS, X, 0.7)
def other_layout_and_default(a, x):
    return _strided(a, x)


@program(PROGRAMS, 0.7, X)
def recursion_in_a_loop(x, a):
    s = x
    for i in range(a.size):
        if a[i] > 0.0:
            s = fibonacci(s * a[i], i + 1)
        else:
            s += power_by_squaring(a[i], 3) * s
    return s
