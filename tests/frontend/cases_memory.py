"""Cases for test_lower.py: arrays, lists, iterators, random numbers."""

# ruff: noqa: B007
import random

import numpy as np
from numba import njit

from tests.frontend.reading import case

V = np.array([1.0, -2.0, 3.5, 0.25, 5.0])
M = np.arange(12.0).reshape(3, 4) - 4.5
T3 = np.arange(24.0).reshape(2, 3, 4)
INTS = np.array([2, 0, 1, 3])


# ---- elements and views ----------------------------------------------------------------------


@case(V)
def elements(x):
    x[0] = x[1] * x[-1]
    x[-2] += 3
    x[2] *= x[2]
    return x[0] + x[3]


@case(M, 2)
def matrix_elements(a, i):
    a[i, 0] = a[0, i] + 1
    a[0][1] = 7
    a[-1, -1] -= a[1, 1]
    return a[i][3], a.shape, a.size, a.ndim, len(a), a.shape[1]


@case(V)
def slices(x):
    y = x[1:4]
    z = x[::-1]
    w = y[::2]
    y[0] = 10.0
    z[0] = 20.0
    w[1] = 30.0
    x[3:] = 1.0
    x[:2] = y[:2]
    return y[0] + z[1] + w[0]


@case(V, 1, 4)
def computed_slices(x, i, j):
    x[i:j] = x[i:j] * 2 + 1
    x[i:] += x[:-1]
    return x[i:j].sum()


@case(M)
def rows(a):
    r = a[1]
    c = a[:, 2]
    r[0] = 100.0
    c[0] = 200.0
    a[2] = r + 1
    a[:, 0] = a[:, 1]
    a[0, 1:3] = 5.0
    s = a[1:, ::2]
    s[0, 0] = -1.0
    return r[2] + c[1] + s[1, 1]


@case(T3)
def ellipsis(a):
    b = a[..., 1]
    c = a[0, ...]
    a[..., 0] = 3.0
    d = a[:, None, 1]
    return b[1, 2] + c[1, 1] + d[0, 0, 2] + d.shape[1]


@case(M)
def transposes(a):
    t = a.T
    t[1, 0] = 50.0
    return t[3, 2] + t.shape[0] + a.T[1:, 0].sum()


@case(np.asfortranarray(M), view=(M[::2, ::-1],))
def layouts(a):
    b = a[1]
    for i in range(a.shape[0]):
        b = a[i]
        b[0] += i
    return b[1] + a[:, 0][1]


@case(V, V.copy())
def buffers(a, b):
    for k in range(3):
        for i in range(1, len(a) - 1):
            b[i] = 0.5 * (a[i - 1] + a[i + 1])
        a, b = b, a
    return a[1]


@case(V, V[::2].copy())
def buffers_of_views(a, b):
    u = a[::2]
    for k in range(3):
        for i in range(len(u)):
            b[i] = u[i] + k
        u, b = b, u
    return u[0], b


@case(V)
def local_arrays(x):
    out = np.empty_like(x)
    for i in range(len(x)):
        t = np.zeros(3)
        t[i % 3] = x[i]
        out[i] = t[0] + 2 * t[1]
    return out


@case(V)
def array_in_branch(x):
    if x[0] > 0:
        y = x[1:]
    else:
        y = x * 2
    y[0] = 4.0
    return y[1]


@case(V, INTS)
def integer_state(x, p):
    s = 0.0
    k = 0
    for i in range(4):
        s += x[p[i]]
        k = p[k]
        p[i] = k
    return s, k


@case(V, V > 0, INTS)
def array_indices(x, mask, idx):
    y = x[mask]
    z = x[idx]
    x[mask] = 0.5
    x[idx] += 1
    return y.sum() + z[1], y.shape[0]


@case(np.float32([1, 2, 3]))
def single_arrays(x):
    x[0] = x[1] * 1.5
    y = x * 2
    y[1] = 1
    s = x[0]
    for v in x:
        s += v
    return y, s, x * np.float32(2) + x


@case(V)
def stores_tuple(x):
    x[0:2] = (1.0, 2.0)
    a, b, c = x[:3]
    return a + b + c


@case(V)
def returns_views(x):
    return x[1:3], x, x.size


