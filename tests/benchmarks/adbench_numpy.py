"""The ADBench objectives once more, vectorised and without a line in common with the loops.

They accept complex arguments, so that a complex step gives derivatives to the last digits.
"""

import itertools
import math

import numpy as np
from scipy.special import multigammaln


def _log_sum_exp(values, axis):
    largest = values.real.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - largest).sum(axis=axis)) + np.squeeze(largest, axis)


def _rotated(rotations, points):
    """exp of the cross product matrix, by its closed form, for a stack."""
    angle = np.sqrt((rotations**2).sum(axis=1))[:, None]
    axis = rotations / angle
    across = np.cross(axis, points)
    return points + np.sin(angle) * across + (1 - np.cos(angle)) * np.cross(axis, across)


def ba(cameras, points, weights, observed, features):
    chosen = cameras[observed[:, 0]]
    seen = _rotated(chosen[:, :3], points[observed[:, 1]] - chosen[:, 3:6])
    plane = seen[:, :2] / seen[:, 2:]
    square = (plane**2).sum(axis=1)
    scale = 1 + chosen[:, 9] * square + chosen[:, 10] * square**2
    pixels = plane * (scale * chosen[:, 6])[:, None] + chosen[:, 7:9]
    errors = weights[:, None] * (pixels - features)
    return np.concatenate([errors.ravel(), 1 - weights**2])


def lstm(main, extra, state, sequence):
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    layers = len(main) // 2
    hidden, cell = list(state[0::2]), list(state[1::2])
    total = 0.0
    for character, following in itertools.pairwise(sequence):
        signal = character * extra[0]
        for k in range(layers):
            weight, bias = main[2 * k].reshape(4, -1), main[2 * k + 1].reshape(4, -1)
            forget, leave = (sigmoid(signal * weight[i] + bias[i]) for i in (0, 2))
            enter = sigmoid(hidden[k] * weight[1] + bias[1])
            change = np.tanh(hidden[k] * weight[3] + bias[3])
            cell[k] = cell[k] * forget + enter * change
            signal = hidden[k] = leave * np.tanh(cell[k])
        prediction = signal * extra[1] + extra[2]
        total = total + following @ (prediction - np.log(np.exp(prediction).sum() + 2))
    return -total / sequence[1:].size


def _turn(axis, angle):
    """Rotation about a coordinate axis; ADBench turns about y the other way round."""
    i, j = {"x": (1, 2), "y": (0, 2), "z": (0, 1)}[axis]
    out = np.eye(4, dtype=np.result_type(angle))
    out[i, i] = out[j, j] = np.cos(angle)
    out[i, j], out[j, i] = -np.sin(angle), np.sin(angle)
    return out


def _vertices(theta, hand):
    bones = len(hand.parents)
    bend, spread = np.zeros((2, bones), dtype=theta.dtype)
    for finger in range(5):
        own = theta[6 + 4 * finger : 10 + 4 * finger]
        first = 4 * finger + 2
        bend[first : first + 3] = own[[0, 2, 3]]
        spread[first] = own[1]
    absolutes = []
    for bone in range(bones):
        local = hand.relatives[bone] @ _turn("z", spread[bone]) @ _turn("x", bend[bone])
        parent = hand.parents[bone]
        absolutes.append(local if parent < 0 else absolutes[parent] @ local)
    transforms = np.array(absolutes) @ hand.inverse_absolutes
    blended = np.einsum("bv,bij->vij", hand.weights, transforms)
    homogeneous = np.concatenate([hand.vertices, np.ones((len(hand.vertices), 1))], axis=1)
    local = np.einsum("vij,vj->vi", blended, homogeneous)[:, :3]
    local = local * np.array([-1 if hand.mirrored else 1, 1, 1])
    return _rotated(np.tile(theta[:3], (len(local), 1)), local) + theta[3:6]


def ht(theta, hand, points, correspondences):
    return (points - _vertices(theta, hand)[correspondences]).ravel()


def ht_on_surface(us, theta, hand, points, correspondences, triangles):
    corners = _vertices(theta, hand)[triangles[correspondences]]
    coordinates = np.concatenate([us, 1 - us.sum(axis=1, keepdims=True)], axis=1)
    return (points - np.einsum("pc,pci->pi", coordinates, corners)).ravel()


def gmm_posterior(alpha, mu, q, lower, x, gamma, m):
    """GradBench's mixture: each Gaussian and each Wishart density with a matrix of its own."""
    n, d = x.shape
    terms, prior = [], 0.0
    degrees = d + m + 1
    for k in range(len(alpha)):
        factor = np.diag(np.exp(q[k])).astype(np.result_type(q, lower))
        below = iter(lower[k])
        for column in range(d):
            for row in range(column + 1, d):
                factor[row, column] = next(below)
        precision = factor.T @ factor
        log_det = 2 * q[k].sum()
        centred = x - mu[k]
        square = np.einsum("ni,ij,nj->n", centred, precision, centred)
        terms.append(alpha[k] + 0.5 * log_det - 0.5 * square)
        prior = prior + 0.5 * m * log_det - 0.5 * gamma**2 * np.trace(precision)
        prior = prior + degrees * d * math.log(gamma / math.sqrt(2))
        prior = prior - multigammaln(0.5 * degrees, d)
    likelihood = _log_sum_exp(np.array(terms), 0).sum() - n * _log_sum_exp(alpha, 0)
    return likelihood - 0.5 * n * d * math.log(2 * math.pi) + prior
