"""The tool for GradBench: recorded sessions, with answers computed without it."""

import io
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gradbench
from benchmarks.adbench.ht import Hand
from benchmarks.evaluations import MODULES
from tests.benchmarks import adbench_numpy as reference
from tests.benchmarks.test_adbench import complex_step

SESSIONS = sorted((Path(__file__).parent / "sessions").glob("*.jsonl"))


def slope(f, *args, argnum=0):
    return complex_step(f, args, argnum)


def llsq(x, n):
    t = np.linspace(-1.0, 1.0, n)
    return 0.5 * np.sum((np.sign(t) - np.vander(t, len(x), increasing=True) @ x) ** 2)


def ode(x, steps):
    """Runge-Kutta's weights as a table."""
    h, y = 2.0 / steps, np.zeros_like(x)
    for _ in range(steps):
        stages = [x * np.concatenate([[1.0], y[:-1]])]
        for factor in (0.5, 0.5, 1.0):
            at = y + h * factor * stages[-1]
            stages.append(x * np.concatenate([[1.0], at[:-1]]))
        y = y + h * np.tensordot([1 / 6, 1 / 3, 1 / 3, 1 / 6], stages, 1)
    return y


def gmm_args(given):
    names = ("alpha", "mu", "q", "l", "x")
    return (*(np.array(given[n]) for n in names), given["gamma"], given["m"])


def gmm_jacobian(given):
    names = ("alpha", "mu", "q", "l")
    return {
        name: slope(reference.gmm_posterior, *gmm_args(given), argnum=i).tolist()
        for i, name in enumerate(names)
    }


def ba_args(given):
    p = given["p"]
    observed = np.array([[i % given["n"], i % given["m"]] for i in range(p)])
    rows = (given["n"], given["m"])
    cameras, points = (np.tile(given[name], (k, 1)) for name, k in zip(("cam", "x"), rows))
    return cameras, points, np.full(p, given["w"]), observed, np.tile(given["feat"], (p, 1))


def ba_objective(given):
    p, errors = given["p"], reference.ba(*ba_args(given))
    return {
        "reproj_error": {"elements": errors[:2].tolist(), "repeated": p},
        "w_err": {"element": errors[-1], "repeated": p},
    }


def ba_jacobian(given):
    """From the dense Jacobian, whose structure is known."""
    n, m, p = (given[name] for name in "nmp")
    args = ba_args(given)
    parts = [slope(reference.ba, *args, argnum=i).reshape(3 * p, -1) for i in range(3)]
    dense = np.concatenate(parts, axis=1)
    weight = 11 * n + 3 * m
    columns = []
    for i, (camera, point) in enumerate(args[3]):
        first = [11 * camera + j for j in range(11)]
        second = [11 * n + 3 * point + j for j in range(3)]
        columns += 2 * [[*first, *second, weight + i]]
    columns += [[weight + i] for i in range(p)]
    rows = [0, *itertools.accumulate(map(len, columns))]
    values = [dense[row, j] for row, chosen in enumerate(columns) for j in chosen]
    parts = {"rows": rows, "cols": list(itertools.chain(*columns)), "vals": values}
    return {name: [*part[:30], part[-1]] for name, part in parts.items()}


def lstm_args(given):
    return tuple(np.array(given[n]) for n in ("main_params", "extra_params", "state", "sequence"))


def lstm_jacobian(given):
    parts = (slope(reference.lstm, *lstm_args(given), argnum=i) for i in range(2))
    return np.concatenate([part.ravel() for part in parts]).tolist()


def ht_args(given):
    data, model = given["data"], given["data"]["model"]
    names = ("parents", "base_relatives", "inverse_base_absolutes")
    fields = (np.array(model[name]) for name in names)
    vertices = np.array(model["base_positions"])[:, :3]
    shape = Hand(*fields, vertices, np.array(model["weights"]).T, model["is_mirrored"])
    args = np.array(given["theta"]), shape, np.array(data["points"]), data["correspondences"]
    return (np.array(given["us"]), *args, np.array(model["triangles"])) if given["us"] else args


def ht_objective(given):
    args = ht_args(given)
    return (reference.ht_on_surface if given["us"] else reference.ht)(*args).tolist()


def ht_jacobian(given):
    """With `us`, the coordinates of all points share two columns."""
    args = ht_args(given)
    if not given["us"]:
        return slope(reference.ht, *args).tolist()
    of_us = slope(reference.ht_on_surface, *args).sum(axis=1)
    of_theta = slope(reference.ht_on_surface, *args, argnum=1)
    return np.concatenate([of_us, of_theta], axis=1).tolist()


def kmeans_cost(given):
    points, centroids = np.array(given["points"]), np.array(given["centroids"])
    return np.sum(np.min(np.sum((points[:, None] - centroids) ** 2, axis=2), axis=1))


