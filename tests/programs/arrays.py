"""Arrays read, written, viewed, indexed, allocated; one to four dimensions, any layout."""

import math

import numpy as np

from tests.programs.program import Program, program

PROGRAMS: list[Program] = []
X = np.array([0.3, -0.8, 1.2, 0.5, -0.4, 0.9])
A = np.arange(12.0).reshape(3, 4) / 7.0 - 0.6
F = np.asfortranarray(A)
STRIDED = np.repeat(np.repeat(A, 2, axis=0), 2, axis=1)[::2, ::2]
CUBE = np.sin(np.arange(24.0)).reshape(2, 3, 4)
FOUR = np.cos(np.arange(24.0)).reshape(2, 3, 2, 2)


@program(PROGRAMS, X, float32=True)
def read_and_write(x):
    y = np.zeros(x.size)
    for i in range(x.size):
        y[i] = math.sin(x[i])
    for i in range(1, x.size):
        y[i] = y[i] * y[i - 1] + x[i]
    return y[x.size - 1] * y[2]


@program(PROGRAMS, X)
def accumulate(x):
    y = np.ones(4)
    for i in range(x.size):
        y[i % 4] += x[i] * x[i]
        y[(i + 1) % 4] -= x[i]
        y[i // 2] *= 1.0 + x[i]
        y[3] /= 2.0 + x[i]
    return y


@program(PROGRAMS, X)
def negative_indices(x):
    y = x.copy()
    y[-1] = x[-2] * x[0]
    for i in range(1, 4):
        y[-i] += x[-i] * y[i]
    return y


@program(PROGRAMS, X)
def slices_with_steps(x):
    y = np.zeros(x.size)
    y[::2] = x[1::2]
    y[1:4] += x[:3] * x[3:]
    y[::-1][:2] = 3.0 * x[:2]
    y[-2:] *= x[:2]
    return y


@program(PROGRAMS, X)
def views_of_views(x):
    y = x.copy()
    middle = y[1:5]
    inner = middle[::2]
    inner[0] = x[0] * x[1]
    middle[1] += inner[1] * y[0]
    inner[1] *= inner[0]
    return y


@program(PROGRAMS, A, float32=True)
def rows(a):
    b = a.copy()
    s = 0.0
    for i in range(a.shape[0]):
        row = b[i]
        for j in range(1, row.size):
            row[j] += row[j - 1] * a[i, j]
        b[i - 1] = row * 0.5
        s += row[-1]
    for row in b:
        s += row[0] * row[1]
    return s


@program(PROGRAMS, A)
def columns(a):
    out = np.empty(a.shape[1])
    for j in range(a.shape[1]):
        column = a[:, j]
        s = 1.0
        for v in column:
            s = s * v + 1.0
        out[j] = s
    return out


@program(PROGRAMS, A)
def transpose_reshape_ravel(a):
    b = a.T.copy()
    flat = b.ravel()
    flat[3] *= a[0, 1]
    square = flat.reshape(2, 6)
    t = a.transpose()
    s = 0.0
    for i in range(2):
        for j in range(6):
            s += square[i, j] * square[i - 1, j - 1]
    return s + t[1, 2] * t[2, 1] + np.transpose(a)[0, 0] + a.flatten()[5] * s


@program(PROGRAMS, X)
def write_through_reshape(x):
    y = x.copy()
    table = y.reshape((2, 3))
    table[1] = table[0] * x[3:]
    table[:, 1] *= 2.0
    return y


@program(PROGRAMS, X)
def boolean_index(x):
    chosen = x[x > 0.0]
    s = 0.0
    for i in range(chosen.size):
        s += chosen[i] * i
    return s * chosen[0] + np.sum(x[x < 0.0])


@program(PROGRAMS, X)
def boolean_write(x):
    y = x * x
    y[x < 0.0] = 0.5
    return y


@program(PROGRAMS, X, np.array([3, 0, 3, 5]))
def integer_index(x, at):
    picked = x[at]
    s = 0.0
    for i in range(picked.size):
        s = s * picked[i] + picked[-i]
    return s


@program(PROGRAMS, X, np.array([3, 0, 5]))
def integer_write(x, at):
    y = x * x
    y[at] = x[:3] * 2.0
    return y


@program(PROGRAMS, 0.7, 1.9, 4)
def constructors(x, y, n):
    a = np.full(n, x)
    b = np.ones((n, n)) * y
    c = np.eye(n)
    d = np.arange(n) * x
    e = np.linspace(x, y, n)
    g = np.array([x, y, x * y, 1.0])
    h = np.empty_like(a)
    o = np.zeros_like(b)
    for i in range(n):
        h[i] = a[i] * d[i] + e[i] * g[i] + np.ones_like(a)[i] + np.full_like(a, x)[i]
        for j in range(n):
            o[i, j] = h[i] * b[i, j] + c[i, j] * x
    return o[1, 2] * o[2, 2] + h[3]


@program(PROGRAMS, 0.7, 1.9)
def literal_matrix(x, y):
    m = np.array([[x, y], [-y, x * x]])
    return m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]


@program(PROGRAMS, X)
def allocated_in_a_loop(x):
    s = 0.5
    for i in range(x.size):
        work = np.zeros(i + 1)
        for j in range(i + 1):
            work[j] = x[j] * s
        s = math.tanh(work[i] + work[0])
    return s


@program(PROGRAMS, F)
def fortran_order(a):
    s = 0.0
    for j in range(a.shape[1]):
        for i in range(a.shape[0]):
            s = s * 0.9 + a[i, j] * a[i, 0]
    return s


@program(PROGRAMS, STRIDED)
def any_layout(a):
    b = a[::-1, 1:]
    s = 0.0
    for i in range(b.shape[0]):
        for j in range(b.shape[1]):
            s += b[i, j] * a[i, j] * a[i, j]
    return s


@program(PROGRAMS, CUBE, float32=True)
def three_dimensions(a):
    out = np.zeros((a.shape[0], a.shape[2]))
    for i in range(a.shape[0]):
        plane = a[i]
        for j in range(a.shape[1]):
            for k in range(a.shape[2]):
                out[i, k] += plane[j, k] * a[i - 1, j, k] * (j + 1)
    return out


@program(PROGRAMS, FOUR)
def four_dimensions(a):
    s = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            block = a[i, j]
            s += block[0, 0] * block[1, 1] - block[0, 1] * block[1, 0] * a[0, j, 1, i]
    b = a[:, 1, :, 0].copy()
    return s * b[1, 1]


@program(PROGRAMS, X, 0.7)
def several_outputs(x, y):
    z = x * y
    for i in range(1, z.size):
        z[i] += z[i - 1]
    return z, z[-1] * y, y * y


@program(PROGRAMS, X)
def view_returned(x):
    y = x * x
    y[0] = 1.0
    return y[1:4]


@program(PROGRAMS, X)
def shapes_and_lengths(x):
    s = 0.0
    for i in range(len(x)):
        s += x[i] * x.shape[0] + x.ndim
    return s * s / x.size


@program(PROGRAMS, X, X + 1.0)
def view_chosen_at_run_time(x, y):
    z = x.copy()
    w = y.copy()
    for i in range(x.size):
        target = z if x[i] > 0.0 else w
        target[i] *= y[i]
        target[0] += x[i]
    return z[0] * w[1] + z[3] * w[0]
