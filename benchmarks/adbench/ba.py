"""Bundle adjustment: reprojection and weight residuals of p observations.

A camera has 11 parameters: rotation (3, angle times axis), centre (3), focal length,
principal point (2), radial distortion (2). Each residual sees one camera, one point, one weight.
"""

import math

import numpy as np
from numba import njit

ARGNUMS = (0, 1, 2)
SIZES = {
    "small": (2, 4, 6),
    "n49_m7776_p31843": (49, 7776, 31843),
    "n93_m61203_p287451": (93, 61203, 287451),
    "n356_m226730_p1255268": (356, 226730, 1255268),
}
"""(cameras n, points m, observations p), as in the data sets `ba1`, `ba7`, `ba15`."""

ROTATION, CENTRE, FOCAL, PRINCIPAL, RADIAL = 0, 3, 6, 7, 9


@njit
def rotate(rotation, point, out):
    """Rodrigues' formula; to first order where the angle vanishes."""
    square = rotation[0] ** 2 + rotation[1] ** 2 + rotation[2] ** 2
    cross_x = rotation[1] * point[2] - rotation[2] * point[1]
    cross_y = rotation[2] * point[0] - rotation[0] * point[2]
    cross_z = rotation[0] * point[1] - rotation[1] * point[0]
    if square == 0.0:
        out[0] = point[0] + cross_x
        out[1] = point[1] + cross_y
        out[2] = point[2] + cross_z
        return
    angle = math.sqrt(square)
    cosine = math.cos(angle)
    sine = math.sin(angle) / angle
    along = 0.0
    for i in range(3):
        along += rotation[i] * point[i]
    along *= (1.0 - cosine) / square
    out[0] = point[0] * cosine + cross_x * sine + rotation[0] * along
    out[1] = point[1] * cosine + cross_y * sine + rotation[1] * along
    out[2] = point[2] * cosine + cross_z * sine + rotation[2] * along


@njit
def project(camera, point):
    relative = np.empty(3)
    for i in range(3):
        relative[i] = point[i] - camera[CENTRE + i]
    seen = np.empty(3)
    rotate(camera[ROTATION : ROTATION + 3], relative, seen)
    x = seen[0] / seen[2]
    y = seen[1] / seen[2]
    radius = x * x + y * y
    scale = 1.0 + camera[RADIAL] * radius + camera[RADIAL + 1] * radius * radius
    scale *= camera[FOCAL]
    return x * scale + camera[PRINCIPAL], y * scale + camera[PRINCIPAL + 1]


@njit
def objective(cameras, points, weights, observed, features):
    """Residuals: 2 p of reprojection, then p of the weights."""
    p = observed.shape[0]
    out = np.empty(3 * p)
    for i in range(p):
        x, y = project(cameras[observed[i, 0]], points[observed[i, 1]])
        out[2 * i] = weights[i] * (x - features[i, 0])
        out[2 * i + 1] = weights[i] * (y - features[i, 1])
    for i in range(p):
        out[2 * p + i] = 1.0 - weights[i] * weights[i]
    return out


@njit
def residual(camera, point, weight, feature):
    """The two reprojection residuals of one observation: a block of the Jacobian."""
    x, y = project(camera, point)
    out = np.empty(2)
    out[0] = weight * (x - feature[0])
    out[1] = weight * (y - feature[1])
    return out


def inputs(size="small", seed=0):
    """(cameras, points, weights, observed, features)."""
    n, m, p = SIZES[size]
    random = np.random.default_rng(seed)
    cameras = random.standard_normal((n, 11))
    points = random.standard_normal((m, 3)) + np.array([0.0, 0.0, 8.0])
    cameras[:, :3] *= 0.3
    cameras[:, RADIAL:] *= 0.1
    observed = np.stack([random.integers(0, n, p), random.integers(0, m, p)], axis=1)
    return cameras, points, random.standard_normal(p), observed, random.standard_normal((p, 2))
