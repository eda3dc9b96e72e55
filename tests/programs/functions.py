"""Helpers, closures, functions as values, draws, parallel loops."""

import math

import numpy as np
from numba import njit, prange

from tests.programs.program import Program, program

PROGRAMS: list[Program] = []
X = np.array([0.3, -0.8, 1.2, 0.5])
TABLE = np.array([1.0, -2.0, 0.5, 3.0])
FACTOR = 1.7


@njit
def _energy(v, k=2.0, shift=0.0):
    return 0.5 * k * v * v + shift


@njit
def _pair(a, b):
    return a * b, a + math.sin(b)


@program(PROGRAMS, X, float32=True)
def helpers(x):
    s = 0.0
    for i in range(x.size):
        p, q = _pair(x[i], s)
        s = _energy(p) + q
    return s


@program(PROGRAMS, 0.8, 1.3)
def keywords_and_defaults(x, y=2.0):
    return _energy(k=y, v=x) + _energy(x, shift=y) * _energy(y, 3.0)


@program(PROGRAMS, 0.8)
def default_of_the_program(x, n=3, scale=0.5):
    s = x
    for _ in range(n):
        s = math.sin(s) * scale + x
    return s


@program(PROGRAMS, X, 0.6)
def inner_function_and_lambda(x, y):
    def inner(v):
        return v * y + math.cos(v)

    square = lambda v: v * v  # noqa: E731
    s = 0.0
    for v in x:
        s += square(inner(v))
    return s


@program(PROGRAMS, X)
def globals_are_constants(x):
    s = 0.0
    for i in range(x.size):
        s += TABLE[i] * x[i] * x[i] * FACTOR
    return s


def _closure(coefficients, power):
    def closure_over_data(x):
        s = 0.0
        for i in range(coefficients.size):
            s += coefficients[i] * x**power
            s *= x
        return s

    return closure_over_data


program(PROGRAMS, 0.8)(_closure(np.array([0.2, -1.0, 0.7]), 3))


@njit
def _apply_twice(f, x):
    return f(f(x))


@njit
def _damped(x):
    return math.sin(x) * 0.9


@program(PROGRAMS, 0.8, python=True)
def function_passed_on(x):
    return _apply_twice(_damped, x) * x


@program(PROGRAMS, _damped, 0.8)
def function_as_argument(f, x):
    s = x
    for _ in range(3):
        s = f(s) + x
    return s


NO_SOURCE = """
def without_source(x, n):
    s = x
    for i in range(n):
        s = s * x + i
    return s
"""
_namespace: dict = {}
exec(NO_SOURCE, _namespace)
program(PROGRAMS, 0.8, 4)(_namespace["without_source"])


@program(PROGRAMS, X)
def prange_serial(x):
    s = 0.0
    y = np.empty(x.size)
    for i in prange(x.size):
        y[i] = math.sin(x[i]) * x[i]
        s += y[i] * x[0]
    return s * y[1]


@program(PROGRAMS, X)
@njit(parallel=True)
def prange_parallel(x):
    y = np.empty(x.size)
    for i in prange(x.size):
        v = x[i]
        for _ in range(3):
            v = math.sin(v) + x[i]
        y[i] = v
    return y


@program(PROGRAMS, 0.8, 1.4, python=False)
def random_draws(mean, width):
    np.random.seed(7)
    s = 0.0
    for _ in range(5):
        z = np.random.standard_normal()
        s += math.tanh(mean + width * z)
        if np.random.random() < 0.5:
            s *= mean
    return s + np.random.normal(0.0, 1.0) * width


@program(PROGRAMS, 0.8)
def prints(x):
    s = x * x
    if s > 0.5:
        print("above", 1)
    return s * x


@program(PROGRAMS, 0.8, 1.1)
@njit(fastmath=True, error_model="numpy")
def options_of_the_dispatcher(x, y):
    return x / y + math.exp(x) / (x * x + y)
