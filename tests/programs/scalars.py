"""Scalar arithmetic and functions."""

import math

import numpy as np

from tests.programs.program import Program, program

PROGRAMS: list[Program] = []


@program(PROGRAMS, 1.3, 0.7, float32=True)
def arithmetic(x, y):
    return (x + y) * (x - y) / (1.0 + x * x) - -y + +x


@program(PROGRAMS, 7.3, 2.1)
def floor_division_and_remainder(x, y):
    return x // y * y + x % y * y + (-x) % y


@program(PROGRAMS, 1.7, 0.4)
def power_operator(x, y):
    return x**y + x**3 + x**-2 + x**0.5 + x**0 + (-x) ** 2


@program(PROGRAMS, 1.1, 0.6, float32=True)
def augmented_assignment(x, y):
    s = x
    s += y
    s *= x
    s -= y * y
    s /= 1.0 + x
    s **= 2
    s %= 5.0
    return s


@program(PROGRAMS, 0.4, 0.9)
def comparison_chain(x, y):
    s = 0.0
    if 0.0 < x < y <= 1.0:
        s += x * y
    if x < y != 0.6 > x:
        s += x
    if not x > y:
        s += y * y
    return s


@program(PROGRAMS, 0.8, 1.9)
def and_or_not(x, y):
    low = x < 1.0 and y > 1.0
    high = x > 1.0 or not y > 1.0
    value = (x > 2.0 and x) or y
    if low and not high:
        return x * y * value
    return x - y


@program(PROGRAMS, 0.8, 1.9)
def conditional_expression(x, y):
    a = x * x if x < y else y
    b = math.sqrt(x) if x > 0.0 else (0.0 if x > -1.0 else x)
    return a * b


@program(PROGRAMS, 0.8, -1.9, 2.5, float32=True)
def min_max_abs(x, y, z):
    return min(x, y) * max(x, z) + max(x, y, z) * abs(y) + min(z, x, y) ** 2 + max(x, 1.0)


@program(PROGRAMS, 3.7, 1.4)
def pow_round_divmod(x, y):
    q, r = divmod(x, y)
    return pow(x, y) + pow(x, 2) + round(x) * x + round(y) + q * x + r * r


@program(PROGRAMS, 2.7, 1.4)
def int_float_bool(x, y):
    n = int(x)
    flag = bool(y)
    s = float(n) * x + flag * y
    if flag:
        s += float(x) * n
    return s + (x > y) * x


@program(PROGRAMS, 0.6, 1.2)
def elementary(x, y):
    s = math.sin(x) + math.cos(y) * math.tan(x) + math.exp(-x * y) + math.log(y)
    s += math.sqrt(x + y) + math.log2(y) + math.log10(y + x) + math.log1p(x) + math.expm1(y)
    return s + math.sinh(x) * math.cosh(y) + math.tanh(x - y)


@program(PROGRAMS, 0.6, 1.2)
def inverse_functions(x, y):
    s = math.asin(x) + math.acos(x * x) + math.atan(y) + math.atan2(y, x)
    return s + math.asinh(x) * math.acosh(1.0 + y) + math.atanh(x)


@program(PROGRAMS, 0.6, 2.2)
def special_functions(x, y):
    s = math.erf(x) + math.erfc(y) + math.gamma(y) + math.lgamma(x)
    return s + math.hypot(x, y) + math.copysign(x, -y) + math.fabs(-y) * x + np.fmod(y, x)


@program(PROGRAMS, 0.6, 2.2)
def flat_functions(x, y):
    s = math.floor(y) * x + math.ceil(x) * y + math.trunc(y) * x + np.sign(x) * y
    return s + math.degrees(x) + math.radians(y) + np.rint(y) * x


@program(PROGRAMS, 0.6, 1.2, float32=True)
def numpy_scalar_ufuncs(x, y):
    s = np.sin(x) + np.exp(-y) + np.log(y) + np.sqrt(x) + np.square(y) + np.reciprocal(y)
    s += np.arctan2(y, x) + np.hypot(x, y) + np.logaddexp(x, y) + np.exp2(x) + np.log1p(y)
    s += np.tanh(x) + np.arctan(y) + np.power(y, x) + np.maximum(x, y) + np.minimum(x, y)
    return s + np.absolute(x) + np.deg2rad(y) + np.copysign(x, y) + np.negative(x)


@program(PROGRAMS, 1.5, 3, True)
def mixed_types(x, n, flag):
    half = n / 2
    s = x * n + half * flag - n
    if flag:
        s = s * 2
    k = 7 // n
    return s / k + x ** (n - 1)


@program(PROGRAMS, np.float32(0.7), np.float32(1.4), identity=2e-6)
def float32_stays_float32(x, y):
    s = np.float32(0.0)
    for _ in range(3):
        s = s * x + y * np.sin(x)
    return s


@program(PROGRAMS, np.float32(0.7), 1.4, python=False, identity=2e-6)
def float32_meets_float64(x, y):
    narrow = np.float32(y) * x
    return narrow * y + x


@program(PROGRAMS, 0.3)
def untaken_branch_has_no_share(x):
    s = x
    if x > 1.0:
        s = math.sqrt(x - 1.0)
    return s * s
