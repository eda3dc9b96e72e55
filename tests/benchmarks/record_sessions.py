"""Write sessions/*.jsonl: what GradBench's evaluations send, at small sizes.

Run once: `python -m tests.benchmarks.record_sessions`. The names of modules, functions and fields
are GradBench's.
"""

import json
from pathlib import Path

import numpy as np

from benchmarks.adbench import ht

SESSIONS = Path(__file__).parent / "sessions"
RUNS = {"min_runs": 2, "min_seconds": 0.001}


def session(module, calls):
    """The messages of an evaluation: [(function, input), ...], each followed by its analysis."""
    messages = [{"kind": "start", "eval": module}, {"kind": "define", "module": module}]
    for function, given in calls:
        given = given | RUNS if isinstance(given, dict) else given
        call = {"kind": "evaluate", "module": module, "function": function, "input": given}
        messages += [call, {"kind": "analysis", "of": len(messages), "valid": True}]
    lines = (json.dumps({"id": i} | message) for i, message in enumerate(messages))
    (SESSIONS / f"{module}.jsonl").write_text("\n".join(lines) + "\n")


def both(first, second, *inputs):
    return [(function, given) for given in inputs for function in (first, second)]


def gmm(random, d=3, k=4, n=6):
    normal = random.standard_normal
    mu = random.random((k, d)).tolist()
    parameters = {"alpha": normal(k).tolist(), "mu": mu, "q": normal((k, d)).tolist()}
    parameters["l"] = normal((k, d * (d - 1) // 2)).tolist()
    prior = {"m": 2, "gamma": 0.7}
    return {"d": d, "k": k, "n": n, "x": normal((n, d)).tolist()} | parameters | prior


def ba(random, n=2, m=3, p=5):
    camera = 0.3 * random.standard_normal(11)
    point = random.standard_normal(3) + np.array([0.0, 0.0, 8.0])
    one = {"cam": camera.tolist(), "x": point.tolist(), "w": float(random.random())}
    return {"n": n, "m": m, "p": p, **one, "feat": random.standard_normal(2).tolist()}


def lstm(random, layers=2, characters=5, bits=3):
    shapes = {"main_params": (2 * layers, 4 * bits), "extra_params": (3, bits)}
    shapes["state"] = (2 * layers, bits)
    given = {name: random.random(shape).tolist() for name, shape in shapes.items()}
    return given | {"sequence": random.integers(0, 2, (characters, bits)).astype(float).tolist()}


def hand(surface):
    us, theta, model, points, correspondences, triangles = ht.surface_inputs("small", seed=4)
    homogeneous = np.concatenate([model.vertices, np.ones((len(model.vertices), 1))], axis=1)
    described = {
        "bone_count": len(model.parents),
        "bone_names": [f"bone{i}" for i in range(len(model.parents))],
        "parents": model.parents.tolist(),
        "base_relatives": model.relatives.tolist(),
        "inverse_base_absolutes": model.inverse_absolutes.tolist(),
        "base_positions": homogeneous.tolist(),
        "weights": model.weights.T.tolist(),
        "triangles": triangles.tolist(),
        "is_mirrored": False,
    }
    data = {"correspondences": correspondences.tolist(), "points": points.tolist()}
    us = us.tolist() if surface else []
    return {"theta": theta.tolist(), "data": {"model": described} | data, "us": us}


def main():
    random = np.random.default_rng(31337)
    x = random.random
    points = x((20, 2)).tolist()
    four = ("rr", "ff", "fr", "rf")
    session("hello", [("square", 1.0), ("double", 1.0), ("square", 2.0), ("double", 4.0)])
    session("llsq", both("primal", "gradient", {"x": x(5).tolist(), "n": 16}))
    session("lse", both("primal", "gradient", {"x": (10 * x(30)).tolist()}))
    session("gmm", both("objective", "jacobian", gmm(random)))
    session("ba", both("objective", "jacobian", ba(random)))
    session("lstm", both("objective", "jacobian", lstm(random)))
    session("ht", both("objective", "jacobian", hand(True), hand(False)))
    session("kmeans", both("cost", "dir", {"points": points, "centroids": points[-3:]}))
    session("ode", both("primal", "gradient", {"x": x(6).tolist(), "s": 4}))
    session("det", both("primal", "gradient", {"A": x(16).tolist(), "ell": 4}))
    session("particle", [(name, {"w": 0.0}) for name in four])
    session("saddle", [(name, {"start": [1.0, 1.0]}) for name in four])


if __name__ == "__main__":
    main()
