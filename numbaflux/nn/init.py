"""Initial weights: functions of (rng, shape, fan_in, fan_out)."""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt

import numpy as np

Initialiser = Callable[[np.random.Generator, tuple[int, ...], int, int], np.ndarray]


def glorot(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int):
    """Uniform in ±sqrt(6 / (fan_in + fan_out)): Glorot and Bengio, AISTATS 2010, eq. 16.

    >>> import numpy as np
    >>> abs(glorot(np.random.default_rng(0), (100, 20), 100, 20)).max() <= (6 / 120) ** 0.5
    np.True_
    """
    limit = sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape)


def kaiming(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int):
    """Normal of deviation sqrt(2 / fan_in), for relu: He et al., ICCV 2015, eq. 10.

    >>> import numpy as np
    >>> w = kaiming(np.random.default_rng(0), (200, 50), 200, 50)
    >>> bool(abs(w.std() - 0.1) < 0.005)
    True
    """
    return rng.normal(0.0, sqrt(2.0 / fan_in), shape)


def orthogonal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int):
    """Orthonormal rows or columns, whichever are fewer: Saxe et al., ICLR 2014.

    An array of more dimensions counts as a matrix with the last axis as its columns.

    >>> import numpy as np
    >>> W = orthogonal(np.random.default_rng(0), (8, 3), 8, 3)
    >>> bool(np.allclose(W.T @ W, np.eye(3)))
    True
    """
    rows, columns = prod(shape[:-1]), shape[-1]
    tall = rng.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # so that all such matrices are equally likely
    return (q if rows >= columns else q.T).reshape(shape)
