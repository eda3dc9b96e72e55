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
