"""NumPy array expressions, reductions and routines."""

import numpy as np

from tests.programs.program import Program, program

PROGRAMS: list[Program] = []
X = np.array([0.3, -0.8, 1.2, 0.5])
Y = np.array([1.1, 0.4, 0.7, 2.3])
A = np.array([[0.3, -0.9, 1.4, 0.2], [1.2, 0.6, -0.5, 0.8], [-0.7, 0.1, 0.4, 1.6]])
B = np.array([[0.2, 1.1], [-0.6, 0.3], [0.9, -0.4], [0.5, 0.7]])


@program(PROGRAMS, A, X, 0.7, float32=True)
def broadcasting(a, x, y):
    b = a * x + y - a / (2.0 + x * x)
    b += x
    b *= y
    return b - -(a**2) + (a[:, :1] * x) % 5.0


@program(PROGRAMS, X, Y)
def ufuncs(x, y):
    z = np.sin(x) * np.cos(y) + np.exp(-x) + np.log(y) + np.sqrt(y) + np.tanh(x) + np.abs(x)
    z += np.arctan(x) + np.arctan2(x, y) + np.hypot(x, y) + np.log1p(y) + np.expm1(x)
    return z + np.power(y, x) + y**x + np.square(x) + np.sinh(x) / np.cosh(x) + np.cbrt(y)


@program(PROGRAMS, X, Y)
def where_clip(x, y):
    a = np.where(x > 0.0, np.sqrt(np.abs(x)), y * y)
    b = np.clip(x, -0.5, 1.0)
    return a * b + np.where(y > 1.0, x, 0.0)


@program(PROGRAMS, X, Y, float32=True)
def minimum_maximum(x, y):
    return np.minimum(x, y) * np.maximum(x, 0.4) + np.fmax(x, y) - np.fmin(y, 0.5)


@program(PROGRAMS, A)
def reductions(a):
    s = np.sum(a * a) + a.mean() * np.prod(a[0]) + np.var(a) + a.std()
    return s + a.max() * a.min() + np.max(a[1]) - np.min(a[:, 2]) + np.mean(a[2])


@program(PROGRAMS, A)
def reductions_by_axis(a):
    return np.sum(a * a, axis=0)[1:] * np.sum(a, axis=1) + a.sum(axis=1)


@program(PROGRAMS, X, Y)
def argmin_argmax(x, y):
    i = np.argmax(x)
    j = x.argmin()
    return x[i] * y[j] + x[j] * y[np.argmin(y)] * i


@program(PROGRAMS, X)
def cumulative(x):
    return np.cumsum(x * x) * np.cumprod(1.0 + x) + x.cumsum()[-1]


@program(PROGRAMS, X)
def differences(x):
    d = np.diff(x * x)
    return d[0] * d[1] + d[2]


@program(PROGRAMS, A, B, X, float32=True)
def products(a, b, x):
    c = a @ b
    v = np.dot(a, x)
    w = x @ b
    return (c[0, 1] * v[1] + np.dot(v, v)) * w[0] + np.dot(a, b)[2, 0]


@program(PROGRAMS, X, Y, A[:, :3].copy())
def outer_vdot_trace(x, y, a):
    m = np.outer(x, y)
    return m[1, 2] * m[3, 0] + np.vdot(x, y) + np.trace(a) * x[0]


@program(PROGRAMS, X, Y)
def joined(x, y):
    a = np.concatenate((x, y * y, x))
    b = np.stack((x, y))
    c = np.hstack((x * y, y))
    d = np.vstack((x, y))
    return a[3:9] * b[1, 2] + c[2] * d[0, 1] + b[0, 0] * a[-1]


@program(PROGRAMS, X, Y)
def sorted_values(x, y):
    s = np.sort(x)
    order = np.argsort(y)
    total = 0.0
    for i in range(s.size):
        total += i * s[i] * s[i] * y[order[i]]
    return total


@program(PROGRAMS, np.array([0.15, 1.4, 2.6]), np.array([0.0, 1.0, 2.0, 3.0]), Y, argnums=(0, 2))
def interpolation(x, knots, values):
    return np.interp(x, knots, values * values)


@program(PROGRAMS, 1.4, np.array([0.0, 1.0, 2.0, 3.0]), Y, argnums=(0, 2))
def searched(x, knots, values):
    i = np.searchsorted(knots, x) - 1
    t = (x - knots[i]) / (knots[i + 1] - knots[i])
    return values[i] * (1.0 - t) + values[i + 1] * t * t


@program(PROGRAMS, X, Y)
def expression_assigned(x, y):
    z = np.empty_like(x)
    z[:] = x * y
    z[1:] = z[:-1] + y[1:] ** 2
    z[...] = z * x
    return z.sum() * z[0]


@program(PROGRAMS, A, X)
def row_expressions_in_a_loop(a, x):
    state = x.copy()
    for i in range(a.shape[0]):
        state = np.tanh(a[i] * state + x) + 0.1 * state.sum()
    return state


@program(PROGRAMS, X)
def zero_of_an_unused_root(x):
    y = x - x[0]
    safe = np.where(y > 0.1, y, 1.0)
    return np.sum(np.where(y > 0.1, np.sqrt(safe), y * y))
