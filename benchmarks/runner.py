"""Start the processes that measure, and read what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, rivals

ROOT = Path(__file__).parents[1]
LONGEST = 600  # seconds of a process


class Failed(Exception):
    """A process that measured nothing: why, in a line."""


def measure(case: str, size: str, mode: str, others: Sequence[str] = ()) -> dict[str, Any]:
    """A row of the table: what three kinds of processes say of one case."""
    core = machine.idlest_core()
    where = [case, size, mode, *(["--core", str(core)] if core is not None else [])]
    with tempfile.TemporaryDirectory(prefix="numbaflux_bench_") as store:
        row = _run(*where, "--store", store)
        row |= _run(*where, "--store", store, "--second")
    row |= {"case": case, "size": size, "mode": mode, "rivals": {}}
    for name in others:
        if (case, mode) in rivals.table(name):
            try:
                row["rivals"][name] = _run(*where, "--rival", name)
            except Failed as error:
                print(f"  {name} at {case} {size} {mode}: {error}", file=sys.stderr)
    return row


def _run(*args: str) -> dict[str, Any]:
    """What a worker prints."""
    command = [sys.executable, "-m", "benchmarks.worker", *args]
    environment = os.environ | machine.ONE_THREAD
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"more than {LONGEST} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failed(f"{last[:200]} (exit status {done.returncode})")
    return json.loads(done.stdout.splitlines()[-1])
