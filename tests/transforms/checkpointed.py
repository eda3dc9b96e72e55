"""Loops marked with `nf.checkpoint`, each a case of what a snapshot holds.

Every program ends with the number of trips and the number of slots.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

import numbaflux as nf

PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
V = np.array([0.3, 0.5, 0.2, 0.7])
M = np.arange(9.0).reshape(3, 3) / 10 + 0.1


def program(*args: Any) -> Callable[[Callable], Callable]:
    """Enter a function with the arguments it is checked at."""

    def enter(f: Callable) -> Callable:
        PROGRAMS[f.__name__] = (f, args)
        return f

    return enter


@program(0.3, 1.9, 7, 3)
def logistic(x, r, n, s):
    for k in nf.checkpoint(range(n), slots=s):
        x = r * x * (1.0 - x) + 0.01 * k
    return x


@program(0.3, 1.9, 8, 2)
def stepped(x, r, n, s):
    hits = 0
    on = True
    for k in nf.checkpoint(range(2, 2 + 3 * n, 3), slots=s):
        if x > 0.5 and on:
            x = r * x * (1.0 - x)
            hits += 1
        else:
            x = x + 0.1 * math.sin(k * r)
        on = not on
    return x * hits


@program(V, 0.4, 7, 3)
def in_place(u, c, n, s):
    total = 0.0
    for _ in nf.checkpoint(range(n), slots=s):
        for i in range(1, len(u) - 1):
            u[i] = u[i] + c * (u[i - 1] - 2 * u[i] + u[i + 1]) * u[i]
        total += u[1] * u[2]
    return total + u[1] ** 2


@program(V, 0.4, 7, 3)
def swapped(u0, c, n, s):
    u = u0.copy()
    v = np.zeros_like(u0)
    for _ in nf.checkpoint(range(n), slots=s):
        for i in range(len(u)):
            v[i] = u[i] + c * math.sin(u[i - 1])
        u, v = v, u
    return (u * u).sum() + v[0]


@program(V, V + 1.0, 0.4, 7, 3)
def swapped_arguments(u, v, c, n, s):
    for _ in nf.checkpoint(range(n), slots=s):
        for i in range(len(u)):
            v[i] = u[i] + c * math.sin(u[i - 1]) * v[i]
        u, v = v, u
    return u[0] * u[2]


@program(V, 0.4, 7, 3)
def rotated(u0, c, n, s):
    u = u0.copy()
    v = u0 * 2.0
    w = u0 + 1.0
    for _ in nf.checkpoint(range(n), slots=s):
        for i in range(len(u)):
            w[i] = c * w[i] * u[i] + math.sin(v[i])
        u, v, w = v, w, u
    return (u * v * w).sum()


@program(V, 0.4, 7, 3)
def replaced(u, c, n, s):
    for _ in nf.checkpoint(range(n), slots=s):
        u = u + c * np.sin(u) * u[0]
    return (u * u).sum()


@program(V, 0.4, 7, 3)
def replaced_sometimes(u, c, n, s):
    w = u
    for t in nf.checkpoint(range(n), slots=s):
        if t % 3 == 1:
            u = u * (c + u[1])
        w = u
    return (u * w).sum()


@program(V, 0.4, 7, 3)
def shifted(u, c, n, s):
    old = u
    older = 2.0 * u
    for _ in nf.checkpoint(range(n), slots=s):
        new = c * old * older + np.sin(old)
        older = old
        old = new
    return (old * older).sum()


@program(V, 0.4, 5, 2)
def views(x, c, n, s):
    a = x[:2]
    b = x[1:]
    for _ in nf.checkpoint(range(n), slots=s):
        a[0] = a[1] * b[0] + c
        b[1] = math.sin(a[0]) + b[0] * x[3]
        x[1] = x[1] * 1.1 + b[1]
    return x.sum() + a[0]


@program(M, V, 5, 2)
def rows(m, x, n, s):
    p = m[0]
    q = m[1]
    for _ in nf.checkpoint(range(n), slots=s):
        for i in range(3):
            q[i] = p[i] * x[i] + q[i] * 0.5
        p, q = q, p
    return p[0] * m[0, 1] + q[2]


@program(M, V[:3], 5, 2)
def matrix_vector(a, u, n, s):
    for _ in nf.checkpoint(range(n), slots=s):
        u = np.tanh(a @ u)
    return u.sum()


@program(M, 4, 2)
def matrix_power(a, n, s):
    p = a
    for _ in nf.checkpoint(range(n), slots=s):
        p = p @ a
    return p[0, 1] + p[2, 2]


@program(M, 4, 2)
def matrix_updated(a, n, s):
    p = a.copy()
    for _ in nf.checkpoint(range(n), slots=s):
        p[:] = np.sin(p @ p)
    return p[0, 1] + p[2, 2]


@program(np.asfortranarray(M), 4, 2)
def fortran(a, n, s):
    for t in nf.checkpoint(range(n), slots=s):
        for i in range(3):
            a[i, t % 3] = a[i, (t + 1) % 3] * a[t % 3, i]
    return a[0, 1] + a[2, 2]


@program(V[::2].copy().repeat(2)[::2], 4, 2)
def strided(a, n, s):
    for _ in nf.checkpoint(range(n), slots=s):
        a[0] = a[0] * a[1] + 0.3
        a[1] = math.sin(a[0])
    return a[0]


@program(V, 0.4, 5, 2)
def nested_in_loop(x, c, n, s):
    y = c
    for i in range(len(x)):
        z = y
        for _ in nf.checkpoint(range(n + i), slots=s):
            z = z * math.sin(z * x[i]) + x[i]
            x[i] = x[i] * 0.9 + 0.1 * z
        y = y + z
    return y * x[0]


@program(V, 0.4, 4, 2)
def replaced_in_loop(x, c, n, s):
    for i in range(3):
        for _ in nf.checkpoint(range(n), slots=s):
            x = x * math.cos(c) + x[i]
    return x.sum()


@program(V, 0.4, 4, 2)
def both_marked(x, c, n, s):
    for i in nf.checkpoint(range(3), slots=s):
        for _ in nf.checkpoint(range(n), slots=s):
            x = x * math.cos(c) + x[i]
            c = c * x[0]
    return x.sum()


@program(V, 0.4, 6, 2)
def in_an_arm(x, c, n, s):
    y = 1.0
    if c < 0.5:
        z = x.copy()
        for _ in nf.checkpoint(range(n), slots=s):
            y = y * c + z[0]
            z[0] = z[1] * y
            z[1] = math.sin(z[0])
    else:
        for _ in nf.checkpoint(range(n), slots=s):
            y = y * c * c
    return y


@program(0.4, 6, 2)
def inner_while(x, n, s):
    for _ in nf.checkpoint(range(n), slots=s):
        y = x
        while y < 2.0:
            y = y * 1.5 + 0.01 * x
        x = math.sin(y) * x + 0.3
    return x


@program(0.4, 6, 2)
def triangle(x, n, s):
    total = 0.0
    for t in nf.checkpoint(range(n), slots=s):
        for j in range(t):
            x = x + 0.1 * math.sin(x * j)
        total += x * x
    return total


@program(V, 0.4, 6, 2)
def overwritten_later(a, c, n, s):
    b = a * 2.0
    y = c
    for t in nf.checkpoint(range(n), slots=s):
        y = y * math.sin(b[t % 4] * y) + b[0]
    b[0] = y * y
    b[1] = 0.0
    return b.sum() + y


@program(V, 0.4, 6, 2)
def result_overwritten(a, c, n, s):
    u = a * 2.0
    for t in nf.checkpoint(range(n), slots=s):
        if t > 2:
            u = u * c + np.sin(u)
    u[0] = u[0] * u[1]
    return u.sum()


@program(0.4, 6, 2)
def divides(x, n, s):
    y = 1.0
    for _ in nf.checkpoint(range(n), slots=s):
        y = x / (y + x) + y
    return y


@njit
def nested_sines(x, n):
    if n == 0:
        return x
    return math.sin(nested_sines(x, n - 1)) + x


@program(0.4, 4, 2)
def recursion(x, n, s):
    for _ in nf.checkpoint(range(n), slots=s):
        x = nested_sines(x, 3) * 0.5
    return x


@program(0.4, 0.7, 6, 2)
def two_loops(x, y, n, s):
    for _ in nf.checkpoint(range(n), slots=s):
        x = math.sin(x) * y
    for _ in nf.checkpoint(range(n), slots=s + 1):
        y = y * x + math.cos(y)
    return x * y


@program(V, 0.4, 6, 2)
def scratch(a, c, n, s):
    tmp = np.empty(4)
    for _ in nf.checkpoint(range(n), slots=s):
        for i in range(4):
            tmp[i] = math.sin(a[i] * c)
        for i in range(4):
            a[i] = a[i] + tmp[i - 1] * tmp[i]
    return a.sum()


@program(np.array([1, 2, 0, 3]), V, 6, 2)
def integers(idx, x, n, s):
    j = 0
    for _ in nf.checkpoint(range(n), slots=s):
        j = idx[j]
        idx[j] = (idx[j] + 1) % 4
        x[j] = x[j] * x[idx[j]] + 0.1
    return x.sum()


@program(V, 5, 2)
def sums_only(x, n, s):
    total = 0.0
    for t in nf.checkpoint(range(n), slots=s):
        total += math.exp(x[t % 4] * x[0])
    return total


@program(V, 5, 2)
def trajectory(x, n, s):
    out = np.zeros(n + 1)
    out[0] = x[0]
    for t in nf.checkpoint(range(n), slots=s):
        out[t + 1] = out[t] * math.sin(out[t]) + x[1]
    return (out * out).sum()
