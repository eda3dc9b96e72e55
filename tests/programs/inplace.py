"""Arguments overwritten, buffers swapped, memory shared."""

import math

import numpy as np
from numba import njit

from tests.programs.program import Program, program

PROGRAMS: list[Program] = []
X = np.array([0.3, -0.8, 1.2, 0.5, -0.4, 0.9])
A = np.array([[4.0, 1.0, 0.5], [0.7, 3.0, 0.2], [0.1, 0.9, 5.0]])
SHARED = np.array([0.4, 0.9, -0.3])


@program(PROGRAMS, X, float32=True)
def argument_overwritten(x):
    for i in range(x.size):
        x[i] = math.sin(x[i]) * x[i]
    return x[0] * x[1] + x[5]


@program(PROGRAMS, X, np.ones(6))
def output_argument(x, out):
    for i in range(x.size):
        out[i] += x[i] * x[i] * out[i - 1]
    return out[3] * out[5]


@program(PROGRAMS, X)
def overwritten_and_returned(x):
    x[0] = x[1] * x[2]
    x[3] = 1.0
    return x


@program(PROGRAMS, X, 0.02, 5, float32=True)
def buffers_swapped(u0, r, steps):
    u = u0.copy()
    new = u0.copy()
    for _ in range(steps):
        for i in range(1, u.size - 1):
            new[i] = u[i] + r * (u[i - 1] - 2.0 * u[i] + u[i + 1]) * u[i]
        u, new = new, u
    s = 0.0
    for i in range(u.size):
        s += u[i] * u[i]
    return s


@program(PROGRAMS, X, np.zeros(6), 0.3, 3)
def argument_buffers_swapped(a, b, r, steps):
    for _ in range(steps):
        for i in range(a.size):
            b[i] = a[i] * a[i - 1] + r
        a, b = b, a
    return a[1] * b[2]


@program(PROGRAMS, X, 0.1, 3)
def three_buffers_rotate(u, c, steps):
    old, now, new = u.copy(), u * 0.9, np.zeros_like(u)
    for _ in range(steps):
        for i in range(1, u.size - 1):
            new[i] = 2.0 * now[i] - old[i] + c * (now[i - 1] - 2.0 * now[i] + now[i + 1])
            new[i] -= 0.1 * now[i] ** 3
        old, now, new = now, new, old
    return now


@program(PROGRAMS, X, 4)
def gauss_seidel(x, sweeps):
    for _ in range(sweeps):
        for i in range(1, x.size - 1):
            x[i] = 0.5 * (x[i - 1] + x[i + 1]) + 0.1 * x[i] * x[i]
    return x[2] * x[3]


@program(PROGRAMS, A)
def elimination(a):
    n = a.shape[0]
    for k in range(n):
        for i in range(k + 1, n):
            a[i, k] /= a[k, k]
            for j in range(k + 1, n):
                a[i, j] -= a[i, k] * a[k, j]
    s = 0.0
    for k in range(n):
        s += math.log(a[k, k])
    return s


@program(PROGRAMS, SHARED, SHARED)
def same_array_twice(x, y):
    s = 0.0
    for i in range(x.size):
        s += x[i] * y[i] * y[i - 1]
    return s


@program(PROGRAMS, X)
def elements_swapped(x):
    for i in range(x.size // 2):
        x[i], x[-1 - i] = x[-1 - i] * 2.0, x[i]
    return x[0] * x[5] * x[5] + x[2]


@program(PROGRAMS, X)
def insertion_sort(x):
    for i in range(1, x.size):
        v = x[i]
        j = i - 1
        while j >= 0 and x[j] > v:
            x[j + 1] = x[j]
            j -= 1
        x[j + 1] = v
    s = 0.0
    for i in range(x.size):
        s += i * x[i] * x[i]
    return s


@njit
def _step(state, rate, dt):
    state[0] += dt * rate * state[1]
    state[1] -= dt * math.sin(state[0])


@program(PROGRAMS, np.array([0.5, 0.1]), 1.2, 6)
def helper_writes_its_argument(state, rate, steps):
    for _ in range(steps):
        _step(state, rate, 0.1)
    return state[0] * state[1]


@njit
def _advance(state, depth):
    if depth > 0:
        state[depth - 1] = math.sin(state[depth]) * state[depth - 1]
        _advance(state, depth - 1)
        state[depth] += state[0]


@program(PROGRAMS, X, 3)
def recursion_writes_an_array(state, depth):
    _advance(state, depth)
    return state[0] * state[3] + state[2]


@program(PROGRAMS, X)
def overlapping_slices(x):
    x[1:] = x[:-1] * x[1:]
    x[:3] += x[2:5]
    return x[1] * x[4] + x[2]


@program(PROGRAMS, X)
def overwritten_in_while(x):
    total = 0.0
    n = 0
    while total < 2.0 and n < 50:
        k = n % x.size
        x[k] = 0.5 * x[k] + x[k] * x[k] * 0.3 + 0.4
        total += x[k] * 0.5
        n += 1
    return total * x[1] * n
