"""Handwritten control flow for the structurer: each function of (x, n), x three floats."""

from __future__ import annotations

from collections.abc import Callable

PROGRAMS: list[Callable] = []


def program(f: Callable) -> Callable:
    PROGRAMS.append(f)
    return f


# ---- straight lines and branches ---------------------------------------------------------------


@program
def straight(x, n):
    a = x[0] + n
    return a * a


@program
def one_arm(x, n):
    a = 0.5
    if n > 1:
        a = x[1]
    return a


@program
def two_arms(x, n):
    if n > 1:
        a = x[1]
        b = 2.0
    else:
        b = x[0]
        a = b + 1.0
    return a - b


@program
def chain(x, n):
    if n == 0:
        return x[0]
    elif n == 1:
        a = x[1]
    elif n == 2:
        return x[2]
    else:
        a = 7.0
    return a + 1.0


@program
def ternaries(x, n):
    a = x[0] if n > 1 else (x[1] if n > 0 else x[2])
    return a * (2.0 if x[0] > a else 3.0)


@program
def short_circuit(x, n):
    if (n > 1 and x[0] > 0.0) or x[1] > 1.0:
        return 1.0
    if not (n > 2 or x[2] < 0.0) and x[0] > -1.0:
        return 2.0
    return 3.0


@program
def chained_comparison(x, n):
    if 0.0 < x[0] < x[1] <= 3.0:
        return 1.0
    return 2.0 if -1.0 < x[1] < 1.0 else 3.0


@program
def values_of_and_or(x, n):
    k = n and 3
    j = n or 5
    return x[0] * k + j


@program
def conditional_variable(x, n):
    if n > 1:
        d = x[0] * 2.0
    a = 1.0
    if n > 1:
        a = d + 1.0
    return a


@program
def nothing_returned_in_one_arm(x, n):
    if n > 0:
        x[0] = 5.0
        return
    x[1] = 6.0


@program
def pruned(x, n):
    flag = None
    a = x[0]
    if flag is None:
        a += 1.0
    else:
        a -= 1.0
    return a


@program
def raises(x, n):
    if n > 100:
        raise ValueError("large")
    if n < 0:
        a = x[0]
    elif n > 50:
        raise ValueError("rather large")
    else:
        a = x[1]
    return a


# ---- for ---------------------------------------------------------------------------------------


@program
def plain_for(x, n):
    s = 0.0
    for i in range(n):
        s += x[i % 3] * i
    return s


@program
def nested_for(x, n):
    s = 0.0
    for i in range(n):
        for j in range(i, n):
            x[j % 3] += 0.5 * i
            s += x[i % 3] * j
    return s


@program
def swap_in_loop(x, n):
    a, b = x[0], x[1]
    for _ in range(n):
        a, b = b, a + 1.0
    return a - 2.0 * b


@program
def rotation_of_three(x, n):
    a, b, c = x[0], x[1], x[2]
    for _ in range(n):
        a, b, c = b, c, a
        if a > b:
            break
    return a + 2.0 * b + 4.0 * c


@program
def break_and_else(x, n):
    for i in range(n):
        if x[i % 3] > 1.0:
            a = float(i)
            break
    else:
        a = -1.0
    return a


@program
def variable_after_loop(x, n):
    i = -1
    for i in range(n):
        if x[i % 3] < 0.0:
            break
    return i + x[0]


@program
def variable_set_in_loop_only(x, n):
    for i in range(n + 1):
        last = x[i % 3]
    return last


@program
def continues(x, n):
    s = 0.0
    for i in range(n):
        if i % 2 == 0:
            continue
        if x[i % 3] > 2.0:
            s -= 1.0
            continue
        s += x[i % 3]
    return s


@program
def return_in_loop(x, n):
    for i in range(n):
        if x[i % 3] > 1.0:
            return float(i)
    return -1.0


@program
def return_in_nested_loops(x, n):
    for i in range(n):
        for j in range(i):
            if x[i % 3] > x[j % 3]:
                return i + 0.1 * j
            if x[j % 3] > 2.0:
                break
        else:
            x[0] += 1.0
        x[1] += 1.0
    return x[0] + x[1]


