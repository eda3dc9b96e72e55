"""GradBench's `ba`: the sparse Jacobian of bundle adjustment, a block of 2 x 15 an observation."""

import numpy as np
from numba import njit

import numbaflux as nf
from benchmarks.adbench import ba
from benchmarks.case import Case, Mode, beside
from benchmarks.check import along, close, direction

CAMERA, POINT, WEIGHT = slice(0, 11), slice(11, 14), 14

of_residual = nf.jacrev(ba.residual, argnums=(0, 1, 2))


def weight_error(weight):
    return 1.0 - weight * weight


of_weight = nf.grad(weight_error)


@njit
def fill(cameras, points, weights, observed, features, blocks, d_weights):
    """Write the blocks and the derivatives of the weight errors."""
    for i in range(observed.shape[0]):
        camera, point = cameras[observed[i, 0]], points[observed[i, 1]]
        d_camera, d_point, d_weight = of_residual(camera, point, weights[i], features[i])
        for row in range(2):
            for j in range(11):
                blocks[i, row, j] = d_camera[row, j]
            for j in range(3):
                blocks[i, row, 11 + j] = d_point[row, j]
            blocks[i, row, 14] = d_weight[row]
        d_weights[i] = of_weight(weights[i])


@njit
def jacobian(cameras, points, weights, observed, features):
    """The blocks, (observations, 2, 15), and the derivatives of the weight errors."""
    p = observed.shape[0]
    blocks, d_weights = np.empty((p, 2, 15)), np.empty(p)
    fill(cameras, points, weights, observed, features, blocks, d_weights)
    return blocks, d_weights


@njit
def sparse_jacobian(cameras, points, weights, observed, features):
    """The whole Jacobian by compressed rows: where each row begins, columns, values."""
    n, m, p = cameras.shape[0], points.shape[0], observed.shape[0]
    values = np.empty(31 * p)
    blocks, d_weights = values[: 30 * p].reshape(p, 2, 15), values[30 * p :]
    fill(cameras, points, weights, observed, features, blocks, d_weights)
    rows, columns = np.empty(3 * p + 1, np.int64), np.empty(31 * p, np.int64)
    rows[0] = 0
    at = 0
    for i in range(p):
        for row in range(2):
            for j in range(11):
                columns[at + j] = 11 * observed[i, 0] + j
            for j in range(3):
                columns[at + 11 + j] = 11 * n + 3 * observed[i, 1] + j
            columns[at + 14] = 11 * n + 3 * m + i
            at += 15
            rows[2 * i + row + 1] = at
    for i in range(p):
        columns[at] = 11 * n + 3 * m + i
        at += 1
        rows[2 * p + i + 1] = at
    return rows, columns, values


def check(args, result):
    """The Jacobian times two directions, against differences of the residuals."""
    blocks, d_weights = result
    observed = args[3]
    for seed in (11, 12):
        tangents = direction(args, ba.ARGNUMS, seed)
        cameras, points, weights = (tangents[i] for i in ba.ARGNUMS)
        moved = np.einsum("prc,pc->pr", blocks[..., CAMERA], cameras[observed[:, 0]])
        moved += np.einsum("prc,pc->pr", blocks[..., POINT], points[observed[:, 1]])
        moved += blocks[..., WEIGHT] * weights[:, None]
        # The median size is what counts: some points come close to their camera's plane.
        expected = along(ba.objective, args, tangents, 1e-5)
        got = np.concatenate([moved.ravel(), d_weights * weights])
        error = np.abs(got - expected) / (1.0 + np.abs(expected))
        assert np.quantile(error, 0.999) < 1e-6, "wrong along a direction"
        close(d_weights, -2.0 * args[2])


CASES = (
    Case(
        "ba",
        ba.objective,
        ba.inputs,
        {name: (name,) for name in ("n49_m7776_p31843", "n93_m61203_p287451", "small")},
        {"jacobian": Mode(beside(jacobian), check, goal=4.0)},
    ),
)
