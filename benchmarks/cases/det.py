"""GradBench's `det`: a determinant by expansion into minors, recursively.

`rows` and `columns` are linked lists of what is left of the matrix: the successor of i is
`rows[i]`, and n stands before the first. So a minor is a pair of lists and nothing is copied.
"""

import numpy as np
from numba import njit

from benchmarks.case import Case, forward, gradient
from benchmarks.check import exactly


@njit
def minor(a, size, rows, columns):
    """The determinant of the minor of that size; the lists are as before when it returns."""
    n = a.shape[0]
    row = rows[n]
    column = columns[n]
    if size == 1:
        return a[row, column]
    rows[n] = rows[row]
    before = n
    sign = 1.0
    total = 0.0
    for _ in range(size):
        columns[before] = columns[column]
        total += sign * a[row, column] * minor(a, size - 1, rows, columns)
        columns[before] = column
        before = column
        column = columns[column]
        sign = -sign
    rows[n] = row
    return total


@njit
def determinant(a):
    n = a.shape[0]
    rows = np.empty(n + 1, np.int64)
    columns = np.empty(n + 1, np.int64)
    for i in range(n):
        rows[i] = i + 1
        columns[i] = i + 1
    rows[n] = 0
    columns[n] = 0
    return minor(a, n, rows, columns)


def answer(a):
    """Jacobi's formula."""
    return np.linalg.det(a) * np.linalg.inv(a).T


CASES = (
    Case(
        "det",
        determinant,
        lambda n: (np.random.default_rng(0).random((n, n)),),
        {"8": (8,), "6": (6,), "small": (4,)},
        {
            "forward": forward(determinant, (0,)),
            "gradient": gradient(0, exactly(answer), goal=4.0),
        },
    ),
)