@program
def exits_at_three_levels(x, n):
    s = 0.0
    for i in range(n):
        for j in range(n):
            for k in range(n):
                s += 1.0
                if k > j:
                    break
                if s > 20.0:
                    return s
                if k == 1:
                    continue
                s += x[k % 3]
            else:
                s += 0.25
                continue
            if j > i:
                break
        else:
            s -= 0.5
    return s


@program
def body_always_leaves(x, n):
    for v in x:
        x[0] += v + n
        break
    else:
        return 5.0
    return x[0]


@program
def body_always_returns(x, n):
    while n > 1:
        for v in x:
            return v + n
        n -= 1
    return 0.5


@program
def body_always_leaves_in_loop(x, n):
    s = 0.0
    for j in range(n):
        for v in x:
            if v > s:
                s += v
                break
            s += 0.25
            break
        for i in range(j):
            s += i
            if s > 9.0:
                return s
            break
    return s


@program
def body_always_raises(x, n):
    for _ in range(n - 100):
        raise ValueError("large")
    return x[0]


@program
def inner_loop_before_leaving(x, n):
    for i in range(n):
        s = x[i % 3]
        for j in range(n):
            s += j
        return s
    return -1.0


@program
def over_values(x, n):
    s = 0.0
    for v in x:
        if v < 0.0:
            continue
        s += v
    for i, v in enumerate(x):
        s += i * v
    for v, w in zip(x, x[::-1]):
        if v == w:
            break
        s -= v * w
    return s


@program
def loops_in_arms(x, n):
    s = 0.0
    if n > 2:
        for i in range(n):
            s += i
    else:
        while s < 3.0:
            s += 1.0
    return s * x[0]


# ---- while -------------------------------------------------------------------------------------


@program
def plain_while(x, n):
    s = x[0]
    while s < 10.0:
        s += 1.5
    return s


@program
def while_else(x, n):
    s = x[0]
    while s < 4.0:
        s += 1.0
        if s == 2.5:
            break
    else:
        s = 100.0
    return s


@program
def while_true(x, n):
    s = x[0]
    while True:
        s += 1.0
        if s > 8.0:
            break
        if s > n:
            return -s
        if x[1] > 1.0:
            s += 0.5
            continue
        s += 0.25
    return s


@program
def while_with_two_conditions(x, n):
    s = x[0]
    while n > 0 and s < 20.0:
        s = s * 1.5 + 1.0
        n -= 1
    return s + n


@program
def while_with_continue(x, n):
    s = 0.0
    while n > 0:
        n -= 1
        if n == 2:
            continue
        if x[n % 3] > 1.0:
            s += 2.0
            continue
        s += x[n % 3]
    return s


@program
def nested_while(x, n):
    s = 0.0
    while n > 0:
        m = n
        while m > 0:
            m -= 1
            if s > 30.0:
                return s
            s += m
            if m == 3:
                break
        else:
            s += 0.5
        n -= 1
    return s


@program
def header_phis_read_each_other(x, n):
    a, b = x[0], x[1]
    while True:
        a, b = b, a + 1.0
        if a + b > 12.0:
            return a - 3.0 * b
        if b > 30.0:
            return b


@program
def stale_incoming(x, n):
    a = 1.0
    c = -0.25
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


@program
def while_in_for(x, n):
    s = 0.0
    for i in range(n):
        k = i
        while k > 0:
            k -= 1
            if x[k % 3] > 1.0:
                break
            s += k
        if s > 6.0:
            continue
        s += 0.5
    return s


@program
def for_in_while(x, n):
    s = x[0]
    while s < 5.0:
        for i in range(n):
            s += i
            if s > 4.0:
                break
        else:
            s += 1.0
        s += 0.125
    return s


@program
def search(x, n):
    lo, hi = 0, 16
    while lo < hi:
        mid = (lo + hi) // 2
        if mid * mid < n + x[2]:
            lo = mid + 1
        elif mid * mid == n:
            return mid * 1.0
        else:
            hi = mid
    return lo + 0.5
