"""One thread on one core, and the memory of this process as the kernel counts it."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

from benchmarks.timing import Call

ONE_THREAD = {
    "NUMBA_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
"""The environment of a worker."""


def idlest_core(duration: float = 0.2) -> int | None:
    """The core this process may use that did the least in the last moments; None: cannot pin."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    before = _busy()
    time.sleep(duration)
    after = _busy()
    cores = sorted(os.sched_getaffinity(0))
    return min(cores, key=lambda core: after.get(core, 0) - before.get(core, 0))


def pin(core: int | None) -> None:
    """Stay on this core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def extra_bytes(primal: Call, derivative: Call) -> int | None:
    """The memory a derivative needs at its peak beyond the primal's peak.

    Counted in pages that were touched; both have run before, so that code and pools are there.
    None where the kernel does not let a process reset its peak.
    """
    try:
        below = _peak_of(primal)
        return max(0, _peak_of(derivative) - below)
    except OSError:
        return None


def _peak_of(call: Call) -> int:
    """By how many bytes a call raises this process's memory at its peak."""
    _give_back()
    Path("/proc/self/clear_refs").write_text("5")  # the peak restarts at what is in use now
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _give_back() -> None:
    """Return freed memory to the kernel, or the next call reuses it unseen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {key}")


def _busy() -> dict[int, int]:
    """Ticks each core has spent at work since the machine started."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return {}
    cores = [line.split() for line in lines if line.startswith("cpu") and line[3].isdigit()]
    return {int(name[3:]): sum(map(int, t[:3])) for name, *t in cores}
