"""What random search (tests/fuzz) once found wrong, made small."""

import numpy as np

from tests.programs.program import Program, program

PROGRAMS: list[Program] = []
X = np.array([0.3, -0.8, 1.2, 0.5, -0.4])


@program(PROGRAMS, X, 3)
def strided_view_made_in_a_branch(x, n):
    s = 1.0
    if n > 1:
        v = x[::-1]
        for i in range(n):
            v[i] *= s
            s += v[i] * v[i + 1]
    return s


@program(PROGRAMS, X)
def scattered_from_itself(x):
    order = np.array([3, 2, 0, 2])
    x[order] = x[1:]
    x[order] = 0.5 * x[:4] * x[1:]
    x[np.array([1, 2, 3, 4, 0])] = x
    x[np.array([1, 2, 3, 4, 0])] = np.sin(x)
    return x[0] + 2.0 * x[1] + 3.0 * x[2] + 4.0 * x[3]


@program(PROGRAMS, X, 2)
def two_counters_in_step(x, n):
    k, w = 0, 0
    while w < 4:
        w += 1
        k += 1
        x[-2] *= x[k % 3]
    i, j = 0, 0
    for _ in range(n):
        x[i] *= x[j + 1]
        i += 1
        j += 1
    return x[-2] * x[0] + x[k - w + i - j]
