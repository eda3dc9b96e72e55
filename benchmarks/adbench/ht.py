"""Hand tracking: distances of measured points to a skinned hand model of 26 parameters.

theta = global rotation (3), translation (3), then four angles a finger. Two objectives: `objective`
compares with vertices, `objective_on_surface` with points inside triangles, whose two barycentric
coordinates a point are unknown as well.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

ARGNUMS = (0,)
SIZES = {
    "small": (22, 9, 4),
    "n100_v544": (22, 544, 100),
    "n1000_v544": (22, 544, 1000),
    "n10000_v544": (22, 544, 10000),
    "n100_v10000": (22, 10000, 100),
    "n10000_v10000": (22, 10000, 10000),
}
"""(bones, vertices, points)."""


class Hand(NamedTuple):
    """The model at rest; `relatives[bone]` maps a bone's frame into its parent's."""

    parents: np.ndarray
    relatives: np.ndarray
    inverse_absolutes: np.ndarray
    vertices: np.ndarray
    weights: np.ndarray
    mirrored: bool


@njit
def pose_of(theta, bones):
    """Three angles a bone: the middle three of each finger bend, the first also spreads."""
    pose = np.zeros((bones, 3))
    at = 6
    bone = 2
    for _ in range(5):
        for joint in range(3):
            pose[bone, 0] = theta[at]
            at += 1
            if joint == 0:
                pose[bone, 1] = theta[at]
                at += 1
            bone += 1
        bone += 1
    return pose


@njit
def euler_rotation(angles, out):
    """out[:3, :3] = Rz(angles[1]) Ry(angles[2]) Rx(angles[0]), with ADBench's signs."""
    cx, sx = math.cos(angles[0]), math.sin(angles[0])
    cy, sy = math.cos(angles[2]), math.sin(angles[2])
    cz, sz = math.cos(angles[1]), math.sin(angles[1])
    out[0, 0] = cz * cy
    out[0, 1] = -sz * cx - cz * sy * sx
    out[0, 2] = sz * sx - cz * sy * cx
    out[1, 0] = sz * cy
    out[1, 1] = cz * cx - sz * sy * sx
    out[1, 2] = -cz * sx - sz * sy * cx
    out[2, 0] = sy
    out[2, 1] = cy * sx
    out[2, 2] = cy * cx


@njit
def axis_rotation(rotation, out):
    """The rotation by |rotation| about it; the identity below 1e-4."""
    angle = math.sqrt(rotation[0] ** 2 + rotation[1] ** 2 + rotation[2] ** 2)
    out[:] = 0.0
    if angle < 1e-4:
        for i in range(3):
            out[i, i] = 1.0
        return
    x, y, z = rotation[0] / angle, rotation[1] / angle, rotation[2] / angle
    s, c = math.sin(angle), math.cos(angle)
    out[0, 0] = x * x + (1.0 - x * x) * c
    out[0, 1] = x * y * (1.0 - c) - z * s
    out[0, 2] = x * z * (1.0 - c) + y * s
    out[1, 0] = x * y * (1.0 - c) + z * s
    out[1, 1] = y * y + (1.0 - y * y) * c
    out[1, 2] = y * z * (1.0 - c) - x * s
    out[2, 0] = x * z * (1.0 - c) - y * s
    out[2, 1] = z * y * (1.0 - c) + x * s
    out[2, 2] = z * z + (1.0 - z * z) * c


@njit
def multiply(a, b, out):
    """out = a b, small square matrices."""
    n = a.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += a[i, k] * b[k, j]
            out[i, j] = total


@njit
def bone_transforms(pose, hand):
    """For each bone, the map of the hand at rest to the posed hand."""
    bones = hand.parents.shape[0]
    absolutes = np.empty((bones, 4, 4))
    transforms = np.empty((bones, 4, 4))
    rotation = np.eye(4)
    relative = np.empty((4, 4))
    for bone in range(bones):
        euler_rotation(pose[bone], rotation)
        if hand.parents[bone] < 0:
            multiply(hand.relatives[bone], rotation, absolutes[bone])
        else:
            multiply(hand.relatives[bone], rotation, relative)
            multiply(absolutes[hand.parents[bone]], relative, absolutes[bone])
        multiply(absolutes[bone], hand.inverse_absolutes[bone], transforms[bone])
    return transforms


