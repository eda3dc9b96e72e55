"""Cases for test_lower.py: scalars, control flow, functions."""

# ruff: noqa: B007
import math
import operator
from collections import namedtuple

import numpy as np
from numba import njit, prange

from tests.frontend.reading import case

F32 = np.float32
Point = namedtuple("Point", "x y")
SCALE = 3
TABLE = np.array([1.0, 2.0, 4.0, 8.0])
PAIR = (2.0, 3)


# ---- scalars ---------------------------------------------------------------------------------


@case(1.5, 2.5)
def arithmetic(x, y):
    return (x + y) * (x - y) / (x * y + 1) - x // y + x % y - -x


@case(2.5, 3, negative=(0.5, -2), zero=(1.5, 0))
def powers(x, n):
    return x**n + x**2 + x**0.5 + x**-1 + x**2.0


@case(7, -3)
def integers(i, j):
    return i // j, i % j, i / j, i & j, i | j, i ^ j, i << 2, i >> 1, ~i, +i, abs(j), i**2


@case(F32(1.5), F32(0.25))
def single(x, y):
    z = x * y + x / y
    return math.sin(z) + np.exp(x) - x**2


@case(F32(1.5), 2.0, 3)
def mixed(x, y, i):
    return x * i + y, x * 2, i * True, x + 1.0, F32(y) * x


@case(1.0, 2.0, 3.0, no=(1.0, 0.5, 3.0))
def chain(x, y, z):
    return 1.0 if x < y <= z != 2 else -1.0


@case(1.0, 0.0, both=(0.0, 0.0), yes=(2.0, 3.0))
def logic(x, y):
    a = (x > 0 and y > 0) or not x
    b = x and y
    c = x or y
    return a, b, c, not y


@case(-2.7, 3, up=(2.5, -1))
def conversions(x, i):
    return int(x), float(i), bool(i), bool(x), np.float32(x), np.int32(x), np.int64(i), round(x)


@case(1.5, -2, 7.25)
def extremes(x, i, y):
    return min(x, y), max(x, i), min(x, i, y), max(i, 3), abs(x), abs(i), pow(x, 2), divmod(y, x)


@case(-3.456)
def rounding(x):
    return (math.floor(x), math.ceil(x), math.trunc(x), np.floor(x), np.ceil(x), np.trunc(x),
            np.rint(x), round(x, 2), round(x))  # fmt: skip


@case(0.3)
def math_functions(x):
    return (math.sin(x) + math.cos(x) + math.tan(x) + math.asin(x) + math.acos(x) + math.atan(x)
            + math.sinh(x) + math.cosh(x) + math.tanh(x) + math.asinh(x) + math.acosh(1 + x)
            + math.atanh(x) + math.exp(x) + math.expm1(x) + math.log(x) + math.log1p(x)
            + math.log2(x) + math.log10(x) + math.sqrt(x) + math.erf(x) + math.erfc(x)
            + math.gamma(x) + math.lgamma(x) + math.fabs(-x))  # fmt: skip


@case(0.3, -1.7)
def math_pairs(x, y):
    return (math.atan2(x, y), math.hypot(x, y), math.copysign(x, y),
            math.pow(x, 2.0), math.degrees(x), math.radians(x), math.isnan(x), math.isinf(y),
            math.isfinite(x), math.ldexp(x, 3), math.pi * x)  # fmt: skip


@case(0.3)
def numpy_functions(x):
    return (np.sin(x) + np.cos(x) + np.tan(x) + np.arcsin(x) + np.arccos(x) + np.arctan(x)
            + np.sinh(x) + np.cosh(x) + np.tanh(x) + np.arcsinh(x) + np.arccosh(1 + x)
            + np.arctanh(x) + np.exp(x) + np.exp2(x) + np.expm1(x) + np.log(x) + np.log1p(x)
            + np.log2(x) + np.log10(x) + np.sqrt(x) + np.cbrt(x) + np.square(x)
            + np.reciprocal(x) + np.deg2rad(x) + np.rad2deg(x) + np.fabs(-x) + np.sign(x)
            + np.negative(x) + np.absolute(-x) + np.positive(x) + np.radians(x)
            + np.degrees(x))  # fmt: skip


@case(0.3, -1.7, tie=(1.5, 1.5), nan=(math.nan, 1.0))
def numpy_pairs(x, y):
    return (np.arctan2(x, y), np.hypot(x, y), np.copysign(x, y), np.fmod(x, y), np.power(x, 2.0),
            np.logaddexp(x, y), np.logaddexp2(x, y), np.maximum(x, y),
            np.minimum(x, y), np.fmax(x, y), np.fmin(x, y), np.add(x, y), np.subtract(x, y),
            np.multiply(x, y), np.divide(x, y), np.remainder(x, y), np.floor_divide(x, y),
            np.isnan(x), np.signbit(y), np.less(x, y), np.logical_and(x, y))  # fmt: skip


@case(5)
def ufuncs_of_integers(i):
    return np.sin(i), np.sqrt(i), np.square(i), np.exp(F32(i)), np.add(i, 1), np.abs(-i)


