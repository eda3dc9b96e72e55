"""`python -m benchmarks.nn [CASE...] [--rivals] [--float32] [--json FILE]`: steps beside by hand.

A step is forward, gradient and Adam, in a compiled loop of many steps (that of PyTorch and of
TensorFlow is Python's), one thread. The losses of every tool at steps 1, 2 and 10 are compared with
those by hand before any time is printed. Each case has a process of its own. Rivals that are not
installed are left out.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.nn.tools import Case

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ONE_THREAD["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
ONE_THREAD["TF_CPP_MIN_LOG_LEVEL"] = "3"
RUNS, ENOUGH = 15, 10.0  # or so many seconds of a tool
CASES = ("mlp", "classifier", "lenet", "lstm", "neural-ode", "universal-ode", "pinn")
CLOSE = {"float64": 1e-9, "float32": 1e-4}


def find(name: str, dtype: Any = np.float64, **sizes: int) -> Case:
    """The case of the file of that name."""
    module = importlib.import_module(f"benchmarks.nn.{name.replace('-', '_')}")
    return module.case(dtype, **sizes)


def installed(tool: str) -> bool:
    return tool in ("hand", "numbaflux") or importlib.util.find_spec(tool.split(".")[0]) is not None


def losses(case: Case, tool: str) -> tuple[Any, float, np.ndarray]:
    """What trains by a tool, seconds to its first step without imports, and the losses of ten."""
    if tool not in ("hand", "numbaflux"):
        importlib.import_module(tool.split(".")[0])
    begin = time.perf_counter()
    train = case.tools[tool]()
    train(case.p.copy(), 1)
    return train, time.perf_counter() - begin, train(case.p.copy(), 10)


def measure(case: Case, rivals: bool) -> dict[str, Any]:
    """Seconds of a step and of the first one, by tool; AssertionError for other losses."""
    wanted = [t for t in case.tools if installed(t) and (rivals or t in ("hand", "numbaflux"))]
    made, first, found = {}, {}, {}
    for tool in wanted:
        made[tool], first[tool], found[tool] = losses(case, tool)
        steps, near = [0, 1, 9], case.near.get(tool, CLOSE[case.p.dtype.name])
        np.testing.assert_allclose(
            found[tool][steps], found["hand"][steps], rtol=near, err_msg=tool
        )
        made[tool](case.p.copy(), case.steps)  # compiled for this many
    best, spent = dict.fromkeys(wanted, np.inf), dict.fromkeys(wanted, 0.0)
    for _ in range(RUNS):
        for tool in wanted:
            if spent[tool] < ENOUGH:
                p = case.p.copy()
                begin = time.process_time()
                made[tool](p, case.steps)
                took = time.process_time() - begin
                spent[tool] += took
                best[tool] = min(best[tool], took / case.steps)
    return {"must": case.must, "beside": case.beside, "step_s": best, "first_step_s": first}


def show(row: dict[str, Any]) -> None:
    by_hand = row["step_s"]["hand"]
    cells = [f"{row['case']:13} by hand {by_hand * 1e6:8.1f} us"]
    beside = "" if row["beside"] == "hand" else f" times {row['beside']}"
    for tool, seconds in row["step_s"].items():
        if tool != "hand":
            goal = f" (must {row['must']}{beside})" if tool == "numbaflux" else ""
            first = row["first_step_s"][tool]
            cells.append(f"{tool} {seconds / by_hand:6.2f}{goal}, first step {first:.1f} s")
    print("   ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nn", description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    dtype = np.float32 if given.float32 else np.float64
    if given.worker:
        print(json.dumps(measure(find(given.cases[0], dtype), given.rivals)))
        return
    rows = []
    for name in given.cases or CASES:
        command = [sys.executable, "-m", "benchmarks.nn", name, "--worker"]
        command += ["--rivals"] * given.rivals + ["--float32"] * given.float32
        done = subprocess.run(
            command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True, check=True
        )
        rows.append({"case": name, "dtype": dtype.__name__, **json.loads(done.stdout)})
        show(rows[-1])
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
