"""Gradient descent as the nested evaluations of GradBench prescribe it, on one number and on two.

`cost(x, ...)` and `slope(x, ...)` are compiled functions. A step grows while steps help, and halves
when one does not.
"""

import math

from numba import njit

TOLERANCE = 1e-5
FIRST_RATE = 1e-5


@njit
def smallest(cost, slope, x):
    """Where the cost is smallest, from x."""
    value = cost(x)
    d = slope(x)
    rate = FIRST_RATE
    good = 0
    while abs(d) > TOLERANCE:
        if good == 10:
            rate *= 2.0
            good = 0
            continue
        new = x - rate * d
        if abs(x - new) <= TOLERANCE:
            break
        new_value = cost(new)
        if new_value < value:
            x = new
            value = new_value
            d = slope(x)
            good += 1
        else:
            rate /= 2.0
            good = 0
    return x


@njit
def smallest_of_two(cost, slope, x, y, p, q):
    """Where cost(x, y, p, q) is smallest, from (x, y)."""
    value = cost(x, y, p, q)
    dx, dy = slope(x, y, p, q)
    rate = FIRST_RATE
    good = 0
    while math.sqrt(dx * dx + dy * dy) > TOLERANCE:
        if good == 10:
            rate *= 2.0
            good = 0
            continue
        new_x = x - rate * dx
        new_y = y - rate * dy
        if math.sqrt((x - new_x) ** 2 + (y - new_y) ** 2) <= TOLERANCE:
            break
        new_value = cost(new_x, new_y, p, q)
        if new_value < value:
            x = new_x
            y = new_y
            value = new_value
            dx, dy = slope(x, y, p, q)
            good += 1
        else:
            rate /= 2.0
            good = 0
    return x, y