@case(2.0)
def augmented(x):
    y = x
    y += 1
    y *= x
    y -= 3
    y /= 2
    y **= 2
    y //= 1
    y %= 5
    return y


@case(True, 2.0)
def booleans(flag, x):
    other = not flag
    return x * flag, flag & other, flag | other, flag ^ other, flag + flag, flag == other


# ---- control ---------------------------------------------------------------------------------


@case(1.0, negative=(-1.0,), zero=(0.0,))
def branches(x):
    if x > 0:
        y = x * 2
    elif x < 0:
        y = x * x
    else:
        y = 7
    return y


@case(1.0, negative=(-1.0,))
def nested_branches(x):
    y = 0.0
    if x > 0:
        if x > 0.5:
            y = x
            z = 2
        else:
            z = 3
        y += z
    return y if x > -5 else x


@case(5, none=(0,), negative=(-3,))
def count(n):
    s = 0
    for i in range(n):
        s += i
    return s


@case(2.0, 5, none=(2.0, 0))
def int_meets_float(x, n):
    s = 0
    for i in range(n):
        s = s + x * i
    return s


@case(2, 11, 3, back=(11, 2, -3), none=(5, 2, 1), empty=(2, 5, -1))
def ranges(a, b, c):
    s = 0
    for i in range(a, b, c):
        s = s * 3 + i
    return s


@case(7)
def fixed_ranges(n):
    s = 0.0
    for i in range(1, n):
        s += i
    for i in range(n, 0, -1):
        s = s * 1.5 + i
    for i in range(1, n, 3):
        s -= i
    for i in range(n, -n, -4):
        s -= i * i
    return s


@case(4, none=(0,))
def after_loop(n):
    i = -1
    for i in range(n):
        y = i * 2
    if n > 0:
        return i + y
    return i


@case(4.0, deep=(0.5,))
def while_loop(x):
    n = 0
    while x > 1.0:
        x = x / 2
        n += 1
    return x, n


@case(10, 3, none=(10, 20))
def break_and_else(n, stop):
    s = 0
    for i in range(n):
        if i == stop:
            break
        s += i
    else:
        s = -s
    return s, i


@case(10)
def continues(n):
    s = 0.0
    for i in range(n):
        if i % 3 == 0:
            continue
        if i > 7:
            continue
        s += i
    return s


@case(5, 4, 7, never=(5, 4, 100))
def return_inside(n, m, target):
    for i in range(n):
        for j in range(m):
            if i * j + i == target:
                return i * 100 + j
    return -1


@case(3.0)
def while_break(x):
    total = 0.0
    while True:
        total += x
        x *= 0.7
        if x < 0.2:
            break
        if total > 50:
            return -total
        if x > 1.5:
            continue
        total += 1
    return total


@case(20, small=(2,))
def while_else(n):
    i = 0
    while i * i < n:
        i += 1
        if i == 7:
            break
    else:
        i = i + 100
    return i


@case(4)
def triangle(n):
    s = 0.0
    for i in range(n):
        for j in range(i + 1):
            for k in range(j, i):
                s += i * j + k
    return s


@case(1.0, 2.0, 6)
def swap(a, b, n):
    for i in range(n):
        a, b = b, a + 0.5 * b
    return a, b


@case(np.array([3.5, -1.5]))
def stale_phi(x):
    a = 1.0
    c = -0.25
    n = int(x[0])
    while n > 0:
        if a < 2:
            c = c + x[1]
        while True:
            n -= 1
            if n < 0:
                return c
            if c > n:
                continue
            a += 1
    return a


@case(5, np.array([1.0, 2.0, 3.0]))
def many_returns(n, x):
    for i in range(n):
        if x[i % 3] > 2.5:
            return x[i % 3] * n
        if i == 3:
            return 0.0
    return 1.0


@case(3.0, 5)
def undefined_in_one_branch(x, n):
    for i in range(n):
        if i == 0:
            y = x
        x = x + y
    return x


@case(6)
def flags(n):
    found = False
    k = 0
    for i in range(n):
        if not found and i * i > 8:
            found = True
            k = i
    return k if found else -1


@case(8)
def collatz(n):
    steps = 0
    x = n
    while x != 1:
        if x % 2 == 0:
            x //= 2
        else:
            x = 3 * x + 1
        steps += 1
    return steps


@case(3.0)
def pruned(x, mode=None, power=2):
    if mode is None:
        return x**power
    return mode * x


@case(np.array([2.0, 3.0]))
def asserted(x):
    assert x[0] > 0, "positive"
    if x[1] < 0:
        raise ValueError("negative")
    return x[0] / x[1]


@case(3.0, 4)
def raises_in_loops(x, n):
    s = 0.0
    for i in range(n):
        if x < i - 10:
            if x < -100:
                raise ValueError("far")
            raise OverflowError("near")
        if x > 100:
            s += 1
            raise RuntimeError
        s += x
    while s > 1:
        s -= x
        if s < -50:
            raise ValueError("below", 3)
    return s


