"""GradBench's `ht`: the Jacobian of hand tracking, packed into 28 columns.

A point depends on its own two barycentric coordinates only, so the columns of all first
coordinates are one column, and those of all second coordinates another.
"""

import numpy as np
from numba import njit

import numbaflux as nf
from benchmarks.adbench import ht
from benchmarks.case import Case, Mode, compiled, is_cached
from benchmarks.check import along, close, direction


@njit
def packed(z, us, theta, hand, points, correspondences, triangles):
    """The residuals where all coordinates are moved by z[:2] and theta by z[2:]."""
    moved = np.empty_like(us)
    for p in range(us.shape[0]):
        moved[p, 0] = us[p, 0] + z[0]
        moved[p, 1] = us[p, 1] + z[1]
    return ht.objective_on_surface(moved, theta + z[2:], hand, points, correspondences, triangles)


of_theta = nf.jacfwd(ht.objective)
of_packed = nf.jacfwd(packed)


def with_zeros(args):
    return np.zeros(28), *args


def check(args, result):
    """The Jacobian times two directions, against differences."""
    everything = with_zeros(args)
    for seed in (11, 12):
        tangents = direction(everything, (0,), seed)
        close(result @ tangents[0], along(packed, everything, tangents, 1e-3), 1e-8)


CASES = (
    Case(
        "ht",
        ht.objective_on_surface,
        ht.surface_inputs,
        {
            "big_c100": ("n100_v10000",),
            "small_c1000": ("n1000_v544",),
            "small": ("small",),
        },
        {
            "jacobian": Mode(
                lambda f: nf.jacfwd(compiled(packed, cache=is_cached(f))),
                check,
                goal=30.0,
                arguments=with_zeros,
            )
        },
    ),
)
