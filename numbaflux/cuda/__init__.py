"""Derivatives of CUDA kernels: `numbaflux.cuda`."""

from numbaflux.cuda.device import NoCudaError
from numbaflux.cuda.emulator import DivergentBarrierError, Emulation, emulate
from numbaflux.cuda.public import adjoint, tangent
from numbaflux.cuda.report import Report, report, source

__all__ = [
    "DivergentBarrierError",
    "Emulation",
    "NoCudaError",
    "Report",
    "adjoint",
    "emulate",
    "report",
    "source",
    "tangent",
]