@case(2.0, 0)
def loop_that_only_raises(x, n):
    for i in range(n):
        raise ValueError("never")
    return x


@case(5, 3)
def nested_breaks(n, m):
    s = 0
    for i in range(n):
        j = 0
        while True:
            if j >= i:
                break
            if (i + j) % 4 == 3:
                j += 2
                continue
            s += i * j
            j += 1
            if s > 30:
                return -s
        else:
            s += 1000
        if s > m * 7:
            break
        s += 1
    else:
        s = s * 2
    return s + j + i


@case(6)
def unequal_kinds(n):
    x = 0
    y = True
    for i in range(n):
        if i % 2 == 0:
            x = i * 0.5
            y = False
        else:
            x = i
            y = i > 3
    return x, y


@case(0.0, other=(1.0,))
def signed_zeros(x):
    y = 0.0 if x > 0 else -0.0
    return math.copysign(1.0, y)


# ---- functions -------------------------------------------------------------------------------


@njit
def helper(x, y=2.0):
    return x * y


@njit
def several(x, *rest):
    s = x
    for r in rest:
        s = s * 2 + r
    return s


@njit
def early(x, n):
    for i in range(n):
        if x > i:
            return x * i
    return x


@njit(error_model="numpy")
def ieee(x, y):
    return x / y


@case(3.0)
def calls(x):
    return helper(x) + helper(x, 3.0) + helper(y=x, x=2.0) + several(x, 1.0, x)


@case(2.5, 6)
def calls_in_loop(x, n):
    s = 0.0
    for i in range(n):
        s += early(s - x, i) * ieee(x, i)
        if early(x, i) > 3:
            s -= 1
    return s


def _make(scale):
    @njit
    def inner(x):
        return x * scale + SCALE

    return inner


SCALED = _make(2.5)


@case(3.0)
def closures(x):
    square = lambda t: t * t  # noqa: E731

    def shifted(t, by=1.0):
        return square(t) + by * x

    return square(x) + shifted(x) + shifted(2.0, by=3) + SCALED(x)


@njit
def apply(f, x, n):
    for i in range(n):
        x = f(x)
    return x


@case(SCALED, 3.0)
def function_argument(f, x):
    return apply(f, x, 2) + f(x)


@case(1)
def global_values(i):
    return TABLE[i] * SCALE + PAIR[0] * PAIR[1] + TABLE.sum() + len(TABLE) + TABLE.shape[0]


@case(2.0, 3.0)
def operators_by_name(x, y):
    return operator.add(x, y) * operator.mul(x, 2)


@case(2.0, 6)
def parallel_loop(x, n):
    s = 0.0
    for i in prange(n):
        s += x * i
    return s


@case(2.0, 3)
def strings(x, n):
    mode = "square"
    if mode == "square":
        return x * x
    return x


# ---- tuples ----------------------------------------------------------------------------------


@case((1.0, 2.0), (3, 4.0))
def tuples(p, q):
    a, b = p
    c, d = q
    r = (a, b, c) + (d,)
    return r, r[1], r[-1], len(r), p + q, (a, (b, c)), p[0:1]


@case(Point(1.0, 2.0))
def named(p):
    q = Point(p.x * 2, y=p.y)
    x, y = q
    return q, q.x + p[1] + x - y, Point(y, x)


@case((1.0, 2.0, 3.0), 1, last=((1.0, 2.0, 3.0), -1))
def tuple_index(p, i):
    return p[i]


@case((1.0, 2.5, 3.0))
def tuple_loop(p):
    s = 0.0
    for v in p:
        s = s * 2 + v
    for i, v in enumerate(p):
        if v > 2:
            break
        s += i * v
    return s


@case((1, 2.0), (1, 3.0))
def tuple_compare(p, q):
    return p == q, p != q, p < q, p >= q, p[0] in (1, 2)


@case(3.0, no=(-3.0,))
def tuple_phi(x):
    if x > 0:
        p = (x, 1)
    else:
        p = (-x, 2)
    for i in range(3):
        p = (p[0] * 2, p[1] + i)
    return p


@case(1.0, 2.0)
def tuple_reductions(x, y):
    p = (x, y, 3.0)
    return sum(p), min(p), max(p)


@case(2.0)
def returns_none(x):
    y = x  # noqa: F841


@case(2.0, None, given=(2.0, 3.0))
def none_argument(x, scale):
    if scale is None:
        return x
    return x * scale


@case("square", 3.0, other=("cube", 3.0))
def string_argument(mode, x):
    if mode == "square":
        return x * x
    if mode != "cube":
        return 0.0
    return x * x * x


@case((1.0, (2, np.array([1.0, 2.0]))))
def nested_tuples(p):
    a, (n, x) = p
    x[0] = a * n
    q = (x, p[1][1])
    return q[0][1] + q[1][0], q


@case(2, (np.array([1.0, 2.0]), np.array([3.0, 4.0])))
def tuple_of_arrays(n, p):
    s = 0.0
    for i in range(n):
        v = p[i]
        v[0] += 1
        s += v[0] * v[1]
    for v in p:
        s -= v[1]
    return s