@case(M)
def unpacks_rows(a):
    p, q, r = a
    p[0] = 3.0
    return p + q * r


# ---- array expressions -----------------------------------------------------------------------


@case(V, V * 2)
def expressions(x, y):
    z = (x + y) * 2 - x / (1 + y * y)
    w = np.sin(z) + np.exp(-x)
    z[0] = 1.0
    return z * w, -x, x > y, np.maximum(x, 0.0)


@case(V)
def expression_before_store(x):
    y = x * 2
    x[0] = 100.0
    return y


@case(V)
def shifted_store(x):
    x[1:] = x[:-1] * 2
    x[1:] += x[:-1] + 1
    x[:-1] = x[1:]
    return x[0]


@case(M, V[:4].copy())
def broadcasts(a, x):
    b = a * x + 1.5
    a -= x
    return b, (b * a).sum(), a.mean()


@case(V)
def in_place(x):
    y = x
    y += 1
    y *= x
    x -= 0.5
    x **= 2
    return y


@case(V, np.zeros(5))
def ufunc_out(x, out):
    np.multiply(x, 2.0, out)
    np.add(out, x, out)
    return out[0]


@case(M, M.T.copy())
def products(a, b):
    return a @ b, np.dot(a, b[:, 0].copy()), a.sum(), a.max(), np.abs(a).min()


@case(V)
def fused_reduction(x):
    s = ((x - 1) * (x - 1)).sum()
    y = x - s
    return s, np.sum(y * y)


@case(V, np.float32([1, 2, 3, 4, 5]))
def masks(x, y):
    near = (x > 0) & (x < 4) | ~(y > 2)
    y += x
    y *= 1.1
    y[near] -= 0.5
    return near, np.where(near, x, y).sum(), y > x, not near[0]


@case(INTS)
def integer_arrays(p):
    q = p * 2 + 1
    q[0] //= 2
    q += p
    return q / 2, q // 2, q % 3, q**2, -q, q.sum()


@case(V)
def local_functions(x):
    def shift(u, by):
        v = u + by
        v[0] = by
        return v

    total = 0.0
    for k in range(3):
        w = shift(x, k)
        total += w[0] * w[1]
    return total, shift(x, 1.0)


@case(M, V)
def methods(a, x):
    b = a.copy()
    b[0, 0] = 1.0
    c = b.reshape(4, 3)
    c[0, 1] = 2.0
    d = b.ravel()
    d[2] = 3.0
    return b, c.T.sum(axis=0), d.max(), x.astype(np.float32), x.argmax(), a.flatten()


@case(3)
def created(n):
    a = np.zeros((n, 2))
    b = np.ones(n, np.float32)
    c = np.full(n, 2.5)
    d = np.arange(n) + np.linspace(0.0, 1.0, n)
    e = np.empty(n, dtype=np.int64)
    for i in range(n):
        e[i] = i * i
        a[i, i % 2] = c[i]
    return a, b, c, d, e, np.eye(2), np.zeros_like(b)


# ---- iterators -------------------------------------------------------------------------------


@case(V, 2 * V)
def iterators(x, y):
    s = 0.0
    for v in x:
        s += v
    for i, v in enumerate(x):
        s += i * v
    for a, b in zip(x, y):
        s += a * b
    for i, (a, b) in enumerate(zip(x, y)):
        s -= i * a + b
    for i in range(len(x) - 1, -1, -1):
        s = s * 0.5 + x[i]
    return s


@case(M)
def array_iterators(a):
    s = 0.0
    for row in a:
        row[0] += 1
        s += row[1]
    for i, j in np.ndindex(a.shape):
        s += a[i, j] * (i + j)
    for (i, j), v in np.ndenumerate(a):
        s += v * (i - j)
    for v in a.flat:
        s += v
    return s


@case(V)
def iterate_and_leave(x):
    s = 0.0
    for v in x:
        if v > 3:
            break
        s += v
    for i, v in enumerate(x, 1):
        if v < 0:
            return s + i
        s += v
    return s


# ---- lists -----------------------------------------------------------------------------------


