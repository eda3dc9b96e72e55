"""Derivatives of CUDA kernels: `numbaflux.cuda`."""

from numbaflux.cuda.device import NoCudaError
from numbaflux.cuda.emulator import Emulation, emulate
from numbaflux.cuda.memory import OutOfBoundsError, RaceError, UnwrittenError
from numbaflux.cuda.public import adjoint, tangent, vjp
from numbaflux.cuda.report import Report, report, source
from numbaflux.cuda.scheduler import DivergentBarrierError

__all__ = [
    "DivergentBarrierError",
    "Emulation",
    "NoCudaError",
    "OutOfBoundsError",
    "RaceError",
    "Report",
    "UnwrittenError",
    "adjoint",
    "emulate",
    "report",
    "source",
    "tangent",
    "vjp",
]
