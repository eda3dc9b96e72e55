"""Loops, branches, exits; integers that steer them."""

import math

import numpy as np
from numba import njit

from tests.programs.program import Program, program

PROGRAMS: list[Program] = []
X = np.array([0.3, -0.8, 1.2, 0.5, -0.4])


@program(PROGRAMS, 0.9, 5, float32=True)
def ranges(x, n):
    s = x
    for i in range(n):
        s = math.sin(s) + i * x
    for i in range(1, n):
        s += x / i
    for i in range(n, 0, -2):
        s *= 1.0 + 0.1 * i * x
    return s


@program(PROGRAMS, 0.9, 0)
def zero_trips(x, n):
    s = x * x
    for _ in range(n):
        s = s * x
    for i in range(3, 3 + n, -1):
        s += i * x
    while n > 0:
        s = math.exp(s)
        n -= 1
    return s


@program(PROGRAMS, X)
def over_array(x):
    s = 1.0
    for v in x:
        s = s * math.cos(v) + v
    return s


@program(PROGRAMS, X, 2.0 * X + 3.0)
def enumerate_and_zip(x, y):
    s = 0.0
    for i, v in enumerate(x):
        s += i * v * v
    for a, b in zip(x, y):
        s = math.tanh(s) + a * b
    for i, (a, b) in enumerate(zip(x, y)):
        s += a / b * i
    return s


@program(PROGRAMS, X)
def backwards(x):
    s = 0.0
    for i in range(x.size - 1, -1, -1):
        s = s * 0.9 + x[i] * x[i]
    return s


@program(PROGRAMS, X, 0.7)
def triple_nest(x, y):
    s = 0.0
    for i in range(x.size):
        row = y
        for j in range(i + 1):
            for k in range(j, i + 1):
                row = row * 0.8 + math.sin(x[k]) * x[j]
            s += row * x[i]
    return s


@program(PROGRAMS, 2.3, float32=True)
def newton_while(a):
    x = a
    while abs(x * x - a) > 1e-12 * a:
        new = 0.5 * (x + a / x)
        if new == x:
            break
        x = new
    return x * x * x


@program(PROGRAMS, 0.4, 11)
def while_over_integers(x, n):
    s = x
    while n != 1:
        if n % 2 == 0:
            n //= 2
            s = math.sin(s) + x
        else:
            n = 3 * n + 1
            s *= 1.1
    return s


@program(PROGRAMS, X)
def break_and_continue(x):
    s = 0.1
    for i in range(x.size):
        if x[i] < -0.5:
            continue
        s = s * x[i] + math.exp(-s)
        if s > 5.0 or i == 3:
            break
    return s


@program(PROGRAMS, X, 0.45)
def for_else(x, level):
    s = 0.0
    for v in x:
        if v > level * 10.0:
            s = v * v
            break
        s += v * level
    else:
        s = s * s + level
    for v in x:
        if v > level:
            s += v * v
            break
    else:
        s = 0.0
    return s


@program(PROGRAMS, 1.4)
def while_else(x):
    s = x
    n = 0
    while s < 30.0:
        s = s * x + 1.0
        n += 1
        if n == 100:
            break
    else:
        s = s * s * n
    return s


@program(PROGRAMS, np.outer(X, X) + 0.2, 0.5)
def return_inside_nested_loops(a, level):
    s = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            s += a[i, j] * a[i, j]
            if s > level:
                return s * a[i, j] + level * i
    return s


@program(PROGRAMS, 0.5, -0.3)
def several_returns(x, y):
    if x > 1.0:
        return x
    s = x * y
    for i in range(4):
        s = math.sin(s) + x
        if s < y:
            return s * s
        elif i == 2 and s > 0.0:
            return s * y
    return y


@program(PROGRAMS, X)
def loop_variable_after(x):
    v = 0.0
    i = 0
    for i in range(1, x.size):
        if x[i] > 1.0:
            break
    for v in x:
        if v < 0.0:
            break
    return x[i] * v + i * v


@program(PROGRAMS, 0.5, 3)
def set_in_one_branch(x, n):
    for i in range(n):
        if i == 1:
            t = math.sin(x) * i
        if i >= 1:
            x = x * t + i
    return x


@program(PROGRAMS, X, np.array([3, 1, 4, 0, 2]))
def permutation(x, order):
    s = 0.0
    for i in range(order.size):
        s = 0.5 * s + x[order[i]] * x[order[order[i]]]
    return s


@program(PROGRAMS, X)
def counters_and_flags(x):
    positives = 0
    before = False
    marks = np.zeros(x.size, dtype=np.int64)
    s = 0.0
    for i in range(x.size):
        now = x[i] > 0.0
        if now:
            positives += 1
            marks[i] = positives
        if now != before:
            s += x[i] * positives
        before = now
    for i in range(x.size):
        s += marks[i] * x[i] * x[i]
    return s


@program(PROGRAMS, 0.8)
def assert_and_raise(x):
    assert x > 0.0
    if x > 10.0:
        raise ValueError("too large")
    s = math.log(x)
    if s < -100.0:
        raise ArithmeticError
    return s * x


@program(PROGRAMS, 0.8, 4)
@njit
def recursion(x, n):
    if n == 0:
        return x
    return math.sin(x) * recursion(x * 0.9, n - 1) + x


@njit
def _half(x, n):
    if n <= 0:
        return x
    return _other_half(x * 0.7, n - 1) * x


@njit
def _other_half(x, n):
    if n <= 0:
        return x * x
    return math.sin(_half(x, n - 1))


@program(PROGRAMS, 0.8, 3)
def mutual_recursion(x, n):
    return _half(x, n) + _other_half(x, n)


@program(PROGRAMS, X, 0.1)
def exits_from_three_levels(x, y):
    s = y
    for i in range(x.size):
        n = i
        while True:
            s = s * 0.7 + x[n]
            if s > 1.5:
                return s * s
            n -= 1
            if n < 0:
                break
            for j in range(n):
                if x[j] * s > 0.5:
                    break
                s += 0.1 * x[j]
            else:
                continue
            s -= y
    return s * y