def kmeans_direction(given):
    """Newton goes to the mean of the points of a centroid at once."""
    points, centroids = np.array(given["points"]), np.array(given["centroids"])
    nearest = np.argmin(np.sum((points[:, None] - centroids) ** 2, axis=2), axis=1)
    return [(c - points[nearest == i].mean(axis=0)).tolist() for i, c in enumerate(centroids)]


def det_gradient(given):
    a = np.reshape(given["A"], (given["ell"], given["ell"]))
    return (np.linalg.det(a) * np.linalg.inv(a).T).ravel().tolist()


def softmax(given):
    e = np.exp(given["x"])
    return (e / e.sum()).tolist()


EXPECTED = {
    "hello": {"square": lambda x: x * x, "double": lambda x: 2 * x},
    "llsq": {
        "primal": lambda given: llsq(np.array(given["x"]), given["n"]),
        "gradient": lambda given: slope(llsq, np.array(given["x"]), given["n"]).tolist(),
    },
    "lse": {"primal": lambda given: math.log(np.sum(np.exp(given["x"]))), "gradient": softmax},
    "gmm": {
        "objective": lambda given: reference.gmm_posterior(*gmm_args(given)),
        "jacobian": gmm_jacobian,
    },
    "ba": {"objective": ba_objective, "jacobian": ba_jacobian},
    "lstm": {
        "objective": lambda given: reference.lstm(*lstm_args(given)),
        "jacobian": lstm_jacobian,
    },
    "ht": {"objective": ht_objective, "jacobian": ht_jacobian},
    "kmeans": {"cost": kmeans_cost, "dir": kmeans_direction},
    "ode": {
        "primal": lambda given: ode(np.array(given["x"]), given["s"]).tolist(),
        "gradient": lambda given: slope(ode, np.array(given["x"]), given["s"])[-1].tolist(),
    },
    "det": {
        "primal": lambda given: np.linalg.det(np.reshape(given["A"], (given["ell"],) * 2)),
        "gradient": det_gradient,
    },
    # The numbers that GradBench's own evaluations expect.
    "particle": dict.fromkeys(("rr", "ff", "fr", "rf"), lambda given: 0.2071918746486116),
    "saddle": dict.fromkeys(("rr", "ff", "fr", "rf"), lambda given: 4 * [8.246324826140356e-06]),
}


def same(output, expected, path="output"):
    """Equal structure, equal keys, numbers equal to many digits."""
    if isinstance(expected, dict):
        assert output.keys() == expected.keys(), path
        for key, value in expected.items():
            same(output[key], value, f"{path}.{key}")
    elif isinstance(expected, list):
        assert isinstance(output, list) and len(output) == len(expected), path
        for i, (one, other) in enumerate(zip(output, expected)):
            same(one, other, f"{path}[{i}]")
    else:
        assert output == pytest.approx(expected, rel=1e-8, abs=1e-10), path


def replies(monkeypatch, capsys, lines):
    """What the tool prints for these lines."""
    monkeypatch.setattr(sys, "argv", ["gradbench"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    gradbench.main()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_all_twelve_have_a_session():
    assert {path.stem for path in SESSIONS} == MODULES.keys() == EXPECTED.keys()
    for module, functions in MODULES.items():
        assert functions.keys() == EXPECTED[module].keys()


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_session(path, monkeypatch, capsys):
    messages = [json.loads(line) for line in path.read_text().splitlines()]
    answers = replies(monkeypatch, capsys, path.read_text())
    assert [answer["id"] for answer in answers] == [message["id"] for message in messages]
    assert answers[0] == {"id": 0, "tool": "numbaflux"}
    assert answers[1] == {"id": 1, "success": True}
    for message, answer in zip(messages[2:], answers[2:]):
        if message["kind"] == "analysis":
            assert answer == {"id": message["id"]}
            continue
        assert answer["success"], answer["error"]
        expected = EXPECTED[path.stem][message["function"]](message["input"])
        same(answer["output"], expected)
        runs = [t for t in answer["timings"] if t["name"] == "evaluate"]
        given = message["input"]
        least = given if isinstance(given, dict) else {"min_runs": 1, "min_seconds": 0}
        assert len(runs) >= least["min_runs"]
        assert sum(t["nanoseconds"] for t in runs) >= 1e9 * least["min_seconds"]


def test_what_is_unknown_is_answered(monkeypatch, capsys):
    lines = [
        {"id": 0, "kind": "define", "module": "nothing"},
        {"id": 1, "kind": "evaluate", "module": "hello", "function": "triple", "input": 1.0},
        {"id": 2, "kind": "evaluate", "module": "hello", "function": "square", "input": "x"},
        {"id": 3, "kind": "whatever"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    define, unknown, broken, other = replies(monkeypatch, capsys, text)
    assert define["success"] is False and "nothing" in define["error"]
    assert unknown["success"] is False and "triple" in unknown["error"]
    assert broken["success"] is False and "ValueError" in broken["error"]
    assert other == {"id": 3}