@case(V)
def lists(x):
    out = [0.5]
    for v in x:
        if v > 0:
            out.append(v * 2)
    out[0] = 7.0
    last = out.pop()
    s = 0.0
    for v in out:
        s += v
    return s, len(out), last, out[-1]


@case(V)
def comprehensions(x):
    squares = [v * v for v in x]
    even = [i for i in range(5) if i % 2 == 0]
    return np.array(squares), sum(squares), even[1], len(even)


@case(2.0)
def constant_lists(x):
    weights = [0.5, x, 2.0]
    s = 0.0
    for w in weights:
        s += w * x
    for i in range(len(weights)):
        s += weights[i] * i
    return s, np.array([x, 1.0, s]), np.array([[x, 1.0], [2.0, s]])


@case(V)
def list_of_arrays(x):
    parts = [x[:2], x[2:4]]
    s = 0.0
    for p in parts:
        p[0] += 1
        s += p[1]
    return s + parts[1][0]


@case(3, 2.0)
def repeated_list(n, x):
    a = [x] * n
    a[1] = 5.0
    return a[0] + a[1] + len(a)


@case(V)
def lists_in_loops(x):
    total = 0.0
    for i in range(3):
        parts = [x[i]]
        parts.append(x[i + 1])
        total += sum(parts) * len(parts)
    stack = [1.0, 2.0]
    while len(stack) > 0:
        v = stack.pop()
        total += v
        if v > 1.5:
            stack.append(v - 1)
            stack[-1] *= 0.5
    return total


@case(V)
def nested_comprehension(x):
    a = np.array([3 * v for v in x])
    pairs = [(1, 2.0), (3, 4.0)]
    s = 0.0
    for k, w in pairs:
        s += k * w
    return a.sum() + s


# ---- random numbers --------------------------------------------------------------------------


@case(1.5, 2.5)
def draws(a, b):
    np.random.seed(7)
    x = np.random.random()
    y = np.random.uniform(a, b)
    z = np.random.normal(a, b)
    w = np.random.standard_normal() + np.random.exponential(b) + np.random.randn()
    return x, y, z, w, np.random.randint(3, 9), np.random.uniform(a, b)


@case(3)
def array_draws(n):
    np.random.seed(7)
    a = np.random.rand(n, 2)
    b = np.random.normal(1.0, 2.0, n)
    p = np.random.permutation(n)
    x = np.arange(5.0)
    np.random.shuffle(x)
    return a, b, p, x, np.random.choice(x), np.random.random(2)


@case(1.5)
def python_draws(a):
    random.seed(5)
    return random.random(), random.uniform(a, 3.0), random.gauss(a, 2.0), random.random()


# ---- together --------------------------------------------------------------------------------


@njit
def smooth(u, out, c):
    for i in range(1, u.shape[0] - 1):
        out[i] = u[i] + c * (u[i - 1] - 2 * u[i] + u[i + 1])


@case(V, 0.1, 4)
def heat(u0, c, steps):
    u = u0.copy()
    v = u0.copy()
    for _ in range(steps):
        smooth(u, v, c)
        u, v = v, u
    return u


@case(M[:, :3].copy() + 10 * np.eye(3))
def elimination(a):
    n = a.shape[0]
    for k in range(n):
        p = k
        for i in range(k + 1, n):
            if abs(a[i, k]) > abs(a[p, k]):
                p = i
        if p != k:
            for j in range(n):
                t = a[k, j]
                a[k, j] = a[p, j]
                a[p, j] = t
        for i in range(k + 1, n):
            f = a[i, k] / a[k, k]
            for j in range(k, n):
                a[i, j] -= f * a[k, j]
    d = 1.0
    for k in range(n):
        d *= a[k, k]
    return d


@case(2.0)
def newton(x):
    y = x
    for _ in range(50):
        step = (y * y - x) / (2 * y)
        y -= step
        if abs(step) < 1e-12:
            break
    return y


@case(np.array([1.0, 0.5]), 0.1, 5)
def rk4(y, h, n):
    def f(y):
        return np.array([y[0] - y[0] * y[1], y[0] * y[1] - y[1]])

    for _ in range(n):
        k1 = f(y)
        k2 = f(y + h / 2 * k1)
        k3 = f(y + h / 2 * k2)
        k4 = f(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y
