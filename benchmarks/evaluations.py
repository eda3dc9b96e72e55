"""GradBench's twelve evaluations: for each module its functions, from JSON and back to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

import numbaflux as nf
from benchmarks.adbench import ba as bundle
from benchmarks.adbench import ht as hand
from benchmarks.adbench import lstm
from benchmarks.cases import (
    ba,
    det,
    gmm,
    hello,
    ht,
    kmeans,
    llsq,
    lse,
    ode,
    particle,
    saddle,
)

Input = Mapping[str, Any]


Work = tuple[Any, tuple[Any, ...]]
"""A compiled function and its arguments."""


@dataclass(frozen=True)
class Evaluation:
    """What to call for an input, and an output from its result."""

    prepare: Callable[[Any], Work]
    report: Callable[[Any], Any] = float


def calling(
    function: Any, arguments: Callable[[Any], tuple[Any, ...]], report: Callable[[Any], Any] = float
) -> Evaluation:
    """One function, whatever the input."""
    return Evaluation(lambda given: (function, arguments(given)), report)


def floats(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def integers(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def as_list(result: Any) -> list[Any]:
    return np.asarray(result).tolist()


# ---- ADBench's four --------------------------------------------------------------------------


def gmm_input(given: Input) -> tuple[Any, ...]:
    d, k = given["d"], given["k"]
    lower = floats(given["l"]).reshape(k, d * (d - 1) // 2)
    alpha, mu, q, x = (floats(given[name]) for name in ("alpha", "mu", "q", "x"))
    return alpha, mu, q, lower, x, float(given["gamma"]), int(given["m"])


def gmm_output(gradients: Any) -> dict[str, Any]:
    return dict(zip(("alpha", "mu", "q", "l"), map(as_list, gradients), strict=True))


def ba_input(given: Input) -> tuple[Any, ...]:
    """One camera, point, weight and feature, repeated."""
    n, m, p = given["n"], given["m"], given["p"]
    observed = np.stack([np.arange(p) % n, np.arange(p) % m], axis=1)
    cameras, points = np.tile(floats(given["cam"]), (n, 1)), np.tile(floats(given["x"]), (m, 1))
    weights, features = np.full(p, float(given["w"])), np.tile(floats(given["feat"]), (p, 1))
    return cameras, points, weights, observed, features


def ba_errors(residuals: np.ndarray) -> dict[str, Any]:
    p = len(residuals) // 3
    return {
        "reproj_error": {"elements": as_list(residuals[:2]), "repeated": p},
        "w_err": {"element": float(residuals[2 * p]), "repeated": p},
    }


def ba_jacobian(matrix: tuple[np.ndarray, ...]) -> dict[str, Any]:
    """The first block, which repeats itself, and the last element."""
    return {
        name: as_list(np.append(values[:30], values[-1]))
        for name, values in zip(("rows", "cols", "vals"), matrix, strict=True)
    }


def lstm_input(given: Input) -> tuple[Any, ...]:
    return tuple(floats(given[n]) for n in ("main_params", "extra_params", "state", "sequence"))


def ht_input(given: Input) -> tuple[Any, ...]:
    """(us, theta, hand, points, correspondences, triangles)."""
    data, model = given["data"], given["data"]["model"]
    shape = hand.Hand(
        integers(model["parents"]),
        floats(model["base_relatives"]),
        floats(model["inverse_base_absolutes"]),
        floats(model["base_positions"])[:, :3].copy(),
        np.ascontiguousarray(floats(model["weights"]).T),
        bool(model["is_mirrored"]),
    )
    us, theta, points = floats(given["us"]), floats(given["theta"]), floats(data["points"])
    return us, theta, shape, points, integers(data["correspondences"]), integers(model["triangles"])


def ht_objective(given: Input) -> Work:
    """With `us`, points lie in triangles; without, they are vertices."""
    args = ht_input(given)
    return (hand.objective_on_surface, args) if given["us"] else (hand.objective, args[1:5])


def ht_jacobian(given: Input) -> Work:
    args = ht_input(given)
    return (ht.of_packed, ht.with_zeros(args)) if given["us"] else (ht.of_theta, args[1:5])


# ---- the others --------------------------------------------------------------------------------


def llsq_input(given: Input) -> tuple[Any, ...]:
    return floats(given["x"]), int(given["n"])


def lse_input(given: Input) -> tuple[Any, ...]:
    return (floats(given["x"]),)


def kmeans_input(given: Input) -> tuple[Any, ...]:
    return floats(given["points"]), floats(given["centroids"])


def ode_input(given: Input) -> tuple[Any, ...]:
    return floats(given["x"]), int(given["s"])


def det_input(given: Input) -> tuple[Any, ...]:
    return (floats(given["A"]).reshape(given["ell"], given["ell"]),)


def flat(result: np.ndarray) -> list[float]:
    return as_list(result.ravel())


def lstm_output(gradients: Any) -> list[float]:
    return as_list(np.concatenate([gradient.ravel() for gradient in gradients]))


MODULES: dict[str, dict[str, Evaluation]] = {
    "hello": {
        "square": calling(njit(hello.square), lambda x: (float(x),)),
        "double": calling(nf.grad(hello.square), lambda x: (float(x),)),
    },
    "llsq": {
        "primal": calling(njit(llsq.llsq), llsq_input),
        "gradient": calling(nf.grad(llsq.llsq), llsq_input, as_list),
    },
    "lse": {
        "primal": calling(njit(lse.lse), lse_input),
        "gradient": calling(nf.grad(lse.lse), lse_input, as_list),
    },
    "gmm": {
        "objective": calling(gmm.log_posterior, gmm_input),
        "jacobian": calling(nf.grad(gmm.log_posterior, gmm.ARGNUMS), gmm_input, gmm_output),
    },
    "ba": {
        "objective": calling(bundle.objective, ba_input, ba_errors),
        "jacobian": calling(ba.sparse_jacobian, ba_input, ba_jacobian),
    },
    "lstm": {
        "objective": calling(lstm.objective, lstm_input),
        "jacobian": calling(nf.grad(lstm.objective, (0, 1)), lstm_input, lstm_output),
    },
    "ht": {
        "objective": Evaluation(ht_objective, as_list),
        "jacobian": Evaluation(ht_jacobian, as_list),
    },
    "kmeans": {
        "cost": calling(kmeans.cost, kmeans_input),
        "dir": calling(kmeans.direction, kmeans_input, as_list),
    },
    "ode": {
        "primal": calling(ode.solve, ode_input, as_list),
        "gradient": calling(nf.grad(ode.last), ode_input, as_list),
    },
    "det": {
        "primal": calling(det.determinant, det_input),
        "gradient": calling(nf.grad(det.determinant), det_input, flat),
    },
    "particle": {
        f.__name__: calling(f, lambda given: (float(given["w"]),))
        for f in (particle.rr, particle.ff, particle.fr, particle.rf)
    },
    "saddle": {
        f.__name__: calling(f, lambda given: tuple(map(float, given["start"])), as_list)
        for f in (saddle.rr, saddle.ff, saddle.fr, saddle.rf)
    },
}
