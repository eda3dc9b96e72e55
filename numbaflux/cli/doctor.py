"""`doctor`: what numbaflux found on this machine, for bug reports and slow runs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import Any

import llvmlite.binding as llvm
import numba

PACKAGES = (
    "numbaflux", "numba", "llvmlite", "numpy", "scipy", "numba-cuda", "numba-cuda-mlir",
)  # fmt: skip
FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512dq", "neon", "sve", "sve2")


def version(package: str) -> str:
    """The installed version, or `not installed`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def cpu_features() -> str:
    """The vector instruction sets LLVM may use here."""
    found = llvm.get_host_cpu_features()
    return " ".join(name for name in FEATURES if found.get(name)) or "none known"


def svml() -> str:
    """Whether Numba links Intel's vector mathematics (the package icc_rt)."""
    if not llvm.has_svml:
        return "no (this llvmlite is built without it)"
    config: Any = numba.config  # pyright: ignore[reportPrivateImportUsage]
    using = config.USING_SVML  # Numba sets it when it is imported
    return "yes" if using else "no (the library is not installed)"


@numba.njit(parallel=True)
def _touch(n):
    total = 0.0
    for i in numba.prange(n):
        total += i
    return total


def threading_layer() -> str:
    """The layer that a parallel loop starts, and its threads."""
    _touch(4)
    layer = numba.threading_layer()  # pyright: ignore[reportPrivateImportUsage]
    return f"{layer}, {numba.get_num_threads()} threads"


def cuda() -> str:
    """The first CUDA device, or why there is none."""
    from numba import cuda as numba_cuda

    if not numba_cuda.is_available():
        return "not available"
    device = numba_cuda.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    return f"{name}, compute capability {'.'.join(map(str, device.compute_capability))}"


def report() -> list[tuple[str, str]]:
    """The lines of the report: what, and its value."""
    return [
        ("python", f"{platform.python_version()} ({sys.executable})"),
        *((package, version(package)) for package in PACKAGES),
        ("system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"),
        ("CPU", llvm.get_host_cpu_name()),
        ("CPU features", cpu_features()),
        ("SVML", svml()),
        ("threading layer", threading_layer()),
        ("CUDA", cuda()),
    ]


def doctor() -> None:
    """Print the report."""
    for what, value in report():
        print(f"{what:16} {value}")
