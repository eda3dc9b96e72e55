"""`python -m benchmarks.nn.again [CASE...]`: seconds to the first step, then in another process.

Everything is compiled with `cache=True`, into a folder of the case's own that is empty at first.
Imports are not counted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from numba import njit

import numbaflux as nf
from benchmarks.nn.__main__ import CASES, ONE_THREAD, find
from benchmarks.nn.tools import LR
from numbaflux import nn, optim

FAST = {**nn.FAST, "cache": True}
gradient: Any
update: Any


@njit(**FAST)
def train(p, state, steps, data):
    losses = np.empty(steps)
    for step in range(steps):
        losses[step], g = gradient(p, *data)
        update(p, g, state, step)
    return losses


def first_step(name: str) -> float:
    """Seconds to the first step of a case. Numba keeps what refers to functions by global names."""
    global gradient, update
    case = find(name)
    ours: Any = case.tools["numbaflux"]
    begin = time.perf_counter()
    gradient = nf.value_and_grad(njit(**FAST)(ours.loss.py_func))
    update = optim.adam(lr=LR)
    train(case.p, update.state(case.p), 1, ours.data)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nn.again", description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(first_step(given.cases[0]))
        return
    for name in given.cases or CASES:
        command = [sys.executable, "-m", "benchmarks.nn.again", name, "--worker"]
        with tempfile.TemporaryDirectory() as folder:
            places = dict.fromkeys(("NUMBA_CACHE_DIR", "NUMBAFLUX_CACHE_DIR"), folder)
            env = os.environ | ONE_THREAD | places
            first, again = (
                float(subprocess.run(command, env=env, capture_output=True, check=True).stdout)
                for _ in range(2)
            )
        print(f"{name:13} first step {first:5.2f} s, in another process {again:5.2f} s", flush=True)


if __name__ == "__main__":
    main()