@njit
def skinned_vertices(theta, hand):
    """The posed vertices, (vertices, 3)."""
    bones, count = hand.weights.shape
    transforms = bone_transforms(pose_of(theta, bones), hand)
    rotation = np.empty((3, 3))
    axis_rotation(theta[:3], rotation)
    out = np.empty((count, 3))
    local = np.empty(3)
    for v in range(count):
        local[:] = 0.0
        for bone in range(bones):
            weight = hand.weights[bone, v]
            if weight == 0.0:
                continue
            for i in range(3):
                moved = transforms[bone, i, 3]
                for j in range(3):
                    moved += transforms[bone, i, j] * hand.vertices[v, j]
                local[i] += weight * moved
        if hand.mirrored:
            local[0] = -local[0]
        for i in range(3):
            out[v, i] = theta[3 + i]
            for j in range(3):
                out[v, i] += rotation[i, j] * local[j]
    return out


@njit
def objective(theta, hand, points, correspondences):
    """points - vertices, flat."""
    vertices = skinned_vertices(theta, hand)
    out = np.empty(3 * points.shape[0])
    for p in range(points.shape[0]):
        for i in range(3):
            out[3 * p + i] = points[p, i] - vertices[correspondences[p], i]
    return out


@njit
def objective_on_surface(us, theta, hand, points, correspondences, triangles):
    """points - points of the surface, flat; us[p] are barycentric coordinates."""
    vertices = skinned_vertices(theta, hand)
    out = np.empty(3 * points.shape[0])
    for p in range(points.shape[0]):
        corner = triangles[correspondences[p]]
        a, b, c = corner[0], corner[1], corner[2]
        u, v = us[p, 0], us[p, 1]
        for i in range(3):
            surface = u * vertices[a, i] + v * vertices[b, i] + (1.0 - u - v) * vertices[c, i]
            out[3 * p + i] = points[p, i] - surface
    return out


def random_hand(bones, count, random):
    """A hand of random bones; every vertex hangs on at most four of them."""
    parents = np.array([-1] + [0 if bone % 4 == 1 else bone - 1 for bone in range(1, bones)])
    relatives = np.tile(np.eye(4), (bones, 1, 1))
    relatives[:, :3, :3] = np.linalg.qr(random.standard_normal((bones, 3, 3)))[0]
    relatives[:, :3, 3] = random.standard_normal((bones, 3))
    absolutes = relatives.copy()
    for bone in range(1, bones):
        absolutes[bone] = absolutes[parents[bone]] @ relatives[bone]
    weights = np.zeros((bones, count))
    for v in range(count):
        chosen = random.choice(bones, 4, replace=False)
        weights[chosen, v] = random.dirichlet(np.ones(4))
    vertices = random.standard_normal((count, 3))
    return Hand(parents, relatives, np.linalg.inv(absolutes), vertices, weights, True)


def inputs(size="small", seed=0):
    """(theta, hand, points, correspondences)."""
    bones, count, n = SIZES[size]
    random = np.random.default_rng(seed)
    hand = random_hand(bones, count, random)
    theta = 0.5 * random.standard_normal(26)
    return theta, hand, random.standard_normal((n, 3)), random.integers(0, count, n)


def surface_inputs(size="small", seed=0):
    """(us, theta, hand, points, correspondences, triangles)."""
    theta, hand, points, _ = inputs(size, seed)
    random = np.random.default_rng(seed + 1)
    count = hand.vertices.shape[0]
    triangles = np.array([random.choice(count, 3, replace=False) for _ in range(count)])
    us = random.dirichlet(np.ones(3), len(points))[:, :2].copy()
    return us, theta, hand, points, random.integers(0, count, len(points)), triangles
