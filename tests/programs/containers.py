"""Tuples, named tuples, lists, optional and literal values."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from tests.programs.program import Program, program

PROGRAMS: list[Program] = []
X = np.array([0.3, -0.8, 1.2, 0.5])


class Spring(NamedTuple):
    stiffness: float
    rest: float


class State(NamedTuple):
    position: np.ndarray
    velocity: np.ndarray
    spring: Spring


@program(PROGRAMS, 0.8, 1.3)
def tuples_inside(x, y):
    pair = (x * y, x + y)
    nested = (pair, 2.0, (y, pair[0]))
    (a, b), c, d = nested
    return a * b * c + d[1] * nested[2][0] + len(pair)


@program(PROGRAMS, (0.8, 1.3), float32=True)
def tuple_argument(pair):
    a, b = pair
    return a * math.sin(b) + pair[0]


@program(PROGRAMS, (0.8, (X, 1.3)), 0.5)
def nested_mixed_tuple_argument(tree, y):
    scale, (x, shift) = tree
    s = 0.0
    for v in x:
        s += scale * v * v + shift * y
    return s


@program(PROGRAMS, State(X, X * 2.0, Spring(1.4, 0.2)), 3)
def namedtuple_argument(state, steps):
    x, v = state.position, state.velocity
    for _ in range(steps):
        for i in range(x.size):
            v[i] -= 0.1 * state.spring.stiffness * (x[i] - state.spring.rest)
            x[i] += 0.1 * v[i]
    return x[0] * v[1]


@program(PROGRAMS, 0.8, 1.3)
def namedtuple_returned(x, y):
    spring = Spring(x * y, rest=x)
    return Spring(spring.stiffness * spring.rest, y * y)


@program(PROGRAMS, 0.8, 1.3)
def tuple_returned(x, y):
    return (x * y, x), y / x


@program(PROGRAMS, X)
def carried_tuple(x):
    state = (1.0, 0.5)
    for v in x:
        state = (state[0] * v + 0.1, state[1] + state[0] * v)
    return state[0] * state[1]


@program(PROGRAMS, 0.8, 1.3)
def tuple_with_computed_index(x, y):
    powers = (x, y, x * y)
    s = 0.0
    for i in range(3):
        s = s * powers[i] + powers[2 - i]
    for p in powers:
        s += p * p
    return s


@program(PROGRAMS, 0.8)
def list_of_scalars(x):
    values = [x, x * x]
    for i in range(4):
        values.append(math.sin(values[i]) + values[-1])
    values[2] = values[2] * x
    s = 0.0
    for v in values:
        s += v * v
    return s / len(values)


@program(PROGRAMS, X)
def list_of_arrays(x):
    stages = [x * x]
    for i in range(3):
        stages.append(stages[i] * x + 1.0)
    s = 0.0
    for stage in stages:
        s += stage[1] * stage[2]
    return s


@program(PROGRAMS, X)
def list_comprehension(x):
    squares = [v * v for v in x]
    return squares[0] * squares[3] + squares[-2]


@program(PROGRAMS, X, None)
def none_given(x, weights):
    s = 0.0
    for i in range(x.size):
        if weights is None:
            s += x[i] * x[i]
        else:
            s += weights[i] * x[i]
    return s


@njit
def _first_above(x, level):
    for i in range(x.size):
        if x[i] > level:
            return x[i] * x[i]
    return None


@program(PROGRAMS, X)
def optional_inside(x):
    found = _first_above(x, 1.0)
    missing = _first_above(x, 9.0)
    s = x[0]
    if found is not None:
        s += found * x[1]
    if missing is not None:
        s += missing
    return s


@program(PROGRAMS, 0.8, "cubic", 2)
def literal_configuration(x, kind, order):
    if kind == "cubic":
        s = x * x * x
    else:
        s = x
    if order > 1:
        s = s * s
    return s


@program(PROGRAMS, X)
def tuple_of_arrays(x):
    pair = (x * 2.0, np.zeros(x.size))
    for i in range(x.size):
        pair[1][i] = pair[0][i] * pair[0][i - 1]
    return pair[1][2] * pair[0][0]


@program(PROGRAMS, np.array([[0.5, 0.7], [0.6, 0.4], [0.3, 0.9]]))
def rows_in_a_list(x):
    rows = [x[i] for i in range(x.shape[0])]
    rows.append(x[0] * 2.0)
    rows[0][1] = 3.0
    s = 0.0
    while len(rows) > 0:
        row = rows.pop()
        s += row[0] * row[1]
    return s


@program(PROGRAMS, X)
def optional_carried(x):
    best = None
    for i in range(x.size):
        if best is None or x[i] > best:
            best = x[i] * x[i]
    return best * x[1] if best is not None else 0.0
